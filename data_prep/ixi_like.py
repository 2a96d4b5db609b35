"""``python -m data_prep ixi-like``: simulate T2 and PD over the anatomy of a brain template, for want of IXI.

Each subject is the ICBM 2009a nonlinear symmetric template of 152 adults (Fonov et al., NeuroImage 54, 2011; Fonov et
al., NeuroImage 47, 2009; Collins et al. 1999) under another smooth deformation: its maps of grey and white matter and
its T1 image, read from the files that nilearn ships (nilearn: BSD-3-Clause; template: © 1993-2004 Louis Collins,
McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University, free to use, copy, modify and
distribute with that notice; nilearn's own description of it leaves the licence open).

The contrast is the spin-echo equation ``PD (1 - exp(-TR/T1)) exp(-TE/T2)`` for the mixture of tissues in a voxel. PD,
T1 and T2 at 1.5 T: the tissue table of the BrainWeb simulator (Kwan et al., IEEE Trans. Med. Imaging 18, 1999). TR and
TE: IXI's dual echo at Guy's Hospital, https://brain-development.org/ixi-dataset/. Amounts of variation, noise, bias
field and the lesions' values are choices.

PD is no function of T2: both vary on their own within a tissue, from subject to subject and from place to place; the T1
template's departure from the mixture of tissue means shifts T2; lesions are bright on both scans; noise is independent.

Everything lives in continuous millimetres of the template's space: another grid shows the same brain.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import asdict, dataclass
from functools import cache
from os import PathLike
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from nibabel.affines import from_matvec
from scipy import ndimage
from torch.nn import functional

from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.errors import InputError

from .arguments import add_mri, add_number, add_output
from .mri_dataset import AcquiredPair, MRISettings, add_subjects

__all__ = ["FIELD_OF_VIEW_MM", "GENERATOR_VERSION", "SLAB_MM", "add_parser", "make_pair", "write_ixi_like_dataset"]

GENERATOR_VERSION = 1  # raise it when the same parameters come to give other voxels
TR_MS = 8178.0
TE_MS = {"t2": 100.0, "pd": 8.0}
# PD relative to water, T1 and T2 in ms
TISSUES = {
    "csf": (1.0, 2569.0, 329.0),
    "gm": (0.86, 833.0, 83.0),
    "wm": (0.77, 500.0, 70.0),
    "lesion": (0.90, 1100.0, 150.0),
}
FIELD_OF_VIEW_MM = 240.0  # 256 pixels of 0.9375 mm in IXI
SLAB_MM = 80.0  # 64 slices of 1.25 mm in IXI
CENTRE_MM = (0.0, -18.0, 8.0)  # middle of the brain in plane; the slab runs from the cerebellum to above the ventricles
FIELD_BOX_MM = 300.0  # edge of the cube in which random fields are drawn
FILES = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def write_ixi_like_dataset(
    out_dir: str | PathLike[str],
    *,
    subjects: int = 24,
    size: int = 128,
    slices: int = 32,
    distortion: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Simulate subjects and write them as a data set: all of it, or nothing; return ``out_dir``.

    Arguments are the command's options. Prepared as IXI is, from twice as many pixels over 240 mm, but with a
    validation split, as in the phantom. Neither anatomy nor split depend on ``distortion``.

    Raises:
        InputError: if nilearn is not installed, a number is out of range, or ``out_dir`` cannot take a data set.
    """
    if subjects < 1:
        raise InputError(f"expected at least one subject but got {subjects}")
    settings = MRISettings(size, slices, distortion, seed)
    index_of = {f"like_{index:03d}": index for index in range(subjects)}
    splits = split_patients(index_of, seed=seed)
    generator = {"generator": "data_prep.ixi_like_brain", "generator_version": GENERATOR_VERSION}
    made = {**generator, "subjects": subjects, **asdict(settings)}
    dataset = DatasetWriter(
        out_dir,
        name="IXI-like T2 and PD, simulated",
        description="T2 and PD contrast simulated over deformations of the ICBM 2009a template; values 0 to 1000.",
        licence="ICBM 2009a template, © 1993-2004 Louis Collins, McConnell Brain Imaging Centre, McGill University;"
        " simulation Apache-2.0",
        kind="virtual",
        source_domain="t2",
        target_domain="pd",
        provenance=made,
        overwrite=overwrite,
    )

    def load(subject: str) -> AcquiredPair:
        return make_pair(index_of[subject], size=2 * size, slices=slices, seed=seed)

    with dataset:
        rows = add_subjects(dataset, splits, load, settings, name="ixi-like", progress=progress)
        dataset.report({**made, "subjects": rows, "left_out": []})
    return Path(out_dir)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "ixi-like",
        help="simulated T2 and PD of a brain template",
        description="Make a data set like IXI's from the brain template that nilearn ships (extra: ixi-like).",
    )
    add_output(parser)
    add_mri(parser, 32, "over 80 mm")
    add_number(parser, "--subjects", 24, "how many")
    parser.set_defaults(run=write_ixi_like_dataset)


