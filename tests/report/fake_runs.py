"""Run folders with known truths, written to disk as a real sweep leaves them."""

import csv
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from capsbench.sweep_file import Arm, Published, Sweep

FACTORS = {
    "rotation": [-60, -40, -20, 0, 20, 40, 60],
    "scale": [0.6, 0.8, 1.0, 1.2, 1.4],
    "shear": [-0.6, -0.3, 0.0, 0.3, 0.6],
    "translation": [0, 2, 4, 6, 8],
}
PROVENANCE = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "capsbench": "0.1.0",
    "python": "3.11.2",
    "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    "platform": "Linux",
    "cpu": "Fake CPU 3000",
    "cores": 2,
    "gpu": None,
    "command": "capsbench sweep fake",
    "started": "2026-01-01T00:00:00+00:00",
    "finished": "2026-01-01T00:01:00+00:00",
}


@dataclass(frozen=True)
class Truth:
    """What is true of an arm: its expected errors in 10,000 images, and its cost."""

    errors: float = 25.0
    affine: float = 0.85
    capsules: bool = True
    decoder: bool = False
    seconds: float = 20.0
    parameters: int = 8_215_728
    macs: float = 2.0e8
    epochs: int = 4


def fake_sweep(arms: dict[str, Arm] | None = None, **changes) -> Sweep:
    """A design of four arms, two of which the paper has."""
    paper = "Sabour 2017, Table 1"
    arms = arms or {
        "capsnet_r3": Arm("CapsNet, 3 iterations", ("model.iterations=3",), Published(0.25, 0.005, source=paper)),
        "capsnet_r1": Arm("CapsNet, 1 iteration", ("model.iterations=1",), Published(0.29, 0.011, source=paper)),
        "cnn_max": Arm("CNN, max pooling", ("model=cnn_small",), Published(0.39, source=paper)),
        "cnn_none": Arm("CNN without pooling", ("model=cnn_small", "model.pooling=none")),
    }
    values = {
        "name": "fake",
        "title": "Routing and pooling",
        "question": "Does routing by agreement buy anything over convolution with pooling?",
        "seeds": tuple(range(10)),
        "comparisons": (("capsnet_r3", "capsnet_r1"), ("capsnet_r3", "cnn_max")),
    }
    return Sweep(arms=arms, **{**values, **changes})


def write_runs(
    root: Path, sweep: Sweep, truths: dict[str, Truth], *, images: int = 10_000, draw: int = 0, digits: str = "1a2b3c4d"
) -> None:
    """Write a finished run for every arm with a truth, and every seed."""
    for name, truth in truths.items():
        difficulty = arm_difficulty(name, truth, images, draw)
        for seed in sweep.seeds:
            write_run(root, sweep, name, seed, truth, difficulty, digits=digits)


def arm_difficulty(name: str, truth: Truth, images: int = 10_000, draw: int = 0) -> np.ndarray:
    """Probability of an error per image: Beta(1/4, 5/4) on hard images, most of which are hard for every arm."""
    shared, own = np.random.default_rng(draw), np.random.default_rng([draw, zlib.crc32(name.encode())])
    order = shared.permutation(images)
    base = shared.beta(0.25, 1.25, size=images)
    hard = truth.errors * images / 10_000 * 6
    common = round(0.8 * hard)
    difficulty = np.zeros(images)
    difficulty[order[:common]] = base[:common]
    rest = own.permutation(order[common:])[: round(hard) - common]
    difficulty[rest] = own.beta(0.25, 1.25, size=rest.size)
    return difficulty * (truth.errors * images / 10_000 / difficulty.sum())


def run_path(root: Path, sweep: Sweep, arm: str, seed: int, digits: str = "1a2b3c4d") -> Path:
    return root / sweep.group / f"{arm}_{digits}" / f"seed{seed:02d}"


