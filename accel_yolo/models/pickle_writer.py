"""Writes a pickle that names objects of classes which are not here: the mirror image of `inert_pickle`.

Python's own pickler needs the classes of what it writes. This one is told their names: an `Instance` is a class path
and an attribute dict, and is written as the opcodes (protocol 2) that make whoever has the class build the object. It
knows plain values, tensors and instances, and nothing that would run anything else when it is read.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PROTOCOL = 2
_MARK, _TUPLE, _NONE, _TRUE, _FALSE = b"(", b"t", b"N", b"\x88", b"\x89"
_SHORT_TUPLES = {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}
_EMPTY_LIST, _APPENDS, _EMPTY_DICT, _SETITEMS = b"]", b"e", b"}", b"u"
_NEWOBJ, _BUILD, _REDUCE, _BINPERSID, _STOP = b"\x81", b"b", b"R", b"Q", b"."

_STORAGES = {
    torch.float16: "HalfStorage",
    torch.float32: "FloatStorage",
    torch.float64: "DoubleStorage",
    torch.int64: "LongStorage",
}


@dataclass(frozen=True)
class Instance:
    """An object by the module and name of its class, and the attributes it has."""

    module: str
    name: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class FrozenParameter:
    """A torch Parameter that asks for no gradient."""

    value: Tensor


class PickleWriter:
    """Collects the opcodes of one value; `storages` are the tensors that it refers to, by number."""

    def __init__(self) -> None:
        self.storages: list[Tensor] = []
        self._out = bytearray()
        self._memo: dict[tuple[str, ...], int] = {}

    def pickled(self, value: Any) -> bytes:
        """Return the pickle of `value`.

        Raises:
            TypeError: it holds something that is neither plain nor a tensor nor an `Instance`.
        """
        self._out += bytes((0x80, PROTOCOL))
        self._put(value)
        self._out += _STOP
        return bytes(self._out)

    def _put(self, value: Any) -> None:
        if value is None or isinstance(value, bool):
            self._out += _NONE if value is None else _TRUE if value else _FALSE
        elif isinstance(value, int):
            self._out += _integer(value)
        elif isinstance(value, float):
            self._out += b"G" + struct.pack(">d", value)
        elif isinstance(value, str):
            self._put_text(value)
        elif isinstance(value, (tuple, list)):
            self._put_sequence(value)
        elif isinstance(value, OrderedDict):
            self._put_call("collections", "OrderedDict")
            self._put_items(value)
        elif isinstance(value, dict):
            self._out += _EMPTY_DICT
            self._put_items(value)
        elif isinstance(value, set):
            self._put_call("__builtin__", "set", sorted(value))
        elif isinstance(value, Instance):
            self._put_global(value.module, value.name)
            self._out += _SHORT_TUPLES[0] + _NEWOBJ
            self._put(value.attributes)
            self._out += _BUILD
        elif isinstance(value, FrozenParameter):
            self._put_call("torch._utils", "_rebuild_parameter", value.value, False, OrderedDict())
        elif isinstance(value, Tensor):
            self._put_tensor(value)
        else:
            raise TypeError(f"cannot write a {type(value).__name__} into a pickle")

    def _put_text(self, text: str) -> None:
        if self._recalled(("text", text)):
            return
        content = text.encode("utf-8", "surrogatepass")
        self._out += b"X" + struct.pack("<I", len(content)) + content
        self._remember(("text", text))

    def _put_global(self, module: str, name: str) -> None:
        if self._recalled(("global", module, name)):
            return
        self._out += f"c{module}\n{name}\n".encode("ascii")
        self._remember(("global", module, name))

    def _put_sequence(self, values: tuple[Any, ...] | list[Any]) -> None:
        if isinstance(values, list):
            self._out += _EMPTY_LIST
            if not values:
                return
        if isinstance(values, list) or len(values) not in _SHORT_TUPLES:
            self._out += _MARK
        for value in values:
            self._put(value)
        self._out += _APPENDS if isinstance(values, list) else _SHORT_TUPLES.get(len(values), _TUPLE)

    def _put_items(self, items: dict[Any, Any]) -> None:
        """Fill the map on top of the stack."""
        if not items:
            return
        self._out += _MARK
        for key, value in items.items():
            self._put(key)
            self._put(value)
        self._out += _SETITEMS

    def _put_call(self, module: str, name: str, *arguments: Any) -> None:
        self._put_global(module, name)
        self._put_sequence(arguments)
        self._out += _REDUCE

    def _put_tensor(self, tensor: Tensor) -> None:
        """A tensor is a whole storage of its own, contiguous."""
        tensor = tensor.detach().cpu().contiguous()
        key = str(len(self.storages))
        self.storages.append(tensor)
        self._put_global("torch._utils", "_rebuild_tensor_v2")
        self._out += _MARK + _MARK
        self._put("storage")
        self._put_global("torch", _STORAGES[tensor.dtype])
        for value in (key, "cpu", tensor.numel()):
            self._put(value)
        self._out += _TUPLE + _BINPERSID
        for value in (0, tuple(tensor.shape), tuple(tensor.stride()), False, OrderedDict()):
            self._put(value)
        self._out += _TUPLE + _REDUCE

    def _recalled(self, key: tuple[str, ...]) -> bool:
        """Refer to what was written before, if it was."""
        number = self._memo.get(key)
        if number is not None:
            self._out += _numbered(b"h", b"j", number)
        return number is not None

    def _remember(self, key: tuple[str, ...]) -> None:
        self._memo[key] = len(self._memo)
        self._out += _numbered(b"q", b"r", self._memo[key])


def _numbered(short: bytes, long: bytes, number: int) -> bytes:
    return short + bytes((number,)) if number < 256 else long + struct.pack("<I", number)


def _integer(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return b"K" + bytes((value,))
    if 0 <= value < 1 << 16:
        return b"M" + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes((len(content),)) + content
