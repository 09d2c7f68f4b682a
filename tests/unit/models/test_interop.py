"""YOLOv5 checkpoints of every age are read without their code, and what cannot be read is refused in one line."""

from __future__ import annotations

import pathlib
import sys
import zipfile

import numpy as np
import pytest
import torch

from accel_yolo.errors import CheckpointError
from accel_yolo.files import sha256_file
from accel_yolo.models.interop import import_checkpoint
from accel_yolo.models.weights import detector_from_weights, load_weights

LETTERS = [chr(ord("a") + i) for i in range(2)]


def as_halves(detector):
    return {k: v.half().float() if v.is_floating_point() else v for k, v in detector.state_dict().items()}


def assert_same(state, expected):
    assert list(state) == list(expected)
    for key, value in expected.items():
        assert torch.equal(state[key], value), key
        assert state[key].dtype == (torch.float32 if value.is_floating_point() else value.dtype)


def test_the_published_checkpoint_has_its_349_entries_in_float32(published_weights):
    assert sha256_file(published_weights) == "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3"
    weights = import_checkpoint(published_weights)
    assert len(weights.state) == 349
    assert {v.dtype for k, v in weights.state.items() if not k.endswith("num_batches_tracked")} == {torch.float32}
    assert weights.meta.names[0] == "person" and len(weights.meta.names) == 80
    assert weights.meta.anchors_px[0] == [[10, 13], [16, 30], [33, 23]]
    assert (weights.meta.strides, weights.meta.imgsz, weights.meta.licence) == ((8, 16, 32), 640, "AGPL-3.0")
    assert "4f180cf23ba0" in weights.meta.provenance[0] and "2022-02-08" in weights.meta.provenance[0]


def test_the_published_checkpoint_computes_the_recorded_outputs(published_weights, reference_dir):
    numbers = np.load(reference_dir / "reference" / "forward_yolov5n.npz")
    detector = detector_from_weights(load_weights(published_weights)).eval()
    images = torch.from_numpy(numbers["image"]).permute(0, 3, 1, 2).float() / 255
    if images.shape[1] != 3:
        images = torch.from_numpy(numbers["image"]).float() / 255
    with torch.no_grad():
        raws = detector(images)
        decoded = detector.decode(raws)
    for level, raw in enumerate(raws):
        expected = torch.from_numpy(numbers[f"raw{level}"])
        assert raw.shape == expected.shape
        assert float((raw - expected).norm() / expected.norm()) < 1e-4
    assert float((decoded - torch.from_numpy(numbers["decoded"])).abs().max()) < 1e-3


def test_published_outputs_on_the_synthetic_image(published_weights):
    detector = detector_from_weights(load_weights(published_weights)).eval()
    c, i, j = torch.meshgrid(torch.arange(3), torch.arange(64), torch.arange(96), indexing="ij")
    with torch.no_grad():
        raws = detector((((7 * c + 3 * i + 5 * j) % 256).float() / 255)[None])
        decoded = detector.decode(raws)
    assert float(decoded.double().sum()) == pytest.approx(61475.63, abs=0.05)
    assert decoded[0, 0, :6].tolist() == pytest.approx((2.92113, 4.21308, 7.24186, 8.01087, 0.00026, 0.13768), abs=1e-4)
    assert raws[0][0, 0, 0, 0, :6].tolist() == pytest.approx(
        (-0.271372, 0.053283, -0.300253, -0.436822, -8.236878, -1.834735), abs=1e-5
    )


@pytest.mark.parametrize("root", ["DetectionModel", "Model"])
@pytest.mark.parametrize("ordered", [False, True])
def test_maps_of_both_ages_and_both_class_names_are_read(shop, write_pt, tiny, root, ordered):
    model = shop.model(tiny, root)
    path = write_pt({"epoch": -1, "model": shop.with_ordered_maps(model) if ordered else model, "ema": None})
    weights = import_checkpoint(path)
    assert_same(weights.state, as_halves(tiny))
    assert weights.meta.names == {0: "cat", 1: "dog"}
    assert "models" not in sys.modules


