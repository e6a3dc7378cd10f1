"""What a trained run is measured by, and the files that keep it; result.json last."""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from capsbench.config import Config
from capsbench.data.splits import Splits
from capsbench.evaluation import (
    adversarial,
    affine,
    answers,
    corruption,
    cost,
    overlap,
    parts,
    perturbations,
    pose,
    reconstructions,
    routing_health,
    viewpoint,
)
from capsbench.evaluation.result import Evaluated
from capsbench.files import write_atomic
from capsbench.training.callbacks.checkpoints import SELECTION_RULE, Checkpoints
from capsbench.training.callbacks.clock import Clock
from capsbench.training.callbacks.matched import FILE, Matched, novel
from capsbench.training.hardware import Machine
from capsbench.training.provenance import now
from capsbench.training.task import classification_loss
from capsbench.training.weights import load_weights

# Each answers one question about the trained model, or nothing where the configuration does not ask it; what the first
# keep goes to predictions.npz, what the second keep to pictures.npz.
EVALUATIONS = (
    affine.evaluate,
    routing_health.evaluate,
    pose.evaluate,
    parts.evaluate,
    corruption.evaluate,
    adversarial.evaluate,
    overlap.evaluate,
    viewpoint.evaluate,
)
PICTURES = (reconstructions.evaluate, perturbations.evaluate)


@dataclass
class Measured:
    """Everything measured after training.

    Attributes:
        test_images: number of test images behind the test metrics.
        metrics: flat names to numbers.
        figures: data behind plots, JSON-able.
        predictions: what predictions.npz keeps.
        pictures: what pictures.npz keeps; empty without a decoder.
        selected: epoch and rule of the validation-selected weights.
        images: channels, height and width of a test image before padding, and the names of the classes: what it takes,
            besides the configuration, to build the network again without the data.
    """

    test_images: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, NDArray[Any]] = field(default_factory=dict)
    pictures: dict[str, NDArray[Any]] = field(default_factory=dict)
    selected: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)

    def add(self, found: Evaluated) -> None:
        """Take in the numbers and figures of one evaluation."""
        self.metrics |= found.numbers
        self.figures |= found.figures


def measure(
    cfg: Config,
    folder: Path,
    machine: Machine,
    model: nn.Module,
    splits: Splits,
    clock: Clock,
    matched: Matched,
    best: Checkpoints,
) -> Measured:
    """Evaluate a trained model: the test images once at the last epoch and once at the validation-selected one.

    The model holds the last epoch's weights, and holds them again afterwards.
    """
    device = machine.device
    model.to(device).eval()
    measured = Measured()
    measured.images = {"shape": list(splits.test_images.shape[1:]), "classes": list(splits.classes)}
    measured.add(cost.evaluate(model, splits, cfg, device))
    measured.metrics |= _validation(best) | _times(cfg, clock, len(splits.train_labels))

    last = answers.answer(model, splits, cfg, device, machine.autocast)
    measured.test_images = len(last.expected)
    measured.metrics |= answers.metrics("test", last)
    for name, loss in classification_loss(last.scores, last.labels, cfg).items():
        measured.metrics[f"test/{name}"] = float(loss)
    measured.add(answers.calibrated(last, cfg))
    selected = last
    if best.best_epoch != best.last_epoch:
        with weights_from(model, folder / "best.ckpt"):
            selected = answers.answer(model, splits, cfg, device, machine.autocast)
    measured.metrics |= answers.metrics("test_selected", selected)
    measured.selected = {"epoch": best.best_epoch, "rule": SELECTION_RULE}

    measured.add(_matched(cfg, folder, machine, model, splits, matched))
    kept: dict[str, NDArray[Any]] = {}
    for evaluate in EVALUATIONS:
        found = evaluate(model, splits, cfg, device, machine.autocast)
        measured.add(found)
        kept |= found.arrays
    for picture in PICTURES:
        measured.pictures |= picture(model, splits, cfg, device, machine.autocast).arrays
    measured.predictions = {**answers.kept(last, selected, cfg), **kept}
    return measured


