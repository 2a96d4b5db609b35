"""Show a discriminator earlier synthetic images beside new ones."""

from __future__ import annotations

from typing import Any

import torch

from monai_nce.distributed import all_gather, rank

__all__ = ["ImageBuffer"]


class ImageBuffer:
    """Replace each synthetic image by a stored one with probability 1/2, and store it in its place.

    After Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017,
    §2.3, with 50 images, as the original CycleGAN has it (Zhu et al., ICCV 2017, §4). Until it is full, images are
    stored and returned as they are. Every process has its own.

    Args:
        size: images that are stored; 0 returns all images as they are.
        seed: of the draws.
    """

    def __init__(self, size: int = 50, seed: int = 0) -> None:
        self.size = size
        self.images: list[torch.Tensor] = []
        self.random = torch.Generator().manual_seed(seed + rank())

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Exchange images ``(B, C, H, W)``; the output has no gradient."""
        images = images.detach()
        if self.size == 0:
            return images
        shown = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif torch.rand((), generator=self.random) < 0.5:
                place = int(torch.randint(self.size, (), generator=self.random))
                image, self.images[place] = self.images[place].to(image.device), image.clone()
            shown.append(image)
        return torch.stack(shown).to(memory_format=torch.channels_last)

    def state_dict(self) -> dict[str, Any]:
        """Return the stored images and the random state of every process. A collective call."""
        return {"processes": all_gather(([image.cpu() for image in self.images], self.random.get_state()))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take this process's part of a state of as many processes."""
        images, random = state_dict["processes"][rank()]
        if len(images) > self.size:
            raise ValueError(f"expected at most {self.size} stored images but got {len(images)}")
        self.images = list(images)
        self.random.set_state(random)
