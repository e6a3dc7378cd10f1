"""Routing health: how far the coupling coefficients move away from uniform with each iteration."""

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.curves import BANDS, Curve, curve_keys, curves_text, draw_curve, stack_curves
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure


def entropy_plate(analysis: Analysis) -> Plate | None:
    """Mean entropy of the coupling coefficients after each routing iteration; None without routing."""
    styles = arm_looks(analysis)
    curves = {name: curve for name, arm in analysis.ablation.arms.items() if (curve := _entropy(arm)) is not None}
    if not curves:
        return None
    figure = new_figure(6.5, 3.6)
    axes = figure.subplots()
    for name, (iterations, entropy) in curves.items():
        draw_curve(axes, iterations, entropy, styles[name], limits=(0, 1))
    axes.axhline(1, color="#888888", linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate(
        "uniform",
        (1, 1),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="#555555",
    )
    dress(axes, x="routing iteration", y="coupling entropy / log classes")
    axes.margins(y=0.12)
    # Less than five per cent from uniform is no decision, and is not to look like one.
    axes.set_ylim(min(axes.get_ylim()[0], 0.95), max(axes.get_ylim()[1], 1.01))
    longest = max(int(iterations[-1]) for iterations, _ in curves.values())
    axes.set_xticks(range(1, longest + 1))
    axes.set_xlim(0.7, longest + 0.3)
    legend(figure, *curve_keys(styles, set(curves)))
    return Plate(
        "coupling",
        "Coupling entropy by routing iteration",
        "Entropy of a primary capsule's coupling divided by that of uniform coupling, mean over capsules and images: 1 "
        f"means that routing decides nothing, 0 that one class capsule takes all. {BANDS}",
        f"Coupling entropy by iteration. {curves_text(curves, styles)}",
        figure,
    )


def _entropy(arm: ArmRuns) -> Curve | None:
    found = [run.figures.get("routing", {}).get("entropy_by_iteration") for run in arm.done]
    return stack_curves([(list(range(1, len(curve) + 1)), curve) for curve in found if curve])
