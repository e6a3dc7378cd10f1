"""Telling a run that needs more memory than there is from a fault of the program."""

from collections.abc import Iterator
from contextlib import contextmanager

from capsbench.errors import CapsbenchError

# What PyTorch's and NumPy's allocators say; only the first two have classes of their own.
SAYINGS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "Unable to allocate",
    "Storage size calculation overflowed",
    "Overflow when unpacking long",
    "array is too big",
)


@contextmanager
def lack_of_memory_explained() -> Iterator[None]:
    """While inside, an allocation that fails becomes a message in the user's words.

    Raises:
        CapsbenchError: what is inside needs more memory than the device or the machine has.
    """
    try:
        yield
    except (MemoryError, RuntimeError, TypeError, ValueError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(saying in text for saying in SAYINGS):
            raise
        first = (text.strip().splitlines() or ["MemoryError"])[0]
        raise CapsbenchError(
            "the run needs more memory than there is here: lower trainer.batch_size, trainer.eval_batch_size, "
            f"data.pad, data.shift, data.size or the model's sizes, or use a larger machine ({first[:200]})"
        ) from error
