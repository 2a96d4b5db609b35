from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_nce.data.dataset.splits import split_patients

PATIENTS = st.lists(st.text(min_size=1), unique=True, max_size=60)
SEED = st.integers(0, 1000)


@given(PATIENTS, SEED)
def test_every_patient_is_in_exactly_one_split(patients: list[str], seed: int) -> None:
    splits = split_patients(patients, seed=seed)
    assert list(splits) == ["training", "validation", "test"]
    assert sorted(sum(splits.values(), [])) == sorted(patients)


@given(PATIENTS.flatmap(lambda p: st.tuples(st.just(p), st.permutations(p))), SEED)
def test_the_order_given_does_not_matter(patients: tuple[list[str], list[str]], seed: int) -> None:
    assert split_patients(patients[0], seed=seed) == split_patients(patients[1], seed=seed)


@given(PATIENTS, st.floats(0, 0.49), st.floats(0, 0.49), SEED)
def test_training_comes_first(patients: list[str], validation: float, test: float, seed: int) -> None:
    splits = split_patients(patients, validation, test, seed)
    assert bool(splits["training"]) == bool(patients)
    if len(patients) >= 3:
        assert bool(splits["validation"]) == (validation > 0)
        assert bool(splits["test"]) == (test > 0)


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (24, (15, 3, 6))]
)
def test_sizes(count: int, sizes: tuple[int, int, int]) -> None:
    assert tuple(map(len, split_patients(map(str, range(count))).values())) == sizes


@given(PATIENTS, st.floats(0, 0.49), SEED)
def test_the_test_split_does_not_depend_on_the_share_for_validation(
    patients: list[str], share: float, seed: int
) -> None:
    """So that a network trained with a validation split is tested on the same patients as one without."""
    without = split_patients(patients, validation=0, test=0.2, seed=seed)
    assert not without["validation"]
    assert split_patients(patients, share, 0.2, seed)["test"] == without["test"]


def test_the_seed_matters() -> None:
    patients = [str(index) for index in range(24)]
    assert split_patients(patients, seed=0) != split_patients(patients, seed=1)


@pytest.mark.parametrize("given", [{"patients": ["a", "a"]}, {"validation": 0.5, "test": 0.5}, {"test": -0.1}])
def test_wrong_arguments(given: dict) -> None:
    with pytest.raises(ValueError):
        split_patients(**{"patients": ["a", "b"], **given})
