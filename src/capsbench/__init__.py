"""capsbench: what capsule networks buy over convolution with pooling, settled with evidence."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capsbench.trained import load_run as load_run

__version__ = "0.1.0"
__all__ = ["__version__", "load_run"]


def __getattr__(name: str) -> Any:
    """`load_run` brings PyTorch with it, so it is imported when it is asked for."""
    if name == "load_run":
        from capsbench.trained import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
