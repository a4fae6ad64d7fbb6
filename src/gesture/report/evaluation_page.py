"""The report of an evaluation: what finished networks say of some images, and whom that tells about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesture.data.files import counted
from gesture.evaluation.people import scores
from gesture.report import leaks, parts
from gesture.report.document import Section, document, table
from gesture.report.figures import Figures, decimal, listed, points, share, whole
from gesture.report.markup import Content, tag
from gesture.report.parts import Mistake
from gesture.report.pictures import sheet
from gesture.runs import predictions
from gesture.runs.files import read_json

RECORD, PREDICTIONS, SHEET = "evaluation.json", "predictions.csv", "plots/mistakes.jpg"
CALIBRATED = {"before": "as trained", "after": "with the temperature"}


@dataclass(frozen=True)
class Recorded:
    """What stands in an evaluation's directory."""

    name: str
    found: Figures
    """Of evaluation.json."""
    derived: Figures
    """Of predictions.csv: people's scores; and of evaluation.json their mean."""
    sheet: str | None
    """The mistakes' pictures as a data: URI."""


def read(path: Path) -> Recorded:
    """What an evaluation's directory holds.

    Raises:
        ConfigError: it is none, or damaged.
    """
    table_path = path / PREDICTIONS
    people = scores(predictions.read(table_path).of("test")) if table_path.is_file() else {}
    return Recorded(
        name=path.resolve().name,
        found=Figures(RECORD, read_json(path / RECORD)),
        derived=Figures(PREDICTIONS, {"scores": people}),
        sheet=sheet(path / SHEET),
    )


def page(evaluation: Recorded) -> str:
    """The whole report."""
    found = evaluation.found
    sections = [
        Section("asked", "What was asked", _asked(found)),
        Section("result", "What came out", _came_out(found)),
        Section("person", "By person", _by_person(evaluation)),
        Section("gesture", "By gesture", parts.by_gesture(found)),
        Section("confusion", "Confusion", parts.confusion(found)),
        Section("calibration", "Calibration", _calibration(found)),
        *_optional(found),
        Section("mistakes", "Mistakes", _mistakes(evaluation)),
    ]
    below = f"{counted(len(found.value('runs') or ()), 'run')} on {_named(found.value('protocol', 'dataset'))}."
    return document(f"Evaluation {evaluation.name}", below, _warnings(found), sections)


def _warnings(found: Figures) -> list[Content]:
    note = found.value("protocol", "split", "note")
    seen, people = found.value("protocol", "seen_in_training"), found.value("protocol", "people")
    told: list[Content] = []
    if seen is None or seen or not people:
        told.append(str(note) if note else f"Seen in training: {listed(seen)}. The figures say little about others.")
    if found.value("protocol", "images_trained_on"):
        told.append([found(whole, "protocol", "images_trained_on"), " of these images were trained on."])
    return told + leaks.of_fit(found, "calibration", "fitted_on")


def _named(value: Any) -> str:
    """A data set or split by its name, which may stand in a record of more."""
    return str(value.get("name")) if isinstance(value, Mapping) else str(value)


def _asked(found: Figures) -> list[Content]:
    people = found.value("protocol", "people")
    runs = found.value("runs") or []
    averaged = " Their probabilities are averaged." if len(runs) > 1 else ""
    return [
        tag(
            "p",
            f"What these networks say of the images of {_named(found.value('protocol', 'dataset'))}, split: "
            f"{_named(found.value('protocol', 'split'))}.{averaged}",
        ),
        tag("ul", [tag("li", tag("code", str(run))) for run in runs]),
        tag("p", "People: ", listed(people), "."),
        tag("p", str(found.value("protocol", "split", "note") or "")),
    ]


def _came_out(found: Figures) -> list[Content]:
    members: list[list[Content]] = [
        [str(one["run"]), found(share, "members", i, "test/accuracy"), found(share, "members", i, "over_people")]
        for i, one in enumerate(found.value("members") or [])
    ]
    mean = found(share, "over_people", "mean")
    members.append(["all, averaged", found(share, "metrics", "test/accuracy"), mean])
    return [
        tag(
            "p",
            tag("strong", found(share, "metrics", "test/accuracy")),
            " of ",
            found(whole, "protocol", "images"),
            " images are named rightly.",
            class_="headline",
        ),
        *parts.over_people(found),
        parts.metrics(found, ("test",)),
        table("Each run by itself", ["run", "accuracy", "mean over people"], members) if len(members) > 2 else None,
    ]


