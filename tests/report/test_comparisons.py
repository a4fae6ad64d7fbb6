"""A comparison's tables and pictures say what the comparison holds."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gesture.evaluation.comparison import Comparison, compare
from gesture.report.comparison import curves, people, summary
from gesture.runs.collection import runs_of
from made_runs import made_run


def across(line: Line2D) -> list[float]:
    """Where a line's points lie on the horizontal axis."""
    return [float(value) for value in np.asarray(line.get_xdata())]


def names_of(axis: Axes) -> list[str]:
    """What its legend names."""
    legend = axis.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Two settings of four people, each tested alone, and a random split of one of them."""
    names = [f"{number:02}" for number in range(4)]
    for number, name in enumerate(names):
        others = [other for other in names if other != name]
        for recipe, score in (("none", 0.5), ("light", 0.6)):
            words = ["split=loso", f"split.fold={number}", f"augment={recipe}"]
            made_run(tmp_path / recipe / name, {name: score + number / 10}, *words, trained_on=others)
    made_run(tmp_path / "random", dict.fromkeys(names, 1.0), "split=random", trained_on=names)
    made_run(tmp_path / "running", {}, "split=loso", "split.fold=9", "augment=light", status="failed")
    for place in (tmp_path / "more0", tmp_path / "more1"):
        made_run(place, {}, "split=loso", f"name={place.name}", status="failed", score=None)
    return compare(runs_of([str(tmp_path)]), 0.95)


def test_a_dot_stands_for_each_person_and_a_line_for_the_interval(comparison: Comparison) -> None:
    [axis] = people(comparison.settings, comparison.people).axes
    dots, interval, mean = axis.lines[:3]
    best = comparison.settings[0]
    assert across(dots) == [best.scores[name] for name in comparison.people]
    assert across(interval) == [best.interval.low, best.interval.high]
    assert across(mean) == [best.interval.mean]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["augment=light", "augment=none"]
    assert names_of(axis) == ["a person", "mean, 95 % interval", "random split"]


def test_many_curves_have_the_colours_of_their_settings(comparison: Comparison) -> None:
    [axis] = curves(comparison).axes
    assert sorted(names_of(axis)) == ["augment=light", "augment=none", "others"]
    lines = [line for line in axis.lines if len(across(line))]
    assert len(lines) == 12
    assert len({line.get_color() for line in lines}) == 3
    assert across(lines[0]) == [1, 3]  # the second epoch was not validated
    assert [line.get_linestyle() for line in lines].count(":") == 3


def test_the_tables_hold_every_setting_and_person(comparison: Comparison) -> None:
    said = summary(comparison)
    assert "12 runs, score: val/accuracy" in said
    rows = [line.replace("│", "|").replace(" ", "") for line in said.splitlines()]
    plain = comparison.settings[1].interval
    assert plain.low is not None
    assert plain.high is not None
    ends = f"{100 * plain.low:.1f}to{100 * plain.high:.1f}"
    assert f"|augment=none|4|1|4|65.0|{ends}|50.0(00)|100.0|35.0|" in rows
    assert "|03|90.0|80.0|" in rows
    assert "augment=light against augment=none, +10.0 points: not distinguishable: four people cannot tell" in said


def test_a_long_label_is_cut_and_stays_one_of_its_own(tmp_path: Path) -> None:
    words = ["optimizer.weight_decay=0.25", "loss.label_smoothing=0.125", "augment=light", "optimizer.lr=0.125"]
    made_run(tmp_path / "0", {"00": 0.5}, "split=subject")
    made_run(tmp_path / "1", {"00": 0.6}, "split=subject", *words, "trainer.max_epochs=3")
    made_run(tmp_path / "2", {"00": 0.7}, "split=subject", *words, "trainer.max_epochs=4")
    labels = [setting.label for setting in compare(runs_of([str(tmp_path)]), 0.95).settings]
    assert len(set(labels)) == 3
    assert all(len(label) <= 64 for label in labels)
    assert labels[0].startswith("augment=light, label_smoothing=0.125, lr=0.125")
