from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.federated import NETWORKS, config_files, read_weights, said_by_sites, write_start, write_weights
from monai_nce.handlers import TrainedFor
from tests.tiny import TINY

DATA = {"name": "abdomen", "kind": "real", "licence": "none", "patients": 3, "scans": 6}
SAID = {"source": "NECT", "target": "CECT", "spacing": 2.5, "slices": 3, "data": [DATA]}


@pytest.mark.parametrize("stage", NETWORKS)
def test_weights_that_were_exchanged_are_read_as_the_bundle_s_own(stage: str, tmp_path: Path) -> None:
    for folder in ("start", "again"):
        write_start(stage, tmp_path / folder, 64, TINY)
    sent = read_weights(stage, tmp_path / "start")
    same = read_weights(stage, tmp_path / "again")
    assert sent.keys() == same.keys() and all(np.array_equal(sent[key], same[key]) for key in sent)
    # a mean of weights 1 and 3: the second site's tensors are 4 higher, so all rise by 3
    mean = {key: (value * 1.0 + (value + 4) * 3.0) / 4 for key, value in sent.items()}
    said = TrainedFor(**{**SAID, "data": None})
    files = write_weights(stage, mean, tmp_path / "start", tmp_path / "out", said)
    assert [file.name for file in files] == list(NETWORKS[stage])
    for file in files:
        before = torch.load(tmp_path / "start" / file.name, weights_only=True)
        after = torch.load(file, weights_only=True)
        assert all(torch.allclose(after[key], before[key] + 3, atol=1e-6) for key in before)
        assert TrainedFor.read(file).plain() == (
            {} if file.stem in ("classifier", "discriminator") else {**said.plain()}
        )


@settings(max_examples=20, deadline=None)
@given(key=st.sampled_from(["source", "target", "spacing", "slices"]), sites=st.integers(1, 3))
def test_sites_that_train_for_something_else_are_named(key: str, sites: int) -> None:
    others: dict[str, Any] = {"source": "T2", "target": "PD", "spacing": 1.0, "slices": 5}
    said = {f"site-{number}": SAID for number in range(1, sites + 1)}
    assert said_by_sites(said).data == [{**DATA, "patients": 3 * sites, "scans": 6 * sites}]
    with pytest.raises(InputError, match=f"^other: expected the same as site-1.*{key}.*but got.*{others[key]}"):
        said_by_sites({**said, "other": {**SAID, key: others[key]}})


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stage: expected classifier, stage1, stage2 but got stage3"):
        config_files("stage3")
    write_start("classifier", tmp_path, 64, TINY)
    sent = read_weights("classifier", tmp_path)
    name = next(iter(sent))
    for wrong in ({name: np.zeros(1)}, {}):
        with pytest.raises(InputError, match=f"{name}: expected"):
            write_weights("classifier", wrong, tmp_path, tmp_path / "out")
