from __future__ import annotations

import pytest

from monai_nce.data import AttemptedDataset, collate_volume


def test_what_is_raised_comes_in_place_of_the_item():
    items = AttemptedDataset([{"image": 1}])
    assert len(items) == 1 and items[0] == {"image": 1}
    error = items[1]
    assert isinstance(error, IndexError) and collate_volume([error]) is error


def test_an_interruption_is_no_item():
    class Stopped(list):
        def __getitem__(self, index):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        AttemptedDataset(Stopped([1]))[0]
