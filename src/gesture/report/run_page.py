"""The report of a run: what was asked, what came out, whom it tells about."""

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gesture.config.names import PARTS
from gesture.config.schema import TrainConfig
from gesture.evaluation.calibration import calibration, tempered
from gesture.evaluation.intervals import mean_over_people
from gesture.evaluation.people import scores
from gesture.report import charts, leaks, parts
from gesture.report.charts import Line
from gesture.report.document import Section, behind, document, table
from gesture.report.figures import Figures, decimal, listed, seconds, share, whole
from gesture.report.markup import Content, tag
from gesture.report.parts import Mistake
from gesture.report.pictures import Pictures
from gesture.runs import predictions as predicted
from gesture.runs.directory import RunDirectory
from gesture.runs.files import read_json, read_text
from gesture.runs.predictions import Predictions

MOST_MISTAKES = 8
MOST_EPOCHS = 100
"""Rows of the table behind the curves."""
EPOCH = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")


@dataclass(frozen=True)
class Recorded:
    """What stands in a run's directory. What a run that did not end lacks is empty."""

    name: str
    config: TrainConfig
    overrides: Sequence[str]
    result: Figures
    """Of result.json."""
    epochs: Figures
    """Of metrics.csv: `rows`, where an epoch without validation has none of its values."""
    test: Predictions | None
    derived: Figures
    """What the test's rows of predictions.csv say beyond result.json."""
    fitted: Figures
    """Of calibration.json."""


def read(path: Path) -> Recorded:
    """What a run directory holds.

    Raises:
        ConfigError: it is no run directory, or damaged.
    """
    directory = RunDirectory(path)
    result = Figures("result.json", directory.read_result())
    rows = _read_epochs(directory.metrics) if directory.metrics.is_file() else []
    test = predicted.read(directory.predictions).of("test") if directory.predictions.is_file() else None
    kept = path / "calibration.json"
    fitted = Figures("calibration.json", read_json(kept) if kept.is_file() else {})
    resolved = path.resolve()
    return Recorded(
        name=f"{resolved.parent.name}/{resolved.name}",
        config=directory.read_config(),
        overrides=directory.read_overrides(),
        result=result,
        epochs=Figures("metrics.csv", {"rows": rows}),
        test=test,
        derived=Figures("predictions.csv", {} if test is None else derive(test, fitted.value("temperature"))),
        fitted=fitted,
    )


def derive(test: Predictions, temperature: float | None) -> dict[str, Any]:
    """What a test's predictions say beyond result.json: people's scores, their mean, calibration, sure mistakes.

    Args:
        test: the predictions of the test.
        temperature: of calibration.json, if the run has one.
    """
    people = scores(test)
    after = None if temperature is None else tempered(test.probabilities, temperature)
    return {
        "scores": people,
        "over_people": asdict(mean_over_people(list(people.values()))) if people else None,
        "before": asdict(calibration(test.probabilities, test.targets)),
        "after": None if after is None else asdict(calibration(after, test.targets)),
        "mistakes": [_mistake(test, row) for row in _surest_mistakes(test)],
    }


def page(run: Recorded) -> str:
    """The whole report."""
    result = run.result
    below: list[Content] = ["Began ", str(result.value("started")), ", ", str(result.value("status")), " after "]
    below += [result(seconds, "seconds"), "."]
    sections = [
        Section("asked", "What was asked", _asked(run)),
        Section("result", "What came out", _came_out(run)),
        Section("whom", "Whom it tells about", _whom(run)),
        Section("curves", "Training", _curves(run)),
        Section("person", "By person", parts.by_person(result, run.derived, leaks.trained_of(result))),
        Section("gesture", "By gesture", parts.by_gesture(result)),
        Section("confusion", "Confusion", parts.confusion(result)),
        Section("calibration", "Calibration", _calibration(run)),
        Section("mistakes", "Mistakes", _mistakes(run)),
        Section("provenance", "Configuration and provenance", _provenance(run)),
    ]
    return document(f"Run {run.name}", below, leaks.of_run(result, run.fitted), sections)


def _asked(run: Recorded) -> list[Content]:
    command = shlex.join(["python", "-m", "gesture.train"]) + "".join(f" \\\n  {word}" for word in run.overrides)
    config = run.config
    return [
        tag(
            "p",
            f"Train {config.backbone.name} to name the gesture in each image of {config.data.name}, dealt to training, "
            f"validation and test by split={config.split.name}.",
        ),
        tag("pre", tag("code", command)),
        tag(
            "p", "Each word as it was recorded, in Hydra's quotes." if run.overrides else "Every setting is a default."
        ),
    ]


def _came_out(run: Recorded) -> list[Content]:
    result = run.result
    if result.value("metrics", "test/accuracy") is None:
        return [tag("p", "The run has no test.")]
    best = result.value("best_epoch")
    kept = (
        "the last weights." if best is None else f"those of epoch {best + 1}, the best by {result.value('monitor')}: "
    )
    headline = tag(
        "p",
        tag("strong", result(share, "metrics", "test/accuracy")),
        " of the ",
        result(whole, "split_sizes", "test"),
        " test images are named rightly.",
        class_="headline",
    )
    form = decimal if str(result.value("monitor")).endswith(("loss", "nll")) else share
    score: list[Content] = [] if best is None else [result(form, "score"), "."]
    return [
        headline,
        *parts.over_people(run.derived),
        tag("p", "The weights are ", kept, score, " ", result(whole, "epochs"), " epochs were trained."),
        parts.metrics(result, ("val", "test")),
    ]


