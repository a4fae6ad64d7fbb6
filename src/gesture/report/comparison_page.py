"""The report of a comparison: many runs made into one answer, over the people whom all of them test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesture.report import charts, parts
from gesture.report.charts import Line
from gesture.report.document import Section, behind, document, table
from gesture.report.figures import Figures, decimal, level, listed, points, seconds, share, whole
from gesture.report.markup import Content, tag
from gesture.runs.files import read_json

RECORD = "comparison.json"
MOST_COLUMNS = 12
"""Settings in the table of people by settings; the best come first."""
MOST_CURVES = 60


@dataclass(frozen=True)
class Recorded:
    """What stands in a comparison's directory."""

    name: str
    found: Figures
    """Of comparison.json."""


def read(path: Path) -> Recorded:
    """What a comparison's directory holds.

    Raises:
        ConfigError: it is none, or damaged.
    """
    return Recorded(path.resolve().name, Figures(RECORD, read_json(path / RECORD)))


def page(comparison: Recorded) -> str:
    """The whole report."""
    found = comparison.found
    sections = [
        Section("asked", "What is compared", _asked(found)),
        Section("settings", "Settings", _settings(found)),
        Section("differences", "Differences", _differences(found)),
        Section("people", "By person", _people(found)),
        Section("curves", "Training", _curves(found)),
        Section("runs", "Runs", _runs(found)),
    ]
    below: list[Content] = [f"{len(found.value('runs') or ())} runs, {len(found.value('settings') or ())} settings."]
    return document(f"Comparison {comparison.name}", below, _warnings(found), sections)


def _warnings(found: Figures) -> list[Content]:
    undone = [run for run in found.value("runs") or [] if run["status"] != "done"]
    names = listed([f"{run['name']} ({run['status']})" for run in undone])
    told: list[Content] = [f"Not done, and in no mean: {names}."] if undone else []
    if not found.value("settings"):
        told.append("No run tests people whom it was not trained on: nothing here tells of others.")
    return told


def _asked(found: Figures) -> list[Content]:
    people = found.value("people")
    return [
        tag("p", "A setting is what its runs have in common; they differ in who tests (folds) and in seeds only."),
        tag("p", f"People whom every setting tests: {listed(people)}.") if people else None,
        [tag("p", str(sentence)) for sentence in found.value("sentences") or []],
    ]


def _settings(found: Figures) -> list[Content]:
    settings: Sequence[Mapping[str, Any]] = found.value("settings") or []
    if not settings:
        return [tag("p", "There is none to show.")]
    drawn = [
        parts.spread_of(
            one["label"], one["interval"], [value for value in one["per_person"].values() if value is not None]
        )
        for one in settings
    ]
    rows: list[list[Content]] = [
        [
            one["label"],
            found(whole, "settings", i, "runs"),
            found(whole, "settings", i, "seeds"),
            found(share, "settings", i, "interval", "mean"),
            _interval(found, i),
            [str(one["worst"]["person"]), ": ", found(share, "settings", i, "worst", "score")],
            found(share, "settings", i, "random_split"),
            found(points, "settings", i, "gap"),
        ]
        for i, one in enumerate(settings)
    ]
    heads = ["setting", "runs", "seeds", "mean over people", "interval", "worst person", "random split", "gap to it"]
    notes = [f"{one['label']}: {one['interval']['note']}" for one in settings if one["interval"].get("note")]
    return [
        charts.spreads(
            "spreads", "Mean over people (large dot) with its interval; small dots are people", drawn, share
        ),
        table("Settings, the best first: people and gestures alike, people never seen in training", heads, rows),
        [tag("p", note) for note in notes],
    ]


def _interval(found: Figures, place: int) -> Content:
    at = ("settings", place, "interval")
    if found.value(*at, "low") is None:
        return "undefined"
    return [found(share, *at, "low"), " to ", found(share, *at, "high"), " (", found(level, *at, "level"), ")"]


