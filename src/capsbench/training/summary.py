"""One line that says how a run ended."""

from typing import Any


def run_line(result: dict[str, Any]) -> str:
    """Arm, seed, test error, affine accuracy and training time of a finished run."""
    run, metrics = result["run"], result["metrics"]
    count = result["test_images"]
    parts = [
        f"{run['arm']} seed {run['seed']}: test error {1 - metrics['test/accuracy']:.2%} "
        f"({metrics['test/errors']:.0f} of {count:,})"
    ]
    if "affine/accuracy" in metrics:
        parts.append(f"affine {metrics['affine/accuracy']:.1%}")
    parts.append(f"trained {metrics['time/train_seconds']:.0f} s")
    return ", ".join(parts)
