"""HTML as values. Text is escaped by being text: there is no way to put markup in as a string."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

Content: TypeAlias = "Element | str | Iterable[Content] | None"

WITHOUT_END = {"meta", "link", "img", "br"}
"""Elements that have no content and no end tag (HTML, 13.1.2)."""
ON_OWN_LINES = set("html head body style header nav main section h1 h2 h3 p ul li table tr details figure svg".split())
NOT_IN_HTML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters, and what Python makes of bytes in file names that are no UTF-8."""


@dataclass(frozen=True)
class Element:
    """An element with its attributes and content."""

    name: str
    attributes: dict[str, str]
    children: tuple["Element | str", ...]

    def __str__(self) -> str:
        """Its HTML."""
        opened = f"<{self.name}{''.join(map(_attribute, self.attributes.items()))}>"
        end = "\n" if self.name in ON_OWN_LINES else ""
        if self.name in WITHOUT_END:
            return opened + end
        inner = "".join(str(child) if isinstance(child, Element) else as_text(child) for child in self.children)
        return f"{opened}{inner}</{self.name}>{end}"


def tag(name: str, /, *children: Content, **attributes: str | None) -> Element:
    """An element. `class_` is the attribute class, `data_value` is data-value; one that is None is left out."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    return Element(name, named, tuple(_flat(children)))


def as_text(text: str) -> str:
    """A string as HTML shows it, in an element or an attribute."""
    return escape(NOT_IN_HTML.sub("\ufffd", text), quote=True)


def _attribute(item: tuple[str, str]) -> str:
    name, value = item
    return f' {name}="{as_text(value)}"'


def _flat(children: Iterable[Content]) -> Iterable[Element | str]:
    for child in children:
        if isinstance(child, Element | str):
            yield child
        elif child is not None:
            yield from _flat(child)
