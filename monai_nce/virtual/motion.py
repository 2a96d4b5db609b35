"""Move a body between its two scans: another breath-hold in which organs slide, another position on the table.

Breathing moves the organs along the body while the wall around them stays, so neighbours on the two sides of the
cavity's border part: no smooth deformation does that, and registration with smooth ones fails there
(Schmidt-Richberg et al., Med. Image Anal. 2012; Pace et al., IEEE Trans. Med. Imaging 2013; Fig. 2 of the paper)::

    motion = Motion(np.random.default_rng(0))
    x, y, z = motion(x, y, z, inside)  # from points of the acquired NECT to points of the CECT, mm

How far, from the literature:

    diaphragm and liver   about a centimetre along the body in quiet breathing and some millimetres to anterior: Davies
                          et al., Br. J. Radiol. 1994, Rohlfing et al., Med. Phys. 2004;
                          8 mm on average between breath-holds of cooperative patients: "Variation of position of the
                          kidneys and diaphragm", J. Comput. Assist. Tomogr. 1979
    kidneys               0.6 to 0.7 of the diaphragm: Song et al., J. Magn. Reson. Imaging 2011;
                          5 to 8 mm between breath-holds: as above

Breaths here are deeper than those of cooperative patients, 13 mm on average, since patients are not all cooperative.
The position on the table and the smooth deformations are choices. Axes are RAS+ about the body's centre.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_nce.virtual.shape import PeriodicField, Point, rotation, smooth_vectors
from monai_nce.virtual.structures import STRUCTURES

__all__ = ["ORGANS_SHARE", "Motion"]

Array = NDArray[np.float32]
Share = Callable[[Array, Array, Array], Array]  # of points in mm; from 0 to 1

BREATH = (5.0, 25.0)  # mm of the diaphragm along the body between the two breath-holds
FORWARD = 0.3  # of the breath, that the front of the belly moves to anterior
WIDEN = 0.1  # of the breath, that a flank moves outwards
SHIFT = 15.0  # mm along an axis and
TURN = np.deg2rad(3.0)  # radians about an axis, at most, between two positions on the table
BODY, BODY_WAVES = 1.5, (60.0, 150.0)  # mm, root mean square along each axis of the whole body's small deformation
ORGANS, ORGAN_WAVES = 3.5, (35.0, 110.0)  # mm, of the organs' own; shortest and longest wavelengths
LATTICE = 6.0  # mm
PERIOD, POINTS = 576.0, 48  # mm after which the deformations repeat; lattice points in it
SMOOTHING = 10.0  # mm, over which two organs that move differently are joined
GLIDE = 12.0  # mm from the wall within which organs move along it
SPINE = (42.0, 48.0)  # mm to either side and to front and back of the middle of the vertebrae, that keep still
VERTEBRA = 18.0  # mm from the vertebrae's middle to the cavity in front of them
STRIP = 12.0  # mm to either side of the cavity's middle, in which its back is looked for
LEAST_SHARE = 0.15  # of the breath, beside the spine, where no organ is known
MOBILE = (25.0, 100.0)  # mm from the spine's axis where that share begins to grow, and where it is 1
REACH = 150.0  # mm from the organs that take the whole breath, over which it falls to 1 / e
STEPS = 4  # of the integration
MARGIN = 96.0  # mm along the body beyond the points, in which cavity and organs are looked at
WIDTH = 252.0  # mm to either side of the centre, in plane, in which it is


_SHARES = {
    1.0: ("liver", "gallbladder", "spleen", "stomach", "hepatic_vein", "portal_vein", "liver_lesion"),
    0.7: ("pancreas",),
    0.6: ("kidney_right", "kidney_left", "kidney_cyst", "kidney_lesion", "renal_pelvis", "adrenal_gland", "duodenum"),
    0.5: ("heart",),
    0.3: ("inferior_vena_cava", "esophagus", "trachea", "ureter"),
    0.1: ("urinary_bladder", "uterus"),
    0.05: ("aorta", "prostate"),
}
# by the values of ``STRUCTURES``; the kidneys' from the literature above, the others are choices
ORGANS_SHARE: Array = np.full(256, np.nan, np.float32)
for _share, _names in _SHARES.items():
    ORGANS_SHARE[[STRUCTURES[_name] for _name in _names]] = _share


class Motion:
    """Map points of the acquired scan without contrast to where their tissue lies in the contrast-enhanced scan.

    Args:
        rng: source of the motion.

    Attributes:
        breath: mm that the organs lie higher in the contrast-enhanced scan; negative if it is the deeper breath.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.breath = float(rng.choice((-1.0, 1.0)) * min(BREATH[0] + rng.gamma(2.0, 4.0), BREATH[1]))
        self.forward = float(FORWARD * rng.uniform(0.6, 1.4) * self.breath)
        self.widen = float(WIDEN * rng.uniform(0.0, 1.5) * self.breath)
        self.tilt = float(rng.normal(0, 0.1))  # share of the breath by which the two halves of the diaphragm differ
        self.shift = np.clip(rng.normal(0, (5.0, 4.0, 6.0)), -SHIFT, SHIFT).astype(np.float32)
        self.rotation = rotation(*np.clip(rng.normal(0, np.deg2rad((0.8, 0.8, 1.2))), -TURN, TURN)).astype(np.float32)
        self._body_waves = _waves(rng, BODY, BODY_WAVES)
        self._organ_waves = _waves(rng, ORGANS, ORGAN_WAVES)

    def __call__(self, x: Array, y: Array, z: Array, inside: Share, mobility: Share | None = None) -> Point:
        """Return the points of the contrast-enhanced scan; coordinates broadcast.

        Args:
            x, y, z: points of the acquired scan in mm.
            inside: 1 inside chest and abdomen, 0 in the wall around them and in the spine, at points of the
                contrast-enhanced scan; the organs slide along the border, at 0.5. It should go on beyond the ends of
                a map as it ends, since organs stop where a cavity ends.
            mobility: part of the diaphragm's motion that the organ at a point takes, as ``ORGANS_SHARE`` has it, at
                points of the contrast-enhanced scan; NaN where there is none that is known. There, it grows with the
                distance from the spine, from 0.15 beside it over a half where kidneys lie to all of it from 100 mm on,
                and falls with the distance from the organs that take all of it, as towards the lungs' apex and the
                pelvis. By default none is known.
        """
        table = self.on_table(x, y, z)
        lattice = _Lattice(table[2])
        cavity = inside(*lattice.axes) > 0.5
        spine, away = _spine(lattice, cavity)
        share = _mobility(away, None if mobility is None else mobility(*lattice.axes))
        body = self._body(lattice, cavity, spine)
        border = _Border(cavity)
        organs = self._organs(lattice, cavity, border, share)
        moved = _shifted(table, body, lattice)
        within = np.flatnonzero(inside(*moved).ravel() > 0.5)
        start = _taken(_flat(moved), within)
        for value, end in zip(_flat(moved), _slid(start, organs, border, lattice, inside), strict=True):
            value[within] = end
        return moved

    def on_table(self, x: Array, y: Array, z: Array) -> Point:
        """Return where points would lie if nothing but the position on the table had changed."""
        a, b, c = (
            row[0] * x + row[1] * y + row[2] * z + shift for row, shift in zip(self.rotation, self.shift, strict=True)
        )
        return a, b, c

    def _body(self, lattice: _Lattice, cavity: NDArray[np.bool_], spine: Array) -> Array:
        """Return the smooth displacement of wall and organs, which spares the spine."""
        x, y, _ = lattice.axes
        if not cavity.any():
            return np.zeros((3, *lattice.shape), np.float32)
        rear, front, left, right = _extent(lattice, cavity)
        ahead = np.clip((y - rear) / (front - rear + LATTICE), 0, 1)
        aside = np.clip((2 * x - left - right) / (right - left + LATTICE), -1, 1)
        moving = np.float32(1) - spine
        dx, dy, dz = self._body_waves(*lattice.axes)
        # organs that lie higher in the contrast-enhanced scan: less air, and the wall further in
        return moving * np.stack([dx - np.float32(self.widen) * aside, dy - np.float32(self.forward) * ahead, dz])

    def _organs(self, lattice: _Lattice, cavity: NDArray[np.bool_], border: _Border, share: Array) -> Array:
        """Return how organs slide and deform: a flow that follows the cavity's border, continued beyond it."""
        weight = ndimage.gaussian_filter(cavity.astype(np.float32), SMOOTHING / LATTICE)
        share = ndimage.gaussian_filter(np.where(cavity, share, 0).astype(np.float32), SMOOTHING / LATTICE)
        share /= np.maximum(weight, 1e-3)
        sides = 1 + np.float32(self.tilt) * np.tanh(lattice.axes[0] / 40)
        velocity = share * np.stack(self._organ_waves(*lattice.axes))
        velocity[2] += np.float32(self.breath) * sides * share
        near = np.exp(-np.square(np.maximum(border.depth, 0) / np.float32(GLIDE)))
        velocity -= near * border.normal * (border.normal * velocity).sum(0)
        here = np.indices(lattice.shape, dtype=np.float32)
        moved = np.zeros_like(velocity)
        for _ in range(STEPS):
            places = here + moved / np.float32(LATTICE)
            moved += np.stack([_look_up(part, places) for part in velocity]) / np.float32(STEPS)
        return moved


