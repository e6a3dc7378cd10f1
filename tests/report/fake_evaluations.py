"""What the evaluations of issues 6 and 7 leave in result.json, with known truths, added to fake runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CONDITIONS = ("clean", "grid2", "grid4", "grid7", "swapped_sides", "swapped_ends", "mixed2", "mixed4")
FACTORS = ("rotation", "shear", "vertical_scale", "horizontal_scale", "thickness")
CORRUPTIONS = ("shot_noise", "glass_blur", "fog", "zigzag")
EPSILONS = [0.0, 0.02, 0.1, 0.3]


def add_evaluations(folder: Path, strength: float, seed: int) -> None:
    """Give a finished run every further evaluation; `strength` from 0 to 1 is how well it does in all of them."""
    path = folder / "result.json"
    result = json.loads(path.read_text())
    metrics, figures = evaluations(strength, np.random.default_rng(seed))
    result["metrics"] |= metrics
    figures["routing"] = {**result["figures"].get("routing", {}), **figures["routing"]}
    result["figures"] |= figures
    path.write_text(json.dumps(result))


def evaluations(strength: float, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, Any]]:
    """Metrics and figures as `capsbench.evaluation` names them."""

    def near(value: float) -> float:
        return float(np.clip(value + 0.01 * rng.standard_normal(), 0, 1))

    metrics = {"routing/changed_predictions": near(0.2 * strength), "parts/threshold": 0.7}
    for place, name in enumerate(CONDITIONS):
        for what in ("claimed", "accepted", "same", "confidence"):
            metrics[f"parts/{name}_{what}"] = near(0.95 if place == 0 else 0.8 * (1 - strength))
    for name in (*FACTORS, "mean"):
        metrics[f"pose/{name}_r2"] = near(0.9 * strength)
    metrics |= {"overlap/exact_match": near(strength), "overlap/recall": near(0.5 + strength / 2)}
    metrics |= {"overlap/errors": 10.0, "overlap/reconstruction_error": near(0.05)}
    errors = {name: [near((1 - strength) * level / 5) for level in range(1, 6)] for name in CORRUPTIONS}
    metrics |= {f"corruption/{name}_error": float(np.mean(found)) for name, found in errors.items()}
    metrics |= {"corruption/clean_error": 0.01, "corruption/mean_error": float(np.mean(list(errors.values())))}
    curves = {
        "rotation": {"levels": [0.0, 90.0, 180.0], "accuracy": [0.99, near(strength), near(0.1)]},
        "translation": {"levels": [0.0, 4.0, 8.0], "accuracy": [0.99, near(strength), near(0.2)]},
    }
    attacked = {name: [near(0.99 - epsilon * (3 - 2 * strength)) for epsilon in EPSILONS] for name in ("fgsm", "pgd")}
    history = [{"epoch": e, "accuracy": near(0.9 + 0.03 * e), "affine_accuracy": near(0.5 + 0.1 * e)} for e in range(4)]
    metrics |= {"matched/affine_accuracy": near(strength), "matched/accuracy": near(0.98), "matched/epoch": 2.0}
    edges = np.linspace(0, 1, 21).round(3)
    shares = np.full((3, 20), 0.05)
    figures: dict[str, Any] = {
        "corruption": {"severities": [1, 2, 3, 4, 5], "errors": errors, "curves": curves, "images": 100},
        "adversarial": {"epsilons": EPSILONS, "accuracy": attacked, "images": 50, "decision_images": 0},
        "matched": {"history": history, "reached": {**history[2], "threshold": 0.95}},
        "routing": {"coupling_histogram": {"edges": edges.tolist(), "share_by_iteration": shares.tolist()}},
    }
    return metrics, figures
