"""MultiMNIST: can a network tell two digits apart that lie on top of each other (Sabour et al. 2017, section 6)?

The two largest scores are the answer, whatever the network was trained on: pairs, or single digits only, which is then
the harder question whether it has learnt digits as wholes.
"""

from contextlib import nullcontext

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from capsbench.config import Config
from capsbench.data.pair_batches import EvalPairs
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
    asked = cfg.evaluation.overlap
    if not asked.enabled:
        return Evaluated()
    pairs = test_pairs(splits, cfg, device)
    hits, squares = [], torch.zeros((), dtype=torch.float64, device=device)
    rebuilt = False
    with torch.inference_mode():
        for pixels, labels, digits in pairs:
            with precision():
                output = model(pixels, labels[:, 0])
            hits.append(found(output.scores, labels))
            if output.reconstruction is None:
                continue
            rebuilt = True
            with precision():
                second = model(pixels, labels[:, 1]).reconstruction
            for which, picture in enumerate((output.reconstruction, second)):
                squares += (picture.float() - digits[:, which]).square().flatten(1).mean(dim=1).double().sum()
        together = torch.cat(hits).cpu()
    exact = together.all(dim=1)
    numbers = {
        "overlap/exact_match": exact.double().mean().item(),
        "overlap/errors": float((~exact).sum()),
        "overlap/recall": together.double().mean().item(),
    }
    if rebuilt:
        numbers["overlap/reconstruction_error"] = float(squares) / (2 * len(together))
    about = {"pairs": len(together), "shift": asked.shift, "seed": asked.seed, "frame": list(pixels.shape[2:])}
    return Evaluated(numbers, {"overlap": about})


def test_pairs(splits: Splits, cfg: Config, device: torch.device) -> EvalPairs:
    """The fixed test pairs that `evaluation.overlap` describes, in batches."""
    asked = cfg.evaluation.overlap
    return EvalPairs(
        splits.test_images,
        splits.test_labels,
        batch_size=cfg.trainer.eval_batch_size,
        pad=cfg.data.pad,
        shift=asked.shift,
        seed=asked.seed,
        device=device,
        each=asked.each,
    )


def predict_pairs(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> tuple[Float32[Tensor, "pairs classes"], Int64[Tensor, "pairs 2"]]:
    """Scores of the fixed test pairs and their classes, on the CPU.

    Raises:
        CapsbenchError: `evaluation.overlap` asks for what cannot be, or the data set has a single class.
    """
    scores, classes = [], []
    with torch.inference_mode():
        for pixels, labels, _ in test_pairs(splits, cfg, device):
            with precision():
                scores.append(model(pixels).scores.float())
            classes.append(labels)
        together = torch.cat(scores).cpu()
    # An ordinary tensor: inference tensors may not meet autograd later.
    return together.clone(), torch.cat(classes).cpu()


def found(scores_BJ: Float[Tensor, "batch classes"], labels_B2: Int64[Tensor, "batch 2"]) -> Bool[Tensor, "batch 2"]:
    """Whether each of the two classes is among the two largest scores."""
    largest_B2 = scores_BJ.topk(2, dim=1).indices
    return (labels_B2[:, :, None] == largest_B2[:, None, :]).any(dim=2)
