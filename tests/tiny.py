"""Networks and batches small enough to run the whole bundle in seconds: overrides of ``train.json``."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "batch_size": 2,
    "network_def#channels": [8, 8],
    "network_def#hidden_channels": 8,
    "discriminator_def#channels": [8, 8],
    "domain_classifier_def#channels": [4, 4, 8, 8, 8],
}
