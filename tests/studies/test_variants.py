"""A configuration from a base that was read once is the one that is composed anew."""

import pytest

from capsbench.compose import compose, shipped
from capsbench.errors import CapsbenchError
from capsbench.studies.search_file import Search, load_design
from capsbench.studies.space import override, parse_space
from capsbench.studies.variants import Variants
from capsbench.sweep_yaml import available_sweeps

SEARCHES = [
    name for name in available_sweeps(shipped("sweeps")) if isinstance(load_design(name, shipped("sweeps")), Search)
]


def ends(distribution):
    choices = getattr(distribution, "choices", None)
    return (choices[0], choices[-1]) if choices else (distribution.low, distribution.high)


@pytest.mark.parametrize("name", SEARCHES)
def test_trials_of_the_shipped_searches(name):
    design = load_design(name, shipped("sweeps"))
    variants = Variants(design.base)
    for end in (0, 1, 0):
        drawn = [override(key, ends(one)[end]) for key, one in parse_space(design.params).distributions.items()]
        assert variants.compose(drawn) == compose([*design.base, *drawn])


@pytest.mark.parametrize(
    "drawn",
    [
        ["model.channels=[8,16]", "run.notes='a, b'"],
        ["data.root=null", "trainer.batch_size=64"],
        ["optimizer=sgd"],
        ["optimizer.lr=0.5", "optimizer=sgd", "seed=4"],
        ["model=capsnet_small", "model.routing.iterations=1"],
        ["run.notes=${optimizer.lr}", "optimizer.lr=0.25"],
        [],
    ],
)
def test_values_groups_and_references(drawn):
    base = ["model=cnn_small", "optimizer.lr=0.125", "run.group=g"]
    variants = Variants(base)
    variants.compose(["model.dropout=0.5"])  # leaves nothing behind
    assert variants.compose(drawn) == compose([*base, *drawn])


@pytest.mark.parametrize("wrong", ["optimizer.rate=1", "optimizer.lr=fast", "trainer.batch_size=0", "model.x={"])
def test_mistakes_are_told_alike(wrong):
    said = []
    for make in (Variants(["model=cnn_small"]).compose, lambda drawn: compose(["model=cnn_small", *drawn])):
        with pytest.raises(CapsbenchError) as caught:
            make([wrong])
        said.append(str(caught.value))
    assert said[0] == said[1]
