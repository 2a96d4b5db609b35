from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.colors import to_rgb
from PIL import Image

from monai_nce.visualize import Display, FigureRow, draw_registration, draw_synthetic_source, radiological
from monai_nce.visualize.contrast_change import CHANGE_COLOURS, split_change

CT = Display()
IMAGE = hnp.arrays(np.float64, (3, 4), elements=st.floats(-300, 400))


@pytest.mark.parametrize(
    ("target", "source", "aligned", "correct", "false"),
    [
        (120, 40, 40, 80, 0),  # all of the true enhancement and no more
        (120, 70, 40, 50, 0),  # some of it: too little is not false
        (120, -30, 40, 80, 70),  # too much: bowel moved away, or a source that is too dark
        (120, 150, 40, 0, -30),  # the wrong way
        (40, 10, 40, 0, 30),  # where nothing takes up contrast medium
        (40, 90, 40, 0, -50),
        (40, 60, 50, -10, -10),  # the truth may be darker too: noise
        (900, 200, 200, 0, 0),  # beyond the window
    ],
)
def test_with_an_aligned_source(target: float, source: float, aligned: float, correct: float, false: float) -> None:
    found = split_change(*(np.array([[float(value)]]) for value in (target, source, aligned)), CT)
    assert [part.item() for part in found] == [correct, false]


@pytest.mark.parametrize(("target", "correct", "false"), [(120, 80, 0), (10, 0, -30), (40, 0, 0), (900, 160, 0)])
def test_without_one_the_sign_decides(target: float, correct: float, false: float) -> None:
    found = split_change(np.array([[float(target)]]), np.array([[40.0]]), None, CT)
    assert [part.item() for part in found] == [correct, false]


@given(IMAGE, IMAGE, st.none() | IMAGE)
def test_both_parts_add_up_to_the_change(target: np.ndarray, source: np.ndarray, aligned: Any) -> None:
    correct, false = split_change(target, source, aligned, CT)
    np.testing.assert_allclose(correct + false, CT.difference(target, source), atol=1e-9)


@given(IMAGE, IMAGE)
def test_the_aligned_source_itself_has_no_false_change(target: np.ndarray, aligned: np.ndarray) -> None:
    correct, false = split_change(target, aligned, aligned, CT)
    assert not false.any()
    np.testing.assert_array_equal(correct, CT.difference(target, aligned))


def test_correct_is_blue_and_false_is_red() -> None:
    red, black, blue = (to_rgb(CHANGE_COLOURS[place]) for place in (1, 2, 3))
    assert blue[2] > 0.9 and blue[2] > 2 * blue[1] and blue[0] < 0.2
    assert red[0] > 0.9 and red[0] > 2 * red[1] and red[2] < 0.2
    assert max(black[:3]) < 0.01


def moved(**changes: Any) -> FigureRow:
    """A body that fills the picture; the right-anterior quarter takes up contrast, the left-posterior one moved."""
    aligned = np.full((40, 30), 20.0)
    target = aligned.copy()
    target[20:, 15:] = 70
    source = aligned.copy()
    source[:20, :15] = -30
    half = (source + aligned) / 2
    given = {"affine": source + 1, "VoxelMorph": half, "B-spline": aligned}
    return replace(FigureRow("p0, slice 3", source, target, given, aligned), **changes)


