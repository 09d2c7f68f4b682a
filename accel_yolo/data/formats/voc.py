"""Pascal VOC annotations: one XML file per image, boxes in pixels, classes by name."""

from __future__ import annotations

import math
import re
import xml.sax
import xml.sax.handler
import xml.sax.xmlreader
from dataclasses import dataclass, field

import defusedxml
import defusedxml.sax
import numpy as np

from accel_yolo.data.formats.record import (
    LEAST_POINTS,
    NO_LABELS,
    NO_POLYGON,
    BrokenRule,
    LabelledObject,
    LabelRules,
    Labels,
    labels_of,
    object_of_corners,
    outline_of_px,
)
from accel_yolo.data.problems import Problem
from accel_yolo.errors import did_you_mean

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_CHALLENGE = "PASCAL VOC"
_ENCODING = re.compile(rb"""(\s*<\?xml[^>]*?encoding=["'])([A-Za-z0-9._-]+)["'][^>]*\?>""")
_PARSED = (b"utf-8", b"utf-16", b"iso-8859-1", b"us-ascii", b"ascii")
_SIDE = re.compile("[0-9]{1,9}")


@dataclass
class _Element:
    """An element of the file: its tag, line, text and children."""

    tag: str
    line: int
    texts: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)

    def child(self, tag: str) -> _Element | None:
        return next((each for each in self.children if each.tag == tag), None)

    def words(self, tag: str) -> str:
        found = self.child(tag)
        return "".join(found.texts).strip() if found else ""


class _Builder(xml.sax.handler.ContentHandler):
    """Builds elements that know their lines."""

    def __init__(self) -> None:
        super().__init__()
        self.top = _Element("", 0)
        self._open = [self.top]
        self._place: xml.sax.xmlreader.Locator | None = None

    def setDocumentLocator(self, locator: xml.sax.xmlreader.Locator) -> None:  # noqa: N802
        self._place = locator

    def startElement(self, name: str, attrs: object) -> None:  # noqa: N802
        element = _Element(name, (self._place.getLineNumber() or 0) if self._place else 0)
        self._open[-1].children.append(element)
        self._open.append(element)

    def endElement(self, name: str) -> None:  # noqa: N802
        self._open.pop()

    def characters(self, content: str) -> None:
        self._open[-1].texts.append(content)


def parse_voc(content: bytes, file: str, rules: LabelRules, size_hw: tuple[int, int]) -> tuple[Labels, list[Problem]]:
    """Return the objects of one annotation file, and what is wrong with the others.

    Coordinates are edges counted from 0, as labelling tools write them. The files of the PASCAL VOC challenges, which
    say so under <annotation>, count pixels from 1: theirs are moved. Objects marked difficult are left out.

    Args:
        content: the bytes of the file.
        file: its path, for messages.
        rules: what a class may be.
        size_hw: (height, width) of the image as displayed, px.
    """
    builder = _Builder()
    try:
        defusedxml.sax.parseString(_as_utf8(content), builder)
    except xml.sax.SAXParseException as error:
        return NO_LABELS, [Problem(file, error.getLineNumber() or 0, error.getMessage(), "not an XML file")]
    except defusedxml.DefusedXmlException as error:
        return NO_LABELS, [Problem(file, 0, type(error).__name__, "XML with entities is not read")]
    except (LookupError, ValueError) as error:
        return NO_LABELS, [Problem(file, 1, str(error), "not in the encoding that it names")]
    top = builder.top.children[0]
    if top.tag != "annotation":
        return NO_LABELS, [Problem(file, top.line, f"<{top.tag}>", "an annotation file begins with <annotation>")]
    problems = _size_problems(top, file, size_hw)
    if problems and not rules.lenient:
        return NO_LABELS, problems
    source = top.child("source")
    origin = 1.0 if source is not None and source.words("annotation").startswith(_CHALLENGE) else 0.0
    objects: list[LabelledObject] = []
    for element in top.children:
        if element.tag != "object" or element.words("difficult") == "1":
            continue
        try:
            objects.append(_object(element, rules, size_hw, origin))
        except BrokenRule as broken:
            problems.append(Problem(file, element.line, broken.value, broken.rule))
            if rules.lenient and broken.mended:
                objects.append(broken.mended)
    return labels_of(objects), problems


def _as_utf8(content: bytes) -> bytes:
    """Return the file in an encoding that the parser has: it knows few, and files are written in many.

    Raises:
        LookupError: there is no such encoding.
        ValueError: the text is not in it.
    """
    declared = _ENCODING.match(content)
    if declared is None or declared[2].lower() in _PARSED:
        return content
    return content[declared.end() :].decode(declared[2].decode("ascii", "replace")).encode()


def _size_problems(top: _Element, file: str, size_hw: tuple[int, int]) -> list[Problem]:
    """Return what is wrong with <size>; one without numbers, or of 0, says nothing."""
    size = top.child("size")
    if size is None:
        return []
    written = size.words("width"), size.words("height")
    if not all(_SIDE.fullmatch(text) and int(text) for text in written):
        return []
    if (int(written[1]), int(written[0])) == size_hw:
        return []
    rule = f"the annotation is of an image of another size; this one has {size_hw[1]} x {size_hw[0]} px"
    return [Problem(file, size.line, " x ".join(written), rule)]


def _object(element: _Element, rules: LabelRules, size_hw: tuple[int, int], origin: float) -> LabelledObject:
    class_id = 0 if rules.single_cls else _class_id(element.words("name"), rules.names)
    box = element.child("bndbox")
    if box is None:
        raise BrokenRule("an object needs a <bndbox>", "")
    left, top, right, bottom = (_number(box.words(tag), tag) for tag in _CORNERS)
    left, top = left - origin, top - origin
    try:
        found = object_of_corners(class_id, (left, top, right - left, bottom - top), size_hw)
    except BrokenRule as broken:
        raise BrokenRule(broken.rule, f"{left:g} {top:g} {right:g} {bottom:g} (x y x y)", broken.mended) from None
    outline = element.child("polygon")
    return LabelledObject(found.row, _outline(outline, size_hw)) if outline is not None else found


def _class_id(name: str, names: tuple[str, ...]) -> int:
    if name in names:
        return names.index(name)
    hint = did_you_mean(name, names) or "add it, or choose with --classes"
    raise BrokenRule(f"the class is none of the names of the data YAML ({hint})", name)


def _number(text: str, tag: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BrokenRule(f"<{tag}> must be a number", text or "nothing")
    return value


def _outline(element: _Element, size_hw: tuple[int, int]) -> np.ndarray:
    """Return the outline in x1, y1, x2, y2, ..., the form in which labelling services write it."""
    values = {child.tag: child for child in element.children}
    points = []
    while (axes := (f"x{len(points) + 1}", f"y{len(points) + 1}"))[0] in values and axes[1] in values:
        points.append([_number("".join(values[axis].texts).strip(), axis) for axis in axes])
    if len(points) < LEAST_POINTS:
        return NO_POLYGON
    return outline_of_px(np.array(points, np.float64), size_hw)
