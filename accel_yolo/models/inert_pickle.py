"""Reads a foreign pickle into inert data: nothing that the pickle names is imported or called.

Two walls. First the opcodes are read without being obeyed: only those that PyTorch and NumPy write are allowed,
memo numbers are bounded, and so is nesting. Then `pickle.Unpickler` runs with a `find_class` that answers from a
table of this module's own stand-ins; any other name is an error. A tensor becomes a `TensorRecord` (where its numbers
lie), a module a `Stub` (its attributes), everything else that is harmless an `Opaque`.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from dataclasses import dataclass
from typing import Any

from accel_yolo.errors import CheckpointError

MAX_PICKLE_BYTES = 64 << 20
MAX_NESTING = 200

_OPCODES = frozenset((
    "PROTO", "STOP", "FRAME", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1",
    "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "BINGET",
    "LONG_BINGET", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "NEWOBJ",
    "BINPERSID",
))  # fmt: skip
_FILLS_A_CONTAINER = frozenset(("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"))
_WHY = "refused: the file asks for something that a YOLOv5 checkpoint does not hold; nothing was executed"


@dataclass(frozen=True)
class Storage:
    """Numbers in the archive: entry `data/<key>`, `count` items of `dtype`."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class TensorRecord:
    """A strided view of a storage; `torch_archive` checks the bounds and reads it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class StorageType:
    """Stands for torch.HalfStorage and its like."""

    dtype: str


class Stub:
    """Stands for an object of a foreign class: its attributes, and nothing that runs."""

    foreign = ""
    """Full name of the class it stands for."""

    attributes: dict[str, Any]

    def __new__(cls, *_: object) -> Stub:
        """Return an instance; a pickle never calls `__init__`."""
        stub = super().__new__(cls)
        stub.attributes = {}
        return stub

    def __setstate__(self, state: object) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.attributes.update(part)

    def __reduce__(self) -> Any:
        raise TypeError("a stand-in of a foreign object is not written anywhere")

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the foreign object, from its modules, buffers or parameters as well."""
        for place in (self.attributes, *(self.part(part) for part in ("_modules", "_buffers", "_parameters"))):
            if name in place:
                return place[name]
        return default

    def part(self, name: str) -> dict[str, Any]:
        """Return a map of the foreign module, such as `_modules`; empty when absent."""
        value = self.attributes.get(name)
        return value if isinstance(value, dict) else {}

    @property
    def class_name(self) -> str:
        """Name of the foreign class without its module."""
        return self.foreign.rpartition(".")[2]