def test_names_may_be_a_list(shop, write_pt, tiny):
    model = shop.model(tiny)
    model.names = ["cat", "dog"]
    assert import_checkpoint(write_pt({"model": model})).meta.names == {0: "cat", 1: "dog"}


def test_averaged_weights_are_preferred(shop, write_pt, tiny):
    averaged = shop.model(tiny)
    live = shop.model(tiny)
    with torch.no_grad():
        for parameter in live.parameters():
            parameter.add_(1)
    weights = import_checkpoint(write_pt({"model": live, "ema": averaged, "updates": 7}))
    assert_same(weights.state, as_halves(tiny))
    assert "(ema;" in weights.meta.provenance[0]


def test_what_a_training_run_leaves_beside_the_model_does_not_disturb(shop, write_pt, tiny):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1, momentum=0.9)
    content = {
        "epoch": 3,
        "best_fitness": np.array([0.5]),
        "model": shop.model(tiny),
        "ema": None,
        "optimizer": {**optimizer.state_dict(), "momentum": np.float64(0.9)},
        "opt": {"imgsz": 416, "save_dir": pathlib.PosixPath("runs") / "exp"},
        "date": "2024-05-06T07:08:09",
    }
    meta = import_checkpoint(write_pt(content)).meta
    assert meta.imgsz == 416
    assert "2024-05-06" in meta.provenance[0]


def test_an_anchor_grid_buffer_is_ignored(shop, write_pt, tiny):
    model = shop.model(tiny)
    model.model[-1].register_buffer("anchor_grid", torch.ones(2, 1, 2, 1, 1, 2).half())
    assert_same(import_checkpoint(write_pt({"model": model})).state, as_halves(tiny))


def test_fitted_anchors_come_from_the_buffer_not_from_the_yaml(shop, write_pt, tiny):
    model = shop.model(tiny)
    model.model[-1].anchors.copy_(torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]]))
    weights = import_checkpoint(write_pt({"model": model}))
    assert weights.meta.anchors_px[1] == [[40, 48], [56, 64]]
    assert detector_from_weights(weights).spec["anchors"][0] == [4, 8, 12, 16]


@pytest.mark.parametrize("stride", [None, [32.0]])
def test_a_missing_stride_is_measured(shop, write_pt, tiny, stride):
    model = shop.model(tiny)
    del model.stride
    if stride:
        model.stride = torch.tensor(stride)
    assert import_checkpoint(write_pt({"model": model})).meta.strides == (4, 8)


def test_an_activation_that_the_yaml_does_not_name_is_found_in_the_layers(shop, write_pt, tiny_spec):
    from accel_yolo.models.zoo import build_detector

    leaky = build_detector({**tiny_spec, "activation": "nn.LeakyReLU(0.1)"}, {0: "x"})
    model = shop.model(leaky)
    del model.yaml["activation"]
    weights = import_checkpoint(write_pt({"model": model}))
    assert weights.meta.spec["activation"] == "nn.LeakyReLU(0.1)"
    image = torch.rand(1, 3, 32, 32)
    leaky.load_state_dict(weights.state)
    assert torch.equal(detector_from_weights(weights).eval()(image)[0], leaky.eval()(image)[0])


def test_importing_says_the_licence_in_one_line(shop, write_pt, tiny, capsys):
    import_checkpoint(write_pt({"model": shop.model(tiny)}))
    assert capsys.readouterr().err.count("AGPL-3.0") == 1


def refused(path, *words):
    with pytest.raises(CheckpointError) as raised:
        import_checkpoint(path)
    line = str(raised.value)
    assert "\n" not in line and len(line) < 1200
    for word in words:
        assert word in line, line


def test_another_normalisation_eps_is_refused(shop, write_pt, tiny):
    model = shop.model(tiny)
    model.model[1].bn.eps = 1e-5
    refused(write_pt({"model": model}), "eps", "model.1.")


