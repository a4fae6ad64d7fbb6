"""One page in one file: no script, nothing fetched, for any width, light, dark and paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gesture.report.markup import Content, Element, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy: the browser itself refuses scripts and requests."""
STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
MOST_ROWS = 120
"""Of a table; what more there is stands in the files beside the report."""


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own."""

    slug: str
    title: str
    content: Sequence[Content]


def document(title: str, below: Content, warnings: Sequence[Content], sections: Sequence[Section]) -> str:
    """A whole page: its title, a line below it, what must not be missed, then the sections."""
    links = [tag("li", tag("a", section.title, href=f"#{section.slug}")) for section in sections]
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("link", rel="icon", href="data:,"),
            tag("style", STYLE),
        ),
        tag(
            "body",
            tag("header", tag("h1", title), tag("p", below, class_="muted")),
            tag("nav", tag("ul", links), aria_label="Contents"),
            tag("main", _warning(warnings), [_section(section) for section in sections]),
        ),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{page}"


def _warning(warnings: Sequence[Content]) -> Element | None:
    if not warnings:
        return None
    return tag(
        "div", tag("p", tag("strong", "Read this first.")), [tag("p", one) for one in warnings], class_="warning"
    )


def _section(section: Section) -> Element:
    heading = tag("h2", section.title, id=section.slug)
    return tag("section", heading, section.content, aria_labelledby=section.slug)


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Content]], class_: str | None = None) -> Element:
    """A table whose first column names its rows and whose numbers stand to the right; it scrolls by itself.

    No more than MOST_ROWS are shown, and the caption says so.
    """
    more = f" (the first {MOST_ROWS} of {len(rows)})" if len(rows) > MOST_ROWS else ""
    rows = rows[:MOST_ROWS]
    right = ["right" if rows and all(is_number(row[i]) for row in rows) else None for i in range(len(heads))]
    head = [tag("th", one, scope="col", class_=side) for one, side in zip(heads, right, strict=True)]
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            [tag("td", cell, class_=side) for cell, side in zip(row[1:], right[1:], strict=True)],
        )
        for row in rows
    ]
    content = tag(
        "table",
        tag("caption", tag("span", caption + more)),
        tag("thead", tag("tr", head)),
        tag("tbody", body),
        class_=class_,
    )
    return scrolling(caption, content)


def scrolling(label: str, content: Element) -> Element:
    """What may be wider than a telephone; it can be scrolled with the keyboard too."""
    return tag("div", content, class_="scroll", tabindex="0", role="group", aria_label=label)


def behind(summary: str, *content: Content) -> Element:
    """What is opened on demand, and always on paper."""
    return tag("details", tag("summary", summary), *content)


def is_number(cell: Content) -> bool:
    """Whether a cell is one number, or says that it was not measured."""
    return isinstance(cell, Element) and "data-value" in cell.attributes
