"""The report of a run: what was asked, what came out, whom it tells about."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict

from gesture.config.names import PARTS
from gesture.report import charts, leaks, parts
from gesture.report.charts import Line
from gesture.report.document import Section, behind, document, table
from gesture.report.figures import Figures, decimal, epochs, listed, seconds, share, whole
from gesture.report.markup import Content, tag
from gesture.report.parts import Mistake
from gesture.report.pictures import Pictures
from gesture.report.run_record import Recorded

MOST_EPOCHS = 100
"""Rows of the table behind the curves."""
EPOCH = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")


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
        Section("person", "By person", _by_person(run)),
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
        tag("p", "The weights are ", kept, score, " ", result(epochs, "epochs"), " of training."),
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
        f"{sentence[:1].upper()}{sentence[1:]} (",
        result(share, "leak", "share"),
        " of ",
        result(whole, "leak", "queries"),
        " looked up; by chance ",
        result(share, "leak", "chance"),
        ").",
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


def _by_person(run: Recorded) -> list[Content]:
    return parts.by_person(run.result, run.derived, leaks.trained_of(run.result), run.derived.value("over_people"))


def _calibration(run: Recorded) -> list[Content]:
    if not run.test:
        return [tag("p", "No test was recorded.")]
    has_fit = run.derived.value("after") is not None
    keys = {"as trained": "before", **({"with the temperature": "after"} if has_fit else {})}
    drawn = [parts.calibrated(run.derived, key, f"reliability-{key}", title) for title, key in keys.items()]
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
        ["its people", result(whole, "dataset", "subjects") if result.value("dataset", "subjects") else "not known"],
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
