from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from monai_nce.data.dicom.decoders import PLUGINS, decoder_of, installed_decoders
from monai_nce.data.dicom.reader import check_dicom, read_dicom
from monai_nce.errors import InputError

Series = Callable[..., Path]
Coded = Callable[[Path, UID], Path]


@pytest.fixture
def hu() -> np.ndarray:
    """Larger than the other tests' volume, since the JPEG 2000 encoder wants 32 pixels."""
    return np.random.default_rng(0).integers(-1000, 1500, size=(34, 40, 5)).astype(np.int16)


@pytest.fixture
def write_coded(write_series: Series) -> Callable[[Path, UID], Path]:
    """``write_coded(folder, syntax)`` writes a series in a transfer syntax."""

    def write(folder: Path, syntax: UID) -> Path:
        def edit(index: int, dataset: Any) -> None:
            if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
                dataset.compress(syntax, generate_instance_uid=False)
            elif not syntax.is_compressed:
                dataset.file_meta.TransferSyntaxUID = syntax
                if syntax == ExplicitVRBigEndian:
                    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()

        write_series(folder, edit)
        if syntax in JPEG_LOSSLESS:
            for path in folder.iterdir():
                jpeg_lossless(path, syntax)
        return folder

    return write


def jpeg_lossless(path: Path, syntax: UID) -> None:
    """Transcode a file; pydicom has no encoder for it."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(JPEG_LOSSLESS[syntax]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


JPEG_LOSSLESS = {
    JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
    JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
}
COMPRESSED = [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1]
PLAIN = [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


@pytest.mark.parametrize("syntax", [*PLAIN, *COMPRESSED], ids=lambda syntax: syntax.keyword)
def test_what_scanners_and_archives_write_decodes(
    syntax: UID, write_coded: Coded, hu: np.ndarray, tmp_path: Path
) -> None:
    folder = write_coded(tmp_path, syntax)
    assert pydicom.dcmread(folder / "slice0.dcm").file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_dicom(folder)[0], hu)


@pytest.mark.parametrize("syntax", [*PLAIN, *COMPRESSED], ids=lambda syntax: syntax.keyword)
def test_a_cut_file_is_refused_whatever_its_syntax(syntax: UID, write_coded: Coded, tmp_path: Path) -> None:
    folder = write_coded(tmp_path, syntax)
    path = folder / "slice4.dcm"
    content = path.read_bytes()
    for length in range(len(content) - 40, len(content) - 9, 7):  # less than a delimiter that nothing needs
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="slice4"):
            read_dicom(folder)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.keyword)
def test_a_stream_cut_within_a_whole_file_is_refused(syntax: UID, write_coded: Coded, tmp_path: Path) -> None:
    folder = write_coded(tmp_path, syntax)
    path = folder / "slice4.dcm"
    dataset = pydicom.dcmread(path)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    for keep in (0.9, 0.6):
        dataset.PixelData = encapsulate([stream[: int(len(stream) * keep)]])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path)
        with pytest.raises(InputError, match="slice4"):
            read_dicom(folder)


def test_a_file_that_unpacks_without_end_is_refused(write_series: Series, tmp_path: Path) -> None:
    def bomb(index: int, dataset: Any) -> None:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        if index == 2:
            dataset.add_new(0x00091001, "OB", bytes(2**28 + 2))

    folder = write_series(tmp_path, bomb)
    assert (folder / "slice2.dcm").stat().st_size < 2**20
    with pytest.raises(InputError, match=r"slice2\.dcm"):
        check_dicom(folder)


def test_every_plugin_is_one_that_the_extra_installs(tmp_path: Path) -> None:
    for syntax, plugin in PLUGINS.items():
        assert decoder_of(tmp_path, UID(syntax)) == plugin
    with pytest.raises(InputError, match="MPEG2.* is not supported"):
        decoder_of(tmp_path, UID("1.2.840.10008.1.2.4.100"))


def test_a_missing_decoder_is_named(write_coded: Coded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_coded(tmp_path, JPEGLossless)
    monkeypatch.setattr(get_decoder(JPEGLossless), "_available", {})
    with pytest.raises(InputError, match=r"no decoder for JPEG Lossless.*pip install monai-nce\[dicom\]"):
        read_dicom(folder)
    assert [name for name, there in installed_decoders().items() if not there] == [JPEGLossless.name]
