from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from monai_nce.visualize import DrawImagePreviewd, SaveImagePreviewd, axial_slices, save_preview

LPS = torch.diag(torch.tensor([-2.0, -2.5, 4.0, 1.0]))


def volume(values: np.ndarray, affine: torch.Tensor = LPS) -> MetaTensor:
    return MetaTensor(torch.as_tensor(values, dtype=torch.float32)[None], affine=affine)


def test_axial_slices_turn_any_order_of_axes_to_right_anterior_superior():
    marked = np.zeros((4, 5, 6), dtype=np.float32)
    marked[3, 4, 5] = 1  # farthest towards left, posterior and superior in LPS
    upright, pixel = axial_slices(volume(marked))
    assert upright[0, 0, 5] == 1 and pixel == (2.0, 2.5)
    permuted = torch.zeros(4, 4)
    permuted[2, 0], permuted[0, 1], permuted[1, 2], permuted[3, 3] = 4.0, 2.0, -2.5, 1.0  # S, R, P
    upright, pixel = axial_slices(volume(np.moveaxis(marked, 2, 0)[:, ::-1].copy(), permuted))
    assert upright.shape == (4, 5, 6) and upright[0, 0, 5] == 1 and pixel == (2.0, 2.5)


def test_a_picture_lies_beside_the_volume_and_shows_its_slices(tmp_path, monkeypatch):
    seen = {}

    def spy(rows, *args, **kwargs):
        seen["rows"] = rows
        return draw(rows, *args, **kwargs)

    draw = save_preview.draw_preview
    monkeypatch.setattr(save_preview, "draw_preview", spy)
    source = np.random.default_rng(0).normal(0, 30, (30, 40, 8)).astype(np.float32)
    item = {"pred": volume(source + 25), "hu": volume(source), "output": str(tmp_path / "a_synthetic.nii.gz")}
    SaveImagePreviewd()(DrawImagePreviewd("pred", source_key="hu")(item))
    with Image.open(tmp_path / "a_synthetic.png") as picture:
        assert min(picture.size) > 200
    assert [row.title for row in seen["rows"]] == ["slice 7 of 8", "slice 5 of 8", "slice 3 of 8"]
    row = seen["rows"][1]
    np.testing.assert_array_equal(row.source, source[::-1, ::-1, 4])
    np.testing.assert_allclose(row.made["synthetic CECT"] - row.source, 25, atol=1e-4)
    assert row.target is None


@pytest.mark.parametrize("depth, slices", [(1, 1), (2, 2), (3, 3)])
def test_thin_volumes(tmp_path, depth, slices):
    flat = volume(np.zeros((8, 8, depth)))
    item = {"pred": flat, "hu": flat, "output": tmp_path / "new" / "a.nii"}
    SaveImagePreviewd()(DrawImagePreviewd("pred", source_key="hu")(item))
    assert (tmp_path / "new" / "a.png").is_file()


def test_what_goes_wrong_while_drawing_is_said_when_saving(tmp_path, monkeypatch):
    def fails(rows, *args):
        raise MemoryError("no room for the picture")

    monkeypatch.setattr(save_preview, "draw_preview", fails)
    flat = volume(np.zeros((8, 8, 1)))
    item = DrawImagePreviewd("pred", source_key="hu")({"pred": flat, "hu": flat, "output": tmp_path / "a.nii"})
    with pytest.raises(MemoryError, match="no room"):
        SaveImagePreviewd()(item)
    assert not (tmp_path / "a.png").exists()
