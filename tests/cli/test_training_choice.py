from __future__ import annotations

from pathlib import Path

import pytest

from monai_nce.bundle_folder import bundle_folder
from monai_nce.cli.training_choice import PRESETS, SCHEMES, choose_training, said_of
from monai_nce.errors import InputError


@pytest.mark.parametrize(
    ("source", "provenance", "scheme", "files"),
    [
        ("nect", {"tool": "data_prep ct", "size": 128}, "separate", []),
        ("nect", {"tool": "data_prep ct", "size": 256}, "separate", ["paper"]),
        ("t2", {"tool": "data_prep ixi", "size": 128}, "separate", ["ixi"]),
        ("nect", {"tool": "data_prep register", "original": {"size": 128}}, "regression", []),
        ("nect", {"tool": "data_prep register", "auxiliary": {}, "original": {"size": 256}}, "registered", ["paper"]),
        ("t2", {"tool": "data_prep register", "original": {"size": 128}}, "regression", ["ixi"]),
        ("t1", {"tool": "data_prep mr-pairs", "scale": "common"}, "separate", ["ixi", "t1ce"]),
        ("t1", {"tool": "data_prep register", "original": {"scale": "common"}}, "regression", ["ixi", "t1ce"]),
        ("nect", {}, "separate", []),
    ],
)
def test_a_data_set_says_how(source: str, provenance: dict[str, object], scheme: str, files: list[str]) -> None:
    choice = choose_training({"source_domain": source, "provenance": provenance})
    assert choice == (scheme, files, {})
    assert choose_training({"source_domain": source, "provenance": provenance}, "joint")[:2] == ("joint", files)


@pytest.mark.parametrize(
    ("source", "preset", "files"),
    [
        ("nect", "small", []),
        ("nect", "paper-ct", ["paper"]),
        ("t2", "small", ["ixi"]),
        ("t2", "paper-ixi", ["paper", "paper_ixi"]),
    ],
)
def test_a_preset_that_is_named_comes_first(source: str, preset: str, files: list[str]) -> None:
    assert choose_training({"source_domain": source, "provenance": {"size": 256}}, None, preset).preset == files


@pytest.mark.parametrize(("source", "preset"), [("nect", "paper-ixi"), ("t2", "paper-ct")])
def test_a_preset_of_another_modality_is_refused(source: str, preset: str) -> None:
    with pytest.raises(InputError, match=f"^--preset {preset}: made for .*, but the data set is of "):
        choose_training({"source_domain": source}, None, preset)


def test_other_names_of_mri_are_kept() -> None:
    made = {"names": ["T2", "T2 FLAIR"]}
    choice = choose_training({"source_domain": "t2", "provenance": made})
    assert choice == ("separate", ["ixi"], {"target_name": "T2 FLAIR"})


def test_every_file_is_in_the_bundle() -> None:
    abouts = [({}, None), ({}, "paper-ct"), ({"source_domain": "t2", "provenance": {"scale": "common"}}, "paper-ixi")]
    names = {name for files in SCHEMES.values() for name in files}
    names |= {name for about, preset in abouts for name in choose_training(about, None, preset).preset}
    assert all((bundle_folder() / "configs" / f"{name}.json").is_file() for name in names)
    assert all(preset in PRESETS for _, preset in abouts if preset)


@pytest.mark.parametrize(("text", "said"), [('{"name": "a"}', {"name": "a"}), ("[]", {}), ("{", {}), ("\xff", {})])
def test_what_is_wrong_inside_is_left_to_the_training(tmp_path: Path, text: str, said: dict[str, str]) -> None:
    (tmp_path / "datalist.json").write_text(text, encoding="latin-1")
    assert said_of(str(tmp_path)) == said