def _waves(rng: np.random.Generator, rms: float, wavelengths: tuple[float, float]) -> PeriodicField:
    """Draw a smooth displacement."""
    return PeriodicField(smooth_vectors(rng, POINTS, PERIOD / POINTS, wavelengths) * np.float32(rms), PERIOD)


class _Lattice:
    """Hold the axes of a lattice: all of the body in plane, along it what is near to the points.

    It lies at multiples of ``LATTICE``, so that a point moves in the same way whatever the others are.
    """

    def __init__(self, z: Array) -> None:
        low, high = int(np.floor((z.min() - MARGIN) / LATTICE)), int(np.ceil((z.max() + MARGIN) / LATTICE))
        wide = round(WIDTH / LATTICE)
        self.first = (-wide, -wide, low)
        across = np.arange(-wide, wide + 1, dtype=np.float32) * np.float32(LATTICE)
        along = np.arange(low, high + 1, dtype=np.float32) * np.float32(LATTICE)
        self.axes: Point = (across[:, None, None], across[None, :, None], along[None, None, :])
        self.shape = (len(across), len(across), len(along))

    def places(self, points: Point) -> Array:
        """Return points in steps of the lattice."""
        return np.stack(
            [value / np.float32(LATTICE) - np.float32(start) for value, start in zip(points, self.first, strict=True)]
        )


