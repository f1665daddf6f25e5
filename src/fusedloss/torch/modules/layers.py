"""Losses of several tensors at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, with_options

__all__ = [
    "PerceptualLoss",
]


@with_options
class PerceptualLoss(Module):
    """Distance of two images in the features of a network: perceptual loss.

    `fusedloss.torch.functional.perceptual_loss` of what the network's layers make of each image.

    Parameters
    ----------
    feature_extractor : torch.nn.Module
        The network, taken as it is: neither are its parameters frozen, nor is it put into
        evaluation mode.
    layers : sequence of str
        The names of the layers whose outputs are compared, as `torch.nn.Module.get_submodule`
        takes them: ``"features.8"``.
    weights : sequence of float, optional
        A weight for each layer; ones if absent.
    criterion : {"mse", "l1"}, default "mse"
        Squared or absolute differences, averaged over each layer.

    Raises
    ------
    AttributeError
        If the network has no layer of that name.
    ValueError
        If a weight is missing, or the criterion is another.

    Notes
    -----
    Gradients go to the image, not to the target, whose features are computed without a graph. A
    layer that later ones change in place, such as ``ReLU(inplace=True)``, counts as it is left.

    References
    ----------
    J. Johnson, A. Alahi, L. Fei-Fei, "Perceptual losses for real-time style transfer and
    super-resolution", ECCV 2016.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import PerceptualLoss
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> loss = PerceptualLoss(network.eval().requires_grad_(False), ["0", "1"])
    >>> image = torch.ones(1, 3, 8, 8, requires_grad=True)
    >>> loss(image, image.detach())
    tensor(0., grad_fn=<SumBackward0>)
    """

    feature_extractor: nn.Module = field(repr=False)
    layers: Sequence[str]
    weights: Sequence[float] | None = None
    criterion: Literal["mse", "l1"] = "mse"

    def __post_init__(self) -> None:
        """Keep lists of our own, and check that the network has the layers."""
        self.layers = list(self.layers)
        self.weights = None if self.weights is None else list(self.weights)
        super().__post_init__()

    def check(self) -> None:
        """Raise what a call raises for options that are wrong whatever the input."""
        for name in self.layers:
            self.feature_extractor.get_submodule(name)
        nothing = [torch.zeros((), device="cpu")] * len(self.layers)
        self._distance(nothing, nothing)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of an image or a batch of images."""
        with torch.no_grad():
            target_features = self.features(target)
        return self._distance(self.features(input), target_features)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return what each of the layers makes of an image."""
        found: dict[str, Tensor] = {}
        hooks = [
            self.feature_extractor.get_submodule(name).register_forward_hook(_keep(found, name))
            for name in self.layers
        ]
        try:
            self.feature_extractor(image)
        finally:
            for hook in hooks:
                hook.remove()
        return [found[name] for name in self.layers]

    def _distance(self, features: list[Tensor], target_features: list[Tensor]) -> Tensor:
        return functional.perceptual_loss(
            features, target_features, weights=self.weights, criterion=self.criterion
        )


def _keep(found: dict[str, Tensor], name: str) -> Any:
    """Return a hook that keeps a layer's output under a name."""

    def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
        found[name] = output

    return hook
