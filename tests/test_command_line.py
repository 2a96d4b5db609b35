from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fire.parser import DefaultParseValue
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from monai_nce.command_line import find_bundle, read_flags
from monai_nce.errors import InputError, find_input_error

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
    read_flags([*TRAIN, *flags])


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
        read_flags([*TRAIN, *flags])
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
        read_flags([*TRAIN, f"--{old}", "3"])
    assert str(error.value) == f"--{old.replace('::', '#')}: is called --{new} now"
    read_flags([*TRAIN, f"--{new}", "3"])


def test_a_flag_of_before_gets_as_far_as_being_refused() -> None:
    parser = ConfigParser(ConfigParser.load_config_files([TRAIN[-1]]))
    for key in ("classify#optimizer#lr", "classifier_def#channels", "train#loss#l1_weight", "train#lr_scheduler#gamma"):
        parser.update({key: 3})  # a KeyError of MONAI's where a key before the last is missing


def test_a_key_of_before_in_a_file_is_refused_too(tmp_path: Path) -> None:
    overlay = tmp_path / "own.json"
    files = ("run", "training", "--config_file", str([str(CONFIGS / "train.json"), str(overlay)]))
    overlay.write_text('{"stage2#max_epochs": 3, "train#trainer#max_epochs": 3}')
    read_flags(files)
    overlay.write_text('{"train#max_epochs": 3}')
    with pytest.raises(InputError, match="^train#max_epochs: is called stage2#max_epochs now$"):
        read_flags(files)


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
        read_flags(["run", "training", "--config_file", listed])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("last", [("multi_gpu_train",), ("evaluate",), ("paper_ixi", "evaluate"), ()])
def test_presets_come_after_schemes_and_before_the_rest(last: tuple[str, ...]) -> None:
    files = [str(CONFIGS / f"{name}.json") for name in ("train", "regression", "oracle", "paper", *last)]
    read_flags(["run", "training", "--config_file", str(files)])


def test_all_files_of_a_list_count() -> None:
    read_flags([*both("train.json", "evaluate.json"), "--checkpoint", "x"])
    with pytest.raises(InputError, match="no key checkpoint"):
        read_flags([*TRAIN, "--checkpoint", "x"])


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
    read_flags(["run", "--xyzzy", "1"])


def test_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["program", *TRAIN, "--xyzzy", "1"])
    assert Settings(tmp_path).taken(given="as it is")["given"] == "as it is"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_every_workflow_asks_first(path: Path) -> None:
    first = json.loads(path.read_text()).get("initialize", ["$one_line_errors()", "$take_settings()"])[:2]
    assert first == ["$one_line_errors()", "$take_settings()"]


