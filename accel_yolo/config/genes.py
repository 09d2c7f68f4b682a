"""The hyper-parameters that a search may change: the range of each, and which are searched unless asked otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.errors import ConfigError

DIGITS = 5
"""Significant digits of a value that is tried: what the files show is exactly what was trained."""


@dataclass(frozen=True)
class Gene:
    """A hyper-parameter and where it is looked for.

    Attributes:
        low, high: the smallest and the largest value, both included.
        log: equal ratios count alike instead of equal differences; for ranges that span orders of magnitude.
        whole: whole numbers only.
        usual: searched when no names are given.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    usual: bool = True

    def fitted(self, value: float) -> float:
        """Return the value of the range that is nearest to `value`."""
        return min(max(round(value) if self.whole else value, self.low), self.high)

    def shown(self, value: float) -> float:
        """Return `value` with as many digits as are trained with."""
        return float(f"{value:.{DIGITS}g}")


# The ranges are those of the reference's evolution. Where they begin at 0 and end at a small number (weight_decay), the
# logarithmic one begins three decades below its end instead.
_TABLE = (
    Gene("lr0", 1e-5, 1e-1, log=True),
    Gene("lrf", 0.01, 1.0, log=True),
    Gene("momentum", 0.6, 0.98),
    Gene("weight_decay", 1e-6, 1e-3, log=True),
    Gene("warmup_epochs", 0.0, 5.0),
    Gene("warmup_momentum", 0.0, 0.95),
    Gene("warmup_bias_lr", 0.0, 0.2),
    Gene("box", 0.02, 0.2, log=True),
    Gene("cls", 0.2, 4.0, log=True),
    Gene("cls_pw", 0.5, 2.0, log=True),
    Gene("obj", 0.2, 4.0, log=True),
    Gene("obj_pw", 0.5, 2.0, log=True),
    Gene("iou_t", 0.1, 0.7, usual=False),
    Gene("anchor_t", 2.0, 8.0),
    Gene("anchors", 2.0, 10.0, whole=True),
    Gene("fl_gamma", 0.0, 2.0, usual=False),
    Gene("hsv_h", 0.0, 0.1),
    Gene("hsv_s", 0.0, 0.9),
    Gene("hsv_v", 0.0, 0.9),
    Gene("degrees", 0.0, 45.0),
    Gene("translate", 0.0, 0.9),
    Gene("scale", 0.0, 0.9),
    Gene("shear", 0.0, 10.0),
    Gene("perspective", 0.0, 0.001, usual=False),
    Gene("flipud", 0.0, 1.0),
    Gene("fliplr", 0.0, 1.0, usual=False),
    Gene("mosaic", 0.0, 1.0),
    Gene("mixup", 0.0, 1.0),
    Gene("copy_paste", 0.0, 1.0),
)
GENES: Mapping[str, Gene] = {gene.name: gene for gene in _TABLE}

USUAL_ANCHORS = 3.0
"""Anchors per level where a recipe leaves their number to the model."""


def chosen_genes(names: Sequence[str], config: TrainConfig) -> tuple[Gene, ...]:
    """Return what is searched, in the order of the table.

    The number of anchors is among the usual ones only where the recipe itself gives one: to name it replaces the
    anchors of the model, so that not even the first trial would be the recipe that one starts from.

    Args:
        names: the hyper-parameters asked for; none means the usual ones.
        config: the training.

    Raises:
        ConfigError: the number of anchors is asked for and cannot change.
    """
    fixed = ""
    if config.noautoanchor:
        fixed = "--noautoanchor keeps them as they are"
    elif not config.cfg:
        fixed = "those of the weights are used; --cfg names a model that can have others"
    if fixed and "anchors" in names:
        raise ConfigError("the number of anchors cannot change", "--search", "anchors", fixed)
    wanted = set(names) or {gene.name for gene in _TABLE if gene.usual}
    if fixed or (not names and config.hyp.anchors is None):
        wanted.discard("anchors")
    return tuple(gene for gene in _TABLE if gene.name in wanted)


def starting_point(genes: Sequence[Gene], hyp: Hyp) -> dict[str, float]:
    """Return the values of a recipe where they are searched, each moved into its range."""
    values = {gene.name: getattr(hyp, gene.name) for gene in genes}
    return {gene.name: gene.fitted(USUAL_ANCHORS if (v := values[gene.name]) is None else v) for gene in genes}