def _by_person(evaluation: Recorded) -> list[Content]:
    over = evaluation.found.value("over_people")
    seen = evaluation.found.value("protocol", "seen_in_training")
    return parts.by_person(evaluation.found, evaluation.derived, seen, over)


def _calibration(found: Figures) -> list[Content]:
    measured = [key for key in CALIBRATED if found.value("calibration", key)]
    drawn = [
        tag("div", parts.calibrated(found, f"calibration/{key}", f"reliability-{key}", CALIBRATED[key]))
        for key in measured
    ]
    note = found.value("calibration", "note")
    return [
        parts.calibration_errors(found, {CALIBRATED[key]: f"calibration/{key}" for key in measured}),
        tag("div", drawn, class_="charts"),
        tag("p", str(note)) if note else None,
        *([_fitted(found)] if found.value("calibration", "fitted_on") else []),
    ]


def _fitted(found: Figures) -> Content:
    return tag(
        "p",
        "Temperature ",
        found(decimal, "calibration", "temperature"),
        ", fitted on ",
        found(whole, "calibration", "fitted_on", "images"),
        f" images of {found.value('calibration', 'fitted_on', 'split')}: "
        f"{listed(found.value('calibration', 'fitted_on', 'people'))}.",
    )


def _optional(found: Figures) -> list[Section]:
    """What only some evaluations measure."""
    shown = (
        ("reject", "Saying nothing when unsure", _reject),
        ("moments", "Single frames and moments", _moments),
        ("groups", "Groups of people", _groups),
    )
    return [Section(key, title, show(found)) for key, title, show in shown if found.value(key)]


def _reject(found: Figures) -> list[Content]:
    def of(*keys: str) -> Content:
        return found(share, "reject", *keys)

    people: list[list[Content]] = [
        [person, of("per_subject", person, "coverage"), of("per_subject", person, "error")]
        for person in found.value("reject", "per_subject") or {}
    ]
    unknown: list[list[Content]] = [
        [name, found(whole, "reject", "unknown", name, "images"), of("unknown", name, "rejected")]
        for name in found.value("reject", "unknown") or {}
    ]
    return [
        tag(
            "p",
            f"Rejected is what has a largest probability below the threshold, for {parts.wanted(found, 'reject')}: ",
            found(decimal, "reject", "threshold"),
            ". Of this test ",
            of("coverage"),
            " is answered; of the answers ",
            of("error"),
            " are wrong.",
        ),
        table("Rejecting, by person", ["person", "answered", "wrong of these"], people) if people else None,
        table("Images of no gesture it knows", ["what", "images", "rejected"], unknown) if unknown else None,
    ]


def _moments(found: Figures) -> list[Content]:
    rows: list[list[Content]] = [
        ["single frames", found(whole, "moments", "frames"), found(share, "moments", "single_frames")],
        ["moments", found(whole, "moments", "moments"), found(share, "moments", "accuracy")],
    ]
    return [
        tag("p", "A moment is what both views show at one time: their probabilities are averaged, repeats dropped."),
        table("Two protocols on the same sequences", ["protocol", "how many", "named rightly"], rows),
    ]


def _groups(found: Figures) -> list[Content]:
    groups: Sequence[str] = list(found.value("groups", "groups") or ())
    rows: list[list[Content]] = [
        [name, listed(found.value("groups", "groups", name, "people")), found(share, "groups", "groups", name, "score")]
        for name in groups
    ]
    without = found.value("groups", "without_group")
    return [
        table("Groups, people and gestures alike", ["group", "people", "score"], rows),
        tag(
            "p",
            f"The worst group is {found.value('groups', 'worst', 'group')} with ",
            found(share, "groups", "worst", "score"),
            "; the gap to the best one is ",
            found(points, "groups", "gap"),
            ".",
        ),
        tag("p", f"In no group: {listed(without)}.") if without else None,
    ]


def _mistakes(evaluation: Recorded) -> list[Content]:
    found = [
        Mistake(("mistakes", i, "probability"), one["path"], one["subject"], one["gesture"], one["named"], None)
        for i, one in enumerate(evaluation.found.value("mistakes") or [])
    ]
    alt = "The images of the table below in its order, each with what it shows and what it was named"
    picture = None if evaluation.sheet is None else tag("img", src=evaluation.sheet, alt=alt, class_="sheet")
    return [picture if found else None, *parts.mistakes(evaluation.found, found)]
