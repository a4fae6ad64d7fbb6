"""What an evaluation shows: its plots, and the short table on the console. All are views of its record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gesture.data.decode import Images
from gesture.evaluation import reject
from gesture.evaluation.calibration import tempered
from gesture.evaluation.people import in_words
from gesture.report import plots
from gesture.report.plots import Publisher
from gesture.report.tables import METRICS, text_table
from gesture.runs.predictions import Predictions

Record = Mapping[str, Any]
MISTAKES = "mistakes.jpg"
COLUMNS, WIDTH, GAP, TITLE = 4, 200, 6, 34
"""Of the sheet of mistakes: pictures beside each other, and pixels of a picture's width, between two, for two lines."""
TALLEST = 200
QUALITY = 75
HEAT = np.array([255.0, 90.0, 0.0])
"""The colour laid over what was looked at most."""
STRENGTH = 0.6
LISTED_PEOPLE, LEAST_ANSWERED = 12, 5
"""People that the console lists; of more only so many, those answered least."""
BEFORE, AFTER = "#b0b0b0", "#4c78a8"


def draw(record: Record, test: Predictions, folder: Path) -> None:
    """Keep each plot of an evaluation as <folder>/<name>.png."""
    publisher = Publisher(folder, [])
    publisher.publish("reliability", lambda: reliability(record["calibration"]))
    publisher.publish("confusion_matrix", lambda: plots.confusion(record["confusion_matrix"], record["class_names"]))
    publisher.publish("roc_auc", lambda: plots.bars(record["roc_auc"], "Each gesture against the rest", "ROC AUC"))
    if record["scores"]:
        publisher.publish("per_subject", lambda: people(record))
    if record["reject"]:
        publisher.publish("reject", lambda: reject_curve(record, test))


def reliability(calibration: Record) -> Figure:
    """Accuracy over the probability of the named gesture, before and after the temperature, and how many images."""
    figure = Figure(figsize=(6, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="as it should be")
    shown = (("before", BEFORE, "s", "before"), ("after", AFTER, "o", "after the temperature"))
    for key, colour, marker, label in shown:
        found = calibration[key]
        if found is None:
            continue
        bins = [one for one in found["bins"] if one["images"]]
        confidences = [one["confidence"] for one in bins]
        upper.plot(
            confidences,
            [one["accuracy"] for one in bins],
            color=colour,
            marker=marker,
            label=f"{label}: ECE {found['ece']:.3f}",
        )
        edges = [one["low"] for one in found["bins"]] + [1.0]
        lower.stairs([one["images"] for one in found["bins"]], edges, color=colour, linewidth=2)
    upper.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02), title="Reliability of the test")
    lower.set(xlabel="probability of the gesture that is named", ylabel="images")
    upper.grid(alpha=0.3)
    upper.legend()
    return figure


def people(record: Record) -> Figure:
    """Each person's score, gestures alike, and the interval of its mean over people."""
    figure = plots.bars(record["scores"], "Test by person", "share named rightly, gestures alike")
    [axis] = figure.axes
    over = record["over_people"]
    if over and over["low"] is not None:
        label = f"{over['level']:.0%} interval of the mean over people"
        axis.axvspan(over["low"], over["high"], color="#f58518", alpha=0.2, zorder=0, label=label)
        if legend := axis.get_legend():
            legend.remove()
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def reject_curve(record: Record, test: Predictions) -> Figure:
    """The share of wrong answers over the share of images that are answered, and the threshold that was fitted."""
    found = record["reject"]
    probabilities = tempered(test.probabilities, record["calibration"]["temperature"])
    coverages, errors = reject.curve(probabilities.max(axis=1), probabilities.argmax(axis=1) == test.targets)
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot(coverages, errors, color=AFTER, drawstyle="steps-post", label="every threshold, on this test")
    if found["error"] is not None:
        label = f"fitted threshold {found['threshold']:.4f}"
        axis.plot(found["coverage"], found["error"], "o", color="#f58518", markersize=9, label=label)
    for person, kept in found["per_subject"].items():
        if kept["error"] is not None:
            axis.plot(kept["coverage"], kept["error"], "x", color="gray", markersize=6)
            if len(found["per_subject"]) <= plots.NUMBERS_UP_TO:
                axis.annotate(person, (kept["coverage"], kept["error"]), (4, 3), textcoords="offset points", fontsize=8)
    if found["per_subject"]:
        axis.plot([], [], "x", color="gray", label="a person at that threshold")
    axis.set(
        xlabel="share of the images that is answered",
        ylabel="share of the answers that is wrong",
        title="Saying nothing when unsure",
        xlim=(0, 1.02),
    )
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def draw_mistakes(record: Record, images: Images, looked_at: NDArray[np.float32] | None, folder: Path) -> None:
    """Keep the surest mistakes on one small sheet, each with what it shows and was named; nothing where there are none.

    Args:
        record: whose `mistakes` these are.
        images: [K, H, W]
        looked_at: [K, H, W] in [0, 1], laid over them in colour; None: nothing is.
        folder: gets mistakes.jpg.
    """
    if record["mistakes"]:
        titles = [
            (f"{one['gesture']}  {one['subject']}", f"named {one['named']} {one['probability']:.0%}")
            for one in record["mistakes"]
        ]
        _sheet(overlaid(images, looked_at), titles).save(folder / MISTAKES, quality=QUALITY)


