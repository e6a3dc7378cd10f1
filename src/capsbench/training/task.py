"""The LightningModule: how one batch becomes a loss, and what is counted while training and validating."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric
from typing_extensions import override

from capsbench.config import ClassLoss, Config, Optimizer, OptimizerAlgorithm, class_loss
from capsbench.data.batches import Batch
from capsbench.data.pair_batches import PairBatch
from capsbench.evaluation.overlap import found
from capsbench.losses import (
    cross_entropy_loss,
    margin_loss,
    multi_label_loss,
    nll_loss,
    reconstruction_loss,
    spread_loss,
)
from capsbench.models.output import Output
from capsbench.training.averaging import WeightAverage
from capsbench.training.schedule import rate_factor

Losses = dict[str, Tensor]


def classification_loss(
    scores: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch *digits"],
    cfg: Config,
    spread_margin: Tensor | None = None,
) -> Losses:
    """The classification loss that the configuration names, under its name; of one class per image or of two."""
    kind = class_loss(cfg)
    targets = nn.functional.one_hot(labels, scores.shape[1]).to(scores.dtype)
    if labels.dim() > 1:
        targets = targets.sum(dim=1)
        if kind is ClassLoss.cross_entropy:
            return {"cross_entropy": multi_label_loss(scores, targets)}
    if kind is ClassLoss.cross_entropy:
        return {"cross_entropy": cross_entropy_loss(scores, labels)}
    if kind is ClassLoss.nll:
        return {"nll": nll_loss(scores, labels)}
    if kind is ClassLoss.spread:
        margin = cfg.loss.spread_end if spread_margin is None else spread_margin
        return {"spread": spread_loss(scores, labels, margin, form=cfg.loss.margin_form)}
    loss = margin_loss(
        scores,
        targets,
        form=cfg.loss.margin_form,
        positive=cfg.loss.margin_positive,
        negative=cfg.loss.margin_negative,
        down_weight=cfg.loss.margin_down_weight,
    )
    return {"margin": loss}


def right(scores: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch *digits"]) -> Bool[Tensor, "batch digits"]:
    """Whether each class that an image has is among as many largest scores."""
    return found(scores, labels) if labels.dim() > 1 else scores.argmax(dim=1, keepdim=True) == labels[:, None]


def losses_of(
    output: Output,
    images: Tensor,
    labels: Int[Tensor, "batch *digits"],
    cfg: Config,
    spread_margin: Tensor | None = None,
) -> Losses:
    """The loss that is minimised under "loss", and its parts before weighting.

    `images` is what the reconstruction is compared with.
    """
    parts = classification_loss(output.scores, labels, cfg, spread_margin)
    total = next(iter(parts.values()))
    if output.reconstruction is not None:
        parts["reconstruction"] = reconstruction_loss(output.reconstruction, images)
        total = total + cfg.loss.reconstruction_weight * parts["reconstruction"]
    return {"loss": total, **parts}


def make_optimizer(model: nn.Module, cfg: Optimizer) -> torch.optim.Optimizer:
    """The optimiser that the configuration names, over all of a model's parameters."""
    if cfg.algorithm is OptimizerAlgorithm.sgd:
        return torch.optim.SGD(
            model.parameters(),
            lr=cfg.lr,
            momentum=cfg.momentum,
            nesterov=cfg.nesterov,
            weight_decay=cfg.weight_decay,
            fused=True,
        )
    return torch.optim.Adam(
        model.parameters(),
        lr=cfg.lr,
        betas=(cfg.beta1, cfg.beta2),
        eps=cfg.eps,
        weight_decay=cfg.weight_decay,
        fused=True,
    )


