from contextlib import contextmanager

import torch
from torch import nn

from capsbench.evaluation.predict import predict
from capsbench.models.output import Output


class RowSums(nn.Module):
    """Scores are the sums of the image's rows; notes the batches it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images, labels=None):
        self.seen.append(images)
        return Output(images.sum(dim=(1, 3)))


def test_pads_scales_and_keeps_the_order(cpu):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (10, 2, 5, 5), dtype=torch.uint8, generator=generator)
    model = RowSums()
    answers = predict(model, images, cpu, batch_size=4, pad=3)
    assert [tuple(batch.shape) for batch in model.seen] == [(4, 2, 11, 11), (4, 2, 11, 11), (2, 2, 11, 11)]
    expected = torch.nn.functional.pad(images.float() / 255, [3] * 4).sum(dim=(1, 3))
    torch.testing.assert_close(answers.scores, expected)
    assert torch.equal(answers.predicted, expected.argmax(dim=1))
    assert not answers.scores.is_inference()


def test_every_batch_is_computed_in_the_callers_context(cpu):
    entered = []

    @contextmanager
    def precision():
        entered.append(True)
        with torch.autocast("cpu", torch.bfloat16):
            yield

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 3)
            self.types = []

        def forward(self, images, labels=None):
            scores = self.layer(images.flatten(1))
            self.types.append(scores.dtype)
            return Output(scores)

    model = Linear()
    answers = predict(model, torch.zeros(5, 1, 4, 4, dtype=torch.uint8), cpu, 2, precision=precision)
    assert len(entered) == 3
    assert set(model.types) == {torch.bfloat16}
    assert answers.scores.dtype is torch.float32
