"""Keep what makes half-widths hold, in a file beside the weights that it was made for."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from monai_nce.data import write_json
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.errors import InputError
from monai_nce.handlers.weights.starting_weights import AUXILIARY
from monai_nce.uncertainty.half_width import HalfWidth
from monai_nce.uncertainty.signals import SIGNALS

__all__ = ["CALIBRATION", "Calibration", "calibration_beside"]

CALIBRATION = "uncertainty.json"
FORMAT = 1
FOR = ("body", "organs")


@dataclass(frozen=True)
class Calibration:
    """Say by what half-widths are multiplied, for which weights, and on which patients that was found.

    Attributes:
        model_sha256, auxiliary_sha256: of the files of both networks' weights.
        coverage: share of the voxels of a new patient that are within the half-width, on average over patients.
        half_width: before calibration.
        body: factor for the voxels of the body.
        organs: factor for those of each organ.
        organ_means: by how many HU the mean of an organ may be off in a new patient, with a probability of
            ``coverage``.
        data: what it was made on: ``patients`` that half-widths were fitted on and others that they were calibrated on,
            ``kind`` and ``name`` of the data.
        made_with: settings of the inference that it holds for.
    """

    model_sha256: str
    auxiliary_sha256: str
    coverage: float
    half_width: HalfWidth
    body: float
    organs: dict[str, float]
    organ_means: dict[str, float]
    data: dict[str, Any]
    made_with: dict[str, Any] = dataclasses.field(default_factory=lambda: {"stride": 1})

    def factor(self, wanted: str = "body") -> float:
        """Return the factor for the body as a whole, or one that is enough for each of the organs.

        Raises:
            InputError: for another word.
        """
        if wanted not in FOR:
            raise InputError(f"uncertainty_for: expected one of {', '.join(FOR)} but got {wanted!r}")
        return self.body if wanted == "body" else max(self.body, *self.organs.values())

    def __call__(self, signals: torch.Tensor, wanted: str = "body") -> torch.Tensor:
        """Return half-widths in HU of signals ``(B, 10, ...)``, ``(B, 1, ...)``."""
        return self.half_width(signals) * self.factor(wanted)

    def says(self, wanted: str = "body") -> str:
        """Say in plain ASCII what half-widths promise, and where."""
        of = "of the body's voxels" if wanted == "body" else "of the voxels of each organ"
        return (
            f"Within it are {self.coverage:.0%} {of}, on average over patients like those that it was calibrated on, "
            f"{self.patients}. For other patients it is no more than a hint."
        )

    @property
    def says_of_means(self) -> str:
        """Say in how many patients the means of organs keep to ``organ_means``."""
        share = f"{self.coverage:.0%}"
        return f"In {share} of patients like those that this was calibrated on; no more than a hint for others."

    @property
    def patients(self) -> str:
        """Such as "48 virtual patients"."""
        kind = str(self.data.get("kind", ""))
        return " ".join(filter(None, (str(self.data["patients"]["calibrated"]), kind, "patients")))

    def write(self, path: str | PathLike[str]) -> None:
        """Write it as JSON, in one step."""
        write_json(path, {"format": FORMAT, "signals": list(SIGNALS), **dataclasses.asdict(self)})

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Calibration:
        """Read what :meth:`write` wrote.

        Raises:
            InputError: if there is no such file, or it is another one.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(
                f"{path}: no such calibration: margins of error need one that was made for these weights by "
                "python -m benchmarks.uncertainty"
            )
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            if said.pop("format") != FORMAT or said.pop("signals") != list(SIGNALS):
                raise ValueError
            made = cls(**{**said, "half_width": HalfWidth(**said["half_width"])})
            numbers = [made.coverage, made.body, *made.organs.values(), *made.organ_means.values()]
            numbers += [*made.half_width.weights, made.half_width.bias]
            if not all(math.isfinite(number) for number in numbers) or not made.body > 0:
                raise ValueError
            if len(made.half_width.weights) != len(SIGNALS) or not 0 < made.coverage < 1 or not made.patients:
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            hint = "expected what python -m benchmarks.uncertainty of this version writes"
            raise InputError(f"{path}: not a calibration of margins of error: {hint}") from error
        return made

    def check(self, path: str | PathLike[str], checkpoint: str | PathLike[str], **settings: Any) -> None:
        """Refuse weights that it was not made for, and settings.

        Args:
            path: of the calibration, for messages.
            checkpoint: file of the target network's weights; ``auxiliary.pt`` lies beside it.
            settings: of the inference, of those that ``made_with`` names.

        Raises:
            InputError: naming the file, or the setting.
        """
        files = {Path(checkpoint): self.model_sha256, Path(checkpoint).with_name(AUXILIARY): self.auxiliary_sha256}
        for file, wanted in files.items():
            if not file.is_file():
                raise InputError(f"{file}: no such file: margins of error need the auxiliary network's weights too")
            if (found := file_sha256(file)) != wanted:
                raise InputError(
                    f"{path}: was made for weights of SHA-256 {wanted[:12]}… but {file} has {found[:12]}…: make "
                    "another by python -m benchmarks.uncertainty"
                )
        for name, value in settings.items():
            if value != self.made_with.get(name, value):
                raise InputError(f"uncertainty: is calibrated for {name} {self.made_with[name]} but got {value}")


def calibration_beside(checkpoint: str | PathLike[str], **settings: Any) -> Calibration:
    """Read the calibration that lies beside a network's weights, and check that it was made for them.

    Raises:
        InputError: as :meth:`Calibration.read` and :meth:`Calibration.check`.
    """
    path = Path(checkpoint).with_name(CALIBRATION)
    calibration = Calibration.read(path)
    calibration.check(path, checkpoint, **settings)
    return calibration
