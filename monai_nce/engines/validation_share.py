"""Share validation patients among processes so that metrics over all processes are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from monai_nce.distributed import shard

__all__ = ["ValidationShare"]


class ValidationShare:
    """Choose this process's validation patients, so that each counts once over all processes.

    MONAI's metrics wait for ever for a process without patients, since an evaluator without data does not run. With
    fewer patients than processes, those that have none therefore validate the first patient, and their metric is NaN,
    which MONAI's averages leave out.

    Args:
        items: all validation patients, the same on every process and in the same order.

    Attributes:
        items: what this process validates; empty only where there is no validation patient at all.
    """

    def __init__(self, items: Sequence[Any]) -> None:
        own = shard(items)
        self._counts = bool(own)
        self.items = own or list(items[:1])

    def counted(self, output_transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Wrap a metric's transform to lists of predictions and labels, so that a foreign patient does not count."""
        return output_transform if self._counts else lambda output: _uncounted(*output_transform(output))


def _uncounted(predictions: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], Any]:
    return [torch.full_like(prediction, torch.nan) for prediction in predictions], labels
