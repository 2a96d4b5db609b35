"""Which volumes an inference reads and where each result goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from tqdm import tqdm

from monai_nce.data.reader import check_volume, find_volumes, read_ct
from monai_nce.errors import InputError

__all__ = ["check_inference_items", "inference_items"]


def inference_items(
    path: str | PathLike[str], output_dir: str | PathLike[str], suffix: str = "synthetic_cect", empty_ok: bool = False
) -> list[dict[str, str]]:
    """List the volumes below a path and the file that each becomes.

    ``scan.nii.gz`` becomes ``OUTPUT_DIR/scan_<suffix>.nii.gz``, a DICOM folder ``series`` ``series_<suffix>.nii.gz``,
    and what lies in folders below the path goes to folders of the same name. Files that carry the suffix already are
    earlier results and left out.

    Args:
        path: a NIfTI file, a DICOM folder, or a folder of either.
        output_dir: folder of the results.
        suffix: what the names of results end in; it must say that they are synthetic.
        empty_ok: return an empty list where there is nothing, for workflows that are only set up.

    Returns:
        One dictionary per volume: ``image`` and ``output``.

    Raises:
        InputError: if no path is given, nothing is there, two volumes would become one file, or an input is itself an
            earlier result.
    """
    if not str(path):
        if empty_ok:
            return []
        raise InputError("no input given: --input names a NIfTI file, a DICOM folder or a folder of either")
    if "synthetic" not in suffix:
        raise InputError(f"suffix: expected one that says 'synthetic' but got {suffix!r}")
    root, output_dir = Path(path), Path(output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"{output_dir}: expected a folder for the results but it is a file")
    if empty_ok and root.is_dir() and not any(root.iterdir()):
        return []
    volumes = find_volumes(root)
    ending = f"_{suffix}.nii.gz"
    fresh = [volume for volume in volumes if not volume.name.endswith(ending)]
    if not fresh:
        raise InputError(f"{root}: holds nothing but results of an earlier inference (names end in {ending})")
    items: dict[Path, Path] = {}
    for volume in fresh:
        folder = volume.parent.relative_to(root) if volume.is_relative_to(root) and volume != root else Path()
        output = output_dir / folder / (_stem(volume) + ending)
        if output in items:
            raise InputError(f"{volume}: would become {output}, as would {items[output]}")
        items[output] = volume
    return [{"image": str(volume), "output": str(output)} for output, volume in items.items()]


def check_inference_items(items: Sequence[Mapping[str, str]]) -> None:
    """Refuse what cannot be read before the first volume is computed.

    One volume's headers are checked: what only its voxels show comes out when it is read, with nothing written yet. Of
    several, every voxel is read, since a run must not end at a bad volume after hours.

    Args:
        items: as :func:`inference_items` gives them.

    Raises:
        InputError: naming the first volume that cannot be used.
    """
    if len(items) == 1:
        check_volume(items[0]["image"])
        return
    for item in tqdm(items, desc="checking the input", unit="volume", leave=False):
        read_ct(item["image"])


def _stem(volume: Path) -> str:
    name = volume.resolve().name
    if volume.is_dir():
        return name
    return name.removesuffix(".gz").removesuffix(".nii")
