"""The model card beside a checkpoint, in Hugging Face's form, from what was measured and nothing else.

A sentence whose figure was not measured does not appear.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gesture.config.schema import LeapGestRecog, Synthetic
from gesture.report.figures import Figures, Form, decimal, epochs, level, listed, people, share, whole
from gesture.report.leaks import seen_of
from gesture.report.run_record import Recorded

NAME = "model_card.md"
INDEXED = ("accuracy", "f1", "precision", "recall")
"""Metrics that Hugging Face knows by these names."""
SPECIAL = re.compile(r"([\\`*_\[\]!|~^$])")
"""What Markdown may take for more than itself."""
MOST_LISTED = 20

OF_PEOPLE_UNKNOWN = (
    "Nothing tells whose images these are, nor to what these people agreed: ask whoever gave the images."
)
WATERMARK = (
    "**Watermarking.** The weights carry no watermark: it can be lost by training on, and it proves an origin, not "
    "that a figure is true."
)


def text(run: Recorded, checkpoint: Path) -> str:
    """The card of a run's checkpoint."""
    sections = {
        "What it is": _what(run),
        "Intended use": _use(run),
        "People it has never seen": _unseen(run),
        "Calibration": _calibration(run),
        "Fairness": _fairness(run),
        "Limits": _limits(run),
        "Privacy": _privacy(run),
        "Whom to turn to, and which version answered": _version(run, checkpoint),
        "Watermarking, differential privacy, federated learning": _not_done(run),
    }
    written = [f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items() if lines]
    return f"{_front_matter(run)}\n# {plain(run.name)}\n\n" + "\n\n".join(written) + "\n"


