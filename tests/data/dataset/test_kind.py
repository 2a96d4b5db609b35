"""Phantoms are told from patients by what is written with their images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from data_prep.ct import prepare_ct
from data_prep.register import register_dataset
from monai_nce.data import (
    dataset_kind,
    read_datalist,
    read_datalist_file,
    scan_kind,
    write_nifti_hu,
    write_nifti_labels,
)
from monai_nce.phantom import write_phantom_dataset
from tests.data.datasets import AFFINE, VOLUME, make


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    return write_phantom_dataset(folder / "set", patients=4, size=64, slices=6, progress=False)


def old(folder: Path, **changes: Any) -> Path:
    """Turn a data set into one of version 0.1.0, whose files and list name no kind."""
    content = {key: value for key, value in read_datalist_file(folder).items() if key != "kind"} | changes
    (folder / "datalist.json").write_text(json.dumps(content))
    for path in (folder / "volumes").iterdir():
        image = nib.load(path)
        write = write_nifti_labels if path.stem.endswith("labels") else write_nifti_hu
        write(path, np.asarray(image.dataobj), image.affine)
    return folder


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"kind": "real", "provenance": {"generator": "monai_nce.data.phantom"}}, "real"),
        ({"kind": "another", "provenance": {"tool": "data_prep ct"}}, None),
        ({"kind": None, "provenance": {"tool": "data_prep ct"}}, None),
        ({"provenance": {"generator": "monai_nce.data.phantom", "patients": 24}}, "phantom"),
        ({"provenance": {"generator": "data_prep.ixi_like_brain"}}, "virtual"),
        ({"provenance": {"tool": "data_prep ct"}}, "real"),
        ({"provenance": {"tool": "data_prep ixi"}}, "real"),
        ({"provenance": {"tool": "data_prep register", "original": {"tool": "data_prep ct"}}}, "real"),
        ({"provenance": {"tool": "data_prep register", "original": {}}}, None),
        ({"provenance": {"tool": "of my own"}}, None),
        ({"provenance": "none"}, None),
        ({}, None),
    ],
)
def test_kind_of_a_data_set(content: dict[str, Any], kind: str | None) -> None:
    assert dataset_kind(content) == kind


def test_a_phantom_says_so_wherever_its_file_goes(phantom: Path, tmp_path: Path) -> None:
    item = read_datalist(phantom)[0]
    for role in ("source", "target", "labels"):
        copy = shutil.copy(item[role], tmp_path / f"{role}.nii")
        assert scan_kind(item[role]) == scan_kind(copy) == "phantom"


def test_an_old_phantom_is_known_by_the_list_that_names_it(phantom: Path, tmp_path: Path) -> None:
    folder = old(Path(shutil.copytree(phantom, tmp_path / "set")))
    source = Path(read_datalist(folder)[0]["source"])
    link = tmp_path / "link.nii"
    link.symlink_to(source)
    assert scan_kind(source) == scan_kind(link) == "phantom"
    # neither a file that leaves the folder nor one that strays into it
    assert scan_kind(shutil.copy(source, tmp_path / "copy.nii")) is None
    assert scan_kind(shutil.copy(source, source.with_name("phantom_999_source.nii"))) is None
    (folder / "datalist.json").write_text("{")
    assert scan_kind(source) is None


def test_kind_of_scans(tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / "a.nii.gz", VOLUME, AFFINE, "a description that names a PHANTOM")
    (tmp_path / "text.nii").write_text("no image")
    (tmp_path / "dicom").mkdir()
    for name in ("a.nii.gz", "text.nii", "dicom", "missing.nii", "missing"):
        assert scan_kind(tmp_path / name) is None
    for kind in ("real", "virtual"):
        assert scan_kind(read_datalist(make(tmp_path / kind, kind=kind))[0]["target"]) == kind
    assert scan_kind(read_datalist(make(tmp_path / "none"))[0]["target"]) is None


def test_what_is_made_of_phantoms_is_a_phantom(phantom: Path, tmp_path: Path) -> None:
    register_dataset(phantom, tmp_path / "registered", "affine", progress=False)
    registered = read_datalist(tmp_path / "registered")
    assert {scan_kind(item["source"]) for item in registered} == {"phantom"}
    item = read_datalist(phantom)[0]
    for name, cect, kind in (("of phantoms", item["target"], "phantom"), ("mixed", tmp_path / "scan.nii", "phantom")):
        volume = np.asarray(nib.load(item["target"]).dataobj)
        write_nifti_hu(tmp_path / "scan.nii", volume, nib.load(item["target"]).affine)
        out = prepare_ct([Path(item["source"])], [Path(cect)], tmp_path / name, size=64, spacing=5.3333)
        assert read_datalist_file(out)["kind"] == kind
    write_nifti_hu(tmp_path / "other.nii", volume + 1, nib.load(item["target"]).affine)
    out = prepare_ct([tmp_path / "scan.nii"], [tmp_path / "other.nii"], tmp_path / "real", size=64, spacing=5.3333)
    assert read_datalist_file(out)["kind"] == "real"
