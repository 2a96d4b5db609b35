"""Put a picture beside each synthetic volume, so that it is looked at before it is used."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from monai_nce.data import atomic_path
from monai_nce.data.files.atomic import writing

from .panels import Display, FigureRow
from .preview import axial_slices, draw_preview

__all__ = ["DrawImagePreviewd", "SaveImagePreviewd"]


class DrawImagePreviewd(MapTransform):
    """Draw slices of a synthetic volume beside the scan it was made from, and what changed, in a thread of its own.

    Three slices at a quarter, half and three quarters of the volume. They are drawn while the volume is saved, and
    :class:`SaveImagePreviewd` puts the picture beside it.

    Args:
        keys: the synthetic volume ``(1, H, W, D)``, a MetaTensor in ``unit``.
        source_key: the scan, likewise.
        preview_key: for the picture that is being drawn, a future of the bytes of a PNG file.
        source_name, target_name, window_level, window_width, unit: as in :class:`Display`.
        allow_missing_keys: leave out keys that the data lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str,
        preview_key: str = "preview",
        source_name: str = "NECT",
        target_name: str = "CECT",
        window_level: float = 50.0,
        window_width: float = 300.0,
        unit: str = "HU",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.source_key = source_key
        self.preview_key = preview_key
        self.display = Display(source_name, target_name, window_level, window_width, unit)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            (source, pixel), (synthetic, _) = axial_slices(d[self.source_key]), axial_slices(d[key])
            depth, name = source.shape[2], f"synthetic {self.display.target_name}"
            rows = [
                FigureRow(f"slice {z + 1} of {depth}", source[..., z], made={name: synthetic[..., z]}, pixel_size=pixel)
                for z in sorted({depth // 4, depth // 2, depth * 3 // 4}, reverse=True)  # from the head down
            ]
            thread = ThreadPoolExecutor(1, thread_name_prefix="drawing")
            d[self.preview_key] = thread.submit(self._draw, rows)
            thread.shutdown(wait=False)
        return d

    def _draw(self, rows: Sequence[FigureRow]) -> bytes:
        return draw_preview(rows, self.display, "SYNTHETIC.").png()


class SaveImagePreviewd(Transform):
    """Write the picture of a :class:`DrawImagePreviewd` beside the volume, once that is there.

    Args:
        output_key: where the path of the volume's file stands; the PNG gets the same name.
        preview_key: of the picture.

    Raises:
        InputError: when called and the disk is full or not writable.
    """

    def __init__(self, output_key: str = "output", preview_key: str = "preview") -> None:
        self.output_key = output_key
        self.preview_key = preview_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        picture = d.pop(self.preview_key).result()
        path = str(d[self.output_key]).removesuffix(".gz").removesuffix(".nii") + ".png"
        with writing(path), atomic_path(path) as partial:
            partial.write_bytes(picture)
        return d
