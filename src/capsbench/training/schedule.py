"""Learning rate as a function of the optimiser step."""

from collections.abc import Callable

from capsbench.config import Optimizer, Schedule

RELEASED_STEPS_PER_DECAY = 2000
RELEASED_STEPS = 300_000


def rate_factor(cfg: Optimizer, planned_steps: int) -> Callable[[int], float]:
    """Factor on the initial learning rate at a step: max(floor / lr, decay^(step / decay_steps)).

    The released code decays by 0.96 every 2,000 of its 300,000 steps, continuously, down to a floor of 1e-6. With
    `decay_steps` left open the same 150 factors are spread over the planned steps, so that a short run goes through
    the same range of rates.
    """
    if cfg.schedule is Schedule.constant:
        return lambda _: 1.0
    scaled = planned_steps * RELEASED_STEPS_PER_DECAY / RELEASED_STEPS
    decay_steps = cfg.decay_steps if cfg.decay_steps is not None else max(scaled, 1e-9)
    lowest = cfg.floor / cfg.lr
    return lambda step: max(lowest, cfg.decay ** (step / decay_steps))
