"""The forward pass of evaluations, compiled where the training step was and where that makes it faster.

What lies between its products is a tenth of a CapsNet's forward pass on a processor without a matrix unit, a third on
one that has it, and more than half with EM or Variational Bayes.
"""

import contextlib
import logging
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from capsbench.config import Config
from capsbench.data.batches import to_unit
from capsbench.data.splits import Splits
from capsbench.evaluation.predict import Precision, padded_batches
from capsbench.training.compilation import first_line, seconds_of
from capsbench.training.hardware import Machine

# Maps lie in memory as the eager pass has them: channels last, the compiler's choice, cost a CapsNet a tenth.
OPTIONS = {"layout_optimization": False}
TRIALS = 5

log = logging.getLogger(__name__)


@contextlib.contextmanager
def compiled_forward(model: nn.Module, splits: Splits, cfg: Config, machine: Machine) -> Iterator[None]:
    """Within this, full batches of images run through a compiled forward pass if it is faster than the eager one.

    All other calls of the model are eager as ever: of other shapes, with gradients, for coupling coefficients.

    Args:
        model: put into eval mode and on the machine's device.
        splits: test images for the trial.
        cfg: reads `trainer.eval_batch_size` and `data.pad`.
        machine: device and precision.
    """
    model.to(machine.device).eval()
    first = next(padded_batches(splits.test_images, machine.device, cfg.trainer.eval_batch_size, cfg.data.pad))
    compile_forward(model, to_unit(first), machine.autocast)
    try:
        with torch.compiler.set_stance("eager_on_recompile"):
            yield
    finally:
        _forget(model)


def compile_forward(model: nn.Module, images: Tensor, precision: Precision) -> None:
    """Have the model's calls compiled from here on, unless that fails or is no faster.

    Args:
        model: on the device of `images`.
        images: a batch of pixels in [0, 1] as evaluations have them.
        precision: makes the context of a forward pass.
    """
    model.compile(dynamic=False, options=OPTIONS)
    compiled = model._compiled_call_impl
    seconds: dict[bool, list[float]] = {False: [], True: []}
    try:
        # In turns, so that whatever else the machine does hits both alike; the first of each compiles or warms up.
        for _ in range(1 + TRIALS):
            for whether, call in ((True, compiled), (False, None)):
                model._compiled_call_impl = call
                seconds[whether].append(_seconds(model, images, precision))
    except Exception as error:
        log.warning("compiling failed, evaluation goes on without it: %s", first_line(error))
        _forget(model)
        return
    fast, slow = (1000 * min(seconds[whether][1:]) for whether in (True, False))
    taken = fast < slow
    log.info(
        "the forward pass takes %.0f ms compiled and %.0f ms eager: evaluation is %s",
        fast,
        slow,
        "compiled" if taken else "eager",
    )
    model._compiled_call_impl = compiled if taken else None


def _forget(model: nn.Module) -> None:
    # `nn.Module.compile` has no counterpart.
    model._compiled_call_impl = None


def _seconds(model: nn.Module, images: Tensor, precision: Precision) -> float:
    with torch.inference_mode(), precision():
        return seconds_of(lambda: model(images), images.device)
