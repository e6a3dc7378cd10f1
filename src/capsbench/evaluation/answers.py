"""A model's answers to what a run is tested on: the test images, or the fixed test pairs of a run that learnt pairs."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from capsbench.config import Config, is_capsule_model
from capsbench.data.overlap import pair_codes
from capsbench.data.splits import Splits
from capsbench.evaluation import calibration
from capsbench.evaluation.overlap import found, predict_pairs
from capsbench.evaluation.predict import Precision, Predictions, predict
from capsbench.evaluation.result import Evaluated


@dataclass(frozen=True)
class Answers:
    """Scores, what they should say and what they say, on the CPU.

    Attributes:
        scores: as the model gives them: logits or capsule lengths.
        labels: true classes, one or two for each image.
        expected: one number for the classes of each image: its class, or the code of its pair (`overlap.pair_codes`).
        predicted: the same of the largest scores; an image is right where both are equal.
    """

    scores: Float32[Tensor, "images classes"]
    labels: Int64[Tensor, "images *digits"]
    expected: Int64[Tensor, " images"]
    predicted: Int64[Tensor, " images"]

    @property
    def pairs(self) -> bool:
        """Whether there are two classes in an image."""
        return self.labels.dim() > 1


def answer(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Answers:
    """Ask a model, in eval mode and on `device`, for the test images or, with `data.overlap`, the test pairs."""
    if cfg.data.overlap:
        scores, labels = predict_pairs(model, splits, cfg, device, precision)
        classes = scores.shape[1]
        return Answers(scores, labels, pair_codes(labels, classes), pair_codes(scores.topk(2, dim=1).indices, classes))
    said = predict(model, splits.test_images, device, cfg.trainer.eval_batch_size, cfg.data.pad, precision)
    labels = splits.test_labels.cpu()
    return Answers(said.scores, labels, labels, said.predicted)


def metrics(name: str, answers: Answers) -> dict[str, float]:
    """Errors and accuracy under `name`; of pairs both classes have to be found, and recall is the share found."""
    errors = int((answers.predicted != answers.expected).sum())
    numbers = {f"{name}/errors": float(errors), f"{name}/accuracy": 1 - errors / len(answers.expected)}
    if answers.pairs:
        numbers[f"{name}/recall"] = found(answers.scores, answers.labels).double().mean().item()
    return numbers


def calibrated(answers: Answers, cfg: Config) -> Evaluated:
    """Calibration, which is a question about images of one class."""
    if answers.pairs:
        return Evaluated()
    said = Predictions(answers.scores, answers.predicted)
    return calibration.evaluate(said, answers.labels, lengths=is_capsule_model(cfg.model))


def kept(last: Answers, selected: Answers, cfg: Config) -> dict[str, np.ndarray]:
    """What predictions.npz keeps of the last epoch's and of the validation-selected answers."""
    codes = len(last.scores[0]) ** (2 if last.pairs else 1)
    small = np.min_scalar_type(codes - 1)
    return {
        "test_label": last.expected.numpy().astype(small),
        "test_predicted": last.predicted.numpy().astype(small),
        "test_predicted_selected": selected.predicted.numpy().astype(small),
        "test_confidence": _confidence(last, lengths=is_capsule_model(cfg.model)).half().numpy(),
    }


def _confidence(answers: Answers, *, lengths: bool) -> Float32[Tensor, " images"]:
    """How sure the model is; of a pair: of the class that it is less sure of."""
    if not answers.pairs:
        return calibration.confidence(answers.scores, lengths=lengths)
    second = answers.scores.topk(2, dim=1).values[:, 1]
    return second.clamp(0, 1) if lengths else second.sigmoid()
