"""Whatever bytes a parser is given, it answers or refuses in one line: it never fails in another way."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hostile.images import BMP, JPEG, PNG, TIFF, WEBP
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accel_yolo.archives import _checked_name
from accel_yolo.config.save_every import SaveEvery
from accel_yolo.config.yaml_io import dump_yaml, parse_yaml
from accel_yolo.data.formats.record import LabelRules
from accel_yolo.data.formats.yolo import parse_yolo
from accel_yolo.data.image_header import orientation_of, plain_header
from accel_yolo.data.images import decode, verify
from accel_yolo.data.problems import BadFile
from accel_yolo.data.whole_image import whole_header
from accel_yolo.engine.checkpoint_reading import verify as verify_checkpoint
from accel_yolo.errors import CheckpointError, ConfigError, DataError
from accel_yolo.models.inert_pickle import read_inert
from accel_yolo.models.weights import load_weights

ONE_FOLDER = [HealthCheck.function_scoped_fixture]
WORDS = st.sampled_from(
    [
        *"-?:,[]{}#&*!|>'\"%@`\\ \n\t",
        "a",
        "1e-3",
        "no",
        "&a",
        "*a",
        "!!int",
        "!!python/name:os.system",
        "<<",
        "---",
        "\0",
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=60).map("".join)))
@example("a: &a [*a]")
@example("<<: {a: 1}")
@example("? {a: 1}\n: 2")
@example("\ud800")
@settings(max_examples=300)
def test_yaml_is_read_or_refused(text: str) -> None:
    try:
        data = parse_yaml(text, "f.yaml").data
    except ConfigError as error:
        assert "f.yaml" in str(error) and "\n" not in str(error)
    else:
        assert (
            parse_yaml(dump_yaml({"kept": data}), "f.yaml").data["kept"] == data
            or data != data
            or "nan" in text.lower()
        )


LINES = st.lists(
    st.sampled_from(
        [b"0", b"1", b".5", b"nan", b"-1", b"1e999", b"x", b" ", b"\t", b"\n", b"\r", b"\0", b"\xff", b"1_0"]
    ),
    max_size=60,
).map(b"".join)


@given(st.one_of(st.binary(max_size=200), LINES), st.booleans())
@settings(max_examples=400)
def test_labels_are_read_or_named_by_line(content: bytes, single_cls: bool) -> None:
    rules = LabelRules(("a", "b", "c"), single_cls=single_cls)
    labels, problems = parse_yolo(content, "f.txt", rules)
    rows = labels.rows
    assert ((rows[:, 1:] >= 0) & (rows[:, 1:] <= 1)).all() and (rows[:, 0] < (1 if single_cls else 3)).all()
    lines = len(content.splitlines())
    assert all(1 <= problem.line <= lines and "\n" not in str(problem) for problem in problems)


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """Bytes, or an image with bytes put in, cut out or written over."""
    content = bytearray(
        draw(st.sampled_from([b"", JPEG[:700], PNG[:200], WEBP[:300], TIFF[:300], BMP[:200], JPEG, PNG]))
    )
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content)))
        content[place : place + draw(st.integers(0, 9))] = draw(st.binary(max_size=9))
    return bytes(content)


@given(pictures())
@settings(max_examples=400)
def test_images_are_read_or_named(content: bytes) -> None:
    header = plain_header(content)
    if header is not None:
        assert 1 <= header.orientation <= 8 and 0 <= header.scan_start <= len(content)
    whole_header(content, 1 << 20)
    for reader in (verify, decode):
        try:
            reader(content, "f.jpg")
        except BadFile as bad:
            assert bad.problem.file == "f.jpg"


@given(st.binary(max_size=100))
def test_an_orientation_is_one_of_eight(block: bytes) -> None:
    assert 1 <= orientation_of(b"Exif\0\0II*\0\x08\0\0\0" + block) <= 8


@given(
    st.one_of(
        st.binary(max_size=100),
        st.lists(
            st.sampled_from(
                [
                    b"\x80\x02",
                    b"(",
                    b"]",
                    b"}",
                    b"N",
                    b"K\1",
                    b"q\0",
                    b"h\0",
                    b"t",
                    b"a",
                    b"e",
                    b"s",
                    b"u",
                    b"b",
                    b"R",
                    b"Q",
                    b"0",
                    b"\x81",
                    b"\x93",
                    b"\x94",
                    b"\x8c\2os",
                    b"\x8c\6system",
                    b"cos\nsystem\n",
                    b"ccollections\nOrderedDict\n",
                    b"ctorch._utils\n_rebuild_tensor_v2\n",
                    b"cmodels.yolo\nModel\n",
                    b")",
                    b"\x85",
                    b".",
                ]
            ),
            max_size=30,
        ).map(b"".join),
    )
)
@settings(max_examples=500)
def test_pickles_are_read_inertly_or_refused(content: bytes) -> None:
    try:
        read_inert(content, "f.pt")
    except CheckpointError as error:
        assert "f.pt" in str(error) and "\n" not in str(error)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.text(max_size=8), st.just("F32")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "accel_yolo", "a"]), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)), st.binary(max_size=20))
@settings(max_examples=200, suppress_health_check=ONE_FOLDER)
def test_safetensors_that_are_none_are_refused(tmp_path: Path, header: bytes, numbers: bytes) -> None:
    file = tmp_path / "f.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + numbers)
    with pytest.raises(CheckpointError) as raised:
        load_weights(file)
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


@given(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.sampled_from(["..", ".", "/", "a", "\\", ":", "\0", "C", "~"]), max_size=8).map("".join),
    )
)
@settings(max_examples=300)
def test_names_in_archives_stay_inside_or_are_refused(name: str) -> None:
    try:
        path = _checked_name(name, "f.zip")
    except DataError as error:
        assert "f.zip" in str(error)
    else:
        inside = Path("/inside")
        assert ((inside / path).resolve()).is_relative_to(inside) and (inside / path) != inside


@given(st.one_of(st.text(max_size=12), st.from_regex(r"[0-9.]{1,4} ?(s|min|h|steps|epochs?)", fullmatch=True)))
def test_intervals_say_one_thing_or_nothing(text: str) -> None:
    every = SaveEvery.of(text)
    if every is not None:
        assert sum(value > 0 for value in (every.seconds, every.steps, every.epochs)) == 1


@given(st.one_of(JSON.map(json.dumps), st.text(max_size=60)))
@settings(max_examples=200, suppress_health_check=ONE_FOLDER)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    for name in ("manifest.json", "MANIFEST.json"):
        (tmp_path / name).write_text(text, "utf-8", errors="replace")
    with pytest.raises(CheckpointError):
        verify_checkpoint(tmp_path)
