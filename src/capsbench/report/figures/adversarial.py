"""Accuracy under attack, by the largest change that a pixel may take."""

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.curves import BANDS, Curve, curve_keys, curves_text, draw_curve, stack_curves
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure

ATTACKS = {"fgsm": "FGSM, one step", "pgd": "PGD, many steps", "decision": "by decisions alone"}


def adversarial_plate(analysis: Analysis) -> Plate | None:
    """A panel per attack with a curve per arm; None where no run was attacked."""
    arms = analysis.ablation.arms
    found = {
        attack: {name: curve for name, arm in arms.items() if (curve := _curve(arm, attack)) is not None}
        for attack in ATTACKS
    }
    found = {attack: curves for attack, curves in found.items() if curves}
    if not found:
        return None
    styles = arm_looks(analysis)
    figure = new_figure(3.3 * len(found) + 0.4, 3.6)
    for place, (attack, curves) in enumerate(found.items()):
        axes = figure.add_subplot(1, len(found), place + 1)
        for name, (epsilons, accuracy) in curves.items():
            draw_curve(axes, epsilons, 100 * accuracy, styles[name], limits=(0, 100))
        dress(axes, x="largest change of a pixel", y="accuracy %" if place == 0 else "", title=ATTACKS[attack])
        axes.set_ylim(-3, 103)
    shown = {name for curves in found.values() for name in curves}
    legend(figure, *curve_keys(styles, shown))
    return Plate(
        "adversarial",
        "Accuracy under attack",
        "All attacked images count, right or wrong before; epsilon 0 is no attack. Where the attack by decisions, "
        "which needs no gradients, breaks images that PGD does not, gradients are masked and PGD's curve says little. "
        f"{BANDS}",
        "Accuracy, %, by largest change of a pixel. "
        + " ".join(f"{ATTACKS[attack]}: {curves_text(curves, styles, factor=100)}" for attack, curves in found.items()),
        figure,
    )


def _curve(arm: ArmRuns, attack: str) -> Curve | None:
    kept = [run.figures.get("adversarial") or {} for run in arm.done]
    return stack_curves(
        [(one["epsilons"], one["accuracy"][attack]) for one in kept if attack in one.get("accuracy", {})]
    )
