from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from monai_nce.contrast import ContrastCondition
from monai_nce.data import (
    DatasetWriter,
    EpochIndex,
    EpochSampler,
    SliceStackDataset,
    read_datalist,
    write_nifti_hu,
)
from monai_nce.errors import InputError

AFFINE = np.diag([1.5, 1.5, 5.0, 1.0])


def make_items(folder: Path, roles: dict[str, dict[str, int]], shape: tuple[int, int] = (7, 5)) -> list[dict[str, str]]:
    """Items of a data set with the given depth per patient and role, every voxel its own value."""
    random = np.random.default_rng(0)
    with DatasetWriter(folder, name="n", description="d", licence="CC0-1.0") as dataset:
        for patient, depths in roles.items():
            volumes: dict[str, Any] = {
                role: random.integers(-1024, 3000, size=(*shape, depth)) for role, depth in depths.items()
            }
            dataset.add("training", patient, AFFINE, **volumes)
    return read_datalist(folder, "training")


@pytest.fixture
def paired(tmp_path: Path) -> list[dict[str, str]]:
    return make_items(tmp_path / "set", {"a": {"source": 6, "target": 6}, "b": {"source": 4, "target": 4}})


@pytest.fixture
def unpaired(tmp_path: Path) -> list[dict[str, str]]:
    return make_items(tmp_path / "set", {"t": {"target": 5}, "s1": {"source": 3}, "s2": {"source": 2}})


