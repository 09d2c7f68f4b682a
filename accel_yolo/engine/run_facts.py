"""What must be the same on every process of a run: code, packages, settings, model, classes, weights."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import accel_yolo
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import flag_of, rules_of
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.data.user_augmentation import load_augmentation
from accel_yolo.engine.comparison import Fact
from accel_yolo.files import sha256_bytes, sha256_file
from accel_yolo.models.spec import FILE
from accel_yolo.models.weights import find_weights
from accel_yolo.models.zoo import model_spec
from accel_yolo.version import __version__

PACKAGES = {
    "torch": "torch",
    "numpy": "numpy",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "opencv": "cv2",
    "pillow": "PIL",
}
"""Packages whose version can change a result, and the module that tells it; torchvision is one more."""

OF_THE_MACHINE = (
    "device", "workers", "data", "weights", "cfg", "hyp_file", "resume", "project", "name", "exist_ok", "cache_dir",
    "quiet", "debug", "verbose", "report_to", "report_timeout", "entity",
)  # fmt: skip
"""Settings that may differ: what lies where on a machine, and what it prints. Files are compared by content."""

_SAME_VERSION = "install the same version"


def package_facts() -> list[Fact]:
    """Return the versions of everything that computes, and a digest of each source file of this package."""
    facts = [Fact(f"the version of {name}", value, _SAME_VERSION, name) for name, value in versions().items()]
    root = Path(accel_yolo.__file__).parent
    remedy = "install the same accel_yolo"
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        facts.append(Fact(f"the source file accel_yolo/{name}", sha256_file(path)[:16], remedy, "source code"))
    return facts


def versions() -> dict[str, str]:
    """Return the version of this package, of Python (its patch level does not matter) and of what computes."""
    found = {name: str(importlib.import_module(module).__version__) for name, module in PACKAGES.items()}
    # Asked of the installation: to load it takes seconds, and only its compiled operators are used.
    found["torchvision"] = importlib.metadata.version("torchvision")
    return {"accel_yolo": __version__, "Python": ".".join(platform.python_version_tuple()[:2]), **found}


def config_facts(config: TrainConfig | ValConfig) -> list[Fact]:
    """Return the settings of a run that every process must share; of a resumed run, only that it is one.

    A resumed run takes its settings from its folder, as machine 0 reads them.
    """
    remedy = "type the same flags on every machine"
    is_resumed = isinstance(config, TrainConfig) and bool(config.resume)
    facts = [Fact("--resume", "given" if is_resumed else "not given", remedy, "settings")]
    if isinstance(config, TrainConfig) and is_resumed:
        # Code is named on the command line only, also where a run goes on.
        return facts + (augmentation_facts(config.augment_with) if config.augment_with else [])
    for name in rules_of(type(config)):
        if name not in OF_THE_MACHINE:
            facts.append(Fact(f"the setting {flag_of(name)}", _shown(getattr(config, name)), remedy, "settings"))
    if isinstance(config, TrainConfig):
        remedy = "use the same --hyp file"
        for name in rules_of(Hyp):
            value = _shown(getattr(config.hyp, name))
            facts.append(Fact(f"the hyper-parameter {name}", value, remedy, "settings"))
        facts += model_facts(model_spec(config.cfg)) if config.cfg else []
        facts += augmentation_facts(config.augment_with) if config.augment_with else []
    return facts


def augmentation_facts(name: str) -> list[Fact]:
    """Return a digest of the module that a user's augmentation comes from.

    Raises:
        ConfigError: it cannot be imported.
    """
    load_augmentation(name)
    module = name.partition(":")[0]
    file = getattr(sys.modules[module], "__file__", None)
    digest = sha256_file(Path(file))[:16] if file else "no file"
    return [Fact(f"the module {module} of --augment-with", digest, "copy the same file to every machine", "settings")]


def model_facts(spec: Mapping[str, Any]) -> list[Fact]:
    """Return the keys of a model YAML."""
    remedy = "use the same --cfg file"
    keys = [key for key in spec if key != FILE]
    return [Fact(f"the key '{key}' of the model", _shown(spec[key]), remedy, "model") for key in keys]


def name_facts(names: Mapping[int, str]) -> list[Fact]:
    """Return the class names of a data set."""
    remedy = "use the same data YAML"
    return [Fact(f"the name of class {number}", name, remedy, "class names") for number, name in names.items()]


def weights_facts(names: Sequence[str]) -> list[Fact]:
    """Return digests of weight files; a published one that is not there yet is fetched.

    Raises:
        CheckpointError: there is no such file, or it cannot be fetched.
    """
    remedy = "copy the same file to every machine"
    items = ["the weights", *(f"the weights number {number}" for number in range(2, len(names) + 1))]
    pairs = zip(items, names, strict=False)
    return [Fact(item, sha256_file(weights_file(name))[:16], remedy, "weights") for item, name in pairs if name]


def weights_file(name: str) -> Path:
    """Return the file that `find_weights` finds, without its remark: that is made when the file is read."""
    path = Path(name).expanduser()
    with contextlib.suppress(OSError, ValueError):
        beside = path.with_suffix(".safetensors")
        if path.suffix == ".pt" and not path.exists() and beside.is_file():
            return beside
    return find_weights(name)


def _shown(value: Any) -> str:
    """Return a setting as text; a long one by its digest."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 200 else f"sha256 {sha256_bytes(text.encode('utf-8', 'surrogateescape'))[:16]}"
