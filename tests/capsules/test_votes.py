"""Votes in both forms against u_j|i = W_ij u_i written as loops."""

import pytest
import torch

import paper_loops
from capsbench.capsules.votes import FactoredVotes, StoredVotes, Votes, lay_out

BATCH, INPUTS, OUTPUTS, D, E = 2, 5, 3, 4, 6


@pytest.fixture
def poses_BID():
    return torch.randn(BATCH, INPUTS, D, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def transforms_JDIE():
    return torch.randn(OUTPUTS, D, INPUTS, E, dtype=torch.float64, requires_grad=True)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def loops(poses_BID, transforms_JDIE):
    images = [paper_loops.cast_votes(list(poses), transforms_JDIE) for poses in poses_BID]
    return torch.stack([torch.stack([torch.stack(parents) for parents in votes]) for votes in images])


def both_forms(poses_BID, transforms_JDIE) -> dict[str, Votes]:
    return {
        "factored": FactoredVotes(poses_BID, transforms_JDIE),
        "stored": StoredVotes(FactoredVotes(poses_BID, transforms_JDIE).stored()),
    }


def test_stored_votes_are_the_matrix_products(poses_BID, transforms_JDIE):
    votes_BIJE = loops(poses_BID, transforms_JDIE)
    for form in both_forms(poses_BID, transforms_JDIE).values():
        torch.testing.assert_close(form.stored(), votes_BIJE)
        assert form.shape == (BATCH, INPUTS, OUTPUTS, E)


@pytest.mark.parametrize("form", ["factored", "stored"])
def test_weighted_sum_is_equation_2(form, poses_BID, transforms_JDIE):
    coupling_JBI = torch.rand(OUTPUTS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
    votes_BIJE = loops(poses_BID, transforms_JDIE)
    sums = torch.zeros(BATCH, OUTPUTS, E, dtype=torch.float64)
    for b in range(BATCH):
        for j in range(OUTPUTS):
            sums[b, j] = sum(coupling_JBI[j, b, i] * votes_BIJE[b, i, j] for i in range(INPUTS))
    found = both_forms(poses_BID, transforms_JDIE)[form].weighted_sum(coupling_JBI)
    torch.testing.assert_close(found, sums)
    same_gradients(found, sums, [poses_BID, transforms_JDIE, coupling_JBI])


@pytest.mark.parametrize("form", ["factored", "stored"])
def test_agreement_is_the_scalar_product_with_the_parent(form, poses_BID, transforms_JDIE):
    parents_BJE = torch.randn(BATCH, OUTPUTS, E, dtype=torch.float64, requires_grad=True)
    votes_BIJE = loops(poses_BID, transforms_JDIE)
    agreement = torch.zeros(OUTPUTS, BATCH, INPUTS, dtype=torch.float64)
    for b in range(BATCH):
        for i in range(INPUTS):
            for j in range(OUTPUTS):
                agreement[j, b, i] = sum(votes_BIJE[b, i, j, e] * parents_BJE[b, j, e] for e in range(E))
    found = both_forms(poses_BID, transforms_JDIE)[form].agreement(parents_BJE)
    torch.testing.assert_close(found, agreement)
    same_gradients(found, agreement, [poses_BID, transforms_JDIE, parents_BJE])


@pytest.mark.parametrize("form", ["factored", "stored"])
def test_uniform_sum_is_the_mean_over_parents(form, poses_BID, transforms_JDIE):
    votes_BIJE = loops(poses_BID, transforms_JDIE)
    sums = sum(votes_BIJE[:, i] for i in range(INPUTS)) / OUTPUTS
    found = both_forms(poses_BID, transforms_JDIE)[form].uniform_sum()
    torch.testing.assert_close(found, sums)
    same_gradients(found, sums, [poses_BID, transforms_JDIE])


def test_hand_written_backward_passes(poses_BID, transforms_JDIE):
    """Finite differences against the two custom autograd functions, to each of their three arguments."""
    coupling_JBI = torch.rand(OUTPUTS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
    parents_BJE = torch.randn(BATCH, OUTPUTS, E, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda poses, transforms, coupling: FactoredVotes(poses, transforms).weighted_sum(coupling),
        (poses_BID, transforms_JDIE, coupling_JBI),
    )
    assert torch.autograd.gradcheck(
        lambda poses, transforms, parents: FactoredVotes(poses, transforms).agreement(parents),
        (poses_BID, transforms_JDIE, parents_BJE),
    )


@pytest.mark.parametrize("form", ["factored", "stored"])
def test_no_gradient_flows_through_detached_votes(form, poses_BID, transforms_JDIE):
    votes = both_forms(poses_BID, transforms_JDIE)[form]
    coupling_JBI = torch.rand(OUTPUTS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
    detached = votes.detached()
    torch.testing.assert_close(detached.stored(), votes.stored())
    detached.weighted_sum(coupling_JBI).sum().backward()
    assert poses_BID.grad is None
    assert transforms_JDIE.grad is None
    assert coupling_JBI.grad is not None


def test_factored_votes_never_hold_the_votes(monkeypatch):
    """Neither pass makes, or keeps for the other, a tensor of the votes' size."""
    batch, inputs, outputs, d, e = 4, 6, 5, 2, 8
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel())
        return tensor

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend(x.numel() for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, torch.Tensor))
            return result

    poses = torch.randn(batch, inputs, d, requires_grad=True)
    transforms = torch.randn(outputs, d, inputs, e, requires_grad=True)
    votes = FactoredVotes(poses, transforms)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), Watch():
        coupling = torch.softmax(votes.agreement(votes.uniform_sum()), dim=0)
        votes.weighted_sum(coupling).sum().backward()
    assert max(sizes) == outputs * d * inputs * max(batch, e)
    assert max(sizes) < batch * inputs * outputs * e


def test_bf16_products_come_back_in_single_precision(poses_BID, transforms_JDIE):
    exact = FactoredVotes(poses_BID, transforms_JDIE).uniform_sum()
    with torch.autocast("cpu", torch.bfloat16):
        votes = FactoredVotes(poses_BID.float(), transforms_JDIE.float())
        rough = votes.uniform_sum()
    assert votes.poses_BDI.dtype is torch.bfloat16
    assert rough.dtype is torch.float32
    torch.testing.assert_close(rough.double(), exact, rtol=0.05, atol=0.05)


def same_gradients(found, expected, inputs):
    """Both results have the same gradients for a drawn direction."""
    direction = torch.randn_like(expected)
    fast = torch.autograd.grad((found * direction).sum(), inputs, retain_graph=True)
    slow = torch.autograd.grad((expected * direction).sum(), inputs)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other)


def test_laid_out_values_and_gradients_are_the_same_in_another_order():
    votes_BIJE = torch.randn(BATCH, INPUTS, OUTPUTS, E, dtype=torch.float64, requires_grad=True)
    found = lay_out(votes_BIJE.permute(0, 2, 3, 1))
    assert found.is_contiguous()
    assert torch.equal(found, votes_BIJE.permute(0, 2, 3, 1))
    assert torch.autograd.gradcheck(lambda x: lay_out(x.permute(0, 2, 3, 1)).square(), votes_BIJE)
