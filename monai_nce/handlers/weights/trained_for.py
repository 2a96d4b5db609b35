"""Describe what a generator's weights were trained for, in their own file."""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_nce.data.dataset.slice_stack_dataset import ALIKE
from monai_nce.errors import InputError
from monai_nce.handlers.weights.state_file import read_state_dict

__all__ = ["TrainedFor", "network_arguments"]

KEY = "trained_for"
TARGET = "_target_"
DOMAINS = ("source", "target")
NOT_COMPARED = ("auxiliary", "data", "method", "started_from")
WORDS = {
    DOMAINS: "{source} to {target}",
    ("window_level", "window_width"): "a window of level {window_level} and width {window_width}",
    ("spacing",): "pixels of {spacing} mm",
    ("slices",): "stacks of {slices} slices",
}


@dataclass(frozen=True)
class TrainedFor:
    """Domains, window, pixels and network that a generator's weights are good for; None where that is unknown.

    None of this shows in the tensors: an auxiliary network has the shape of the target network and does the opposite.
    It is kept in the state dict's ``_metadata``, so the file is a state dict like any other, and one that was copied
    tensor by tensor says nothing.

    Args:
        source: name of the domain that the network is given.
        target: name of the domain that it makes.
        window_level: centre of the window, in HU for CT.
        window_width: width of the window.
        spacing: of the pixels in plane, in mm.
        slices: of a stack.
        network: the network's class as ``_target_`` and its constructor's arguments, see :func:`network_arguments`.
        auxiliary: True for the network that goes back from the training's target to its source.
        data: the data sets that it learns from, as :func:`monai_nce.data.training_data` lists them; never compared.
        method: name of the training's scheme; never compared.
        started_from: SHA-256 of the target network's file that the training started from, if any; never compared.
    """

    source: str | None = None
    target: str | None = None
    window_level: float | None = None
    window_width: float | None = None
    spacing: float | None = None
    slices: int | None = None
    network: Mapping[str, Any] | None = None
    auxiliary: bool | None = None
    data: Sequence[Mapping[str, Any]] | None = None
    method: str | None = None
    started_from: str | None = None

    @classmethod
    def read(cls, path: str | PathLike[str]) -> TrainedFor:
        """Read what a state dict's file says, or raise an InputError; no tensor is loaded, and no class is built."""
        return cls._said(read_state_dict(path, check=False), path)

    @classmethod
    def expected(cls, path: str | PathLike[str], **unsaid: Any) -> TrainedFor:
        """Return what a target network's weights in this file are good for; ``unsaid`` is for what it does not say.

        An auxiliary network's are expected to go the other way, so :meth:`check_weights` refuses them.

        Raises:
            InputError: if the file says what cannot be, or ``unsaid`` has data in another form.
        """
        if not _names_data(unsaid.get("data")):
            example = [{"name": "our CT", "kind": "real"}]
            raise InputError(f"data: expected a list such as {example} but got {unsaid['data']!r}")
        said = cls.read(path) if Path(path).is_file() else cls()
        if said.auxiliary or (said.source, said.target) == (unsaid.get("target"), unsaid.get("source")):
            said = said.reversed()
        return cls(**{**unsaid, **said.plain(), "network": {**unsaid.get("network", {}), **(said.network or {})}})

    @classmethod
    def _said(cls, weights: Mapping[str, torch.Tensor], path: str | PathLike[str]) -> TrainedFor:
        said = getattr(weights, "_metadata", {}).get("", {}).get(KEY, {})
        kinds: dict[str, Any] = {**dict.fromkeys(DOMAINS, str), "network": Mapping, "auxiliary": bool}
        kinds |= {"data": (list, tuple), "method": str, "started_from": str}
        if isinstance(said, Mapping) and _is_plain(said) and _names_data(said.get("data")):
            known = {field.name: said.get(field.name) for field in dataclasses.fields(cls)}
            if all(value is None or isinstance(value, kinds.get(name, (int, float))) for name, value in known.items()):
                return cls(**known)
        raise InputError(f"{path}: what it says it was trained for is damaged")

    def reversed(self) -> TrainedFor:
        """Describe the network that goes from the target to the source."""
        auxiliary = None if self.auxiliary else True
        return dataclasses.replace(self, source=self.target, target=self.source, auxiliary=auxiliary)

    def plain(self) -> dict[str, Any]:
        """Return what is known as names, numbers and lists, for a file."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def build_like(self, network: nn.Module) -> nn.Module:
        """Return a network of the class of ``network`` with the arguments that the file says; or itself."""
        said, own = self.network, network_arguments(network)
        if not said or own is None or said.get(TARGET) != own[TARGET] or _alike("network", said, own):
            return network
        try:
            return type(network)(**{name: value for name, value in said.items() if name != TARGET})
        except (TypeError, ValueError) as error:
            raise InputError(f"the weights' network cannot be built: {said[TARGET]}: {error}") from error

    def write_to(self, weights: Mapping[str, torch.Tensor], network: nn.Module | None = None) -> None:
        """Write it, with the network's arguments, into what ``network.state_dict()`` returned, before that is saved."""
        weights._metadata[""][KEY] = self._with(network).plain()  # type: ignore[attr-defined]

    def check_weights(
        self, weights: Mapping[str, torch.Tensor], path: str | PathLike[str], network: nn.Module | None = None
    ) -> None:
        """Refuse weights for ``network`` that say they were trained for something else.

        Raises:
            InputError: naming both, and the flags that go with the weights.
        """
        said, own = self._said(weights, path).plain(), self._with(network)
        if wrong := own.differences(said):
            # other names for the domains would only hide what the network does
            flags = [f"--{name} {said[name]}" for name in wrong if name not in (*DOMAINS, "network")]
            if "network" in wrong and not own._other(TARGET, said["network"].get(TARGET)):
                flags += [f"--network_def#{k} '{v}'" for k, v in said["network"].items() if own._other(k, v)]
            hint = f", or give {' '.join(flags)}" if flags else ""
            raise InputError(f"{own.words(path, said, wrong)}: choose other weights{hint}")

    def differences(self, said: Mapping[str, Any]) -> list[str]:
        """Name what differs from ``said``, an earlier :meth:`plain`; what that lacks is taken for the same."""
        here = self.plain()
        known = [name for name in here if name not in NOT_COMPARED and said.get(name) is not None]
        return [name for name in known if not _alike(name, said[name], here[name])]

    def words(self, path: str | PathLike[str], said: Mapping[str, Any], wrong: Sequence[str]) -> str:
        """Begin a message about ``differences``."""
        parts = [part for names, part in WORDS.items() if not set(names).isdisjoint(wrong)]
        theirs, ours = ([part.format(**values) for part in parts] for values in (said, self.plain()))
        if "network" in wrong:
            different = [name for name, value in said["network"].items() if self._other(name, value)]
            for words, arguments in ((theirs, said["network"]), (ours, self.network or {})):
                words.append("a network of " + ", ".join(f"{name} {arguments.get(name)}" for name in different))
        return f"{path}: trained for {' and '.join(theirs)}, not for {' and '.join(ours)}"

    def _with(self, network: nn.Module | None) -> TrainedFor:
        return self if network is None else dataclasses.replace(self, network=network_arguments(network))

    def _other(self, name: str, value: Any) -> bool:
        return _listed((self.network or {}).get(name)) != _listed(value)


