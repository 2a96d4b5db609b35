"""Read which structure a segmentation's numbers and names stand for.

A naming is a JSON file ``{"key": "structure"}``. A key is a label number, a name or both (``"5 liver"``): numbers count
in a file of many labels, names where each structure has a file of its own or the file's header names its numbers. The
structures are those of :data:`~monai_nce.virtual.structures.STRUCTURES`; ``background`` leaves a label out. The key
``"spacing": {"header": […], "voxels": […]}`` corrects files whose headers are known to be wrong: where a header has the
first three spacings in mm, the second three count.

Two come with the package:
    ``totalsegmentator.json``: class numbers and names of TotalSegmentator 2, task ``total``, and by name what
        other tasks (``body``, ``tissue_types``, ``pleural_pericard_effusion``, ``liver_vessels``, …) and version 1
        have. Number 118 is read as costal cartilage too: the map of DiffDRR counts it so, with 117 for carpal bones,
        which no torso has.
        Source: https://github.com/wasserth/TotalSegmentator, ``map_to_binary.py``.
    ``spl.json``: the SPL/NAC abdominal atlas, ``AbdominalAtlasColors.ctbl``. It does not tell ileum from colon (here
        bowel), nor duodenum from stomach (here stomach). Renal veins count as inferior vena cava, whose blood they
        bring; mesenteric and splenic veins as portal vein. Number 699, which its table lacks, is on a few stray voxels
        between ribs and muscle, and left out.
        Its header's 0.9375 × 0.9375 × 1.5 mm would give an adult spine a lumbar vertebra every 17.6 mm, discs L2/L3 37
        mm wide, kidneys of 47 ml each and adrenal glands of 1.1 ml. Read as 1.25 × 1.25 × 3 mm they are 35 mm, 49 mm,
        168 ml and 3.9 ml, as in adults (kidneys 157 to 193, adrenal glands from 4.4 ml: Geraghty et al., Abdominal
        Imaging 2004). The true spacings are not known; these fit within about a tenth.
        Source: https://github.com/mhalle/spl-abdominal-atlas.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, TypeGuard

from monai_nce.errors import InputError
from monai_nce.virtual.structures import STRUCTURES

__all__ = ["MAX_NUMBER", "NAMINGS", "Naming", "read_naming"]

NAMINGS = ("totalsegmentator", "spl")
MAX_NUMBER = 65535  # label numbers are kept as uint16
SHOWN = 8  # structures that an error lists


@dataclass(frozen=True)
class Naming:
    """Say which structure numbers and names stand for.

    Attributes:
        title: what a user calls it: one of :data:`NAMINGS` or a file.
        numbers: label number to value in ``STRUCTURES``; 0 is the background.
        names: lower-case name to value in ``STRUCTURES``; the structures' own names are among them.
        spacing: spacings in mm that a header is known to have wrongly, and those that count; None if it has none.
    """

    title: str
    numbers: dict[int, int]
    names: dict[str, int]
    spacing: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def read_naming(naming: str | PathLike[str]) -> Naming:
    """Read a naming.

    Args:
        naming: ``"totalsegmentator"``, ``"spl"`` or a JSON file.

    Raises:
        InputError: if there is no such naming, the file is no JSON object of texts, a key is given twice or neither a
            number nor a name, a structure is unknown, or ``spacing`` is not as above.
    """
    if naming in NAMINGS:
        file = resources.files(__name__) / f"{naming}.json"
        return _parse(str(naming), file.read_text(encoding="utf-8"))
    path = Path(naming)
    if path.suffix.lower() != ".json":
        raise InputError(f"expected naming to be {', '.join(NAMINGS)} or a JSON file but got {str(naming)!r}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return _parse(str(path), path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable JSON file") from error


def _parse(title: str, text: str) -> Naming:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{title}: not a readable JSON file ({error})") from error
    if not isinstance(pairs, list) or not pairs or not all(isinstance(pair, tuple) for pair in pairs):
        raise InputError(f'{title}: expected a JSON object such as {{"5": "liver"}}')
    numbers, names = {0: 0}, dict(STRUCTURES)
    seen: set[int | str] = set()
    spacing = None
    for key, structure in pairs:
        if key == "spacing" and isinstance(structure, list):
            spacing = _spacing(title, structure)
            continue
        found = re.fullmatch(r"(\d{1,9})?(?:(?:^|\s+)([^\W\d].*?))?\s*", key.strip())
        if not found or not key.strip():
            raise InputError(f"{title}: expected a number, a name or both as key but got {key!r}")
        value = _structure(title, key, structure)
        number = None if found[1] is None else int(found[1])
        name = None if found[2] is None else found[2].lower()
        if number and number > MAX_NUMBER:
            raise InputError(f"{title}: expected label numbers up to {MAX_NUMBER} but got {number}")
        if number == 0 and value:
            raise InputError(f"{title}: expected 0 to be the background but got {structure!r}")
        for part in (number, name):
            if part is not None and part in seen:
                raise InputError(f"{title}: {part} is given twice")
        seen |= {part for part in (number, name) if part is not None}
        if number is not None:
            numbers[number] = value
        if name is not None:
            names[name] = value
    return Naming(title, numbers, names, spacing)


def _spacing(title: str, pairs: list[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    given = {pair[0]: pair[1] for pair in pairs if isinstance(pair, tuple)}
    header, voxels = given.get("header"), given.get("voxels")
    if not (_three_sizes(header) and _three_sizes(voxels)):
        raise InputError(f'{title}: spacing: expected {{"header": [x, y, z], "voxels": [x, y, z]}} in mm')
    return tuple(header), tuple(voxels)


def _three_sizes(sizes: Any) -> TypeGuard[list[float]]:
    return isinstance(sizes, list) and len(sizes) == 3 and all(isinstance(mm, (int, float)) and mm > 0 for mm in sizes)


def _structure(title: str, key: str, structure: object) -> int:
    if isinstance(structure, str) and structure in STRUCTURES:
        return STRUCTURES[structure]
    close = difflib.get_close_matches(str(structure), STRUCTURES, n=SHOWN, cutoff=0.0)
    rest = len(STRUCTURES) - len(close)
    raise InputError(f"{title}: {key}: expected a structure ({_listed(close, rest)}) but got {structure!r}")


def _listed(names: Iterable[str], rest: int) -> str:
    return ", ".join(names) + (f" and {rest} more" if rest > 0 else "")
