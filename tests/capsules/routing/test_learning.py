"""Every routing algorithm learns: 95 % of 2,000 MNIST training images, by a tiny network on a CPU.

Training accuracy, measured in evaluation mode after every epoch; training stops there. It says that gradients are
useful and that `auto` suits the algorithm, not that the network is good.
"""

import pytest
import torch

from capsbench.compose import compose
from capsbench.config_models import RoutingAlgorithm
from capsbench.data.splits import load_splits
from capsbench.models.build import build_model
from capsbench.training.task import losses_of

TINY = (
    "model=capsnet_small",
    "model.stem_channels=8",
    "model.primary_types=4",
    "model.primary_stride=3",
    "model.reconstruction=false",
    "data.train_images=2000",
)
# Self-routing has nothing but one linear map of each capsule to class probabilities: it needs larger ones.
RECIPES = {
    RoutingAlgorithm.self_routing: (
        0.01,
        ["model.squash=tanh", "model.primary_scale=one", "model.stem_channels=16"],
    )
}
EPOCHS = 20


@pytest.fixture(scope="module")
def digits():
    splits = load_splits(compose(TINY).data)
    return splits.train_images.float() / 255, splits.train_labels


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", list(RoutingAlgorithm))
def test_reaches_95_percent_of_its_training_images(algorithm, digits):
    images, labels = digits
    rate, more = RECIPES.get(algorithm, (0.003, []))
    cfg = compose([*TINY, f"model.routing.algorithm={algorithm}", *more])
    torch.manual_seed(0)
    model = build_model(cfg.model, 1, 28, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    accuracies = []
    for _ in range(EPOCHS):
        model.train()
        for chosen in torch.randperm(len(images)).split(50):
            loss = losses_of(model(images[chosen]), images[chosen], labels[chosen], cfg)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracies.append((model(images).scores.argmax(dim=1) == labels).double().mean().item())
        if accuracies[-1] >= 0.95:
            return
    pytest.fail(f"training accuracy by epoch: {accuracies}")