@dataclass(frozen=True)
class Template:
    """The anatomy on its own grid of 1 mm.

    The five maps, (5, X, Y, Z), are brain, CSF, grey matter, white matter, and what of the T1 image the tissues do not
    explain, in units of the difference between white and grey matter.
    """

    maps: torch.Tensor
    affine: np.ndarray
    deep: np.ndarray  # places in mm, (N, 3), in the white matter, where lesions may lie


def make_pair(index: int, size: int = 256, slices: int = 64, seed: int = 0) -> AcquiredPair:
    """Scan one subject, whose anatomy, tissues and noise follow from index and seed, over 240 mm in plane and 80 mm.

    Raises:
        InputError: if nilearn is not installed.
    """
    template = _template()
    rng = np.random.default_rng([seed, index])
    shape = (size, size, slices)
    step = np.array([FIELD_OF_VIEW_MM, FIELD_OF_VIEW_MM, SLAB_MM]) / shape
    first = CENTRE_MM - step * (np.array(shape) - 1) / 2
    axes = [torch.arange(n) * by + start for n, by, start in zip(shape, step.tolist(), first.tolist(), strict=True)]
    world = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # in mm, (H, W, D, 3)
    # one spline a head wide in seven knots, one finer; drawn together, since looking them up costs the most
    wide, fine = (_spline(rng, channels, knots) for channels, knots in ((4, 7), (3, 16)))
    *shift, bias = _look_up(torch.cat([2.5 * wide[:3] + 1.2 * fine, 0.07 * wide[3:]]), world)
    anatomy = _posed(world, rng) + torch.stack(shift, dim=-1)
    csf, gm, wm, lesion, unexplained = _tissues(template, anatomy, rng)

    # values 3 mm apart, so that structures of some millimetres vary within a tissue
    texture = _look_up(torch.from_numpy(rng.standard_normal((2, 100, 100, 100), dtype=np.float32)), world)
    pd_factor = 1 + 0.015 * texture[0]
    t2_factor = (1 + 0.04 * texture[1] - 0.12 * unexplained).clamp(0.6, 1.4)
    noise = float(rng.uniform(0.012, 0.022))
    signals = {contrast: torch.zeros(shape) for contrast in TE_MS}
    for fraction, (pd, t1, t2) in zip((csf, gm, wm, lesion), TISSUES.values(), strict=True):
        pd, t1, t2 = (np.array([pd, t1, t2]) * (1 + np.array([0.02, 0.04, 0.04]) * rng.standard_normal(3))).tolist()
        excited = fraction * pd_factor * (pd * (1 - np.exp(-TR_MS / t1)))
        for contrast, te in TE_MS.items():
            signals[contrast] += excited * torch.exp(-te / (t2 * t2_factor))
    scans = {}
    for contrast, signal in signals.items():
        real, imaginary = (torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) for _ in range(2))
        scans[contrast] = torch.hypot(signal * torch.exp(bias) + noise * real, noise * imaginary).numpy()
    return AcquiredPair(scans["t2"], scans["pd"], from_matvec(np.diag(step), first))


