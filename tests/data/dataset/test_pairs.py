from __future__ import annotations

import pytest

from monai_nce.data import evaluation_pairs, regression_pairs
from monai_nce.errors import InputError

BOTH = {"patient": "a", "split": "test", "source": "a_s.nii", "target": "a_t.nii"}


def test_source_against_target() -> None:
    assert evaluation_pairs([BOTH]) == [{"patient": "a", "image": "a_s.nii", "label": "a_t.nii", "aligned": False}]


def test_the_aligned_source_is_preferred() -> None:
    given = {**BOTH, "aligned_source": "a_as.nii"}
    assert evaluation_pairs([given]) == [{"patient": "a", "image": "a_as.nii", "label": "a_t.nii", "aligned": True}]
    assert given["source"] == "a_s.nii"  # the item given stays as it is


def test_an_aligned_source_is_enough() -> None:
    given = {"patient": "a", "target": "a_t.nii", "aligned_source": "a_as.nii"}
    assert [pair["image"] for pair in evaluation_pairs([given])] == ["a_as.nii"]


def test_roles_may_be_exchanged() -> None:
    pairs = evaluation_pairs([{**BOTH, "aligned_source": "a_as.nii"}], image="target", label="source")
    assert pairs == [{"patient": "a", "image": "a_t.nii", "label": "a_as.nii", "aligned": True}]


def test_items_that_lack_a_role_are_left_out() -> None:
    items = [{"patient": "s", "source": "s.nii"}, BOTH, {"patient": "t", "target": "t.nii"}]
    assert [pair["patient"] for pair in evaluation_pairs(items)] == ["a"]
    assert evaluation_pairs(items[::2]) == evaluation_pairs([]) == []


def test_labels_are_the_organs() -> None:
    assert evaluation_pairs([{**BOTH, "labels": "a_l.nii"}])[0]["organs"] == "a_l.nii"


def test_regression_takes_those_with_both() -> None:
    aligned = {**BOTH, "aligned_source": "a_as.nii"}
    alone = {"patient": "b", "split": "training", "target": "b_t.nii", "aligned_source": "b_as.nii"}
    assert regression_pairs([aligned, alone, BOTH]) == [aligned, BOTH]
    assert regression_pairs([aligned, alone, BOTH], "aligned_source") == [aligned, alone]


def test_regression_takes_those_with_all_that_is_asked_for() -> None:
    whole = {**BOTH, "synthetic_source": "a_s.nii", "mask": "a_m.nii"}
    wanted = ("source", "synthetic_source", "mask")
    assert regression_pairs([BOTH, whole], *wanted) == [whole]
    with pytest.raises(InputError, match="no training patient of the data set has source, synthetic_source, mask and"):
        regression_pairs([BOTH], *wanted)


def test_regression_needs_pairs_in_each_data_set_of_a_mixture() -> None:
    other = {"patient": "c", "target": "c_t.nii", "data_set": "runs/real", "share": 0.2}
    with pytest.raises(InputError, match="no training patient of runs/real has both source and target"):
        regression_pairs([BOTH, other])
    other["source"] = "c_s.nii"
    assert regression_pairs([BOTH, other]) == [BOTH, other]


def test_regression_without_pairs_is_refused() -> None:
    with pytest.raises(InputError, match="no training patient of the data set has both aligned_source and target"):
        regression_pairs([BOTH], "aligned_source")


def test_a_condition_is_that_of_the_item() -> None:
    items = [{**BOTH, "phase": "portal"}, {**BOTH, "aligned_source": "a_as.nii"}]
    pairs = evaluation_pairs(items, condition=lambda item: item.get("phase", "unknown"))
    assert [pair["condition"] for pair in pairs] == ["portal", "unknown"]
