"""Move the phantom between two breath-holds, in mm.

Sources: Davies et al., Br. J. Radiol. 1994, and Rohlfing et al., Med. Phys. 2004: liver and kidneys move mostly along
the body's axis, by about a centimetre, and some millimetres to anterior. The shares by region are choices.
"""

from __future__ import annotations

import numpy as np

from monai_nce.phantom.shapes import Array, Point, Waves


class Motion:
    """Displace points of the acquired scan to where their tissue lies in the contrast-enhanced one."""

    def __init__(self, rng: np.random.Generator) -> None:
        depth = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.5)
        self.down = 10 * depth  # organs sink when breathing in, and the wall moves to anterior
        self.forward = 3.3 * depth * rng.uniform(0.7, 1.3)
        self.shift = rng.normal(size=3) * [0.8, 0.5, 1.0]
        self.deformation = Waves(rng, (1.5, 1.5, 2.0), (60, 130), 8)

    def __call__(self, x: Array, y: Array, z: Array) -> Point:
        """Return the displacement in mm along x, y and z at points in mm."""
        spine = 1 - np.exp(-np.square(np.square(x / 42)) - np.square(np.square((y + 60) / 48)))  # 0 at the vertebra
        wall = 1 / (1 + np.exp((np.sqrt((x / 120) ** 2 + (y / 88) ** 2) - 1) * 14))
        lower = 1 / (1 + np.exp(-(z + 60) / 30))
        front = np.clip((y + 70) / 130, 0, 1)
        organs = spine * (0.15 + 0.85 * wall) * (0.4 + 0.6 * lower)
        dx, dy, dz = self.deformation(x, y, z)
        # The spine lies on the table; it keeps a fifth of the deformation.
        calm = 0.2 + 0.8 * spine
        return (
            calm * dx + np.float32(self.shift[0]),
            calm * dy + np.float32(self.shift[1]) - np.float32(self.forward) * front,
            calm * dz + np.float32(self.shift[2]) + np.float32(self.down) * organs,
        )
