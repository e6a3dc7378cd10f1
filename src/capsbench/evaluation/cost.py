"""What a model costs: parameters, multiply-accumulates of one image, peak memory of the process."""

import contextlib
import resource
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from capsbench.config import Config
from capsbench.data.splits import Splits
from capsbench.evaluation.result import Evaluated

MEBIBYTE = 2**20
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def evaluate(model: nn.Module, splits: Splits, cfg: Config, device: torch.device) -> Evaluated:
    """Parameters, MACs and peak memory.

    Args:
        model: in eval mode, on `device`.
        splits: says how large an image is and how many channels it has.
        cfg: reads `data.pad`.
        device: where the model is.

    Returns:
        Numbers `cost/parameters` (decoder included), `cost/decoder_parameters` (models with a decoder only),
        `cost/macs` (one image, forward, decoder included) and `cost/peak_memory_mb` (see `peak_memory_mb`).
    """
    channels, height, width = splits.test_images.shape[1:]
    frame = (channels, height + 2 * cfg.data.pad, width + 2 * cfg.data.pad)
    # Read before counting MACs, which is not what the run needed.
    numbers = {"cost/peak_memory_mb": peak_memory_mb(device)}
    numbers["cost/parameters"] = float(parameters(model))
    decoder = getattr(model, "decoder", None)
    if isinstance(decoder, nn.Module):
        numbers["cost/decoder_parameters"] = float(parameters(decoder))
    numbers["cost/macs"] = float(macs(model, frame, device))
    return Evaluated(numbers)


def parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def macs(model: nn.Module, frame: tuple[int, int, int], device: torch.device) -> int:
    """Multiply-accumulates of one image's forward pass: half the operations that PyTorch's counter sees.

    Convolutions and matrix products count as they are computed here (routing that multiplies votes out again in every
    sum counts each time); softmax, squash, pooling and other element-wise work does not, and neither does what a
    hand-written kernel hides from the counter.

    Args:
        model: in eval mode; a compiled model is counted as the model it was compiled from.
        frame: channels, height and width of an image.
        device: where the model is.
    """
    eager = getattr(model, "_orig_mod", model)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        eager(torch.zeros(1, *frame, device=device))
    return counter.get_total_flops() // 2


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory so far, in MiB, since the process began or `reset_peak_memory` was called.

    On CUDA: what tensors took on the device (`torch.cuda.max_memory_allocated`). Elsewhere: resident memory of the
    whole process, as the operating system counts it, with the interpreter, libraries and data sets in it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MEBIBYTE
    # Preferred to getrusage, whose maximum a child process inherits from the parent that started it.
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (MEBIBYTE if sys.platform == "darwin" else 1024)


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak of earlier runs in this process, where the system allows it (Linux and CUDA)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        CLEAR_REFS.write_text("5")