def overlaid(images: Images, looked_at: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """Images [K, H, W] in colour [K, H, W, 3], with what was looked at, in [0, 1], laid over them."""
    colours = np.repeat(images[..., None], 3, axis=-1).astype(np.float64)
    if looked_at is not None:
        share = STRENGTH * looked_at[..., None].astype(np.float64)
        colours = (1 - share) * colours + share * HEAT
    return np.asarray(colours.round(), dtype=np.uint8)


def _sheet(pictures: NDArray[np.uint8], titles: Sequence[tuple[str, str]]) -> Image.Image:
    """Pictures [K, H, W, 3] in rows, each under two lines."""
    height, width = pictures.shape[1:3]
    scale = min(WIDTH / width, TALLEST / height)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    columns, below = min(COLUMNS, len(pictures)), size[1] + TITLE + GAP
    page = Image.new("RGB", (columns * (WIDTH + GAP), -(-len(pictures) // columns) * below), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(get_data_path() + plots.FONT, plots.FONT_SIZE)
    for place, (picture, lines) in enumerate(zip(pictures, titles, strict=True)):
        row, column = divmod(place, columns)
        left, top = column * (WIDTH + GAP) + GAP // 2, row * below
        for line, text in enumerate(lines):
            middle = left + WIDTH / 2, top + (line + 1) * TITLE / 2 - 3
            pen.text(middle, plots.short(text, plots.LONGEST_TITLE), "black", font, anchor="ms")
        resampling = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
        page.paste(Image.fromarray(picture).resize(size, resampling), (left + (WIDTH - size[0]) // 2, top + TITLE))
    return page


def summary(record: Record) -> str:
    """The short table of an evaluation on the console, and whom it tells about."""
    protocol = record["protocol"]
    title = f"{protocol['images']} images, {protocol['split']['name']}"
    rows = [["this test", *(_number(record["metrics"][f"test/{name}"]) for name in METRICS)]]
    lines = [text_table(title, ["", *METRICS], rows), protocol["split"]["note"]]
    lines += [_members(record), _people(record), _calibration(record["calibration"]), *_reject(record["reject"])]
    lines += [_moments(record["moments"]), *_groups(record["groups"])]
    return "\n".join(line for line in lines if line)


def _members(record: Record) -> str:
    if len(record["members"]) < 2:
        return ""
    rows = [
        [f"{place + 1}", _number(one["test/accuracy"]), _number(one["over_people"])]
        for place, one in enumerate(record["members"])
    ]
    over = record["over_people"]
    rows.append(["their mean", _number(record["metrics"]["test/accuracy"]), _number(over and over["mean"])])
    return text_table("Each run by itself", ["", "accuracy", "over people"], rows)


def _people(record: Record) -> str:
    over, scores = record["over_people"], record["scores"]
    if not over:
        return ""
    interval = "" if over["low"] is None else f" ({over['level']:.0%} interval {over['low']:.3f} to {over['high']:.3f})"
    worst = min(scores, key=lambda name: scores[name])
    of = f"; least of {worst}, {scores[worst]:.3f}" if len(scores) > 1 else ""
    note = f" {over['note']}" if over["note"] else ""
    return f"Over {in_words(over['people'])}, people and gestures alike: {over['mean']:.3f}{interval}{of}.{note}"


def _calibration(calibration: Record) -> str:
    names = {"ece": "ECE", "adaptive_ece": "adaptive ECE", "brier": "Brier", "nll": "NLL"}
    rows = [
        [label, *(_number(calibration[key][name]) for name in names)]
        for key, label in (("before", "before"), ("after", "after"))
        if calibration[key]
    ]
    fitted = calibration["fitted_on"]
    if not fitted:
        return f"{text_table('Calibration', ['', *names.values()], rows)}\n{calibration['note']}"
    seen = ", who were seen in training" if fitted["seen_in_training"] else ""
    whom = f"{in_words(len(fitted['people']))}{seen}" if fitted["people"] else "people who are not known"
    title = (
        f"Calibration, temperature {calibration['temperature']:.3f} fitted on {fitted['images']} images of validation, "
        f"{whom}"
    )
    table = text_table(title, ["", *names.values()], rows)
    return f"{table}\n{calibration['note']}" if calibration["note"] else table


def _reject(found: Record | None) -> list[str]:
    if not found:
        return []
    [(name, value)] = found["wanted"].items()
    if found["threshold"] is None:
        return [f"Rejecting: no threshold reaches {name} {value} on the validation, so nothing would be answered."]
    rows = [["this test", _number(found["coverage"]), _number(found["error"])]]
    people = sorted(found["per_subject"].items(), key=lambda one: one[1]["coverage"])
    listed = people if len(people) <= LISTED_PEOPLE else people[:LEAST_ANSWERED]
    rows += [[person, _number(of["coverage"]), _number(of["error"])] for person, of in listed]
    title = f"Rejecting below {found['threshold']:.4f}, for {name} {value} on the validation"
    told = [text_table(title, ["", "answered", "wrong of these"], rows)]
    if len(listed) < len(people):
        told.append(f"These are answered least; all {len(people)} people are in evaluation.json.")
    return told + [
        f"Of {of['images']} images of no gesture, {set_name}: {of['rejected']:.1%} rejected."
        for set_name, of in found["unknown"].items()
        if of["rejected"] is not None
    ]


def _moments(found: Record | None) -> str:
    if not found:
        return ""
    return (
        f"Single frames {found['single_frames']:.3f} ({found['frames']} frames), "
        f"moments of both views {found['accuracy']:.3f} ({found['moments']} moments)."
    )


def _groups(found: Record | None) -> list[str]:
    if not found:
        return []
    rows = [[name, str(len(of["people"])), _number(of["score"])] for name, of in found["groups"].items()]
    table = text_table("Groups, people and gestures alike", ["", "people", "score"], rows)
    worst = found["worst"]
    told = [table, f"The worst group is {worst['group']}; the best one is {found['gap']:.3f} better."]
    if found["without_group"]:
        told.append(f"In no group: {', '.join(found['without_group'])}.")
    return told


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
