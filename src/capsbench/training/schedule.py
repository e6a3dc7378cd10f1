"""Learning rate as a function of the optimiser step."""

import math
from collections.abc import Callable

from capsbench.config import Optimizer, Schedule

RELEASED_STEPS_PER_DECAY = 2000
RELEASED_STEPS = 300_000


def rate_factor(cfg: Optimizer, planned_steps: int) -> Callable[[int], float]:
    """Factor on the initial learning rate at a step, never below floor / lr.

    `exponential`: decay^(step / decay_steps). The released code of Sabour et al. 2017 decays by 0.96 every 2,000 of its
    300,000 steps, continuously, down to a floor of 1e-6. With `decay_steps` left open the same 150 factors are spread
    over the planned steps, so that a short run goes through the same range of rates; a very short one then learns
    little, as it spends most of its steps at small rates.
    `staircase`: decay^floor(step / decay_steps), for recipes that lower the rate once in so many epochs.
    `multistep`: decay^n, n being how many of `drops`, shares of the planned steps, are behind.
    `cosine`: from 1 to floor / lr along half a cosine (Loshchilov and Hutter 2017, without restarts).
    `constant`: 1.

    A cooldown lets any of them fall to the floor in a straight line at the end (Haegele et al. 2024).
    """
    lowest = cfg.floor / cfg.lr

    def factor(step: int) -> float:
        return max(lowest, _decay(cfg, planned_steps, step) * _cooldown(cfg, planned_steps, step))

    return factor


def _decay(cfg: Optimizer, planned_steps: int, step: int) -> float:
    match cfg.schedule:
        case Schedule.constant:
            return 1.0
        case Schedule.multistep:
            return float(cfg.decay ** sum(step >= share * planned_steps for share in cfg.drops))
        case Schedule.cosine:
            done = min(1.0, step / max(1, planned_steps))
            lowest = cfg.floor / cfg.lr
            return lowest + (1 - lowest) * (1 + math.cos(math.pi * done)) / 2
    scaled = planned_steps * RELEASED_STEPS_PER_DECAY / RELEASED_STEPS
    exponent = step / (cfg.decay_steps if cfg.decay_steps is not None else max(scaled, 1e-9))
    return float(cfg.decay ** (math.floor(exponent) if cfg.schedule is Schedule.staircase else exponent))


def _cooldown(cfg: Optimizer, planned_steps: int, step: int) -> float:
    start = planned_steps * (1 - cfg.cooldown)
    if cfg.cooldown == 0 or step <= start:
        return 1.0
    return max(0.0, (planned_steps - step) / (planned_steps - start))
