from __future__ import annotations

import sys
from pathlib import Path

import pytest

from monai_nce.command_line import find_bundle, refuse_unknown_flags
from monai_nce.errors import InputError

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "bundles" / "nce" / "configs"
TRAIN = ("run", "training", "--config_file", str(CONFIGS / "train.json"))


def both(first: str, second: str) -> tuple[str, ...]:
    return ("run", "training", f"--config_file=['{CONFIGS / first}','{CONFIGS / second}']")


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--output_dir", "x", "--num_workers", "2"),
        ("--output-dir=x",),  # as Fire has it
        ("--train#trainer#max_epochs", "5"),
        ("--train::trainer::max_epochs", "5"),
        ("--discriminator_def#a_keyword_left_at_its_default", "5"),
        ("--train#handlers#0#_disabled_", "true"),
        ("--stage2#handlers#chance", "0.5"),
        ("--stage2#handlers#savers#0", "@savers#auxiliary"),
        ("--rate", "0.1", "--train#trainer#max_epochs", "$int(@rate * 100)"),  # new, and used
        ("--_meta_#version", "2"),
        ("--resume", "True", "--compile=False", "--network_def#residual", "$not True"),
        ("--resume", "--compile"),
        ("--init_id", "x", "--logging_file", "y", "--tracking", "z"),
        ("--bundle_root#nothing", "5"),  # beyond an expression: MONAI's own business
    ],
)
def test_what_the_configuration_knows_is_taken(flags: tuple[str, ...]) -> None:
    refuse_unknown_flags([*TRAIN, *flags])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--num_worker", "4"), "--num_worker: the configuration has no key num_worker; did you mean --num_workers?"),
        (("--ouput-dir=x",), "--ouput_dir: the configuration has no key ouput_dir; did you mean --output_dir?"),
        (
            ("--trian#trainer#max_epochs", "5"),
            "--trian#trainer#max_epochs: the configuration has no key trian; did you mean --train#trainer#max_epochs?",
        ),
        (
            ("--train#trainr#max_epochs", "5"),
            "--train#trainr#max_epochs: the configuration has no key train#trainr;"
            " did you mean --train#trainer#max_epochs?",
        ),
        (("--xyzzy", "1"), "--xyzzy: the configuration has no key xyzzy"),
        # words that Python, and so MONAI, would take for true
        (("--resume", "false"), "--resume: expected True or False but got false"),
        (("--resume", "true"), "--resume: expected True or False but got true"),
        (("--compile=no",), "--compile: expected True or False but got no"),
        (("--network_def#residual", "0"), "--network_def#residual: expected True or False but got 0"),
        (("--compile=",), "--compile: expected True or False but got"),
    ],
)
def test_what_it_does_not_know_is_refused_with_what_comes_nearest(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as error:
        refuse_unknown_flags([*TRAIN, *flags])
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("classify#max_epochs", "classifier#max_epochs"),
        ("classifier_def#channels", "domain_classifier_def#channels"),
        ("train#max_epochs", "stage2#max_epochs"),
        ("train#optimizer#lr", "stage2#optimizer#lr"),
        ("train::loss::l1_weight", "stage2#loss#l1_weight"),
        ("in_plane_size", "phantom#size"),
    ],
)
def test_a_key_of_before_is_refused_with_its_new_name(old: str, new: str) -> None:
    with pytest.raises(InputError) as error:
        refuse_unknown_flags([*TRAIN, f"--{old}", "3"])
    assert str(error.value) == f"--{old.replace('::', '#')}: is called --{new} now"
    refuse_unknown_flags([*TRAIN, f"--{new}", "3"])


def test_a_key_of_before_in_a_file_is_refused_too(tmp_path: Path) -> None:
    overlay = tmp_path / "own.json"
    files = ("run", "training", "--config_file", str([str(CONFIGS / "train.json"), str(overlay)]))
    overlay.write_text('{"stage2#max_epochs": 3, "train#trainer#max_epochs": 3}')
    refuse_unknown_flags(files)
    overlay.write_text('{"train#max_epochs": 3}')
    with pytest.raises(InputError, match="^train#max_epochs: is called stage2#max_epochs now$"):
        refuse_unknown_flags(files)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("train", "paper", "single"), "single.json: put it before paper.json, whose settings it would undo"),
        (("train", "ixi", "joint"), "joint.json: put it before ixi.json, whose settings it would undo"),
        (("train", "paper_ixi"), "paper_ixi.json: put paper.json before it, which holds"),
        (("train", "paper_ixi", "paper"), "paper_ixi.json: put paper.json before it, which holds"),
    ],
)
def test_files_in_an_order_that_loses_settings_are_refused(files: tuple[str, ...], message: str) -> None:
    listed = str([str(CONFIGS / f"{name}.json") for name in files])
    with pytest.raises(InputError) as error:
        refuse_unknown_flags(["run", "training", "--config_file", listed])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("last", [("multi_gpu_train",), ("evaluate",), ("paper_ixi", "evaluate"), ()])
def test_presets_come_after_schemes_and_before_the_rest(last: tuple[str, ...]) -> None:
    files = [str(CONFIGS / f"{name}.json") for name in ("train", "regression", "oracle", "paper", *last)]
    refuse_unknown_flags(["run", "training", "--config_file", str(files)])


def test_all_files_of_a_list_count() -> None:
    refuse_unknown_flags([*both("train.json", "evaluate.json"), "--checkpoint", "x"])
    with pytest.raises(InputError, match="no key checkpoint"):
        refuse_unknown_flags([*TRAIN, "--checkpoint", "x"])


@pytest.mark.parametrize(
    ("folder", "found"), [(ROOT, "bundles/nce"), (CONFIGS.parent, "."), (ROOT / "docs", str(CONFIGS.parent))]
)
def test_the_bundle_is_found_from_anywhere(monkeypatch: pytest.MonkeyPatch, folder: Path, found: str) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(ROOT / "tests")])
    assert find_bundle() == found


def test_a_bundle_on_the_path_comes_before_the_checkout_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "copy" / "configs").mkdir(parents=True)
    (tmp_path / "copy" / "configs" / "paper_ixi.json").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["elsewhere", str(tmp_path / "copy")])
    assert find_bundle() == str(tmp_path / "copy")


def test_without_a_configuration_there_is_nothing_to_compare_with() -> None:
    refuse_unknown_flags(["run", "--xyzzy", "1"])


def test_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program", *TRAIN, "--xyzzy", "1"])
    refuse_unknown_flags()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_every_run_list_asks_first(path: Path) -> None:
    text = path.read_text()
    assert text.count('"$one_line_errors()"') == text.count('"$one_line_errors()",\n        "$refuse_unknown_flags()"')


@pytest.mark.parametrize("scheme", ["single", "cycle", "joint"])
def test_schemes_that_tell_their_networks_nothing_refuse_a_condition(scheme: str) -> None:
    files = [str(CONFIGS / f"{name}.json") for name in ("train", scheme, "conditional")]
    with pytest.raises(InputError, match=f"^conditional.json: expected separate training, .* but got {scheme}.json"):
        refuse_unknown_flags(["run", "training", "--config_file", str(files)])


def test_the_others_take_it() -> None:
    for schemes in ((), ("regression",), ("regression", "oracle")):
        files = [str(CONFIGS / f"{name}.json") for name in ("train", *schemes, "conditional", "paper")]
        refuse_unknown_flags(["run", "training", "--config_file", str(files), "--condition#dropped", "0.2"])
