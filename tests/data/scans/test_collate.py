from __future__ import annotations

import numpy as np
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, Orientationd

from monai_nce.data import collate_volume


def test_collation_is_monais_without_the_copy() -> None:
    stored = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(1, 4, 3, 2).permute(0, 3, 2, 1)
    affine = torch.diag(torch.tensor([-2.0, 1.0, 3.0, 1.0], dtype=torch.float64))
    turned = Compose(Orientationd("image", axcodes="RAS", labels=None))
    item = {"image": MetaTensor(stored, affine=affine), "source": ["a", "b"], "output": "c"}
    (ours,) = DataLoader(Dataset([item], turned), batch_size=1, collate_fn=collate_volume)
    (monais,) = DataLoader(Dataset([item], turned), batch_size=1)
    assert ours.keys() == monais.keys() and ours["output"] == monais["output"] and ours["source"] == monais["source"]
    one, other = ours["image"], monais["image"]
    assert torch.equal(one.as_tensor(), other.as_tensor()) and torch.equal(one.affine, other.affine)
    assert one.stride()[1:] == turned(item)["image"].stride() != other.stride()[1:]
    (single,), (expected,) = decollate_batch(ours), decollate_batch(monais)
    assert str(single["image"].applied_operations) == str(expected["image"].applied_operations)
    assert single["source"] == expected["source"]
    back = turned.inverse(single)["image"]
    np.testing.assert_array_equal(back, turned.inverse(expected)["image"])
    assert torch.equal(back.affine, affine)
