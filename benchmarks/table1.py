"""Train and measure the paper's Table 1 again, by one command.

    python -m benchmarks.table1 --data phantom|ixi|ixi-like|DIR [--methods …] [--distortions …] [--seeds …]
                                [--preset small|paper] [--resume]

Every cell (method, distortion, seed) is trained and evaluated by the bundle's own workflows, in a process of its own.
After each cell ``table1.json`` and ``table1.md`` are written anew in the output folder, and at the end the figures, and
``report.html``, a page of both. A stopped run goes on with ``--resume``: finished cells are skipped, and a cell that
was at work goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import draw_figures
from benchmarks.hardware import describe_hardware
from benchmarks.plan import DEFAULT_METHODS, DISTORTIONS, MRI, is_mri, plan
from benchmarks.run_cells import add_options, read_overrides, run_cells, run_or_say, share_cores
from benchmarks.table import write_table
from benchmarks.table_page import write_table_page

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate and write the table. Returns 1 if a cell failed, 2 for wrong input, which is said in one line."""
    return run_or_say(lambda: _run(_parse(arguments)))


def _run(options: argparse.Namespace) -> int:
    data, name = options.data, options.data
    if data not in DEFAULT_METHODS:
        data, name = str(Path(data).resolve()), Path(data).resolve().name
    # absolute, since the cells run in the repository's root
    out_dir = (options.out_dir or Path("runs", "table1", f"{name}_{options.preset}")).resolve()
    paths = {key: str(path.resolve()) for key in ("t2", "pd") if (path := getattr(options, key)) is not None}
    scans, overrides = (paths if len(paths) == 2 else None), read_overrides(options)
    cells = plan(data, options.methods, options.distortions, options.seeds, options.preset, out_dir, scans, overrides)
    about = {
        "data": name,
        "preset": options.preset,
        "hardware": describe_hardware(*share_cores(options)),
        "command": "python -m benchmarks.table1 " + " ".join(_shown(options)),
        "note": "Research use only." + (" A phantom: no clinical result." if name == "phantom" else ""),
    }

    def write() -> None:
        if results := [result for cell in cells if (result := cell.result()) is not None]:
            write_table(out_dir, about, results, mri=is_mri(cells[0].configs))

    failures = run_cells(cells, options, out_dir, write)
    if (out_dir / "table1.md").exists():
        figures = draw_figures(out_dir)
        print((out_dir / "table1.md").read_text(encoding="utf-8"))
        write_table_page(out_dir, figures)
        print(f"table1.json, table1.md, report.html and {len(figures)} figures are in {out_dir}")
    return failures


def _shown(options: argparse.Namespace) -> list[str]:
    """List the options that decide about the figures, without paths."""
    shown = ["--data", options.data if options.data in DEFAULT_METHODS else "DIR", "--preset", options.preset]
    for flag in ("methods", "seeds", "set", *(["distortions"] if options.data in MRI else [])):
        if value := getattr(options, flag):
            shown += [f"--{flag}", *map(str, value)]
    return shown


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table1", description="Table 1 of the paper.")
    add = parser.add_argument
    add("--data", default="phantom", metavar="DATA", help="phantom (default), ixi, ixi-like, or a data set's folder")
    add("--distortions", nargs="+", type=float, default=DISTORTIONS, metavar="K", help="for ixi and ixi-like")
    add("--preset", default="small", metavar="P", help="small (default) or paper")
    add("--t2", type=Path, metavar="PATH", help="IXI-T2.tar, or a folder with its files")
    add("--pd", type=Path, metavar="PATH", help="IXI-PD.tar, or a folder with its files")
    add("--out-dir", type=Path, metavar="DIR", help="default: runs/table1/DATA_PRESET")
    add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
