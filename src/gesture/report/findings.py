"""What an audit found, as tables of text."""

from collections import Counter
from statistics import median

from gesture.data.files import counted
from gesture.evaluation.audit import Audit
from gesture.evaluation.copies import NearCopies, Pair
from gesture.evaluation.leak import Leak
from gesture.report.tables import text_table

MOST_COLUMNS = 10
"""People beyond which a table of gestures shows their sum alone."""
NAMED = 3
"""Combinations of people, or of sides, that are named."""
UNKNOWN = "not known"
NOT_LOOKED_AT = "not looked at"


def summary(found: Audit, would_cross: int) -> str:
    """How many images there are of whom, what was found, and what crosses; the last line says whether anything does.

    Args:
        found: the audit.
        would_cross: images that would have an identical one on an earlier side if copies were not looked at.
    """
    tables = [_counts(found), text_table("found", ["what", "how much"], _rows(found, would_cross))]
    crosses = "; ".join(found.crosses)
    leak = [] if found.leak is None else [_leak(found.leak)]
    note = [] if found.labels is None or not found.labels.note else [found.labels.note]
    return "\n".join([*tables, *note, *leak, f"Crosses: {crosses}." if crosses else _nothing_crosses(found)])


def _leak(leak: Leak) -> str:
    return f"{leak.sentence.capitalize()} ({counted(leak.queries, 'image')} looked up)."


def _nothing_crosses(found: Audit) -> str:
    """That nothing does, as far as was looked."""
    images = sum(sum(gestures.values()) for gestures in found.counts.values())
    if found.near is None:
        return "Nothing that files' sums tell crosses the split; near copies were not looked for."
    if found.near.limit is None:
        return "Nothing crosses the split but near copies, of which nothing is known: nothing tells how near is near."
    if found.looked_up < images:
        return f"Nothing that was looked at crosses the split: {found.looked_up} of {images} images (audit.queries)."
    return "Nothing crosses the split."


def _counts(found: Audit) -> str:
    people = list(found.counts) if len(found.counts) <= MOST_COLUMNS else []
    total = [] if len(people) == 1 else ["all"]
    rows = []
    for gesture in next(iter(found.counts.values())):
        images = {person: counts[gesture] for person, counts in found.counts.items()}
        rows.append([gesture, *(str(images[person]) for person in people), *(str(sum(images.values())) for _ in total)])
    return text_table("images", ["gesture", *people, *total], rows)


def _rows(found: Audit, would_cross: int) -> list[list[str]]:
    same, near = found.identical, found.near
    return [
        ["identical images", f"{same.images} in {counted(len(same.groups), 'group')}"],
        ["  under several people", _groups(same.across_subjects, same.between_subjects)],
        ["  under several gestures", counted(same.across_gestures, "group")],
        ["  on several sides of the split", _groups(same.across_sides, same.between_sides)],
        ["  that would cross were they not looked at", counted(would_cross, "image")],
        ["missing frames", _gaps(found)],
        ["sequences cut by the split", UNKNOWN if found.cut is None else str(len(found.cut))],
        ["interleaved views", _views(found)],
        ["near copies on an earlier side", _near(near, None if near is None else near.across_sides, "image")],
        ["near copies of another person", _near(near, None if near is None else near.across_subjects, "pair")],
        ["likely wrong labels", _labels(found)],
        ["images compared with all others", str(found.looked_up) if found.looked_up else NOT_LOOKED_AT],
    ]


def _groups(count: int, between: dict[str, int]) -> str:
    """How many groups, and between whom the most of them."""
    named = "; ".join(f"{names}: {groups}" for names, groups in Counter(between).most_common(NAMED))
    return counted(count, "group") + (f" ({named})" if named else "")


def _gaps(found: Audit) -> str:
    if found.gaps is None:
        return UNKNOWN
    missing = sum(gap.missing for gap in found.gaps)
    return f"{missing} in {counted(len(found.gaps), 'sequence')}" if missing else "0"


def _views(found: Audit) -> str:
    if found.views is None:
        return NOT_LOOKED_AT if found.near is None else UNKNOWN
    shares = [one.explained for one in found.views if one.explained is not None]
    explain = f", explaining {median(shares):.3f} of the change" if shares else ""
    return f"in {len(shares)} of {counted(len(found.views), 'sequence')}{explain}"


def _near(near: NearCopies | None, pairs: tuple[Pair, ...] | None, thing: str) -> str:
    if near is None:
        return NOT_LOOKED_AT
    if near.limit is None or pairs is None:
        return UNKNOWN
    return f"{counted(len(pairs), thing)} nearer than {near.limit:.1f} gray levels"


def _labels(found: Audit) -> str:
    if found.labels is None:
        return NOT_LOOKED_AT
    return UNKNOWN if found.labels.note else f"{len(found.labels.suspects)} of {counted(found.labels.judged, 'image')}"
