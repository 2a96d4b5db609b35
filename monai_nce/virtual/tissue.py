"""Define the virtual patients' tissues: HU without contrast and the rise in HU in three phases.

Units: HU at about 120 kVp. The numbers are rounded choices inside the ranges that these publications report; they are
not measurements of one cohort. Where a row has no source, or one for a part of it only, "choice" marks what rests on
common radiological experience alone.

Phases: ``arterial`` is late arterial (35 to 40 s after the start of injection), ``portal`` portal-venous (60 to 80 s),
``delayed`` 3 to 5 minutes.

Sources:
    [AKA] Akamatsu et al., PMC12950216: muscle rises by 6, 8 and 10 HU (late arterial, portal, equilibrium), fat and its
        small vessels by 4 to 6.
    [B10] Bae, Radiology 2010: timing and extent of aortic, portal and hepatic enhancement; weight dependence.
    [B16] Boutin et al., AJR 2016: muscle rises most in the delayed, the fourth lumbar vertebra in the portal phase.
    [BOY] Boyce et al., hepatic steatosis in asymptomatic adults: liver 58.8 (10.8) HU in 3357 adults, 6 % below 40.
    [C14] Cullu et al., Diagn. Interv. Radiol. 2014: pleural effusions, median 5 (transudate) and 12.5 HU (exudate).
    [D93] Di Giandomenico et al., 1993 (PMID 8516469): blood in HU follows haematocrit; aorta and vena cava are alike.
    [G06] Goshima et al., AJR 2006: arterial: aorta 300 to 336, spleen 97 to 108, portal vein 75 to 104, hepatic veins
        24 to 51, liver 15 to 25; portal-venous: aorta 117 to 125, spleen 73 to 82, liver 59 to 63.
    [H10] Contrast enhancement of hepatic hemangiomas on multiphase MDCT, AJR 2010 (PMID 20651193): nodules stay below
        the vessels; delayed, the vessels do not differ.
    [H95] Heiken et al., Radiology 1995: hepatic enhancement of about 50 HU, inverse to body weight.
    [I83] CT of thyroid disease, Radiology 1983 (doi 10.1148/radiology.147.3.6844615): normal 118 HU (standard deviation
        12), from its own iodine.
    [J19] Jang et al., Radiology 2019: trabecular bone of the first lumbar vertebra, 226 (44) below 30 and 89 (38) HU
        from 90 years on, nearly the same with contrast.
    [J86] Joseph, Berg-Schlosser and Herbert, RoFo 1986: normal thyroid 75 (6) HU where food has little iodine.
    [K07] Multi-detector row CT of the kidney, Eur. J. Radiol. 2007;63:420: cortex rises by 195 to 217 from 10 to 30 s
        after the aorta, medulla by 145 at 55 s; they differ by 110 to 140 until 30 s, by less than 30 at 45 s.
    [K21] Kreul et al., In Vivo 2021: liver, spleen, kidney, muscle and fat with and without contrast.
    [KRS] Bolus tracking or fixed delay for the pancreas, synapse.koreamed.org/articles/1004370: 112 to 128 HU in the
        pancreatic phase.
    [L13] Washout in hepatocellular carcinoma, 2013 (PMID 23255745): delayed, the liver has 1.21 times the tumour's HU.
    [L14] Lamba et al., AJR 2014: soft tissues on unenhanced abdominal CT of two makers, which differ.
    [L23] Lortie et al., J. Thorac. Imaging 2023: muscle rises by 8.6 (6.2) HU arterial and 6.4 (8.1) venous.
    [P13] Pickhardt et al., Ann. Intern. Med. 2013: trabecular bone of the first lumbar vertebra.
    [P20] Perez et al., Abdom. Radiol. 2020: in kidney donors, muscle rises by 19 (6), trabecular bone by 27 (27) HU.
    [P24] Pickhardt, Blake, Moeller, Garrett and Summers, Post-contrast CT liver attenuation alone is superior to the
        liver-spleen difference: livers rise by 47 HU, fatty ones (below 40 HU, 13 % of patients) by 36.
    [P80] Piekarski et al., Radiology 1980: the normal liver is brighter than the spleen, and both vary together.
    [R94] Rabushka et al., RadioGraphics 1994: spleen 40 to 60 HU, 5 to 10 below the liver.
    [S12] Stuber et al., World J. Radiol. 2012: pancreas 100 to 111 HU arterial and 77 to 84 portal-venous.
    [S13] Schek et al., Eur. Radiol. 2013: adrenal glands 84 (24) HU after 60 s.
    [S96] Schneider, Pedroni and Lomax, Phys. Med. Biol. 1996: HU of reference tissues, bone among them.
    [URO] Small renal clear cell carcinoma and oncocytoma, Urologia, doi 10.5301/uj.5000256: vascular carcinomas have
        34 (7) HU, then 173, 149 and 98 in the corticomedullary, nephrographic and pyelographic phase.
    [W21] Lean body weight and hepatic enhancement, PMC7996171: 53 to 61 HU (7 to 12) in the portal-venous phase.
    [Z12] Computed tomography of fatty liver, Acad. Radiol. 2012 (PMID 22521729): 17 % have a liver below the spleen.
"""

