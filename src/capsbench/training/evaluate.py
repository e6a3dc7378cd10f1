"""Evaluating a finished run again: on other questions than those it was made with, or on other data.

    runs/<group>/<arm>_<hash8>/seed03/evaluations/<data>_<digest8>/result.json  predictions.npz  pictures.npz

Numbers from other data never meet the run's own: they have a folder of their own, which no report of the run reads.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsbench.config import Config, Data, digest
from capsbench.errors import CapsbenchError
from capsbench.stored_config import stored_config, with_overrides
from capsbench.training.runs import RunFolder, State

if TYPE_CHECKING:
    from capsbench.data.splits import Splits

ELSEWHERE = "evaluations"
DATA_KEY = "data."
CHECKPOINTS = ("last.ckpt", "best.ckpt")

log = logging.getLogger(__name__)


def evaluate_run(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Evaluate a run's checkpoints as `overrides` say; nothing is trained, result.json is replaced at the end.

    What was measured while it trained, times and memory, stays as it was.

    Args:
        folder: a finished run's folder.
        overrides: `evaluation=OPTION`, `evaluation.KEY=VALUE` and other keys that cannot change the training.

    Returns:
        The contents of result.json.

    Raises:
        CapsbenchError: the run has not finished, its checkpoints are gone, or an override would make it another run.
    """
    cfg = with_overrides(stored_config(folder), overrides)
    _check_weights(folder)
    from capsbench.training.train import run as train_run

    return train_run(cfg)


def evaluate_elsewhere(folder: Path, name: str, overrides: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Evaluate a run's checkpoints on other data of the same shape and number of classes.

    Images are padded to the size that the network takes, where they are smaller by an even number of pixels.

    Args:
        folder: a finished run's folder; nothing in it is changed but its folder of evaluations.
        name: an option of the `data` group, such as affnist or folder.
        overrides: `data.KEY=VALUE` of the other data, `evaluation=OPTION`, `evaluation.KEY=VALUE`.

    Returns:
        The folder of the evaluation, and the contents of its result.json.

    Raises:
        CapsbenchError: the run has not finished, its checkpoints are gone, or the images or classes do not fit.
    """
    words = [word for word in overrides if word.startswith(DATA_KEY)]
    cfg = with_overrides(stored_config(folder), [word for word in overrides if word not in words])
    _check_weights(folder)
    from capsbench.data.commands import data_config
    from capsbench.data.splits import load_splits

    data = data_config(name, overrides=words)
    splits = load_splits(data)
    shape, classes = run_images(folder, cfg)
    frame = (shape[0], *(side + 2 * cfg.data.pad for side in shape[1:]))
    if not any(word.startswith("data.pad=") for word in words):
        data = replace(data, pad=_padding(splits, frame))
    _check_fit(name, data, splits, frame, classes)
    return _measure(folder, name, replace(cfg, data=data), splits)


def run_images(folder: Path, cfg: Config) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Channels, height and width of a run's images before padding, and its classes; old runs need their data for it."""
    kept: dict[str, Any] = RunFolder(folder).result().get("images") or {}
    if kept:
        return tuple(kept["shape"]), tuple(kept["classes"])
    from capsbench.data.splits import load_splits

    splits = load_splits(cfg.data)
    return tuple(splits.test_images.shape[1:]), splits.classes


def _check_weights(folder: Path) -> None:
    run = RunFolder(folder)
    if run.state is not State.done:
        raise CapsbenchError(f"{folder} is {run.state}: only a finished run can be evaluated again")
    missing = [name for name in CHECKPOINTS if not (folder / name).is_file()]
    if missing:
        raise CapsbenchError(f"{folder} has no {' and no '.join(missing)} any more: there are no weights to evaluate")


def _padding(splits: "Splits", frame: tuple[int, ...]) -> int:
    """Pixels on every side that make the images as large as the network takes them; 0 where none do."""
    missing = frame[1] - splits.test_images.shape[2]
    return missing // 2 if missing > 0 and missing % 2 == 0 else 0


def _check_fit(name: str, data: Data, splits: "Splits", frame: tuple[int, ...], classes: tuple[str, ...]) -> None:
    channels, height, width = splits.test_images.shape[1:]
    found = (channels, height + 2 * data.pad, width + 2 * data.pad)
    if found != frame:
        taken, given = (" x ".join(map(str, one)) for one in (frame, found))
        raise CapsbenchError(
            f"data={name} has images of {given} (channels, height, width; with padding), but the run's network takes "
            f"{taken}; data.size={frame[1]} resizes them, data.colour of a folder chooses the channels"
        )
    if len(splits.classes) != len(classes):
        raise CapsbenchError(f"data={name} has {len(splits.classes)} classes, but the run tells {len(classes)} apart")
    if splits.classes != classes:
        log.warning(
            "the classes have other names (the run: %s; %s: %s); they are taken for each other by their places",
            ", ".join(classes), name, ", ".join(splits.classes),
        )  # fmt: skip


def _measure(folder: Path, name: str, cfg: Config, splits: "Splits") -> tuple[Path, dict[str, Any]]:
    from capsbench.evaluation import answers
    from capsbench.training.identity import evaluation_digest, plain
    from capsbench.training.provenance import provenance
    from capsbench.training.results import EVALUATIONS, PICTURES, Measured, write_result
    from capsbench.training.train import build_run_model, prepare_machine
    from capsbench.training.weights import load_weights

    origin, own = provenance(), RunFolder(folder).result()
    machine = prepare_machine(cfg)
    # Weights come from the run; what a fresh one would have started from plays no part.
    fresh = replace(cfg, trainer=replace(cfg.trainer, init_from=None))
    model = build_run_model(fresh, splits)
    measured = Measured(selected=own.get("selected") or {})
    measured.images = {"shape": list(splits.test_images.shape[1:]), "classes": list(splits.classes)}
    said = {}
    # The last epoch's weights come second and stay for everything else.
    for metric, checkpoint in (("test_selected", "best.ckpt"), ("test", "last.ckpt")):
        load_weights(model, folder / checkpoint)
        model.to(machine.device).eval()
        said[metric] = answers.answer(model, splits, cfg, machine.device, machine.autocast)
        measured.metrics |= answers.metrics(metric, said[metric])
    measured.test_images = len(said["test"].expected)
    measured.add(answers.calibrated(said["test"], cfg))
    measured.predictions = answers.kept(said["test"], said["test_selected"], cfg)
    for evaluate in EVALUATIONS:
        found = evaluate(model, splits, cfg, machine.device, machine.autocast)
        measured.add(found)
        measured.predictions |= found.arrays
    for picture in PICTURES:
        measured.pictures |= picture(model, splits, cfg, machine.device, machine.autocast).arrays
    values = plain(cfg)
    out = folder / ELSEWHERE / f"{name}_{digest([values['data'], values['evaluation']])}"
    out.mkdir(parents=True, exist_ok=True)
    return out, write_result(out, own["run"], values, measured, origin, evaluation_digest(cfg))
