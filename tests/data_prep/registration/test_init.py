from __future__ import annotations

import numpy as np

from data_prep.registration import pull


def test_values_between_voxels_and_beyond() -> None:
    volume = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    points = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 9], [-50, 0, 1], [99, 99, 99]], dtype=np.float32).T
    values = pull(volume, points, (6.0, 2.0, 2.0))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [0, 6, 2, 3, 0.5, 23])
