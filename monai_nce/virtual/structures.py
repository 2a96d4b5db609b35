"""Name the structures of a label map: one vocabulary for all segmentations, after TotalSegmentator's class names.

Source: Wasserthal et al., Radiology: Artificial Intelligence 5(5), 2023, for the names; what tells nothing for contrast
is put together (lobes of a lung, single ribs and vertebrae, muscles), what its CT classes lack is added (costal
cartilage apart from bone, disc, hepatic vein, renal pelvis, ureter, lesions, effusion).

    body      somewhere inside the skin, nothing better known
    bowel     small bowel and colon not told apart
    mass      a tumour of no named organ
"""

from __future__ import annotations

__all__ = ["STRUCTURES"]

_NAMES = (  # in the order of their values, from 0
    "background body skin subcutaneous_fat visceral_fat muscle bone vertebra rib sternum costal_cartilage disc "
    "spinal_canal brain lung trachea esophagus thyroid_gland heart aorta artery pulmonary_vein superior_vena_cava "
    "inferior_vena_cava vein portal_vein hepatic_vein liver gallbladder spleen pancreas adrenal_gland kidney_right "
    "kidney_left kidney_cyst renal_pelvis ureter stomach duodenum small_bowel colon bowel urinary_bladder prostate "
    "uterus liver_lesion kidney_lesion mass effusion"
)
STRUCTURES: dict[str, int] = {name: value for value, name in enumerate(_NAMES.split())}
