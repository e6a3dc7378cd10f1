"""Batches from images that live on the device as bytes; the training order and the changes are a function of the seed.

The whole plan of an epoch (which image comes when, how far it is shifted, how it is changed) is drawn on the CPU from
the run's seed and the epoch's number. So it is the same on every device, and a resumed run needs to know only how many
steps it has done to go on exactly as if it had never stopped.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from capsbench.data.augment import Augment, apply, draw, to_device
from capsbench.errors import CapsbenchError

Batch = tuple[Float[Tensor, "batch channels height width"], Int[Tensor, " batch"]]


def to_unit(
    images: UInt8[Tensor, "batch *digits channels height width"],
) -> Float[Tensor, "batch *digits channels height width"]:
    """Bytes to single precision in [0, 1], as the released code feeds them."""
    return images.float().mul_(1 / 255)


def epoch_plan(
    count: int, shift: int, seed: int, epoch: int, room: int = 0
) -> tuple[Int[Tensor, " count"], Int[Tensor, "count 2"]]:
    """Order of the images in one epoch and the corner (row, column) of each image's window, 0 to 2 * shift + room.

    `room` is by how much images are larger than the windows that are cut out of them.
    """
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    order = torch.randperm(count, generator=generator)
    corners = torch.randint(0, 2 * shift + room + 1, (count, 2), generator=generator)
    return order, corners


class TrainBatches:
    """Endlessly repeatable epochs of shuffled, randomly shifted training batches.

    The last incomplete batch of an epoch is left out, so that all batches have one shape; the order is new in every
    epoch, so no image is left out for good. An iteration is a round of as many whole epochs as are asked for between
    two validations: one, as a rule.

    Args:
        images: training images, unpadded.
        labels: their classes.
        batch_size: images per optimiser step over all ranks together.
        pad: zero pixels added on every side.
        shift: largest random shift in each direction.
        seed: decides order and shifts.
        device: where images live.
        limit: use only this many batches per epoch.
        repeat: yield the first `repeat` batches of epoch 0, unshifted order, again and again (overfitting on purpose).
        rank: this process's share of every batch is every `world`-th image from `rank`.
        world: number of processes.
        augment: what else is done to the images.
        round_steps: batches that a round has at least; None for one epoch.

    Attributes:
        epoch_length: batches in one epoch.
        length: batches in one round.
        done: batches that the run has taken so far.

    Raises:
        CapsbenchError: a window is asked for that is larger than the images, that would be padded, or of images that
            are not square.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "count channels height width"],
        labels: Int[Tensor, " count"],
        *,
        batch_size: int,
        pad: int,
        shift: int,
        seed: int,
        device: torch.device,
        limit: int | None = None,
        repeat: int | None = None,
        rank: int = 0,
        world: int = 1,
        augment: Augment | None = None,
        round_steps: int | None = None,
    ) -> None:
        height, width = images.shape[2:]
        self.augment, self.room = augment or Augment(), 0
        if self.augment.crop is not None:
            if pad:
                raise CapsbenchError(
                    f"data.pad={pad} with data.crop={self.augment.crop}: a window is not padded; use one"
                )
            if height != width or not 1 <= self.augment.crop <= height:
                raise CapsbenchError(
                    f"data.crop={self.augment.crop}: expected square images of at least that, found {height} x {width}"
                )
            self.room = height - self.augment.crop
        padded = functional.pad(images, [pad + shift] * 4).to(device)
        size = (height + 2 * pad - self.room, width + 2 * pad - self.room)
        self.windows = padded.unfold(2, size[0], 1).unfold(3, size[1], 1)
        self.labels = labels.to(device)
        self.batch_size, self.shift, self.seed, self.device = batch_size, shift, seed, device
        self.repeat, self.rank, self.world = repeat, rank, world
        batches = len(labels) // batch_size
        self.epoch_length = min(value for value in (batches, limit, repeat) if value is not None)
        self.length = self.epoch_length * -(-(round_steps or 1) // self.epoch_length)
        self.done = 0

    def __len__(self) -> int:
        """Batches in one round."""
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the round in which `done` batches of the run stand."""
        end = (self.done // self.length + 1) * self.length
        while self.done < end:
            epoch, first = divmod(self.done, self.epoch_length)
            yield from self._epoch(0 if self.repeat else epoch, first)

    def _epoch(self, planned: int, first: int) -> Iterator[Batch]:
        """Batches of an epoch from `first` on; each counts as done when it is handed out."""
        count = len(self.labels)
        order, corners = epoch_plan(count, self.shift, self.seed, planned, self.room)
        order, corners = order.to(self.device), corners.to(self.device)
        drawn = to_device(draw(count, self.augment, self.seed, planned), self.device)
        for batch in range(first, self.epoch_length):
            part = slice(batch * self.batch_size + self.rank, (batch + 1) * self.batch_size, self.world)
            index, corner = order[part], corners[part]
            self.done += 1
            pixels = to_unit(self.windows[index, :, corner[:, 0], corner[:, 1]])
            yield apply(pixels, drawn, part, clip=self.augment.clip), self.labels[index]

    def example(self) -> Batch:
        """One batch of the shape that training has; taking it does not move the run on."""
        index = torch.arange(self.rank, self.batch_size, self.world, device=self.device)
        return to_unit(self.windows[index, :, self.shift, self.shift]), self.labels[index]

    def state_dict(self) -> dict[str, Any]:
        """How many batches the run has taken so far."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after `state["done"]` batches."""
        self.done = state["done"]


class EvalBatches:
    """Images in their own order, padded, not shifted."""

    def __init__(
        self,
        images: UInt8[Tensor, "count channels height width"],
        labels: Int[Tensor, " count"],
        *,
        batch_size: int,
        pad: int,
        device: torch.device,
        limit: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.images, self.labels = images[rank::world].to(device), labels[rank::world].to(device)
        self.batch_size, self.pad = batch_size, pad
        batches = -(-len(self.labels) // batch_size)
        self.length = batches if limit is None else min(limit, batches)

    def __len__(self) -> int:
        """Batches in one pass."""
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        """All images once; the last batch may be shorter."""
        for batch in range(self.length):
            part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            images = self.images[part]
            yield to_unit(functional.pad(images, [self.pad] * 4) if self.pad else images), self.labels[part]
