"""The trackers that `--report-to` takes: those that Accelerate knows, and the module of each."""

from __future__ import annotations

from collections.abc import Mapping

MODULES: Mapping[str, str] = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "comet_ml": "comet_ml",
    "aim": "aim",
    "clearml": "clearml",
    "dvclive": "dvclive",
    "swanlab": "swanlab",
    "trackio": "trackio",
}
TRACKERS = tuple(MODULES)
