"""A comparison on the console, in its directory's files, and in pictures."""

import csv
import io
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gesture import console
from gesture.data.files import counted
from gesture.evaluation.comparison import Comparison, Setting
from gesture.evaluation.intervals import Difference, Interval
from gesture.evaluation.run import Run
from gesture.report.page import leave_of_comparison
from gesture.report.plots import AROUND_BARS, BAR, Publisher
from gesture.report.tables import text_table
from gesture.runs.files import to_json, write_atomically
from gesture.runs.settings import shown

MOST_PEOPLE = 40
"""People whose scores are shown one by one on the console."""
MOST_CURVES = 10
"""Lines that a legend names."""


def publish(comparison: Comparison, folder: Path) -> None:
    """Write comparison.json, comparison.csv, plots/ and report.html into a folder, and say what they hold."""
    write_atomically(folder / "comparison.json", to_json(comparison.record()))
    write_atomically(folder / "comparison.csv", as_csv(comparison))
    (folder / "plots").mkdir(exist_ok=True)
    Publisher(folder / "plots", []).publish_all(pictures(comparison))
    leave_of_comparison(folder)
    console.say(summary(comparison))
    console.say(f"comparison: {shlex.quote(str(folder))}")


def as_csv(comparison: Comparison) -> str:
    """A row a run, the best first: name, what differs, status, scores, seconds, directory, error."""
    keys = _columns(comparison)
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(["run", *keys, "status", "monitor", "score", "test/accuracy", "seconds", "directory", "error"])
    for run, differs in zip(comparison.runs, comparison.differs, strict=True):
        trial = run.trial
        values = [shown(differs[key]) if key in differs else "" for key in keys]
        measured = ["" if value is None else value for value in (trial.monitor, trial.score, run.accuracy)]
        writer.writerow([trial.name, *values, trial.status, *measured, trial.seconds, trial.path, trial.error or ""])
    return page.getvalue()


def summary(comparison: Comparison) -> str:
    """The tables of runs, settings and people, the verdicts, and what must be known beside them."""
    lines = [_runs(comparison)]
    if comparison.settings:
        lines.append(_settings(comparison))
    if comparison.settings and len(comparison.people) <= MOST_PEOPLE:
        lines.append(_people(comparison.settings))
    lines += [
        f"{one} against {other}, {_points(found)}: {found.verdict}." for one, other, found in comparison.differences
    ]
    notes = [f"{setting.label}: {setting.interval.note}" for setting in comparison.settings if setting.interval.note]
    return "\n".join([*lines, *notes, *comparison.sentences])


def pictures(comparison: Comparison) -> dict[str, Callable[[], Figure]]:
    """What shows a comparison: people by setting, curves over each other; without what nothing is there for."""
    drawn: dict[str, Callable[[], Figure]] = {}
    if comparison.settings:
        drawn["people"] = lambda: people(comparison.settings, comparison.people)
    if any(run.curve for run in comparison.runs):
        drawn["curves"] = lambda: curves(comparison)
    return drawn


def people(settings: Sequence[Setting], compared: Sequence[str]) -> Figure:
    """A row for each setting: a dot for each person compared, and the mean with its interval."""
    figure = Figure(figsize=(8, AROUND_BARS + 2 * BAR * len(settings) + BAR), layout="constrained")
    axis = figure.subplots()
    for place, setting in enumerate(settings):
        own = [setting.scores[person] for person in compared or setting.scores]
        axis.plot(own, [place + 0.18] * len(own), "o", color="#4c78a8", alpha=0.5, markersize=5)
        _interval(axis, place - 0.12, setting.interval)
        if setting.random_split is not None:
            axis.plot(setting.random_split, place - 0.12, "x", color="tab:red")
    handles = [
        axis.plot([], [], "o", color="#4c78a8", alpha=0.5, label="a person")[0],
        axis.plot([], [], "D", color="black", label=f"mean, {100 * settings[0].interval.level:g} % interval")[0],
    ]
    if any(setting.random_split is not None for setting in settings):
        handles += axis.plot([], [], "x", color="tab:red", label="random split")
    axis.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0, frameon=False)
    axis.set_yticks(range(len(settings)), [setting.label for setting in settings], parse_math=False)
    axis.set(ylim=(len(settings) - 0.5, -0.5), xlabel="share named rightly, gestures alike")
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.grid(axis="x", alpha=0.3)
    return figure


