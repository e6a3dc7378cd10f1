"""Devices, the precisions they really multiply in, and whether compiling works, each found out in a child process.

A broken driver ends or hangs the process that touches it; a child is looked at from outside, with a time limit.
`python -m capsbench.doctor.arithmetic devices|compile` is that child: it prints JSON.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from capsbench.doctor.finding import Finding, ok, problem, warning

DEVICE_SECONDS, COMPILE_SECONDS = 120.0, 240.0
MEBIBYTE = 1 << 20
COMPILERS = ("g++", "clang++")


def devices(seconds: float = DEVICE_SECONDS) -> Iterator[Finding]:
    """Processor and accelerators with their memory, and a small matrix product in each precision on each."""
    answer = _child("devices", seconds)
    if "error" in answer:
        yield problem("pytorch", answer["error"], "install PyTorch again: `pip install -c constraints.txt torch`")
        return
    for device in answer["devices"]:
        yield ok(device["name"], device["about"])
        broken = {name: why for name, why in device["precisions"].items() if why}
        works = [name for name, why in device["precisions"].items() if not why]
        detail = f"multiplies in {', '.join(works) or 'nothing'}; trainer.precision=auto takes {device['auto']}"
        detail += "".join(f"; {name}: {why}" for name, why in broken.items())
        if broken:
            yield problem(f"{device['name']} precision", detail, "use trainer.accelerator=cpu or mend the driver")
        else:
            yield ok(f"{device['name']} precision", detail)
    if answer["unused"]:
        yield warning(
            "accelerator",
            f"{answer['unused']}; PyTorch {answer['torch']} does not see it",
            "install a PyTorch build for this driver's CUDA version; until then runs use the processor",
        )


def compiling(seconds: float = COMPILE_SECONDS) -> Finding:
    """Whether `torch.compile` makes a working function here."""
    with tempfile.TemporaryDirectory(prefix="capsbench-doctor-") as cache:
        # Kernels kept from earlier would answer without a compiler.
        answer = _child("compile", seconds, {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": cache})
    if "error" not in answer:
        return ok(
            "compile", f"torch.compile works on {answer['device']} ({answer['seconds']:.0f} s for a small function)"
        )
    if not any(map(shutil.which, COMPILERS)):
        return warning(
            "compile",
            "the C++ compiler is missing, so torch.compile cannot work",
            "install g++ (Debian, Ubuntu: `apt install g++`); until then training is not compiled, which is slower",
        )
    return warning(
        "compile", f"torch.compile does not work: {answer['error']}", "use trainer.compile=false, which is slower"
    )


def _child(what: str, seconds: float, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The child's answer, or under "error" why there is none."""
    import os

    command = [sys.executable, "-m", "capsbench.doctor.arithmetic", what]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {seconds:.0f} s"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"error": last}
    return answer


def look_at_devices() -> dict[str, Any]:
    """What the child sees of processor and accelerators."""
    import psutil
    import torch

    from capsbench.compose import compose
    from capsbench.training.hardware import pick_precision
    from capsbench.training.provenance import machine

    cfg, known = compose([]), machine()
    memory = psutil.virtual_memory()
    about = (
        f"{known['cpu']}, {memory.total // MEBIBYTE:,} MiB of memory, {memory.available // MEBIBYTE:,} MiB available"
    )
    found = [{"name": "cpu", "about": about, "precisions": _multiplied("cpu"), "auto": pick_precision(cfg, "cpu")}]
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        about = f"{name}, {total // MEBIBYTE:,} MiB of memory, {free // MEBIBYTE:,} MiB free"
        precisions = _multiplied(f"cuda:{number}")
        found.append(
            {"name": f"cuda:{number}", "about": about, "precisions": precisions, "auto": pick_precision(cfg, "cuda")}
        )
    nodes = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    unused = f"an NVIDIA device is here ({', '.join(nodes)})" if nodes and not torch.cuda.is_available() else ""
    return {"devices": found, "unused": unused, "torch": torch.__version__}


def _multiplied(device: str) -> dict[str, str]:
    """What is wrong with a small matrix product in each precision; empty where it is right."""
    import torch

    answers = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        try:
            # Whole numbers up to 64 * 3 are exact in all three.
            left = torch.arange(64 * 64, device=device).reshape(64, 64).remainder(3).to(kind)
            right = torch.eye(64, device=device).to(kind)
            same = torch.equal((left @ right).float().cpu(), left.float().cpu())
            answers[name] = "" if same else "a matrix product came out wrong"
        except Exception as error:
            answers[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return answers


def compile_something() -> dict[str, Any]:
    """Compile a small function and compare it with itself uncompiled."""
    import time

    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    started = time.perf_counter()
    numbers = torch.linspace(-1, 1, 64, device=device).reshape(8, 8)

    def function(given: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(given) * given).softmax(dim=1).sum(dim=0)

    compiled = torch.compile(function)
    torch.testing.assert_close(compiled(numbers), function(numbers))
    return {"device": device, "seconds": time.perf_counter() - started}


def main(what: str) -> None:
    """Print what was asked for, or why it cannot be had."""
    asked: dict[str, Callable[[], dict[str, Any]]] = {"devices": look_at_devices, "compile": compile_something}
    try:
        answer = asked[what]()
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        answer = {"error": f"{type(error).__name__}: {lines[0]}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
