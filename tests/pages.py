"""Reading a report back, as a stranger's program would: its elements, its text, its numbers and where they stand."""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

WITHOUT_END = ("meta", "link", "img", "br")


@dataclass
class Read:
    name: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """The elements of a page in the order in which they begin."""

    html: str
    elements: list[Read] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Read] = []
        self.feed(self.html)
        self.close()
        assert not self._open, f"not ended: {[one.name for one in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Read(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in WITHOUT_END:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, *names: str) -> list[Read]:
        return [one for one in self.elements if one.name in names]

    @property
    def text(self) -> str:
        """What a reader of the page's body sees."""
        (body,) = self.all("body")
        return body.text

    @property
    def figures(self) -> list[Read]:
        return [one for one in self.elements if "data-value" in one.attributes]


def faults(page: Page, sources: dict[str, Any]) -> list[str]:
    """The numbers of a page that are not those of its sources: as exact values, or as they are shown."""
    found = []
    for one in page.figures:
        place, exact = one.attributes["data-from"], json.loads(one.attributes["data-value"])
        source, _, pointer = place.partition("#")
        value = resolved(sources[source], pointer)
        if value != exact or not agrees(one.text, value):
            found.append(f"{place}: {value} is shown as {one.text} ({exact})")
    return found


def resolved(record: Any, pointer: str) -> Any:
    """What stands at a place of a JSON document (RFC 6901); None where nothing does."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        record = record[int(key)] if isinstance(record, list | tuple) else (record or {}).get(key)
    return record


def agrees(text: str, value: float | None) -> bool:
    """Whether a shown number is the value, rounded to the digits that are shown."""
    if value is None:
        return text == "not measured"
    number = re.sub(r" (people|person|epochs?|s)$", "", text.replace(",", ""))
    scale = 100 if number.endswith("%") or number.endswith("points") else 1
    digits = number.removesuffix("%").removesuffix("points").strip()
    mantissa, _, exponent = digits.partition("e")
    step = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(float(digits) - scale * value) <= step / 2 * (1 + 1e-9)


def leaves(record: Any, pointer: str = "") -> dict[str, float | None]:
    """Every number of a JSON document, and every null, by its place."""
    if isinstance(record, dict):
        items = [(key.replace("~", "~0").replace("/", "~1"), value) for key, value in record.items()]
    elif isinstance(record, list):
        items = [(str(i), value) for i, value in enumerate(record)]
    else:
        is_number = record is None or (isinstance(record, int | float) and not isinstance(record, bool))
        return {pointer: record} if is_number else {}
    return {place: value for key, inner in items for place, value in leaves(inner, f"{pointer}/{key}").items()}
