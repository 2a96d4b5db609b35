from __future__ import annotations

from monai_nce.metrics import METRICS, Metric


def test_badness_is_lower_for_the_better() -> None:
    assert METRICS["mse"].badness(0.1) < METRICS["mse"].badness(0.2)
    assert METRICS["psnr"].badness(30) < METRICS["psnr"].badness(20)
    ratio = Metric("ratio", lambda pred, target: pred, ideal=1.0)
    assert ratio.badness(1.1) < ratio.badness(0.8) == ratio.badness(1.2)
    assert (str(ratio), str(METRICS["mse"])) == ("ratio", "MSE [-1, 1]")
