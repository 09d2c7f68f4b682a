"""The space that is searched: ranges, which hyper-parameters by default, and where a recipe starts in it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from accel_yolo.config.genes import GENES, chosen_genes, starting_point
from accel_yolo.config.rules import Number
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import rules_of
from accel_yolo.config.shipped import folder_of, shipped_names
from accel_yolo.config.yaml_io import load_yaml
from accel_yolo.errors import ConfigError

# The genes whose gain the reference sets to 0: it never changes them.
FIXED = {"iou_t", "fl_gamma", "perspective", "fliplr"}


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"cfg": "yolov5n", **settings})


def test_every_hyper_parameter_has_a_range_of_values_that_a_training_accepts() -> None:
    rules = rules_of(Hyp)
    assert set(GENES) == set(rules)
    for gene in GENES.values():
        rule = rules[gene.name]
        assert isinstance(rule, Number) and gene.low < gene.high
        for value in (gene.low, gene.high):
            assert rule.checked(value, gene.name) == value
        assert not gene.log or gene.low > 0, "a logarithm of nothing"


def test_the_usual_ones_are_those_that_the_reference_changes() -> None:
    usual = {gene.name for gene in chosen_genes((), config(hyp=Hyp(anchors=3)))}
    assert usual == set(GENES) - FIXED


def test_the_number_of_anchors_is_left_alone_unless_the_recipe_names_one() -> None:
    assert "anchors" not in {gene.name for gene in chosen_genes((), config())}
    assert [gene.name for gene in chosen_genes(("anchors",), config())] == ["anchors"]


@pytest.mark.parametrize(
    ("settings", "why"), [({"noautoanchor": True}, "--noautoanchor"), ({"cfg": ""}, "those of the weights")]
)
def test_anchors_that_cannot_change_are_not_searched(settings: dict[str, Any], why: str) -> None:
    fixed = config(**settings, hyp=Hyp(anchors=3))
    assert "anchors" not in {gene.name for gene in chosen_genes((), fixed)}
    with pytest.raises(ConfigError, match=f"the number of anchors cannot change in --search: anchors; {why}"):
        chosen_genes(("anchors",), fixed)


def test_names_choose_in_the_order_of_the_table_whatever_their_own() -> None:
    names = [gene.name for gene in chosen_genes(("mosaic", "lr0", "fliplr"), config())]
    assert names == ["lr0", "fliplr", "mosaic"]


@pytest.mark.parametrize("name", shipped_names("hyps"))
def test_every_shipped_recipe_starts_inside_the_space(name: str) -> None:
    read = load_yaml(folder_of("hyps") / f"{name}.yaml").data
    hyp = Hyp(**{key: value for key, value in read.items() if key in rules_of(Hyp)})
    start = starting_point(tuple(GENES.values()), hyp)
    for gene in GENES.values():
        assert gene.low <= start[gene.name] <= gene.high
        had = getattr(hyp, gene.name)
        if had is not None and gene.low <= had <= gene.high:
            assert start[gene.name] == (round(had) if gene.whole else had)


@pytest.mark.parametrize("name", GENES)
def test_writing_few_digits_never_leaves_the_range(name: str) -> None:
    gene = GENES[name]
    for inside in (math.nextafter(gene.low, gene.high), math.nextafter(gene.high, gene.low)):
        assert gene.low <= gene.shown(inside) <= gene.high
    assert GENES["lr0"].shown(0.0123456789) == 0.012346
    assert GENES["anchors"].fitted(3.4) == 3
