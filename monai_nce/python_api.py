"""Enhance a scan from Python: ``from monai_nce import enhance``.

It runs the bundle's own configuration, ``inference.json``, with the scan in memory, so that nothing is computed in
another way than by ``python -m monai.bundle run``; the transforms that write are left to :meth:`Enhanced.save`.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from threading import RLock
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Transform
from nibabel.affines import voxel_sizes
from numpy.typing import ArrayLike

from monai_nce.bundle_folder import bundle_folder
from monai_nce.data import Provenance
from monai_nce.data.dicom.header import Derivation
from monai_nce.data.dicom.save_series import acquired_series
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.data.nifti.writer import as_int16_hu, nifti_image
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.in_memory import take_scan
from monai_nce.errors import InputError, find_input_error
from monai_nce.metrics.organ_table import OrganNaming, Organs, organ_table, take_organs
from monai_nce.weights_store import find_weights

__all__ = ["Enhanced", "enhance"]

SAVERS = {"SaveImageNiftid": "nifti", "SaveDicomSeriesd": "dicom"}  # and what they write
WRITES = ("Draw", "Save")  # how the names of transforms begin that are left out
FOUND = "$[{'image': volume} for volume in monai_nce.data.find_volumes(@input, @modality)]"
KEPT = 2  # networks in memory, the last that were used

_lock = RLock()  # warnings' filters and random numbers belong to the process
# the network, its runtime, and the grid that this was chosen for
_kept: OrderedDict[tuple[str, ...], tuple[torch.nn.Module, Any, Any]] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Enhanced:
    """Hold a synthetic contrast-enhanced scan, for research only.

    Attributes:
        hu: (H, W, D) on the scan's grid, float32, in HU for CT, with the affine to RAS millimetres.
        image: the same as an image of the kind that was given: int16, rounded, where the scan had whole numbers, else
            float32. A path gives ``hu``.
        organs: where labels were given, a row for each organ, by :func:`~monai_nce.metrics.organ_table.organ_table`:
            ``organ``, ``ml``, mean HU ``before`` and ``after``, ``change``, ``real`` (None), and ``expected``, the
            lowest and highest change that the literature lets expect. Else None.
        warnings: what speaks against the result, a line each: in what the scan is unlike those that the weights were
            made for, what a reader let pass, weights that learnt from phantoms alone.
        half_width: where ``uncertainty`` was asked for, (H, W, D) in HU: how far each voxel of ``hu`` may be off to
            either side. Else None.
        weights: of the weights ``name``, ``file``, ``sha256``, and what they were ``trained_on``.
    """

    hu: MetaTensor = field(repr=False)
    image: Any = field(repr=False)
    organs: list[dict[str, Any]] | None = field(repr=False)
    half_width: MetaTensor | None = field(repr=False)
    warnings: list[str]
    weights: dict[str, str]
    _writers: Mapping[str, Any] = field(repr=False)
    _provenance: Provenance = field(repr=False)
    _source: Any = field(repr=False)

    def numpy(self) -> np.ndarray:
        """Return ``hu`` as an array (H, W, D), float32."""
        return np.asarray(self.hu.as_tensor().numpy())

    @property
    def affine(self) -> np.ndarray:
        """Return the 4×4 matrix from voxel indices to RAS millimetres."""
        return np.asarray(self.hu.affine.numpy())

    def nibabel(self) -> nib.Nifti1Image:
        """Return the image that :meth:`save` writes: int16, with a header that says what it is."""
        return nifti_image(as_int16_hu(self.numpy()), self.affine, *self._texts)

    @property
    def series_files(self) -> tuple[Path, ...]:
        """Return the DICOM files that were enhanced, in the order of ``hu``'s slices; none of another scan."""
        return acquired_series(self._source).files if "dicom" in self._writers else ()

    @property
    def derivation(self) -> Derivation:
        """Return what a derived series says of how it was made, for hosts that write DICOM by themselves."""
        if "dicom" not in self._writers:
            raise InputError("derivation: expected a DICOM series but the scan was none")
        made: Derivation = self._writers["dicom"].derivation(self._provenance)
        return made

    @property
    def _texts(self) -> tuple[str, str]:
        texts: tuple[str, str] = self._writers["nifti"].texts(self._provenance)
        return texts

    def save(self, path: str | PathLike[str], format: str | None = None) -> Path:
        """Write the result as the bundle does, with what it is, which weights made it and what they learnt from.

        Args:
            path: a ``.nii`` or ``.nii.gz`` file; or a folder, for a DICOM series that is derived from the scan's.
            format: ``"nifti"`` or ``"dicom"``; by default as the path says.

        Returns:
            The file or folder.

        Raises:
            InputError: for a name that does not fit the format, DICOM of a scan that was none, a place that cannot be
                written to, or where something else than an earlier result of this scan is.
        """
        path = Path(path)
        named = path.name.endswith((".nii", ".nii.gz"))
        format = format or ("nifti" if named else "dicom")
        if format not in SAVERS.values():
            raise InputError(f"format: expected nifti or dicom but got {format!r}")
        if named != (format == "nifti"):
            expected = "a name in .nii or .nii.gz" if format == "nifti" else "a folder's name"
            raise InputError(f"{path}: expected {expected} for {format}")
        if format not in self._writers:
            raise InputError(f"{path}: format dicom needs a DICOM series but the scan was none: name a .nii.gz file")
        output = path if named else path.with_name(f"{path.name}.nii.gz")  # the series goes to the name before it
        data = {"pred": self.hu[None], "output": str(output), "source": self._source, "provenance": self._provenance}
        self._writers[format](data)
        return path


