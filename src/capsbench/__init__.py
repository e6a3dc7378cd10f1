"""capsbench: what capsule networks buy over convolution with pooling, settled with evidence."""

__version__ = "0.1.0"