def plain(text: object) -> str:
    """Text that Markdown and the HTML in it show as it is, in one line."""
    line = " ".join(str(text).split())
    return SPECIAL.sub(r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _front_matter(run: Recorded) -> str:
    result = run.result
    measured = {name: result.value("metrics", f"test/{name}") for name in INDEXED}
    named = run.config.data.name
    content: dict[str, Any] = {
        "language": "en",
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["gesture-recognition", run.config.backbone.name],
        "datasets": [named],
        "metrics": [name for name, value in measured.items() if value is not None],
        "model-index": [
            {
                "name": run.name,
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Naming the gesture of a hand"},
                        "dataset": {
                            "type": named,
                            "name": named,
                            "split": "test",
                            "revision": result.value("dataset", "fingerprint"),
                        },
                        "metrics": [
                            {"type": name, "name": f"test/{name}", "value": value}
                            for name, value in measured.items()
                            if value is not None
                        ],
                    }
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---\n"


def _said(sentence: str, figures: Figures, *places: tuple[Form, Sequence[str | int]]) -> list[str]:
    """The sentence with its figures in place of {}; none where one of them was not measured."""
    values = [figures.value(*keys) for _, keys in places]
    if any(value is None for value in values):
        return []
    return [sentence.format(*(form(value) for (form, _), value in zip(places, values, strict=True)))]


def _what(run: Recorded) -> list[str]:
    names = run.result.value("class_names") or []
    config, size = run.config, "{} by {} pixels".format(*run.config.data.image_size)
    return [
        f"A {plain(config.backbone.name)} that names the gesture of one hand in a gray image of {size}: "
        f"{', '.join(map(plain, names))}.",
        *_said(
            "It has {} parameters and was trained for {} on {} images.",
            run.result,
            (whole, ("network", "parameters")),
            (epochs, ("epochs",)),
            (whole, ("split_sizes", "train")),
        ),
    ]


def _use(run: Recorded) -> list[str]:
    return [
        "Research and teaching on images like those it was trained on: one hand in each, which makes one of the "
        "gestures above. Not for what a wrong name could harm, not to tell who a person is, and not to watch people "
        "who have not agreed."
    ]


def _unseen(run: Recorded) -> list[str]:
    result, known = run.result, run.result.value("split", "subjects", "test")
    seen = seen_of(result)
    if not known or seen:
        note = result.value("split", "note")
        told = [f"This was not measured. {plain(note)}"] if note else []
        return told + _said(
            "On these people it names {} of {} images rightly.",
            result,
            (share, ("metrics", "test/accuracy")),
            (whole, ("split_sizes", "test")),
        )
    lines = _said(
        "It names {} of {} images of people whose images it never saw.",
        result,
        (share, ("metrics", "test/accuracy")),
        (whole, ("split_sizes", "test")),
    )
    lines += _said(
        "The mean over {}, people and gestures alike, is {}.",
        run.derived,
        (people, ("over_people", "people")),
        (share, ("over_people", "mean")),
    )
    lines += _said(
        "Its {} interval over people is {} to {}.",
        run.derived,
        (level, ("over_people", "level")),
        (share, ("over_people", "low")),
        (share, ("over_people", "high")),
    )
    return lines + ([plain(note)] if (note := run.derived.value("over_people", "note")) else [])


def _calibration(run: Recorded) -> list[str]:
    lines = _said(
        "As trained, its expected calibration error on the test is {} and its Brier score {}.",
        run.derived,
        (share, ("before", "ece")),
        (decimal, ("before", "brier")),
    )
    lines += _said(
        "With a temperature of {} the error is {}.",
        Figures("", {**run.derived.record, "temperature": run.fitted.value("temperature")}),
        (decimal, ("temperature",)),
        (share, ("after", "ece")),
    )
    fitted_on = run.fitted.value("fitted_on") or {}
    if fitted_on:
        whom = plain(listed(fitted_on["people"])) if fitted_on.get("people") else "images of people not known"
        were = "who were also seen in training" if fitted_on.get("seen_in_training") else "not seen in training"
        lines.append(f"The temperature was fitted on {whom}, {were}. {run.fitted.value('note') or ''}".rstrip())
    lines += _said(
        "Rejecting what has a largest probability below {}, it answers {} of the images it was fitted on and errs in "
        "{} of these answers.",
        run.fitted,
        (decimal, ("threshold",)),
        (share, ("coverage",)),
        (share, ("error",)),
    )
    return lines


def _fairness(run: Recorded) -> list[str]:
    scores: Mapping[str, float] = run.derived.value("scores") or {}
    lines = []
    if scores:
        ordered = sorted(scores, key=lambda person: (scores[person], person))
        worst = ordered[0]
        lines += ["| person | images | accuracy | gestures alike |", "|---|---|---|---|"]
        for person in ordered[:MOST_LISTED]:
            images = run.result.value("per_subject", person, "images")
            accuracy = run.result.value("per_subject", person, "accuracy")
            lines.append(f"| {plain(person)} | {whole(images)} | {share(accuracy)} | {share(scores[person])} |")
        lines += ["", f"The person recognised worst is {plain(worst)} with {share(scores[worst])}."]
    recalls = {
        name: of["recall"] for name, of in (run.result.value("per_class") or {}).items() if of["recall"] is not None
    }
    if recalls:
        least = min(recalls, key=lambda name: recalls[name])
        lines.append(f"The gesture found least is {plain(least)}: {share(recalls[least])} of its images.")
    if lines:
        lines.append("By age, sex, colour of skin or handedness nothing was measured: the data do not tell these.")
    return lines


def _limits(run: Recorded) -> list[str]:
    absent = [name for name, of in (run.result.value("per_class") or {}).items() if not of["images"]]
    lines = ["It names one of its gestures for any image, also for one without a hand."]
    if absent:
        lines.append(
            f"Nobody of the test shows {', '.join(map(plain, absent))}: how well these are named is not known."
        )
    if isinstance(run.config.data, Synthetic):
        lines.append("It was trained and tested on rendered hands: how it names real ones was not measured.")
    lines += _said(
        "{} images of validation and test are identical to one on another side.",
        Figures("", {"crossed": run.result.value("split", "identical_images_that_crossed") or None}),
        (whole, ("crossed",)),
    )
    if run.result.value("leak", "sentence"):
        sentence = plain(run.result.value("leak", "sentence")).rstrip(".").capitalize()
        lines.append(f"{sentence}: what it scores beyond that is what it has learned.")
    return lines


def _privacy(run: Recorded) -> list[str]:
    if isinstance(run.config.data, Synthetic):
        return ["Its images are rendered: they show nobody."]
    if run.result.value("dataset", "subjects"):
        shown = _said(
            "Its data set shows the hands of {} in {} images.",
            run.result,
            (people, ("dataset", "subjects")),
            (whole, ("dataset", "images")),
        )
    else:
        shown = _said("It is not known whose hands its {} images show.", run.result, (whole, ("dataset", "images")))
    if isinstance(run.config.data, LeapGestRecog):
        of_them = "LeapGestRecog's people are known by numbers; what they agreed to, its files do not say."
    else:
        of_them = OF_PEOPLE_UNKNOWN
    return [*shown, of_them, "A network may give away whose images trained it; treat it as you treat these images."]


def _version(run: Recorded, checkpoint: Path) -> list[str]:
    result = run.result
    lines = ["Whom to turn to: (whoever publishes this writes a name and an address here)", ""]
    lines.append(f"- run: {plain(run.name)}, begun {plain(result.value('started'))}, seed {result.value('seed')}")
    versions = result.value("versions") or {}
    lines.append(f"- versions: {', '.join(f'{plain(name)} {plain(one)}' for name, one in versions.items())}")
    if commit := result.value("git", "commit"):
        changed = ", with uncommitted changes" if result.value("git", "changed") else ""
        lines.append(f"- commit: {plain(commit)}{changed}")
    if checkpoint.is_file():
        with checkpoint.open("rb") as file:
            lines.append(f"- SHA-256 of {plain(checkpoint.name)}: {hashlib.file_digest(file, 'sha256').hexdigest()}")
    return lines


def _not_done(run: Recorded) -> list[str]:
    if isinstance(run.config.data, Synthetic):
        nobody = "There is nobody to protect: the images are rendered."
        return [WATERMARK, "", f"**Differential privacy.** {nobody}", "", f"**Federated learning.** {nobody}"]
    trained = len(run.result.value("split", "subjects", "train") or ())
    hidden = (
        f"{people(trained)} trained: noise that hides one of so few would hide the gestures too"
        if trained
        else "whose images trained is not known here: nobody could be hidden as one person"
    )
    images = f"the images of {people(trained)}" if trained else "the images"
    return [
        WATERMARK,
        "",
        "**Differential privacy.** Not used. What it would have to hide is a person, not an image, and "
        f"{hidden}. With many people who are known, "
        "bound each person's share of an update, add noise to it (DP-SGD by person), and state the epsilon reached.",
        "",
        f"**Federated learning.** Not used: {images} stood in one place. Where images must stay "
        "with their people, each device trains on its own, only weights are averaged (FedAvg), and the test stays the "
        "same: on people who took no part.",
    ]
