"""Which way the imports run, read from the sources without importing them.

    data_prep -> monai_nce -> monai, ignite, torch;  bundles -> monai_nce;  benchmarks and tests on top

Inside ``monai_nce`` a subpackage is a leaf: networks, losses and engines meet in the bundle's JSON, not in Python. The
allowed edges stand in the two tables below. Nor do files import each other in circles. Imports inside functions and
under ``TYPE_CHECKING`` count as well. The package's own ``__init__`` imports nothing; what it lends, such as
``monai_nce.enhance``, it looks up by a text when it is asked for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

TOP_EDGES: dict[str, set[str]] = {
    "monai_nce": set(),
    "data_prep": {"monai_nce"},
    "bundles": {"monai_nce"},
    "benchmarks": {"monai_nce", "data_prep"},
    "tests": {"monai_nce", "data_prep", "bundles", "benchmarks"},
}
# errors.py and its like, and the package's own __init__ are open to all, and import nothing of the project themselves.
INNER_EDGES: dict[str, set[str]] = {
    "__init__": set(),
    "bundle_folder": set(),
    "cli": {
        "command_line",
        "data",
        "handlers",
        "inferers",
        "metrics",
        "node",
        "settings",
        "study",
        "transforms",
        "virtual",
        "visualize",
        "weights_store",
    },
    "command_line": {"settings"},
    "contrast": {"errors"},
    "distributed": {"errors"},
    "errors": set(),
    "federated": {"data", "handlers"},
    "precision": set(),
    "python_api": {"data", "metrics", "weights_store"},
    "data": {"transforms"},
    "engines": set(),
    "handlers": {"data", "metrics", "visualize"},
    "inferers": {"data", "transforms"},
    "losses": set(),
    "metrics": {"data", "transforms", "virtual"},
    "modality": set(),
    "networks": set(),
    "node": {"data", "python_api"},
    "phantom": {"data"},
    "processes": set(),
    "settings": set(),
    "study": {"data", "visualize"},
    "terminal": set(),
    "transforms": set(),
    "uncertainty": {"data", "handlers", "inferers", "networks", "transforms"},
    "virtual": {"data", "phantom"},
    "visualize": {"data"},
    "weights_store": set(),
}
OPEN_TO_ALL = {
    "__init__",
    "bundle_folder",
    "contrast",
    "distributed",
    "errors",
    "modality",
    "precision",
    "processes",
    "terminal",
}
BY_NAME = {"import_module", "__import__", "optional_import"}


class Import(NamedTuple):
    """One dotted name that a file imports."""

    file: Path
    line: int
    name: str


def imports_of(file: Path, root: Path) -> Iterator[Import]:
    """Every import in a file, also by literal name; relative ones are resolved, ``from a import b`` is ``a.b``."""
    package = file.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(file, node.lineno, f"{base}.{alias.name}")
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in BY_NAME and isinstance(node.args[0].value, str):
                yield Import(file, node.lineno, node.args[0].value)


def sources(root: Path, *packages: str) -> list[Path]:
    return sorted(file for package in packages for file in (root / package).rglob("*.py"))


def members(root: Path) -> set[str]:
    """The subpackages and modules directly in ``monai_nce``."""
    found = (root / "monai_nce").iterdir() if (root / "monai_nce").is_dir() else ()
    return {path.stem for path in found if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))}


def inner_edges(root: Path) -> Iterator[tuple[str, str, Import]]:
    """Edges between the members of ``monai_nce``: from, to, and the import that makes the edge."""
    known = members(root)
    for file in sources(root, "monai_nce"):
        start = file.relative_to(root / "monai_nce").with_suffix("").parts[0]
        for found in imports_of(file, root):
            package, *rest = found.name.split(".")
            if package == "monai_nce":
                end = rest[0] if rest and rest[0] in known else "__init__"
                if end != start:
                    yield start, end, found


def offences(root: Path) -> list[str]:
    """One line for each import that runs the wrong way, with its file and line."""
    bad = []

    def report(found: Import, why: str) -> None:
        bad.append(f"{found.file.relative_to(root).as_posix()}:{found.line}: imports {found.name}: {why}")

    for top, allowed in TOP_EDGES.items():
        for file in sources(root, top):
            for found in imports_of(file, root):
                package = found.name.split(".")[0]
                if package in TOP_EDGES and package != top and package not in allowed:
                    report(found, f"{top} may not import {package}")
    for start, end, found in inner_edges(root):
        if start not in INNER_EDGES:
            report(found, f"monai_nce.{start} is not in the table of allowed imports")
        elif end in OPEN_TO_ALL and start not in OPEN_TO_ALL:
            continue
        elif end not in INNER_EDGES[start]:
            report(found, f"monai_nce.{start} may not import monai_nce.{end}")
    return bad


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The nodes of one cycle, the first repeated at the end, or an empty list."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for successor in sorted(graph.get(node, ())):
            if found := visit(successor, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := visit(node, []))), [])


def inner_graph(root: Path) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for start, end, _ in inner_edges(root):
        graph.setdefault(start, set()).add(end)
    return graph


def file_graph(root: Path) -> dict[str, set[str]]:
    """Edges between the modules of the packages, by their dotted names; a package is its ``__init__``."""
    files = sources(root, "monai_nce", "data_prep", "benchmarks")
    names = {file: ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for file in files}
    known = set(names.values())
    graph: dict[str, set[str]] = {}
    for file, name in names.items():
        for found in imports_of(file, root):
            # ``from a import b`` is the module a.b where there is one, else b is taken out of a
            ends = [end for end in (found.name, found.name.rpartition(".")[0]) if end in known]
            graph.setdefault(name, set()).update(set(ends[:1]) - {name})
    return graph


def test_no_circle_between_files() -> None:
    assert not cycle(file_graph(ROOT)), " -> ".join(cycle(file_graph(ROOT)))


def test_imports_run_the_right_way() -> None:
    assert sources(ROOT, "monai_nce"), "no sources found: the check would pass on nothing"
    bad = offences(ROOT)
    assert not bad, "\n".join(["imports against the house's rule:", *bad])


def test_package_graph_has_no_cycle() -> None:
    assert not cycle(inner_graph(ROOT))


def test_allowed_edges_have_no_cycle() -> None:
    assert not cycle(TOP_EDGES)
    assert not cycle(INNER_EDGES)


def test_bundle_configs_name_only_the_package() -> None:
    """A bundle is used without the checkout: its expressions and ``_target_`` may not reach beside ``monai_nce``."""
    beside = re.compile(r"(?<![\w./-])(?:data_prep|benchmarks|tests)\.[a-z_]|import (?:data_prep|benchmarks|tests)\b")
    bad = [
        f"{file.relative_to(ROOT).as_posix()}:{number}: {line.strip()}"
        for file in sorted((ROOT / "bundles").glob("*/configs/*.json"))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if beside.search(line)
    ]
    assert not bad, "\n".join(bad)


# What the checker must and must not report: a file, its text, and a part of the expected line, None where it is fine.
SYNTHETIC = {
    "to a member that is open to all": ("monai_nce/losses/a.py", "from monai_nce.errors import InputError", None),
    "to the version": ("monai_nce/engines/a.py", "from monai_nce import __version__", None),
    "to its own package": ("monai_nce/losses/a.py", "from .b import x\nfrom monai_nce.losses import b", None),
    "to an allowed member": ("monai_nce/inferers/a.py", "from monai_nce.transforms import window", None),
    "to libraries": ("monai_nce/networks/a.py", "import torch\nfrom monai.networks import nets", None),
    "from data_prep down": ("data_prep/ct.py", "from monai_nce.data import readers", None),
    "from tests to all": ("tests/test_a.py", "import benchmarks.x, data_prep.ct, monai_nce.losses", None),
    "absolute": (
        "monai_nce/losses/a.py",
        "\nimport monai_nce.networks.generator",
        "monai_nce/losses/a.py:2: imports monai_nce.networks.generator: monai_nce.losses may not",
    ),
    "from the package": ("monai_nce/engines/a.py", "from monai_nce import losses", "may not import monai_nce.losses"),
    "relative": ("monai_nce/engines/a.py", "from ..networks.b import G", "may not import monai_nce.networks"),
    "in a function": (
        "monai_nce/losses/a.py",
        "def f():\n    from .. import networks",
        "a.py:2: imports monai_nce.networks",
    ),
    "by name": (
        "monai_nce/losses/a.py",
        "import importlib\nimportlib.import_module('monai_nce.engines')",
        "may not import monai_nce.engines",
    ),
    "from errors": ("monai_nce/errors.py", "from monai_nce.data import x", "monai_nce.errors may not"),
    "from the package's __init__": ("monai_nce/__init__.py", "from . import losses", "monai_nce.__init__ may not"),
    "from an unlisted member": ("monai_nce/utils.py", "from monai_nce.data import x", "not in the table"),
    "up to data_prep": ("monai_nce/data/a.py", "from data_prep import ct", "monai_nce may not import data_prep"),
    "to benchmarks": ("data_prep/ct.py", "import benchmarks.speed", "data_prep may not import benchmarks"),
    "from benchmarks to tests": ("benchmarks/a.py", "from tests.helpers import x", "benchmarks may not import tests"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of the shape of ``monai_nce`` with nothing in it."""
    for name in INNER_EDGES:
        folder = tmp_path / "monai_nce" / ("" if name in OPEN_TO_ALL else name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (f"{name}.py" if name in OPEN_TO_ALL else "__init__.py")).touch()
    return tmp_path


