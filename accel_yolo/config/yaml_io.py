"""Strict YAML 1.2: `1e-3` is a number, `no` is text, a duplicate key is an error, every key knows its line.

PyYAML speaks YAML 1.1, so only its parser is used here: plain words are typed by the 1.2 core schema below.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from accel_yolo.errors import ConfigError, UserError

LARGEST_BYTES = 1 << 20
DEEPEST = 32
MOST_VALUES = 50_000  # as written, and again after aliases are expanded: a few lines can stand for billions

_AT_MOST = f"a YAML file holds at most {MOST_VALUES}"
_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain"  # our mark of a word without quotes and without a tag
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

KeyPath = tuple[Hashable, ...]


@dataclass(frozen=True)
class Located:
    """The content of a YAML file and where in the file each value stands.

    Attributes:
        file: name of the file for messages.
        data: plain dicts, lists and scalars.
        lines: line (from 1) of each key or list element, by its path: ("names", 0).
        texts: each scalar as it was written, by its path.
    """

    file: str
    data: Any
    lines: dict[KeyPath, int]
    texts: dict[KeyPath, str]

    def where(self, *path: Hashable) -> str:
        """Return "file:line, key 'a.b'" for messages."""
        line = self.lines.get(path)
        place = f"{self.file}:{line}" if line else self.file
        return f"{place}, key '{'.'.join(str(part) for part in path)}'" if path else place


def load_yaml(path: Path, kind: type[UserError] = ConfigError, shown: str = "") -> Located:
    """Return the content of a YAML file.

    Args:
        path: the file.
        kind: class of the errors to raise.
        shown: name of the file in messages; the path when empty.

    Raises:
        UserError: (of `kind`) no such file, a folder, unreadable, not UTF-8, too large, too deep, not YAML,
            a duplicate key, a tag.
    """
    name = shown or str(path)
    if path.is_dir():
        raise kind("a folder where a YAML file is needed", name, remedy="give the file")
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise kind("no such file", name, remedy="check the path") from None
    except OSError as error:
        raise kind("cannot read", name, error.strerror or error, "check the file and its rights") from error
    if len(content) > LARGEST_BYTES:
        raise kind(
            "file too large", name, f"more than {LARGEST_BYTES} bytes", f"a YAML file has at most {LARGEST_BYTES}"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in content:  # an image, an archive, weights
            raise kind("not a text file", name, remedy="give a YAML file") from None
        line = content[: error.start].count(b"\n") + 1
        raise kind("not UTF-8 text", f"{name}:{line}", remedy="save the file as UTF-8") from None
    return parse_yaml(text, name, kind)


def parse_yaml(text: str, name: str, kind: type[UserError] = ConfigError) -> Located:
    """Return the content of YAML text; `name` stands for the file in messages. Raises as `load_yaml`."""
    try:
        root = _Loader(text).get_single_node()
    except yaml.reader.ReaderError as error:
        place = f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        raise kind("not text", place, f"character {error.character:#x}", "remove it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise kind("not valid YAML", place, error.problem or error.context, "correct the line") from None
    except _TooDeepError as error:
        raise kind("nested too deep", f"{name}:{error.line}", remedy=f"use at most {DEEPEST} levels") from None
    except _TooManyError as error:
        raise kind("too many values", f"{name}:{error.line}", remedy=_AT_MOST) from None
    reader = _Reader(name, kind)
    data = reader.value(root, ()) if root is not None else None
    return Located(name, data, reader.lines, reader.texts)


def dump_yaml(data: Any) -> str:
    """Return `data` as YAML that versions 1.1 and 1.2 read alike; texts such as no or 1e-3 are quoted."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)


class _LimitError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _TooDeepError(_LimitError):
    pass


class _TooManyError(_LimitError):
    pass


class _Loader(yaml.SafeLoader):
    depth = 0
    composed = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        self.composed += 1
        if self.composed > MOST_VALUES:
            raise _TooManyError(self.peek_event().start_mark.line + 1)
        if self.depth > DEEPEST:
            raise _TooDeepError(self.peek_event().start_mark.line + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> ScalarNode:
        event = self.peek_event()
        node = super().compose_scalar_node(anchor)
        if event.implicit[0] and event.tag is None:
            node.tag = _PLAIN
        return node


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> MappingNode:
        return super().represent_mapping(tag, mapping, flow_style=False)


# On top of the 1.1 words that PyYAML quotes: what only 1.2 takes for numbers.
for _pattern in (_FLOAT, _INT):
    _Dumper.add_implicit_resolver(_TAG + "float", re.compile(f"^(?:{_pattern.pattern})$"), list("-+.0123456789"))
# A real 1e-3 must itself stay unquoted, so numbers are written in a form that both versions type alike.
_Dumper.add_representer(float, lambda dumper, value: dumper.represent_scalar(_TAG + "float", _float_text(value)))
# Line breaks that only some readers take for such, and other invisible characters, are safe as escapes alone.
_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"')
)
_Dumper.add_representer(int, lambda dumper, value: dumper.represent_scalar(_TAG + "int", str(value)))


def _float_text(value: float) -> str:
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


class _Reader:
    """Turns the node graph into plain data, noting lines and refusing what is not plain."""

    def __init__(self, name: str, kind: type[UserError]) -> None:
        self.name, self.kind = name, kind
        self.lines: dict[KeyPath, int] = {}
        self.texts: dict[KeyPath, str] = {}
        self.values = 0
        self.open: set[int] = set()

    def value(self, node: Node, path: KeyPath) -> Any:
        """Return the plain value of a node; raises for tags, duplicates, loops and floods."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        self.values += 1
        if self.values > MOST_VALUES:
            raise self._refused(node, "too many values", None, _AT_MOST)
        if isinstance(node, ScalarNode):
            self.texts[path] = node.value
            return self._scalar(node)
        if id(node) in self.open:
            raise self._refused(node, "an alias that contains itself", None, "write the values out")
        self.open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                self._plain_tag(node, "seq")
                return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            self._plain_tag(node, "map")
            return self._mapping(node, path)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise self._refused(key_node, "a key that is not a word", None, "use plain words as keys")
            key = self._scalar(key_node)
            if key in result:
                first = self.lines[(*path, key)]
                raise self._refused(key_node, "duplicate key", key_node.value, f"the first is on line {first}")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.value(value_node, (*path, key))
        return result

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag == _PLAIN:
            return plain_value(node.value)
        self._plain_tag(node, "str")
        return node.value

    def _plain_tag(self, node: Node, plain: str) -> None:
        if node.tag != _TAG + plain:
            shown = node.tag.replace(_TAG, "!!")
            raise self._refused(node, "a tag", shown, "write plain YAML: tags are never obeyed")

    def _refused(self, node: Node, what: str, value: object, remedy: str) -> UserError:
        return self.kind(what, f"{self.name}:{node.start_mark.line + 1}", value, remedy)


def plain_value(text: str) -> Any:
    """Return what an unquoted word means in the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else _decimal(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def _decimal(text: str) -> int | float:
    # Python refuses to read integers of thousands of digits; as a float they are merely infinite.
    return int(text) if len(text) < 300 else float(text)
