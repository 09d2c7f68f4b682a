"""Reads a foreign pickle into inert data: nothing that the pickle names is imported or called.

Two walls. First the opcodes are read without being obeyed (`pickle_opcodes`). Then `pickle.Unpickler` runs with a
`find_class` that answers from a table of this module's own stand-ins; any other name is an error. A tensor becomes a
`TensorRecord` (where its numbers lie), a module a `Stub` (its attributes), all else that is harmless an `Opaque`.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

from accel_yolo.errors import CheckpointError, first_line
from accel_yolo.models.pickle_opcodes import WHY, check_opcodes

MAX_PICKLE_BYTES = 16 << 20
MAX_COPIED = 1_000_000
"""Values that all sets, maps, shapes and objects of a file may take over from others: a few bytes name one again."""
MAX_DIMENSIONS = 16


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

    copies: _Copies
    """Counts what the objects of its file copy."""

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
                self.copies.take(len(part))
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


class _Copies:
    """Counts what the stand-ins of one file copy, and makes those that copy."""

    def __init__(self) -> None:
        self.left = MAX_COPIED

    def take(self, count: int) -> None:
        """Note that so many values are about to be copied."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"more than {MAX_COPIED} values are copied")

    def map_of(self, pairs: Any = ()) -> _Map:
        """Return what stands for an OrderedDict."""
        self.take(len(pairs))
        _check_keys(pairs if isinstance(pairs, dict) else [pair[0] for pair in pairs])
        return _Map(pairs)

    def set_of(self, items: Any = ()) -> set[Any]:
        """Return a set of words and numbers."""
        self.take(len(items))
        _check_keys(items)
        return set(items)

    def path_of(self, *parts: Any) -> str:
        """Return a path as text."""
        if any(not isinstance(part, str) for part in parts):
            raise ValueError("a path that is none")
        self.take(len(parts) + sum(map(len, parts)))
        return "/".join(parts)


def _check_keys(keys: Any) -> None:
    # The hash of a tuple can be aimed at, and a map of keys with the same hash takes a time that is quadratic.
    if any(not isinstance(key, str | int | float | None) for key in keys):
        raise ValueError("a key that is no word or number")


def _shape(numbers: Any = ()) -> tuple[Any, ...]:
    if len(numbers) > MAX_DIMENSIONS:
        raise ValueError("a shape that is none")
    return tuple(numbers)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: object) -> TensorRecord:
    if max(len(shape), len(stride)) > MAX_DIMENSIONS:
        raise ValueError("a shape that is none")
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
}

_PATHS = [
    (module, name)
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
]

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
    check_opcodes(content, where)
    try:
        return _InertUnpickler(content, where).load()
    except CheckpointError:
        raise
    # A hostile or damaged pickle can make the stand-ins fail in any way; each means the same to the user.
    except Exception as error:
        raise CheckpointError("unreadable pickle", where, first_line(error), "get the file again") from error


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, content: bytes, where: str) -> None:
        super().__init__(io.BytesIO(content))
        self.where = where
        self.stubs: dict[tuple[str, str], type[Stub]] = {}
        self.copies = _Copies()
        self.copying = {
            ("collections", "OrderedDict"): self.copies.map_of,
            ("__builtin__", "set"): self.copies.set_of,
            ("builtins", "set"): self.copies.set_of,
            **dict.fromkeys(_PATHS, self.copies.path_of),
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a global; never imports."""
        key = (module, name)
        if key in self.copying:
            return self.copying[key]
        if key in _STAND_INS:
            return _STAND_INS[key]
        if key in FRAMEWORK_CLASSES or (module in _STUBBED_MODULES and name.isidentifier()):
            if key not in self.stubs:
                self.stubs[key] = type("Stub", (Stub,), {"foreign": f"{module}.{name}", "copies": self.copies})
            return self.stubs[key]
        if module.partition(".")[0] == "ultralytics":
            remedy = (
                "anchor-free 'u' and later models are another architecture; use the anchor-based release, yolov5n.pt"
            )
            raise CheckpointError("not a YOLOv5 detector of this family", self.where, f"{module}.{name}", remedy)
        raise CheckpointError("forbidden name in the pickle", self.where, f"{module}.{name}"[:100], WHY)

    def persistent_load(self, pid: Any) -> Storage:
        """Return where a storage lies in the archive."""
        kind, storage_type, key, _, count = pid
        if kind != "storage" or not isinstance(storage_type, StorageType) or type(count) is not int or count < 0:
            raise ValueError("a reference that is no storage")
        if not isinstance(key, str) or not key.isalnum():
            raise ValueError("a storage without a number")
        return Storage(key, storage_type.dtype, count)