class ClassificationTask(pl.LightningModule):
    """One model, one loss, one optimiser.

    Nothing here reads a value back from the device during a training step: losses and correct answers are summed on the
    device, and a loss that is not finite is remembered there with its step until the next time metrics are written.
    """

    def __init__(self, cfg: Config, model: nn.Module, planned_steps: int) -> None:
        super().__init__()
        self.cfg, self.model, self.planned_steps = cfg, model, planned_steps
        self.step_losses: Callable[..., tuple[Losses, Tensor]] = self._step_losses
        self.compiled = False
        self.train_sums: Losses = {}
        self.register_buffer("first_bad_step", torch.tensor(-1), persistent=False)
        self.first_bad_step: Tensor
        self.register_buffer("spread_margin", torch.tensor(cfg.loss.spread_start), persistent=False)
        self.spread_margin: Tensor
        self.val_accuracy = MeanMetric()
        self.val_losses: dict[str, MeanMetric] = {}
        decay = cfg.optimizer.average_decay
        self.average = WeightAverage(model.parameters(), decay) if decay is not None else None

    @override
    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Output:
        output: Output = self.model(images)
        return output

    def _step_losses(self, images: Tensor, labels: Tensor, digits: Tensor | None = None) -> tuple[Losses, Tensor]:
        output, rebuilt = self._answer(images, labels, digits)
        correct = right(output.scores, labels).all(dim=1).float().mean()
        return losses_of(output, rebuilt, labels, self.cfg, self.spread_margin), correct

    def _answer(self, images: Tensor, labels: Tensor, digits: Tensor | None) -> tuple[Output, Tensor]:
        """The model's answer, and what its reconstruction should be.

        The true class is what the decoder sees. With two digits in an image each is rebuilt from its own class capsule.
        """
        if digits is None:
            return self.model(images, labels), images
        output: Output = self.model(images, labels[:, 0])
        if output.reconstruction is None:
            return output, images
        second = self.model.decoder(output.poses, labels[:, 1])  # type: ignore[operator]
        return output._replace(reconstruction=torch.stack([output.reconstruction, second], dim=1)), digits

    @override
    def training_step(self, batch: Batch | PairBatch, batch_idx: int) -> Tensor:
        if class_loss(self.cfg) is ClassLoss.spread:
            start, end = self.cfg.loss.spread_start, self.cfg.loss.spread_end
            self.spread_margin.fill_(start + (end - start) * min(1.0, self.global_step / self.planned_steps))
        losses, correct = self.step_losses(*batch)
        loss = losses["loss"]
        with torch.no_grad():
            for name, value in {**losses, "accuracy": correct, "batches": torch.ones_like(loss)}.items():
                before = self.train_sums.get(name)
                self.train_sums[name] = value.detach().clone() if before is None else before + value.detach()
            step = self.global_step + 1
            bad = ~torch.isfinite(loss) & (self.first_bad_step < 0)
            self.first_bad_step = torch.where(bad, step, self.first_bad_step)
        return loss

    def over_ranks(self, value: Tensor, how: str) -> Tensor:
        """The sum or the largest of a value over the run's processes; the value itself where there is one process."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return value
        reduced = self.trainer.strategy.reduce(value.clone(), reduce_op=how)
        assert isinstance(reduced, Tensor)
        return reduced

    def take_train_means(self) -> dict[str, float]:
        """Means of losses and accuracy since the last call; waits for the device."""
        sums = {name: float(self.over_ranks(value, "sum")) for name, value in self.train_sums.items()}
        self.train_sums = {}
        batches = sums.pop("batches", 0.0)
        return {f"train/{name}": value / batches for name, value in sums.items()} if batches else {}

    @override
    def on_train_batch_end(self, outputs: Any, batch: Batch | PairBatch, batch_idx: int) -> None:
        # A run planned in steps may end in the middle of an epoch; this way it is still validated and kept.
        if self.global_step >= self.planned_steps:
            self.trainer.should_stop = True

    @override
    def validation_step(self, batch: Batch | PairBatch, batch_idx: int) -> None:
        images, labels, digits = batch if len(batch) == 3 else (*batch, None)
        # The true class is what the decoder sees, as in training: otherwise the loss would jump with every mistake.
        output, rebuilt = self._answer(images, labels, digits)
        correct = right(output.scores, labels).float()
        self.val_accuracy.update(correct.prod(dim=1))
        values = losses_of(output, rebuilt, labels, self.cfg)
        if digits is not None:
            values["recall"] = correct.mean()
        for name, value in values.items():
            if name not in self.val_losses:
                self.val_losses[name] = MeanMetric().to(self.device)
            self.val_losses[name].update(value, weight=len(labels))

    @override
    def on_validation_epoch_end(self) -> None:
        metrics = {"val/accuracy": self.val_accuracy.compute()}
        metrics |= {f"val/{name}": metric.compute() for name, metric in self.val_losses.items()}
        self.log_dict(metrics, logger=False, rank_zero_only=True)
        for metric in (self.val_accuracy, *self.val_losses.values()):
            metric.reset()

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        cfg = self.cfg.optimizer
        optimizer = make_optimizer(self.model, cfg)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(cfg, self.planned_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @override
    def optimizer_step(self, *args: Any, **more: Any) -> None:
        super().optimizer_step(*args, **more)
        if self.average is not None:
            self.average.update()

    @override
    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if self.average is not None:
            self.average.show(False)

    @override
    def on_validation_start(self) -> None:
        # From here to the next training step: best.ckpt and what follows the last epoch are the average's, too.
        if self.average is not None:
            self.average.show(True)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["generators"] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            checkpoint["generators"]["cuda"] = torch.cuda.get_rng_state_all()
        checkpoint["compiled"] = self.compiled
        checkpoint["train_sums"] = dict(self.train_sums)
        if self.average is not None:
            checkpoint["average"] = {"shown": self.average.shown, "aside": self.average.aside}

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        torch.set_rng_state(checkpoint["generators"]["cpu"].cpu())
        if "cuda" in checkpoint["generators"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([state.cpu() for state in checkpoint["generators"]["cuda"]])
        self.train_sums = {name: value.to(self.device) for name, value in checkpoint["train_sums"].items()}
        if self.average is not None:
            self.average.shown, self.average.aside = checkpoint["average"]["shown"], checkpoint["average"]["aside"]
