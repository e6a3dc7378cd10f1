"""Familiar and novel viewpoints of smallNORB (Hinton, Sabour and Frosst 2018, section 5.1).

A network that has seen toys from some azimuths or elevations only (`data.viewpoint`) is tested on other toys from the
same viewpoints (familiar) and from all others (novel). Compare networks where they are equally good on familiar ones:
`matched/novel_accuracy`, see `training.callbacks.matched`.
"""

from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from capsbench.config import Config, Viewpoint
from capsbench.data.smallnorb import FAMILIAR, familiar
from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation.predict import Precision, predict
from capsbench.evaluation.result import Evaluated

# Degrees of a code in the info files.
DEGREES = {Viewpoint.azimuth: (0, 10), Viewpoint.elevation: (30, 5)}


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """Accuracy on test images from familiar and from novel viewpoints.

    Args:
        model: in eval mode, on `device`.
        splits: test images with smallNORB's factors.
        cfg: reads `data.viewpoint`, `data.pad` and `trainer.eval_batch_size`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Numbers `viewpoint/familiar_accuracy`, `viewpoint/familiar_errors`, `viewpoint/novel_accuracy` and
        `viewpoint/novel_errors`. Figure `viewpoint`: accuracy and number of images by degrees of azimuth or elevation,
        and which of them are familiar. Empty unless `data.viewpoint` leaves viewpoints novel.

    Raises:
        CapsbenchError: the test images do not say from where they were taken, or all from one kind of viewpoint.
    """
    asked = cfg.data.viewpoint
    if asked is Viewpoint.all:
        return Evaluated()
    if splits.test_factors is None or asked.value not in splits.factors:
        raise CapsbenchError(f"data.viewpoint={asked}: the test images do not say their {asked}")
    answers = predict(model, splits.test_images, device, cfg.trainer.eval_batch_size, cfg.data.pad, precision)
    correct = (answers.predicted == splits.test_labels.cpu()).double()
    factors = splits.test_factors.cpu()
    seen = familiar(factors, asked)
    numbers = {}
    for name, which in (("familiar", seen), ("novel", ~seen)):
        if not which.any():
            raise CapsbenchError(f"data.viewpoint={asked}: no test image from a {name} {asked}")
        numbers[f"viewpoint/{name}_accuracy"] = correct[which].mean().item()
        numbers[f"viewpoint/{name}_errors"] = float((1 - correct[which]).sum())
    column = factors[:, splits.factors.index(asked.value)].numpy()
    codes, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    first, step = DEGREES[asked]
    figure = {
        "factor": asked.value,
        "degrees": [first + step * int(code) for code in codes],
        "accuracy": (np.bincount(place, correct.numpy()) / counts).tolist(),
        "images": counts.tolist(),
        "familiar": [code in FAMILIAR[asked] for code in codes.tolist()],
    }
    return Evaluated(numbers, {"viewpoint": figure})
