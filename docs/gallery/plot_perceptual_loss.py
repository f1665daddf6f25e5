"""
What a perceptual loss asks of an image
=======================================

Images that differ in every pixel may look alike. The perceptual loss compares what the layers of a
network make of them, each of which sees a larger area than the one before. Here noise is changed
until its loss is small. By the first layer every petal comes back, but not how light a large area
is, which it cannot see. By later layers there are edges where edges were, of other pixels.
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import nn

from fusedloss.torch import PerceptualLoss

# %%
# The network is fixed: it looks for waves of eight orientations, in the image and then, mixed at
# random, in what the layer before saw, at half its resolution.


def waves(size: int = 7) -> torch.Tensor:
    """Return filters for waves of eight orientations, even and odd."""
    y, x = np.mgrid[:size, :size] - size // 2
    under = np.exp(-(x**2 + y**2) / 4)
    made = []
    for angle, wave in itertools.product(np.arange(8) * np.pi / 8, (np.cos, np.sin)):
        filtered = under * wave(1.6 * (x * np.cos(angle) + y * np.sin(angle)))
        filtered -= under * filtered.sum() / under.sum()
        made.append(filtered / np.sqrt((filtered**2).sum()))
    return torch.tensor(np.array(made), dtype=torch.float32)[:, None]


def layer(channels: int) -> nn.Module:
    """Return a convolution of sixteen waves, of random mixtures of the channels."""
    convolution = nn.Conv2d(channels, 16, 7, padding=3, padding_mode="reflect", bias=False)
    mixtures = torch.randn(16, channels, 1, 1) / channels**0.5 if channels > 1 else 1.0
    convolution.weight = nn.Parameter(waves() * mixtures, requires_grad=False)
    return nn.Sequential(convolution, nn.Softplus(beta=8))


torch.manual_seed(0)
network = nn.Sequential()
for number in range(3):
    network.add_module(f"layer{number + 1}", layer(16 if number else 1))
    network.add_module(f"pool{number + 1}", nn.AvgPool2d(2))

# %%
# From the same noise, by each layer alone.

photograph = load_sample_image("flower.jpg").mean(axis=2)[60:380, 160:480] / 255
target = torch.tensor(photograph, dtype=torch.float32).reshape(1, 1, 320, 320)
target = nn.functional.avg_pool2d(target, 2)
noise = 0.5 + 0.1 * torch.randn_like(target)


def matched(layer: str) -> torch.Tensor:
    """Return the noise changed to look like the target to a layer."""
    loss, image = PerceptualLoss(network, [layer]), noise.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [image], max_iter=100, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def evaluate() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(image, target)
        value.backward()
        return value

    optimizer.step(evaluate)
    return image.detach()


results = {"what is wanted": target, "the start": noise}
results |= {f"by layer {number}": matched(f"layer{number}") for number in (1, 2, 3)}

figure, places = plt.subplots(1, len(results), figsize=(12, 3), layout="constrained")
for axes, (title, image) in zip(places, results.items(), strict=True):
    distance = (image - target).square().mean().sqrt()
    axes.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
    axes.set(title=title, xlabel=f"pixels are {distance:.2f} off")
    axes.set(xticks=[], yticks=[])
plt.show()
