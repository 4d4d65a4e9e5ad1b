"""Small XML documents, safely: no document types, no entities, bounded in depth and size. Pure.

Expat is told to refuse a DOCTYPE as soon as it meets one, so that entity bombs and
outside entities have no place to be declared. Names lose their namespace: vendors use
three for one format, or none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

from domain.errors import PayloadError
from ingest.codec import PAYLOAD_BYTES_MAX

DEPTH_MAX = 32
ELEMENTS_MAX = 5_000
TEXT_MAX = 4_000
_DECLARED = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"'][^>]{0,200}\?>")
CHINESE = frozenset({"gb2312", "gbk", "gb18030"})
"""Multi-byte encodings that expat does not read and Chinese platforms send."""


@dataclass(slots=True)
class Element:
    """An element by its local name; ``text`` is its own, stripped."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def child(self, name: str) -> Element | None:
        """The first child of this name."""
        return next((child for child in self.children if child.name == name), None)

    def find(self, *path: str) -> Element | None:
        """The first element down a path."""
        found: Element | None = self
        for name in path:
            found = found.child(name) if found is not None else None
        return found

    def text_at(self, *path: str) -> str | None:
        """Its text, None where it is absent or empty."""
        found = self.find(*path)
        return found.text or None if found is not None else None

    def descendants(self, name: str) -> list[Element]:
        """All elements of this name below, in document order."""
        stack, found = [*reversed(self.children)], []
        while stack:
            element = stack.pop()
            if element.name == name:
                found.append(element)
            stack.extend(reversed(element.children))
        return found


class _Builder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._stack: list[Element] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > ELEMENTS_MAX:
            raise PayloadError("too_many_values", f"payload has more than {ELEMENTS_MAX} elements")
        if len(self._stack) >= DEPTH_MAX:
            raise PayloadError("too_deep", f"payload is nested more than {DEPTH_MAX} deep")
        element = Element(name.rsplit(":", 1)[-1])
        if self._stack:
            self._stack[-1].children.append(element)
        else:
            self.root = element
        self._stack.append(element)

    def end(self, name: str) -> None:
        element = self._stack.pop()
        element.text = element.text.strip()

    def text(self, text: str) -> None:
        element = self._stack[-1]
        if len(element.text) + len(text) > TEXT_MAX:
            raise PayloadError("too_long", f"payload.{element.name[:48]} has more than {TEXT_MAX} characters")
        element.text += text

    def doctype(self, *_: object) -> None:
        raise PayloadError("not_xml", "payload declares a document type; none is allowed")


def xml_of(payload: bytes) -> Element:
    """The root element. Raises: PayloadError."""
    if not payload.strip():
        raise PayloadError("empty", "the payload has no bytes")
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadError("too_large", f"{len(payload)} bytes, more than {PAYLOAD_BYTES_MAX}")
    declared = _DECLARED.match(payload)
    encoding = None
    if declared and declared[1].decode("ascii").lower() in CHINESE:
        payload = payload.decode("gb18030", "replace").encode()
        encoding = "utf-8"
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    builder = _Builder()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.EntityDeclHandler = builder.doctype
    try:
        parser.Parse(payload.lstrip(), True)
    except (expat.ExpatError, UnicodeError, ValueError, LookupError) as error:
        raise PayloadError("not_xml", f"payload: {error}") from error
    assert builder.root is not None, "expat refuses a document without an element"
    return builder.root
