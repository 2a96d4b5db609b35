"""What a wheel does in a place that has no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

import monai_nce
from tests.test_containers import sources
from tests.test_packaging import ROOT, tracked

MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the files that the containers take, as they are under version control."""
    copy = tmp_path_factory.mktemp("checkout")
    wanted = sources(ROOT / "containers" / "cpu.Containerfile")
    for name in tracked():
        if name in wanted or name.startswith(tuple(f"{folder}/" for folder in wanted)):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)]
    subprocess.run([sys.executable, *build], check=True, capture_output=True, timeout=300)
    (made,) = (copy / "dist").iterdir()
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel, and this environment's other packages."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=os.name == "posix")
    python = next(path for name in ("bin/python", "Scripts/python.exe") if (path := folder / name).exists())
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    # what a .pth file names comes last, and .pth files that lie there, such as an editable install's, are not read
    (Path(packages) / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    install = ["--python", str(python), "install", "--no-deps", "--no-index", "--no-compile", "--quiet", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True, timeout=300)
    return python


@pytest.fixture
def run(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a program of the wheel's environment in an empty folder, and return what it prints."""
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.delenv(name, raising=False)

    def run(program: str, *arguments: str) -> str:
        command = [str(python.parent / program), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_a_wheel_serves_without_a_checkout(wheel: Path, python: Path, run: Callable[..., str], tmp_path: Path) -> None:
    assert wheel.stat().st_size < MOST_BYTES
    assert run("nce", "--version") == f"monai-nce {monai_nce.__version__}\n"

    code = (
        "import monai_nce; from monai_nce.bundle_folder import *; print(monai_nce.__file__, bundle_folder(), sep='\\n')"
    )
    package, bundle = map(Path, run("python", "-c", code).splitlines())
    assert package.is_relative_to(python.parents[1]) and bundle == package.parent / "bundle"
    assert (bundle / "docs" / "data_license.txt").is_file() and (bundle / "models" / "model.pt").is_file()

    size = ["--patients", "2", "--size", "64", "--slices", "3"]
    said = run("python", "-m", "monai_nce.prep", "phantom", *size, "--output_dir", "set")
    assert said.splitlines()[-1] == "next: nce train --data set -o DIR"

    scan = next((tmp_path / "set").rglob("*_source.nii"))
    config = str(bundle / "configs" / "inference.json")
    flags = ["--input", str(scan), "--output_dir", "out", "--backend", "torch"]
    said = run("python", "-m", "monai.bundle", "run", "inferring", "--config_file", config, *flags)
    assert f"with {bundle}/models/model.pt" in said
    assert len(list((tmp_path / "out").glob("*_synthetic_cect.nii.gz"))) == 1
