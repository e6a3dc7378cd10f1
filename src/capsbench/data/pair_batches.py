"""Batches of digits on top of each other, made from single images as they are needed (see `overlap`).

Like single images, the pairs of an epoch are a function of the run's seed and the epoch's number alone, so that a
resumed run goes on exactly as if it had never stopped.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from capsbench.data.batches import TrainBatches, to_unit
from capsbench.data.overlap import Pairs, fixed_pairs, laid_over, overlap, train_pairs

# Both digits together, their classes, and each digit alone: what a reconstruction of it is compared with.
PairBatch = tuple[
    Float[Tensor, "batch channels height width"],
    Int[Tensor, "batch 2"],
    Float[Tensor, "batch 2 channels height width"],
]


class TrainPairs(TrainBatches):
    """Endlessly repeatable epochs of new pairs: every image is the first of one pair in each epoch.

    Takes what `TrainBatches` takes; both digits of a pair are shifted independently.
    """

    def _epoch(self, planned: int, first: int) -> Iterator[PairBatch]:  # type: ignore[override]
        pairs = train_pairs(self.labels, self.seed, planned, self.shift)
        pairs = Pairs(pairs.index.to(self.device), pairs.corner.to(self.device), self.shift)
        for batch in range(first, self.epoch_length):
            part = slice(batch * self.batch_size + self.rank, (batch + 1) * self.batch_size, self.world)
            self.done += 1
            yield self._batch(pairs.part(part))

    def example(self) -> PairBatch:  # type: ignore[override]
        """One batch of the shape that training has; taking it does not move the run on."""
        pairs = train_pairs(self.labels, self.seed, 0, self.shift)
        return self._batch(pairs.part(slice(self.rank, self.batch_size, self.world)))

    def _batch(self, pairs: Pairs) -> PairBatch:
        index = pairs.index.to(self.device)
        rows, columns = pairs.corner.to(self.device).unbind(2)
        digits = self.windows[index, :, rows, columns]
        return to_unit(laid_over(digits)), self.labels[index], to_unit(digits)


class EvalPairs:
    """The same pairs in every pass: every image `each` times as the first digit."""

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
        each: int = 1,
        limit: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.images, self.labels, self.batch_size, self.pad = images.to(device), labels.to(device), batch_size, pad
        nothing = Pairs(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 2, 2, dtype=torch.int64), shift)
        pairs = fixed_pairs(labels.cpu(), each, shift, seed) if len(labels) else nothing
        self.pairs = pairs.part(slice(rank, None, world))
        batches = -(-len(self.pairs) // batch_size)
        self.length = batches if limit is None else min(limit, batches)

    def __len__(self) -> int:
        """Batches in one pass."""
        return self.length

    def __iter__(self) -> Iterator[PairBatch]:
        """All pairs once; the last batch may be shorter."""
        for batch in range(self.length):
            part = self.pairs.part(slice(batch * self.batch_size, (batch + 1) * self.batch_size))
            made = overlap(self.images, self.labels, part, self.pad)
            yield to_unit(made.images), made.labels, to_unit(made.digits)
