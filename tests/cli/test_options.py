from __future__ import annotations

import pytest

from monai_nce.cli.options import as_settings
from monai_nce.errors import InputError


def test_settings_are_split_at_the_first_sign() -> None:
    assert as_settings(["stage2#max_epochs=3", "a::b=c=d", "text="]) == {
        "stage2#max_epochs": "3",
        "a::b": "c=d",
        "text": "",
    }


@pytest.mark.parametrize("text", ["True", "--seed=1", "=1", "a b=1", "stage2#=1", "scan.nii.gz"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected KEY=VALUE, such as seed=1"):
        as_settings([text])
