"""Say, on the console and with each volume of an inference, what the weights learnt from and were asked for."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.transforms import Transform

from monai_nce.data.dataset.kind import scan_kind
from monai_nce.data.dataset.provenance import Provenance
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.reader import one_volume
from monai_nce.distributed import is_main_process

__all__ = ["AddProvenanced", "tell_training_data", "warn_of_phantoms"]


class AddProvenanced(Transform):
    """Add a :class:`~monai_nce.data.dataset.provenance.Provenance` to a volume, for what writes it and draws it.

    Args:
        data: data sets that the weights learnt from; None where the weights do not say.
        source_key: of the path of the scan, or of the list of its files; need not be there.
        provenance_key: for the result.
        hash_key: of the scan's hash; need not be there.
        settings_hash: of weights and settings.
        phase, level: of the contrast that is asked for; None where it is not.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]] | None,
        source_key: str = "source",
        provenance_key: str = "provenance",
        phase: str | None = None,
        level: float | None = None,
        hash_key: str = "scan_hash",
        settings_hash: str | None = None,
    ) -> None:
        self.settings_hash = settings_hash
        self.hash_key = hash_key
        self.data = data
        self.phase = phase
        self.level = level
        self.source_key = source_key
        self.provenance_key = provenance_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        source = d.get(self.source_key, ())
        files = [source] if isinstance(source, str) else source
        kind = scan_kind(files[0]) if len(files) == 1 else None
        d[self.provenance_key] = Provenance(
            self.data, kind, self.phase, self.level, d.get(self.hash_key), self.settings_hash
        )
        return d


def tell_training_data(
    items: Sequence[Mapping[str, Any]],
    data: Sequence[Mapping[str, Any]] | None,
    phase: str | None = None,
    level: float | None = None,
) -> None:
    """Print what the weights learnt from and are asked for, and :func:`warn_of_phantoms`, before the first volume.

    Args:
        items: as :func:`~monai_nce.data.inference_items` gives them, checked or not.
        data, phase, level: as in :class:`AddProvenanced`.
    """
    provenance = Provenance(data, None, phase, level)
    if is_main_process():
        print(f"weights: trained on {provenance.trained_on}", flush=True)
        if provenance.asked:
            print(f"asked for: {provenance.asked}", flush=True)
    warn_of_phantoms(items, data)


def warn_of_phantoms(items: Sequence[Mapping[str, Any]], data: Sequence[Mapping[str, Any]] | None) -> None:
    """Print a line on stderr where weights that learnt from phantoms alone are given scans that are none."""
    if not Provenance(data).phantoms_alone:
        return
    scans = [one_volume(item.get("source", item["image"])) for item in items]
    strange = [scan.path for scan in scans if Provenance(data, _kind(scan)).phantoms_alone]
    if strange:
        which = f"{strange[0]} is none" if len(strange) == 1 else f"{len(strange)} of {len(scans)} scans are none"
        text = f"the weights were trained on phantoms alone and {which}: what they add there means nothing"
        print(f"WARNING: {text}; train on scans, or name other weights with --checkpoint", file=sys.stderr, flush=True)


def _kind(scan: FoundVolume) -> str | None:
    return scan_kind(scan.path) if scan.kind == "nifti" else None
