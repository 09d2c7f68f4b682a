"""A weights file carries everything needed to use it, says where it comes from, and is never trusted."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from accel_yolo import fetch
from accel_yolo.errors import CheckpointError, EnvironmentFault
from accel_yolo.files import sha256_file
from accel_yolo.models import weights as weights_module
from accel_yolo.models.convert import convert
from accel_yolo.models.licence import KEY
from accel_yolo.models.weights import (
    WeightsMeta,
    detector_from_weights,
    find_weights,
    load_weights,
    save_weights,
    transfer,
)
from accel_yolo.models.zoo import build_detector, model_spec


@pytest.fixture
def saved(tiny, tmp_path) -> Path:
    path = tmp_path / "runs" / "best.safetensors"
    save_weights(path, tiny, WeightsMeta.of(tiny, 320, "trained from scratch on demo"))
    return path


def refused(path: Path, *words: str, kind=CheckpointError) -> None:
    with pytest.raises(kind) as raised:
        load_weights(path)
    line = str(raised.value)
    assert "\n" not in line and str(path.name) in line
    for word in words:
        assert word in line, line


def test_a_saved_detector_comes_back_equal(tiny, saved):
    weights = load_weights(saved)
    detector = detector_from_weights(weights)
    assert list(detector.state_dict()) == list(tiny.state_dict())
    for key, value in tiny.state_dict().items():
        assert torch.equal(detector.state_dict()[key], value), key
    assert (detector.names, detector.strides, detector.spec) == (tiny.names, tiny.strides, tiny.spec)
    meta = weights.meta
    assert (meta.imgsz, meta.licence, meta.provenance) == (320, "not stated", ("trained from scratch on demo",))
    assert meta.anchors_px == tiny.anchors_px.tolist()
    assert all(parameter.requires_grad for parameter in detector.parameters())


def test_changing_a_loaded_detector_does_not_change_the_weights_it_came_from(saved):
    weights = load_weights(saved)
    before = weights.state["model.0.conv.weight"].clone()
    detector = detector_from_weights(weights)
    with torch.no_grad():
        detector.model[0].conv.weight.zero_()
    assert torch.equal(weights.state["model.0.conv.weight"], before)


def test_equal_weights_are_equal_bytes_whatever_the_memory_format(tiny, saved, tmp_path):
    again = tmp_path / "again.safetensors"
    last = tiny.to(memory_format=torch.channels_last)
    save_weights(again, last, WeightsMeta.of(tiny, 320, "trained from scratch on demo"))
    assert sha256_file(again) == sha256_file(saved)


def test_the_file_has_ordinary_rights(saved):
    umask = os.umask(0)
    os.umask(umask)
    assert saved.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_half_precision_detector_is_saved_in_float32(tiny, tmp_path):
    save_weights(tmp_path / "half.safetensors", tiny.half(), WeightsMeta.of(tiny, 320, "x"))
    state = load_weights(tmp_path / "half.safetensors").state
    assert {v.dtype for v in state.values()} == {torch.float32, torch.int64}


def test_a_fused_detector_is_not_saved(tiny, tmp_path):
    with pytest.raises(ValueError, match="fused"):
        save_weights(tmp_path / "x.safetensors", tiny.fuse(), WeightsMeta.of(tiny, 320, "x"))
    assert not (tmp_path / "x.safetensors").exists()


def test_licence_and_provenance_follow_weights_through_fine_tuning(tiny, tiny_spec):
    parent = WeightsMeta.of(tiny, 640, "imported")
    parent = WeightsMeta(**{**vars(parent), "licence": "AGPL-3.0"})
    child_detector = build_detector(tiny_spec, {0: "a", 1: "b", 2: "c"})
    child = parent.derived("fine-tuned on mine.yaml", child_detector, 320).derived("converted")
    assert child.licence == "AGPL-3.0"
    assert child.provenance == ("imported", "fine-tuned on mine.yaml", "converted")
    assert (len(child.names), child.imgsz, child.spec["nc"]) == (3, 320, 3)


def test_metadata_survives_names_of_any_script(tiny_spec, tmp_path):
    names = {0: "人", 1: 'quote " and \\ and\nnewline'}
    detector = build_detector(tiny_spec, names)
    save_weights(tmp_path / "w.safetensors", detector, WeightsMeta.of(detector, 64, "é"))
    assert load_weights(tmp_path / "w.safetensors").meta.names == names


# Reading what others wrote


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    refused(saved)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 64,
        (1 << 62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (40).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}'[:40] + b"\0" * 4,
        (100_000).to_bytes(8, "little") + b"{" + b'"a":[' * 20_000,
        (60_000).to_bytes(8, "little") + b'{"__metadata__":' + b"[" * 59_984,
    ],
)
def test_a_hostile_header_is_refused_at_once(tmp_path, content):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    start = time.monotonic()
    refused(path)
    assert time.monotonic() - start < 1


def test_a_huge_header_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "hostile.safetensors"
    with path.open("wb") as stream:
        stream.write((50 << 20).to_bytes(8, "little") + b"{")
        stream.truncate((50 << 20) + 8)
    refused(path, "header too large")


def with_metadata(saved: Path, **changes: object) -> Path:
    weights = load_weights(saved)
    fields = {**json.loads(weights.meta.to_json()), **changes}
    save_file(weights.state, saved, metadata={KEY: json.dumps(fields)})
    return saved


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"format": 99}, "another format"),
        ({"names": {"0": "a"}}, "names"),
        ({"names": []}, "names"),
        ({"strides": ["8"]}, "strides"),
        ({"imgsz": "640"}, "imgsz"),
        ({"spec": 5}, "map"),
        ({"spec": {"backbone": [], "head": [], "anchors": 3, "evil": 1}}, "evil"),
        ({"anchors_px": [[1]]}, "metadata"),
        ({"provenance": "x"}, "provenance"),
        ({"licence": None}, "licence"),
    ],
)
def test_wrong_metadata_is_named(saved, changes, word):
    refused(with_metadata(saved, **changes), word)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format": 1}', "null"])
def test_metadata_that_is_no_object_is_refused(saved, text):
    save_file(load_weights(saved).state, saved, metadata={KEY: text})
    refused(saved)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"w": torch.zeros(3)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "no accel_yolo metadata")


def test_entries_that_do_not_fit_are_listed_by_name_and_shape(saved):
    weights = load_weights(saved)
    weights.state.pop("model.1.bn.bias")
    weights.state["model.0.conv.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"model\.1\.bn\.bias missing, model\.0\.conv\.weight \[1\] instead of"):
        detector_from_weights(weights)


def test_the_kind_of_a_file_is_told_by_content_not_by_name(saved, tiny):
    renamed = saved.rename(saved.with_name("best.pt"))
    assert len(load_weights(renamed).state) == len(tiny.state_dict())


# Moving weights into another detector


def test_a_different_number_of_classes_keeps_everything_but_the_head(published_weights, capsys):
    weights = load_weights(published_weights)
    detector = build_detector(weights.meta.spec, {0: "a", 1: "b", 2: "c"})
    assert transfer(detector, weights.state) == (343, 349)
    assert torch.equal(detector.model[0].conv.weight, weights.state["model.0.conv.weight"])
    assert detector.anchors_px.tolist() == weights.meta.anchors_px
    noted = capsys.readouterr().err
    assert "transferred 343/349 entries; the last layers (model.24.m) start anew, because the weights know" in noted


def test_anchors_can_be_left_out(tiny_spec, tiny):
    other = build_detector({**tiny_spec, "anchors": [[1, 2, 3, 4], [5, 6, 7, 8]]}, tiny.names)
    copied, total = transfer(other, tiny.state_dict(), exclude_anchors=True)
    assert copied == total - 1
    assert other.anchors_px[0, 0].tolist() == [1, 2]
    transfer(other, tiny.state_dict())
    assert other.spec["anchors"] == tiny.spec["anchors"]


def test_weights_of_another_architecture_are_an_error_not_a_silent_start_from_scratch():
    small = build_detector(model_spec("yolov5s"), {i: str(i) for i in range(80)})
    nano = build_detector(model_spec("yolov5n"), small.names)
    before = {key: value.clone() for key, value in small.state_dict().items()}
    with pytest.raises(CheckpointError, match="another architecture"):
        transfer(small, nano.state_dict())
    assert all(torch.equal(before[key], value) for key, value in small.state_dict().items())


def test_weights_that_fit_less_than_half_are_a_warning(tiny_spec, tiny, capsys):
    tiny_spec["backbone"][1][3] = [32, 3, 2]
    tiny_spec["backbone"][2][3] = [32]
    tiny_spec["head"][2][3] = [24, False]
    transfer(build_detector(tiny_spec, tiny.names), tiny.state_dict())
    assert "another architecture?" in capsys.readouterr().err


def test_new_names_of_the_same_number_keep_the_head(saved, tiny):
    detector = detector_from_weights(load_weights(saved), {0: "Katze", 1: "Hund"})
    assert detector.names == {0: "Katze", 1: "Hund"}
    assert torch.equal(detector.head.m[0].weight, tiny.head.m[0].weight)


def test_another_number_of_names_starts_a_fresh_head(saved):
    assert detector_from_weights(load_weights(saved), {0: "a"}).head.m[0].out_channels == 2 * 6


# Finding


def test_a_path_that_exists_is_taken(saved):
    assert find_weights(str(saved)) == saved


def test_a_missing_pt_beside_its_safetensors_is_replaced_with_a_note(saved, capsys):
    assert find_weights(str(saved.with_suffix(".pt"))) == saved
    assert capsys.readouterr().err.count("best.safetensors") == 1


@pytest.mark.parametrize("text", ["gone.pt", "/nowhere/best.pt", "", ".", "x" * 5000, "a\0b"])
def test_what_is_not_there_is_one_line(text):
    with pytest.raises(CheckpointError) as raised:
        find_weights(text)
    assert "\n" not in str(raised.value)


def test_a_misspelt_release_is_corrected():
    with pytest.raises(CheckpointError, match=r"did you mean 'yolov5s\.pt'"):
        find_weights("yolo5s.pt")


def test_a_release_name_in_a_folder_is_not_fetched_behind_the_users_back():
    with pytest.raises(CheckpointError, match=r"write yolov5s\.pt without a folder"):
        find_weights("backup/yolov5s.pt")


def test_a_release_is_fetched_once_into_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    asked = []

    def download(url, destination, *, size=None, sha256=None):
        asked.append((url, size, sha256))
        destination.parent.mkdir(parents=True)
        destination.write_bytes(b"x")
        return destination

    monkeypatch.setattr(fetch, "download", download)
    first = find_weights("yolov5s.pt")
    assert first == find_weights("yolov5s") == tmp_path / "cache" / "weights" / "yolov5s.pt"
    assert asked == [("https://github.com/ultralytics/yolov5/releases/download/v7.0/yolov5s.pt", None, None)]
    assert weights_module.RELEASES["yolov5n.pt"][0] == 4_062_133


def test_offline_says_what_to_do_by_hand(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def offline(url, *_, **__):
        raise EnvironmentFault("cannot download", url, "no route to host")

    monkeypatch.setattr(fetch, "download", offline)
    with pytest.raises(CheckpointError) as raised:
        find_weights("yolov5s.pt")
    line = str(raised.value)
    assert "v7.0/yolov5s.pt by hand" in line and "--weights ''" in line and "no route" in line


# Converting


def test_a_converted_checkpoint_computes_the_same_and_keeps_licence_and_provenance(published_weights, tmp_path, capsys):
    target = convert(published_weights, tmp_path / "n.safetensors")
    foreign, own = load_weights(published_weights), load_weights(target)
    assert set(foreign.state) == set(own.state)
    assert all(torch.equal(value, own.state[key]) for key, value in foreign.state.items())
    assert own.meta.licence == "AGPL-3.0"
    assert own.meta.provenance == (*foreign.meta.provenance, "converted to safetensors")
    noted = capsys.readouterr().err
    assert "349 entries" in noted and "AGPL-3.0" in noted


def test_converting_never_overwrites(shop, write_pt, tiny, tmp_path):
    path = write_pt({"model": shop.model(tiny)})
    assert convert(path) == path.with_suffix(".safetensors")
    before = sha256_file(path.with_suffix(".safetensors"))
    with pytest.raises(CheckpointError, match="destination exists"):
        convert(path)
    assert sha256_file(path.with_suffix(".safetensors")) == before


def test_a_malicious_checkpoint_leaves_no_destination(write_pickle, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'canary'}",)

    with pytest.raises(CheckpointError, match="system"):
        convert(write_pickle({"model": Evil()}), tmp_path / "x.safetensors")
    assert not (tmp_path / "canary").exists() and not (tmp_path / "x.safetensors").exists()