def write_run(
    root: Path,
    sweep: Sweep,
    arm: str,
    seed: int,
    truth: Truth,
    difficulty: np.ndarray,
    *,
    digits: str = "1a2b3c4d",
    **provenance,
) -> Path:
    """Write one finished run."""
    folder = run_path(root, sweep, arm, seed, digits)
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, zlib.crc32(arm.encode())])
    images = difficulty.size
    label = (np.arange(images) % 10).astype(np.uint8)
    last = predictions(rng, label, difficulty)
    selected = predictions(rng, label, difficulty)
    affine_label = label[:2_000]
    affine = predictions(rng, affine_label, np.full(affine_label.size, 1 - truth.affine))
    np.savez(
        folder / "predictions.npz",
        test_label=label,
        test_predicted=last,
        test_predicted_selected=selected,
        test_confidence=np.full(images, 0.9, dtype=np.float16),
        affine_label=affine_label,
        affine_predicted=affine,
        affine_parameters=np.zeros((affine_label.size, 6), dtype=np.float32),
    )
    write_history(folder / "metrics.csv", rng, truth)
    if truth.decoder:
        write_pictures(folder / "pictures.npz", rng)
    result = {
        "schema": 1,
        "state": "done",
        "test_images": images,
        "run": {
            "id": f"{arm}-{digits}-s{seed:02d}",
            "group": sweep.group,
            "arm": arm,
            "seed": seed,
            "hash": digits,
        },
        "config": {"evaluation": {"target_accuracy": 0.99, "affine": {"variants": 1}}},
        "metrics": metrics(rng, truth, label, last, selected, affine_label, affine),
        "selected": {"epoch": 3, "rule": "highest validation accuracy"},
        "figures": figures(rng, truth),
        "evaluation": "00000000",
        "provenance": {**PROVENANCE, **provenance},
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def write_failure(root: Path, sweep: Sweep, arm: str, seed: int, error: str) -> None:
    """Write a failed run."""
    folder = run_path(root, sweep, arm, seed)
    folder.mkdir(parents=True)
    values = {"state": "failed", "run": {"arm": arm, "seed": seed}, "error": error, "traceback": "..."}
    (folder / "failed.json").write_text(json.dumps({**values, "provenance": PROVENANCE}))


def predictions(rng: np.random.Generator, label: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
    wrong = rng.random(label.size) < difficulty
    return np.where(wrong, (label + 1) % 10, label).astype(np.uint8)


def metrics(rng, truth, label, last, selected, affine_label, affine) -> dict[str, float]:
    wrong, wrong_selected = int((label != last).sum()), int((label != selected).sum())
    values = {
        "test/accuracy": 1 - wrong / label.size,
        "test/errors": wrong,
        "test/loss": 0.01,
        "test/ece": 0.002 + 0.001 * rng.random(),
        "test_selected/accuracy": 1 - wrong_selected / label.size,
        "test_selected/errors": wrong_selected,
        "val/accuracy": 0.995,
        "affine/accuracy": float((affine_label == affine).mean()),
        "affine/errors": int((affine_label != affine).sum()),
        "time/train_seconds": truth.seconds * truth.epochs * (1 + 0.05 * rng.random()),
        "time/seconds_per_epoch": truth.seconds * (1 + 0.05 * rng.random()),
        "time/images_per_second": 55_000 / truth.seconds,
        "time/wall_seconds": truth.seconds * truth.epochs + 10,
        "cost/parameters": truth.parameters,
        "cost/decoder_parameters": 1_411_344 if truth.decoder else 0,
        "cost/macs": truth.macs,
        "cost/peak_memory_mb": 900.0,
    }
    if truth.errors < 100:
        values["time/seconds_to_target"] = truth.seconds * (1.5 + 0.2 * rng.random())
    for factor in FACTORS:
        values[f"affine/{factor}_auc"] = truth.affine + 0.01 * rng.standard_normal()
    if truth.capsules:
        values |= {
            "routing/static_primary": 0.02,
            "routing/coupling_entropy": 0.9,
            "routing/dead_primary": 0.01,
            "routing/dead_class": 0.0,
        }
    return {name: float(value) for name, value in values.items()}


def figures(rng, truth) -> dict[str, object]:
    curves = {}
    for factor, levels in FACTORS.items():
        places = np.abs(np.array(levels) - (1.0 if factor == "scale" else 0.0))
        drop = (1.3 - truth.affine) * (places / places.max()) ** 2
        accuracy = np.clip(0.99 - drop + 0.004 * rng.standard_normal(len(levels)), 0, 1)
        curves[factor] = {"levels": levels, "accuracy": accuracy.tolist()}
    values: dict[str, object] = {"affine": curves}
    if truth.capsules:
        entropy = [0.99, 0.97, 0.89] if truth.decoder else [0.99]
        middle = np.exp(-((np.arange(36).reshape(6, 6) - 17.5) ** 2) / 200) * np.arange(32)[:, None, None] / 320
        maps = [1 + 10 * place * middle + 0.004 * rng.random((32, 6, 6)) for place in range(len(entropy))]
        values["routing"] = {
            "entropy_by_iteration": [value + 0.01 * rng.random() for value in entropy],
            "coupling_map": np.round(maps, 5).tolist(),
        }
    return values


def write_history(path: Path, rng: np.random.Generator, truth: Truth) -> None:
    rows = []
    for epoch in range(truth.epochs):
        step, seconds = 430 * (epoch + 1), truth.seconds * (epoch + 1)
        rows.append({"step": step - 200, "epoch": epoch, "seconds": seconds - 5, "train/loss": 0.1 / (epoch + 1)})
        error = truth.errors / 10_000 * (1 + 6 * np.exp(-epoch)) * np.exp(0.1 * rng.standard_normal())
        rows.append({"step": step, "epoch": epoch, "seconds": seconds, "val/accuracy": 1 - error, "val/loss": 0.05})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "epoch", "seconds", "train/loss", "val/accuracy", "val/loss"])
        writer.writeheader()
        writer.writerows(rows)


def write_pictures(path: Path, rng: np.random.Generator, count: int = 10) -> None:
    images = np.zeros((count, 1, 28, 28), dtype=np.uint8)
    for number in range(count):
        canvas = Image.new("L", (28, 28))
        ImageDraw.Draw(canvas).text((8, 2), str(number), fill=255, font_size=22)
        images[number, 0] = np.asarray(canvas)
    noise = rng.normal(0, 18, size=images.shape)
    rebuilt = np.clip(images * 0.85 + noise, 0, 255).astype(np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10
    predicted = labels.copy()
    predicted[4] = 9
    offsets = np.arange(-5, 6) * 0.05
    strokes = 1 + offsets[None, None, :, None, None, None] * np.arange(-4, 4)[None, :, None, None, None, None]
    np.savez(
        path,
        images=images,
        reconstructions=rebuilt,
        labels=labels,
        predicted=predicted,
        perturbed=np.clip(0.7 * images[:3, None, None] * strokes, 0, 255).astype(np.uint8),
        perturbed_images=images[:3],
        perturbed_labels=labels[:3],
        perturbed_offsets=offsets.astype(np.float32),
    )
