"""How large images must be for a network's convolutions to leave anything of them."""

from collections.abc import Sequence

from capsbench.errors import CapsbenchError

Window = tuple[int, int]


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
