from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from monai_nce.visualize.bland_altman import draw_bland_altman


def test_points_and_lines_are_where_they_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *given, **named: (drawn.append(self), save(self, *given, **named))
    )
    pairs = {"liver": [[100, 110], [95, 101]], "portal_vein": [[180, 170]]}
    png = draw_bland_altman(pairs, {"liver": (-8, -13.5, -2.5), "portal_vein": (10, None, None)}, note="Some data.")
    assert Image.open(io.BytesIO(png)).size[0] == 520
    liver, vein = drawn[0].axes
    np.testing.assert_allclose(liver.collections[0].get_offsets(), [[105, -10], [98, -6]])
    assert [line.get_ydata()[0] for line in liver.lines] == [0, -8, -13.5, -2.5]
    assert [line.get_ydata()[0] for line in vein.lines] == [0, 10]
    assert vein.get_title() == "portal vein" and "Some data." in drawn[0].get_supxlabel()
    with pytest.raises(ValueError, match="expected an organ"):
        draw_bland_altman({}, {})
