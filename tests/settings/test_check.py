from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from monai_nce.errors import InputError
from monai_nce.settings import check_settings, parse_number
from monai_nce.settings.schema import leaves

CONFIGS = Path(__file__).parents[2] / "bundles" / "nce" / "configs"
LEAVES = dict(leaves())
KINDS = {"integer": int, "number": (int, float), "boolean": bool, "string": str, "array": list, "object": dict}


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split("#")):
        value = {part: value}
    return value


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_what_the_bundle_comes_with_is_accepted(path: Path) -> None:
    base = [] if path.stem in ("inference", "metadata", "train") else [str(CONFIGS / "train.json")]
    check_settings(ConfigParser.load_config_files([*base, str(path)]))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("stage2#max_epochs", 0, "a whole number, 1 or more"),
        ("train#trainer#max_epochs", 0, "a whole number, 1 or more"),
        ("seed", -1, "a whole number, 0 or more"),
        ("val_interval", 0, "a whole number, 1 or more"),
        ("num_workers", 1.5, "a whole number, 0 or more"),
        ("batch_size", 2.0, "a whole number, 1 or more"),
        ("batch_size", True, "a whole number, 1 or more"),
        ("spacing", "abc", "a number above 0"),
        ("spacing", math.nan, "a number above 0"),
        ("window_width", math.inf, "a number above 0"),
        ("slices", 2, "an odd whole number, 1 or more"),
        ("betas", [0.5], "a list of 2, each a number from 0 to below 1"),
        ("network_def#channels", [], "a list of 1 or more, each a whole number, 1 or more"),
        ("precision", "fp8", "auto, fp32, bf16 or fp16"),
        ("level", 3, "a number from 0.3 to 2, or none"),
        ("phase", "venous", "arterial, portal, delayed or none"),
        ("suffix", "cect", 'text that says "synthetic", without a slash'),
        ("device", "gpu", "a device of this machine"),
        ("device", "cuda:99", "a device of this machine"),
        ("mixture", 0.2, "a dictionary, each value a number above 0 and below 1"),
        ("output_dir", None, "text, not empty"),
        ("resume", "yes", "True or False"),
    ],
)
def test_what_cannot_be_is_refused_in_words(key: str, value: Any, expected: str) -> None:
    with pytest.raises(InputError) as error:
        check_settings(nested(key, value))
    assert str(error.value) == f"{key}: expected {expected} but got {'nothing' if value is None else repr(value)}"


def test_an_item_of_a_list_is_named_by_its_place() -> None:
    with pytest.raises(InputError, match="^network_def#channels#1: expected a whole number, 1 or more but got 2.5$"):
        check_settings(nested("network_def#channels", (8, 2.5)))


@pytest.mark.parametrize(
    "config",
    [
        {"seed": "$40 + 2", "batch_size": "@size", "network_def": "%other", "slices": np.int64(3)},
        {"output_dir": Path("runs"), "betas": (0.5, 0.9), "spacing": np.float32(1.5), "device": torch.device("cpu")},
        {"condition": None, "network_def": {"channels": [8, "@width"]}, "stage2": {"loss": {"_target_": "L1Loss"}}},
        {"unknown": -1, "phase": None, "level": None, "mixture": {"runs/real": 0.2}, "device": "cpu"},
    ],
)
def test_expressions_and_what_python_callers_give_are_accepted(config: dict[str, Any]) -> None:
    check_settings(config)


ODD = st.one_of(
    st.integers(-9, 9), st.floats(), st.booleans(), st.sampled_from(["", "a", "True", "1", "auto"]),
    st.lists(st.floats(-1, 1), max_size=2), st.dictionaries(st.text("ab", max_size=1), st.integers(), max_size=1),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(LEAVES)), ODD)
def test_of_every_setting_whatever_is_of_another_kind_ends_in_one_line(key: str, value: Any) -> None:
    schema = LEAVES[key]
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    wrong = bool(kinds) and not any(
        isinstance(value, KINDS[kind]) and (kind == "boolean") == isinstance(value, bool)
        for kind in kinds
        if kind != "null"
    )
    try:
        check_settings(nested(key, value))
    except InputError as error:
        assert str(error).startswith(key) and ": expected " in str(error) and " but got " in str(error)
    else:
        assert not wrong, (key, value)


def test_typed_texts_count_in_place_of_what_became_of_them() -> None:
    check_settings({"output_dir": "@output_dir"}, {"output_dir": "a::b"})
    with pytest.raises(InputError, match="^suffix: expected text that says"):
        check_settings({"suffix": "@suffix"}, {"suffix": "cect"})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("size", "64", 64), ("spacing", "1.5", 1.5), ("test_fraction", "0", 0), ("seed", "07", 7)],
)
def test_numbers_of_a_command_line(name: str, text: str, value: float) -> None:
    assert parse_number(f"data_prep#{name}", text) == value


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([key for key in LEAVES if key.startswith("data_prep#")]),
    st.sampled_from(["-1e9", "x", "nan", "", "inf"]),
)
def test_what_is_no_such_number_is_refused(key: str, text: str) -> None:
    if key.endswith("window_level") and text == "-1e9":
        return
    with pytest.raises(InputError, match="^expected a .*number.* but got"):
        parse_number(key, text)


def test_the_schema_is_one() -> None:
    from jsonschema import Draft202012Validator

    file = Path(check_settings.__code__.co_filename).with_name("schema.json")
    Draft202012Validator.check_schema(json.loads(file.read_text(encoding="utf-8")))
