"""Batches: a pure function of the seed, complete, shifted as said, and the same after a resume or on several ranks."""

import numpy as np
import pytest
import torch

from capsbench.data.batches import EvalBatches, TrainBatches, epoch_plan, to_unit

CPU = torch.device("cpu")
COUNT, SIZE, BATCH = 22, 6, 4


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Images told apart by any pixel: image n holds n + 1 in every pixel, plus 100 in its top left one."""
    images = torch.arange(1, COUNT + 1, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, SIZE, SIZE)
    images[:, :, 0, 0] += 100
    return images


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    return torch.arange(COUNT) % 10


def batches(images, labels, **changes) -> TrainBatches:
    asked = {"batch_size": BATCH, "pad": 0, "shift": 2, "seed": 0, "device": CPU, **changes}
    return TrainBatches(images, labels, **asked)


def identities(batch: torch.Tensor) -> list[int]:
    """Which image each picture of a batch is, read from its pixels."""
    return [int(picture[picture > 0].mul(255).round().min()) - 1 for picture in batch]


def shift_by_loop(image: np.ndarray, down: int, right: int) -> np.ndarray:
    shifted = np.zeros_like(image)
    for row in range(SIZE):
        for column in range(SIZE):
            if 0 <= row - down < SIZE and 0 <= column - right < SIZE:
                shifted[:, row, column] = image[:, row - down, column - right]
    return shifted


def test_plan_depends_on_seed_and_epoch_alone():
    plan = epoch_plan(50, 2, 3, 4)
    torch.rand(7)
    for one, other in zip(plan, epoch_plan(50, 2, 3, 4), strict=True):
        assert torch.equal(one, other)
    for seed, epoch in ((3, 5), (4, 4), (4, 3)):
        for one, other in zip(plan, epoch_plan(50, 2, seed, epoch), strict=True):
            assert not torch.equal(one, other)


def test_plan_is_the_same_on_every_machine():
    """Fixed numbers: a library that draws otherwise would silently make every stored run another run."""
    order, corners = epoch_plan(6, 2, 0, 0)
    assert order.tolist() == [1, 4, 5, 3, 2, 0]
    assert corners.tolist() == [[4, 3], [2, 0], [0, 2], [0, 2], [1, 0], [4, 2]]


def test_plan_takes_no_random_numbers_from_the_model():
    """Dropout and data order do not disturb each other."""
    before = torch.get_rng_state()
    epoch_plan(10, 2, 0, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_all_shifts_are_equally_likely():
    _, corners = epoch_plan(50_000, 2, 0, 0)
    counts = np.bincount((corners[:, 0] * 5 + corners[:, 1]).numpy(), minlength=25)
    assert len(counts) == 25
    # 2000 expected in each of 25 cells; chi-squared with 24 degrees of freedom is below 52 in 99.9 %.
    assert ((counts - 2000) ** 2 / 2000).sum() < 52


def test_every_image_at_most_once_per_epoch_and_all_in_time(images, labels):
    loader = batches(images, labels)
    assert len(loader) == COUNT // BATCH
    seen, epochs = set(), []
    for _ in range(8):
        epoch = [n for pictures, _ in loader for n in identities(pictures)]
        assert len(epoch) == len(set(epoch)) == 20
        epochs.append(epoch)
        seen.update(epoch)
    assert len({tuple(epoch) for epoch in epochs}) == 8
    assert seen == set(range(COUNT))


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (5, 1), (6, 2), (11, 3)])
def test_a_round_is_as_many_epochs_as_its_steps_fill(images, labels, steps, epochs):
    """Five batches an epoch: the same ones in the same order, however many epochs a round has."""
    round_, single = batches(images, labels, round_steps=steps), batches(images, labels)
    assert len(round_) == 5 * epochs
    expected = [identities(pictures) for _ in range(2 * epochs) for pictures, _ in single]
    assert [identities(pictures) for _ in range(2) for pictures, _ in round_] == expected
    resumed = batches(images, labels, round_steps=steps)
    resumed.load_state_dict({"done": 5 * epochs - 2})
    assert [identities(pictures) for pictures, _ in resumed] == expected[5 * epochs - 2 : 5 * epochs]


def test_labels_stay_with_their_images(images, labels):
    for pictures, classes in batches(images, labels):
        assert classes.tolist() == [labels[n].item() for n in identities(pictures)]


def test_pictures_are_shifted_copies_with_zeros_moved_in(images, labels):
    """Compared with a loop over pixels, for the shifts that the plan names."""
    random = torch.randint(1, 256, (COUNT, 2, SIZE, SIZE), dtype=torch.uint8)
    order, corners = epoch_plan(COUNT, 2, 5, 0)
    pictures = torch.cat([pictures for pictures, _ in batches(random, labels, seed=5)])
    assert pictures.dtype is torch.float32
    shifts = set()
    for picture, index, corner in zip(pictures, order, corners, strict=False):
        # A window further down shows the image further up.
        down, right = 2 - corner[0].item(), 2 - corner[1].item()
        shifts.add((down, right))
        expected = shift_by_loop(random[index].numpy(), down, right)
        np.testing.assert_array_equal(picture.mul(255).round().numpy(), expected)
    assert len(shifts) > 10
    assert {abs(way) for shift in shifts for way in shift} == {0, 1, 2}


@pytest.mark.parametrize("shift", [0, 1, 6])
def test_padding_makes_the_frame_larger(images, labels, shift):
    """Pad 6 and shift 6 are the affNIST protocol's expanded MNIST: the whole digit stays inside."""
    pad = 6
    for pictures, _ in batches(images, labels, pad=pad, shift=shift):
        assert pictures.shape == (BATCH, 1, SIZE + 2 * pad, SIZE + 2 * pad)
        assert ((pictures > 0).sum(dim=(1, 2, 3)) == SIZE * SIZE).all()
        first = [tuple(torch.nonzero(picture[0])[0].tolist()) for picture in pictures]
        assert all(abs(row - pad) <= shift and abs(column - pad) <= shift for row, column in first)
        if shift == 0:
            assert set(first) == {(pad, pad)}


