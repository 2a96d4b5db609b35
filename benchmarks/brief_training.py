"""Train a network for minutes, for measurements that mean nothing with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from tqdm import trange

from monai_nce.data import atomic_path
from monai_nce.phantom import make_phantom_patient
from monai_nce.precision import best_precision
from monai_nce.transforms import WindowHU, slice_stacks

__all__ = ["phantom_stacks", "trained_briefly"]

PATIENTS = 6


def phantom_stacks(index: int, size: int, slices: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a phantom's slice stacks in the paper's window: aligned NECT and CECT, ``(slices, 3, size, size)``."""
    patient = make_phantom_patient(index, size=size, slices=slices)
    volumes = (WindowHU()(torch.from_numpy(hu).float()[None]) for hu in (patient.nect_aligned, patient.cect))
    source, target = (slice_stacks(volume, 3) for volume in volumes)
    return source, target


def trained_briefly(network: nn.Module, path: Path, size: int, iterations: int, device: torch.device) -> nn.Module:
    """Train with L1 on aligned phantom pairs, or load from ``path`` what was trained before; return it in eval mode.

    Args:
        network: network to train, in place.
        path: file of the weights.
        size: pixels along both in-plane axes.
        iterations: batches of four stacks.
        device: where to train, in bf16 if it computes in it.
    """
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if path.is_file():
        network.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        return network.eval()
    pairs = [phantom_stacks(index, size, 16) for index in range(PATIENTS)]
    source, target = (torch.cat(stacks) for stacks in zip(*pairs, strict=True))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-4, total_steps=iterations)
    random = torch.Generator().manual_seed(0)
    for _ in trange(iterations, desc=f"training at {size}", mininterval=5):
        chosen = torch.randint(len(source), (4,), generator=random)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=best_precision(device.type) == "bf16"):
            prediction = network(source[chosen].to(device))
        loss = functional.l1_loss(prediction.float(), target[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with atomic_path(path) as partial:
        torch.save(network.state_dict(), partial)
    return network.eval()
