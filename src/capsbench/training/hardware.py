"""What this machine offers a run: accelerator, precision, threads."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from capsbench.config import Config
from capsbench.config_models import Cnn
from capsbench.errors import CapsbenchError
from capsbench.training.ranks import rank

BF16_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}
PRECISIONS = ("auto", "32-true", "bf16-mixed")
ACCELERATORS = ("auto", "cpu", "cuda", "gpu")


@dataclass(frozen=True)
class Machine:
    """Where and in which precision a run computes."""

    accelerator: str
    precision: str

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device(self.accelerator, rank()) if self.accelerator == "cuda" else torch.device(self.accelerator)

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which evaluation computes as training did."""
        if self.precision == "bf16-mixed":
            return torch.autocast(self.accelerator, torch.bfloat16)
        return nullcontext()


def pick_memory_format(model: object, accelerator: str) -> torch.memory_format:
    """Channels last where convolutions are faster so: on a GPU, and for CNNs on a CPU.

    On a CPU CapsNet's large kernels and its capsules, which group channels, lose by it (measured on 2 cores in bf16: a
    CNN's step takes 0.55 of its time, CapsNet's 1.3).
    """
    return torch.channels_last if accelerator == "cuda" or isinstance(model, Cnn) else torch.contiguous_format


def pick_machine(cfg: Config) -> Machine:
    """The accelerator and precision that a configuration comes to here."""
    accelerator = pick_accelerator(cfg)
    return Machine(accelerator, pick_precision(cfg, accelerator))


def pick_accelerator(cfg: Config) -> str:
    """`cpu` or `cuda`, as asked for or as found.

    Raises:
        CapsbenchError: if CUDA is asked for and there is none.
    """
    asked = cfg.trainer.accelerator
    if asked not in ACCELERATORS:
        raise CapsbenchError(f"trainer.accelerator={asked} is unknown; valid: {', '.join(ACCELERATORS)}")
    found = torch.cuda.is_available()
    if asked in ("cuda", "gpu") and not found:
        raise CapsbenchError(f"trainer.accelerator={asked}, but PyTorch finds no CUDA device here; use cpu or auto")
    return "cuda" if found and asked != "cpu" else "cpu"


def pick_precision(cfg: Config, accelerator: str) -> str:
    """`32-true` or `bf16-mixed`; `auto` takes bf16 where the hardware multiplies in it."""
    asked = cfg.trainer.precision
    if asked not in PRECISIONS:
        raise CapsbenchError(f"trainer.precision={asked} is unknown; valid: {', '.join(PRECISIONS)}")
    if asked != "auto":
        return asked
    pays = torch.cuda.is_bf16_supported() if accelerator == "cuda" else cpu_has_bf16()
    return "bf16-mixed" if pays else "32-true"


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices itself."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(BF16_CPU_FLAGS & set(line.split()) for line in text.splitlines() if line.startswith("flags"))