def curves(comparison: Comparison) -> Figure:
    """Validation accuracy by epoch, a line for each run that validated; many have their settings' colours."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    drawn = [run for run in comparison.runs if run.curve]
    labels = _labels(drawn, comparison.settings)
    colours = {label: f"C{place % 10}" for place, label in enumerate(dict.fromkeys(labels))}
    for run, label in zip(drawn, labels, strict=True):
        points = [
            (epoch + 1, accuracy)
            for epoch, accuracy in zip(run.curve["epoch"], run.curve["val/accuracy"], strict=True)
            if epoch is not None and accuracy is not None
        ]
        if points:
            style = "-" if run.trial.status == "done" else ":"
            axis.plot(*zip(*points, strict=True), style, marker="o", markersize=3, linewidth=1, color=colours[label])
    axis.set(xlabel="epoch", ylabel="validation accuracy", title=f"{counted(len(drawn), 'run')}, dotted if not done")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(alpha=0.3)
    if len(colours) <= MOST_CURVES:
        axis.legend([axis.plot([], [], color=colour)[0] for colour in colours.values()], list(colours), fontsize=7)
    return figure


def _labels(runs: Sequence[Run], settings: Sequence[Setting]) -> list[str]:
    """What a legend calls runs: each by its name, or many by their setting."""
    if len(runs) <= MOST_CURVES:
        return [run.trial.name for run in runs]
    setting_of = {run.trial.path: setting.label for setting in settings for run in setting.runs}
    return [setting_of.get(run.trial.path, "others") for run in runs]


def _interval(axis: Any, height: float, interval: Interval) -> None:
    if interval.low is not None and interval.high is not None:
        axis.plot([interval.low, interval.high], [height, height], "|-", color="black")
    axis.plot(interval.mean, height, "D", color="black", markersize=5)


def _columns(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(key for differs in comparison.differs for key in differs))


def _runs(comparison: Comparison) -> str:
    keys = _columns(comparison)
    rows = [
        [
            run.trial.name,
            *(shown(differs[key]) if key in differs else "" for key in keys),
            run.trial.status,
            _number(run.trial.score),
            _number(run.accuracy),
            f"{run.trial.seconds:.0f}",
        ]
        for run, differs in zip(comparison.runs, comparison.differs, strict=True)
    ]
    monitors = sorted({run.trial.monitor for run in comparison.runs if run.trial.monitor})
    title = f"{counted(len(rows), 'run')}, score: {' or '.join(monitors) or 'none'}"
    heads = ["run", *(key.rpartition(".")[2] for key in keys), "status", "score", "test", "seconds"]
    return text_table(title, heads, rows)


def _settings(comparison: Comparison) -> str:
    has_gap = any(setting.gap is not None for setting in comparison.settings)
    rows = [
        [
            setting.label,
            str(len(setting.runs)),
            str(setting.seeds),
            str(setting.interval.people),
            _percent(setting.interval.mean),
            _ends(setting.interval),
            f"{_percent(setting.worst[1])} ({setting.worst[0]})",
            *([_percent(setting.random_split, ""), _percent(setting.gap, "")] if has_gap else []),
        ]
        for setting in comparison.settings
    ]
    heads = ["setting", "runs", "seeds", "people", "mean", f"{100 * comparison.level:g} %", "worst"]
    heads += ["random", "gap"] if has_gap else []
    return text_table("People who were not seen in training, % named rightly; people and gestures alike", heads, rows)


def _people(settings: Sequence[Setting]) -> str:
    everybody = sorted({person for setting in settings for person in setting.scores})
    rows = [[person, *(_percent(setting.scores.get(person)) for setting in settings)] for person in everybody]
    return text_table("Each person", ["person", *(setting.label for setting in settings)], rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _percent(share: float | None, otherwise: str = "not measured") -> str:
    return otherwise if share is None else f"{100 * share:.1f}"


def _points(difference: Difference) -> str:
    mean, low, high = difference.mean, difference.low, difference.high
    ends = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * mean:+.1f} points{ends}"


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "none"
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
