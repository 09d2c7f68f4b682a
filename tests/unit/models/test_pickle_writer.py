"""What the writer of pickles writes, Python reads back, and our own inert reader as well."""

from __future__ import annotations

import pickle
import pickletools
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_yolo.errors import CheckpointError
from accel_yolo.models.inert_pickle import Stub, TensorRecord, read_inert
from accel_yolo.models.pickle_opcodes import MAX_INTEGER_BITS
from accel_yolo.models.pickle_writer import FrozenParameter, Instance, PickleWriter

TEXT = st.one_of(st.text(max_size=12), st.just("\udce9.pt"))
WHOLE = st.integers(1 - 2**MAX_INTEGER_BITS, 2**MAX_INTEGER_BITS - 1)
SCALARS = st.one_of(st.none(), st.booleans(), WHOLE, st.floats(allow_nan=False), TEXT)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.one_of(TEXT, st.integers(-5, 300)), inner, max_size=5),
        st.dictionaries(TEXT, inner, max_size=5).map(OrderedDict),
    ),
    max_leaves=12,
)


@settings(max_examples=50)
@given(PLAIN)
def test_plain_values_come_back_equal_and_of_the_same_kind(value):
    content = PickleWriter().pickled(value)
    back = pickle.loads(content)
    assert back == value and repr(back) == repr(value)
    assert read_inert(content, "x") == value
    assert content[:2] == b"\x80\x02"
    assert all(opcode.proto <= 2 for opcode, _, _ in pickletools.genops(content))


def test_the_largest_numbers_that_are_read_are_those_of_seeds():
    seed = 2**64 - 1
    assert read_inert(PickleWriter().pickled({"seed": seed, "less": -seed}), "x") == {"seed": seed, "less": -seed}
    with pytest.raises(CheckpointError, match="a number too large in the pickle in x: over 64 bits"):
        read_inert(PickleWriter().pickled({"seed": seed + 1}), "x")


def test_a_set_is_written_in_order_so_that_equal_sets_are_equal_bytes():
    content = PickleWriter().pickled({900, 2, 58})
    assert pickle.loads(content) == {2, 58, 900} == read_inert(content, "x")
    assert content == PickleWriter().pickled({58, 900, 2})


def test_a_text_is_written_once_and_recalled_however_many_there_are():
    words = [f"word {number}" for number in range(700)] * 3
    content = PickleWriter().pickled(words)
    assert pickle.loads(content) == words
    assert content.count(b"word 699") == 1


def test_tensors_are_numbered_and_written_contiguous():
    writer = PickleWriter()
    stripes = torch.arange(12.0).reshape(3, 4).T[::2]
    content = writer.pickled({"a": stripes, "b": FrozenParameter(torch.tensor(3)), "c": torch.empty(0).half()})
    found = read_inert(content, "x")
    assert [record.storage.key for record in found.values()] == ["0", "1", "2"]
    assert isinstance(found["a"], TensorRecord)
    assert (found["a"].shape, found["a"].stride, found["a"].storage.count) == ((2, 3), (3, 1), 6)
    assert [record.storage.dtype for record in found.values()] == ["float32", "int64", "float16"]
    assert torch.equal(writer.storages[0], stripes) and writer.storages[0].is_contiguous()


def test_an_object_is_a_class_path_and_attributes():
    content = PickleWriter().pickled(
        [Instance("models.common", "Conv", {"i": 3}), Instance("models.common", "Conv", {})]
    )
    first, second = read_inert(content, "x")
    assert isinstance(first, Stub) and first.foreign == "models.common.Conv" and first.attributes == {"i": 3}
    assert type(second) is type(first) and second.attributes == {}


@pytest.mark.parametrize("value", [object(), {"f": print}, [b"bytes"], 1j, torch.nn.Identity()])
def test_anything_that_is_not_data_is_refused(value):
    with pytest.raises(TypeError, match="cannot write a"):
        PickleWriter().pickled(value)
