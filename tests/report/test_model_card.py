"""The best arm's card: chosen by validation, with intervals, limits and the command."""

import json

import pytest

from capsbench.report.model_card import best_arm, model_card
from capsbench.report.report import markdown_report, study
from report.fake_runs import Truth, fake_sweep, run_path, write_runs

TRUTHS = {"capsnet_r3": Truth(25, decoder=True), "cnn_max": Truth(60, capsules=False)}


@pytest.fixture
def made(tmp_path):
    sweep = fake_sweep(seeds=(0, 1, 2), comparisons=(("cnn_max", "capsnet_r3"),))
    write_runs(tmp_path, sweep, TRUTHS)
    # Validation prefers the arm that the test set does not.
    for arm, accuracy in (("capsnet_r3", 0.99), ("cnn_max", 0.995)):
        for seed in sweep.seeds:
            path = run_path(tmp_path, sweep, arm, seed) / "result.json"
            result = json.loads(path.read_text())
            result["metrics"]["val/accuracy"] = accuracy
            result["config"] |= {
                "data": {"name": "mnist", "root": None, "shift": 2},
                "model": {"name": "<script>", "routing": {"iterations": 3}},
                "optimizer": {"lr": 0.001},
                "trainer": {"epochs": 10, "progress": True},
            }
            path.write_text(json.dumps(result))
    return study(sweep, tmp_path)


def test_validation_chooses_and_the_test_set_does_not(made):
    assert best_arm(made).runs.name == "cnn_max"
    assert made.arms["cnn_max"].error.mean > made.arms["capsnet_r3"].error.mean


def test_card_has_numbers_with_intervals_limits_and_the_command(made):
    card = model_card(made)
    arm = made.arms["cnn_max"]
    assert card.startswith("# Model card: CNN, max pooling\n")
    assert f"test error (last epoch): {arm.error.mean:.3f} %, 95 % \\[{max(arm.error.low, 0):.3f}, " in card
    assert f"errors by seed: {', '.join(map(str, arm.counts.values()))} of 10,000" in card
    seconds = sorted(run.metrics["time/train_seconds"] for run in arm.runs.done)
    assert f"training time: median \\[quartiles\\] {seconds[1]:.4g} " in card
    assert "validation accuracy: mean 99.50 %, 95 % \\[99.50, 99.50\\]" in card
    for words in (
        "routing.iterations: 3",
        "data.shift=2",
        "optimizer.lr: 0.001",
        "trainer.epochs: 10",
        "CNN, max pooling is worse than CapsNet, 3 iterations",
        "3 seeds are too few",
        "Fake CPU 3000, 2 cores",
        "0123456789abcdef",
        "capsbench sweep fake",
        "fake/cnn_max_1a2b3c4d/seed00",
    ):
        assert words in card.replace("\\_", "_"), words
    assert "<script>" not in card
    assert "progress" not in card
    assert "root" not in card.split("## Training")[0]


def test_no_card_without_runs(tmp_path):
    assert model_card(study(fake_sweep(), tmp_path)) is None


def test_table_md_ends_with_how_to_get_the_numbers_again(made):
    end = markdown_report(made).split("Reproduce, in a clone")[1]
    assert "\n    capsbench sweep fake\n    capsbench report fake\n" in end
    assert "- commit: 0123456789abcdef0123456789abcdef01234567\n" in end
