"""Tell what is known of weights: what they are for, what they learnt from, under which licence, how good they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["CARD", "LICENCE", "METRICS", "facts_in_words", "figures_of", "weights_facts"]

LICENCE, CARD, METRICS = "data_license.txt", "README.md", "metrics.json"
IDENTITY = "identity"
SHOWN = ("mse", "mae_hu", "ms_ssim")
SUMMARY = (
    "mean",
    "patient_mean",
    "low",
    "high",
)  # of a metric; what it is for each patient stays where it was measured
ABOUT = ("method", "data", "aligned", "patients", "checkpoint_sha256", "told", "ms_ssim", "interval", "note")


def weights_facts(network: Path) -> dict[str, Any]:
    """Collect what a target network's file, and the files beside it, say.

    Returns:
        ``path``, ``sha256``, ``bytes``, ``parameters``; what :class:`monai_nce.handlers.TrainedFor` knows; ``licence``
        and ``card``, the texts; ``figures`` as :func:`figures_of` gives them; ``auxiliary``, the path of the network
        that goes back. None where something is not known.

    Raises:
        InputError: if the file is damaged, or no state dict.
    """
    from monai_nce.data.files.sha256 import file_sha256
    from monai_nce.handlers.weights.starting_weights import auxiliary_beside
    from monai_nce.handlers.weights.state_file import read_state_dict
    from monai_nce.handlers.weights.trained_for import TrainedFor

    network = network.absolute()
    weights = read_state_dict(network)
    said = TrainedFor.read(network)
    digest = file_sha256(network)
    auxiliary = auxiliary_beside(network)
    return {
        "path": str(network),
        "sha256": digest,
        "bytes": network.stat().st_size,
        "parameters": sum(value.numel() for value in weights.values() if value.is_floating_point()),
        **vars(said),
        "licence": _text(network, LICENCE) or _licences(said.data or ()),
        "card": _text(network, CARD),
        "figures": figures_of(network, digest),
        "auxiliary": auxiliary and str(auxiliary),
    }


def figures_of(network: Path, sha256: str) -> dict[str, Any] | None:
    """Return the figures that were measured with these very weights, without any for a single patient, or None.

    They are those of ``metrics.json`` beside the network or above its folder, where an evaluation writes it, and for
    weights in a bundle what its ``metadata.json`` says.
    """
    for file in (network.with_name(METRICS), network.parents[1] / METRICS):
        found = _read_json(file)
        about = found.get("about")
        if isinstance(about, Mapping) and about.get("checkpoint_sha256") == sha256:
            methods = {
                method: {name: {key: value.get(key) for key in SUMMARY} for name, value in metrics.items()}
                for method, metrics in found.items()
                if isinstance(metrics, Mapping) and all(_is_summary(value) for value in metrics.values())
            }
            return {"about": {key: about[key] for key in ABOUT if key in about}, **methods}
    metrics = _read_json(network.parents[1] / "configs" / "metadata.json").get("eval_metrics")
    if isinstance(metrics, Mapping) and network.stem == "model":
        about = {"checkpoint_sha256": sha256, "note": "as the bundle's metadata.json says"}
        return {"about": about, "these weights": {name: {"mean": value} for name, value in metrics.items()}}
    return None


def facts_in_words(facts: Mapping[str, Any]) -> dict[str, str]:
    """Say the facts in words, by what they are about."""
    from monai_nce.data.dataset.provenance import Provenance
    from monai_nce.data.scans.reader import CT, modality_of

    source, target = facts["source"] or "unknown", facts["target"] or "unknown"
    unit = " HU" if facts["source"] and modality_of(source) == CT else ""
    level, width, spacing = (facts[key] for key in ("window_level", "window_width", "spacing"))
    network = facts["network"] or {}
    size = f"{facts['parameters'] / 1e6:.2f} million parameters, {facts['bytes'] / 1e6:.1f} MB"
    return {
        "file": str(facts["path"]),
        "SHA-256": str(facts["sha256"]),
        "makes": f"{target} from {source}; synthetic, research use only",
        "window": "unknown" if width is None else f"level {level:g}, width {width:g}{unit}",
        "pixels": "unknown" if spacing is None else f"{spacing:g} mm",
        "network": f"{str(network.get('_target_', 'unknown')).rpartition('.')[2]}, stacks of {facts['slices'] or '?'} "
        f"slices, {size}",
        "network back": "comes with it" if facts["auxiliary"] else "none",
        "learnt from": Provenance(facts["data"]).trained_on,
        **({"started from": f"weights with SHA-256 {facts['started_from']}"} if facts["started_from"] else {}),
        "figures": _figures_in_words(facts["figures"]),
        "licence": (facts["licence"] or "unknown").strip(),
    }


def _figures_in_words(figures: Mapping[str, Any] | None) -> str:
    if not figures:
        return "none that were measured with these weights"
    about = figures.get("about", {})
    lines = [f"{about['data']}, {about['patients']} patients"] if {"data", "patients"} <= set(about) else []
    for method, metrics in figures.items():
        values = (
            [f"{name} {metrics[name]['mean']:.4g}" for name in SHOWN if name in metrics] if method != "about" else []
        )
        if values:
            lines.append(f"{'input unchanged' if method == IDENTITY else method}: {', '.join(values)}")
    return "\n".join(lines)


def _is_summary(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("mean"), (int, float))


def _read_json(file: Path) -> dict[str, Any]:
    """Return what a file holds, or nothing where it is missing or no JSON object."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(network: Path, name: str) -> str | None:
    """Return a text that lies beside a network, or in the ``docs`` of its bundle."""
    files = [network.with_name(name)]
    if (network.parents[1] / "configs" / "metadata.json").is_file():
        files.append(network.parents[1] / "docs" / name)
    found = next((file for file in files if file.is_file()), None)
    return None if found is None else found.read_text(encoding="utf-8", errors="replace")


def _licences(data: Any) -> str | None:
    named = [f"{one['name']}: {one['licence']}" for one in data if one.get("licence")]
    return "\n".join(named) if data and len(named) == len(data) else None
