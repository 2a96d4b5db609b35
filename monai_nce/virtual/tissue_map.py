"""Draw one patient's tissues in an anatomy: what differs between patients who share a label map.

Fat and skin around the trunk, fat in the muscles, layers of kidneys, bones and bowel, bowel contents, small bowel where
the map has none, the vessels of liver and lungs, lesions, effusions and ascites, calcifications, organs that were taken
out. Shapes come from smooth random fields on the anatomy's grid, mostly choices of ours within what scans show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_nce.virtual.anatomy import ABDOMINAL, BONES, Anatomy, Mask, is_any
from monai_nce.virtual.lesions import KINDS, sample_lesions
from monai_nce.virtual.noise import smooth_noise
from monai_nce.virtual.physiology import Physiology
from monai_nce.virtual.structures import STRUCTURES
from monai_nce.virtual.tissue import TISSUES
from monai_nce.virtual.vessels import grow_vessels

__all__ = ["CODES", "TissueMap", "draw_tissues", "redraw_bowel"]

CODES: dict[str, int] = {name: value for value, name in enumerate(TISSUES)}  # air is 0
ORGAN_TISSUES = {  # structure: the tissue that fills it, where it has no layers
    "background": "air",
    "body": "visceral_fat",
    "bone": "spongy_bone",
    "vertebra": "spongy_bone",
    "rib": "spongy_bone",
    "sternum": "spongy_bone",
    "costal_cartilage": "cartilage",
    "trachea": "air",
    "heart": "heart_muscle",
    "artery": "aorta",
    "vein": "lower_veins",
    "gallbladder": "bile",
    "kidney_right": "kidney_cortex",
    "kidney_left": "kidney_cortex",
    "kidney_cyst": "cyst",
    "ureter": "renal_pelvis",
    "stomach": "bowel_content",
    "duodenum": "bowel_content",
    "small_bowel": "bowel_content",
    "colon": "bowel_content",
    "bowel": "bowel_content",
    "urinary_bladder": "urine",
    "liver_lesion": "liver_metastasis",
    "kidney_lesion": "renal_cell_carcinoma",
    "effusion": "fluid",
}
BOWEL = ("stomach", "duodenum", "small_bowel", "colon", "bowel")
KIDNEYS = ("kidney_right", "kidney_left")
REMOVABLE = {"kidney_right": 0.04, "kidney_left": 0.04, "spleen": 0.04, "gallbladder": 0.2}  # shares, choices
DILATED_SHARE = 0.05  # of kidneys, whose pelvis holds much urine; a choice
STONES_SHARE = 0.12  # of patients; a choice
SKIN = 2.5  # mm
FILLED = tuple(ORGAN_TISSUES.get(name, name if name in CODES else "visceral_fat") for name in STRUCTURES)


@dataclass
class TissueMap:
    """Hold one patient's tissues on the anatomy's grid.

    Args:
        codes: uint8 values of ``CODES``.
        fatty: float32, share of fat mixed in.
        uptake: float32, factor on a voxel's enhancement; lesions have their own.
        shade: float32 HU that a voxel lies above its tissue's mean, the same with and without contrast.
        lumen: where bowel has contents and gas; redrawn for another scan.
        front: float32, mm that a voxel lies in front of the middle of the lumen around it; gas rises there.
    """

    codes: NDArray[np.uint8]
    fatty: NDArray[np.float32]
    uptake: NDArray[np.float32]
    shade: NDArray[np.float32]
    lumen: Mask
    front: NDArray[np.float32]

    def hu(self, values: Physiology) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return HU without contrast and the rise in HU, free of noise."""
        nect, rise = (
            np.array([value[name] for name in CODES], np.float32) for value in (values.nect, values.enhancement)
        )
        hu = nect[self.codes] + self.shade
        hu += self.fatty * (np.float32(values.nect["visceral_fat"]) - hu)
        return hu, rise[self.codes] * self.uptake * (1 - self.fatty)


