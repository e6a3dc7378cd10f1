"""All figures of an ablation's report, in reading order."""

from capsbench.report.analysis import Analysis
from capsbench.report.figures.adversarial import adversarial_plate
from capsbench.report.figures.corruption import corruption_plate
from capsbench.report.figures.cost import pareto_plate, time_plate
from capsbench.report.figures.coupling_maps import coupling_maps_plate
from capsbench.report.figures.dimensions import dimensions_plate
from capsbench.report.figures.disagreement import disagreement_plate
from capsbench.report.figures.forest import forest_plate
from capsbench.report.figures.health import health_plate, links_plate
from capsbench.report.figures.learning import learning_plate
from capsbench.report.figures.matched import matched_plate
from capsbench.report.figures.overlap import overlap_plate
from capsbench.report.figures.parts import parts_plate
from capsbench.report.figures.pictures import reconstructions_plate
from capsbench.report.figures.pose import pose_plate
from capsbench.report.figures.robustness import robustness_plate
from capsbench.report.figures.routing import entropy_plate
from capsbench.report.figures.style import Plate

PLATES = (
    forest_plate,
    robustness_plate,
    matched_plate,
    parts_plate,
    pose_plate,
    overlap_plate,
    corruption_plate,
    adversarial_plate,
    time_plate,
    pareto_plate,
    learning_plate,
    disagreement_plate,
    reconstructions_plate,
    dimensions_plate,
    health_plate,
    entropy_plate,
    links_plate,
    coupling_maps_plate,
)


def draw_plates(analysis: Analysis) -> list[Plate]:
    """The figures for which there are runs."""
    return [plate for draw in PLATES if (plate := draw(analysis)) is not None]
