"""`.pt` files: pickles that call, climb, nest or flood, tensors that reach outside, zips that are bombs or cut."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.cases import Case

NAME, OPCODE, NOTHING = (
    "forbidden name in the pickle in {file}: ",
    "forbidden opcode in the pickle in {file}: ",
    "refused",
)
DAMAGED, UNREADABLE = "damaged PyTorch file in {file}", "unreadable pickle in {file}"
DAMAGED_PICKLE = "damaged pickle in {file}"


DEFLATED = zipfile.ZIP_DEFLATED


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def views(count: int) -> bytes:
    """Return the pickle of a model with so many parameters, each all of the same million numbers."""
    number_of = 1 << 20
    record = _record(number_of, 0, (number_of,), (1,), "0")
    return _model(b"".join(text(f"w{each}") + record + b"s" for each in range(count)))


def tensor(count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], key: str = "0") -> bytes:
    """Return the pickle of a model with one parameter whose record says what is asked."""
    return _model(text("w") + _record(count, offset, shape, stride, key) + b"s")


def _record(count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], key: str) -> bytes:
    shape_of, stride_of = (b"(" + b"".join(map(number, values)) + b"t" for values in (shape, stride))
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(count) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + shape_of + stride_of + b"\x89NtR"


def _model(parameters: bytes) -> bytes:
    names = text("names") + b"]" + text("a") + b"a"
    attributes = text("_parameters") + b"}" + parameters + b"s" + names + b"s" + text("yaml") + b"}s"
    return b"\x80\x02}" + text("model") + b"cmodels.yolo\nDetectionModel\n)\x81}" + attributes + b"bs."


def archive(body: bytes, entries: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a file as PyTorch writes it, around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        made.writestr("archive/data.pkl", body)
        for name, content in (entries or {}).items():
            made.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def _calling(name: str, make: Callable[[Path], Any], *words: str, protocol: int = 2) -> Case:
    """Return a file whose pickle calls something with the path of the canary."""

    def write(path: Path, canary: Path) -> None:
        path.write_bytes(archive(pickle.dumps({"model": make(canary)}, protocol)))

    return Case(name, "model.pt", write, 4, (*words, "nothing was executed"))


def _of(name: str, content: bytes, *words: str) -> Case:
    return Case(name, "model.pt", lambda path, _: path.write_bytes(content), 4, words)


def _pickle(name: str, body: bytes, *words: str) -> Case:
    return _of(name, archive(body), *words)


def _raw(name: str, make: Callable[[Path], bytes], *words: str) -> Case:
    return Case(name, "model.pt", lambda path, canary: path.write_bytes(make(canary)), 4, words)


def twice() -> bytes:
    import warnings

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            made.writestr("archive/data.pkl", b"\x80\x02N.")
    return buffer.getvalue()


def lying_size() -> bytes:
    """Return an archive whose pickle says that it has four gigabytes."""
    content = bytearray(archive(b"\x80\x02N."))
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    return bytes(content)


WHOLE = archive(pickle.dumps({"model": None}, 2))
DEEP = b"\x80\x02}N" + b"\x85" * 300_000 + b"K\x01s."
MEMO_BOMB = b"\x80\x02]q\x00" + b"".join(
    b"(" + b"h" + bytes([n]) + (b"h" + bytes([n])) * 9 + b"lq" + bytes([n + 1]) for n in range(60)
) + b"."  # fmt: skip
SELF = b"\x80\x02cmodels.yolo\nDetectionModel\n)\x81q\x00}" + text("_modules") + b"}" + text("model") + b"h\x00ssb."
SETS = b"\x80\x02" + b"\x8f" * 1_500_000 + b"."


def colliding() -> bytes:
    """Return a map whose keys all have the same hash."""
    keys = (number * ((1 << 61) - 1) for number in range(1, 20_001))
    packed = (key.to_bytes((key.bit_length() + 8) // 8, "little") for key in keys)
    return b"\x80\x02}(" + b"".join(b"\x8a" + bytes([len(each)]) + each + b"N" for each in packed) + b"u."


def copied(again: bytes) -> bytes:
    """Return a list of 9 000 words, handed to an opcode sequence over and over again."""
    words = b"".join(b"K" + bytes([each % 256]) for each in range(9_000))
    return b"\x80\x02](" + words + b"e\x85q\x000]q\x010" + again + b"N."


def _paths() -> bytes:
    """Return a path of twice the path before, and so on."""
    start = b"\x80\x02cpathlib\nPosixPath\nq\x000" + text("word") + b"q\x010"
    return start + b"h\x00(h\x01h\x01tRq\x010" * 100 + b"h\x01."


ZEROS = {"data/0": bytes(16)}

TORCH_FILES = [
    _calling("os.system", lambda canary: Calls(os.system, f"touch {canary}"), NAME + "posix.system", NOTHING),
    _calling(
        "os.system in protocol 4", lambda canary: Calls(os.system, f"touch {canary}"), NAME + "posix.system", protocol=4
    ),
    _calling("os.system in protocol 0", lambda canary: Calls(os.system, f"touch {canary}"), "forbidden", protocol=0),
    _calling("eval", lambda canary: Calls(eval, f"open({str(canary)!r}, 'w')"), NAME, ".eval"),
    _calling("exec", lambda canary: Calls(exec, f"open({str(canary)!r}, 'w')"), NAME, ".exec"),
    _calling("open", lambda canary: Calls(open, str(canary), "w"), NAME, "io.open"),
    _calling("subprocess", lambda canary: Calls(subprocess.Popen, ["touch", str(canary)]), NAME, ".Popen"),
    _calling("getattr", lambda canary: Calls(getattr, Calls(__import__, "os"), "system"), NAME, ".getattr"),
    _calling("a type", lambda canary: Calls(type, "X", (), {}), NAME, ".type"),
    _calling("globals", lambda canary: Calls(builtins.globals), NAME, ".globals"),
    _pickle("a name made on the stack", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", NAME + "os.system"),
    _pickle("a dotted name", b"\x80\x04\x8c\x05torch\x8c\x08hub.load\x93)R.", NAME + "torch.hub.load"),
    _pickle("an attribute of a known module", b"\x80\x04\x8c\x0bmodels.yolo\x8c\x0e__init__.a.b.c\x93.", NAME),
    _pickle("a new object of a foreign class", b"\x80\x02cposix\nsystem\n" + text("true") + b"\x85\x81.", NAME),
    _pickle("an object by the old opcode", b"\x80\x02(cos\nsystem\n" + text("true") + b"o.", OPCODE + "OBJ"),
    _pickle("an instance by the old opcode", b"\x80\x02(" + text("true") + b"ios\nsystem\n.", OPCODE + "INST"),
    _pickle("a registered extension", b"\x80\x02\x82\x01.", OPCODE + "EXT1"),
    _pickle("a persistent name", b"\x80\x02cos\nsystem\nQ.", NAME + "os.system"),
    _pickle("a persistent number", b"\x80\x02K\x01Q.", UNREADABLE),
    _pickle("a memo of two billion", b"\x80\x02Nr\xff\xff\xff\x7f.", "forbidden memo number in the pickle in {file}"),
    _pickle("lists of lists of lists", MEMO_BOMB, "{file}"),
    _pickle("three hundred thousand levels", DEEP, "nested too deep", "{file}"),
    _pickle("a module in itself", SELF, "nested too deep", "{file}"),
    _pickle("a text of two gigabytes", b"\x80\x02X\xff\xff\xff\x7fabc.", DAMAGED_PICKLE),
    _pickle("bytes of eight exabytes", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"abc.", "{file}"),
    _pickle("a number of two gigabytes", b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", DAMAGED_PICKLE),
    _pickle("a million and a half of sets", SETS, "too many values in the pickle in {file}", NOTHING),
    _pickle(
        "sets within a list",
        b"\x80\x02]" + (b"(" + b"\x8f" * 1_000 + b"e") * 1_000 + b".",
        "too many values in the pickle in {file}: over 1000000 opcodes",
    ),
    _pickle("keys of the same hash", colliding(), "a number too large in the pickle in {file}: over 64 bits"),
    _pickle("tuples as keys", b"\x80\x02}K\x01K\x02\x86Ns.", "a key that is no word or number in the pickle in {file}"),
    _pickle("tuples in a set", b"\x80\x02\x8f(NK\x01K\x02\x86\x90.", "a key that is no word or number in the pickle"),
    _pickle(
        "tuples in a set by name",
        b"\x80\x02cbuiltins\nset\n](K\x01K\x02\x86e\x85R.",
        UNREADABLE + ": a key that is no word or number",
    ),
    _pickle(
        "a set, made again and again",
        copied(b"cbuiltins\nset\n0" + b"cbuiltins\nset\nh\x00R0" * 10_000),
        UNREADABLE + ": more than 1000000 values are copied",
    ),
    _pickle("a path that doubles", _paths(), UNREADABLE + ": more than 1000000 values are copied"),
    _pickle("a memo number beyond its values", b"\x80\x02Nr\x00\x00\x10\x00.", "forbidden memo number in the pickle"),
    _pickle("an empty pickle", b"", DAMAGED_PICKLE),
    _pickle("a pickle that pops from nothing", b"\x80\x02t.", DAMAGED_PICKLE),
    _pickle(
        "a later YOLO", b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n)\x81.", "not a YOLOv5 detector", "{file}"
    ),
    _of(
        "a tensor past its storage",
        archive(tensor(4, 1, (2, 2), (2, 1)), ZEROS),
        "a tensor reaches outside its storage",
    ),
    _of(
        "a negative offset", archive(tensor(4, -1, (2,), (1,)), ZEROS), "a tensor reaches outside its storage in {file}"
    ),
    _of(
        "a negative stride", archive(tensor(4, 3, (2,), (-1,)), ZEROS), "a tensor reaches outside its storage in {file}"
    ),
    _of("a negative side", archive(tensor(4, 0, (-2,), (1,)), ZEROS), "a tensor reaches outside its storage in {file}"),
    _of(
        "an endless tensor of one number", archive(tensor(4, 0, (1 << 60,), (0,)), ZEROS), "reaches outside its storage"
    ),
    _of(
        "a storage of exabytes", archive(tensor(1 << 60, 0, (2,), (1,)), ZEROS), "an entry has the wrong size in {file}"
    ),
    _of("a storage that is not there", archive(tensor(4, 0, (2,), (1,), "7"), ZEROS), DAMAGED),
    _of("a storage of another name", archive(tensor(4, 0, (2,), (1,), "../data.pkl"), ZEROS), UNREADABLE),
    _of("a zip bomb", archive(bytes(300 << 20), method=DEFLATED), "an entry has the wrong size in {file}"),
    _of(
        "a storage that inflates",
        archive(tensor(40 << 20, 0, (2,), (1,)), {"data/0": bytes(160 << 20)}, DEFLATED),
        "a compressed entry, which PyTorch never writes",
    ),
    _of(
        "a thousand views of the same numbers",
        archive(views(1_000), {"data/0": bytes(4 << 20)}),
        "tensors without bounds in {file}",
    ),
    _of("a pickle that lies about its size", lying_size(), "an entry has the wrong size in {file}"),
    _of("two pickles", twice(), "repeated entries in {file}"),
    _of("a zip cut in the middle", WHOLE[: len(WHOLE) // 2], "truncated or damaged PyTorch file in {file}"),
    _of("a zip without a pickle", archive(b"").replace(b"data.pkl", b"date.pkl"), "no data.pkl inside in {file}"),
    _of("a TorchScript file", archive(b"\x80\x02N.", {"constants.pkl": b""}), "a TorchScript file, not a checkpoint"),
    _of("a web page", b"<!doctype html>", "a web page, not weights in {file}"),
    _of("zero bytes", b"", "empty file in {file}"),
    _of("random bytes", b"\x07" + os.urandom(500), "not a PyTorch file in {file}"),
    _raw(
        "the format of before 2020",
        lambda canary: pickle.dumps(Calls(os.system, f"touch {canary}"), 2),
        "the file format before PyTorch 1.6 is not supported in {file}",
    ),
]


def converted(path: Path) -> list[str]:
    """Return the command that opens a weights file."""
    return ["convert", str(path), str(path.parent / "converted.safetensors")]