@pytest.mark.parametrize(
    ("root", "word"), [("SegmentationModel", "segmentation"), ("ClassificationModel", "classification")]
)
def test_other_tasks_are_refused_by_name(shop, write_pt, tiny, root, word):
    refused(write_pt({"model": shop.model(tiny, root)}), word, "not supported yet")


def test_anchor_free_models_are_refused_clearly(shop, write_pt, tiny):
    refused(write_pt({"model": shop.model(tiny, home="ultralytics.nn.tasks")}), "anchor-free")


def test_a_bare_state_dict_is_refused(tmp_path, tiny):
    torch.save(tiny.state_dict(), tmp_path / "state.pt")
    refused(tmp_path / "state.pt", "holds no YOLOv5 model")


def test_entries_that_do_not_fit_the_yaml_are_listed(shop, write_pt, tiny):
    model = shop.model(tiny)
    model.yaml["width_multiple"] = 2.0
    refused(write_pt({"model": model}), "model.0.conv.weight [8, 3, 3, 3] instead of [16, 3, 3, 3]", "and ")


def test_an_unknown_module_in_the_yaml_is_named(shop, write_pt, tiny):
    model = shop.model(tiny)
    model.yaml["backbone"][2][2] = "BottleneckCSP"
    refused(write_pt({"model": model}), "layer 2", "BottleneckCSP")


def test_contradicting_strides_are_refused(shop, write_pt, tiny):
    model = shop.model(tiny)
    model.stride = torch.tensor([8.0, 16.0])
    refused(write_pt({"model": model}), "strides")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\n  <html>", "web page"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "before PyTorch 1.6"),
        (b"hello", "not a PyTorch file"),
        (b"PK\x03\x04 and then nothing", "truncated"),
    ],
)
def test_files_that_are_no_checkpoints_are_named_for_what_they_are(tmp_path, content, words):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    refused(path, words, "weights.pt")


def test_a_missing_file_is_one_line(tmp_path):
    refused(tmp_path / "gone.pt", "gone.pt")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(shop, write_pt, tiny, share):
    path = write_pt({"model": shop.model(tiny)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "truncated or damaged")


def test_a_flipped_bit_in_the_numbers_is_noticed(shop, write_pt, tiny):
    path = write_pt({"model": shop.model(tiny)})
    with zipfile.ZipFile(path) as archive:
        entry = max((info for info in archive.infolist() if "/data/" in info.filename), key=lambda info: info.file_size)
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 256] ^= 1
    path.write_bytes(bytes(content))
    refused(path, "damaged")


def test_big_endian_files_are_read(shop, write_pt, tiny, tmp_path):
    path = write_pt({"model": shop.model(tiny)})
    swapped = tmp_path / "big.pt"
    sizes = {key: value.element_size() for key, value in shop_sizes(path)}
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(swapped, "w") as target:
        for info in source.infolist():
            body = source.read(info)
            key = info.filename.rpartition("/")[2]
            if info.filename.endswith("byteorder"):
                body = b"big"
            elif "/data/" in info.filename:
                body = (
                    np.frombuffer(body, dtype=f"V{sizes[key]}").tobytes() if sizes[key] == 1 else swap(body, sizes[key])
                )
            target.writestr(info.filename, body)
    assert_same(import_checkpoint(swapped).state, as_halves(tiny))


def swap(body: bytes, size: int) -> bytes:
    return np.frombuffer(body, dtype=f"u{size}").byteswap().tobytes()


def shop_sizes(path):
    """Item sizes of the storages: int64 counters have eight bytes, everything else two or four."""
    from accel_yolo.models.inert_pickle import Stub, TensorRecord
    from accel_yolo.models.torch_archive import open_torch_archive

    found = []

    def walk(value):
        if isinstance(value, TensorRecord):
            found.append((value.storage.key, torch.empty(0, dtype=getattr(torch, value.storage.dtype))))
        elif isinstance(value, Stub):
            walk(value.attributes)
        elif isinstance(value, dict):
            for item in value.values():
                walk(item)

    with open_torch_archive(path) as archive:
        walk(archive.content)
    return found
