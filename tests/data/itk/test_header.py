from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_nce.data.itk.header import is_itk_name, read_header
from monai_nce.errors import InputError
from tests.data.itk.itk_files import save_itk

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("name", "compress", "data", "compression"),
    [
        ("a.mha", False, "a.mha", ""),
        ("a.mha", True, "a.mha", "zlib"),
        ("a.mhd", False, "a.raw", ""),
        ("a.nrrd", True, "a.nrrd", "gzip"),
        ("a.nhdr", False, "a.raw", ""),
    ],
)
def test_where_the_voxels_lie(name: str, compress: bool, data: str, compression: str, tmp_path: Path) -> None:
    header = read_header(save_itk(tmp_path / name, VOXELS, np.eye(4), compress))
    assert (header.data, header.compression, header.big_endian) == (tmp_path / data, compression, False)
    if not compress:
        content = header.data.read_bytes()[header.offset :]
        assert content == VOXELS.tobytes(order="F")


def test_fields_are_known_in_any_case(tmp_path: Path) -> None:
    text = "NRRD0004\n# space: none\nType: short\nencoding: raw\nENDIAN: BIG\nkey:=a value: with signs\n\n"
    (tmp_path / "a.nrrd").write_bytes(text.encode())
    header = read_header(tmp_path / "a.nrrd")
    assert header.fields == {"type": "short", "encoding": "raw", "endian": "BIG", "key": "a value: with signs"}
    assert (header.big_endian, header.offset) == (True, len(text))


def test_what_is_no_header_is_refused(tmp_path: Path) -> None:
    for name in ("a.mha", "a.nrrd"):
        (tmp_path / name).write_text("no header")
        with pytest.raises(InputError, match=rf"{name}: not a readable (MetaImage|NRRD) file"):
            read_header(tmp_path / name)


def test_names() -> None:
    assert all(is_itk_name(Path(name)) for name in ("a.mha", "a.MHD", "a.seg.nrrd", "a.nhdr"))
    assert not is_itk_name(Path("a.nii"))
