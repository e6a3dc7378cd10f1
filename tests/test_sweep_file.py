"""Sweep files are read whole or refused with the place, the finding and what would be valid."""

from dataclasses import replace

import pytest

from capsbench.errors import CapsbenchError
from capsbench.sweep_file import Published, available_sweeps, load_sweep

GOOD = """
kind: ablation
title: Routing
question: Does routing help?
seeds: [0, 1]
base: [trainer.epochs=3]
arms:
  r1:
    label: One iteration
    overrides: [model.iterations=1]
  r3:
    label: Three iterations
    overrides: [model.iterations=3, "run.notes=${seed}"]
    published: {value: 0.25, sd: 0.005, source: "Sabour 2017, Table 1", how: "published, mean of 3"}
  plain:
comparisons: [[r3, r1], [r3, plain]]
metric: test/errors
checkpoint: selected
presets:
  small: [data=mnist_small]
  tiny: {base: [data.train_images=500], seeds: [7]}
  part: {only: [r3, r1]}
"""


@pytest.fixture
def sweeps(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text(GOOD)
    return tmp_path


def refusal(folder, text, **options):
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(CapsbenchError) as error:
        load_sweep("bad", folder, **options)
    return str(error.value)


def test_reads_everything(sweeps):
    sweep = load_sweep("good", sweeps)
    assert (sweep.name, sweep.group, sweep.title, sweep.checkpoint) == ("good", "good", "Routing", "selected")
    assert sweep.seeds == (0, 1)
    assert sweep.comparisons == (("r3", "r1"), ("r3", "plain"))
    assert sweep.overrides("r3") == ["trainer.epochs=3", "model.iterations=3", "run.notes=${seed}"]
    assert sweep.arms["r3"].published == Published(
        0.25, 0.005, "error %", "Sabour 2017, Table 1", "published, mean of 3"
    )
    assert (sweep.arms["plain"].label, sweep.arms["plain"].overrides) == ("plain", ())


def test_presets_add_to_the_base_and_keep_their_runs_apart(sweeps):
    small = load_sweep("good", sweeps, preset="small")
    assert small.overrides("r1") == ["trainer.epochs=3", "data=mnist_small", "model.iterations=1"]
    assert (small.seeds, small.group) == ((0, 1), "good-small")
    tiny = load_sweep("good", sweeps, preset="tiny")
    assert (tiny.seeds, tiny.base) == ((7,), ("trainer.epochs=3", "data.train_images=500"))


def test_a_preset_may_leave_arms_and_their_comparisons_out(sweeps):
    part = load_sweep("good", sweeps, preset="part")
    assert list(part.arms) == ["r1", "r3"]
    assert part.comparisons == (("r3", "r1"),)
    assert part.arms["r3"].published is not None
    message = refusal(sweeps, GOOD.replace("only: [r3, r1]", "only: [r3, r2]"), preset="part")
    assert "presets.part.only is 'r2'" in message
    assert "valid: r1, r3, plain" in message
    assert "presets.part.only is empty" in refusal(sweeps, GOOD.replace("only: [r3, r1]", "only: []"), preset="part")


def test_a_path_is_as_good_as_a_name(sweeps, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    by_path = load_sweep(sweeps / "good.yaml", empty)
    assert by_path == replace(load_sweep("good", sweeps), file=str(sweeps / "good.yaml"))
    assert load_sweep(sweeps / "good.yaml", sweeps) == load_sweep("good", sweeps)


def test_a_missing_file_lists_what_there_is(sweeps, tmp_path):
    with pytest.raises(CapsbenchError, match=r"did you mean good\?.*available in .*: good, other"):
        load_sweep("godo", sweeps)
    with pytest.raises(CapsbenchError, match="holds no sweep files"):
        load_sweep("x", tmp_path / "nowhere")
    assert available_sweeps(sweeps) == ["good", "other"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("comparisons:", "comparision:", ["unknown key comparision", "did you mean comparisons?"]),
        ("[r3, r1]", "[r3, r2]", ["unknown arm 'r2'", "arms: r1, r3, plain"]),
        ("[r3, r1]", "[r3, r3]", ["compares an arm with itself"]),
        ("[r3, plain]", "[r1, r3]", ["repeats a pair"]),
        ("[r3, r1]", "[r3]", ["is not a pair"]),
        ("  plain:", "  r1:", ["duplicate key r1"]),
        ("  plain:", "  plain: {label: One iteration}", ["r1 and plain have the same label"]),
        ("  plain:", "  ../plain:", ["arms.../plain", "becomes a folder's"]),
        ("    label: One iteration", "    lable: One iteration", ["unknown key arms.r1.lable", "did you mean label?"]),
        ("kind: ablation", "kind: sweep", ["kind is 'sweep'", "valid: ablation, search"]),
        ("seeds: [0, 1]", "seeds: [0, 0]", ["different whole numbers"]),
        ("seeds: [0, 1]", "seeds: 3", ["seeds is 3; expected a list"]),
        ("seeds: [0, 1]", "", ["seeds is None"]),
        ("test/errors", "test/accuracy", ["metric is 'test/accuracy'", "test/errors, affine/errors"]),
        ("metric: test/errors", "metric: affine/errors", ["checkpoint must be 'last'"]),
        ("checkpoint: selected", "checkpoint: best", ["checkpoint is 'best'", "last, selected"]),
        ("value: 0.25", "value: a quarter", ["value is 'a quarter'"]),
        ("value: 0.25", "valeu: 0.25", ["published needs at least a value"]),
        ("base: [trainer.epochs=3]", "base: [{trainer.epochs: 3}]", ["is not an override"]),
        ("arms:", "arms: [", ["not a readable sweep file"]),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, words):
    assert old in GOOD
    message = refusal(tmp_path, GOOD.replace(old, new, 1))
    assert "bad.yaml" in message
    for word in words:
        assert word in message


def test_unknown_preset_names_the_presets(tmp_path):
    assert "no preset 'smal' (did you mean small?); its presets: small, tiny, part" in refusal(
        tmp_path, GOOD, preset="smal"
    )


def test_files_that_are_no_mapping(tmp_path):
    assert "expected a mapping" in refusal(tmp_path, "")
    assert "arms is empty" in refusal(tmp_path, "title: x\nseeds: [0]\n")