from __future__ import annotations

from dataclasses import dataclass

from monai_nce.contrast import PHASES, check_contrast
from monai_nce.errors import InputError


@dataclass(frozen=True)
class Tissue:
    """Describe one tissue in HU."""

    nect: float  # mean without contrast
    spread: float  # standard deviation of that mean between patients
    texture: float  # amplitude of the tissue's own smooth texture, the same with and without contrast
    arterial: float = 0  # mean rise in each phase
    portal: float = 0
    delayed: float = 0
    variation: float = 0.06  # standard deviation of the rise between patients of one contrast level, relative to it

    def rise(self, phase: str) -> float:
        """Return the mean rise in HU in one of ``PHASES``."""
        return float(getattr(self, phase))


TISSUES: dict[str, Tissue] = {
    "air": Tissue(-1000, 0, 0),
    "lung": Tissue(-840, 30, 25, 9, 8, 6, 0.2),  # choice
    "skin": Tissue(30, 5, 0, 4, 6, 8, 0.2),  # choice
    "subcutaneous_fat": Tissue(-103, 5.5, 4),  # [L14] [K21]; its vessels [AKA] are not part of it
    "visceral_fat": Tissue(-101, 5, 6),  # [L14] [K21]; likewise
    "muscle": Tissue(52, 6, 5, 7, 9, 11, 0.25),  # [L14] [K21]; [AKA] [B16] [L23] [P20]
    "liver": Tissue(58, 6, 3, 20, 53, 40, 0.08),  # without fat [BOY] [P80]; [G06] [H95] [W21] [P24], delayed a choice
    "spleen": Tissue(49, 4.5, 2.5, 98, 72, 50, 0.08),  # [P80] [R94]; [G06], delayed a choice
    "kidney_cortex": Tissue(32, 7, 2, 190, 155, 105, 0.08),  # [L14] [K21], spread and delayed a choice; [K07]
    "kidney_medulla": Tissue(32, 7, 2, 75, 130, 115, 0.08),  # [L14] [K21], spread and delayed a choice; [K07]
    "renal_pelvis": Tissue(6, 3, 0, 0, 0, 700, 0.3),  # choice; excreted contrast
    "pancreas": Tissue(40, 5, 6, 72, 45, 30, 0.1),  # [L14]; [KRS] [S12], delayed a choice
    "adrenal_gland": Tissue(24, 5, 2, 50, 58, 38, 0.15),  # choice; portal [S13]
    "gallbladder_wall": Tissue(28, 4, 2, 15, 25, 24, 0.2),  # choice
    "bile": Tissue(9, 4.5, 1),  # choice
    "gastric_wall": Tissue(36, 4, 4, 45, 55, 42, 0.15),  # choice
    "bowel_wall": Tissue(36, 4, 3, 45, 55, 40, 0.15),  # choice
    "bowel_content": Tissue(17, 9, 6),  # choice
    "bowel_gas": Tissue(-950, 15, 0),  # choice: gas is near -1000; mixed with content
    "bladder_wall": Tissue(30, 4, 2, 6, 18, 20, 0.2),  # choice
    "urine": Tissue(6, 3, 0, 0, 0, 400, 0.35),  # choice; excreted contrast
    "prostate": Tissue(38, 4, 4, 20, 30, 35, 0.2),  # choice
    "uterus": Tissue(42, 4, 4, 30, 50, 55, 0.2),  # choice
    "thyroid_gland": Tissue(97, 14, 5, 95, 80, 60, 0.15),  # [I83] [J86]; choice
    "heart_muscle": Tissue(45, 4, 3, 85, 70, 50, 0.1),  # choice
    "aorta": Tissue(42, 6, 0, 270, 118, 80),  # [D93]; [G06] [B10]: its arterial peak has passed; delayed a choice
    "pulmonary_vein": Tissue(42, 6, 0, 240, 114, 80, 0.08),  # choice, near the aorta [B10]
    "superior_vena_cava": Tissue(42, 6, 0, 180, 108, 80, 0.15),  # choice, mixed with what is still injected
    "inferior_vena_cava": Tissue(42, 6, 0, 60, 92, 79, 0.12),  # choice: renal blood and that of the legs
    "lower_veins": Tissue(42, 6, 0, 6, 45, 72, 0.25),  # choice: blood of the legs returns late
    "portal_vein": Tissue(42, 6, 0, 85, 122, 81),  # [G06] [B10], delayed [H10]
    "hepatic_vein": Tissue(42, 6, 0, 30, 110, 80, 0.1),  # [G06], portal a choice, delayed [H10]
    "spongy_bone": Tissue(165, 42, 18, 2, 4, 3, 0.15),  # [P13] [J19]; the least of [B16] [J19] [P20], which differ
    "cortical_bone": Tissue(750, 80, 0),  # [S96], lowered for its thin shell
    "cartilage": Tissue(95, 15, 8),  # choice
    "disc": Tissue(80, 8, 4),  # choice
    "spinal_canal": Tissue(20, 4, 2, 1, 2, 2, 0.2),  # choice, between CSF and cord
    "brain": Tissue(33, 2, 2, 4, 4, 3, 0.15),  # choice: its vessels
    "fluid": Tissue(12, 6, 1),  # [C14]
    "cyst": Tissue(7, 3.5, 1, 2, 3, 2, 0.3),  # choice: below 10 HU counts as none
    "calcification": Tissue(500, 150, 0),  # choice
    "oral_contrast": Tissue(250, 75, 20),  # choice
    "liver_metastasis": Tissue(38, 6, 4, 12, 24, 26, 0.25),  # choice: hypovascular
    "hepatocellular_carcinoma": Tissue(50, 5, 5, 60, 45, 31, 0.15),  # choice; delayed [L13]
    "haemangioma": Tissue(42, 6, 2, 45, 72, 78, 0.12),  # the whole lesion, a choice: it fills, delayed [H10]
    "renal_cell_carcinoma": Tissue(34, 4, 6, 118, 95, 58, 0.2),  # clear cell [URO], lowered for its necroses
    "mass": Tissue(38, 6, 5, 30, 42, 42, 0.3),  # choice
    "esophagus": Tissue(38, 4, 3, 25, 35, 32, 0.2),  # choice
}

