import mmap

import psutil
import pytest
import torch
from torch import nn

from capsbench.config_models import CapsNet
from capsbench.evaluation import cost
from capsbench.models.build import build_model
from capsbench.models.output import Output


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 5)
        self.linear = nn.Linear(4 * 36 * 36, 10)
        self.decoder = nn.Linear(10, 7)

    def forward(self, images, labels=None):
        scores = self.linear(self.conv(images).flatten(1))
        self.decoder(scores)
        return Output(scores)


def test_counts_of_a_network_done_by_hand(config, cpu, mnist):
    config.data.pad = 6
    numbers = cost.evaluate(Small().eval(), mnist, config, cpu).numbers
    assert numbers["cost/parameters"] == (25 * 4 + 4) + (4 * 36 * 36 * 10 + 10) + (10 * 7 + 7)
    assert numbers["cost/decoder_parameters"] == 77
    assert numbers["cost/macs"] == 25 * 4 * 36 * 36 + 4 * 36 * 36 * 10 + 70
    assert numbers["cost/peak_memory_mb"] > 50


def test_the_papers_capsnet(config, cpu, mnist):
    numbers = cost.evaluate(build_model(CapsNet(), 1, 28, 10).eval(), mnist, config, cpu).numbers
    assert numbers["cost/parameters"] == 8_215_728
    assert numbers["cost/decoder_parameters"] == 8_215_728 - 6_804_384
    convolutions = 81 * 256 * 400 + 81 * 256 * 256 * 36
    decoder = 160 * 512 + 512 * 1024 + 1024 * 784
    # How often votes are multiplied out is the routing code's business: once, or for each of its five sums.
    votes, sums = 1152 * 8 * 160, 5 * 1152 * 160
    assert convolutions + decoder + votes <= numbers["cost/macs"] <= convolutions + decoder + 5 * votes + sums


def test_frozen_weights_do_not_count_and_compiled_models_are_seen_through(cpu):
    model = Small().eval()
    compiled = torch.compile(model, backend="eager")
    assert cost.macs(compiled, (1, 40, 40), cpu) == cost.macs(model, (1, 40, 40), cpu)
    model.linear.requires_grad_(False)
    assert cost.parameters(model) == 104 + 77


def fill_and_free(megabytes):
    """Memory from the system itself: what the C library kept of earlier tests would not show."""
    with mmap.mmap(-1, megabytes * cost.MEBIBYTE) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1


def test_peak_memory_remembers_what_was_freed(cpu):
    before = psutil.Process().memory_info().rss / cost.MEBIBYTE
    fill_and_free(80)
    assert cost.peak_memory_mb(cpu) > before + 70


@pytest.mark.skipif(not cost.CLEAR_REFS.exists(), reason="the system cannot forget a peak")
def test_reset_forgets_it(cpu):
    fill_and_free(300)
    peak = cost.peak_memory_mb(cpu)
    cost.reset_peak_memory(cpu)
    assert cost.peak_memory_mb(cpu) < peak - 200
