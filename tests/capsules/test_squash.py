import pytest
import torch

from capsbench.capsules.squash import at_least_fp32, length_of, squash, squash_exponential, squash_hinton
from capsbench.config_models import Squash

KINDS = (Squash.hinton, Squash.exponential)


def written(kind: Squash, s: list[float]) -> list[float]:
    """Equation 1 of Sabour et al. 2017, or equation 5 of Mazzia et al. 2021, number by number."""
    length = sum(x * x for x in s) ** 0.5
    if kind is Squash.hinton:
        factor = length**2 / (1 + length**2) / length
    else:
        factor = (1 - 2.718281828459045**-length) / length
    return [factor * x for x in s]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("s", [[3.0, -4.0], [1e-3, 0.0, 0.0], [0.5] * 8, [30.0, 40.0]])
def test_follows_the_equation(kind, s):
    result = squash(torch.tensor(s, dtype=torch.float64), kind)
    torch.testing.assert_close(result, torch.tensor(written(kind, s), dtype=torch.float64), rtol=1e-12, atol=1e-15)


def test_released_code_squash_of_ones():
    """`layers_test.py::testSquash` of the released code: ones of length 1 become length 0.5."""
    squashed = squash_hinton(torch.ones(8, 10, 1, 6, 6), dim=2)
    assert squashed.shape == (8, 10, 1, 6, 6)
    torch.testing.assert_close(squashed, torch.full((8, 10, 1, 6, 6), 0.5))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_length_is_the_norm(dim):
    s = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    expected = torch.linalg.vector_norm(s, dim=dim, keepdim=True)
    torch.testing.assert_close(length_of(s, dim), expected)
    torch.testing.assert_close(*(torch.autograd.grad(x.pow(3).sum(), s) for x in (length_of(s, dim), expected)))


@pytest.mark.parametrize("kind", KINDS)
def test_works_along_any_axis(kind):
    s = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    along_two = squash(s, kind, dim=2)
    along_last = squash(s.movedim(2, -1), kind).movedim(-1, 2)
    torch.testing.assert_close(along_two, along_last, rtol=0, atol=0)
    assert not torch.allclose(along_two, squash(s, kind, dim=1))


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_grow_but_stay_below_one_and_direction_stays(kind):
    direction = torch.nn.functional.normalize(torch.randn(8, dtype=torch.float64), dim=0)
    lengths = torch.logspace(-3, 1, 50, dtype=torch.float64)
    squashed = squash(lengths[:, None] * direction, kind)
    found = torch.linalg.vector_norm(squashed, dim=-1)
    assert (found.diff() > 0).all()
    assert (found < 1).all()
    torch.testing.assert_close(squashed / found[:, None], direction.expand(50, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "slope"), [(Squash.hinton, 0.0), (Squash.exponential, 1.0)])
def test_gradient_at_zero_is_finite(kind, slope, dtype):
    """The limit of the Jacobian at s = 0 is 0 for the paper's squash and the identity for the exponential one."""
    s = torch.zeros(4, 8, dtype=dtype, requires_grad=True)
    squashed = squash(s, kind)
    squashed.sum().backward()
    assert torch.equal(squashed, torch.zeros_like(squashed))
    torch.testing.assert_close(s.grad, torch.full((4, 8), slope, dtype=dtype))


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_tiny_and_huge_capsules_is_finite(kind):
    for size in (1e-30, 1e-20, 1e-7, 1e7, 1e15):
        s = torch.full((8,), size, requires_grad=True)
        squash(s, kind).sum().backward()
        assert s.grad is not None
        assert torch.isfinite(s.grad).all(), size


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind):
    s = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: squash(s, kind), (s,))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_formats_are_squashed_in_single_precision(kind, dtype):
    """In fp16 a squared length of 300^2 is infinite, and in bf16 1 + 0.05^2 is 1."""
    s = torch.tensor([[300.0, 0.0], [0.05, 0.0]], dtype=dtype)
    squashed = squash(s, kind)
    assert squashed.dtype is torch.float32
    expected = squash(s.double(), kind).float()
    torch.testing.assert_close(squashed, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_saturates_without_overflow(kind):
    for dtype, largest in ((torch.bfloat16, 1e15), (torch.float16, 6e4)):
        squashed = squash(torch.full((1, 4), largest, dtype=dtype), kind)
        torch.testing.assert_close(torch.linalg.vector_norm(squashed), torch.tensor(1.0))


def test_exponential_keeps_a_gradient_where_hinton_has_none():
    s = torch.full((1, 8), 1e-4)
    short = {kind: torch.linalg.vector_norm(squash(s, kind)) for kind in KINDS}
    assert short[Squash.exponential] > 1000 * short[Squash.hinton]
    torch.testing.assert_close(squash_exponential(s), s, rtol=1e-3, atol=0)


def test_at_least_fp32_keeps_double_precision():
    assert at_least_fp32(torch.ones(1, dtype=torch.float64)).dtype is torch.float64
    assert at_least_fp32(torch.ones(1, dtype=torch.bfloat16)).dtype is torch.float32