def network_arguments(network: nn.Module) -> dict[str, Any] | None:
    """Return a network's class as ``_target_`` and its constructor's arguments, or None if not all are attributes."""
    kind = type(network)
    package = kind.__module__.rpartition(".")[0]
    public = getattr(sys.modules.get(package), kind.__qualname__, None) is kind
    names = list(inspect.signature(kind).parameters)
    if not all(hasattr(network, name) for name in names):
        return None
    found = {name: _listed(getattr(network, name)) for name in names}
    found[TARGET] = f"{package if public else kind.__module__}.{kind.__qualname__}"
    return found if _is_plain(found) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _names_data(value: Any) -> bool:
    """Return whether it is a list of data sets with names and numbers, or none."""
    kinds = {"name": str, "kind": str, "licence": str, "patients": int, "scans": int}
    if value is None:
        return True
    return isinstance(value, (list, tuple)) and all(
        isinstance(one, Mapping)
        and isinstance(one.get("name"), str)
        and all(isinstance(one[key], kind) for key, kind in kinds.items() if key in one)
        for one in value
    )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _alike(name: str, one: Any, other: Any) -> bool:
    if name == "network":  # an argument that only one knows is one of another version of the class
        return all(_listed(one[key]) == _listed(other[key]) for key in set(one) & set(other))
    return math.isclose(one, other, rel_tol=ALIKE) if name == "spacing" else bool(one == other)
