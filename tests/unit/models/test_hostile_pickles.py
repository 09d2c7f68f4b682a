"""A pickle is data: whatever it asks for, nothing runs, nothing is imported, and the user gets one line."""

from __future__ import annotations

import builtins
import functools
import operator
import os
import pickletools
import resource
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel_yolo.errors import CheckpointError
from accel_yolo.models.interop import import_checkpoint


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def refused(path, *words):
    with pytest.raises(CheckpointError) as raised:
        import_checkpoint(path)
    line = str(raised.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


def payload(name: str, canary) -> tuple[object, str]:
    """Return something to pickle that would create `canary`, and the name the refusal must show."""
    touch = f"open({str(canary)!r}, 'w').close()"
    command = f"touch {canary}"
    return {
        "os.system": (Calls(os.system, command), "posix.system"),
        "eval": (Calls(eval, touch), ".eval"),
        "exec": (Calls(exec, touch), ".exec"),
        "import": (Calls(__import__, "antigravity"), ".__import__"),
        "subprocess": (Calls(subprocess.Popen, ["touch", str(canary)]), ".Popen"),
        "open": (Calls(open, str(canary), "w"), "io.open"),
        "partial": (Calls(functools.partial, os.system, command), "functools.partial"),
        "attrgetter": (Calls(operator.attrgetter, "__class__"), "operator.attrgetter"),
        "map": (Calls(list, Calls(map, os.system, [command])), "."),
        "torch.hub": (Calls(torch.hub.load, "somebody/something", "model"), "torch.hub.load"),
        "torch.load": (Calls(torch.load, str(canary)), "torch.serialization.load"),
        "storage": (Calls(torch.storage._load_from_bytes, b"x"), "torch.storage._load_from_bytes"),
        "type": (Calls(type, "X", (), {}), ".type"),
        "globals": (Calls(builtins.globals), ".globals"),
    }[name]


ATTACKS = [
    "os.system", "eval", "exec", "import", "subprocess", "open", "partial", "attrgetter", "map",
    "torch.hub", "torch.load", "storage", "type", "globals",
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_forbidden_call_is_refused_by_name_and_not_made(write_pickle, tmp_path, attack, protocol):
    canary = tmp_path / "canary"
    content, named = payload(attack, canary)
    before = set(sys.modules)
    refused(write_pickle({"model": content}, protocol), named)
    assert not canary.exists()
    assert "antigravity" not in set(sys.modules) - before


@pytest.mark.parametrize("protocol", [0, 1])
def test_opcodes_that_pytorch_does_not_write_are_refused(write_pickle, tmp_path, protocol):
    canary = tmp_path / "canary"
    refused(write_pickle(Calls(os.system, f"touch {canary}"), protocol))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"(S'true'\nios\nsystem\n.", "forbidden opcode"),
        (b"\x80\x02(cos\nsystem\nX\x04\x00\x00\x00trueo.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02X\x02\x00\x00\x00os\x940.", ""),
        (b"\x80\x04\x8c\x05torch\x8c\x0ahub.load.x\x93.", "torch.hub.load.x"),
        (b"\x80\x04\x8c\x0bmodels.yolo\x8c\x0e__init__.a.b.c\x93.", "models.yolo"),
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "memo"),
        (b"\x80\x02cmodels.yolo\nModel\n)\x81}X\x01\x00\x00\x00ab", ""),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"", ""),
        (b".", ""),
        (b"\x80\x02h\x07.", ""),
        (b"\x80\x02t.", ""),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", ""),
        (b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", ""),
        (b"\x80\x02K\x01Q.", ""),
        (b"\x80\x02cos\nsystem\nQ.", "os.system"),
        (b"\x80\x02ctorch\nHalfStorage\n)R.", ""),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", ""),
        (b"\x80\x02ccollections\nOrderedDict\nK\x05\x85R.", ""),
    ],
)
def test_hand_made_pickles_are_refused_in_one_line(write_pickle, body, word):
    refused(write_pickle(body), word)


@pytest.mark.parametrize("start", [b"__builtin__", b"builtins"])
def test_a_chain_of_getattr_is_refused_at_its_first_link(write_pickle, tmp_path, start):
    canary = tmp_path / "canary"
    body = (
        b"\x80\x02c" + start + b"\ngetattr\n(c" + start + b"\n__import__\n" + text("os") + b"\x85R" + text("system")
        + b"tR" + text(f"touch {canary}") + b"\x85R."
    )  # fmt: skip
    refused(write_pickle(body), start.decode() + ".getattr")
    assert not canary.exists()


def test_setstate_gadgets_meet_inert_stand_ins(write_pickle, tmp_path):
    """BUILD hands a state to an object; ours only note it, so that no attribute of a class is ever replaced."""
    canary = tmp_path / "canary"
    body = (
        b"\x80\x02cmodels.yolo\nModel\n)\x81}X\x0c\x00\x00\x00__setstate__X\x01\x00\x00\x00xsb"
        b"}X\x09\x00\x00\x00__class__cmodels.yolo\nDetect\nsb."
    )
    refused(write_pickle(body), "names")
    for allowed in (b"ctorch\nHalfStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"):
        refused(write_pickle(b"\x80\x02" + allowed + b"}X\x08\x00\x00\x00__code__K\x01sb."))
    assert not canary.exists()


