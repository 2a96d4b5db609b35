from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.errors import InputError
from monai_nce.phantom.dataset import ensure_phantom_dataset, write_phantom_dataset
from monai_nce.phantom.patient import make_phantom_patient

SMALL = {"patients": 4, "size": 32, "slices": 3, "seed": 5}


def test_the_data_set_holds_the_phantom(tmp_path: Path) -> None:
    assert write_phantom_dataset(tmp_path / "set", **SMALL, progress=False) == tmp_path / "set"
    items = read_datalist(tmp_path / "set", require=["source", "target", "aligned_source", "labels"])
    assert [item["split"] for item in items] == ["training"] * 2 + ["validation", "test"]
    item = items[0]
    patient = make_phantom_patient(int(item["patient"][-3:]), size=32, slices=3, seed=5)
    for role, volume in (
        ("source", patient.nect),
        ("target", patient.cect),
        ("aligned_source", patient.nect_aligned),
        ("labels", patient.labels),
    ):
        image = nib.load(item[role])
        np.testing.assert_array_equal(np.asarray(image.dataobj), volume)
        np.testing.assert_allclose(image.affine, patient.affine, rtol=1e-6)
    assert read_datalist_file(tmp_path / "set")["provenance"]["seed"] == 5


def test_it_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    assert ensure_phantom_dataset(folder, **SMALL) == folder
    assert capsys.readouterr().out == f"no dataset_dir given: making a phantom of 4 patients in {folder}\n"
    before = (folder / "datalist.json").stat().st_mtime_ns
    assert ensure_phantom_dataset(folder, **SMALL) == folder
    assert capsys.readouterr().out == ""
    assert (folder / "datalist.json").stat().st_mtime_ns == before


def test_another_phantom_is_not_taken_for_it(tmp_path: Path) -> None:
    write_phantom_dataset(tmp_path, **SMALL, progress=False)
    with pytest.raises(InputError, match="expected the phantom .* but it holds"):
        ensure_phantom_dataset(tmp_path, **{**SMALL, "seed": 6})


def test_another_data_set_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"training": [], "validation": [], "test": []}')
    with pytest.raises(InputError, match="expected the phantom"):
        ensure_phantom_dataset(tmp_path, **SMALL)


@pytest.mark.parametrize("change", [{"size": 8}, {"patients": 0}])
def test_too_small_leaves_nothing(change: dict, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_phantom_dataset(tmp_path / "set", **{**SMALL, **change}, progress=False)
    assert list(tmp_path.iterdir()) == []


def _rank(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    ensure_phantom_dataset(folder / "set", **SMALL)
    assert len(read_datalist(folder / "set")) == 4
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_make_it_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mp.spawn(_rank, (tmp_path,), nprocs=2)
    assert capfd.readouterr().out.count("making a phantom") == 1
