"""Register by VoxelMorph with MONAI's parts (Fig. 2c of the paper; its reference 2, Balakrishnan et al., CVPR 2018).

A U-Net sees a pair and gives the displacement at once. It learns, without any truth, from the pairs that it is then
asked for. As in that paper the pairs are aligned by an affine transform before, the displacement is not integrated, and
the loss is squared local cross-correlation, or mean squares where these are asked for, plus the displacement's squared
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import monai
import numpy as np
import torch
from monai.losses import DiffusionLoss, LocalNormalizedCrossCorrelationLoss
from monai.networks.blocks import Warp
from monai.networks.nets import VoxelMorph, VoxelMorphUNet
from torch.nn import functional

from ..messages import progress_bar
from . import SIMILARITIES, Pair, Registration, pull
from .affine import AffineRegistration, apply

__all__ = ["VoxelMorphRegistration"]

VOXEL_MM = 5.0  # about the size of the voxels that the network sees
CHANNELS = (8, 8, 16, 16, 32, 32)  # down and up at each of three levels, as VoxelMorphUNet counts them
OUT_CHANNELS = 8
DIVISOR = 8  # three halvings
EPOCHS = 25
INITIAL_SPREAD = 1e-3
LEARNING_RATE = 2e-3
LARGEST_GRADIENT = 1.0  # its norm; without a norm inside, the network can run away
WINDOW_VOXELS = 7
NOISE_SPREAD = 0.05  # of the window: where a patch varies less than this, it is noise and counts for nothing
SMOOTHNESS = 0.3
SMOOTHNESS_OF_SQUARES = 0.02  # mean squares on [0, 1] are far below a correlation


class VoxelMorphRegistration(Registration):
    """Find an affine transform, then the displacement that a network gives, having seen each pair ``epochs`` times."""

    learns = True

    def __init__(self, *args: Any, epochs: int = EPOCHS, **options: Any) -> None:
        super().__init__(*args, **options)
        self.affine = AffineRegistration(*args, **options)
        self.epochs = epochs
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.network = _network().to(self.device)

    def fit(self, pairs: Sequence[Pair]) -> None:
        """Train the network."""
        bar = progress_bar(pairs, "affine", "patient", self.progress)
        batches = [
            self._coarse(fixed, self.affine.register(fixed, moving, spacing), spacing) for fixed, moving, spacing in bar
        ]
        similarity, weight = self._similarity()
        smoothness = DiffusionLoss()
        optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        generator = torch.Generator().manual_seed(self.seed)
        self.network.train()
        epochs = progress_bar(range(self.epochs), "voxelmorph", "epoch", self.progress)
        for _ in epochs:
            total = 0.0
            for index in torch.randperm(len(batches), generator=generator).tolist():
                fixed, moving = (volume.to(self.device) for volume in batches[index])
                moved, displacement = self.network(moving, fixed)
                loss = similarity(moved, fixed) + weight * smoothness(displacement)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
                optimizer.step()
                total += loss.item()
            scheduler.step()
            epochs.set_postfix(loss=f"{total / len(batches):.4f}")

    def _similarity(self) -> tuple[torch.nn.Module, float]:
        """Return the loss that compares images, and the weight of smoothness beside it."""
        if self.similarity == "mean_squares":
            return torch.nn.MSELoss(), SMOOTHNESS_OF_SQUARES
        correlation = LocalNormalizedCrossCorrelationLoss(
            kernel_size=WINDOW_VOXELS, smooth_nr=0.0, smooth_dr=WINDOW_VOXELS**3 * NOISE_SPREAD**2
        )
        return correlation, SMOOTHNESS

    def points(self, fixed: np.ndarray, moving: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        matrix, offset = self.affine.matrix(fixed, moving, spacing)
        sides = np.array(spacing, dtype=np.float32).reshape(3, 1, 1, 1)
        grid = np.indices(fixed.shape, dtype=np.float32)
        aligned = pull(moving, apply(matrix, offset, grid * sides), spacing)
        # through both transforms at once, so that the HU are interpolated once
        return apply(matrix, offset, (grid + self._displacement(fixed, aligned, spacing)) * sides)

    def _displacement(self, fixed: np.ndarray, aligned: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Measure from each voxel of ``fixed`` to its place in ``aligned``: (3, H, W, D), in voxels."""
        self.network.eval()
        with torch.no_grad():
            coarse_fixed, coarse_moving = self._coarse(fixed, aligned, spacing)
            _, coarse = self.network(coarse_moving.to(self.device), coarse_fixed.to(self.device))
        factors = _factors(spacing)
        size = [n * factor for n, factor in zip(coarse.shape[2:], factors, strict=True)]
        fine = functional.interpolate(coarse.cpu(), size=size, mode="trilinear", align_corners=False)[0]
        voxels = fine * torch.tensor(factors, dtype=fine.dtype).view(3, 1, 1, 1)
        return voxels.numpy()[:, : fixed.shape[0], : fixed.shape[1], : fixed.shape[2]]

    def _coarse(self, fixed: np.ndarray, moving: np.ndarray, spacing: Sequence[float]) -> list[torch.Tensor]:
        """Both in the window, from 0 to 1, averaged to coarser voxels: (1, 1, h, w, d), multiples of the divisor."""
        factors = _factors(spacing)
        missing = [-n % (factor * DIVISOR) for n, factor in zip(fixed.shape, factors, strict=True)]
        coarse = []
        for volume in (fixed, moving):
            intensity = (self.window(np.asarray(volume)) + 1) / 2
            sides = [0, missing[2], 0, missing[1], 0, missing[0]]
            padded = functional.pad(intensity[None, None], sides, mode="replicate")
            coarse.append(functional.avg_pool3d(padded, factors))
        return coarse

    def method_settings(self) -> dict[str, Any]:
        return {
            "tool": f"MONAI {monai.__version__}",
            "affine": self.affine.settings(),
            "voxel_mm": VOXEL_MM,
            "channels": list(CHANNELS),
            **self._described(),
            "smoothness": "squared gradient of the displacement",
            "smoothness_weight": self._similarity()[1],
            "learning_rate": LEARNING_RATE,
            "epochs": self.epochs,
        }

    def _described(self) -> dict[str, Any]:
        if self.similarity == "mean_squares":
            return {"similarity": SIMILARITIES[self.similarity]}
        local = {"similarity_voxels": WINDOW_VOXELS, "noise_spread": NOISE_SPREAD}
        return {"similarity": "squared local normalised cross-correlation", **local}


def _network() -> VoxelMorph:
    backbone = VoxelMorphUNet(
        spatial_dims=3,
        in_channels=2,
        unet_out_channels=OUT_CHANNELS,
        channels=CHANNELS,
        final_conv_channels=(OUT_CHANNELS,),
    )
    network = VoxelMorph(backbone, integration_steps=0)
    # MONAI's own choice is zeros, that is air, which would come in wherever the body is cut off
    network.warp = Warp(mode="bilinear", padding_mode="border")
    last = backbone.net[1][-1].conv
    torch.nn.init.normal_(last.weight, std=INITIAL_SPREAD)  # so that training starts near the identity
    torch.nn.init.zeros_(last.bias)
    return network


def _factors(spacing: Sequence[float]) -> list[int]:
    return [max(1, round(VOXEL_MM / side)) for side in spacing]