class Opaque:
    """Stands for a value that nobody needs (NumPy numbers, devices)."""

    def __new__(cls, *_: object) -> Opaque:
        """Return an instance, whatever the arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _Map(dict):
    def __setstate__(self, state: object) -> None:
        pass


def _ordered_dict(pairs: Any = ()) -> _Map:
    return _Map(pairs)


def _set(items: Any = ()) -> set[Any]:
    return set(items)


def _path(*parts: Any) -> str:
    return "/".join(str(part) for part in parts)


def _shape(numbers: Any = ()) -> tuple[Any, ...]:
    return tuple(numbers)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: object) -> TensorRecord:
    sizes = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or any(type(size) is not int for size in sizes):
        raise ValueError("a tensor without a storage")
    return TensorRecord(storage, offset, tuple(shape), tuple(stride))


def _parameter(tensor: Any, *_: object) -> Any:
    return tensor


_DTYPES = {
    "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "FloatStorage": "float32", "DoubleStorage": "float64",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip

_STAND_INS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("__builtin__", "set"): _set,
    ("builtins", "set"): _set,
    ("torch", "Size"): _shape,
    ("torch", "device"): Opaque,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("_codecs", "encode"): Opaque,
    ("numpy", "ndarray"): Opaque,
    ("numpy", "dtype"): Opaque,
    **{("torch", name): StorageType(dtype) for name, dtype in _DTYPES.items()},
    **{("torch", name): Opaque() for name in ("float16", "bfloat16", "float32", "float64", "int64")},
    **{(f"numpy.{core}.multiarray", name): Opaque for core in ("core", "_core") for name in ("_reconstruct", "scalar")},
    **{
        (module, name): _path
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    },
}

_FRAMEWORK = {
    "activation": "SiLU ReLU ReLU6 LeakyReLU ELU GELU Hardswish Mish Sigmoid Tanh MultiheadAttention",
    "batchnorm": "BatchNorm2d",
    "container": "Sequential ModuleList ModuleDict",
    "conv": "Conv2d ConvTranspose2d",
    "dropout": "Dropout",
    "linear": "Linear Identity NonDynamicallyQuantizableLinear",
    "normalization": "LayerNorm GroupNorm",
    "padding": "ZeroPad2d",
    "pooling": "MaxPool2d AvgPool2d AdaptiveAvgPool2d",
    "upsampling": "Upsample",
}
FRAMEWORK_CLASSES = frozenset(
    (f"torch.nn.modules.{part}", name) for part, names in _FRAMEWORK.items() for name in names.split()
)
"""Module and name of the classes of torch that a checkpoint may name."""

_STUBBED_MODULES = frozenset(("models.yolo", "models.common", "models.experimental"))


def read_inert(content: bytes, where: str) -> Any:
    """Return the data of a pickle as plain containers, numbers, texts and this module's stand-ins.

    Raises:
        CheckpointError: an opcode or a name that is not allowed (with its name), or damage.
    """
    if len(content) > MAX_PICKLE_BYTES:
        raise CheckpointError("pickle too large", where, f"{len(content)} bytes", "not a YOLOv5 checkpoint")
    _check_opcodes(content, where)
    try:
        return _InertUnpickler(content, where).load()
    except CheckpointError:
        raise
    # A hostile or damaged pickle can make the stand-ins fail in any way; each means the same to the user.
    except Exception as error:
        raise CheckpointError("unreadable pickle", where, _first_line(error), "get the file again") from error


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, content: bytes, where: str) -> None:
        super().__init__(io.BytesIO(content))
        self.where = where
        self.stubs: dict[tuple[str, str], type[Stub]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a global; never imports."""
        key = (module, name)
        if key in _STAND_INS:
            return _STAND_INS[key]
        if key in FRAMEWORK_CLASSES or (module in _STUBBED_MODULES and name.isidentifier()):
            if key not in self.stubs:
                self.stubs[key] = type("Stub", (Stub,), {"foreign": f"{module}.{name}"})
            return self.stubs[key]
        if module.partition(".")[0] == "ultralytics":
            remedy = (
                "anchor-free 'u' and later models are another architecture; use the anchor-based release, yolov5n.pt"
            )
            raise CheckpointError("not a YOLOv5 detector of this family", self.where, f"{module}.{name}", remedy)
        raise CheckpointError("forbidden name in the pickle", self.where, f"{module}.{name}"[:100], _WHY)

    def persistent_load(self, pid: Any) -> Storage:
        """Return where a storage lies in the archive."""
        kind, storage_type, key, _, count = pid
        if kind != "storage" or not isinstance(storage_type, StorageType) or type(count) is not int or count < 0:
            raise ValueError("a reference that is no storage")
        if not isinstance(key, str) or not key.isalnum():
            raise ValueError("a storage without a number")
        return Storage(key, storage_type.dtype, count)


def _check_opcodes(content: bytes, where: str) -> None:
    """Refuse opcodes outside the list, memo numbers beyond reason and deep nesting, before anything is obeyed.

    Nesting is followed through stack and memo: hashing a tuple of a hundred thousand levels would end the process.
    """
    mark = -1
    depths: list[int] = []
    memo: dict[int, int] = {}
    try:
        for opcode, argument, _ in pickletools.genops(content):
            name = opcode.name
            if name not in _OPCODES:
                raise CheckpointError("forbidden opcode in the pickle", where, name, _WHY)
            if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
                index = len(memo) if name == "MEMOIZE" else int(argument or 0)
                if index > len(content):
                    raise CheckpointError("forbidden memo number in the pickle", where, index, _WHY)
                memo[index] = depths[-1]
                continue
            if name in ("BINGET", "LONG_BINGET"):
                depths.append(memo[int(argument or 0)])
                continue
            if name == "MARK":
                depths.append(mark)
                continue
            depth = _applied(opcode, name, depths, mark)
            if depth > MAX_NESTING:
                raise CheckpointError("values nested too deep in the pickle", where, f"over {MAX_NESTING} levels", _WHY)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise CheckpointError("damaged pickle", where, _first_line(error), "get the file again") from error


def _applied(opcode: pickletools.OpcodeInfo, name: str, depths: list[int], mark: int) -> int:
    """Apply one opcode to the stack of nesting depths; return the depth of what it left on top."""
    taken: list[int] = []
    before = list(opcode.stack_before)
    if pickletools.markobject in before:
        while (depth := depths.pop()) != mark:
            taken.append(depth)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        taken.append(depths.pop())
    result = 0
    for _ in opcode.stack_after:
        if name in _FILLS_A_CONTAINER:
            # The container came last off the stack; filling it does not deepen it, what is filled in may.
            result = max([taken[-1], *(depth + 1 for depth in taken[:-1])])
        else:
            result = max(taken, default=-1) + 1
        depths.append(result)
    return result


def _first_line(error: Exception) -> str:
    return (str(error).split("\n")[0] or type(error).__name__)[:200]
