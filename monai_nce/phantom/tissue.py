"""Define the phantom's tissues: label values, HU without contrast and enhancement in the portal-venous phase.

Units: HU at about 120 kVp. The numbers are rounded choices inside the ranges that these publications report; they are
not measurements of one cohort, and rows marked "choice" rest on common radiological experience alone.

Sources:
    [P80] Piekarski et al., Radiology 1980: the normal liver is brighter than the spleen (about 8 HU).
    [L14] Lamba et al., AJR 2014: soft tissues on unenhanced abdominal CT of two makers.
    [K21] Kreul et al., In Vivo 2021: liver, spleen, kidney, muscle and fat with and without contrast.
    [G06] Goshima et al., AJR 2006: in the portal-venous phase aorta, spleen and liver rise by about 120, 78 and 60 HU.
    [B10] Bae, Radiology 2010: timing and extent of aortic, portal and hepatic enhancement; weight dependence.
    [H95] Heiken et al., Radiology 1995: hepatic enhancement of about 50 HU, inverse to body weight.
    [S96] Schneider, Pedroni and Lomax, Phys. Med. Biol. 1996: HU of reference tissues, bone among them.
    [P13] Pickhardt et al., Ann. Intern. Med. 2013: trabecular bone of the first lumbar vertebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NAMES = (  # in the order of their label values, from 0
    "background skin subcutaneous_fat visceral_fat muscle liver portal_vein hepatic_veins spleen kidney_cortex "
    "kidney_medulla pancreas aorta ivc bowel bowel_gas vertebra liver_lesion kidney_lesion disc spinal_canal rib"
)
LABELS: dict[str, int] = {name: value for value, name in enumerate(_NAMES.split())}


@dataclass(frozen=True)
class Tissue:
    """Describe one tissue in HU."""

    label: str  # key of ``LABELS`` under which the tissue is counted
    nect: float  # mean HU without contrast
    spread: float  # standard deviation of that mean between patients, in HU
    enhancement: float  # mean rise in HU in the portal-venous phase
    texture: float  # amplitude in HU of the tissue's own smooth texture, the same with and without contrast


TISSUES: dict[str, Tissue] = {
    "skin": Tissue("skin", 30, 3, 6, 0),  # choice
    "subcutaneous_fat": Tissue("subcutaneous_fat", -105, 4, 0, 4),  # [L14] [K21]
    "visceral_fat": Tissue("visceral_fat", -102, 4, 0, 6),  # [L14] [K21]
    "muscle": Tissue("muscle", 52, 3, 10, 5),  # [L14] [K21]
    "liver": Tissue("liver", 56, 5, 52, 3),  # [P80] [L14]; [H95] [G06]
    "spleen": Tissue("spleen", 48, 2.5, 72, 2.5),  # [P80]; [G06]
    "kidney_cortex": Tissue("kidney_cortex", 33, 2.5, 148, 2),  # [L14] [K21]
    "kidney_medulla": Tissue("kidney_medulla", 30, 2.5, 120, 2),  # [L14], enhancement a choice
    "pancreas": Tissue("pancreas", 40, 3, 55, 6),  # [L14], enhancement a choice
    "blood": Tissue("aorta", 42, 3, 112, 0),  # [L14]; [G06]
    "portal_vein": Tissue("portal_vein", 42, 0, 124, 0),  # [B10], above the aorta in this phase
    "hepatic_veins": Tissue("hepatic_veins", 42, 0, 108, 0),  # choice, near the aorta
    "ivc": Tissue("ivc", 42, 0, 88, 0),  # choice, mixed with unenhanced blood of the legs
    "bowel_wall": Tissue("bowel", 35, 3, 40, 3),  # choice
    "bowel_content": Tissue("bowel", 17, 4, 0, 6),  # choice
    "bowel_gas": Tissue("bowel_gas", -950, 10, 0, 0),  # gas is near -1000; mixed with content
    "spongy_bone": Tissue("vertebra", 190, 22, 0, 18),  # [P13]
    "cortical_bone": Tissue("vertebra", 720, 40, 0, 0),  # [S96], lowered for its thin shell
    "disc": Tissue("disc", 80, 6, 0, 4),  # choice
    "spinal_canal": Tissue("spinal_canal", 18, 3, 0, 2),  # choice, between CSF and cord
    "rib": Tissue("rib", 380, 30, 0, 30),  # choice, mixture of cortical and spongy bone
}
SHARED_BLOOD = ("portal_vein", "hepatic_veins", "ivc")
UPTAKE_RANGE = (0.7, 1.3)  # patient's factor on every enhancement: weight, dose, heart, timing [B10] [H95]
ORGAN_UPTAKE_SD = 0.05  # each organ's own factor around the patient's


@dataclass(frozen=True)
class TissueValues:
    """Hold one patient's HU by tissue."""

    nect: dict[str, float]  # HU without contrast
    enhancement: dict[str, float]  # rise in HU, the uptake included
    uptake: float  # the patient's factor, within ``UPTAKE_RANGE``


def sample_tissue_values(rng: np.random.Generator) -> TissueValues:
    """Draw one patient's HU and uptake."""
    uptake = float(rng.uniform(*UPTAKE_RANGE))
    nect, enhancement = {}, {}
    for name, tissue in TISSUES.items():
        deviation, factor = np.clip(rng.normal(size=2), -2, 2)
        nect[name] = float(tissue.nect + tissue.spread * deviation)
        enhancement[name] = float(tissue.enhancement * uptake * (1 + ORGAN_UPTAKE_SD * factor))
    for name in SHARED_BLOOD:  # unenhanced, one patient's blood is the same in every vessel
        nect[name] = nect["blood"]
    return TissueValues(nect, enhancement, uptake)
