from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_nce.data import DatasetWriter, SliceStackDataset, StackLoader, mixed_items, read_datalist
from monai_nce.errors import InputError

AFFINE = np.diag([2.6667, 2.6667, 5.0, 1.0])


def write(folder: Path, size: int = 6, spacing: float = 2.6667, **depths: tuple[int, ...]) -> Path:
    """A data set with patients of the given roles and depths, each voxel its own random value."""
    random = np.random.default_rng(len(folder.name))
    affine = np.diag([spacing, spacing, 5.0, 1.0])
    with DatasetWriter(folder, name="n", description="d", licence="CC0-1.0") as dataset:
        for number, depth in enumerate(depths.get("both", ())):
            volumes: dict[str, Any] = {r: random.integers(0, 3000, (size, size, depth)) for r in ("source", "target")}
            dataset.add("training", f"p{number}", affine, **volumes)
        for role in ("source", "target"):
            for number, depth in enumerate(depths.get(role, ())):
                volume = random.integers(3000, 6000, (size, size, depth))
                dataset.add("training", f"{role[0]}{number}", affine, **{role: volume})
        dataset.add("test", "last", affine, source=random.integers(0, 9, (size, size, 3)))
    return folder


@pytest.fixture
def virtual(tmp_path: Path) -> Path:
    return write(tmp_path / "virtual", both=(20, 20))


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return write(tmp_path / "real", source=(4, 3), target=(5,))


def mixed(main: Path, mixture: dict[str, float], keys: tuple[str, ...] = ("target", "source")) -> SliceStackDataset:
    return SliceStackDataset(mixed_items(read_datalist(main, "training"), main, mixture), keys, seed=3)


def epoch_of(dataset: SliceStackDataset, epoch: int) -> list[dict[str, Any]]:
    loader = StackLoader(dataset, batch_size=1)
    loader.sampler.set_epoch(epoch)
    return list(loader)


def is_real(batch: dict[str, Any], role: str) -> bool:
    return bool(batch[role].min() >= 3000)


def test_without_a_mixture_the_items_are_those_given(virtual: Path) -> None:
    items = read_datalist(virtual, "training")
    assert mixed_items(items, virtual, {}) == items


def test_test_patients_of_the_others_are_not_trained_on(virtual: Path, real: Path) -> None:
    items = mixed_items(read_datalist(virtual, "training"), virtual, {str(real): 0.25})
    assert [item["patient"] for item in items] == ["p0", "p1", "s0", "s1", "t0"]
    assert [item.get("share") for item in items] == [None, None, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("keys", [("target", "source"), ("source", "target")], ids="-".join)
def test_an_epoch_is_as_long_as_the_main_data_set_s_and_has_its_share_of_each(
    virtual: Path, real: Path, keys: tuple[str, str]
) -> None:
    dataset = mixed(virtual, {str(real): 0.25}, keys)
    for epoch in (1, 2, 3):
        batches = epoch_of(dataset, epoch)
        assert len(batches) == 40
        assert [is_real(batch, keys[0]) for batch in batches].count(True) == 10
        # the partner of an unpaired stack comes from its own data set
        assert all(is_real(batch, "source") == is_real(batch, "target") for batch in batches)


def test_every_stack_is_seen_before_any_is_seen_again(virtual: Path, real: Path) -> None:
    dataset = mixed(virtual, {str(real): 0.25}, ("target",))  # 10 stacks an epoch of 5 real ones, and 30 of 40
    seen: dict[bytes, int] = {}
    for epoch in range(4):
        for batch in epoch_of(dataset, epoch):
            seen[batch["target"].numpy().tobytes()] = seen.get(batch["target"].numpy().tobytes(), 0) + 1
    assert sorted(seen.values()) == [3] * 40 + [8] * 5


def test_each_time_an_unpaired_stack_comes_its_partner_is_drawn_anew(virtual: Path, real: Path) -> None:
    batches = epoch_of(mixed(virtual, {str(real): 0.9}), 1)  # 36 of the 5 stacks that lead
    partners: dict[bytes, set[bytes]] = {}
    for batch in batches:
        if is_real(batch, "target"):
            partners.setdefault(batch["target"].numpy().tobytes(), set()).add(batch["source"].numpy().tobytes())
    assert len(partners) == 5
    assert len(set().union(*partners.values())) == 7
    assert min(map(len, partners.values())) > 1


def test_an_epoch_depends_on_seed_and_epoch_alone(virtual: Path, real: Path) -> None:
    def values(dataset: SliceStackDataset, epoch: int) -> list[bytes]:
        return [batch[role].numpy().tobytes() for batch in epoch_of(dataset, epoch) for role in ("target", "source")]

    first = mixed(virtual, {str(real): 0.25})
    values(first, 1)
    assert values(first, 2) == values(mixed(virtual, {str(real): 0.25}), 2) != values(first, 3)


def test_the_processes_share_what_one_would_take(virtual: Path, real: Path, as_rank: Any) -> None:
    dataset = mixed(virtual, {str(real): 0.25})

    def order() -> list[tuple[int, int]]:
        sampler = StackLoader(dataset).sampler
        sampler.set_epoch(2)
        return [(int(index), index.epoch) for index in sampler]

    alone, shares = order(), []
    for rank in range(2):
        as_rank(rank, 2)
        shares.append(order())
    assert [one for both in zip(*shares, strict=True) for one in both] == alone


def test_a_stopped_epoch_goes_on(virtual: Path, real: Path) -> None:
    sampler = StackLoader(mixed(virtual, {str(real): 0.25})).sampler
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.skip(7)
    assert list(sampler) == whole[7:]


def test_several_data_sets_have_their_shares(virtual: Path, real: Path, tmp_path: Path) -> None:
    third = write(tmp_path / "third", both=(50,))
    dataset = mixed(virtual, {str(real): 0.25, str(third): 0.5})
    assert dataset.parts == [(range(40), 10), (range(40, 45), 10), (range(45, 95), 20)]


def test_the_fingerprint_knows_the_shares(virtual: Path, real: Path) -> None:
    prints = [mixed(virtual, mixture).fingerprint() for mixture in ({}, {str(real): 0.25}, {str(real): 0.3})]
    assert len(set(prints)) == 3
    assert prints[1] == mixed(virtual, {str(real): 0.25}).fingerprint()


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0], [-0.1], [1], ["much"], [float("nan")]])
def test_shares_that_leave_nothing_are_refused(virtual: Path, real: Path, shares: list[Any], tmp_path: Path) -> None:
    folders = [str(real), str(write(tmp_path / "third", both=(5,)))]
    with pytest.raises(InputError, match="mixture: expected shares above 0 with a sum below 1"):
        mixed_items([], virtual, dict(zip(folders, shares, strict=False)))


