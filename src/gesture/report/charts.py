"""Charts as SVG inside the page. Each has a title and a description; the table behind it is the caller's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gesture.report.figures import Form, decimal, share, short
from gesture.report.markup import Content, Element, tag

WIDTH = 360
"""Units of a drawing, which are pixels on a telephone."""
LARGEST = 1.35
"""Pixels of a unit on a wide screen."""
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 26, 34
"""Around what is drawn, for its labels."""
NAMES, NUMBERS = 104, 58
"""On both sides of bars."""
LETTERS = 16
ROW = 18
LABELLED = 60
"""More bars than this are threads without names."""
THREAD = 3
MOST_BARS = 120
"""As many as a table has rows."""
MOST_POINTS, MOST_OF_A_LINE = 6000, 300
"""Of all lines of a drawing, and of one."""
NAMED_LINES = 6

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A curve; one is dashed beside its like."""

    name: str
    points: Sequence[Point]
    class_: str = "line one"


@dataclass(frozen=True)
class Spread:
    """A mean over people with its interval, whose ends are None where it is undefined, and the people's own values."""

    name: str
    mean: float | None
    low: float | None
    high: float | None
    values: Sequence[float]


def figure(slug: str, title: str, description: str, height: float, *drawn: Content, width: int = WIDTH) -> Element:
    """A drawing that a screen reader tells as one picture."""
    svg = tag(
        "svg",
        tag("title", title, id=f"{slug}-title"),
        tag("desc", description, id=f"{slug}-description"),
        *drawn,
        viewBox=f"0 0 {width} {height:g}",
        role="img",
        aria_labelledby=f"{slug}-title {slug}-description",
    )
    return tag("figure", svg, tag("figcaption", title), style=f"max-width: {width * LARGEST:g}px")