def test_the_stand_ins_are_as_before_after_a_pickle_tried_to_change_them(write_pickle, shop, write_pt, tiny):
    refused(write_pickle(b"\x80\x02ctorch._utils\n_rebuild_parameter\n}X\x01\x00\x00\x00aK\x01sb."))
    refused(write_pickle(b"\x80\x02cmodels.yolo\nModel\n}X\x07\x00\x00\x00foreignX\x01\x00\x00\x00xsb."))
    assert len(import_checkpoint(write_pt({"model": shop.model(tiny)})).state) == len(tiny.state_dict())


@pytest.mark.parametrize("wrap", [b"\x85", b"N\x86"])
def test_nesting_that_would_overflow_the_stack_when_hashed_is_refused(write_pickle, wrap):
    body = b"\x80\x02}N" + b"".join(wrap[:-1] + wrap[-1:] for _ in range(300_000)) + b"K\x01s."
    refused(write_pickle(body), "nested too deep")


def test_modules_that_contain_themselves_are_refused(write_pickle):
    body = b"\x80\x02cmodels.yolo\nDetectionModel\n)\x81q\x00}X\x08\x00\x00\x00_modules}X\x05\x00\x00\x00modelh\x00ssb."
    refused(write_pickle(body), "nested too deep")


def tensor_pickle(count: int, offset: int, shape: tuple, stride: tuple, key: str = "0") -> bytes:
    """A model with one parameter whose record says what is asked."""
    record = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        + text(key)
        + text("cpu")
        + number(count)
        + b"tQ"
        + number(offset)
        + numbers(shape)
        + numbers(stride)
        + b"\x89NtR"
    )
    return (
        b"\x80\x02cmodels.yolo\nDetectionModel\n)\x81}"
        + text("_parameters") + b"}" + text("w") + record + b"ssb."
    )  # fmt: skip


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def number(value: int) -> bytes:
    body = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + body


def numbers(values: tuple) -> bytes:
    return b"(" + b"".join(number(value) for value in values) + b"t"


def test_the_maker_of_tensor_records_itself_makes_readable_ones(write_pickle):
    path = write_pickle(tensor_pickle(4, 0, (2, 2), (2, 1)), entries={"archive/data/0": bytes(16)})
    refused(path, "class names")


@pytest.mark.parametrize(
    ("count", "offset", "shape", "stride", "key"),
    [
        (4, 1, (2, 2), (2, 1), "0"),
        (4, -1, (2,), (1,), "0"),
        (4, 0, (2,), (-1,), "0"),
        (4, 0, (-2,), (1,), "0"),
        (4, 0, (1 << 60,), (0,), "0"),
        (4, 0, (2, 2), (1,), "0"),
        (1 << 60, 0, (2,), (1,), "0"),
        (1 << 40, 0, (1 << 40,), (1,), "0"),
        (4, 0, (1,) * 100, (1,) * 100, "0"),
        (-4, 0, (2,), (1,), "0"),
        (3, 0, (2,), (1,), "0"),
        (4, 0, (2,), (1,), "7"),
        (4, 0, (2,), (1,), "../data.pkl"),
    ],
)
def test_tensors_that_lie_about_their_storage_are_refused(write_pickle, count, offset, shape, stride, key):
    path = write_pickle(tensor_pickle(count, offset, shape, stride, key), entries={"archive/data/0": bytes(16)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@given(position=st.integers(0, 1 << 20), value=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_pickle_gives_weights_or_one_line(tiny_pickle, write_pickle, position, value, cut):
    body, entries = tiny_pickle
    position %= len(body)
    damaged = body[:position] if cut else body[:position] + bytes([value]) + body[position + 1 :]
    start = time.monotonic()
    try:
        import_checkpoint(write_pickle(damaged, entries=entries))
    except CheckpointError as error:
        assert "\n" not in str(error)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("key", ["backbone", "head", "activation", "nc", "anchors"])
def test_an_object_in_the_description_of_the_architecture_is_refused(shop, write_pt, tiny, key):
    """Found by benchmarks/fuzz_readers.py."""
    model, odd = shop.model(tiny), shop.named("models.yolo", "Model")()
    if key in ("backbone", "head"):
        model.yaml[key][0][3].append(odd)
    else:
        model.yaml[key] = odd
    refused(write_pt({"model": model}), key)


@pytest.fixture
def tiny_pickle(shop, write_pt, tiny):
    """The pickle and the numbers of a foreign checkpoint."""
    import zipfile

    with zipfile.ZipFile(write_pt({"model": shop.model(tiny)})) as archive:
        names = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    body = names.pop("data.pkl")
    assert any(opcode.name == "REDUCE" for opcode, _, _ in pickletools.genops(body))
    return body, {f"archive/{name}": value for name, value in names.items()}
