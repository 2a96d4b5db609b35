"""Split patients into training, validation and test, seeded."""

from __future__ import annotations

import random
from collections.abc import Iterable

from monai_nce.data.dataset.writer import SPLITS
from monai_nce.errors import InputError

__all__ = ["split_patients"]


def split_patients(
    patients: Iterable[str], validation: float = 0.125, test: float = 0.25, seed: int = 0
) -> dict[str, list[str]]:
    """Put every patient into exactly one split.

    The result depends on the set of patients and the seed, not on their order. A wanted split gets at least one patient
    as soon as there are enough: the first goes to training, the second to test, the third to validation.

    Args:
        patients: the patients' ids.
        validation: share of the patients for validation, 0 for none.
        test: share of the patients for test, 0 for none.
        seed: another seed gives another split.

    Raises:
        InputError: if the shares are negative or leave nothing for training.
        ValueError: if an id comes twice.
    """
    ids = sorted(patients)
    if len(set(ids)) != len(ids):
        raise ValueError("patients: expected each id once but some come twice")
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise InputError(
            f"split: expected fractions of 0 or more that leave some for training but got {validation:g} for validation"
            f" and {test:g} for test"
        )
    random.Random(seed).shuffle(ids)
    n_test = _share(len(ids), test, others=1)
    n_validation = _share(len(ids), validation, others=1 + n_test)
    parts = (ids[n_test + n_validation :], ids[n_test : n_test + n_validation], ids[:n_test])
    return {split: sorted(part) for split, part in zip(SPLITS, parts, strict=True)}


def _share(total: int, share: float, others: int) -> int:
    """Return ``share`` of ``total``, at least one where wanted, and leaving the ``others`` their place."""
    wanted = max(1, round(total * share)) if share else 0
    return max(0, min(wanted, total - others))
