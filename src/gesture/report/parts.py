"""The parts that pages have in common: each shows some of a record's numbers, with the table behind every chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gesture.evaluation.intervals import CAVEAT
from gesture.report import charts
from gesture.report.charts import Spread
from gesture.report.document import behind, scrolling, table
from gesture.report.figures import Figures, decimal, level, listed, people, share, whole
from gesture.report.markup import Content, Element, tag

METRICS = ("accuracy", "precision", "recall", "f1", "loss", "nll")
SHARES = METRICS[:4]
LARGEST_MATRIX = 26
"""Gestures of a confusion matrix; of more, the pairs that are confused most are listed."""
MOST_PAIRS = 40
SCORE = "score: gestures alike"


@dataclass(frozen=True)
class Mistake:
    """A wrong answer; its picture is a data: URI, where the image could be read."""

    place: tuple[str | int, ...]
    """Where its probability stands."""
    path: str
    subject: str
    gesture: str
    named: str
    picture: str | None


def metrics(figures: Figures, sides: Sequence[str]) -> Element:
    """Every metric of each side of the split."""
    rows: list[list[Content]] = [
        [side, *(figures(share if name in SHARES else decimal, "metrics", f"{side}/{name}") for name in METRICS)]
        for side in sides
        if figures.value("metrics", f"{side}/accuracy") is not None
    ]
    return table(
        "Metrics: accuracy over images; precision, recall and F1 over the gestures shown", ["side", *METRICS], rows
    )


def over_people(figures: Figures) -> list[Content]:
    """The mean over people with its interval, in words; nothing where it is not known whose the images are."""
    if figures.value("over_people", "mean") is None:
        return []

    def at(key: str) -> Element:
        return figures(share, "over_people", key)

    has_interval = figures.value("over_people", "low") is not None
    return [
        tag(
            "p",
            "Mean over people, people and gestures alike: ",
            tag("strong", at("mean")),
            [", ", figures(level, "over_people", "level"), " interval ", at("low"), " to ", at("high")]
            if has_interval
            else None,
            " (",
            figures(people, "over_people", "people"),
            "). ",
            figures.value("over_people", "note"),
        ),
        tag("p", CAVEAT, class_="muted") if has_interval else None,
    ]


def by_person(
    figures: Figures, derived: Figures, seen: Sequence[str] | None, over: Mapping[str, Any] | None
) -> list[Content]:
    """Each person of the test, the one recognised worst first.

    Args:
        figures: holds `per_subject`.
        derived: holds the `scores` of people.
        seen: the people who trained; None where that is not known.
        over: the mean over people with its interval.
    """
    scores: Mapping[str, float] = derived.value("scores") or {}
    if not scores:
        return [tag("p", "It is not known whose images these are.")]
    ordered = sorted(scores, key=lambda person: (scores[person], person))
    rows: list[list[Content]] = [
        [
            person,
            figures(whole, "per_subject", person, "images"),
            figures(share, "per_subject", person, "accuracy"),
            derived(share, "scores", person),
            "not known" if seen is None else "yes" if person in seen else "no",
        ]
        for person in ordered
    ]
    bars = {person: scores[person] for person in ordered}
    title = "Score by person; the line is their mean, the band its interval"
    return [
        charts.bars("people", title, bars, share, None if over is None else spread_of("mean", over, ())),
        table("Test by person, lowest first", ["person", "images", "accuracy", SCORE, "trained too"], rows),
    ]


def spread_of(name: str, over: Mapping[str, Any], values: Sequence[float]) -> Spread:
    """A mean over people, with its interval, as charts draw it."""
    return Spread(name, over["mean"], over["low"], over["high"], values)


def by_gesture(figures: Figures) -> list[Content]:
    """Each gesture of the test; those that nobody shows are not measured."""
    names: Sequence[str] = figures.value("class_names") or ()
    if not figures.value("per_class"):
        return [tag("p", "No test was recorded.")]
    has_area = figures.value("roc_auc") is not None
    rows: list[list[Content]] = [
        [
            name,
            figures(whole, "per_class", name, "images"),
            *(figures(share, "per_class", name, key) for key in ("precision", "recall", "f1")),
            *([figures(decimal, "roc_auc", name)] if has_area else []),
        ]
        for name in names
    ]
    heads = ["gesture", "images", "precision", "recall", "F1", *(["ROC AUC"] if has_area else [])]
    values = {name: figures.value("per_class", name, "f1") for name in names}
    return [
        charts.bars("gestures", "F1 by gesture", values, share),
        table("Test by gesture", heads, rows),
    ]


def confusion(figures: Figures) -> list[Content]:
    """Which gestures are taken for which: a matrix, or of many gestures the pairs confused most."""
    names, counts = figures.value("class_names") or [], figures.value("confusion_matrix") or []
    if not names or not counts:
        return [tag("p", "No test was recorded.")]
    if len(names) > LARGEST_MATRIX:
        return [_confused(figures, names, counts)]
    caption = (
        "Confusion matrix of the test: rows are the true gestures, columns the named ones; darker is a larger share"
    )
    head = tag("tr", tag("td"), [tag("th", name, scope="col") for name in names])
    body = [
        tag("tr", tag("th", name, scope="row"), [_cell(figures, row, column) for column in range(len(names))])
        for row, name in enumerate(names)
    ]
    content = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body), class_="heat")
    return [scrolling(caption, content)]


def _cell(figures: Figures, row: int, column: int) -> Element:
    counts = figures.value("confusion_matrix")[row]
    part = counts[column] / max(sum(counts), 1)
    return tag("td", figures(whole, "confusion_matrix", row, column), style=f"--share: {part:.2f}")


def _confused(figures: Figures, names: Sequence[str], counts: Sequence[Sequence[int]]) -> Element:
    pairs = [
        (count, row, column)
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if count and row != column
    ]
    rows: list[list[Content]] = [
        [names[row], names[column], figures(whole, "confusion_matrix", row, column)]
        for _, row, column in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:MOST_PAIRS]
    ]
    return table("Gestures taken for others most often", ["shown", "named", "images"], rows)


def calibrated(figures: Figures, key: str, slug: str, title: str) -> list[Content]:
    """Whether probabilities, which `title` names, are as often right as they say; `key` leads to errors and bins."""
    bins = figures.value(*_path(key), "bins") or []
    rows: list[list[Content]] = [
        [
            f"{one['low']:.2f} to {one['high']:.2f}",
            figures(whole, *_path(key), "bins", i, "images"),
            figures(share, *_path(key), "bins", i, "confidence"),
            figures(share, *_path(key), "bins", i, "accuracy"),
        ]
        for i, one in enumerate(bins)
        if one["images"]
    ]
    return [
        charts.reliability(slug, f"Reliability {title}", bins),
        behind(
            f"Numbers behind it, {title}",
            table(f"Bins {title}", ["confidence", "images", "mean confidence", "share right"], rows),
        ),
    ]


def calibration_errors(figures: Figures, keys: Mapping[str, str]) -> Element:
    """The errors of calibration, one row for each of `keys`: what it is called, and where it stands."""
    rows: list[list[Content]] = [
        [
            name,
            figures(share, *_path(key), "ece"),
            figures(share, *_path(key), "adaptive_ece"),
            figures(decimal, *_path(key), "brier"),
            figures(decimal, *_path(key), "nll"),
        ]
        for name, key in keys.items()
    ]
    return table(
        "Errors of calibration on the test; 0 is best", ["probabilities", "ECE", "adaptive ECE", "Brier", "NLL"], rows
    )


def rejecting(fitted: Figures, *keys: str) -> list[Content]:
    """The temperature and the threshold, and on whom they were fitted."""
    whom = listed(fitted.value(*keys, "fitted_on", "people"))
    return [
        tag(
            "p",
            "Temperature ",
            fitted(decimal, *keys, "temperature"),
            ". Rejected is what has a largest probability below ",
            fitted(decimal, *keys, "threshold"),
            f" (for {wanted(fitted, *keys)}); on the images it was fitted on it answers ",
            fitted(share, *keys, "coverage"),
            " and errs in ",
            fitted(share, *keys, "error"),
            " of the answers. Fitted on ",
            fitted(whole, *keys, "fitted_on", "images"),
            f" images of {fitted.value(*keys, 'fitted_on', 'split')}: {whom}. {fitted.value(*keys, 'note') or ''}",
        )
    ]


def wanted(fitted: Figures, *keys: str) -> str:
    """What a threshold of rejecting is for."""
    return ", ".join(f"{key} {level(value)}" for key, value in (fitted.value(*keys, "wanted") or {}).items())


def _path(key: str) -> Sequence[str]:
    return key.split("/")


def mistakes(figures: Figures, found: Sequence[Mistake]) -> list[Content]:
    """The wrong answers that the network was surest of, with their pictures where the images are at hand."""
    if not found:
        return [tag("p", "No image of the test was named wrongly.")]
    pictures = [
        tag(
            "li",
            tag("img", src=one.picture, alt=f"{one.gesture}, taken for {one.named}"),
            tag("p", one.gesture, " taken for ", one.named, " (", figures(share, *one.place), ")"),
        )
        for one in found
        if one.picture
    ]
    rows: list[list[Content]] = [
        [one.path, one.subject or "not known", one.gesture, one.named, figures(share, *one.place)] for one in found
    ]
    return [
        tag("ul", pictures, class_="pictures") if pictures else None,
        table("Most confident mistakes", ["image", "person", "shown", "named", "probability"], rows),
    ]


def settings(flat: Mapping[str, Any], caption: str) -> Element:
    """Settings and their values as text."""
    return table(caption, ["setting", "value"], [[name, tag("code", _plain(value))] for name, value in flat.items()])


def flattened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        flat |= flattened(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return flat


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
