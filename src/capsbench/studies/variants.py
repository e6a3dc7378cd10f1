"""Configurations that share a base and differ in some values: the YAML files are read once, not for every trial."""

import re
from collections.abc import Sequence
from copy import deepcopy

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from capsbench.compose import compose, composed, explained, typed
from capsbench.config import Config

# Values lie in groups; a name without a dot may be the group itself, whose option brings other keys along.
VALUE = re.compile(r"\w+(\.\w+)+=.*", re.DOTALL)


class Variants:
    """Configurations of one base.

    Args:
        base: overrides that all share.
    """

    def __init__(self, base: Sequence[str]) -> None:
        self.base = tuple(base)
        self.parser = OverridesParser.create()
        self.composed: DictConfig | None = None

    def compose(self, overrides: Sequence[str]) -> Config:
        """`capsbench.compose.compose` of the base and further overrides.

        Raises:
            CapsbenchError: for an unknown key, a wrong value or an impossible combination.
        """
        if not all(VALUE.fullmatch(text) for text in overrides):
            return compose([*self.base, *overrides])
        with explained():
            if self.composed is None:
                (self.composed,) = composed([self.base])
            cfg = deepcopy(self.composed)
            for item in self.parser.parse_overrides(list(overrides)):
                OmegaConf.update(cfg, item.key_or_group, item.value(), merge=True)
            return typed(cfg)
