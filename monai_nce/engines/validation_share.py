"""The validation patients of one process, in such a way that the metrics over all processes are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from monai_nce.distributed import shard

__all__ = ["ValidationShare"]


class ValidationShare:
    """This process's part of the validation patients, each of whom counts once over all processes.

    MONAI's metrics gather what every process has computed, whatever number of patients it had, but wait for ever for
    one that had none, since an evaluator without data does not run. With fewer patients than processes, those that
    have none therefore validate the first patient, and their metric is NaN, which MONAI's averages leave out.

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
        """What a metric is to be given of an evaluator's output.

        Args:
            output_transform: gives predictions and labels, as two lists of tensors.

        Returns:
            The same, with predictions that count nothing where this process has no patient of its own.
        """
        return output_transform if self._counts else lambda output: _uncounted(*output_transform(output))


def _uncounted(predictions: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], Any]:
    return [torch.full_like(prediction, torch.nan) for prediction in predictions], labels