@pytest.mark.parametrize(("file", "text", "expected"), SYNTHETIC.values(), ids=SYNTHETIC)
def test_checker(tree: Path, file: str, text: str, expected: str | None) -> None:
    (tree / file).parent.mkdir(exist_ok=True)
    (tree / file).write_text(text, encoding="utf-8")
    bad = offences(tree)
    if expected is None:
        assert not bad
    else:
        assert len(bad) == 1
        assert expected in bad[0]


def test_cycle_is_found_and_named(tree: Path) -> None:
    (tree / "monai_nce/data/a.py").write_text("from monai_nce.transforms import window", encoding="utf-8")
    assert not cycle(inner_graph(tree))
    (tree / "monai_nce/transforms/a.py").write_text("from monai_nce.data import readers", encoding="utf-8")
    assert cycle(inner_graph(tree)) == ["data", "transforms", "data"]


@pytest.mark.parametrize(
    "back",
    [
        "from monai_nce.losses.a import x",
        "from monai_nce.losses import a",
        "from . import a",
        "def f():\n    import monai_nce.losses.a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from monai_nce.losses.a import x",
    ],
)
def test_a_circle_between_files_of_one_package_is_found_and_named(tree: Path, back: str) -> None:
    for name, text in (("a", "from monai_nce.losses.b import y"), ("b", "from .c import z"), ("c", "")):
        (tree / f"monai_nce/losses/{name}.py").write_text(text, encoding="utf-8")
    assert not cycle(file_graph(tree))
    (tree / "monai_nce/losses/c.py").write_text(back, encoding="utf-8")
    circle = [f"monai_nce.losses.{name}" for name in "abca"]
    assert cycle(file_graph(tree)) == circle


def test_a_circle_by_way_of_the_package_is_found(tree: Path) -> None:
    (tree / "monai_nce/losses/__init__.py").write_text("from .a import x", encoding="utf-8")
    (tree / "monai_nce/losses/a.py").write_text("from monai_nce.losses import y", encoding="utf-8")
    assert cycle(file_graph(tree)) == ["monai_nce.losses", "monai_nce.losses.a", "monai_nce.losses"]
