"""DeepCaps (Rajasegaran et al. 2019): capsules in residual cells, routed by 3-D convolution in the last of them.

Layers were confirmed in the authors' code (brjathu/deepcaps, `deepcaps.py`, in both of its versions), which gives
8,441,920 parameters on 28x28 grey images (`DeepCapsNet28`) and 13,359,424 on 64x64 colour ones (`DeepCapsNet`), each
without the decoder, which has another 58,417 on 28x28. The paper's 7.2 million (as recalled) are neither; the layers
come to that, 7,215,184, on 32x32 colour images with class capsules of 8 dimensions instead of 32 (`model.class_dim=8`).
Strided convolutions are padded on both sides here, not on the far side only.

Letters: B batch, T capsule types, D pose dimensions, H and W rows and columns, P positions (height * width), I input
types or capsules, J output types.
"""

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from capsbench import config_models as keys
from capsbench.capsules.class_capsules import ClassCapsules
from capsbench.capsules.decoder import Decoder
from capsbench.capsules.squash import at_least_fp32, squash_hinton
from capsbench.capsules.votes import lay_out
from capsbench.errors import CapsbenchError
from capsbench.models.output import Output


class CapsuleConvolution(nn.Module):
    """A convolution over all capsules of a window, whose channels are squashed as poses: routing with one iteration."""

    def __init__(self, inputs: int, types: int, dim: int, stride: int) -> None:
        super().__init__()
        self.types, self.dim = types, dim
        self.conv = nn.Conv2d(inputs, types * dim, 3, stride, padding=1, bias=False)
        nn.init.xavier_uniform_(self.conv.weight)

    def forward(
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch types dim rows columns"]:
        """Capsules of every position."""
        sums: Tensor = self.conv(maps)
        return squash_hinton(sums.view(len(sums), self.types, self.dim, *sums.shape[2:]), dim=2)


class RoutedConvolution(nn.Module):
    """Dynamic routing of votes that one 3x3 kernel, shared by all input types, casts at every position.

    As in the authors' code, the softmax runs over parents and positions together, and a parent type is squashed as one
    vector of all its positions.
    """

    def __init__(self, in_dim: int, types: int, dim: int, iterations: int) -> None:
        super().__init__()
        self.types, self.dim, self.iterations = types, dim, iterations
        self.votes = nn.Conv2d(in_dim, types * dim, 3, padding=1, bias=False)
        self.bias_JD = nn.Parameter(torch.full((types, dim), 0.1))
        nn.init.kaiming_normal_(self.votes.weight)

    def forward(
        self, maps_BTDHW: Float[Tensor, "batch types dim height width"]
    ) -> Float[Tensor, "batch out_types out_dim height width"]:
        """Routed capsules of every position."""
        batch, inputs, _, rows, columns = maps_BTDHW.shape
        found = self.votes(maps_BTDHW.flatten(0, 1)).view(batch, inputs, self.types, self.dim, rows * columns)
        votes_BJDPI = lay_out(at_least_fp32(found.permute(0, 2, 3, 4, 1)))
        logits_BJPI = votes_BJDPI.new_zeros(batch, self.types, rows * columns, inputs)
        poses_BJDP = votes_BJDPI.new_zeros(())
        for iteration in range(self.iterations):
            shares_BJPI = torch.softmax(logits_BJPI.flatten(1, 2), dim=1).view_as(logits_BJPI)
            sums_BJDP = (shares_BJPI[:, :, None] * votes_BJDPI).sum(dim=4) + self.bias_JD[:, :, None]
            poses_BJDP = squash_hinton(sums_BJDP.flatten(2), dim=2).view_as(sums_BJDP)
            if iteration < self.iterations - 1:
                logits_BJPI = logits_BJPI + (votes_BJDPI * poses_BJDP[..., None]).sum(dim=2)
        return poses_BJDP.view(batch, self.types, self.dim, rows, columns)


class Cell(nn.Module):
    """Stride 2, then two capsule convolutions beside a skip, which are added."""

    def __init__(self, in_dim: int, types: int, dim: int, skip: nn.Module, *, in_channels: int | None = None) -> None:
        super().__init__()
        self.down = CapsuleConvolution(in_channels or types * in_dim, types, dim, 2)
        self.skip = skip
        self.first = CapsuleConvolution(types * dim, types, dim, 1)
        self.second = CapsuleConvolution(types * dim, types, dim, 1)

    def forward(
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch types dim rows columns"]:
        """Capsules at half the resolution."""
        down = self.down(maps)
        flat = down.flatten(1, 2)
        seen = down if isinstance(self.skip, RoutedConvolution) else flat
        found: Tensor = self.second(self.first(flat).flatten(1, 2)) + self.skip(seen)
        return found


class DeepCaps(nn.Module):
    """Stem, four cells, class capsules over the last two cells, decoder that is not told the class."""

    def __init__(self, cfg: keys.DeepCaps, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.cfg = cfg
        if len(cfg.dims) != 4 or cfg.dims[2] != cfg.dims[3]:
            raise CapsbenchError(f"model.dims={list(cfg.dims)} needs four numbers of which the last two are equal")
        self.stem = nn.Conv2d(channels, cfg.stem_channels, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(cfg.stem_channels, eps=1e-3, momentum=0.01)
        types, dims = cfg.types, cfg.dims
        cells = [
            Cell(
                0, types, dims[0], CapsuleConvolution(types * dims[0], types, dims[0], 1), in_channels=cfg.stem_channels
            )
        ]
        for before, dim in pairwise(dims[:3]):
            cells.append(Cell(before, types, dim, CapsuleConvolution(types * dim, types, dim, 1)))
        cells.append(Cell(dims[2], types, dims[3], RoutedConvolution(dims[3], types, dims[3], cfg.iterations)))
        self.cells = nn.ModuleList(cells)
        sizes = [size]
        for _ in range(4):
            sizes.append((sizes[-1] + 1) // 2)
        self.class_capsules = ClassCapsules(
            keys.Routing(iterations=cfg.iterations),
            types=types * (sizes[3] ** 2 + sizes[4] ** 2),
            positions=1,
            in_dim=dims[3],
            classes=classes,
            dim=cfg.class_dim,
        )
        assert self.class_capsules.transforms_JDIE is not None
        nn.init.normal_(self.class_capsules.transforms_JDIE, std=0.1)
        self.decoder = None
        if cfg.reconstruction:
            kind, mask = keys.DecoderKind.deconvolution, keys.DecoderMask.independent
            self.decoder = Decoder(classes, cfg.class_dim, [], (channels, size, size), kind, mask)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,
        *,
        with_routing: bool = False,
    ) -> Output:
        """Class capsules and the reconstruction from that of `labels`, or of the longest."""
        maps = self.stem_norm(functional.relu(self.stem(images)))
        found: list[Tensor] = []
        for cell in self.cells:
            capsules = cell(maps)
            maps = capsules.flatten(1, 2)
            found.append(capsules.movedim(2, -1).flatten(1, 3))
        poses_BID = torch.cat([found[3], found[2]], dim=1)
        routed = self.class_capsules(poses_BID, with_coupling=with_routing)
        reconstruction = None
        if self.decoder is not None:
            chosen = routed.activations.argmax(dim=1) if labels is None else labels
            reconstruction = self.decoder(routed.poses, chosen)
        lengths = torch.linalg.vector_norm(poses_BID, dim=-1) if with_routing else None
        return Output(routed.activations, routed.poses, reconstruction, routed.coupling, lengths)
