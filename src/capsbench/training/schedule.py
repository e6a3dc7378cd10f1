"""Learning rate as a function of the optimiser step."""

from collections.abc import Callable

from capsbench.config import Optimizer, Schedule

RELEASED_STEPS_PER_DECAY = 2000
RELEASED_STEPS = 300_000


def rate_factor(cfg: Optimizer, planned_steps: int) -> Callable[[int], float]:
    """Factor on the initial learning rate at a step: max(floor / lr, decay^(step / decay_steps) * cooldown).

    The released code decays by 0.96 every 2,000 of its 300,000 steps, continuously, down to a floor of 1e-6. With
    `decay_steps` left open the same 150 factors are spread over the planned steps, so that a short run goes through
    the same range of rates; a very short one then learns little, as it spends most of its steps at small rates. A
    cooldown instead keeps the released rates and lets them fall to the floor in a straight line at the end
    (Haegele et al. 2024).
    """
    lowest = cfg.floor / cfg.lr

    def factor(step: int) -> float:
        return max(lowest, _decay(cfg, planned_steps, step) * _cooldown(cfg, planned_steps, step))

    return factor


def _decay(cfg: Optimizer, planned_steps: int, step: int) -> float:
    if cfg.schedule is Schedule.constant:
        return 1.0
    scaled = planned_steps * RELEASED_STEPS_PER_DECAY / RELEASED_STEPS
    decay_steps = cfg.decay_steps if cfg.decay_steps is not None else max(scaled, 1e-9)
    return float(cfg.decay ** (step / decay_steps))


def _cooldown(cfg: Optimizer, planned_steps: int, step: int) -> float:
    start = planned_steps * (1 - cfg.cooldown)
    if cfg.cooldown == 0 or step <= start:
        return 1.0
    return max(0.0, (planned_steps - step) / (planned_steps - start))
