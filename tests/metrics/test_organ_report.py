from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monai_nce.metrics.organ_report import OrganReport, limits_of_agreement, report_tables
from tests.metrics.test_lesions import label_map

LABELS = {"air": 0, "liver": 1, "urine": 2, "aorta": 3}
NUMBERS = np.zeros((12, 12, 4), np.uint8)
NUMBERS[:6], NUMBERS[6:9], NUMBERS[9:, :6] = 1, 2, 3
NUMBERS[11, 11, 0] = 3


def hu(liver: float, urine: float, aorta: float) -> np.ndarray:
    return np.array([0, liver, urine, aorta])[NUMBERS]


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=9))
@settings(max_examples=15)
def test_limits_are_the_normal_distributions(differences: list[float]) -> None:
    bias, low, high = limits_of_agreement(differences)
    assert bias == pytest.approx(np.mean(differences))
    assert low is not None and high is not None
    assert low + high == pytest.approx(2 * bias, abs=1e-9)
    expected = stats.norm.interval(0.95)[1] * stats.tstd(differences)
    assert high - bias == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_limits_by_hand_and_of_one() -> None:
    assert limits_of_agreement([10.0, 14.0, 12.0]) == pytest.approx((12, 12 - 1.96 * 2, 12 + 1.96 * 2))
    assert limits_of_agreement([7.0]) == (7, None, None)


def test_organs_over_patients_by_hand() -> None:
    report = OrganReport(LABELS)
    for number, level in enumerate((0.8, 1.0, 1.2)):
        made = hu(55 + 40, 5 + 12 * (number == 0), 40 + 110)
        report.add(f"p{number}", NUMBERS, hu(55, 5, 40), made, hu(55 + 50 * level, 7, 40 + 110 * level), 0.02, "portal")
    found = report.summary()
    liver, aorta = found["organs"]["liver"], found["organs"]["aorta"]
    assert (liver["patients"], liver["before"], liver["synthetic"], liver["real"]) == pytest.approx((3, 55, 95, 105))
    assert (liver["bias"], liver["high"]) == pytest.approx((-10, -10 + 1.96 * 10))
    assert (liver["slope"], aorta["variance_ratio"]) == pytest.approx((0, 0))  # each patient is given the same
    assert aorta["bias"] == pytest.approx(0)
    assert found["all_organs"]["slope"] == pytest.approx(0, abs=1e-6)
    assert found["nothing_rises"] == {"urine": {"rise": 4, "largest": 12, "ml": 0}}
    assert report.pairs()["liver"].tolist() == [[95, 95], [95, 105], [95, 115]]
    assert report.rows()[:2] == [["patient", "organ", "before", "synthetic", "real"], ["p0", "liver", 55, 95, 95]]
    tables = {heading: rows for heading, _, rows, _ in report_tables(found)}
    assert tables["What rose where nothing may"] == [["urine", "+4.0", "+12.0", "0.0"]]
    assert tables["Organs, mean HU over patients"][0][:6] == [
        "liver",
        "3",
        "55.0",
        "95.0",
        "105.0",
        "-10.0 [-29.6, 9.6]",
    ]


def test_following_the_level_gives_one() -> None:
    report = OrganReport(LABELS)
    for number, level in enumerate((0.5, 1.0, 1.5)):
        real = hu(55 + 50 * level, 5, 40 + 110 * level)
        report.add(f"p{number}", NUMBERS, hu(55, 5, 40), real - 5, real, 0.02)
    liver = report.summary()["organs"]["liver"]
    assert (liver["slope"], liver["variance_ratio"], liver["low"], liver["high"]) == pytest.approx((1, 1, -5, -5))


def test_voxels_that_rose_where_nothing_may_are_counted_and_small_organs_are_not() -> None:
    before, made = hu(55, 5, 40), hu(55, 5, 40)
    made[6, :5, 0] += 41
    report = OrganReport({**LABELS, "spleen": 4})
    numbers = NUMBERS.copy()
    numbers[0, :7, :7] = 4  # 28 voxels
    report.add("p", numbers, before, made, before, 0.5)
    found = report.summary()
    assert found["nothing_rises"]["urine"]["ml"] == 2.5 and "spleen" not in found["organs"]
    assert found["organs"]["liver"]["slope"] is None
    assert OrganReport({}).summary() == {"organs": {}, "all_organs": {}, "lesions": {}, "nothing_rises": {}}


def test_contrast_to_noise_of_lesions() -> None:
    labels = {"air": 0, "liver": 1, "cyst": 2, "liver_metastasis": 3, "haemangioma": 4}
    numbers = label_map()
    noise = np.where(np.indices(numbers.shape).sum(0) % 2, 5.0, -5.0)  # of a standard deviation of 5
    real = np.array([-1000, 110, 10, 65, 110])[numbers] + noise
    flat = np.where(numbers > 0, 110.0, -1000.0)
    report = OrganReport(labels)
    report.add("p", numbers, flat, real, real, 0.02)
    lesions = report.summary()["lesions"]
    assert lesions["cyst"] == pytest.approx({"lesions": 1, "before": 0, "synthetic": 20, "real": 20}, rel=0.02)
    assert lesions["haemangioma"]["real"] < 0.1
