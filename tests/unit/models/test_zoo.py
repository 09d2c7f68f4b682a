"""The shipped models are the published ones, and building them is a pure function."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from accel_yolo.config.shipped import shipped_names
from accel_yolo.errors import ConfigError
from accel_yolo.models.detector import Detector
from accel_yolo.models.zoo import build_detector, model_spec

NAMES = {i: f"class {i}" for i in range(80)}
PUBLISHED = [f"yolov5{size}{level}" for level in ("", "6") for size in "nsmlx"]


def shapes_of(name: str, names: dict[int, str] = NAMES) -> Detector:
    """A detector without storage: names and shapes of the largest models cost nothing."""
    with torch.device("meta"):
        return build_detector(model_spec(name), names)


@pytest.mark.parametrize("name", PUBLISHED)
def test_state_dict_keys_order_and_shapes_are_those_of_the_published_model(recorded, name):
    expected = json.loads(recorded("architectures.json").read_text())[name]
    detector = shapes_of(name)
    assert [(key, list(value.shape)) for key, value in detector.state_dict().items()] == [
        (key, shape) for key, shape in expected["state_dict"].items()
    ]
    assert list(detector.strides) == expected["strides"]
    assert detector.spec["anchors"] == [[n for pair in level for n in pair] for level in expected["anchors_px"]]
    assert sum(p.numel() for p in detector.parameters()) == expected["params"]
    assert sum(p.numel() for p in detector.fuse().parameters()) == expected["params_fused"]


@pytest.mark.parametrize(("name", "entries"), [("yolov5n", 121), ("yolov5m", 165), ("yolov5x6", 327)])
def test_a_fused_model_has_no_normalisation_left(name, entries):
    state = shapes_of(name).fuse().state_dict()
    assert len(state) == entries
    assert not any(".bn." in key for key in state)


def filled(detector: Detector) -> Detector:
    """Write sines into every entry, so that outputs can be compared without published weights."""
    with torch.no_grad():
        for q, (key, value) in enumerate(detector.state_dict().items()):
            if key.endswith("anchors") or not value.is_floating_point():
                continue
            n = torch.arange(value.numel(), dtype=torch.float64)
            if value.dim() == 4:
                values = math.sqrt(2 / value[0].numel()) * torch.sin(0.7 * q + 1.3 * n)
            elif key.endswith("bn.weight"):
                values = 1 + 0.1 * torch.sin(q + n)
            elif key.endswith("running_mean"):
                values = 0.05 * torch.sin(0.5 * q + n)
            elif key.endswith("running_var"):
                values = 1 + 0.2 * torch.cos(q + 0.3 * n)
            else:
                values = 0.1 * torch.cos(q + n)
            value.copy_(values.view(value.shape))
    return detector


def pattern(height: int, width: int) -> Tensor:
    c, i, j = torch.meshgrid(torch.arange(3), torch.arange(height), torch.arange(width), indexing="ij")
    return (((7 * c + 3 * i + 5 * j) % 256).float() / 255)[None]


CONFORMANCE = {
    "yolov5n": (
        (64, 96), 378, 74095.312, 2.306110,
        (43.95329, 4.28410, 11.03468, 13.37225, 0.47905, 0.47233),
        (78.64983, 46.79145, 375.60947, 353.74588, 0.51988, 0.49879),
        (0.000685, -0.000146, -0.000633), (0.071626, 0.071712, 0.072367),
    ),
    "yolov5s": (
        (64, 96), 378, 74338.313, 2.313673,
        (43.97285, 4.35839, 10.87818, 13.24712, 0.48026, 0.47671),
        (78.66473, 47.00126, 384.05887, 363.25015, 0.52712, 0.50536),
        (0.000763, -0.000536, -0.000574), (0.070880, 0.072088, 0.072913),
    ),
    "yolov5m": (
        (64, 64), 252, 45370.303, 2.118128,
        (44.08239, 4.32502, 10.76104, 13.24865, 0.48306, 0.47313),
        (45.96223, 46.25637, 370.17026, 356.09344, 0.52633, 0.50860),
        (0.000801, -0.000136, -0.000830), (0.071446, 0.072987, 0.074860),
    ),
    "yolov5n6": (
        (64, 128), 510, 147408.515, 3.400427,
        (44.46526, 4.31293, 18.46622, 24.75208, 0.48381, 0.49782),
        (99.37105, 34.97133, 932.72253, 739.88568, 0.48480, 0.50577),
        (0.000483, -0.000812, 0.000164, -0.000124), (0.072784, 0.071289, 0.071797, 0.073191),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFORMANCE)
def test_outputs_of_a_filled_model_are_the_recorded_ones(name):
    hw, rows, total, mean, at_5, at_last, raw_means, raw_stds = CONFORMANCE[name]
    detector = filled(build_detector(model_spec(name), NAMES)).eval()
    with torch.no_grad():
        raws = detector(pattern(*hw))
        decoded = detector.decode(raws)
    assert decoded.shape == (1, rows, 85)
    assert float(decoded.double().sum()) == pytest.approx(total, rel=2e-6)
    assert float(decoded.abs().double().mean()) == pytest.approx(mean, rel=2e-6)
    assert decoded[0, 5, :6].tolist() == pytest.approx(at_5, abs=2e-4)
    assert decoded[0, -1, :6].tolist() == pytest.approx(at_last, rel=1e-5, abs=2e-4)
    assert [float(raw.mean()) for raw in raws] == pytest.approx(raw_means, abs=2e-6)
    assert [float(raw.std()) for raw in raws] == pytest.approx(raw_stds, abs=2e-6)


def test_every_layer_of_yolov5n_outputs_the_recorded_statistics():
    recorded_statistics = [
        (0.002222, 0.090662), (0.003530, 0.035712), (0.001707, 0.043898), (0.003397, 0.047520), (0.001594, 0.027538),
        (0.001704, 0.052932), (0.001282, 0.021816), (0.000585, 0.041144), (0.001875, 0.045559), (0.002425, 0.050402),
        (0.001915, 0.023008), (0.001915, 0.022997), (0.001598, 0.022415), (0.002139, 0.052853), (0.001084, 0.019486),
        (0.001084, 0.019481), (0.001339, 0.023853), (-0.000000, 0.050900), (0.002515, 0.033535), (0.001800, 0.027430),
        (0.000418, 0.039411), (0.003199, 0.046205), (0.002557, 0.036492), (0.000907, 0.024986),
    ]  # fmt: skip
    detector = filled(build_detector(model_spec("yolov5n"), NAMES)).eval()
    seen: list[tuple[float, float]] = []
    for layer in list(detector.model)[:-1]:
        layer.register_forward_hook(lambda _m, _i, out: seen.append((float(out.mean()), float(out.std()))))
    with torch.no_grad():
        detector(pattern(64, 96))
    assert [value for pair in seen for value in pair] == pytest.approx(
        [value for pair in recorded_statistics for value in pair], abs=2e-6
    )


def test_training_mode_updates_running_statistics_as_recorded():
    detector = filled(build_detector(model_spec("yolov5n"), NAMES)).train()
    with torch.no_grad():
        raws = detector(pattern(64, 96).repeat(2, 1, 1, 1))
    assert [float(raw.mean()) for raw in raws] == pytest.approx((0.000846, -0.000125, -0.000936), abs=2e-6)
    state = detector.state_dict()
    assert state["model.0.bn.running_mean"][:3].tolist() == pytest.approx((0.0495378, 0.0304339, -0.0197602), abs=1e-6)
    assert state["model.0.bn.running_var"][:3].tolist() == pytest.approx((0.8438078, 0.8928502, 0.9489285), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "layer", "parameters"),
    [("yolov5n", 0, 1760), ("yolov5m", 6, 2512896), ("yolov5x", 9, 4099840), ("yolov5l", 24, 457725),
     ("yolov5n6", 7, 221568), ("yolov5n6", 29, 179328), ("yolov5n6", 33, 164220)],
)  # fmt: skip
def test_layers_have_the_published_number_of_parameters(name, layer, parameters):
    assert sum(p.numel() for p in shapes_of(name).model[layer].parameters()) == parameters


def test_a_new_model_starts_with_the_statistics_of_one_black_image_and_the_family_constants():
    detector = build_detector(model_spec("yolov5n"), NAMES)
    norms = [m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 57
    for norm in norms:
        assert (norm.eps, norm.momentum) == (1e-3, 0.03)
        assert norm.running_var.unique().tolist() == [pytest.approx(0.9)]
        assert norm.running_mean.abs().max() == 0
        assert int(norm.num_batches_tracked) == 1


@pytest.mark.parametrize(("classes", "shift"), [(80, -4.8803), (1, 11.0021)])
def test_head_biases_start_at_the_prior_of_rare_objects(classes, shift):
    detector = build_detector(model_spec("yolov5n"), {i: str(i) for i in range(classes)})
    for conv, objectness in zip(detector.head.m, (-6.6846, -5.2983, -3.9120), strict=True):
        bias = conv.bias.view(3, -1)
        spread = 1 / math.sqrt(conv.in_channels)
        assert bias[:, :4].abs().max() <= spread
        assert (bias[:, 4] - objectness).abs().max() <= spread + 1e-4
        assert (bias[:, 5:] - shift).abs().max() <= spread + 1e-4


def test_building_twice_gives_the_same_weights_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first = build_detector(model_spec("yolov5n"), NAMES, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(7)
    again = build_detector(model_spec("yolov5n"), NAMES, seed=3)
    other = build_detector(model_spec("yolov5n"), NAMES, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.model[0].conv.weight, other.model[0].conv.weight)


def test_every_shipped_model_yaml_builds_and_runs():
    for name in shipped_names("models"):
        detector = shapes_of(name, {0: "a", 1: "b"})
        raws = detector(torch.zeros(1, 3, 256, 256, device="meta"))
        assert [raw.shape[-1] for raw in raws] == [7] * len(detector.strides)


def test_a_name_finds_the_shipped_file_with_and_without_suffix():
    assert model_spec("yolov5s") == model_spec("yolov5s.yaml") == model_spec("models/yolov5s.yaml")


def test_a_misspelt_name_is_one_line_with_the_nearest_model():
    with pytest.raises(ConfigError, match="did you mean 'yolov5s'") as raised:
        model_spec("yolo5s.yaml")
    assert "\n" not in str(raised.value)


def test_a_misspelt_key_is_refused_by_file_and_key(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("nc: 2\nwidth_multipel: 0.5\nanchors: 3\nbackbone: []\nhead: []\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: width_multipel; did you mean 'width_multiple'"):
        model_spec(str(path))


@pytest.mark.parametrize("key", ["backbone", "head", "anchors"])
def test_a_missing_key_is_named(tmp_path: Path, key):
    lines = {"backbone": "backbone: []", "head": "head: []", "anchors": "anchors: 3"}
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(line for name, line in lines.items() if name != key))
    with pytest.raises(ConfigError, match=f"missing key in .*{key}"):
        model_spec(str(path))