class _Border:
    """Hold the depth in the cavity in mm, negative outside, and the direction in which it grows, on a lattice."""

    def __init__(self, cavity: NDArray[np.bool_]) -> None:
        steps = ndimage.distance_transform_edt(cavity) - ndimage.distance_transform_edt(~cavity)
        self.depth = np.asarray(steps, np.float32) * np.float32(LATTICE)
        slopes = np.stack(np.gradient(ndimage.gaussian_filter(self.depth, 1.0), LATTICE))
        self.normal = slopes / np.maximum(np.sqrt(np.square(slopes).sum(0)), 1e-3)

    def way_in(self) -> Array:
        """Return the displacement that brings points outside of the cavity a little way into it."""
        inwards: Array = self.normal * (np.maximum(-self.depth, 0) + np.float32(LATTICE / 3))
        return inwards


def _slid(start: Point, organs: Array, border: _Border, lattice: _Lattice, inside: Share) -> Point:
    """Move organs; those that a coarse lattice would carry into the wall are brought back, or stay where they are."""
    points = _shifted(start, organs, lattice)
    lost = np.flatnonzero(inside(*points) <= 0.5)
    back = _shifted(_taken(points, lost), border.way_in(), lattice)
    stay = inside(*back) <= 0.5
    for value, first, found in zip(points, _taken(start, lost), back, strict=True):
        value[lost] = np.where(stay, first, found)
    return points