# The less frequent, hypovascular renal cell carcinoma; [URO] and a choice.
PAPILLARY_CARCINOMA = Tissue(34, 4, 3, 24, 38, 34, 0.25)

# Shares of TISSUES in what a segmentation calls by one name; two thirds of the renal parenchyma are cortex (choice).
MIXTURES: dict[str, dict[str, float]] = {
    "kidney": {"kidney_cortex": 0.67, "kidney_medulla": 0.33},
    "fat": {"subcutaneous_fat": 0.5, "visceral_fat": 0.5},
    "bone": {"spongy_bone": 1.0},
}

# Lowest and highest rise of an organ of one patient that the literature lets expect, by phase in HU: the published
# means and spreads, widened to what clinical doses and weights make of them (choice).
EXPECTED_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "liver": ((8, 40), (25, 80), (18, 60)),  # [G06] [H95] [P24] [W21]
    "spleen": ((50, 140), (38, 110), (26, 75)),  # [G06]
    "kidney": ((80, 225), (80, 205), (55, 160)),  # [K07] [K21]
    "aorta": ((150, 380), (60, 180), (45, 115)),  # [G06] [B10]
    "inferior_vena_cava": ((5, 130), (40, 140), (42, 115)),  # choice
    "portal_vein": ((30, 140), (65, 180), (45, 120)),  # [G06] [B10]
    "pancreas": ((40, 110), (25, 75), (12, 55)),  # [KRS] [S12]
    "muscle": ((0, 20), (0, 25), (0, 27)),  # [AKA] [L23] [P20]
    "fat": ((-5, 8), (-5, 8), (-5, 8)),  # [AKA]
    "bone": ((-5, 20), (-5, 27), (-5, 25)),  # [J19] [P20]
    "fluid": ((-10, 10), (-10, 10), (-10, 10)),  # choice: what counts as none
}


def expected_enhancement(tissue: str, phase: str) -> tuple[float, float, float]:
    """Return the mean, lowest and highest rise in HU that the literature lets expect of an organ.

    Args:
        tissue: a key of ``EXPECTED_RANGES``; ``kidney`` is cortex and medulla together.
        phase: one of ``PHASES``.

    Raises:
        InputError: unknown tissue or phase.
    """
    if tissue not in EXPECTED_RANGES:
        raise InputError(f"expected a tissue of {', '.join(EXPECTED_RANGES)}, but got {tissue!r}")
    check_contrast(phase)
    shares = MIXTURES.get(tissue, {tissue: 1.0})
    mean = sum(share * TISSUES[name].rise(phase) for name, share in shares.items())
    low, high = EXPECTED_RANGES[tissue][PHASES.index(phase)]
    return mean, float(low), float(high)
