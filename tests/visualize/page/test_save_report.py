from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_nce.data import Provenance
from monai_nce.data.scans.earlier_result import earlier_results, made_from
from monai_nce.errors import InputError
from monai_nce.visualize import SaveReportd
from monai_nce.visualize.page.embed import unpack
from tests.visualize.page.pages import LPS, data_of, scan_and_synthetic, volume_text

ONE, OTHER = "0123456789abcdef" * 4, "f" * 64


@pytest.fixture
def item(tmp_path: Path) -> dict[str, Any]:
    scan, synthetic = (
        MetaTensor(torch.from_numpy(volume).float()[None], affine=torch.from_numpy(LPS))
        for volume in scan_and_synthetic()
    )
    provenance = Provenance([{"name": "ours", "kind": "phantom", "patients": 2}], scan_hash=ONE, phase="portal")
    output = str(tmp_path / "out" / "scan_synthetic_cect.nii.gz")
    source = "/somewhere/Doe^Jane/scan.nii.gz"
    return {"pred": synthetic, "image_hu": scan, "output": output, "provenance": provenance, "source": source}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "model.pt").write_bytes(b"weights")
    return tmp_path / "model.pt"


def page_of(item: dict[str, Any]) -> str:
    return Path(item["output"].replace(".nii.gz", ".html")).read_text(encoding="utf-8")


def test_it_stands_beside_the_result_and_says_how_that_was_made(item: dict[str, Any], checkpoint: Path) -> None:
    item["doubts"] = "seems to show a head\nholds no fat"
    SaveReportd("pred", "image_hu", checkpoint, settings={"beyond_the_window": "cut off", "level": 1.5, "not": None})(
        item
    )
    html = page_of(item)
    scan, synthetic = scan_and_synthetic()
    held = [np.asarray(unpack(volume_text(html, f"volume-0-{role}")).dataobj) for role in ("scan", "change")]
    np.testing.assert_array_equal(held, [scan, synthetic - scan])
    assert data_of(html)["window"] == [50, 300]
    for text in (
        "model.pt",
        "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c",  # of b"weights"
        "scan_synthetic_cect",
        "2 phantoms (ours)",
        "portal",
        "Weights trained on phantoms alone, and this scan is none: what they add means nothing.",
        "Doubt about the scan: seems to show a head.",
        "Doubt about the scan: holds no fat.",
        "beyond the window</th><td>cut off",
        "level</th><td>1.5",
    ):
        assert text in html
    assert '<th scope="row">not</th>' not in html


@pytest.mark.parametrize(
    "source", ["/somewhere/Doe^Jane/scan.nii.gz", ["/somewhere/Doe^Jane/1.dcm", "/somewhere/2.dcm"]]
)
def test_no_path_unless_it_is_asked_for(item: dict[str, Any], checkpoint: Path, source: str | list[str]) -> None:
    SaveReportd("pred", "image_hu", checkpoint)(item | {"source": source})
    assert "Doe^Jane" not in page_of(item) and str(checkpoint.parent) not in page_of(item)
    SaveReportd("pred", "image_hu", checkpoint, keep_patient_data=True)(item | {"source": source})
    assert "/somewhere/Doe^Jane/" in page_of(item)


def test_the_page_of_another_scan_is_never_replaced(item: dict[str, Any], checkpoint: Path) -> None:
    save = SaveReportd("pred", "image_hu", checkpoint)
    save(item)
    (page,) = earlier_results(item["output"])
    assert (page.name, made_from(page)) == ("scan_synthetic_cect.html", ONE)
    before = page.read_bytes()
    save(item)  # the same scan's is
    with pytest.raises(
        InputError, match="scan_synthetic_cect.html: is the result of another scan, and is not replaced"
    ):
        save(item | {"provenance": Provenance(scan_hash=OTHER)})
    assert page.read_bytes() == before
