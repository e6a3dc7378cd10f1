"""MultiMNIST: can a network tell two digits apart that lie on top of each other (Sabour et al. 2017, section 6)?

The two largest scores are the answer, whatever the network was trained on: pairs, or single digits only, which is then
the harder question whether it has learnt digits as wholes.
"""

from contextlib import nullcontext

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from capsbench.config import Config
from capsbench.data.batches import to_unit
from capsbench.data.overlap import fixed_pairs, overlap
from capsbench.data.splits import Splits
from capsbench.evaluation.predict import Precision
from capsbench.evaluation.result import Evaluated


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """Both digits right, each digit found, and how well each is rebuilt alone.

    The frame is the images' size plus `data.pad` on every side: 4 gives the paper's 36x36.

    Args:
        model: in eval mode, on `device`.
        splits: every test image is the first of `evaluation.overlap.each` pairs; partners are of other classes.
        cfg: reads `evaluation.overlap`, `data.pad` and `trainer.eval_batch_size`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Numbers `overlap/exact_match`, share of pairs whose two largest scores are the two classes (Sabour's measure);
        `overlap/errors`, pairs for which they are not; `overlap/recall`, share of digits among the two largest scores
        (Mazzia et al. 2021 report this one, which is higher); and, with a decoder, `overlap/reconstruction_error`,
        squared error per pixel of each digit rebuilt from its own class capsule. Figure `overlap`. Empty when
        `evaluation.overlap.enabled` is false.

    Raises:
        CapsbenchError: `evaluation.overlap` asks for what cannot be, or the data set has a single class.
    """
    asked, pad, size = cfg.evaluation.overlap, cfg.data.pad, cfg.trainer.eval_batch_size
    if not asked.enabled:
        return Evaluated()
    labels = splits.test_labels.cpu()
    pairs = fixed_pairs(labels, asked.each, asked.shift, asked.seed)
    images, labels = splits.test_images.to(device), labels.to(device)
    hits, squares = [], torch.zeros((), dtype=torch.float64, device=device)
    rebuilt = False
    with torch.inference_mode():
        for start in range(0, len(pairs), size):
            part = overlap(images, labels, pairs.part(slice(start, start + size)), pad)
            pixels = to_unit(part.images)
            with precision():
                output = model(pixels, part.labels[:, 0])
            hits.append(found(output.scores, part.labels))
            if output.reconstruction is None:
                continue
            rebuilt = True
            with precision():
                second = model(pixels, part.labels[:, 1]).reconstruction
            for which, picture in enumerate((output.reconstruction, second)):
                squares += (
                    (picture.float() - to_unit(part.digits[:, which])).square().flatten(1).mean(dim=1).double().sum()
                )
        together = torch.cat(hits).cpu()
    exact = together.all(dim=1)
    numbers = {
        "overlap/exact_match": exact.double().mean().item(),
        "overlap/errors": float((~exact).sum()),
        "overlap/recall": together.double().mean().item(),
    }
    if rebuilt:
        numbers["overlap/reconstruction_error"] = float(squares) / (2 * len(pairs))
    about = {"pairs": len(pairs), "shift": asked.shift, "seed": asked.seed, "frame": list(part.images.shape[2:])}
    return Evaluated(numbers, {"overlap": about})


def found(scores_BJ: Float[Tensor, "batch classes"], labels_B2: Int64[Tensor, "batch 2"]) -> Bool[Tensor, "batch 2"]:
    """Whether each of the two classes is among the two largest scores."""
    largest_B2 = scores_BJ.topk(2, dim=1).indices
    return (labels_B2[:, :, None] == largest_B2[:, None, :]).any(dim=2)