def quarters(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Mean colour well within the quarters of a panel, as one looks at a patient."""
    height, width = pixels.shape[:2]
    rows = {"anterior": slice(height // 8, 3 * height // 8), "posterior": slice(5 * height // 8, 7 * height // 8)}
    columns = {"right": slice(width // 8, 3 * width // 8), "left": slice(5 * width // 8, 7 * width // 8)}
    return {f"{s} {a}": pixels[rows[a], columns[s]].mean(axis=(0, 1)) for a in rows for s in columns}


def test_columns_and_lines_of_registrations(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    path = tmp_path / "new" / "figure2.png"
    draw_registration([moved(), moved()], Display(data_name="phantom")).save(path)
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > 1000
    assert len(panels) == 2 * (1 + 2 * 4)
    images = {panel["title"]: panel for panel in panels[:9] if panel["limits"] == (-100, 200)}
    assert list(images) == ["CECT, fixed", "NECT, moving", "affine", "VoxelMorph", "B-spline"]
    expected = [moved().target, moved().source, *moved().made.values()]
    for panel, image in zip(images.values(), expected, strict=True):
        np.testing.assert_array_equal(panel["image"], radiological(image))
        assert "R" in panel["texts"]
    changes = [panel for panel in panels[:9] if panel["limits"] == (-100, 100)]
    assert [panel["title"] for panel in changes] == list(images)[1:]
    note = " ".join(panels[0]["notes"][-1].split())
    assert "aligned NECT" in note and "Window level 50, width 300 HU. Data: phantom. Research use only." in note
    assert panels[0]["bar"] == ["false \N{LEFTWARDS ARROW} HU \N{RIGHTWARDS ARROW} correct"]


def test_contrast_is_blue_and_what_registration_leaves_is_red(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "figure2.png"
    draw_registration([moved()], Display()).save(path)
    changes = {panel["title"]: panel for panel in panels if panel["limits"] == (-100, 100)}
    for name, left_over in (("NECT, moving", 255), ("VoxelMorph", 127), ("B-spline", 0)):
        seen = quarters(panel_pixels(path, changes[name]))
        # 50 HU is the pure colour
        np.testing.assert_allclose(seen["right anterior"], [0x21, 0x66, 0xFF], atol=6)
        assert seen["left posterior"][0] == pytest.approx(left_over, abs=6)
        assert seen["left posterior"][2] < 40
        assert seen["left anterior"].max() < 6 and seen["right posterior"].max() < 6
    shares = [changes[name]["texts"][-1] for name in ("NECT, moving", "VoxelMorph", "B-spline")]
    assert shares == ["50 % false", "33 % false", "0 % false"]


def test_without_an_aligned_source_only_darker_is_red(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "figure2.png"
    darker = moved().source.copy()
    darker[20:, :15] = 70  # right posterior: the target is darker, which contrast medium cannot do
    rows = [moved(made={"m": darker}, aligned_source=None), moved(made={"m": darker})]
    draw_registration(rows, Display()).save(path)
    seen = quarters(panel_pixels(path, [panel for panel in panels if panel["title"] == "m"][1]))
    assert seen["right posterior"][0] > 200 > 50 > seen["right posterior"][2]
    for bright in ("left posterior", "right anterior"):
        assert seen[bright][2] > 200 > 50 > seen[bright][0]
    assert "no aligned NECT" in panels[0]["notes"][-1]
    assert panels[0]["bar"] == ["darker \N{LEFTWARDS ARROW} HU \N{RIGHTWARDS ARROW} brighter"]


def test_other_names_window_and_unit(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    draw_registration([moved()], Display("T2", "PD", 500, 900, unit="")).save(tmp_path / "a.png")
    assert [panel["title"] for panel in panels[:2]] == ["PD, fixed", "T2, moving"]
    assert {panel["limits"] for panel in panels} == {(50, 950), (-300, 300)}
    assert "HU" not in "".join(panels[0]["notes"] + panels[0]["bar"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ([moved(made={})], "at least one method"),
        ([moved(), moved(made={"affine": moved().source})], "methods .* in every row"),
    ],
)
def test_wrong_rows_of_registrations_are_refused(rows: list[FigureRow], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_registration(rows, Display())


@pytest.mark.usefixtures("full_disk")
def test_a_failure_leaves_the_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "figure2.png"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        draw_registration([moved()], Display()).save(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["figure2.png"]


NAME = "synthetic NECT"


def translated(**changes: Any) -> FigureRow:
    """Contrast at right-anterior. In the real source bowel moved: too bright left-posterior, too dark left-anterior."""
    aligned = np.full((40, 30), 20.0)
    target = aligned.copy()
    target[20:, 15:] = 70
    source = aligned.copy()
    source[:20, :15] = 70
    source[:20, 15:] = -30
    synthetic = aligned.copy()
    synthetic[20:, 15:] = 45  # half of the contrast is taken out
    return replace(FigureRow("p0, slice 3", source, target, {NAME: synthetic}, aligned), **changes)


def corners(pixels: np.ndarray) -> list[np.ndarray]:
    """Colours at right-anterior, left-anterior, right-posterior and left-posterior: as the page is read."""
    height, width = pixels.shape[:2]
    return [pixels[y * height // 4, x * width // 4] for y in (1, 3) for x in (1, 3)]


BLACK, BLUE, HALF_BLUE, RED = ([0, 0, 0], [0x21, 0x66, 0xFF], [0x10, 0x33, 0x80], [0xFF, 0x40, 0x20])


def test_columns_of_synthetic_sources(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    draw_synthetic_source([translated()], Display(data_name="phantom")).save(tmp_path / "figure5.png")
    assert [panel["title"] for panel in panels] == [
        "CECT", "real NECT", "synthetic NECT", "CECT - real NECT", "CECT - synthetic NECT", "CECT - aligned NECT",
    ]  # fmt: skip
    for panel, image in zip(panels, (translated().target, translated().source, translated().made[NAME]), strict=False):
        assert panel["limits"] == (-100, 200)
        np.testing.assert_array_equal(panel["image"], radiological(image))
    assert ["SYNTHETIC" in panel["texts"] for panel in panels] == [False, False, True, False, False, False]
    assert all("R" in panel["texts"] for panel in panels)
    assert "Data: phantom. Research use only." in " ".join(panels[0]["notes"][-1].split())


def test_with_the_truth_false_change_is_red_whatever_its_sign(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "figure5.png"
    draw_synthetic_source([translated()], Display()).save(path)
    real, synthetic, aligned = (corners(panel_pixels(path, panel)) for panel in panels[3:])
    np.testing.assert_allclose(real, [BLUE, RED, BLACK, RED], atol=6)
    np.testing.assert_allclose(synthetic, [HALF_BLUE, BLACK, BLACK, BLACK], atol=6)
    np.testing.assert_allclose(aligned, [BLUE, BLACK, BLACK, BLACK], atol=6)
    assert [panel["texts"][-1] for panel in panels[3:]] == ["67 % false", "0 % false", "0 % false"]


def test_without_the_truth_the_sign_decides_as_in_the_paper(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "figure5.png"
    draw_synthetic_source([translated(aligned_source=None), translated()], Display()).save(
        path
    )  # one row without is enough
    assert len(panels) == 2 * 5
    real, synthetic = (corners(panel_pixels(path, panel)) for panel in panels[3:5])
    np.testing.assert_allclose(real, [BLUE, BLUE, BLACK, RED], atol=6)
    np.testing.assert_allclose(synthetic, [HALF_BLUE, BLACK, BLACK, BLACK], atol=6)
    assert panels[3]["texts"][-1] == "33 % darker"
    assert "no aligned NECT" in " ".join(panels[0]["notes"][-1].split())


def test_overshoot_is_red_where_it_exceeds_the_truth(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    synthetic = translated().made[NAME].copy()
    synthetic[20:, 15:] = [[-20.0] * 8 + [-90.0] * 7] * 20  # 50 HU are right; 40 and 110 HU too much
    draw_synthetic_source([translated(made={NAME: synthetic})], Display()).save(tmp_path / "figure5.png")
    seen = radiological(panels[4]["image"])  # turned back
    assert np.unique(seen[20:, 15:23]).tolist() == [50] and np.unique(seen[20:, 23:]).tolist() == [-110]


@pytest.mark.parametrize(
    ("rows", "message"), [([], "at least one row"), ([translated(made={})], "at least one method")]
)
def test_wrong_rows_of_synthetic_sources_are_refused(rows: list[FigureRow], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_synthetic_source(rows, Display())


@pytest.mark.usefixtures("full_disk")
def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        draw_synthetic_source([translated()], Display()).save(tmp_path / "figure5.png")
    assert list(tmp_path.iterdir()) == []