class Settings:
    """A small configuration, as MONAI takes it with a command line behind it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "small.json"
        imports = ["$from monai_nce.command_line import take_settings"]
        texts = {
            "output_dir": "runs",
            "checkpoint": "$'no' + 'ne'",
            "weights": {"source": "NECT"},
            "given": "a",
            "seed": 1,
        }
        uses = {
            "file": "$@output_dir + '/model.pt'",
            "copy": "@checkpoint",
            "told": {"_target_": "dict", "name": "@given"},
        }
        self.file.write_text(json.dumps({"imports": imports, **texts, **uses, "initialize": ["$take_settings()"]}))

    def taken(self, **overrides: object) -> dict[str, Any]:
        parser = ConfigParser()
        parser.read_config(str(self.file))
        parser.update(overrides)
        parser.parse()
        parser.get_parsed_content("initialize#0")
        return {key: parser.get_parsed_content(key) for key in (*overrides, "file", "copy", "told")}

    def typed(self, monkeypatch: pytest.MonkeyPatch, **flags: str) -> dict[str, Any]:
        """What a workflow gets for flags."""
        main = ModuleType("__main__")
        main.__spec__ = ModuleSpec("monai.bundle.__main__", None)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "__main__", main)
            typed = [f"--{key}={text}" for key, text in flags.items()]
            patch.setattr(sys, "argv", ["monai", "run", "--config_file", str(self.file), *typed])
            return self.taken(**{key: DefaultParseValue(text) for key, text in flags.items()})


SIGNS = st.text("ab1 #,.()[]{}'\"@$%:\\_-=/", min_size=1, max_size=9)
NAMES = st.one_of(SIGNS, st.sampled_from(["p #2", "2024", "007", "1e3", "1,2", "(x)", "[1]", "{a: 1}", "None", "'q'"]))
BEFORE_US = ("%", "$import")  # what MONAI replaces or imports before anything of the bundle is asked


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES)
def test_a_text_arrives_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assume(not text.startswith(BEFORE_US) and "@#" not in text and "%#" not in text)
    try:
        DefaultParseValue(text)
    except TypeError:  # Fire's own, for a dictionary of lists
        assume(False)
    keys = ("output_dir", "checkpoint", "weights#source", "given")
    got = Settings(tmp_path).typed(monkeypatch, **dict.fromkeys(keys, text))
    assert got == {**dict.fromkeys(keys, text), "file": f"{text}/model.pt", "copy": text, "told": {"name": text}}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"output_dir": "True"}, "--output_dir: expected text behind it but got True"),  # so Fire has it alone
        ({"seed": "2 #3"}, None),
        ({"seed": "1.5"}, "seed: expected a whole number, 0 or more but got 1.5"),
        ({"seed": "one"}, "seed: expected a whole number, 0 or more but got 'one'"),
        ({"seed": "@output_dir"}, None),
        ({"output_dir": ""}, "output_dir: expected text, not empty but got nothing"),
    ],
)
def test_what_is_no_text_is_evaluated_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: dict[str, str], message: str | None
) -> None:
    if message is None:
        Settings(tmp_path).typed(monkeypatch, **flags)
        return
    with pytest.raises(Exception) as error:  # noqa: PT011 - wrapped by MONAI
        Settings(tmp_path).typed(monkeypatch, **flags)
    assert str(find_input_error(error.value)) == message


def test_a_sign_that_monai_changes_is_refused_where_nobody_typed_it(tmp_path: Path) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011
        Settings(tmp_path).taken(output_dir=str(tmp_path / "a#b"))
    assert str(find_input_error(error.value)).startswith("output_dir: expected text without # or ::")
    (tmp_path / "a::b").mkdir()
    assert Settings(tmp_path).taken(output_dir=str(tmp_path / "a::b"))["file"] == f"{tmp_path}/a::b/model.pt"


def test_values_of_a_flag_that_the_shell_took_apart_are_refused() -> None:
    with pytest.raises(InputError, match="^b.nii: expected a flag before it; put what belongs to one flag into quotes"):
        read_flags([*TRAIN, "--dataset_dir", "a.nii", "b.nii", "c.nii"])


def test_the_flags_of_a_file_count_as_typed(tmp_path: Path) -> None:
    file = tmp_path / "args.json"
    file.write_text(json.dumps({"config_file": TRAIN[-1], "output_dir": "a #1", "seed": 3, "compile": True}))
    assert read_flags(["run", "training", "--args_file", str(file)]) == {"output_dir": "a #1"}
    assert read_flags(["run", "--args_file", str(file), "--output_dir", "b"]) == {"output_dir": "b"}


@pytest.mark.parametrize("scheme", ["single", "cycle", "joint", "registered", "registered_joint"])
def test_schemes_that_tell_their_networks_nothing_refuse_a_condition(scheme: str) -> None:
    files = [str(CONFIGS / f"{name}.json") for name in ("train", scheme, "conditional")]
    with pytest.raises(InputError, match=f"^conditional.json: expected separate training, .* but got {scheme}.json"):
        read_flags(["run", "training", "--config_file", str(files)])


def test_the_others_take_it() -> None:
    for schemes in ((), ("regression",), ("regression", "oracle")):
        files = [str(CONFIGS / f"{name}.json") for name in ("train", *schemes, "conditional", "paper")]
        read_flags(["run", "training", "--config_file", str(files), "--condition#dropped", "0.2"])