def _differences(found: Figures) -> list[Content]:
    differences: Sequence[Mapping[str, Any]] = found.value("differences") or []
    if not differences:
        return [tag("p", "No two settings are compared.")]
    rows: list[list[Content]] = [
        [
            f"{one['one']} less {one['other']}",
            found(points, "differences", i, "mean"),
            _ends(found, i),
            found(decimal, "differences", i, "p"),
            found(whole, "differences", i, "people"),
            str(one["verdict"]),
        ]
        for i, one in enumerate(differences)
    ]
    heads = ["settings", "difference", "interval", "p", "people", "verdict"]
    return [
        tag("p", "On the same people: the sign-flip test, and the interval that inverts it."),
        table("Differences between settings", heads, rows),
    ]


def _ends(found: Figures, place: int) -> Content:
    if found.value("differences", place, "low") is None:
        return "undefined"
    return [found(points, "differences", place, "low"), " to ", found(points, "differences", place, "high")]


def _people(found: Figures) -> list[Content]:
    settings: Sequence[Mapping[str, Any]] = (found.value("settings") or [])[:MOST_COLUMNS]
    everybody = sorted({person for one in settings for person in one["per_person"]})
    if not everybody:
        return [
            tag("p", "No person is tested who was not seen in training, or it is not known whose images these are.")
        ]
    rows: list[list[Content]] = [
        [person, *(found(share, "settings", i, "per_person", person) for i in range(len(settings)))]
        for person in everybody
    ]
    best = settings[0]
    own: Mapping[str, float | None] = best["per_person"]
    ordered = sorted(everybody, key=lambda person: (own.get(person) is None, own.get(person) or 0))
    bars = {person: own.get(person) for person in ordered}
    mean = parts.spread_of("mean", best["interval"], ())
    return [
        charts.bars("best", f"Score by person: {best['label']}", bars, share, mean),
        table("Score of each person in each setting", ["person", *(one["label"] for one in settings)], rows),
    ]


def _curves(found: Figures) -> list[Content]:
    curves: Mapping[str, Mapping[str, Sequence[float | None]]] = found.value("curves") or {}
    names = {run["path"]: run["name"] for run in found.value("runs") or []}
    lines, rows = [], []
    for path, curve in list(curves.items())[:MOST_CURVES]:
        values = curve["val/accuracy"]
        measured = [i for i, value in enumerate(values) if value is not None]
        if not measured:
            continue
        best = max(measured, key=lambda i: values[i] or 0)
        name, at = names.get(path, path), ("curves", path, "val/accuracy")
        lines.append(Line(name, [((curve["epoch"][i] or 0) + 1, values[i] or 0) for i in measured], "thin one"))
        row: list[Content] = [name, str(len(values)), found(share, *at, best), found(share, *at, measured[-1])]
        rows.append(row)
    if not lines:
        return [tag("p", "No run has a curve.")]
    return [
        charts.curves("overlaid", "Validation accuracy by epoch, a line for each run", lines, None, share),
        behind("Numbers behind the curves", table("Curves", ["run", "epochs", "best", "last"], rows)),
    ]


def _runs(found: Figures) -> list[Content]:
    runs: Sequence[Mapping[str, Any]] = found.value("runs") or []
    keys = list(dict.fromkeys(key for run in runs for key in run["differs"]))[:MOST_COLUMNS]
    rows: list[list[Content]] = [
        [
            str(run["name"]),
            str(run["status"]),
            found(decimal if str(run["monitor"]).endswith(("loss", "nll")) else share, "runs", i, "score"),
            found(share, "runs", i, "test/accuracy"),
            *(str(run["differs"].get(key, "")) for key in keys),
            found(seconds, "runs", i, "seconds"),
            str(run["error"] or ""),
        ]
        for i, run in enumerate(runs)
    ]
    monitors = listed(sorted({str(run["monitor"]) for run in runs if run["monitor"]}))
    heads = ["run", "status", "score", "test accuracy", *keys, "seconds", "error"]
    return [table(f"Every run, the best first; the score is {monitors}, by which it chose its weights", heads, rows)]
