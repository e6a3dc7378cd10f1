"""How large images must be for a network's convolutions to leave anything of them."""

from collections.abc import Sequence

from capsbench.errors import CapsbenchError

Window = tuple[int, int]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a row of `size` pixels so that a convolution has size / stride positions, rounded up.

    One more after than before where their number is odd: what "SAME" means in TensorFlow, whose networks are rebuilt
    here.
    """
    missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return missing // 2, missing - missing // 2


def map_size(size: int, windows: Sequence[Window], keys: str) -> int:
    """Height and width of the map behind unpadded convolutions.

    Args:
        size: height and width of the images.
        windows: kernel and stride of each convolution, in order.
        keys: the configuration's keys that decide them, for the message.

    Raises:
        CapsbenchError: if the images are smaller than the field of view of one position of the last map.
    """
    needed, rest = 1, size
    for kernel, stride in reversed(windows):
        needed = (needed - 1) * stride + kernel
    if size < needed:
        raise CapsbenchError(f"images of {size}x{size} are too small for {keys}: {needed} pixels are needed")
    for kernel, stride in windows:
        rest = (rest - kernel) // stride + 1
    return rest
