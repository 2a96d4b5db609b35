"""What the package says of itself agrees: one version, every import declared, all its files packed, no private path."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys

import pytest
from setuptools import Distribution

import monai_nce
from tests.test_imports import ROOT, TOP_EDGES, imports_of, sources

# Distributions whose import has another name.
DISTRIBUTIONS = {
    "gdcm": "python-gdcm",
    "ignite": "pytorch-ignite",
    "jpeg_ls": "pyjpegls",
    "mlflow": "mlflow-skinny",
    "mpl_toolkits": "matplotlib",
    "openjpeg": "pylibjpeg-openjpeg",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}

BUILT_FROM = "monai_nce/visualize/page/viewer/"  # sources of viewer.js, which is packed


def first_match(pattern: str, file: str) -> str:
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found, f"{file}: nothing matches {pattern}"
    return found[1]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    """Names of the distributions that setup.cfg requires, always and for the extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    blocks = [setup["options"]["install_requires"], *(setup["options.extras_require"][extra] for extra in extras)]
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    return {normalised(re.split(r"[\s<>=!~;\[]", line)[0]) for line in lines}


def tracked() -> list[str]:
    """Files under version control."""
    if not (shutil.which("git") and (ROOT / ".git").exists()):
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if (ROOT / name).is_file()]


def undeclared(requirements: set[str], *packages: str) -> list[str]:
    bad = []
    for found in (found for file in sources(ROOT, *packages) for found in imports_of(file, ROOT)):
        name = found.name.split(".")[0]
        if name in sys.stdlib_module_names or name in TOP_EDGES:
            continue
        distribution = normalised(DISTRIBUTIONS.get(name, name))
        if distribution not in requirements:
            bad.append(f"{found.file.relative_to(ROOT).as_posix()}:{found.line}: {name} (from {distribution})")
    return bad


def test_version_of_changelog() -> None:
    assert first_match(r"^## \[(\d[^]]*)\]", "CHANGELOG.md") == monai_nce.__version__


def test_version_of_citation() -> None:
    assert first_match(r'^version: "?([^"\s]+)', "CITATION.cff") == monai_nce.__version__


def test_version_of_bundle() -> None:
    metadata = ROOT / "bundles" / "nce" / "configs" / "metadata.json"
    if not metadata.is_file():
        pytest.skip("the bundle has no metadata.json")
    assert json.loads(metadata.read_text(encoding="utf-8"))["version"] == monai_nce.__version__


def test_version_is_read_without_loading_anything() -> None:
    code = "import sys, monai_nce; sys.exit(any(name in sys.modules for name in ('torch', 'monai', 'numpy')))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_imports_are_declared() -> None:
    bad = undeclared(declared("cluster", "dicom", "node", "study"), "monai_nce", "data_prep", "bundles", "benchmarks")
    assert not bad, "\n".join(["imported, but not in setup.cfg:", *bad])


def test_imports_of_tests_are_declared() -> None:
    bad = undeclared(declared("cluster", "dicom", "mlflow", "node", "study", "test"), "tests")
    assert not bad, "\n".join(["imported, but not in setup.cfg:", *bad])


def test_undeclared_import_is_named() -> None:
    bad = undeclared(declared("test") - {"pytest"}, "tests")
    assert any(re.fullmatch(r"tests/test_packaging\.py:\d+: pytest \(from pytest\)", line) for line in bad)


def test_constraints_name_every_requirement() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normalised(line.split("==")[0]) for line in lines if line and not line.startswith("#")}
    extras = ("dicom", "ixi-like", "registration", "study", "test", "dev")
    assert declared(*extras) - pinned == {"monai-nce"}


def test_a_wheel_holds_all_files_of_its_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new package, or a file of data beside it, has to be named in setup.cfg."""
    monkeypatch.chdir(ROOT)
    distribution = Distribution({"script_name": "setup.py"})
    distribution.parse_config_files()
    building = distribution.get_command_obj("build_py")
    building.ensure_finalized()
    packed = set(building.get_output_mapping().values())
    folders = ("monai_nce/", "data_prep/", "bundles/nce/")
    assert all(name.startswith(folders) for name in packed)
    wanted = {name for name in tracked() if name.startswith(folders) and not name.startswith(BUILT_FROM)}
    missing = wanted - packed
    assert not missing, "\n".join(["not in the wheel, see packages and package_data of setup.cfg:", *sorted(missing)])


def test_no_path_of_a_machine() -> None:
    """An absolute path into somebody's home, scratch or work folder is of no use to a reader."""
    path = re.compile(r"(?:^|[^\w.}>)-])/(?:work|farm|home|root|Users|tmp|opt|mnt/[a-z]/Users)/")
    bad = []
    for name in tracked():
        if name.startswith(("containers/", "docs/containers.md")):
            continue  # places in an image
        data = (ROOT / name).read_bytes()
        if b"\0" in data[:8192]:
            continue
        lines = data.decode("utf-8", errors="replace").splitlines()
        bad += [f"{name}:{number}: {line.strip()[:100]}" for number, line in enumerate(lines, 1) if path.search(line)]
    assert not bad, "\n".join(["paths of one machine:", *bad])
