"""Save a volume as a NIfTI file that says what it is, as the last transform of an inference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_nce.data.dataset.provenance import Provenance
from monai_nce.data.files.atomic import writing
from monai_nce.data.nifti.writer import MAX_DESCRIPTION, write_nifti_hu
from monai_nce.data.scans.earlier_result import check_not_of_another_scan

__all__ = ["SaveImageNiftid"]

RESEARCH_ONLY = "; research only"


class SaveImageNiftid(MapTransform):
    """Write volumes ``(1, H, W, D)`` with :func:`write_nifti_hu`: rounded, clipped to int16, and in one step.

    MONAI's ``SaveImaged`` wraps what int16 cannot hold and turns NaN into 0. The name begins like its, since MONAI
    Deploy leaves out the transforms of a bundle whose names begin with LoadImage or SaveImage.

    The header's ``descrip`` is the description, in few words what the weights were asked for and learnt from, and
    "research only", as far as 79 characters go; a "comment" among its extensions has it in full.

    Args:
        keys: MetaTensors, in HU for CT, from 0 to 1000 for MR.
        output_key: key of the file's path; where it is missing, as in a host that saves by itself, nothing is
            written.
        description: for the file's header, in ASCII.
        provenance_key: key of a :class:`~monai_nce.data.dataset.provenance.Provenance`; need not be there.
        allow_missing_keys: leave out keys that the data lacks.

    Raises:
        InputError: when called and the disk is full or not writable, or another scan's result is there by now; what was
            at the path before still is.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_key: str = "output",
        description: str = "SYNTHETIC, made by monai-nce",
        provenance_key: str = "provenance",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_key = output_key
        self.description = description
        self.provenance_key = provenance_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d) if self.output_key in d else ():
            volume = d[key]
            if volume.ndim != 4 or volume.shape[0] != 1:
                raise ValueError(f"expected a volume of shape (1, H, W, D) but got {tuple(volume.shape)}")
            path, provenance = d[self.output_key], d.get(self.provenance_key, Provenance())
            if provenance.scan_hash:
                check_not_of_another_scan(path, provenance.scan_hash)
            with writing(path):
                write_nifti_hu(path, volume[0], volume.affine, *self.texts(provenance))
        return d

    def texts(self, provenance: Provenance) -> tuple[str, str]:
        """Return what the header says of a volume: its ``descrip``, and the comment."""
        learnt = f"Weights trained on {provenance.trained_on}."
        parts = (f"{self.description}.", provenance.request, learnt, provenance.warning)
        end = ("Research use only, not for diagnosis.", provenance.scan_mark)
        return self._descrip(provenance), " ".join(filter(None, (*parts, *end)))

    def _descrip(self, provenance: Provenance) -> str:
        learnt = "PHANTOMS ALONE" if provenance.phantoms_alone else provenance.shortly
        trained = f", {provenance.asked}" if provenance.asked else ""
        trained += f", trained on {learnt}" if learnt else ""
        what = self.description[: MAX_DESCRIPTION - len(trained)]
        whole = f"{what}{trained}{RESEARCH_ONLY}"
        return whole if len(whole) <= MAX_DESCRIPTION else f"{what}{trained}"
