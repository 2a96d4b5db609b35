"""Say in what a CT is unlike the scans that the weights were made for: the trunk, without contrast medium.

A network answers to any input. Here a few plain features of the scan, at a coarse resolution, say what it shows: how
large the body's cross-section is, how much of it is lung, whether bone encloses it, how much of the soft tissue is as
bright as contrast medium makes it, and whether there is fat at all. What cannot be judged is not doubted: a crop has no
cross-section, and a few slices need not show fat.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_nce.data.scans.coarse import CoarseScan
from monai_nce.data.scans.enhancement import BRIGHT_HU, CECT_ABOVE, bright_tissue

__all__ = ["Profile", "doubts"]

MIN_BODY_ML = 60.0  # less is not judged
MIN_TISSUE_ML, MIN_BRIGHT_ML = 50.0, 3.0
LUNG_HU = (-960.0, -250.0)
GAS_HU = -500.0
BONE_HU = 200.0
FAT_HU = (-140.0, -50.0)
CM2 = 100.0  # mm²

SKULL, SKULL_CM2 = 0.35, 40.0  # enclosed by bone, of the cross-section and in cm²
CHEST = 0.1  # lung, of the cross-section
SMALL_CM2 = 130.0  # an arm, or a leg below the thigh
THIGH_CM2, CENTRAL = 300.0, 0.2  # its bone is in the middle, as part of its radius; a spine is at the back
PAIR, PAIR_CM2 = 0.5, 40.0  # the second leg's cross-section, of the first's
LEAST_TRUNK, ENOUGH_TRUNK_MM = 0.2, 80.0
CUT = 0.1  # of the body's outline at the image's edge: a crop, whose cross-section says nothing
LEAST_FAT, LEAST_BONE, WHOLE_ML = 0.005, 0.0005, 1000.0
FLOOR_HU, FLOOR = -500.0, 0.05  # a lowest value that many voxels have, and that is no air: a window's end


@dataclass(frozen=True)
class Profile:
    """Hold what each slice of a scan shows, from below.

    Attributes:
        kinds: ``"trunk"``, ``"chest"``, ``"head"``, ``"limb"`` or ``"neck"``; "" where no body is.
        area: of the body's cross-section in cm².
        lung: part of it.
        enclosed: part of it that bone encloses.
        slice_mm: from one slice to the next.
    """

    kinds: tuple[str, ...]
    area: np.ndarray
    lung: np.ndarray
    enclosed: np.ndarray
    slice_mm: float

    @classmethod
    def of(cls, scan: CoarseScan) -> Profile:
        """Look at each slice."""
        area, lung, enclosed = (np.zeros(scan.hu.shape[2]) for _ in range(3))
        kinds = []
        pixel = float(np.prod(scan.spacing[:2])) / CM2
        for index in range(scan.hu.shape[2]):
            hu, body = scan.hu[..., index], scan.body[..., index]
            count = max(int(np.count_nonzero(body)), 1)
            area[index] = np.count_nonzero(body) * pixel
            # opened: the rim of bowel gas has the lung's values too
            air = ndimage.binary_opening(body & (hu > LUNG_HU[0]) & (hu < LUNG_HU[1]), np.ones((3, 3)))
            lung[index] = np.count_nonzero(air) / count
            bone = body & (hu > BONE_HU)
            enclosed[index] = np.count_nonzero(ndimage.binary_fill_holes(bone) & ~bone) / count
            if not area[index]:
                kinds.append("")
            elif enclosed[index] >= SKULL and enclosed[index] * area[index] >= SKULL_CM2:
                kinds.append("head")
            elif lung[index] >= CHEST:
                kinds.append("chest")
            else:
                kinds.append("limb" if _is_limb(hu, body, bone, pixel) else "trunk")
        top = max((index for index, kind in enumerate(kinds) if kind == "chest"), default=len(kinds))
        kinds[top:] = ["neck" if kind == "trunk" else kind for kind in kinds[top:]]
        return cls(tuple(kinds), area, lung, enclosed, float(scan.spacing[2]))

    def doubt(self) -> str:
        """Say what the scan shows in place of an abdomen; return "" if it shows one."""
        lengths = Counter(kind for kind in self.kinds if kind)
        trunk = lengths["trunk"]
        if not lengths or trunk * self.slice_mm >= ENOUGH_TRUNK_MM or trunk >= LEAST_TRUNK * lengths.total():
            return ""
        most = max(("head", "chest", "limb", "neck"), key=lambda kind: lengths[kind])
        here = [kind == most for kind in self.kinds]
        return {
            "head": f"seems to show a head: bone encloses {np.mean(self.enclosed[here]):.0%} of the cross-section",
            "chest": f"seems to show a chest alone: lung fills {np.mean(self.lung[here]):.0%} of the cross-section",
            "limb": f"seems to show an arm or a leg: a cross-section of {np.median(self.area[here]):.0f} cm²",
            "neck": "seems to show neck and shoulders, which lie above the lungs",
        }[most]


def doubts(volume: np.ndarray, affine: np.ndarray, enhanced_ok: bool = False) -> list[str]:
    """List in what a CT is unlike scans of the trunk without contrast medium, a line for each thing.

    Args:
        volume: (H, W, D) in HU.
        affine: 4×4 matrix from voxel indices to RAS millimetres.
        enhanced_ok: contrast medium is expected.

    Returns:
        Lines such as "seems to show contrast medium already: 45 ml of soft tissue at 95 to 450 HU, 3% of what was
        looked at"; none for a scan of abdomen or pelvis, with or without the chest, or of less than 60 ml of a body.
    """
    low = float(volume.min())
    if low > FLOOR_HU and (share := float(np.mean(volume == low))) > FLOOR:
        return [f"{share:.0%} of its voxels are {low:g} HU and none lower: it was windowed, and shows no air"]
    scan = CoarseScan.of(volume, affine)
    if np.count_nonzero(scan.body) * scan.voxel_ml < MIN_BODY_ML:
        return []
    found = [Profile.of(scan).doubt(), "" if enhanced_ok else _contrast(scan), _lacks(scan)]
    return [line for line in found if line]


def _is_limb(hu: np.ndarray, body: np.ndarray, bone: np.ndarray, pixel: float) -> bool:
    """Tell whether a slice shows one or two legs or arms and nothing else."""
    if _cut(body) > CUT or np.count_nonzero(body & (hu < GAS_HU)) * pixel > 1:
        return False
    dense = ndimage.binary_opening(hu > -300, np.ones((3, 3)))
    parts = sorted((float(count) * pixel for count in np.bincount(ndimage.label(dense)[0].ravel())[1:]), reverse=True)
    if len(parts) > 1 and parts[1] >= max(PAIR * parts[0], PAIR_CM2):
        return True
    area = int(np.count_nonzero(body)) * pixel
    if area < SMALL_CM2 or not bone.any():
        return area < SMALL_CM2
    away = np.subtract(ndimage.center_of_mass(bone), ndimage.center_of_mass(body)) * np.sqrt(pixel * CM2)
    return area < THIGH_CM2 and float(np.hypot(*away)) < CENTRAL * 10 * float(np.sqrt(area / np.pi))


def _cut(body: np.ndarray) -> float:
    """Return the part of the body's outline that lies at the image's edge."""
    edge = int(body[0].sum() + body[-1].sum() + body[:, 0].sum() + body[:, -1].sum())
    outline = int(np.count_nonzero(body & ~ndimage.binary_erosion(body)))
    return edge / max(outline, 1)


def _contrast(scan: CoarseScan) -> str:
    found = bright_tissue(scan)
    if found.total < MIN_TISSUE_ML or found.bright < MIN_BRIGHT_ML or found.share <= CECT_ABOVE:
        return ""
    seen = f"{found.bright:.0f} ml of soft tissue at {BRIGHT_HU[0]:g} to {BRIGHT_HU[1]:g} HU"
    return f"seems to show contrast medium already: {seen}, {found.share:.0%} of what was looked at"


def _lacks(scan: CoarseScan) -> str:
    """Find a whole body without fat or without bone, which no patient is."""
    count = np.count_nonzero(scan.body)
    cut = any(_cut(scan.body[..., index]) > CUT for index in range(scan.body.shape[2]))
    if cut or count * scan.voxel_ml < WHOLE_ML:
        return ""
    fat = np.count_nonzero(scan.body & (scan.hu > FAT_HU[0]) & (scan.hu < FAT_HU[1])) / count
    bone = np.count_nonzero(scan.body & (scan.hu > BONE_HU)) / count
    lacking = [name for name, share, least in (("fat", fat, LEAST_FAT), ("bone", bone, LEAST_BONE)) if share < least]
    return f"holds no {' and no '.join(lacking)}: not a patient's CT" if lacking else ""
