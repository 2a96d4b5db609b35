"""Make NVFlare's job of a stage, or run the stages one after the other in its simulator.

python integrations/nvflare/job.py --data SITE_DATA SITE_DATA ... -o DIR            simulate, a site for each data set
python integrations/nvflare/job.py --export --stage stage1 --sites 3 -o DIR         a job for a real federation
"""

import argparse
import ast
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nvflare.apis.job_def import ALL_SITES
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import FrameworkType, ScriptRunner

from monai_nce.errors import InputError
from monai_nce.federated import NETWORKS, write_start

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from server import StageFedAvg  # noqa: E402 - NVFlare copies the module into the job under this name

ROUNDS = {"classifier": 1, "stage1": 4, "stage2": 5}  # with one epoch each, as many epochs as in train.json
EARLIER = ("classifier.pt", "auxiliary.pt")  # what stage 2 builds on


def make_job(
    stage: str,
    clients: dict[str, str],
    sites: int,
    rounds: int,
    local_epochs: int,
    size: int,
    settings: dict[str, Any],
    earlier_dir: Path,
    work: Path,
) -> FedJob:
    """Make the job of a stage.

    Args:
        stage: one of ``monai_nce.federated.NETWORKS``.
        clients: what is told to ``client.py``, by site.
        sites: how many there are.
        rounds: of the federation.
        local_epochs: of each site in each round.
        size: pixels of a slice.
        settings: of the bundle, for all sites.
        earlier_dir: folder of the weights that stage 2 builds on.
        work: folder for the files that come with the job, until it is exported or run.
    """
    write_start(stage, work / "start", size, settings)
    written = {"stage": stage, "local_epochs": local_epochs, "settings": settings}
    (work / "job.json").write_text(json.dumps(written), encoding="utf-8")
    job = FedJob(name=f"nce_{stage}", min_clients=sites)
    job.set_app_packages(["monai_nce"])  # is installed at the server and at every site
    job.to_server(StageFedAvg(stage=stage, num_clients=sites, num_rounds=rounds))
    job.add_file_to_server(str(work / "start"), dest_dir="start")
    for name, arguments in clients.items():
        job.to(ScriptRunner("client.py", arguments, framework=FrameworkType.NUMPY), name)
        job.add_file_to(str(work / "job.json"), name)
        for file in EARLIER if stage == "stage2" else ():
            job.add_file_to(str(earlier_dir / file), name, dest_dir="earlier")
    return job


def simulate(stage: str, data: Sequence[Path], out: Path, **given: Any) -> None:
    """Run a stage in the simulator; its weights come to ``global`` in the output folder, each site's to its own."""
    clients = {
        f"site-{number}": f"--dataset_dir {shlex.quote(str(folder))} --output_dir {shlex.quote(str(out))}/site-{number}"
        for number, folder in enumerate(data, 1)
    }
    workspace = out / "workspace" / stage
    with tempfile.TemporaryDirectory() as work:
        job = make_job(stage, clients, len(clients), earlier_dir=out / "global", work=Path(work), **given)
        job.simulator_run(str(workspace), log_config="concise")
    for file in NETWORKS[stage]:
        made = workspace / "server" / "simulate_job" / "weights" / file
        if not made.is_file():
            raise InputError(f"{stage}: the simulation ended without {file}; see {workspace}/*/log.txt")
        (out / "global").mkdir(exist_ok=True)
        shutil.copy(made, out / "global" / file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", nargs="+", default=list(NETWORKS), choices=NETWORKS, help="stages, in this order")
    parser.add_argument("--data", nargs="+", type=Path, metavar="DIR", help="simulate: the data set of each site")
    parser.add_argument("--export", action="store_true", help="write the job, and run nothing")
    parser.add_argument("--sites", type=int, default=2, help="export: sites to wait for in each round")
    parser.add_argument("--rounds", nargs="+", type=int, help="rounds of each stage (1, 4 and 5)")
    parser.add_argument("--local_epochs", type=int, default=1, help="epochs of a site in a round (default: 1)")
    parser.add_argument("--size", type=int, default=128, help="pixels of a slice, at all sites (default: 128)")
    parser.add_argument("--earlier", type=Path, help="export of stage2: folder of classifier.pt and auxiliary.pt")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the bundle, for all sites"
    )
    parser.add_argument("-o", "--output_dir", type=Path, required=True)
    args = parser.parse_args()
    if bool(args.data) == args.export:
        parser.error("expected either --data or --export")
    if args.output_dir.exists() and any(args.output_dir.iterdir()):
        parser.error(f"{args.output_dir}: expected a new or empty folder")
    rounds = ROUNDS | dict(zip(args.stage, args.rounds or [], strict=False))
    common = {"local_epochs": args.local_epochs, "size": args.size, "settings": dict(map(_setting, args.set))}
    out = args.output_dir.resolve()
    out.mkdir(parents=True, exist_ok=True)
    data = [folder.resolve() for folder in args.data or []]
    earlier = args.earlier.resolve() if args.earlier else Path()
    os.chdir(HERE)  # of a script with a path NVFlare runs that file itself, and not the one that came with the job
    for stage in args.stage:
        if data:
            simulate(stage, data, out, rounds=rounds[stage], **common)
            continue
        with tempfile.TemporaryDirectory() as work:
            clients = {ALL_SITES: ""}
            if stage == "stage2" and not all((earlier / file).is_file() for file in EARLIER):
                parser.error(f"--earlier: expected a folder with {' and '.join(EARLIER)} for stage2")
            job = make_job(stage, clients, args.sites, rounds[stage], earlier_dir=earlier, work=Path(work), **common)
            job.export_job(str(out))
    return 0


def _setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, value


if __name__ == "__main__":
    sys.exit(main())
