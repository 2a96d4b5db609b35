from __future__ import annotations

import numpy as np

from monai_nce.metrics.lesions import find_lesions

LABELS = {"air": 0, "liver": 1, "cyst": 2, "liver_metastasis": 3, "haemangioma": 4}


def label_map() -> np.ndarray:
    numbers = np.zeros((48, 40, 4), np.uint8)
    numbers[2:46, 2:38] = 1
    for number, x in ((2, 8), (3, 22), (4, 36)):
        numbers[x : x + 5, 16:21] = number
    numbers[22, 4, 0] = 2  # too small
    return numbers


def test_lesions_are_found_in_their_organ() -> None:
    numbers = label_map()
    found = {kind: (organ, lesion, around) for kind, organ, lesion, around in find_lesions(numbers, LABELS)}
    assert list(found) == ["liver_metastasis", "haemangioma", "cyst"]  # the single voxel is none
    organ, lesion, around = found["cyst"]
    assert organ == "liver"
    assert lesion.sum() == 9 * 4 and lesion[9:12, 17:20].all()  # without its border
    assert (numbers[around] == 1).all()
    assert not around[8 - 2 : 13 + 2, 18].any() and around[8 - 3, 18].all()  # two voxels away begins the shell