def _posed(world: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Positions turned, stretched and shifted a little about the centre."""
    turn = np.eye(3)
    for (i, j), angle in zip(((1, 2), (0, 2), (0, 1)), np.radians(rng.normal(0, (4, 2, 3))), strict=True):
        one = np.eye(3)
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    matrix = turn @ np.diag(rng.normal(1.0, 0.03, 3))
    shift = CENTRE_MM + rng.normal(0, 2, 3) - matrix @ CENTRE_MM
    return world @ torch.tensor(matrix.T, dtype=torch.float32) + torch.tensor(shift, dtype=torch.float32)


def _spline(rng: np.random.Generator, channels: int, knots: int) -> torch.Tensor:
    """Smooth noise of variance 1, ``(channels, 32, 32, 32)``, from a cube of ``knots`` values along each edge."""
    values = rng.standard_normal((channels, knots, knots, knots), dtype=np.float32)
    smooth = np.stack([ndimage.zoom(value, 32 / knots, order=3, mode="nearest") for value in values])
    return torch.from_numpy(smooth / smooth.std())


def _look_up(field: torch.Tensor, world: torch.Tensor) -> torch.Tensor:
    """Sample a random field ``(C, N, N, N)`` over the box of 300 mm at positions ``(H, W, D, 3)``."""
    return _sample(field, (world - torch.tensor(CENTRE_MM)) * (2 / FIELD_BOX_MM), "border")


def _tissues(template: Template, positions: torch.Tensor, rng: np.random.Generator) -> list[torch.Tensor]:
    """Fractions of CSF, grey matter, white matter and lesions, and the unexplained part of T1, at positions."""
    last = torch.tensor(template.maps.shape[1:]) - 1
    scale = torch.tensor(np.diag(template.affine)[:3], dtype=torch.float32)
    voxels = (positions - torch.tensor(template.affine[:3, 3], dtype=torch.float32)) / scale
    brain, csf, gm, wm, unexplained = _sample(template.maps, (voxels + 0.5) * (2 / (last + 1)) - 1, "zeros")

    # An average of many brains is blurred. The power brings single tissues back; the factor makes ventricles and
    # sulci of some subjects wide.
    csf = csf * float(np.exp(rng.normal(0.15, 0.2)))
    csf, gm, wm = csf**4, gm**4, wm**4
    total = (csf + gm + wm).clamp(min=1e-6) / brain
    csf, gm, wm = csf / total, gm / total, wm / total

    share = torch.zeros_like(wm)
    for place in template.deep[rng.integers(len(template.deep), size=rng.poisson(4))]:
        radius = rng.uniform(2, 5, 3)  # in mm of the template
        distance = sum(((positions[..., axis] - float(place[axis])) / radius[axis]) ** 2 for axis in range(3))
        share = torch.maximum(share, torch.exp(-(distance**2)))
    return [csf, gm, wm * (1 - share), wm * share, unexplained * brain]


def _sample(maps: torch.Tensor, where: torch.Tensor, padding: str) -> torch.Tensor:
    """Linear interpolation of ``(C, X, Y, Z)`` at coordinates from -1 to 1 at the outer faces, ``(H, W, D, 3)``."""
    # grid_sample counts its axes from the last to the first
    grid = where.flip(-1)[None]
    return functional.grid_sample(maps[None], grid, mode="bilinear", padding_mode=padding, align_corners=False)[0]


@cache
def _template() -> Template:
    spec = importlib.util.find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("ixi-like needs the brain template that nilearn ships: pip install -e '.[ixi-like]'")
    root = Path(spec.submodule_search_locations[0])
    images = {}
    for name in ("t1", "gm", "wm"):
        path = root / FILES.format(name)
        if not path.is_file():
            raise InputError(f"{path}: missing; another release of nilearn? constraints.txt names one that ships it")
        images[name] = nib.Nifti1Image.from_filename(path)
    t1, gm, wm = (np.asarray(image.dataobj, dtype=np.float32) / 255 for image in images.values())
    brain = (t1 > 0).astype(np.float32)
    csf = np.clip(brain - gm - wm, 0, 1)
    inside = brain > 0
    parts = np.stack([csf[inside], gm[inside], wm[inside]], axis=1)
    means = np.linalg.lstsq(parts, t1[inside], rcond=None)[0]
    unexplained = np.zeros_like(t1)
    unexplained[inside] = np.clip((t1[inside] - parts @ means) / (means[2] - means[1]), -1, 1)
    affine = images["t1"].affine
    deep = np.argwhere(ndimage.minimum_filter(wm, 5) > 0.8) * np.diag(affine)[:3] + affine[:3, 3]
    return Template(torch.from_numpy(np.stack([brain, csf, gm, wm, unexplained])), affine, deep)
