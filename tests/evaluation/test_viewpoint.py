"""Familiar and novel viewpoints: counted apart, at the end and where familiar accuracy is first high enough."""

import gzip

import numpy as np
import pytest
import torch
from torch import nn

from capsbench.compose import compose
from capsbench.data.published import SMALLNORB
from capsbench.data.splits import Splits, load_splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation import viewpoint
from capsbench.evaluation.predict import predict
from capsbench.models.build import build_model
from capsbench.models.output import Output
from capsbench.training.runs import run_folder
from capsbench.training.train import run
from data.writers import norb_matrix
from tiny import CNN, RUN

CPU = torch.device("cpu")
PER_TOY = 36  # two of each azimuth


def write(folder) -> None:
    """A bar whose column is the category's, in smallNORB's true format; from novel azimuths it is moved by a column."""
    draw = np.random.default_rng(4)
    for part in (0, 1):
        info = np.array(
            [(toy, k % 9, 2 * (k % 18), k % 6) for k in range(PER_TOY) for toy in range(5) for _ in range(5)]
        )
        labels = np.tile(np.arange(5), len(info) // 5).astype(np.int32)
        images = draw.integers(0, 60, (len(info), 2, 96, 96), dtype=np.uint8)
        for image, label, azimuth in zip(images, labels, info[:, 2], strict=True):
            column = 18 + 12 * label + (6 if 6 <= azimuth <= 28 else 0)
            image[:, 16:80, column : column + 12] = 255
        for file, array in zip(SMALLNORB.files[3 * part :], (images, labels, info.astype(np.int32)), strict=False):
            (folder / f"{file.name}.gz").write_bytes(gzip.compress(norb_matrix(array), 1))


class Knows(nn.Module):
    """Right on images whose first pixel is even."""

    def forward(self, images: torch.Tensor, labels: object = None, *, with_routing: bool = False) -> Output:
        right = (images[:, 0, 0, 0] * 255).round().long() % 2 == 0
        return Output(torch.stack([right.float(), 1 - right.float()], dim=1))


def test_counts_familiar_and_novel_images_apart():
    images = torch.zeros(18, 2, 8, 8, dtype=torch.uint8)
    images[[3, 4, 9], 0, 0, 0] = 1
    codes = 2.0 * torch.arange(18)
    factors = torch.stack([torch.zeros(18), torch.zeros(18), codes, torch.zeros(18)], dim=1)
    none = torch.zeros(0, dtype=torch.int64)
    splits = Splits(images[:0], none, images[:0], none, images, torch.zeros(18, dtype=torch.int64), ("a", "b"),
                    ("instance", "elevation", "azimuth", "lighting"), None, factors)  # fmt: skip
    cfg = compose(["data=smallnorb_azimuth", *RUN, *CNN])
    found = viewpoint.evaluate(Knows(), splits, cfg, CPU)
    # Familiar are azimuths 0, 20, 40, 300, 320 and 340; wrong are 60, 80 and 180.
    assert found.numbers["viewpoint/familiar_accuracy"] == 1
    assert found.numbers["viewpoint/novel_accuracy"] == pytest.approx(9 / 12)
    assert found.numbers["viewpoint/novel_errors"] == 3
    figure = found.figures["viewpoint"]
    assert figure["degrees"] == list(range(0, 360, 20))
    assert [d for d, share in zip(figure["degrees"], figure["accuracy"], strict=True) if share == 0] == [60, 80, 180]
    seen = [d for d, known in zip(figure["degrees"], figure["familiar"], strict=True) if known]
    assert seen == [0, 20, 40, 300, 320, 340]
    assert viewpoint.evaluate(Knows(), splits, compose([*RUN, *CNN]), CPU).numbers == {}
    only = Splits(images[:0], none, images[:0], none, images[:2], torch.zeros(2, dtype=torch.int64), ("a", "b"),
                  splits.factors, None, factors[:2])  # fmt: skip
    with pytest.raises(CapsbenchError, match="no test image from a novel azimuth"):
        viewpoint.evaluate(Knows(), only, cfg, CPU)


def test_a_run_reports_novel_accuracy_where_familiar_accuracy_is_matched_and_at_the_end(root, tmp_path):
    write(tmp_path)
    cfg = compose(["data=smallnorb_azimuth", f"data.root={tmp_path}", *RUN, *CNN, "model.channels=[4,8]",
                   "data.brightness=0", "data.contrast=null", "trainer.epochs=3", "optimizer.lr=0.01",
                   "evaluation.matched.accuracy=0.5", "evaluation.matched.images=80", f"run.root={root}"])  # fmt: skip
    result = run(cfg)
    metrics, figure = result["metrics"], result["figures"]["matched"]
    first = next(row for row in figure["history"] if row["accuracy"] >= 0.5)
    assert figure["reached"] == {**first, "threshold": 0.5}
    assert {"epoch", "accuracy", "novel_accuracy"} == set(first)
    assert metrics["matched/epoch"] == first["epoch"]

    splits = load_splits(cfg.data)
    novel = (splits.test_factors[:, 2] >= 6) & (splits.test_factors[:, 2] <= 28)
    assert novel.sum() == 2 * (~novel).sum() == 600
    model = build_model(cfg.model, 2, 32, 5).eval()
    from capsbench.data.standardize import standardize_inputs

    standardize_inputs(model)
    folder = run_folder(cfg).path
    model.load_state_dict(torch.load(folder / "matched.ckpt", weights_only=True)["model"])
    wrong = predict(model, splits.test_images, CPU, 32).predicted != splits.test_labels
    assert metrics["matched/novel_errors"] == wrong[novel].sum()
    assert metrics["matched/familiar_errors"] == wrong[~novel].sum()
    assert metrics["matched/errors"] == wrong.sum()
    followed = predict(model, splits.novel_images, CPU, 32).predicted == splits.novel_labels
    assert len(followed) == 120
    assert abs(followed.double().mean().item() - first["novel_accuracy"]) < 0.2
    assert metrics["viewpoint/familiar_accuracy"] > metrics["viewpoint/novel_accuracy"]
    assert metrics["viewpoint/familiar_errors"] + metrics["viewpoint/novel_errors"] == metrics["test/errors"]
    assert not any(name.startswith("matched/affine") for name in metrics)
