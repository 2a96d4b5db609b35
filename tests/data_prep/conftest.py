"""Fixtures: real scans where they are to be had, and crude bodies, on any grid or as series of a study."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import sys
import tarfile
import termios
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.preparation import UID_ROOT, body, write_series
from monai_nce.data.nifti.writer import write_nifti_hu


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("NCE_REAL_DATA")
    if not folder:
        pytest.skip("NCE_REAL_DATA is not set: no real scans to test with")
    return Path(folder)


@pytest.fixture
def write_body() -> Callable[..., Path]:
    """``write_body(path, affine, shape, centre)``: a box of 120 × 80 mm about ``centre``, brighter upwards.

    Inside it HU are a linear function of the position, so that linear interpolation is exact on every grid; ``hu`` is
    added to it, so that images differ.
    """

    def write(
        path: Path, affine: np.ndarray, shape: tuple[int, int, int], centre: tuple[float, float], hu: int = 0
    ) -> Path:
        voxels = np.moveaxis(np.indices(shape), 0, -1)
        x, y, z = np.moveaxis(voxels @ affine[:3, :3].T + affine[:3, 3], -1, 0)
        inside = (abs(x - centre[0]) <= 60) & (abs(y - centre[1]) <= 40)
        write_nifti_hu(path, np.where(inside, 40 + hu + x - 2 * y + 3 * z, -1000), affine)
        return path

    return write


@pytest.fixture
def write_scan() -> Callable[..., Path]:
    """``write_scan(path, volume, affine)``: a scan as IXI has them, int16 in a compressed NIfTI file."""

    def write(path: Path, volume: np.ndarray, affine: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.rint(volume).astype(np.int16), affine), path)
        return path

    return write


@pytest.fixture
def as_tar() -> Callable[..., Path]:
    """``as_tar(folder, path)``: the folder's files as a tar archive, sorted by name."""

    def pack(folder: Path, path: Path, prefix: str = "") -> Path:
        with tarfile.open(path, "w") as archive:
            for file in sorted(folder.iterdir()):
                archive.add(file, prefix + file.name)
        return path

    return pack


@pytest.fixture
def add_series(tmp_path: Path) -> Callable[..., Path]:
    """``add_series("studies/a/nativ", patient="X1", …)``: a series of 12 slices of 32 × 32 pixels, 5 mm apart.

    ``enhanced`` fills kidneys and aorta; ``study`` and ``series`` are numbers that make the UIDs; ``slices`` and
    ``first_z`` say where it lies; further arguments are elements of the header.
    """
    count = iter(range(1, 1000))

    def add(
        folder: str,
        description: str = "",
        patient: str = "X1",
        enhanced: bool = False,
        study: int = 1,
        slices: int = 12,
        first_z: float = 0.0,
        **elements: object,
    ) -> Path:
        number = next(count)
        volume = body(32, slices, enhanced, seed=number)
        made = {
            "SeriesDescription": description,
            "PatientID": patient,
            "StudyInstanceUID": f"{UID_ROOT}{study}",
            "SeriesInstanceUID": f"{UID_ROOT}{study}.{number}",
            "SeriesNumber": number,
        }
        return write_series(tmp_path / folder, volume, (10.625, 10.625, 5.0), first_z, **{**made, **elements})

    return add


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], str]:
    """``on_terminal(function)``: what the function writes on stderr where that is a terminal of 80 columns."""

    def run(function: Callable[[], object]) -> str:
        reader, writer = pty.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        with os.fdopen(writer, "w") as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            function()
        shown = b""
        with contextlib.suppress(OSError):  # what Linux raises at the end of a closed terminal
            while part := os.read(reader, 65536):
                shown += part
        os.close(reader)
        return shown.decode()

    return run
