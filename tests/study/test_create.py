"""A study of folders of results: what is found, what is refused, and that no file says what it is."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_nce.data import read_ct
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.data.scans.earlier_result import scan_hash
from monai_nce.data.scans.reader import one_volume
from monai_nce.errors import InputError
from monai_nce.study.create import DESCRIPTION, create_study, match_results
from monai_nce.study.database import Study
from tests.study.studies import AFFINE, enhanced, make_study, nect, write_folders


def test_volumes_are_copied_and_say_nothing(tmp_path: Path) -> None:
    folder, tokens = make_study(tmp_path)
    assert len(set(tokens)) == 2 and all(len(token) >= 32 for token in tokens)
    study = Study(folder)
    images = list(study.images())
    assert [(one.case, one.method) for one in images] == [(f"p{i}", m) for i in (1, 2, 3) for m in ("alpha", "beta")]
    for number, one in enumerate(images):
        made = nib.Nifti1Image.from_filename(folder / one.file)
        np.testing.assert_array_equal(made.dataobj, enhanced(nect(number // 2), 30 + 10 * (number % 2)))
        scan = nib.Nifti1Image.from_filename(folder / one.scan)
        np.testing.assert_array_equal(scan.dataobj, nect(number // 2))
    headers = set()
    for file in folder.glob("*.nii.gz"):
        assert not any(word in file.name for word in ("p1", "alpha", "beta", "scan"))
        image = nib.Nifti1Image.from_filename(file)
        assert not image.header.extensions
        headers.add(image.header.binaryblock)
    assert len(headers) == 1
    assert image.header["descrip"].item() == DESCRIPTION.encode()
    with pytest.raises(InputError, match="synthetic already"):  # none of them is an input of a network
        read_ct(file)
    assert study.planned() == {1: 8, 2: 8}  # 6 images, a third twice
    assert folder.stat().st_mode & 0o077 == 0


def test_a_reader_gets_ids_of_their_own(tmp_path: Path) -> None:
    folder, _ = make_study(tmp_path)
    study = Study(folder)
    with study._open() as opened:
        ids = [row[0] for row in opened.execute("SELECT id FROM reading")]
    assert len(set(ids)) == 16 and all(len(one) == 32 for one in ids)


def test_real_images_are_mixed_in_where_they_are(tmp_path: Path) -> None:
    scans, methods = write_folders(tmp_path, real=["p2"])
    found = match_results(scans, methods, "real")
    assert {case: sorted(one.results) for case, one in found.items()} == {
        **{"p1": ["alpha", "beta"], "p2": ["alpha", "beta", "real"], "p3": ["alpha", "beta"]}
    }
    with pytest.raises(InputError, match=r"real: expected a result p1.nii.gz"):
        match_results(scans, methods)


def test_what_inference_writes_beside_its_results_is_passed_over(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    scans, methods = write_folders(tmp_path)
    (tmp_path / "alpha" / "manifest.json").write_text("{}")
    for case in ("p1", "p2", "p3"):
        for suffix in ("png", "html"):
            (tmp_path / "alpha" / f"{case}_synthetic_cect.{suffix}").write_bytes(b"a page or a picture")
    assert list(match_results(scans, methods)) == ["p1", "p2", "p3"]
    assert not recwarn.list


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    scans, methods = write_folders(tmp_path)

    def refused(said: str, **changed: object) -> None:
        with pytest.raises(InputError, match=said):
            create_study(**{"folder": tmp_path / "study", "cases": scans, "methods": methods, **changed})  # type: ignore[arg-type]
        assert not (tmp_path / "study").exists()

    refused("expected one of the methods, alpha, beta", real="gamma")
    refused("expected at least one method", methods={})
    refused("expected a method's name", methods={"a/b": methods["beta"]})
    refused("nowhere: expected a folder", methods={"a": str(tmp_path / "nowhere")})
    write_nifti_hu(tmp_path / "alpha" / "p1.nii.gz", nect(), AFFINE)
    refused(r"p1_synthetic_cect.nii.gz: is of the same scan as .*p1.nii.gz|p1.nii.gz: is of the same scan")
    (tmp_path / "alpha" / "p1.nii.gz").rename(tmp_path / "alpha" / "p9.nii.gz")
    refused("p9.nii.gz: is of no scan in")
    (tmp_path / "alpha" / "p9.nii.gz").unlink()
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.2  # mm
    write_nifti_hu(tmp_path / "beta" / "p3.nii.gz", enhanced(nect(), 5), shifted)
    refused("p3.nii.gz: expected the grid of its scan")
    write_nifti_hu(tmp_path / "beta" / "p3.nii.gz", enhanced(nect(), 5)[:, :, 1:], AFFINE)
    refused("p3.nii.gz: expected the grid of its scan")
    (tmp_path / "beta" / "p3.nii.gz").unlink()
    refused("beta: expected a result p3.nii.gz or p3_synthetic_cect.nii.gz")


def test_a_result_of_another_scan_is_refused(tmp_path: Path) -> None:
    scans, methods = write_folders(tmp_path)
    file = scans / "p1.nii.gz"
    marks = {"p1": scan_hash(one_volume(file), *read_ct(file)), "other": "0" * 64}
    for name, mark in marks.items():
        comment = f"Scan SHA-256: {mark}."
        write_nifti_hu(tmp_path / "beta" / "p1.nii.gz", enhanced(nect(), 5), AFFINE, "SYNTHETIC", comment)
        if name == "p1":
            create_study(tmp_path / "fits", scans, methods)
        else:
            with pytest.raises(InputError, match="was made from another scan than"):
                create_study(tmp_path / "study", scans, methods)


def test_a_folder_in_use_is_kept(tmp_path: Path) -> None:
    folder, _ = make_study(tmp_path)
    before = sorted((file.name, file.stat().st_mtime_ns) for file in folder.iterdir())
    with pytest.raises(InputError, match="which is never replaced"):
        create_study(folder, tmp_path / "scans", {"alpha": tmp_path / "alpha"})
    assert sorted((file.name, file.stat().st_mtime_ns) for file in folder.iterdir()) == before
