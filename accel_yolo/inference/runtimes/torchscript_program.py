"""Which operations a TorchScript file uses, found out without loading it.

A TorchScript file is a program. Loading and running one executes no Python, but its operations include some that read
and write files (`torch.from_file`, `torch.save`). So the text of the program is read first, and only operations that
detectors use are let through. That keeps out programs that do something else; it is no proof against a file made to
harm whoever opens it, which may aim at the reader in torch itself.
"""

from __future__ import annotations

import ast
import functools
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from accel_yolo.errors import CheckpointError

MAX_TEXT_BYTES = 32 << 20

_ALLOWED = """
    _convolution adaptive_avg_pool2d add add_ addmm append arange avg_pool2d batch_norm bmm cat chunk clamp clamp_
    clone constant_pad_nd contiguous conv2d conv_transpose2d copy_ cumsum detach device div div_ dropout empty_like eq
    exp expand expand_as flatten floor floor_divide floordiv format ge gelu gt hardsigmoid hardsigmoid_ hardswish
    hardswish_ hardtanh hardtanh_ index index_select le leaky_relu leaky_relu_ len linear linspace list lt matmul max
    max_pool2d mean meshgrid min mish mish_ mul mul_ narrow ne neg new_ones new_zeros ones ones_like pad permute pow
    prelu relu relu6 relu_ remainder repeat reshape rsub select sigmoid sigmoid_ silu silu_ size slice softmax softplus
    split split_with_sizes sqrt squeeze stack sub sub_ sum tanh tensor to transpose type_as unbind unflatten
    unsafe_chunk unsafe_split unsqueeze upsample_bilinear2d upsample_nearest2d view view_as where zeros
    zeros_like
"""
_OPERATIONS = frozenset(_ALLOWED.split())
_PRIM = frozenset(("NumToTensor", "data", "device", "dtype", "is_cuda", "layout", "max", "min", "unchecked_cast"))
_BUILT_IN = frozenset(
    ("annotate", "bool", "float", "int", "len", "list", "range", "unchecked_cast", "uninitialized", "getattr")
)
_ROOTS = frozenset(("torch", "ops", "__torch__"))


def require_harmless(path: Path) -> None:
    """Check that a TorchScript file uses no operations but those of detectors, without loading it.

    Raises:
        CheckpointError: it does, or it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            texts = _texts(archive, path)
    except (zipfile.BadZipFile, UnicodeDecodeError, OSError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError("damaged TorchScript file", str(path), str(error)[:100], "export it again") from error
    trees = [_parsed(text, str(path)) for text in texts]
    own = _own_names(trees)
    for operation in (found for tree in trees for found in _unknown(tree, own)):
        remedy = "only operations that detectors use are run: give the .onnx export of the model"
        raise CheckpointError("a program with an unknown operation", str(path), operation[:80], remedy)


def _texts(archive: zipfile.ZipFile, path: Path) -> list[str]:
    # Torch finds entries by their names in any case.
    items = {item: item.filename.lower() for item in archive.infolist()}
    if any(name.endswith("/model.json") for name in items.values()):
        raise CheckpointError("a TorchScript file of an old kind", str(path), remedy="give the .onnx export")
    if any(name.endswith(".pkl") and b"torch.classes" in archive.read(item) for item, name in items.items()):
        raise CheckpointError("a program with classes from elsewhere", str(path), remedy="give the .onnx export")
    programs = [item for item, name in items.items() if name.endswith(".py")]
    if sum(item.file_size for item in programs) > MAX_TEXT_BYTES:
        raise CheckpointError("too long a program for a detector", str(path), remedy="give the .onnx export")
    return [archive.read(item).decode("utf-8") for item in programs]


def _parsed(text: str, where: str) -> ast.Module:
    """Return the tree of a program; its text has the grammar of Python. Raises CheckpointError."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError("not a program of TorchScript", where, str(error)[:100], "export it again") from error


def _own_names(trees: Sequence[ast.Module]) -> frozenset[str]:
    """Return the names of the functions and classes whose text is in the file, less those of operations of torch.

    Whether `x.save()` is a function of the program or an operation depends on what x is, which the text does not say.
    """
    kinds = ast.FunctionDef, ast.ClassDef
    own = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}
    return frozenset(own) - _all_operations()


@functools.cache
def _all_operations() -> frozenset[str]:
    """Return the names of all operations that torch's interpreter has, without their spaces."""
    schemas = torch._C._jit_get_all_schemas()
    return frozenset(schema.name.rpartition("::")[2] for schema in schemas)


def _unknown(tree: ast.Module, own: frozenset[str]) -> Iterator[str]:
    """Yield what a program does beside calling what it may call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not _is_known(node.func, own):
            yield ast.unparse(node.func)
        # Under another name an operation would not be known: `len = torch.save`.
        bound = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
        bound = node.arg if isinstance(node, ast.arg) else bound
        if bound in _BUILT_IN or bound in _ROOTS:
            yield f"{bound} = ..."


def _is_known(called: ast.expr, own: frozenset[str]) -> bool:
    """Return whether an operation is one that detectors use, or a function whose text is in the file."""
    if isinstance(called, ast.Name):
        return called.id in _BUILT_IN
    if not isinstance(called, ast.Attribute):
        return False
    space, operation = ast.unparse(called.value), called.attr
    root = space.partition(".")[0]
    if root == "ops":
        known = {"ops.prim": _PRIM | _OPERATIONS, "ops.aten": _OPERATIONS}
        return operation in known.get(space, ())
    if root == "torch":
        return space == "torch" and operation in _OPERATIONS
    # Of a tensor, every operation is a method too: `x.set_(y)` is `torch.set_(x, y)`.
    return operation in _OPERATIONS or operation in own
