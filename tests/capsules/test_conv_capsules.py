"""Windows, matrix votes and the posterior over overlapping parents, against loops."""

import torch

from capsbench.capsules.conv_capsules import (
    OverlappingParents,
    matrix_votes,
    unwindow,
    window_activations,
    window_poses,
)

BATCH, TYPES, SIDE, SIZE, KERNEL, STRIDE, PARENTS = 2, 3, 2, 5, 3, 2, 4
OUT = (SIZE - KERNEL) // STRIDE + 1


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_windows_hold_the_capsules_under_them():
    poses, activations = random(BATCH, TYPES, SIDE**2, SIZE, SIZE), random(BATCH, TYPES, SIZE, SIZE)
    found, seen = window_poses(poses, KERNEL, STRIDE), window_activations(activations, KERNEL, STRIDE)
    number = 0
    for b in range(BATCH):
        for row in range(OUT):
            for column in range(OUT):
                place = 0
                for t in range(TYPES):
                    for y in range(KERNEL):
                        for x in range(KERNEL):
                            where = (STRIDE * row + y, STRIDE * column + x)
                            assert torch.equal(found[number, place], poses[b, t, :, where[0], where[1]])
                            assert seen[number, place] == activations[b, t, where[0], where[1]]
                            place += 1
                number += 1
    assert len(found) == number == len(seen)


def test_votes_are_products_of_matrices():
    poses, matrices = random(BATCH, 5, SIDE**2), random(5, PARENTS, SIDE, SIDE)
    found = matrix_votes(poses, matrices).stored()
    for b in range(BATCH):
        for i in range(5):
            for j in range(PARENTS):
                expected = poses[b, i].view(SIDE, SIDE) @ matrices[i, j]
                torch.testing.assert_close(found[b, i, j], expected.flatten())


def test_unwindow_puts_parents_back_on_their_positions():
    values = random(BATCH * OUT * OUT, PARENTS, 7)
    maps = unwindow(values, BATCH)
    assert maps.shape == (BATCH, PARENTS, 7, OUT, OUT)
    assert torch.equal(maps[1, :, :, 0, 1], values[OUT * OUT + 1])
    assert torch.equal(unwindow(values[..., 0], BATCH), maps[:, :, 0])


def test_the_posterior_of_a_capsule_sums_to_one_over_all_windows_it_is_in():
    log = 3 * random(BATCH * OUT * OUT, TYPES * KERNEL**2, PARENTS)
    found = OverlappingParents(SIZE, KERNEL, STRIDE)(log.transpose(1, 2)).transpose(1, 2)
    densities, sums = {}, {}
    for number in range(len(log)):
        b, position = divmod(number, OUT * OUT)
        row, column = divmod(position, OUT)
        for place in range(TYPES * KERNEL**2):
            t, offset = divmod(place, KERNEL**2)
            y, x = divmod(offset, KERNEL)
            capsule = (b, t, STRIDE * row + y, STRIDE * column + x)
            densities[number, place] = capsule
            sums[capsule] = sums.get(capsule, 0) + log[number, place].exp().sum()
    assert len(sums) < len(densities)
    for (number, place), capsule in densities.items():
        torch.testing.assert_close(found[number, place], log[number, place].exp() / sums[capsule])


def test_the_posterior_survives_densities_far_apart():
    log = 500 * random(BATCH * OUT * OUT, TYPES * KERNEL**2, PARENTS)
    found = OverlappingParents(SIZE, KERNEL, STRIDE)(log.transpose(1, 2)).transpose(1, 2)
    assert torch.isfinite(found).all()
    assert found.max() <= 1 + 1e-9