def curves(slug: str, title: str, lines: Sequence[Line], best: int | None, form: Form = decimal) -> Element:
    """Lines over epochs, from 1; `best` is the epoch whose weights are kept."""
    drawn = [line for line in lines if line.points]
    values = [y for line in drawn for _, y in line.points]
    last = max((x for line in drawn for x, _ in line.points), default=1.0)
    ticks = ticks_of(min(values, default=0), max(values, default=1))
    height, most = 220, min(MOST_OF_A_LINE, MOST_POINTS // max(len(drawn), 1))

    def place(x: float, y: float) -> Point:
        across = (x - 1) / max(last - 1, 1)
        up = (y - ticks[0]) / (ticks[-1] - ticks[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), height - BOTTOM - up * (height - TOP - BOTTOM)

    middle = (LEFT + WIDTH - RIGHT) / 2
    said = "; ".join(
        f"{line.name} from {form(line.points[0][1])} to {form(line.points[-1][1])}" for line in drawn[:NAMED_LINES]
    )
    more = f"; and {len(drawn) - NAMED_LINES} more" if len(drawn) > NAMED_LINES else ""
    bottom, top = place(1, ticks[0])[1], place(1, ticks[-1])[1]
    return figure(
        slug,
        title,
        f"Over {last:g} epochs: {said}{more}.",
        height,
        [_level(LEFT, WIDTH - RIGHT, place(1, tick)[1], _tick(tick, form)) for tick in ticks],
        [_text(place(x, 0)[0], bottom + 15, f"{x:g}", "middle") for x in (sorted({1.0, last}))],
        _text(middle, bottom + 28, "epoch", "middle", "muted"),
        None if best is None else _segment(place(best, 0)[0], bottom, place(best, 0)[0], top, "axis dashed"),
        None if best is None else _text(place(best, 0)[0], bottom + 15, "best", "middle") if 1 < best < last else None,
        [_polyline(line, [place(x, y) for x, y in thinned(line.points, most)]) for line in drawn],
        [_key(line, place_in_row) for place_in_row, line in enumerate(drawn)] if len(drawn) <= 3 else None,
    )


def bars(
    slug: str, title: str, values: Mapping[str, float | None], form: Form, spread: Spread | None = None
) -> Element:
    """A bar from 0 to 1 for each name; behind them the interval of the mean over all, and the mean as a line."""
    names = list(values)[:MOST_BARS]
    row = ROW if len(names) <= LABELLED else THREAD
    left, room = (NAMES, WIDTH - NAMES - NUMBERS) if row == ROW else (8, WIDTH - 16)
    height = 8 + row * len(names) + 22
    measured = {name: value for name, value in values.items() if value is not None}
    lowest = min(measured, key=lambda name: measured[name], default=None)
    said = "" if lowest is None else f" The lowest is {lowest} with {form(measured[lowest])}."
    return figure(
        slug,
        title,
        f"Bars for {len(values)}.{said}{_mean_in_words(spread, form)}",
        height,
        _band(spread, left, room, 4, height - 22),
        [
            _bar(name, values[name], 8 + i * row, row, left, room, form, is_low=name == lowest)
            for i, name in enumerate(names)
        ],
        _mean_line(spread, left, room, 4, height - 22),
        [_text(left + part * room, height - 8, _tick(part, form), "middle", "muted") for part in (0.0, 0.5, 1.0)],
    )


def spreads(slug: str, title: str, rows: Sequence[Spread], form: Form) -> Element:
    """For each row its people as faint dots, their mean, and its interval."""
    every = [value for row in rows for value in (*row.values, row.mean, row.low, row.high) if value is not None]
    ticks = ticks_of(min(every, default=0), max(every, default=1))
    height = 10 + 40 * len(rows) + 24

    def across(value: float) -> float:
        return 16 + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (WIDTH - 36)

    drawn: list[Content] = [_segment(across(tick), 6, across(tick), height - 22, "grid") for tick in ticks]
    drawn += [_text(across(tick), height - 8, _tick(tick, form), "middle", "muted") for tick in ticks]
    for i, row in enumerate(rows):
        middle = 10 + 40 * i + 26
        drawn.append(_text(16, middle - 11, short(row.name, 56)))
        drawn += [_dot(across(value), middle, 3, "faint") for value in row.values]
        if row.low is not None and row.high is not None:
            drawn.append(_segment(across(row.low), middle, across(row.high), middle, "whisker"))
        if row.mean is not None:
            drawn.append(_dot(across(row.mean), middle, 4.5, "dot"))
    said = " ".join(f"{row.name}:{_mean_in_words(row, form)}" for row in rows[:12])
    return figure(slug, title, said, height, drawn)


def reliability(slug: str, title: str, bins: Sequence[Mapping[str, float | None]]) -> Element:
    """How often what is said with a confidence is right; on the diagonal it is as often as it says.

    Args:
        bins: low, high, images, confidence, accuracy of each; those without images are not drawn.
    """
    size, edge = 260, 38
    room = size - edge - 12
    filled = [one for one in bins if one["images"]]

    def place(x: float, y: float) -> Point:
        return edge + x * room, size - edge - y * room

    drawn: list[Content] = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(_level(edge, size - 12, place(0, tick)[1], f"{tick:g}"))
        drawn.append(_text(place(tick, 0)[0], size - edge + 14, f"{tick:g}", "middle", "muted"))
    for one in filled:
        low, high, accuracy = one["low"] or 0, one["high"] or 0, one["accuracy"] or 0
        x, y = place(low, accuracy)
        drawn.append(_rect(x + 0.5, y, (high - low) * room - 1, accuracy * room, "band"))
    drawn.append(_segment(*place(0, 0), *place(1, 1), "axis dashed"))
    drawn += [_dot(*place(one["confidence"] or 0, one["accuracy"] or 0), 3.5, "dot") for one in filled]
    drawn.append(_text(place(0.5, 0)[0], size - 6, "confidence", "middle", "muted"))
    drawn.append(
        tag(
            "text",
            "share right",
            transform=f"translate(10 {size / 2}) rotate(-90)",
            text_anchor="middle",
            class_="muted",
        )
    )
    below = sum((one["accuracy"] or 0) < (one["confidence"] or 0) for one in filled)
    said = (
        f"{len(filled)} of {len(bins)} bins hold images; in {below} of them fewer are right than the confidence says."
    )
    return figure(slug, title, said, size, drawn, width=size)


def ticks_of(low: float, high: float) -> list[float]:
    """Four to seven round values that span a range."""
    span = high - low if high - low > abs(high) * 1e-3 else max(abs(high) * 0.4, 0.04)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if span / (factor * power) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def thinned(points: Sequence[Point], most: int) -> Sequence[Point]:
    """At most so many of them, the first and last among these."""
    if len(points) <= most:
        return points
    step = (len(points) - 1) / (most - 1)
    return [points[round(i * step)] for i in range(most)]


def _tick(value: float, form: Form) -> str:
    return f"{100 * value:g} %" if form is share else f"{value:g}"


def _mean_in_words(spread: Spread | None, form: Form) -> str:
    if spread is None or spread.mean is None:
        return ""
    interval = (
        "" if spread.low is None or spread.high is None else f", interval {form(spread.low)} to {form(spread.high)}"
    )
    return f" Mean over people {form(spread.mean)}{interval}."


def _bar(
    name: str, value: float | None, y: float, row: int, left: float, room: float, form: Form, is_low: bool
) -> list[Content]:
    bar = None if value is None else _rect(left, y + row / 6, value * room, row * 2 / 3, "low" if is_low else "bar")
    if row != ROW:
        return [bar]
    text = "not shown" if value is None else form(value)
    place = left + 4 if value is None else left + room + 4
    return [
        bar,
        _text(left - 6, y + 13, short(name, LETTERS), "end"),
        _text(place, y + 13, text, class_="muted" if value is None else None),
    ]


def _band(spread: Spread | None, left: float, room: float, top: float, bottom: float) -> Element | None:
    if spread is None or spread.low is None or spread.high is None:
        return None
    low, high = max(0.0, spread.low), min(1.0, spread.high)
    return _rect(left + low * room, top, (high - low) * room, bottom - top, "band")


def _mean_line(spread: Spread | None, left: float, room: float, top: float, bottom: float) -> Element | None:
    if spread is None or spread.mean is None:
        return None
    return _segment(left + spread.mean * room, top, left + spread.mean * room, bottom, "whisker dashed")


def _key(line: Line, place: int) -> list[Content]:
    x = LEFT + place * 110
    return [_segment(x, 10, x + 20, 10, line.class_), _text(x + 25, 14, short(line.name, 14))]


def _polyline(line: Line, points: Sequence[Point]) -> Element:
    if len(points) == 1:
        return _dot(*points[0], 3, line.class_.replace("line ", "only "))
    listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("polyline", tag("title", line.name), points=listed, class_=line.class_)


def _level(left: float, right: float, y: float, label: str) -> list[Content]:
    return [_segment(left, y, right, y, "grid"), _text(left - 5, y + 4, label, "end", "muted")]


def _segment(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_)


def _rect(x: float, y: float, width: float, height: float, class_: str) -> Element:
    return tag("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{height:.1f}", class_=class_)


def _dot(x: float, y: float, radius: float, class_: str) -> Element:
    return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{radius:g}", class_=class_)


def _text(x: float, y: float, text: str, anchor: str = "start", class_: str | None = None) -> Element:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_)