def voxels(path: str) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def expected_stack(path: str, position: int, slices: int) -> np.ndarray:
    padded = np.pad(voxels(path), [(0, 0), (0, 0), (slices // 2, slices // 2)], mode="edge")
    return padded[:, :, position : position + slices].transpose(2, 0, 1)


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_every_stack_is_that_of_the_file(paired: list[dict[str, str]], slices: int) -> None:
    dataset = SliceStackDataset(paired, slices=slices)
    assert len(dataset) == 6 + 4
    places = [(item, position) for item, depth in zip(paired, (6, 4), strict=True) for position in range(depth)]
    for index in np.random.default_rng(1).permutation(len(dataset)):
        item, position = places[index]
        found = dataset[int(index)]
        assert set(found) == {"source", "target"}
        for role in found:
            assert found[role].dtype == torch.float32
            np.testing.assert_array_equal(found[role], expected_stack(item[role], position, slices))


def test_edges_replicate(paired: list[dict[str, str]]) -> None:
    dataset = SliceStackDataset(paired, keys=["source"])
    first, last = dataset[0]["source"], dataset[5]["source"]
    assert torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])
    assert torch.equal(last[1], last[2]) and not torch.equal(last[0], last[1])


def test_each_key_may_have_slices_of_its_own(paired: list[dict[str, str]]) -> None:
    dataset = SliceStackDataset(paired, slices={"target": 3, "source": 5})
    item = dataset[1]
    np.testing.assert_array_equal(item["target"], expected_stack(paired[0]["target"], 1, 3))
    np.testing.assert_array_equal(item["source"], expected_stack(paired[0]["source"], 1, 5))
    fingerprints = [SliceStackDataset(paired, slices={"target": 3, "source": n}).fingerprint() for n in (5, 5, 7)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_the_first_key_leads(unpaired: list[dict[str, str]]) -> None:
    assert len(SliceStackDataset(unpaired, keys=("target", "source"))) == 5
    assert len(SliceStackDataset(unpaired, keys=("source", "target"))) == 3 + 2


def test_unpaired_draws_cover_the_other_role_and_change_with_the_epoch(unpaired: list[dict[str, str]]) -> None:
    dataset = SliceStackDataset(unpaired, keys=("target", "source"))
    sources = {
        (item["patient"], position): expected_stack(item["source"], position, 3)
        for item in unpaired
        if "source" in item
        for position in range(voxels(item["source"]).shape[2])
    }
    drawn = dict.fromkeys(sources, 0)
    for epoch in range(40):
        for index in range(5):
            item = dataset[EpochIndex(index, epoch)]
            np.testing.assert_array_equal(item["target"], expected_stack(unpaired[0]["target"], index, 3))
            (name,) = [name for name, stack in sources.items() if np.array_equal(stack, item["source"])]
            drawn[name] += 1
    assert min(drawn.values()) > 25  # of 40 to be expected


def drawn_sources(dataset: SliceStackDataset, workers: int = 0, epochs: tuple[int, ...] = (1, 2, 3)) -> torch.Tensor:
    sampler = EpochSampler(dataset, seed=3)
    options: dict[str, Any] = {"multiprocessing_context": "fork", "persistent_workers": True} if workers else {}
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers, **options)
    batches = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        batches += [batch["source"] for batch in loader]
    return torch.cat(batches)


def test_random_draws_depend_on_seed_epoch_and_index_alone(unpaired: list[dict[str, str]]) -> None:
    first = drawn_sources(SliceStackDataset(unpaired))
    torch.manual_seed(5)
    assert torch.equal(drawn_sources(SliceStackDataset(unpaired)), first)
    assert torch.equal(drawn_sources(SliceStackDataset(unpaired), epochs=(3,)), first[-5:])
    assert not torch.equal(drawn_sources(SliceStackDataset(unpaired, seed=1)), first)
    dataset = SliceStackDataset(unpaired)
    assert torch.equal(dataset[-1]["source"], dataset[4]["source"])


def test_persistent_workers_draw_the_same(unpaired: list[dict[str, str]]) -> None:
    dataset = SliceStackDataset(unpaired)
    assert torch.equal(drawn_sources(dataset, workers=2), drawn_sources(dataset))


def test_a_patient_with_both_roles_is_paired_among_others(tmp_path: Path) -> None:
    items = make_items(tmp_path, {"both": {"source": 4, "target": 4}, "s": {"source": 9}})
    dataset = SliceStackDataset(items)
    for position in range(4):
        for _ in range(5):
            np.testing.assert_array_equal(dataset[position]["source"], expected_stack(items[0]["source"], position, 3))


def test_the_fingerprint_tells_other_patients_apart(paired: list[dict[str, str]], tmp_path: Path) -> None:
    fingerprint = SliceStackDataset(paired).fingerprint()
    assert SliceStackDataset(paired, seed=1).fingerprint() == fingerprint
    moved = [
        {key: str(shutil.copy(item[key], tmp_path / Path(item[key]).name)) for key in ("source", "target")}
        for item in paired
    ]
    assert SliceStackDataset(moved).fingerprint() == fingerprint  # the same files elsewhere
    others = [SliceStackDataset(paired[::-1]), SliceStackDataset(paired[1:]), SliceStackDataset(paired, ("source",))]
    assert len({fingerprint, *(other.fingerprint() for other in others)}) == 4


def test_the_spacing_is_that_of_all_volumes_or_none(tmp_path: Path) -> None:
    def spacing(*sizes: tuple[float, float]) -> float | None:
        items = []
        for number, size in enumerate(sizes):
            path = tmp_path / f"{number}.nii"
            nib.save(nib.Nifti1Image(np.zeros((8, 8, 3), np.int16), np.diag([-size[0], size[1], 5, 1])), path)
            items.append({"target": str(path)})
        return SliceStackDataset(items, ("target",)).spacing

    assert spacing((1.3333, 1.3333)) == spacing((1.3333, 1.3333), (1.333, 1.334), (1.3333, 1.34)) == 1.3333
    assert spacing((1.3333, 1.4)) is None
    assert spacing((1.3333, 1.3333), (0.9, 0.9)) is None


def test_transform_is_applied(paired: list[dict[str, str]]) -> None:
    plain = SliceStackDataset(paired)
    dataset = SliceStackDataset(paired, transform=lambda item: {"sum": item["source"] + item["target"]})
    assert set(dataset[3]) == {"sum"}
    assert torch.equal(dataset[3]["sum"], plain[3]["source"] + plain[3]["target"])


def test_items_are_writable_and_the_file_is_not_written(paired: list[dict[str, str]]) -> None:
    dataset = SliceStackDataset(paired)
    before = Path(paired[0]["source"]).read_bytes()
    item = dataset[2]["source"]
    expected = item.clone()
    item += 5000
    assert torch.equal(dataset[2]["source"], expected)
    del dataset
    assert Path(paired[0]["source"]).read_bytes() == before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_many_patients_cost_neither_open_files_nor_memory(tmp_path: Path) -> None:
    made = make_items(tmp_path / "set", {f"p{n}": {"source": 8, "target": 8} for n in range(10)}, shape=(64, 64))
    items = []
    for number in range(300):  # a file each, too
        item = made[number % 10]
        items.append({role: str(tmp_path / f"{number}-{role}.nii") for role in ("source", "target")})
        for role, path in items[-1].items():
            shutil.copyfile(item[role], path)
    dataset = SliceStackDataset(items)

    def used() -> tuple[int, int, int]:
        """Open files, memory maps, resident bytes."""
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return len(os.listdir("/proc/self/fd")), len(Path("/proc/self/maps").read_text().splitlines()), resident

    dataset[0]
    files, maps, resident = used()
    for index in np.random.default_rng(0).permutation(len(dataset))[:2000]:
        dataset[int(index)]
    assert used()[0] == files
    assert used()[1] < maps + 20
    assert used()[2] < resident + 4e6  # the volumes have 39 MB


def test_a_file_that_is_cut_off_is_refused_by_name(paired: list[dict[str, str]]) -> None:
    dataset = SliceStackDataset(paired)
    path = Path(paired[0]["source"])
    path.write_bytes(path.read_bytes()[:-10])
    dataset[0]
    with pytest.raises(InputError, match="the file ends before its last slice") as caught:
        dataset[5]
    assert str(path) in str(caught.value)


def test_the_constructor_reads_headers_alone(paired: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("voxels were read")

    monkeypatch.setattr(nib.arrayproxy.ArrayProxy, "__array__", refuse)
    monkeypatch.setattr(nib.arrayproxy.ArrayProxy, "_get_unscaled", refuse)
    monkeypatch.setattr(np, "fromfile", refuse)
    assert len(SliceStackDataset(paired)) == 10


def test_pickling_carries_no_voxels(tmp_path: Path) -> None:
    items = make_items(tmp_path, {"a": {"source": 30, "target": 30}}, shape=(64, 64))
    dataset = SliceStackDataset(items)
    before = dataset[7]
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 5000  # a volume has 245,760 bytes
    again = pickle.loads(pickled)
    assert all(torch.equal(again[7][role], before[role]) for role in before)


def test_workers_read_the_same(paired: list[dict[str, str]]) -> None:
    dataset = SliceStackDataset(paired)
    dataset[0]
    alone = list(DataLoader(dataset, batch_size=4))
    shared = list(DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context="fork"))
    assert len(alone) == len(shared) == 3
    for a, b in zip(alone, shared, strict=True):
        assert all(torch.equal(a[role], b[role]) for role in ("source", "target"))


def test_compressed_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_nifti_hu(path, np.zeros((4, 4, 3)), AFFINE)
    with pytest.raises(InputError, match=r"a\.nii\.gz: expected an uncompressed .nii file"):
        SliceStackDataset([{"source": str(path)}], keys=["source"])


def test_a_missing_role_is_refused(unpaired: list[dict[str, str]]) -> None:
    only_sources = [item for item in unpaired if "source" in item]
    with pytest.raises(InputError, match="no patient of the data set has a target image"):
        SliceStackDataset(only_sources)
    with pytest.raises(InputError, match="no patient of the data set has a target image"):
        SliceStackDataset([])


@pytest.mark.parametrize("shape", [(5, 7), (7, 6)])
def test_other_in_plane_sizes_are_refused_by_name(
    tmp_path: Path, paired: list[dict[str, str]], shape: tuple[int, int]
) -> None:
    other = make_items(tmp_path / "other", {"c": {"target": 4}}, shape=shape)
    with pytest.raises(InputError) as caught:
        SliceStackDataset(paired + other)
    assert other[0]["target"] in str(caught.value)
    assert f"slices of 7 x 5 but got {shape[0]} x {shape[1]}" in str(caught.value)
    # of no concern where that role is not read
    assert len(SliceStackDataset(paired + other, keys=["source"])) == 10


def test_the_in_plane_size_is_that_of_the_volumes(paired: list[dict[str, str]]) -> None:
    assert SliceStackDataset(paired).in_plane_size == (7, 5)


def test_a_condition_is_that_of_the_leading_patient(unpaired: list[dict[str, str]]) -> None:
    patients = set()

    def condition(item: Mapping[str, Any], random: np.random.Generator) -> dict[str, torch.Tensor]:
        patients.add(item["patient"])
        return {"drawn": torch.tensor(random.random())}

    dataset = SliceStackDataset(unpaired, keys=("target", "source"), seed=3, condition=condition)
    found = [float(dataset[EpochIndex(index, epoch)]["drawn"]) for epoch in (0, 1) for index in range(len(dataset))]
    assert patients == {"t"} and len(set(found)) == len(found) == 10
    again = SliceStackDataset(unpaired, keys=("target", "source"), seed=3, condition=condition)
    backwards = [float(again[EpochIndex(i, epoch)]["drawn"]) for epoch in (1, 0) for i in reversed(range(5))]
    assert backwards[::-1] == found  # of seed, epoch and index alone
    other = SliceStackDataset(unpaired, keys=("target", "source"), seed=4, condition=condition)
    assert float(other[0]["drawn"]) != found[0]
    assert "drawn" not in SliceStackDataset(unpaired)[0]


def test_conditions_make_a_batch_whether_known_or_not(paired: list[dict[str, str]]) -> None:
    items: list[Any] = [{**paired[0], "phase": "portal", "level": 1.25}, paired[1]]
    condition = ContrastCondition(dropped=0.1, raised=0.5)
    dataset = SliceStackDataset(items, keys=("target",), condition=condition.sample)
    (batch,) = DataLoader(dataset, batch_size=len(dataset))
    assert batch["condition"].shape == (10, 5) and not batch["condition"][6:].any() and (batch["rise"][6:] == 1).all()
    assert batch["rise"].shape == (10,) and (batch["rise"] > 1).any() and batch["condition"][:6].any()