def test_a_mixture_that_is_no_dictionary_is_refused(virtual: Path) -> None:
    with pytest.raises(InputError, match="mixture: expected shares .* but got 'runs/real'"):
        mixed_items([], virtual, "runs/real")  # type: ignore[arg-type]


def test_the_same_data_set_twice_is_refused(virtual: Path, real: Path) -> None:
    items = read_datalist(virtual, "training")
    for mixture in ({str(virtual): 0.5}, {str(real): 0.1, str(real / ".." / "real"): 0.1}):
        with pytest.raises(InputError, match="comes twice"):
            mixed_items(items, virtual, mixture)


def test_other_domains_are_refused(virtual: Path, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "mr", name="n", description="d", licence="l", source_domain="t2") as dataset:
        dataset.add("training", "a", AFFINE, source=np.zeros((6, 6, 3)), target=np.zeros((6, 6, 3)))
    with pytest.raises(
        InputError, match=r"mr: expected source and target nect and cect, as .* has, but got t2 and cect"
    ):
        mixed_items(read_datalist(virtual, "training"), virtual, {str(tmp_path / "mr"): 0.5})


def test_a_main_data_set_without_training_patients_is_refused(real: Path, virtual: Path) -> None:
    with pytest.raises(InputError, match="virtual: expected training patients"):
        mixed_items([], virtual, {str(real): 0.5})


def test_partners_come_from_the_main_data_set_where_there_is_none(virtual: Path, tmp_path: Path) -> None:
    cect = write(tmp_path / "cect", target=(5,))
    batches = epoch_of(mixed(virtual, {str(cect): 0.25}), 1)
    assert [is_real(batch, "target") for batch in batches].count(True) == 10
    assert not any(is_real(batch, "source") for batch in batches)
    sources = {batch["source"].numpy().tobytes() for batch in batches if is_real(batch, "target")}
    assert len(sources) > 5


def test_a_data_set_without_the_role_that_leads_is_refused_by_name(virtual: Path, tmp_path: Path) -> None:
    nect = write(tmp_path / "nect", source=(4,))
    with pytest.raises(InputError, match=f"no patient of {nect} has a target image"):
        mixed(virtual, {str(nect): 0.25})


@pytest.mark.parametrize(
    ("made", "message"),
    [({"size": 8}, "slices of 6 x 6 but got 8 x 8"), ({"spacing": 1.3333}, "pixels of 2.6667 mm but got 1.3333 mm")],
)
def test_another_geometry_is_refused_by_name(virtual: Path, tmp_path: Path, made: Any, message: str) -> None:
    other = write(tmp_path / "other", both=(4,), **made)
    with pytest.raises(InputError, match=rf"other/volumes/p0_\w+\.nii: expected {message}"):
        mixed(virtual, {str(other): 0.25})


def test_a_main_data_set_that_is_too_small_is_refused(real: Path, tmp_path: Path) -> None:
    tiny = write(tmp_path / "tiny", both=(1,))
    with pytest.raises(InputError, match="mixture: expected more than 1 stacks of the main data set but it has 1"):
        mixed(tiny, {str(real): 0.5})


def test_volumes_are_those_of_the_files(virtual: Path, real: Path) -> None:
    items = mixed_items(read_datalist(virtual, "training"), virtual, {str(real): 0.25})
    last = SliceStackDataset(items, ("target",))[44]["target"]
    wanted = np.asarray(nib.load(items[-1]["target"]).dataobj)[:, :, [3, 4, 4]].transpose(2, 0, 1)
    np.testing.assert_array_equal(last, wanted)