class _Keep(Transform):
    """Keep what the transforms before it made."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    def __call__(self, data: Any) -> Any:
        self.data = dict(data)
        return data


def enhance(
    image: Any,
    weights: str | PathLike[str] = "default",
    *,
    affine: ArrayLike | None = None,
    phase: str | None = None,
    level: float | None = None,
    stride: int = 1,
    mode: str = "carry",
    device: str | torch.device | None = None,
    backend: str = "auto",
    precision: str = "auto",
    organs: Any = None,
    naming: OrganNaming = "totalsegmentator",
    uncertainty: bool = False,
    strict: bool = False,
    progress: bool = False,
) -> Enhanced:
    """Make a synthetic contrast-enhanced scan of one without contrast medium; research use only.

    The last two networks stay in memory, so that a second call with the same weights does not load them again. Calls
    from several threads wait for each other. Nothing of the process is changed: threads, filters of warnings, random
    numbers and number formats are afterwards what they were.

    Args:
        image: a file (NIfTI, MetaImage, NRRD) or a DICOM folder, by its path; a NumPy array (H, W, D) with ``affine``;
            or an image of nibabel, SimpleITK, ITK or MONAI (MetaTensor). CT in HU.
        weights: a name, such as ``"default"`` for those that ship; a file, or a folder with ``model.pt``.
        affine: 4×4 matrix from voxel indices to RAS millimetres, of a NumPy array.
        phase: ``"arterial"``, ``"portal"`` or ``"delayed"``, of weights that take one.
        level: contrast level from 0.3 to 2, likewise; 1 is usual.
        stride: slices from one stack to the next, at most those of a stack.
        mode: ``"carry"``, or ``"clamp"`` to limit the body to the network's window.
        device: such as ``"cuda:1"``; by default a GPU if there is one.
        backend: ``"auto"``, ``"torch"`` or ``"openvino"``.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        organs: a label map, as a file, an image, or an array on the scan's grid; on another grid it is resampled by
            nearest neighbour.
        naming: what its numbers mean: ``"totalsegmentator"``, ``"spl"``, a JSON file or ``{5: "liver"}``.
        uncertainty: tell how far each voxel may be off too; takes weights with a calibration, such as those that ship,
            and twice the time.
        strict: refuse a scan that is unlike those that the weights were made for.
        progress: show a bar.

    Returns:
        The result. Its ``warnings`` are Python warnings as well.

    Raises:
        InputError: in one line, for a scan, weights or a setting that cannot be.

    Example:
        >>> from monai_nce import enhance
        >>> enhanced = enhance("scan.nii.gz")  # doctest: +SKIP
        >>> enhanced.save("scan_synthetic_cect.nii.gz")  # doctest: +SKIP
    """
    if isinstance(image, (str, PathLike)) and affine is not None:
        raise InputError("affine: expected with a NumPy array alone: a file says itself where voxels lie")
    given = None if isinstance(image, (str, PathLike)) else take_scan(image, affine)
    checkpoint = find_weights(str(weights))
    settings = {
        **{"checkpoint": checkpoint, "phase": phase, "level": level, "stride": stride, "mode": mode, "strict": strict},
        "uncertainty": uncertainty,
        **{"backend": backend, "precision": precision, "device": None if device is None else str(device)},
        **{"inferer#progress": progress, "runtime#quiet": not progress},
    }
    with _lock, _as_it_was() as caught:
        try:
            labels = None if organs is None else partial(take_organs, organs, naming=naming)
            made, writers = _run(Path(image) if given is None else given.volume, settings, labels)
        except Exception as error:
            if (cause := find_input_error(error)) is None:
                raise
            raise cause from None
    provenance, where = made["provenance"], made["organs"]
    hu = MetaTensor(made["pred"].detach().cpu().as_tensor()[0].float(), affine=made["pred"].affine.cpu())
    said = [*caught, *filter(None, [provenance.warning])]
    for text in said:
        warnings.warn(text, ReaderWarning, stacklevel=2)
    width = made["half_width"] if uncertainty else None
    learnt = {"sha256": file_sha256(checkpoint), "trained_on": provenance.trained_on}
    return Enhanced(
        hu=hu,
        image=hu if given is None else given.like(hu.numpy(), *writers["nifti"].texts(provenance)),
        organs=where and organ_table(made["image_hu"][0].numpy(), hu.numpy(), where, hu.affine.numpy(), phase=phase),
        half_width=None if width is None else MetaTensor(width.detach().cpu().as_tensor()[0], affine=hu.affine),
        warnings=said,
        weights={"name": str(weights), "file": str(checkpoint), **learnt},
        _writers=writers,
        _provenance=provenance,
        _source=made["source"],
    )


def _run(
    image: Path | MetaTensor, settings: Mapping[str, Any], labels: Callable[..., Organs] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the bundle's inference on one scan, but for the transforms that write.

    Returns:
        What the transforms before them made of the scan, with ``organs`` if there are ``labels``; and the savers that
        the scan allows, by their format.
    """
    parser = ConfigParser()
    parser.read_config(bundle_folder() / "configs" / "inference.json")
    keep, transforms = _Keep(), parser["postprocessing#transforms"]
    savers = {SAVERS[name]: one for one in transforms if (name := _name(one)) in SAVERS}
    parser.update({key: value for key, value in settings.items() if value is not None})
    parser["postprocessing#transforms"] = [*(one for one in transforms if not _name(one).startswith(WRITES)), keep]
    for format, saver in savers.items():
        parser[format] = {key: value for key, value in saver.items() if key != "_disabled_"}
    if isinstance(image, Path):
        parser["input"], parser["all_items"] = image, FOUND
    else:
        parser["all_items"] = [{"image": image}]
    key = tuple(str(settings[name]) for name in ("device", "backend", "precision"))
    key += (file_sha256(settings["checkpoint"]),)
    network, runtime, grid = _kept.get(key, (None, None, None))
    if network is not None:
        parser.update({"network_def": network, "network": network, "handlers": []})
    parser.parse()
    parser.get_parsed_content("initialize")
    if len(found := parser.get_parsed_content("all_items")) != 1:
        raise InputError(
            f"{image}: expected one scan but found {len(found)}: name one of them, or a folder that has one"
        )
    for step in ("condition", "left_out"):  # refuse what cannot be, before any work
        parser.get_parsed_content(step)
    (item,) = parser.get_parsed_content("items")
    shape, affine = tuple(item["image"].shape), item["image"].affine.numpy()
    organs = None if labels is None else labels(shape, affine)
    here = (shape, *voxel_sizes(affine).round(3))
    if runtime is not None and (
        settings["backend"] != "auto" or here == grid
    ):  # for another size it may choose another
        parser.ref_resolver.resolved_content["runtime"] = runtime
    parser.get_parsed_content("evaluator").run()
    _kept[key] = (parser.get_parsed_content("network"), parser.get_parsed_content("runtime"), here)
    _kept.move_to_end(key)
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    formats = savers if item["source"].kind == "dicom" else ["nifti"]
    return {**keep.data, "organs": organs}, {format: parser.get_parsed_content(format) for format in formats}


def _name(transform: Mapping[str, Any]) -> str:
    return str(transform["_target_"]).rpartition(".")[2]


@contextmanager
def _as_it_was() -> Iterator[list[str]]:
    """Leave the process as it was, and give the texts of the project's own warnings; others are warned of again."""
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    tf32 = [backend.allow_tf32 for backend in backends]
    texts: list[str] = []
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            yield texts
        own = Path(__file__).parent
        for one in caught:
            if issubclass(one.category, ReaderWarning) or Path(one.filename).is_relative_to(own):
                texts.append(str(one.message))
            else:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    finally:
        for backend, value in zip(backends, tf32, strict=True):
            backend.allow_tf32 = value
