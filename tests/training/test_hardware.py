"""Accelerator and precision: what is asked for, what is found, and what cannot be had."""

from pathlib import Path

import pytest
import torch

from capsbench.config import Config
from capsbench.config_models import Cnn
from capsbench.errors import CapsbenchError
from capsbench.training import hardware
from capsbench.training.hardware import Machine, cpu_has_bf16, pick_accelerator, pick_precision


def config(**trainer: str) -> Config:
    cfg = Config(model=Cnn())
    for name, value in trainer.items():
        setattr(cfg.trainer, name, value)
    return cfg


def with_cuda(monkeypatch, *, found: bool, bf16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)


@pytest.mark.parametrize(
    ("asked", "found", "picked"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("gpu", True, "cuda"),
        ("cuda", True, "cuda"),
    ],
)
def test_accelerator(monkeypatch, asked, found, picked):
    with_cuda(monkeypatch, found=found)
    assert pick_accelerator(config(accelerator=asked)) == picked


@pytest.mark.parametrize("asked", ["cuda", "gpu"])
def test_missing_cuda_is_said(monkeypatch, asked):
    with_cuda(monkeypatch, found=False)
    with pytest.raises(CapsbenchError, match=rf"trainer\.accelerator={asked}, but PyTorch finds no CUDA device"):
        pick_accelerator(config(accelerator=asked))


def test_unknown_accelerator_and_precision_are_refused():
    with pytest.raises(CapsbenchError, match=r"trainer\.accelerator=tpu is unknown; valid: auto, cpu, cuda, gpu"):
        pick_accelerator(config(accelerator="tpu"))
    with pytest.raises(CapsbenchError, match=r"trainer\.precision=16 is unknown; valid: auto, 32-true, bf16-mixed"):
        pick_precision(config(precision="16"), "cpu")


@pytest.mark.parametrize("asked", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_precision_asked_for_is_taken(asked, accelerator):
    assert pick_precision(config(precision=asked), accelerator) == asked


@pytest.mark.parametrize("bf16", [False, True])
def test_automatic_precision_follows_the_hardware(monkeypatch, bf16):
    with_cuda(monkeypatch, found=True, bf16=bf16)
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: bf16)
    expected = "bf16-mixed" if bf16 else "32-true"
    assert pick_precision(config(), "cuda") == expected
    assert pick_precision(config(), "cpu") == expected


@pytest.mark.parametrize(
    ("flags", "found"), [("fpu sse avx512_bf16 x", True), ("fpu amx_bf16", True), ("fpu avx512f amx_tile", False)]
)
def test_the_processors_flags_are_read(monkeypatch, flags, found):
    text = f"processor\t: 0\nmodel name\t: amx_bf16 lookalike\nflags\t\t: {flags}\n"
    monkeypatch.setattr(Path, "read_text", lambda _: text)
    assert cpu_has_bf16() is found


def test_a_system_without_cpuinfo_has_no_bf16(monkeypatch):
    def missing(_):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert not cpu_has_bf16()


def test_evaluation_computes_in_the_precision_of_training():
    a, b = torch.ones(2, 2), torch.ones(2, 2)
    with Machine("cpu", "bf16-mixed").autocast():
        assert (a @ b).dtype is torch.bfloat16
    with Machine("cpu", "32-true").autocast():
        assert (a @ b).dtype is torch.float32
    assert Machine("cpu", "32-true").device == torch.device("cpu")