def draw_tissues(anatomy: Anatomy, rng: np.random.Generator, lesions: bool = True) -> TissueMap:
    """Draw the tissues of a patient whose organs are those of ``anatomy``, with lesions of its own or without."""
    structures, spacing = anatomy.structures.copy(), anatomy.spacing
    for name, share in REMOVABLE.items():
        if rng.uniform() < share:
            structures[structures == STRUCTURES[name]] = STRUCTURES["visceral_fat"]
    sexes = [name for name in ("uterus", "prostate") if (structures == STRUCTURES[name]).any()]
    if len(sexes) == 2:  # of a made pelvis
        structures[structures == STRUCTURES[rng.choice(sexes)]] = STRUCTURES["visceral_fat"]
    codes = np.array([CODES[name] for name in FILLED], np.uint8)[structures]
    patient = _Drawing(anatomy, structures, codes, rng)
    clothes = patient.wrap_in_fat()
    patient.add_small_bowel()
    patient.layer_organs()
    patient.add_vessels()
    patient.add_fluid()
    uptake = np.ones(codes.shape, np.float32)
    if lesions:
        patient.add_lesions(uptake)
    patient.add_calcifications()
    patient.add_oral_contrast()
    lumen = codes == CODES["bowel_content"]
    front = _in_front(lumen, spacing)
    codes = redraw_bowel(codes, lumen, front, spacing, rng)
    muscle = codes == CODES["muscle"]
    # food and stool look like anything from water to soft tissue; muscles differ a little from each other
    loops = lumen * smooth_noise(codes.shape, spacing, 35, rng) * np.float32(rng.uniform(0, 22))
    muscles = muscle * smooth_noise(codes.shape, spacing, 60, rng) * np.float32(rng.uniform(0, 6))
    texture = np.array([TISSUES[name].texture for name in CODES], np.float32)[codes]
    shade = smooth_noise(codes.shape, spacing, 9, rng) + smooth_noise(codes.shape, spacing, 40, rng)
    return TissueMap(
        codes=codes,
        fatty=_muscle_fat(muscle, anatomy.named_wall, spacing, rng),
        uptake=uptake * (1 + np.float32(0.06) * smooth_noise(codes.shape, spacing, 25, rng)),
        shade=texture * shade * np.float32(0.7) + clothes + loops + muscles,
        lumen=lumen,
        front=front,
    )


