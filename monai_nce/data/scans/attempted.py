"""Read the volumes of a data set, and give the exception in place of one that cannot be read."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

__all__ = ["AttemptedDataset"]


class AttemptedDataset(Dataset[Any]):
    """Give the items of a data set, or what was raised in place of one.

    So a loader goes on to the next: :func:`~monai_nce.data.collate_volume` hands the exception on as the batch.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            return error
