"""A trained run as a model ready for use: weights only, nothing that could run code is read.

from capsbench import load_run
model = load_run("runs/quick/capsnet_r3_recon_1a2b3c4d/seed00")
classes = model.predict(images)
"""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from capsbench.config import Config, run_hash
from capsbench.data.batches import to_unit
from capsbench.data.standardize import standardize_inputs
from capsbench.errors import CapsbenchError
from capsbench.files import replacing
from capsbench.models.build import build_model
from capsbench.models.output import Output
from capsbench.stored_config import stored_config, typed_config
from capsbench.training.evaluate import run_images
from capsbench.training.identity import plain
from capsbench.training.runs import RunFolder
from capsbench.training.weights import load_weights

CHECKPOINTS = {"last": "last.ckpt", "selected": "best.ckpt"}
SAFETENSORS = ".safetensors"


class TrainedModel(nn.Module):
    """A network in eval mode that takes images as the data set has them.

    Attributes:
        network: the trained network itself.
        config: the run's configuration.
        shape: channels, height and width of the images that it takes.
        classes: names of the classes; scores and predictions index them.
    """

    def __init__(
        self, network: nn.Module, config: Config, shape: tuple[int, int, int], classes: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.network, self.config, self.shape, self.classes = network, config, shape, classes
        self.eval()

    def forward(
        self, images: Float[Tensor, "batch channels height width"] | UInt8[Tensor, "batch channels height width"]
    ) -> Output:
        """Scores, poses and reconstructions of images, bytes 0..255 or numbers in [0, 1].

        Pads as in training; images that are as large as padded ones already (MultiMNIST's pairs) are left as they are.

        Raises:
            CapsbenchError: the images are of another size than the run's.
        """
        pad = self.config.data.pad
        if tuple(images.shape[1:]) == (self.shape[0], *(side + 2 * pad for side in self.shape[1:])):
            pad = 0
        elif tuple(images.shape[1:]) != self.shape:
            expected, found = (" x ".join(map(str, shape)) for shape in (self.shape, images.shape[1:]))
            raise CapsbenchError(f"expected images of {expected} (channels, height, width), found {found}")
        pixels = to_unit(images) if images.dtype == torch.uint8 else images.to(next(self.parameters()).dtype)
        answer: Output = self.network(functional.pad(pixels, [pad] * 4))
        return answer

    @torch.inference_mode()
    def predict(self, images: Tensor | NDArray[Any], batch_size: int = 100) -> Int64[Tensor, "images *digits"]:
        """Index into `classes` for each image, two of a network that learnt pairs; on the device of the weights.

        Args:
            images: a tensor or a NumPy array, as `forward` takes them.
            batch_size: images that are looked at together.
        """
        device = next(self.parameters()).device
        scores = [self(batch.to(device)).scores for batch in torch.split(torch.as_tensor(images), batch_size)]
        together = torch.cat(scores)
        return together.topk(2, dim=1).indices if self.config.data.overlap else together.argmax(dim=1)


def load_run(path: str | Path, checkpoint: str = "last") -> TrainedModel:
    """A finished run, or what `capsbench export` wrote, as a model ready for inference.

    Args:
        path: a run's folder (`runs/GROUP/ARM_HASH/seedNN`) or a `.safetensors` file.
        checkpoint: `last` epoch, or `selected` by validation accuracy.

    Raises:
        CapsbenchError: there is no such run, it has not finished, or its files are damaged.
    """
    path = Path(path)
    if path.suffix == SAFETENSORS:
        return _load_export(path)
    if checkpoint not in CHECKPOINTS:
        raise CapsbenchError(f"checkpoint={checkpoint!r} is not known; valid: {', '.join(CHECKPOINTS)}")
    cfg = stored_config(path)
    shape, classes = run_images(path, cfg)
    model = _build(cfg, shape, classes)
    load_weights(model.network, path / CHECKPOINTS[checkpoint])
    return model


def export(path: Path, out: Path, checkpoint: str = "last") -> None:
    """Write a run's weights as safetensors, with all that building the network takes in the file's metadata.

    Raises:
        CapsbenchError: the run cannot be loaded, or safetensors is not installed.
    """
    if out.suffix != SAFETENSORS:
        raise CapsbenchError(f"--out {out}: the file's name must end in {SAFETENSORS}")
    module = _safetensors()
    model = load_run(path, checkpoint)
    about = {
        "schema": 1,
        "hash": run_hash(model.config),
        "config": plain(model.config),
        "shape": model.shape,
        "classes": model.classes,
        "checkpoint": checkpoint,
        "run": RunFolder(path).result().get("run"),
    }
    weights = {name: value.contiguous() for name, value in model.network.state_dict().items()}
    with replacing(out) as temporary:
        module.save_file(weights, temporary, metadata={"format": "pt", "capsbench": json.dumps(about)})


def _load_export(path: Path) -> TrainedModel:
    module = _safetensors()
    try:
        with module.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("capsbench", "null"))
        weights = module.load_file(path)
    except FileNotFoundError:
        raise CapsbenchError(f"no file {path}") from None
    except Exception as error:
        raise CapsbenchError(f"{path} is not a readable safetensors file: {error}") from error
    if not isinstance(about, dict) or about.get("schema") != 1:
        raise CapsbenchError(f"{path} was not written by `capsbench export`")
    model = _build(typed_config(about["config"], about["hash"]), tuple(about["shape"]), tuple(about["classes"]))
    try:
        model.network.load_state_dict(weights)
    except RuntimeError as error:
        raise CapsbenchError(f"{path} holds the weights of another model: {error}") from None
    return model


def _build(cfg: Config, shape: tuple[int, ...], classes: tuple[str, ...]) -> TrainedModel:
    channels, height, width = shape
    network = build_model(cfg.model, channels, height + 2 * cfg.data.pad, len(classes))
    if cfg.data.standardize:
        standardize_inputs(network)
    return TrainedModel(network, cfg, (channels, height, width), classes)


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ModuleNotFoundError:
        raise CapsbenchError("safetensors is not installed; `pip install 'capsbench[export]'`") from None
    return safetensors.torch
