"""Trainings that are killed, stopped or run out of disk go on, and end with the weights of one that was left alone.

Kills are real: each training runs in a forked process, without the seconds of a fresh start.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from monai.handlers import ValidationHandler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from monai_nce.errors import find_input_error
from monai_nce.handlers import CheckpointFolder, StageCheckpoint
from monai_nce.handlers.checkpoint.folder import is_whole
from monai_nce.phantom import write_phantom_dataset

OVERLAYS = {
    "separate": (),
    "joint": ("joint",),
    "single": ("single",),
    "cycle": ("cycle",),
    "registered": ("registered",),
    "registered_joint": ("registered_joint",),
    "regression": ("regression",),
    "oracle": ("regression", "oracle"),
}
BUFFER = {"cycle": {"buffer_size": 1}}  # full after an iteration, and another one in each process
FORK = multiprocessing.get_context("fork")
INPUT_ERROR = 3  # the exit status of a forked training that ended with one line
PATIENCE = 600  # s with a training that takes seconds; one that hangs then says where it was and ends
Event = tuple[str, int, Callable[[Engine], None]]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def settings(tiny: dict, tmp_path: Path) -> dict:
    return {**tiny, **{f"{stage}#trainer#max_epochs": 2 for stage in ("classifier", "stage1", "train")}}


def kill(engine: Engine) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate(engine: Engine) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def spoil(engine: Engine) -> None:
    engine.state.batch["source"].fill_(float("nan"))


def train(configs: list[str], settings: dict, event: Event | None, environment: dict, said: Path) -> None:
    """The forked process: train, and do something at the start of an iteration of a stage; 0 is its last validation."""
    gc.freeze()  # what earlier tests have left: OpenVINO's networks, when destroyed, wait for threads that a fork lacks
    os.fsync = lambda descriptor: None  # a kill is no power cut
    os.environ.update(environment)
    tqdm.set_lock(threading.RLock())  # the one of tqdm is shared with the tests' process: a killed training may hold it
    sys.stdout = sys.stderr = open(said, "w", buffering=1)  # noqa: SIM115 - until the end
    attach = StageCheckpoint.attach

    def attach_with_event(checkpoint: StageCheckpoint, engine: Engine) -> None:
        attach(checkpoint, engine)
        if event is not None and checkpoint.folder.path.name == event[0]:
            where = engine if event[1] else checkpoint.validation.validators[-1]
            where.add_event_handler(Events.ITERATION_STARTED(once=event[1] or 1), event[2])

    # not by asking the parser for the trainer: what is built first draws the first random weights
    StageCheckpoint.attach = attach_with_event
    workflow = ConfigWorkflow(
        config_file=configs, workflow_type="train", logging_file=False, run_id="training", **settings
    )
    workflow.initialize()
    try:
        workflow.run()
        workflow.finalize()
    except Exception as error:
        if (cause := find_input_error(error)) is None:
            raise
        print(f"error: {cause}", flush=True)
        os._exit(INPUT_ERROR)


def end(child: multiprocessing.process.BaseProcess) -> None:
    child.join(PATIENCE)
    if child.is_alive():
        os.kill(child.pid, signal.SIGABRT)  # pytest's fault handler prints the stack of each thread
        child.join()


def until_two_checkpoints(process: subprocess.Popen, stage: Path) -> None:
    """Or until the training has ended, or has hung for long; the test finds out then."""
    deadline = time.monotonic() + PATIENCE
    while len(CheckpointFolder(stage).files()) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


class Training:
    """One method's training in forked processes."""

    def __init__(
        self, bundle: Path, folder: Path, settings: dict, method: str = "separate", processes: int = 1
    ) -> None:
        overlays = ["train", *OVERLAYS[method], *(["multi_gpu_train"] if processes > 1 else [])]
        self.configs = [str(bundle / "configs" / f"{name}.json") for name in overlays]
        self.settings = {**settings, "output_dir": str(folder)}
        self.folder = folder
        self.processes = processes
        self.log = Path(tempfile.mkdtemp())
        self.said = ""

    def run(self, event: Event | None = None, **settings) -> int:
        """Exit status of the last rank, which is the one that something happens to; the others are killed then."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = []
        for rank in range(self.processes):
            environment = {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(self.processes),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                "SLURM_JOB_ID": "1",  # as in a shell of salloc, where SLURM_LOCALID is not set
            } if self.processes > 1 else {}  # fmt: skip
            mine = event if rank == self.processes - 1 else None
            arguments = (self.configs, {**self.settings, **settings}, mine, environment, self.log / f"{rank}.txt")
            children.append(FORK.Process(target=train, args=arguments))
        for child in children:
            child.start()
        end(children[-1])
        if children[-1].exitcode != 0:
            for child in children[:-1]:  # as torchrun does when one has died
                child.kill()
        for child in children:
            end(child)
        self.said = (self.log / "0.txt").read_text()
        return children[-1].exitcode

    def weights(self) -> dict[str, str]:
        """Digests of all files of weights."""
        files = sorted((self.folder / "models").iterdir())
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:8] for file in files}


def iterations(folder: Path) -> dict[str, int]:
    """Of a whole training, how many each stage has; the names sort as the stages follow each other."""
    stages = sorted(path for path in (folder / "checkpoints").iterdir() if path.is_dir())
    return {stage.name: CheckpointFolder(stage).load()[1]["iteration"] for stage in stages}


def check_kills(bundle: Path, tmp_path: Path, settings: dict, method: str, processes: int, **options) -> None:
    """Kill a training twice in each stage, at random; every other time with a checkpoint after each iteration."""
    whole = Training(bundle, tmp_path / "whole", settings, method, processes)
    assert whole.run(**options) == 0, whole.said
    draw = random.Random(f"{method} {processes} {options}")
    killed = Training(bundle, tmp_path / "killed", settings, method, processes)
    kills = [
        (stage, iteration, kill)
        for stage, count in iterations(whole.folder).items()
        for iteration in sorted(draw.sample(range(1, count + 1), 2))
    ]
    for number, event in enumerate(kills):
        minutes = 10 * (number % 2)
        status = killed.run(event, resume=number > 0, checkpoint_minutes=minutes, **options)
        assert status == -signal.SIGKILL, (event, killed.said)
        assert not (killed.folder / "models" / "model.pt").exists()
    assert killed.run(resume=True, **options) == 0, killed.said
    assert killed.weights() == whole.weights(), f"after kills at {kills}"


@pytest.mark.slow
@pytest.mark.parametrize("method", OVERLAYS)
def test_kills_at_random_in_every_stage_change_no_bit(bundle, tmp_path, settings, method):
    check_kills(bundle, tmp_path, settings, method, processes=1, **BUFFER.get(method, {}))


@pytest.mark.slow
def test_kills_with_workers_change_no_bit(bundle, tmp_path, settings):
    check_kills(bundle, tmp_path, settings, "separate", processes=1, num_workers=2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["separate", "joint", "cycle", "registered_joint"])  # one a trainer
def test_kills_of_one_of_two_processes_change_no_bit(bundle, tmp_path, settings, method):
    check_kills(bundle, tmp_path, {**settings, "batch_size": 1}, method, processes=2, **BUFFER.get(method, {}))


@pytest.mark.slow
def test_a_training_begun_anew_is_not_resumed_with_the_stages_of_the_earlier_one(bundle, tmp_path, settings):
    whole = Training(bundle, tmp_path / "whole", {**settings, "seed": 1})
    assert whole.run() == 0, whole.said
    again = Training(bundle, tmp_path / "again", settings)
    assert again.run() == 0, again.said
    assert again.run(("stage1", 2, kill), seed=1, checkpoint_minutes=0, overwrite=True) == -signal.SIGKILL
    assert again.run(resume=True, seed=1) == 0, again.said
    assert "stage2 starts anew: " in again.said
    assert again.weights() == whole.weights()


def test_a_training_killed_in_mid_epoch_goes_on_with_its_weights_and_curves(bundle, tmp_path, settings):
    whole = Training(bundle, tmp_path / "whole", settings, "single")
    assert whole.run() == 0, whole.said
    count = iterations(whole.folder)["single"]
    killed = Training(bundle, tmp_path / "killed", settings, "single")
    assert killed.run(("single", count - 1, kill), checkpoint_minutes=0) == -signal.SIGKILL
    assert killed.run(resume=True) == 0, killed.said
    assert f"single goes on after iteration {count // 2 - 2} of {count // 2} in epoch 2 of 2" in killed.said
    assert killed.weights() == whole.weights()
    curves = [EventAccumulator(str(run.folder / "tensorboard" / "single")).Reload() for run in (whole, killed)]
    steps = [[(event.step, event.value) for event in curve.Scalars("loss")] for curve in curves]
    assert steps[0] == steps[1] and len(steps[0]) == count


def test_a_damaged_checkpoint_costs_no_more_than_its_iterations(bundle, tmp_path, settings):
    training = Training(bundle, tmp_path / "out", settings, "single")
    assert training.run() == 0, training.said
    expected = training.weights()
    newest = CheckpointFolder(training.folder / "checkpoints" / "single").files()[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    shutil.rmtree(training.folder / "models")
    assert training.run(resume=True) == 0, training.said
    assert f"warning: {newest}: damaged; " in training.said and "single goes on after epoch 1 of 2" in training.said
    assert training.weights() | {"model_best.pt": ""} == expected | {"model_best.pt": ""}


@pytest.mark.parametrize(
    ("change", "processes", "said"),
    [
        ({"batch_size": 1}, 1, "in batches of 1 on 1 process "),
        ({"batch_size": 1}, 2, "in batches of 1 on 2 processes "),
        ({"dataset_dir": "other"}, 1, "in batches of 2 on 1 process "),
    ],
)
def test_what_is_not_that_of_the_checkpoint_is_refused(bundle, tmp_path, settings, change, processes, said):
    one = Training(bundle, tmp_path / "out", settings, "single")
    assert one.run() == 0, one.said
    if "dataset_dir" in change:  # as many patients of the same size, of whom others are for training
        other = write_phantom_dataset(tmp_path / "other", patients=4, size=64, slices=4, seed=3, progress=False)
        change = {"dataset_dir": str(other)}
    again = Training(bundle, tmp_path / "out", {**settings, **change}, "single", processes=processes)
    assert again.run(resume=True) == INPUT_ERROR
    assert re.search(rf"error: .*in batches of 2 on 1 process .* but here are .*{said}", again.said), again.said


def command(bundle: Path, settings: dict, *launcher: str) -> tuple[list[str], dict[str, str]]:
    """``python -m monai.bundle run`` as a person types it."""
    names = ["train", *(["multi_gpu_train"] if launcher else [])]
    configs = str([str(bundle / "configs" / f"{name}.json") for name in names])
    made = [sys.executable, "-m", *launcher, "monai.bundle", "run", "training", "--config_file", configs]
    for key, value in settings.items():
        made += [f"--{key}", str(value)]
    return made, {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_command_line_saves_and_goes_on(bundle, tmp_path, settings, number):
    """To the whole group, loader's workers included, as Ctrl-C and schedulers send it."""
    settings = {**settings, "stage1#trainer#max_epochs": 40, "num_workers": 2, "val_interval": 20}
    whole = Training(bundle, tmp_path / "whole", settings)
    assert whole.run() == 0, whole.said
    stopped = {**settings, "output_dir": str(tmp_path / "stopped")}
    typed, environment = command(bundle, {**stopped, "checkpoint_minutes": 0})
    process = subprocess.Popen(
        typed, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    until_two_checkpoints(process, tmp_path / "stopped" / "checkpoints" / "stage1")
    os.killpg(process.pid, number)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors[-3000:]
    assert "Traceback" not in errors and "rror" not in errors, errors[-3000:]
    (line,) = [line for line in said.splitlines() if "stopped by" in line]
    assert line.startswith(f"stage1: stopped by {number.name} after iteration") and "--resume True" in line
    assert not (tmp_path / "stopped" / "models" / "auxiliary.pt").exists()
    resumed = Training(bundle, tmp_path / "stopped", settings)
    assert resumed.run(resume=True) == 0, resumed.said
    assert resumed.weights() == whole.weights()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "stage"), [("separate", "stage1"), ("joint", "joint"), ("single", "single")])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_in_a_validation_ends_it_and_changes_no_bit(bundle, tmp_path, settings, method, stage, processes):
    settings = {**settings, "batch_size": 2 // processes}
    whole = Training(bundle, tmp_path / "whole", settings, method, processes)
    assert whole.run() == 0, whole.said
    stopped = Training(bundle, tmp_path / "stopped", settings, method, processes)
    assert stopped.run((stage, 0, terminate)) == 128 + signal.SIGTERM, stopped.said
    checkpoint = CheckpointFolder(stopped.folder / "checkpoints" / stage).load()[1]
    assert checkpoint["epoch"] == 1 and len(checkpoint["missing_validations"]) == 1
    assert stopped.run(resume=True) == 0, stopped.said
    assert stopped.weights() == whole.weights()


@pytest.mark.slow
def test_a_signal_to_torchrun_saves_on_all_processes_and_goes_on(bundle, tmp_path, settings):
    settings = {**settings, "batch_size": 1, "stage1#trainer#max_epochs": 40, "val_interval": 20}
    whole = Training(bundle, tmp_path / "whole", settings, processes=2)
    assert whole.run() == 0, whole.said
    stopped = {**settings, "output_dir": str(tmp_path / "stopped")}
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    typed, environment = command(bundle, {**stopped, "checkpoint_minutes": 0}, *launcher)
    process = subprocess.Popen(
        typed, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until_two_checkpoints(process, tmp_path / "stopped" / "checkpoints" / "stage1")
    process.send_signal(signal.SIGTERM)  # torchrun passes it on, and has words of its own at the end
    said, errors = process.communicate(timeout=120)
    assert said.count("stage1: stopped by SIGTERM after iteration") == 1, errors[-3000:]
    resumed = Training(bundle, tmp_path / "stopped", settings, processes=2)
    assert resumed.run(resume=True) == 0, resumed.said
    assert resumed.weights() == whole.weights()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs needs root: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_in_one_line_and_loses_nothing_that_was_there(bundle, tmp_path, settings, small_disk):
    precious = os.urandom(300_000)
    (small_disk / "precious").write_bytes(precious)
    earlier = small_disk / "out" / "models" / "model.pt"
    earlier.parent.mkdir(parents=True)
    torch.save({"earlier": torch.ones(9)}, earlier)
    before = earlier.read_bytes()
    larger = {**settings, "network_def#channels": [32, 32], "network_def#hidden_channels": 32}
    training = Training(bundle, small_disk / "out", larger, "single")
    assert training.run(checkpoint_minutes=0, overwrite=True) == INPUT_ERROR, training.said
    errors = [line for line in training.said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "cannot be written: No space left on device" in errors[0]
    assert "Traceback" not in training.said
    assert (small_disk / "precious").read_bytes() == precious
    assert earlier.read_bytes() == before
    checkpoints = CheckpointFolder(small_disk / "out" / "checkpoints" / "single").files()
    assert checkpoints and all(is_whole(file) for file in checkpoints)
    left = [str(file.relative_to(small_disk)) for file in small_disk.rglob("*") if file.name.startswith(".")]
    assert left == ["out/checkpoints/.lock"]
    # with more room it goes on
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert training.run(resume=True) == 0, training.said
    assert "single goes on after" in training.said and earlier.read_bytes() != before


def test_nan_in_a_loss_stops_with_the_weights_and_checkpoints_of_before(bundle, tmp_path, settings):
    training = Training(bundle, tmp_path / "out", settings, "single")
    assert training.run() == 0, training.said
    checkpoints = CheckpointFolder(training.folder / "checkpoints" / "single")
    before = training.weights(), checkpoints.files()
    count = checkpoints.load()[1]["iteration"]
    more = {"resume": True, "stage1#trainer#max_epochs": 4}
    assert training.run(("single", count + 2, spoil), **more) == INPUT_ERROR, training.said
    (line,) = [line for line in training.said.splitlines() if line.startswith("error: ")]
    place = f"in epoch 3, iteration {count + 2} of {2 * count};"
    assert line.startswith("error: single: NaN or Inf in discriminator_loss and loss " + place), line
    assert (training.weights(), checkpoints.files()) == before
    assert training.run(**more) == 0, training.said


@pytest.mark.parametrize("method", ["separate", "joint", "single", "cycle", "regression"])
def test_every_stage_has_a_checkpoint_first_that_knows_its_validations(bundle, settings, method):
    names = ["train", *OVERLAYS[method]]
    workflow = ConfigWorkflow(
        config_file=[str(bundle / "configs" / f"{name}.json") for name in names],
        workflow_type="train",
        logging_file=False,
        **{**settings, "checkpoint_minutes": 7, "resume": True},
    )
    workflow.initialize()
    get = workflow.parser.get_parsed_content
    handlers = {"classifier": "classifier", "stage1": "stage1", "train": "stage2"}  # whose trainer has which stage's
    for trainer in get("stages"):
        stage = next(name for name in handlers if trainer is get(f"{name}#trainer"))
        first, *others = get(f"{handlers[stage]}#handlers")
        assert isinstance(first, StageCheckpoint) and first.seconds == 7 * 60 and first.resume
        assert first.training is get("training_folder")
        validations = [each.validator for each in others if isinstance(each, ValidationHandler)]
        assert first.validation.validators == validations and bool(validations) == (stage != "classifier")