def _whom(run: Recorded) -> list[Content]:
    result = run.result
    subjects = result.value("split", "subjects") or {}
    sides: list[list[Content]] = [
        [side, result(whole, "split_sizes", side), listed(subjects.get(side))] for side in PARTS
    ]
    sides += [["left out", result(whole, "split_sizes", "left_out"), ""]]
    leak = result.value("leak", "sentence")
    return [
        tag("p", str(result.value("split", "note") or "")),
        table("Who trains, validates and tests", ["side", "images", "people"], sides),
        None if leak is None else _leak(result),
        tag(
            "p",
            "Identical images: ",
            result(whole, "dataset", "identical_images"),
            "; across sides: ",
            result(whole, "split", "identical_images_that_crossed"),
            "; kept from that: ",
            result(whole, "split", "identical_images_that_would_have_crossed"),
            ".",
        ),
    ]


def _leak(result: Figures) -> Content:
    sentence = str(result.value("leak", "sentence")).rstrip(".")
    return tag(
        "p",
        f"{sentence[:1].upper()}{sentence[1:]}: ",
        result(share, "leak", "share"),
        " of ",
        result(whole, "leak", "queries"),
        " looked up, by chance ",
        result(share, "leak", "chance"),
        ".",
    )


def _curves(run: Recorded) -> list[Content]:
    rows = run.epochs.value("rows")
    if not rows:
        return [tag("p", "No epoch ended.")]
    best = run.result.value("best_epoch")
    drawn = [
        charts.curves(
            name,
            f"{name.capitalize()} by epoch",
            [_line(rows, "train", name, "line one"), _line(rows, "val", name, "line two dashed")],
            None if best is None else best + 1,
            decimal if name == "loss" else share,
        )
        for name in ("loss", "accuracy")
    ]
    step = -(-len(rows) // MOST_EPOCHS)
    numbers: list[list[Content]] = [
        [
            str(int(rows[i]["epoch"]) + 1),
            *(run.epochs(share if key.endswith("accuracy") else decimal, "rows", i, key) for key in EPOCH),
        ]
        for i in range(0, len(rows), step)
    ]
    caption = "Every epoch" if step == 1 else f"Every {step}th epoch"
    return [
        tag("div", drawn, class_="charts"),
        behind("Numbers behind the curves", table(caption, ["epoch", *EPOCH], numbers)),
    ]


def _line(rows: Sequence[dict[str, float]], side: str, name: str, class_: str) -> Line:
    key = f"{side}/{name}"
    return Line(side, [(row["epoch"] + 1, row[key]) for row in rows if key in row], class_)


def _calibration(run: Recorded) -> list[Content]:
    if not run.test:
        return [tag("p", "No test was recorded.")]
    has_fit = run.derived.value("after") is not None
    keys = {"as trained": "before", **({"with the temperature": "after"} if has_fit else {})}
    titles = {"before": "Reliability as trained", "after": "Reliability with the temperature"}
    drawn = [parts.calibrated(run.derived, key, f"reliability-{key}", titles[key]) for key in keys.values()]
    return [
        parts.calibration_errors(run.derived, keys),
        tag("div", [tag("div", one) for one in drawn], class_="charts"),
        *(parts.rejecting(run.fitted) if has_fit else []),
    ]


def _mistakes(run: Recorded) -> list[Content]:
    if not run.test:
        return [tag("p", "No test was recorded.")]
    pictures = Pictures(run.config.data)
    found = [
        Mistake(
            ("mistakes", i, "probability"),
            one["path"],
            one["subject"],
            one["gesture"],
            one["named"],
            pictures.of(one["path"]),
        )
        for i, one in enumerate(run.derived.value("mistakes"))
    ]
    return parts.mistakes(run.derived, found)


def _surest_mistakes(test: Predictions) -> list[int]:
    wrong = np.flatnonzero(test.probabilities.argmax(axis=1) != test.targets)
    sure = test.probabilities[wrong].max(axis=1)
    return [int(row) for row in wrong[np.argsort(-sure, kind="stable")][:MOST_MISTAKES]]


def _mistake(test: Predictions, row: int) -> dict[str, Any]:
    named = int(test.probabilities[row].argmax())
    return {
        "path": test.paths[row],
        "subject": test.subjects[row],
        "gesture": test.class_names[test.targets[row]],
        "named": test.class_names[named],
        "probability": float(test.probabilities[row, named]),
    }


def _provenance(run: Recorded) -> list[Content]:
    result = run.result
    git = result.value("git")
    changed = " with uncommitted changes" if result.value("git", "changed") else ""
    device = ", ".join(f"{key}: {value}" for key, value in (result.value("device") or {}).items())
    facts: list[list[Content]] = [
        ["run", run.name],
        ["seed", result(whole, "seed")],
        ["data set", str(result.value("dataset", "name"))],
        ["its fingerprint", str(result.value("dataset", "fingerprint"))],
        ["its images", result(whole, "dataset", "images")],
        ["its people", result(whole, "dataset", "subjects")],
        ["parameters", result(whole, "network", "parameters")],
        ["device", device],
        ["images a second in training", result(whole, "images_per_second")],
        ["commit", "none: not run from a checkout" if git is None else f"{git['commit']}{changed}"],
        ["went on after a stop", ", ".join(result.value("resumed") or []) or "never"],
    ]
    versions = [[name, version] for name, version in (result.value("versions") or {}).items()]
    return [
        table("Where it comes from", ["what", "this run's"], facts),
        table("Versions", ["package", "version"], versions),
        behind("Every setting", parts.settings(parts.flattened(asdict(run.config)), "Every setting")),
    ]


def _read_epochs(path: Path) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO(read_text(path)))
    return [{key: float(value) for key, value in row.items() if key and value} for row in rows]