def redraw_bowel(
    codes: NDArray[np.uint8], lumen: Mask, front: NDArray[np.float32], spacing: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Fill the lumen anew with contents, and with gas that rises to the front."""
    codes = codes.copy()
    codes[lumen] = CODES["bowel_content"]
    gas_here = smooth_noise(codes.shape, spacing, 60, rng)  # how much of a loop's front is gas, in mm below its middle
    gas = lumen & (front > 9 - 11 * gas_here - np.float32(rng.uniform(-6, 6)))
    codes[gas] = CODES["bowel_gas"]
    return codes


def _in_front(lumen: Mask, spacing: float) -> NDArray[np.float32]:
    """Measure how many mm a voxel lies in front of the middle of the lumen around it."""
    sigma = 14 / spacing
    inside = lumen.astype(np.float32)
    y = np.arange(lumen.shape[1], dtype=np.float32)[:, None] * np.float32(spacing)
    weight, moment = (ndimage.gaussian_filter(values, sigma, truncate=2.5) for values in (inside, inside * y))
    return y - moment / np.maximum(weight, 1e-4)


def _muscle_fat(muscle: Mask, named: Mask, spacing: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw fat in the muscles: some in all, planes of it between muscles that no map tells apart."""
    amount = rng.uniform(0.0, 0.25)
    streaks = smooth_noise(muscle.shape, spacing, 10, rng)
    fat = np.clip(amount * 0.5 + 0.6 * amount * streaks, 0, 0.8)
    plane = np.abs(smooth_noise(muscle.shape, spacing, 45, rng)) < rng.uniform(0.03, 0.16)
    fat[plane & ~named] = 0.9
    fat[~muscle] = 0
    return fat.astype(np.float32)


class _Drawing:
    """Draw one patient's tissues step by step; later steps draw over earlier ones."""

    def __init__(
        self, anatomy: Anatomy, structures: NDArray[np.uint8], codes: NDArray[np.uint8], rng: np.random.Generator
    ) -> None:
        self.anatomy, self.structures, self.codes, self.rng = anatomy, structures, codes, rng
        self.spacing, self.depth = anatomy.spacing, anatomy.depth

    def noise(self, wavelength: float) -> NDArray[np.float32]:
        return smooth_noise(self.codes.shape, self.spacing, wavelength, self.rng)

    def paint(self, where: Mask, tissue: str) -> None:
        self.codes[where] = CODES[tissue]

    def wrap_in_fat(self) -> NDArray[np.float32]:
        """Put subcutaneous fat and skin around the trunk, in some patients arms beside it; return clothes as HU."""
        distance, rng = self.anatomy.trunk_distance, self.rng
        thickness = np.exp(rng.uniform(np.log(3), np.log(38))) * np.exp(0.3 * self.noise(120))
        outside = distance > 0
        self.paint(outside & (distance <= thickness), "subcutaneous_fat")
        self.paint(outside & (distance > thickness) & (distance <= thickness + SKIN), "skin")
        if rng.uniform() < 0.25:
            self._add_arms(distance > thickness + SKIN)
        gap = rng.uniform(1, 8) * np.exp(0.5 * self.noise(90))
        folds = (self.noise(60) > rng.uniform(-1, 1.5)) & (np.abs(distance - thickness - SKIN - gap) < 1.2)
        return np.float32(rng.uniform(100, 500)) * (folds & (self.codes == CODES["air"]))

    def _add_arms(self, free: Mask) -> None:
        """Lay arms beside the trunk, as far as the grid reaches."""
        rng, spacing = self.rng, self.spacing
        trunk = np.argwhere((self.anatomy.trunk_distance == 0).any(2))
        (left, back), (right, front) = trunk.min(0), trunk.max(0)
        x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in free.shape[:2]), indexing="ij")
        for edge, side in ((left, -1), (right, 1)):
            radius = rng.uniform(32, 48) / spacing
            shift = side * (radius + rng.uniform(8, 30) / spacing)
            center_y = back + (front - back) * rng.uniform(0.25, 0.6)
            level = (np.hypot((x - edge - shift) * rng.uniform(0.85, 1.1), y - center_y) * spacing)[:, :, None]
            reach = radius * spacing
            for inset, tissue in ((0, "skin"), (2.5, "subcutaneous_fat"), (rng.uniform(5, 14), "muscle")):
                self.paint(free & (level < reach - inset), tissue)
            self.paint(free & (level < 11), "cortical_bone")
            self.paint(free & (level < 7), "spongy_bone")

    def add_small_bowel(self) -> None:
        """Wind small bowel through the fat of the abdomen: tubes where two random fields are both near zero."""
        amount = self.rng.uniform(0, 1.0) if not is_any(self.structures, ("bowel",)).any() else self.rng.uniform(0, 0.3)
        organs = is_any(self.structures, ABDOMINAL)
        if not organs.any():
            return
        liver = np.flatnonzero(is_any(self.structures, ("liver",)).any((0, 1)))
        top = int(liver[0] + 0.45 * (liver[-1] - liver[0])) if len(liver) else self.codes.shape[2]
        spine = np.flatnonzero(is_any(self.structures, ("vertebra",)).any((0, 2)))
        back = int(spine[-1]) if len(spine) else 0
        free = (self.structures == STRUCTURES["visceral_fat"]) & (self.anatomy.cavity > 230)
        free[:, :back] = False
        free[:, :, top:] = False
        first, second = self.noise(46), self.noise(46)
        loop = np.sqrt(first * first + second * second)
        edge = np.float32(0.25 + 0.5 * amount)
        self.paint(free & (loop < edge), "bowel_wall")
        self.paint(free & (loop < edge - 0.2), "bowel_content")

    def layer_organs(self) -> None:
        """Draw what organs are built of: cortex and medulla, compact and spongy bone, walls and contents."""
        depth, rng = self.depth, self.rng
        pyramids = self.noise(16)
        cortex = rng.uniform(4.5, 7.5)
        for name in KIDNEYS:
            kidney = is_any(self.structures, (name,))
            self.paint(kidney & (depth > cortex) & (pyramids > -0.5), "kidney_medulla")
            wide = rng.uniform() < DILATED_SHARE  # thins the parenchyma
            sinus = kidney & (depth > (rng.uniform(8, 12) if wide else rng.uniform(14, 21)))
            self.paint(sinus, "visceral_fat")
            self.paint(sinus & (pyramids > (-2.5 if wide else rng.uniform(-1.5, 1.5))), "renal_pelvis")
        pelvis = is_any(self.structures, ("renal_pelvis",))
        self.paint(pelvis & (self.noise(12) > rng.uniform(-1.5, 0.5)), "visceral_fat")
        bones = is_any(self.structures, BONES)
        self.paint(bones & (depth < rng.uniform(1.5, 2.6)), "cortical_bone")
        hollow = is_any(self.structures, BOWEL)
        wall = np.clip(2.2 + 0.6 * self.noise(30), 1.2, 5) * rng.uniform(0.8, 1.5)
        self.paint(hollow & (depth < wall), "bowel_wall")
        stomach = is_any(self.structures, ("stomach",))
        self.paint(stomach & (depth < wall * 1.5), "gastric_wall")
        self.paint(is_any(self.structures, ("urinary_bladder",)) & (depth < rng.uniform(2, 5)), "bladder_wall")
        self.paint(is_any(self.structures, ("gallbladder",)) & (depth < 1.6), "gallbladder_wall")
        chambers = is_any(self.structures, ("heart",)) & (depth > rng.uniform(7, 11)) & (self.noise(40) > -0.8)
        self.paint(chambers, "pulmonary_vein")

    def add_vessels(self) -> None:
        """Grow the veins of the liver and the vessels of the lungs."""
        liver = is_any(self.structures, ("liver",))
        for tissue, near, ends in (("portal_vein", "portal_vein", 70), ("hepatic_vein", "inferior_vena_cava", 45)):
            self._grow(liver, near, tissue, ends, (0.9, 6.0))
        lungs, count = ndimage.label(is_any(self.structures, ("lung",)))
        sizes = ndimage.sum_labels(np.ones_like(lungs, np.uint8), lungs, np.arange(1, count + 1))
        for number in np.argsort(sizes)[::-1][:2] + 1:
            self._grow(lungs == number, "heart", "pulmonary_vein", 160, (0.8, 5.0))

    def _grow(self, organ: Mask, near: str, tissue: str, ends: int, radii: tuple[float, float]) -> None:
        places = np.argwhere(organ[::2, ::2, ::2]) * 2
        if len(places) < 50:
            return
        others = np.argwhere(is_any(self.structures, (near,)))
        goal = others.mean(0) if len(others) else places.mean(0)
        root = places[((places - goal) ** 2).sum(1).argmin()].astype(float)
        thin, thick = radii
        self.paint(grow_vessels(organ, root, ends, (thin / self.spacing, thick / self.spacing), self.rng), tissue)

    def add_fluid(self) -> None:
        """Let fluid collect in some patients: in the pleura behind the lung, in the abdomen around the organs."""
        rng = self.rng
        lungs = is_any(self.structures, ("lung",))
        if lungs.any() and rng.uniform() < 0.25:
            sides = lungs.copy()
            middle = self.codes.shape[0] // 2
            if rng.uniform() < 0.6:  # of one side
                sides[slice(middle, None) if rng.uniform() < 0.5 else slice(None, middle)] = False
            y = np.arange(self.codes.shape[1], dtype=np.float32)[:, None]
            back = np.flatnonzero(lungs.any((0, 2)))
            level = back[0] + rng.uniform(0.05, 0.45) * (back[-1] - back[0])
            self.paint(sides & (y < level + 3 * self.noise(40)), "fluid")
        if rng.uniform() < 0.2:
            fat = (self.codes == CODES["visceral_fat"]) & (self.structures == STRUCTURES["visceral_fat"])
            free = fat & (self.anatomy.cavity > 200)
            self.paint(free & (self.noise(60) > rng.uniform(-0.8, 1.2)), "fluid")

    def add_lesions(self, uptake: NDArray[np.float32]) -> None:
        """Draw lesions, each with its own share of its kind's enhancement."""
        bumps = self.noise(14)
        for lesion in sample_lesions(self.structures, self.spacing, self.rng):
            box, level = lesion.level(self.codes.shape, bumps)
            where = level < 1
            where &= is_any(self.structures[box], KINDS[lesion.tissue].organs)
            self.codes[box][where] = CODES[lesion.tissue]
            uptake[box][where] = self.rng.uniform(0.6, 1.3)
            if lesion.core:
                self.codes[box][where & (level < lesion.core)] = CODES["fluid"]

    def add_calcifications(self) -> None:
        """Put lime into the walls of the arteries of some patients, and stones into the kidneys of some."""
        if self.rng.uniform() < 0.5:
            wall = is_any(self.structures, ("aorta", "artery")) & (self.depth < 2.0)
            self.paint(wall & (self.noise(9) > self.rng.uniform(1.0, 2.5)), "calcification")
        if self.rng.uniform() < STONES_SHARE:
            calyces = is_any(self.structures, KIDNEYS) & (self.depth > 9)
            self.paint(calyces & (self.noise(8) > self.rng.uniform(2.3, 3.2)), "calcification")

    def add_oral_contrast(self) -> None:
        """Let some patients have drunk contrast medium, which has reached part of their bowel."""
        if self.rng.uniform() < 0.15:
            self.paint(
                (self.codes == CODES["bowel_content"]) & (self.noise(70) > self.rng.uniform(-1, 1)), "oral_contrast"
            )