@contextlib.contextmanager
def weights_from(model: nn.Module, path: Path) -> Iterator[None]:
    """The model with the weights of another moment of its training, and with its own again afterwards.

    Raises:
        CapsbenchError: if the file is missing, damaged or of another model.
    """
    held = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        load_weights(model, path)
        yield
    finally:
        model.load_state_dict(held)


def write_result(
    folder: Path,
    record: dict[str, Any],
    config: dict[str, Any],
    measured: Measured,
    origin: dict[str, Any],
    evaluation: str,
) -> dict[str, Any]:
    """Keep predictions and pictures, then result.json.

    Returns:
        The contents of result.json.
    """
    write_atomic(folder / "predictions.npz", _npz(measured.predictions))
    if measured.pictures:
        write_atomic(folder / "pictures.npz", _npz(measured.pictures))
    result = {
        "schema": 1,
        "state": "done",
        "run": record,
        "config": config,
        "test_images": measured.test_images,
        "images": measured.images,
        "metrics": {name: float(f"{value:.7g}") for name, value in sorted(measured.metrics.items())},
        "selected": measured.selected,
        "figures": measured.figures,
        "evaluation": evaluation,
        "provenance": {"finished": now(), **origin},
    }
    write_atomic(folder / "result.json", json.dumps(result, indent=1) + "\n")
    return result


def _matched(
    cfg: Config, folder: Path, machine: Machine, model: nn.Module, splits: Splits, matched: Matched
) -> Evaluated:
    """Test accuracy, in and out of distribution, of the first epoch that was accurate enough; and how it came to that.

    The end of training to compare it with is `test/accuracy`, and `affine/accuracy` or `viewpoint/*`.
    """
    if not matched.history:
        return Evaluated()
    figure = {"history": matched.history, "reached": matched.reached}
    if matched.reached is None or not (folder / FILE).exists():
        return Evaluated(figures={"matched": figure})
    device = machine.device
    numbers: dict[str, float] = {}
    with weights_from(model, folder / FILE):
        found = answers.answer(model, splits, cfg, device, machine.autocast)
        if novel(cfg):
            moved = viewpoint.evaluate(model, splits, cfg, device, machine.autocast).numbers
            numbers |= {name.replace("viewpoint/", "matched/"): value for name, value in moved.items()}
        else:
            once = replace(cfg.evaluation, affine=replace(cfg.evaluation.affine, enabled=True, curve_images=0))
            moved = affine.evaluate(model, splits, replace(cfg, evaluation=once), device, machine.autocast).numbers
            numbers |= {f"matched/affine_{what}": moved[f"affine/{what}"] for what in ("accuracy", "errors")}
    numbers |= answers.metrics("matched", found)
    numbers |= {"matched/val_accuracy": matched.reached["accuracy"], "matched/epoch": matched.reached["epoch"]}
    return Evaluated({name: float(value) for name, value in numbers.items()}, {"matched": figure})


def _validation(best: Checkpoints) -> dict[str, float]:
    if best.last is None or best.best is None:
        return {}
    return {
        "val/accuracy": best.last[0],
        "val/loss": -best.last[1],
        "val_selected/accuracy": best.best[0],
        "val_selected/loss": -best.best[1],
    }


def _times(cfg: Config, clock: Clock, images: int) -> dict[str, float]:
    times = {"time/train_seconds": clock.seconds}
    trainer = cfg.trainer
    shortened = [value for value in (trainer.limit_batches, trainer.overfit_batches) if value]
    per_epoch = min(images // trainer.batch_size, *shortened) if shortened else images // trainer.batch_size
    if clock.epochs:
        # The clock counts from one validation to the next, whole epochs; but a run may end between two.
        epochs = -(-(trainer.validate_steps or 1) // per_epoch)
        planned = trainer.steps or trainer.epochs * per_epoch
        whole = clock.epochs[: planned // (epochs * per_epoch)]
        seconds = median(whole) / epochs if whole else clock.seconds * per_epoch / planned
        times["time/seconds_per_epoch"] = seconds
        times["time/images_per_second"] = per_epoch * trainer.batch_size / seconds
    reached = clock.seconds_to(cfg.evaluation.target_accuracy)
    if reached is not None:
        times["time/seconds_to_target"] = reached
    return times


def _npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
