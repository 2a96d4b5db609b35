"""Keep a list of what an inference did and left out, for people and for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

from ignite.engine import Engine, Events

from monai_nce.data import LeftOut, write_json
from monai_nce.data.files.atomic import writing
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.data.scans.earlier_result import page_file
from monai_nce.data.scans.reader import one_volume
from monai_nce.distributed import rank, world_size
from monai_nce.errors import FAULT, INCOMPLETE, is_bundle_program
from monai_nce.terminal import tell_result

__all__ = ["InferenceManifest"]

LONG = 100  # characters of an input that is not repeated
ELASTIC = "TORCHELASTIC_RUN_ID"  # torchrun tells its processes


class InferenceManifest:
    """Write ``manifest.json`` beside the results of several volumes, again after each of them.

    It lists ``input``, ``output``, ``status`` (``"done"``, ``"pending"``, ``"failed"``, or ``"skipped"`` for what is
    not wanted or no scan), ``why``, ``seconds`` and the ``weights`` with their file's SHA-256. Volumes of earlier runs
    into the folder stay listed. Each of several processes writes its own, ``manifest_1_of_2.json`` and so on.

    Args:
        items: as :func:`~monai_nce.data.inference_items` gives them, in the order of the run.
        left_out: as :func:`~monai_nce.data.check_inference_items` gives it.
        output_dir: folder of the results.
        checkpoint: file of the weights.
    """

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        left_out: Sequence[LeftOut],
        output_dir: str | PathLike[str],
        checkpoint: str | PathLike[str],
    ) -> None:
        self.left_out = left_out
        part = f"_{rank() + 1}_of_{world_size()}" if world_size() > 1 else ""
        self.path = Path(output_dir) / f"manifest{part}.json"
        self.wanted = len(items) + len(left_out) > 1
        self._weights = {"file": str(checkpoint)}
        self._checkpoint = Path(checkpoint)
        inputs = [str(one_volume(item.get("source", item["image"])).path) for item in items]
        self._items: list[dict[str, Any]] = [
            {"input": path, "output": str(item.get("output", "")), "status": "pending", "why": "", "seconds": None}
            for path, item in zip(inputs, items, strict=True)
        ]
        self._began = 0.0

    def attach(self, engine: Engine) -> None:
        """Note the time of each volume, or the fault that :class:`~monai_nce.engines.VolumeEvaluator` gives."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)

    def _start(self, engine: Engine) -> None:
        self._began = perf_counter()

    def _note(self, engine: Engine) -> None:
        now, output, one = perf_counter(), engine.state.output, self._items[engine.state.iteration - 1]
        if isinstance(output, dict) and (fault := output.get(FAULT)):
            one.update(status="failed", why=fault.removeprefix(f"{one['input']}: "), output=None)
        else:
            one.update(status="done", seconds=round(now - self._began, 2))
        self._began = now
        self.write()

    @property
    def done(self) -> int:
        """Return the number of volumes that were enhanced."""
        return sum(one["status"] == "done" for one in self._items)

    def write(self) -> None:
        """Write the list, if there is more than one volume.

        Raises:
            InputError: if it cannot be written.
        """
        if not self.wanted:
            return
        self._weights.setdefault("sha256", file_sha256(self._checkpoint))
        left = [
            {
                **{"input": str(one.path), "output": one.output, "why": one.why},
                "status": "done" if one.output else "failed" if one.fault else "skipped",
            }
            for one in self.left_out
        ]
        now = [{**one, "weights": None if one["status"] == "failed" else self._weights} for one in self._items]
        now += [{**one, "seconds": None, "weights": self._weights if one["output"] else None} for one in left]
        there = [(one.get("input"), one.get("output")) for one in self._known if one.get("status") == "done"]
        now = [
            one
            for one in now
            if one["seconds"] or one["status"] != "done" or (one["input"], one["output"]) not in there
        ]
        here = {one["input"] for one in now}
        earlier = [one for one in self._known if one.get("input") not in here]
        with writing(self.path):
            write_json(self.path, {"volumes": [*earlier, *now]})

    @cached_property
    def _known(self) -> list[dict[str, Any]]:
        """Volumes of earlier runs, read once: an archive has thousands, and the list is written after each."""
        with suppress(OSError, ValueError, LookupError, TypeError):  # none is there, or one of another kind
            volumes = json.loads(self.path.read_text(encoding="utf-8"))["volumes"]
            return [one for one in volumes if isinstance(one, dict)]
        return []

    @property
    def _not_done(self) -> list[LeftOut]:
        """What was left out before the first was computed, and what failed then."""
        failed = [LeftOut(Path(one["input"]), one["why"]) for one in self._items if one["status"] == "failed"]
        return [*self.left_out, *failed]

    def tell_done(self, volumes: int, given: Any, target: str) -> None:
        """Tell how many of all volumes of the input became images of the target domain."""
        who = f"process {rank() + 1} of {world_size()}: " if world_size() > 1 else ""
        where = given if len(str(given)) < LONG and not str(given).startswith("[") else "the input"
        outputs = [one["output"] for one in self._items if one["status"] == "done"]
        pages = [page for output in outputs if (page := page_file(output)).exists()]
        look = f"; look at {pages[0]}" + (" and the others" if len(pages) > 1 else "") if pages else ""
        tell_result(
            f"{who}{self.done} of {volumes} volumes of {where} became synthetic {target} with {self._weights['file']}; "
            f"results in {self.path.parent}{look}. SYNTHETIC, research use only.",
            done=self.done,
            volumes=volumes,
            outputs=outputs,
            left_out=[{"input": one.path, "why": one.why, "fault": one.fault} for one in self._not_done],
            output_dir=self.path.parent,
            weights=self._weights["file"],
        )

    def tell(self) -> None:
        """Write the list once more, and print what was left out on stderr."""
        self.write()
        for one in self._not_done:
            print(f"left out{'' if one.fault else ' (no fault)'}: {one.path}: {one.why}", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """End ``python -m monai.bundle`` with exit status 3 where a fault left something out.

        Under ``torchrun`` no process does: it would end the others.
        """
        if any(one.fault for one in self._not_done) and is_bundle_program() and ELASTIC not in os.environ:
            sys.exit(INCOMPLETE)
