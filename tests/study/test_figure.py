from __future__ import annotations

from monai_nce.study.figure import draw_grades


def test_bars_are_shares_of_the_grades() -> None:
    summaries = [
        {"criterion": criterion, "method": method, "count": sum(grades), "grades": grades, "mean": mean}
        for criterion in ("quality", "artefact")
        for method, grades, mean in (("a", [1, 0, 0, 0, 3], 4.0), ("b", [0, 0, 0, 0, 0], None))
    ]
    figure = draw_grades(summaries, "A note.")
    quality, artefact = figure.axes
    bars = [(bar.get_x(), bar.get_width()) for bar in quality.patches]
    assert bars == [(0, 0.25), (0.25, 0), (0.25, 0), (0.25, 0), (0.25, 0.75), *[(0, 0)] * 5]
    assert [text.get_text() for text in quality.texts] == ["1", "3", "4.00", "mean"]
    assert [label.get_text() for label in quality.get_yticklabels()] == ["a", "b"]
    assert [axis.get_title(loc="left") for axis in (quality, artefact)] == ["Image quality", "Artefacts"]
    assert [text.get_text() for text in figure.texts] == ["A note. Research use only."]
