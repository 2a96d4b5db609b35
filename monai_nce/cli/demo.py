"""Show the whole way on phantoms: train, enhance a scan, evaluate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from monai_nce.cli.options import DryRun, JSONLines, OutputDir, Quiet, Settings, as_settings
from monai_nce.cli.run_bundle import bundle_command, choose_output, run_steps
from monai_nce.cli.typed_paths import typed_inputs, typed_path

__all__ = ["demo"]


def demo(
    settings: Settings = None,
    output_dir: OutputDir = "nce_demo",
    quiet: Quiet = False,
    as_json: JSONLines = False,
    dry_run: DryRun = False,
) -> None:
    """Make 24 phantom patients, train both stages on them, enhance a scan and evaluate: minutes on a CPU.

    The same command again goes on where it was stopped. Settings are those of the training.
    """
    from monai_nce.terminal import tell_result

    choose_output(quiet, as_json, "")
    folder = Path(output_dir)
    run_steps(_steps(folder, as_settings(settings or []), dry_run), dry_run)
    if not dry_run:
        tell_result(
            f"Look at {folder / 'report.html'}; {folder / 'enhanced.html'} is one scan and its synthetic CECT.",
            preview=folder / "preview.png",
            enhanced=folder / "enhanced.nii.gz",
        )


def _steps(folder: Path, settings: dict[str, str], dry_run: bool) -> Iterator[list[str]]:
    """Yield one command after the other, each when what comes before is done."""
    output_dir, phantom = typed_path(str(folder)), folder / "phantom"
    own = {"phantom_dir": typed_path(str(phantom)), "output_dir": output_dir, "resume": True, **settings}
    yield bundle_command("training", ["train.json"], own)

    checkpoint = typed_path(str(folder / "models" / "model.pt"))
    scan = phantom / "TEST_SCAN" if dry_run else _test_scan(phantom)
    given = typed_path(str(scan)) if dry_run else typed_inputs([str(scan)])
    results = folder / "inference"
    inference = {"input": given, "output_dir": typed_path(str(results)), "checkpoint": checkpoint, "report": True}
    yield bundle_command("inferring", ["inference.json"], inference)

    if not dry_run:
        for kind in ("nii.gz", "png", "html"):
            shutil.copyfile(results / f"{scan.stem}_synthetic_cect.{kind}", folder / f"enhanced.{kind}")
    evaluation = {"dataset_dir": typed_path(str(phantom)), "output_dir": output_dir, "checkpoint": checkpoint}
    yield bundle_command("evaluating", ["train.json", "evaluate.json"], {**evaluation, "report": True})


def _test_scan(phantom: Path) -> Path:
    """Return a test patient's scan as acquired."""
    return phantom / json.loads((phantom / "datalist.json").read_text(encoding="utf-8"))["test"][0]["source"]