def _shifted(points: Point, displacement: Array, lattice: _Lattice) -> Point:
    """Move points by a displacement that is known on the lattice."""
    places = lattice.places(points)
    x, y, z = (value + _look_up(part, places) for value, part in zip(points, displacement, strict=True))
    return x, y, z


def _flat(points: Point) -> Point:
    x, y, z = (value.reshape(-1) for value in points)
    return x, y, z


def _taken(points: Point, which: NDArray[np.int64]) -> Point:
    x, y, z = (value[which] for value in points)
    return x, y, z


def _spine(lattice: _Lattice, cavity: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Find the spine behind the cavity's middle: 1 there and 0 away from it; and the distance from its axis in mm."""
    x, y, _ = lattice.axes
    counts = cavity.sum((0, 1))
    known = np.flatnonzero(counts)
    if not len(known):
        return np.zeros(lattice.shape, np.float32), np.full(lattice.shape, np.inf, np.float32)
    middle = _smooth_curve(lattice, known, (cavity.sum(1) * x[:, :, 0]).sum(0)[known] / counts[known])
    strip = np.abs(x - middle) <= STRIP
    free = (cavity & strip).sum(0) == strip.sum(0)  # (Y, Z): nothing but cavity from one side of the spine to the other
    seen = np.flatnonzero(free.any(0))
    if not len(seen):
        seen, free = known, cavity.any(0)
    back = _smooth_curve(lattice, seen, y[0, free.argmax(0)[seen], 0])
    aside, ahead = x - middle, y - back + np.float32(VERTEBRA)
    still = np.exp(-((aside / np.float32(SPINE[0])) ** 4) - (ahead / np.float32(SPINE[1])) ** 4)
    return still, np.hypot(aside, ahead)


def _extent(lattice: _Lattice, cavity: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """Return where the cavity's back, front, left and right are in mm, by height."""
    x, y = lattice.axes[0].ravel(), lattice.axes[1].ravel()
    ends = []
    for across, line in ((np.any(cavity, 0), y), (np.any(cavity, 1), x)):
        known = np.flatnonzero(np.any(across, 0))
        first, last = across[:, known].argmax(0), len(line) - 1 - across[::-1, known].argmax(0)
        ends += [_smooth_curve(lattice, known, line[first]), _smooth_curve(lattice, known, line[last])]
    return ends[0], ends[1], ends[2], ends[3]


def _mobility(away: Array, given: Array | None) -> Array:
    """Return the share of the diaphragm's motion, where none is given by the distance ``away`` from the spine in mm."""
    near, far = MOBILE
    share = np.asarray(LEAST_SHARE + (1 - LEAST_SHARE) * np.clip((away - near) / (far - near), 0, 1), np.float32)
    if given is None:
        return share
    domes = given >= 1
    distance = LATTICE * ndimage.distance_transform_edt(~domes) if domes.any() else MARGIN
    share = np.minimum(share, np.exp(-distance / REACH))
    return np.where(np.isnan(given), share, given).astype(np.float32)


def _smooth_curve(lattice: _Lattice, known: NDArray[np.int64], values: Array) -> Array:
    """Interpolate values that are known at some heights and smooth them over 20 mm along the body."""
    curve = np.interp(np.arange(lattice.shape[2]), known, values)
    return np.asarray(ndimage.gaussian_filter1d(curve, 20 / LATTICE, mode="nearest"), np.float32)


def _look_up(values: Array, places: Array) -> Array:
    return ndimage.map_coordinates(values, places, order=1, mode="nearest")
