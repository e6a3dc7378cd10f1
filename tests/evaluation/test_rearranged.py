import pytest
import torch

from capsbench.evaluation.rearranged import cycles, grid_shuffled, halves_swapped, mixed


def numbered(count, channels, height, width):
    pixels = torch.arange(channels * height * width).reshape(channels, height, width) % 251
    return pixels.to(torch.uint8).repeat(count, 1, 1, 1)


@pytest.mark.parametrize(("cells", "height", "width"), [(2, 28, 28), (4, 28, 28), (7, 28, 28), (3, 10, 17)])
def test_every_part_moves_whole_and_the_margin_stays(cells, height, width):
    images = numbered(6, 3, height, width)
    moved = grid_shuffled(images, cells, seed=3)
    way = cycles(6, cells**2, seed=3)
    rows, columns = height // cells, width // cells
    top, left = (height - rows * cells) // 2, (width - columns * cells) // 2
    expected = images.clone()
    for image in range(6):
        for place in range(cells**2):
            r, c = divmod(place, cells)
            from_r, from_c = divmod(int(way[image, place]), cells)
            to = (slice(top + r * rows, top + (r + 1) * rows), slice(left + c * columns, left + (c + 1) * columns))
            source = (
                slice(top + from_r * rows, top + (from_r + 1) * rows),
                slice(left + from_c * columns, left + (from_c + 1) * columns),
            )
            expected[image, :, to[0], to[1]] = images[image, :, source[0], source[1]]
    assert torch.equal(moved, expected)
    assert torch.equal(moved, grid_shuffled(images, cells, seed=3))
    assert not torch.equal(moved, grid_shuffled(images, cells, seed=4))


def test_ways_are_single_cycles_and_all_of_them_occur():
    ways = cycles(3000, 4, seed=0)
    for way in ways[:50].tolist():
        place, seen = 0, []
        for _ in range(4):
            seen.append(place)
            place = way[place]
        assert place == 0
        assert sorted(seen) == [0, 1, 2, 3]
    kinds, counts = ways.unique(dim=0, return_counts=True)
    assert len(kinds) == 6
    assert counts.min() > 400
    # What the first images get does not depend on how many there are.
    assert torch.equal(cycles(10, 4, seed=0), ways[:10])


def test_halves_swap_and_swap_back():
    images = numbered(2, 1, 6, 8)
    sides = halves_swapped(images, upright=False)
    assert torch.equal(sides[..., :4], images[..., 4:])
    ends = halves_swapped(images, upright=True)
    assert torch.equal(ends[:, :, :3], images[:, :, 3:])
    assert torch.equal(halves_swapped(halves_swapped(images, upright=True), upright=True), images)


def test_mixed_is_a_chessboard():
    white, black = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    board = mixed(white, black, 4)[0, 0]
    assert board[0].tolist() == [255, 255, 0, 0, 255, 255, 0, 0]
    assert torch.equal(board[2], 255 - board[0])
    assert torch.equal(board[::2, ::2], (255 * (1 - torch.arange(4)[:, None].add(torch.arange(4)) % 2)).to(torch.uint8))
