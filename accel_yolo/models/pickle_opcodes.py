"""Reads the opcodes of a foreign pickle without obeying them; refuses what would take memory or time without bounds.

Only those are allowed that PyTorch and NumPy write. Bounded are their number, the stack, numbers, memo numbers and
nesting; keys are words or numbers.
"""

from __future__ import annotations

import pickletools

from accel_yolo.errors import CheckpointError, first_line

MAX_OPCODES = 1_000_000
"""The largest published model takes a tenth of it, a training checkpoint of that model a third."""
MAX_STACK = 10_000
"""Values that wait to be put into a container; writers put a thousand at a time."""
MAX_NESTING = 200
MAX_INTEGER_BITS = 64
"""Seeds have so many; with more, any number of keys can be given the same hash."""

_OPCODES = frozenset((
    "PROTO", "STOP", "FRAME", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1",
    "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "BINGET",
    "LONG_BINGET", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "NEWOBJ",
    "BINPERSID",
))  # fmt: skip
_FILLS_A_CONTAINER = frozenset(("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"))
_KEYS = {"SETITEM": 2, "SETITEMS": 2, "ADDITEMS": 1}
"""Opcodes that fill maps and sets, and how many values make one entry, its key first."""
_WEIGHTS = {"EMPTY_SET": 4}
"""A set takes several times the memory of other values."""

WHY = "refused: the file asks for something that a YOLOv5 checkpoint does not hold; nothing was executed"
_MARK = -1


def check_opcodes(content: bytes, where: str) -> None:
    """Refuse what no checkpoint holds, before anything is obeyed.

    Nesting is followed through stack and memo: hashing a tuple of a hundred thousand levels would end the process.

    Raises:
        CheckpointError: with the rule that is broken, or damage.
    """
    reading = _Reading(where)
    try:
        for opcode, argument, _ in pickletools.genops(content):
            reading.take(opcode, argument)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise CheckpointError("damaged pickle", where, first_line(error), "get the file again") from error


class _Reading:
    """The stack of nesting depths after each opcode; a word or a number has depth 0."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.count = 0
        self.depths: list[int] = []
        self.memo: dict[int, int] = {}

    def take(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        """Follow one opcode."""
        name = opcode.name
        if name not in _OPCODES:
            raise self._refused("forbidden opcode in the pickle", name)
        self.count += _WEIGHTS.get(name, 1)
        if self.count > MAX_OPCODES:
            raise self._refused("too many values in the pickle", f"over {MAX_OPCODES} opcodes")
        if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(self.memo) if name == "MEMOIZE" else _number(argument)
            if index > self.count:
                raise self._refused("forbidden memo number in the pickle", index)
            self.memo[index] = self.depths[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._push(self.memo[_number(argument)])
        elif name == "MARK":
            self._push(_MARK)
        else:
            if name in ("LONG1", "LONG4") and _number(argument).bit_length() > MAX_INTEGER_BITS:
                raise self._refused("a number too large in the pickle", f"over {MAX_INTEGER_BITS} bits")
            self._apply(opcode)

    def _push(self, depth: int) -> None:
        if depth > MAX_NESTING:
            raise self._refused("values nested too deep in the pickle", f"over {MAX_NESTING} levels")
        self.depths.append(depth)
        if len(self.depths) > MAX_STACK:
            raise self._refused("too many values in the pickle", f"over {MAX_STACK} at once")

    def _apply(self, opcode: pickletools.OpcodeInfo) -> None:
        """Take from the stack what an opcode takes, and push the depth of what it leaves."""
        taken: list[int] = []
        before = list(opcode.stack_before)
        if pickletools.markobject in before:
            while (depth := self.depths.pop()) != _MARK:
                taken.append(depth)
            before = before[: before.index(pickletools.markobject)]
        given = len(taken)
        for _ in before:
            taken.append(self.depths.pop())
        self._check_keys(opcode.name, taken[: given or len(taken) - 1])
        for _ in opcode.stack_after:
            if opcode.name in _FILLS_A_CONTAINER:
                # The container came last off the stack; filling it does not deepen it, what is filled in may.
                self._push(max([taken[-1], *(depth + 1 for depth in taken[:-1])]))
            else:
                self._push(max(taken, default=-1) + 1)

    def _check_keys(self, name: str, filled_in: list[int]) -> None:
        # The hash of a tuple can be aimed at, and a map of keys with the same hash takes a time that is quadratic.
        step = _KEYS.get(name)
        if step is not None and any(filled_in[step - 1 :: step]):
            raise self._refused("a key that is no word or number in the pickle", None)

    def _refused(self, what: str, value: object) -> CheckpointError:
        return CheckpointError(what, self.where, value, WHY)


def _number(argument: object) -> int:
    assert isinstance(argument, int)  # all opcodes that come here have one
    return argument
