"""Draw one virtual patient's HU without contrast and rise in HU, correlated as in one body.

The sources in brackets are those of :mod:`monai_nce.virtual.tissue`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from monai_nce.contrast import check_contrast
from monai_nce.virtual.tissue import PAPILLARY_CARCINOMA, PHASES, TISSUES, Tissue

PHASE_SHARES = (0.15, 0.6, 0.25)  # of PHASES; most clinical scans are portal-venous
LEVEL_RANGE = (0.6, 1.0, 1.5)  # lowest, most frequent and highest factor on every rise: weight, dose [B10] [H95]
TIMING_RANGE = 0.15  # how far a scan is early or late, in steps from one phase to the next
DEVIATION_LIMIT = 2.0  # values are drawn within so many standard deviations

# Blood has one HU without contrast in every vessel [D93], and a haemangioma is blood.
_BLOOD = "aorta pulmonary_vein superior_vena_cava inferior_vena_cava lower_veins portal_vein hepatic_vein haemangioma"
BLOOD = tuple(_BLOOD.split())
# Tissues that are brighter or darker together: of one patient and one scanner [P80] [L14].
_VARY_TOGETHER = (
    "skin subcutaneous_fat visceral_fat muscle liver spleen kidney_cortex pancreas adrenal_gland gastric_wall "
    "bowel_wall bladder_wall prostate uterus heart_muscle esophagus"
)
VARY_TOGETHER = frozenset(_VARY_TOGETHER.split())
SHARED_VARIANCE = 0.3  # of their variance

FATTY_LIVER_SHARE = 0.2  # of patients: 13 % [P24] to 17 % [Z12] and more, by the limit
FATTY_LIVER_NECT = 10.0  # HU of the fattest liver
FATTY_LIVER_RISE = 0.65  # of the lean liver's rise, where the liver is fattest: below 40 HU three quarters [P24]
METASTASIS_MARGIN = 4.0  # HU by which a metastasis is darker than the liver, at least
METASTASIS_RISE = 0.8  # of the liver's rise, at most
PAPILLARY_SHARE = 0.25  # of renal cell carcinomas, with chromophobe ones

# Excreted contrast is there after some minutes only, in the bladder later than in the renal pelvis.
EXCRETED_SHARES = {"renal_pelvis": 0.9, "urine": 0.5}


@dataclass(frozen=True)
class Physiology:
    """Hold one patient's HU by tissue: the keys of ``TISSUES``."""

    phase: str  # one of ``PHASES``
    level: float  # contrast level, a factor about 1 on every rise
    nect: dict[str, float]  # HU without contrast
    enhancement: dict[str, float]  # rise in HU, level and timing included
    timing: float = 0.0  # how far the scan is late (or early, if negative), in steps from one phase to the next


def sample_physiology(rng: np.random.Generator, phase: str | None = None) -> Physiology:
    """Draw one patient's HU without contrast and rise in HU.

    The same ``rng`` gives the same patient in whichever phase: HU without contrast, level and timing are the same.

    Args:
        rng: what all is drawn from.
        phase: one of ``PHASES``; drawn if None.

    Raises:
        InputError: unknown phase.
    """
    drawn = str(rng.choice(PHASES, p=PHASE_SHARES))
    phase = drawn if phase is None else phase
    check_contrast(phase)
    level = float(rng.triangular(*LEVEL_RANGE))
    timing = float(rng.uniform(-TIMING_RANGE, TIMING_RANGE))
    fat = _sample_fat_fraction(rng)
    return Physiology(phase, level, _sample_nect(rng, fat), _sample_rise(rng, phase, level, timing, fat), timing)


def _sample_fat_fraction(rng: np.random.Generator) -> float:
    """Draw how fat the liver is: 0 in most patients, 1 in the fattest."""
    fatty, extent = rng.uniform(size=2)
    return float(0.15 + 0.85 * extent**2) if fatty < FATTY_LIVER_SHARE else 0.0


def _sample_nect(rng: np.random.Generator, fat: float) -> dict[str, float]:
    shared = _deviations(rng, 1)[0]
    nect = {}
    for (name, tissue), deviation in zip(TISSUES.items(), _deviations(rng, len(TISSUES)), strict=True):
        if name in VARY_TOGETHER:
            deviation = np.sqrt(SHARED_VARIANCE) * shared + np.sqrt(1 - SHARED_VARIANCE) * deviation
            deviation = np.clip(deviation, -DEVIATION_LIMIT, DEVIATION_LIMIT)
        nect[name] = float(tissue.nect + tissue.spread * deviation)
    for name in BLOOD:
        nect[name] = nect["aorta"]
    nect["kidney_medulla"] = nect["kidney_cortex"]  # only contrast tells them apart
    lean = nect["liver"]
    nect["liver"] = lean - fat * (lean - FATTY_LIVER_NECT)
    nect["liver_metastasis"] = min(nect["liver_metastasis"], nect["liver"] - METASTASIS_MARGIN)
    nect["hepatocellular_carcinoma"] = min(nect["hepatocellular_carcinoma"], lean)  # in a fatty liver it is bright
    return nect


def _sample_rise(rng: np.random.Generator, phase: str, level: float, timing: float, fat: float) -> dict[str, float]:
    excreted, papillary = rng.uniform(size=2)
    tissues = TISSUES
    if papillary < PAPILLARY_SHARE:
        tissues = TISSUES | {"renal_cell_carcinoma": PAPILLARY_CARCINOMA}
    enhancement = {}
    for (name, tissue), deviation in zip(tissues.items(), _deviations(rng, len(tissues)), strict=True):
        if name in EXCRETED_SHARES:
            rise = tissue.delayed if phase == "delayed" and excreted < EXCRETED_SHARES[name] else 0.0
        else:
            rise = interpolate_rise(tissue, phase, timing)
        enhancement[name] = float(rise * level * (1 + tissue.variation * deviation))
    enhancement["liver"] *= 1 - (1 - FATTY_LIVER_RISE) * fat
    enhancement["liver_metastasis"] = min(enhancement["liver_metastasis"], METASTASIS_RISE * enhancement["liver"])
    return enhancement


def interpolate_rise(tissue: Tissue, phase: str, timing: float) -> float:
    """Return a tissue's mean rise in HU some time before or after a phase, on straight lines between the phases.

    Args:
        tissue: its mean rises.
        phase: one of ``PHASES``.
        timing: in steps from one phase to the next, negative if early.
    """
    position = PHASES.index(phase) + timing
    first = min(max(int(np.floor(position)), 0), len(PHASES) - 2)
    start, end = (tissue.rise(name) for name in PHASES[first : first + 2])
    return max(start + (position - first) * (end - start), 0.0)


def _deviations(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw from a normal distribution that is cut off at ``DEVIATION_LIMIT``."""
    return ndtri(rng.uniform(ndtr(-DEVIATION_LIMIT), ndtr(DEVIATION_LIMIT), count))