def test_ranks_share_every_batch(images, labels):
    whole = list(batches(images, labels))
    for world in (2, 3):
        parts = [list(batches(images, labels, rank=rank, world=world)) for rank in range(world)]
        for number, (pictures, _) in enumerate(whole):
            shares = [identities(part[number][0]) for part in parts]
            assert sorted(n for share in shares for n in share) == sorted(identities(pictures))
            together = torch.cat([part[number][0] for part in parts])
            order = [rank + world * i for rank in range(world) for i in range(len(shares[rank]))]
            assert torch.equal(together, pictures[order])


@pytest.mark.parametrize("taken", [0, 1, 4, 5, 7, 12])
def test_a_resumed_run_gets_exactly_the_batches_that_are_left(images, labels, taken):
    def endless(loader):
        while True:
            yield from loader

    whole, first, second = (batches(images, labels, seed=2) for _ in range(3))
    everything = [batch for _, batch in zip(range(15), endless(whole), strict=False)]
    stream = endless(first)
    for _ in range(taken):
        next(stream)
    second.load_state_dict(first.state_dict())
    rest = [batch for _, batch in zip(range(15 - taken), endless(second), strict=False)]
    assert first.state_dict() == {"done": taken}
    for (pictures, classes), (expected, expected_classes) in zip(rest, everything[taken:], strict=True):
        assert torch.equal(pictures, expected)
        assert torch.equal(classes, expected_classes)


def test_limit_shortens_an_epoch(images, labels):
    loader = batches(images, labels, limit=2)
    assert len(loader) == 2
    first, second = ([identities(pictures) for pictures, _ in loader] for _ in range(2))
    assert len(first) == 2
    assert first != second


def test_repeat_gives_the_same_batches_in_every_epoch(images, labels):
    loader = batches(images, labels, repeat=2)
    first, second = (torch.cat([pictures for pictures, _ in loader]) for _ in range(2))
    assert torch.equal(first, second)
    assert len(first) == 2 * BATCH


def test_evaluation_batches_are_all_images_in_order(images, labels):
    loader = EvalBatches(images, labels, batch_size=8, pad=2, device=CPU)
    found = list(loader)
    assert len(loader) == len(found) == 3
    assert [len(classes) for _, classes in found] == [8, 8, 6]
    pictures = torch.cat([pictures for pictures, _ in found])
    assert torch.equal(torch.cat([classes for _, classes in found]), labels)
    assert torch.equal(pictures, to_unit(torch.nn.functional.pad(images, [2] * 4)))
    assert len(list(EvalBatches(images, labels, batch_size=8, pad=0, device=CPU, limit=2))) == 2


def test_evaluation_ranks_see_every_image_once(images, labels):
    seen = []
    for rank in range(3):
        for pictures, _ in EvalBatches(images, labels, batch_size=5, pad=0, device=CPU, rank=rank, world=3):
            seen += identities(pictures)
    assert sorted(seen) == list(range(COUNT))


def test_bytes_become_the_unit_interval():
    unit = to_unit(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8))
    torch.testing.assert_close(unit, torch.tensor([[[[0.0, 0.2, 1.0]]]]))
    assert unit.max() <= 1
