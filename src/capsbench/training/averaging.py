"""The exponential moving average of a model's weights, which is what some recipes validate and test."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class WeightAverage:
    """Moving average of parameters, kept beside them, that can change places with them.

    After the first step the average is the weights; after each later one it is decay times itself plus 1 - decay times
    the weights. Running means of batch normalisation are not averaged. Both as in the code of Byerly et al. 2021
    (AdamByerly/BMCNNwHFCs, `ema_weights.py`). While the average is shown the parameters hold it, and `aside` what is
    trained.

    Attributes:
        aside: the average, or while it is shown the trained weights; empty before the first step.
        shown: whether the parameters hold the average.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = list(parameters), decay
        self.aside: list[Tensor] = []
        self.shown = False

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimiser step."""
        if self.aside:
            torch._foreach_lerp_(self._aside(), self._weights(), 1 - self.decay)
        else:
            self.aside = [weight.clone() for weight in self._weights()]

    @torch.no_grad()
    def show(self, average: bool) -> None:
        """Let the parameters hold the average, or what is trained; nothing where there is no average yet."""
        if average is self.shown or not self.aside:
            return
        held = [weight.clone() for weight in self._weights()]
        torch._foreach_copy_(self._weights(), self._aside())
        torch._foreach_copy_(self._aside(), held)
        self.shown = average

    def _weights(self) -> list[Tensor]:
        return [parameter.detach() for parameter in self.parameters]

    def _aside(self) -> list[Tensor]:
        """`aside` where the parameters are: they may have moved since it was read from a checkpoint."""
        self.aside = [one.to(weight.device) for one, weight in zip(self.aside, self.parameters, strict=True)]
        return self.aside
