"""Margin-softmax heads that own the weights of their classes."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, normalize

import fusedloss
from fusedloss import _check
from fusedloss._heads import Gradient
from fusedloss.sampling import sample_classes
from fusedloss.torch import functional
from fusedloss.torch._margin import HEADS, expect_options, of_classes, scale_of
from fusedloss.torch.functional._types import Reduction


class HeadOptions(TypedDict, total=False):
    """What every head takes."""

    class_weight: Tensor | None
    ignore_index: int
    label_smoothing: float
    focal_gamma: float
    annealing: float
    gradient: Gradient
    reduction: Reduction
    workspace: int | None
    sample_rate: float
    seed: int | None
    device: Any
    dtype: torch.dtype | None


def _coalesce(weight: Tensor) -> None:
    """Have a sparse gradient say that it is coalesced, as its rows are distinct and rising.

    torch forgets it, and optimisers would sort and copy the rows.
    """
    gradient = weight.grad
    if gradient is None or not gradient.is_sparse or gradient.requires_grad:
        return
    indices, values = gradient._indices(), gradient._values()
    if (indices[0, 1:] > indices[0, :-1]).all():
        weight.grad = torch.sparse_coo_tensor(
            indices, values, gradient.shape, check_invariants=False, is_coalesced=True
        )
    else:
        weight.grad = gradient.coalesce()


class Head(nn.Module):
    """A margin-softmax head: a weight of shape (num_classes, embedding_dim), and a loss."""

    loss: str  # the function of functional

    class_weight: Tensor | None

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margins: dict[str, Any],
        options: HeadOptions,
        centers: int = 1,
    ) -> None:
        super().__init__()
        device, dtype = options.pop("device", None), options.pop("dtype", None)
        self.embedding_dim = _check.count("embedding_dim", embedding_dim)
        self.num_classes = _check.count("num_classes", num_classes)
        self.centers = centers
        self.margins = margins
        self.sample_rate = _check.sample_share("sample_rate", options.pop("sample_rate", 1.0))
        self.generator = np.random.default_rng(options.pop("seed", None))
        self.register_buffer("class_weight", options.pop("class_weight", None))
        self.options = options
        expect_options(getattr(fusedloss, self.loss), **margins, **options)
        self.weight = self.new_weight(num_classes * centers, device, dtype)
        if self.sample_rate < 1:
            self.weight.register_post_accumulate_grad_hook(_coalesce)  # type: ignore[no-untyped-call]
        self.reset_parameters()

    def new_weight(self, rows: int, device: Any, dtype: torch.dtype | None) -> nn.Parameter:
        """Return the parameter, its numbers still to be drawn."""
        return nn.Parameter(torch.empty(rows, self.embedding_dim, device=device, dtype=dtype))

    @property
    def weight_here(self) -> Tensor:
        """The weights of the classes that are in this process: all."""
        return self.weight

    def reset_parameters(self) -> None:
        """Draw the weights from a normal distribution of standard deviation 0.01."""
        nn.init.normal_(self.weight, std=0.01)

    def forward(
        self, embeddings: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss; in training of a sample of the classes, if there is a `sample_rate`."""
        weight, class_weight = self.weight_here, self.class_weight
        if self.training and self.sample_rate < 1:
            weight, class_weight, target = self.sample(target)
        return self.evaluate(embeddings, target, sample_weight, weight, class_weight)

    def sample(self, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the weights of a sample of the classes here, and the targets in it."""
        classes, among = sample_classes(
            target.numpy(),
            len(self.weight_here) // self.centers,
            self.sample_rate,
            ignore_index=self.options.get("ignore_index", -1),
            seed=self.generator,
        )
        chosen = torch.from_numpy(classes)
        rows = (chosen.unsqueeze(-1) * self.centers + torch.arange(self.centers)).flatten()
        weight = embedding(rows, self.weight_here, sparse=True)
        class_weight = None if self.class_weight is None else self.class_weight[chosen]
        return weight, class_weight, torch.from_numpy(among)

    def counted(self, target: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return which embeddings count: neither ignored nor of weight 0."""
        counted = target != self.options.get("ignore_index", -1)
        if sample_weight is not None:
            counted = counted & (sample_weight != 0)
        if self.class_weight is not None and not self.options.get("label_smoothing", 0.0):
            counted = counted & (self.weights_of(target, self.class_weight) != 0)
        return counted

    def weights_of(self, target: Tensor, class_weight: Tensor) -> Tensor:
        """Return the weights of the target's classes; of what is no class, any."""
        return class_weight[target.long().clamp(0, len(class_weight) - 1)]

    def evaluate(
        self,
        embeddings: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        weight: Tensor,
        class_weight: Tensor | None,
    ) -> Tensor:
        """Compute the loss of some classes."""
        loss: Tensor = getattr(functional, self.loss)(
            embeddings,
            weight,
            target,
            class_weight=class_weight,
            sample_weight=sample_weight,
            **self.margins,
            **self.options,
        )
        return loss

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits without a margin, for evaluation."""
        head = HEADS[self.loss]
        x = embeddings if head.keep_norm else normalize(embeddings, dim=-1)
        weight = self.weight_here
        weight = weight if head.keep_weight_norm else normalize(weight, dim=-1)
        return scale_of(self.margins) * of_classes(linear(x, weight), self.margins)

    def extra_repr(self) -> str:
        """Say the sizes and the margins."""
        margins = [f"{name}={value}" for name, value in self.margins.items()]
        return ", ".join([f"{self.embedding_dim}, {self.num_classes}", *margins])


class ArcFaceLoss(Head):
    """ArcFace: an additive angular margin: `fusedloss.torch.functional.arcface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale, easy_margin
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ArcFaceLoss
    >>> head = ArcFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "arcface_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        easy_margin: bool = False,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(
            embedding_dim,
            num_classes,
            {"margin": margin, "scale": scale, "easy_margin": easy_margin},
            options,
        )


class CosFaceLoss(Head):
    """CosFace: an additive margin on the cosine: `fusedloss.torch.functional.cosface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CosFaceLoss
    >>> head = CosFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "cosface_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 0.35,
        scale: float = 64.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(embedding_dim, num_classes, {"margin": margin, "scale": scale}, options)


class CombinedMarginLoss(Head):
    """All three margins at once: `fusedloss.torch.functional.combined_margin_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    m1, m2, m3, scale, interclass_filtering_threshold
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CombinedMarginLoss
    >>> head = CombinedMarginLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "combined_margin_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        m1: float = 1.0,
        m2: float = 0.5,
        m3: float = 0.0,
        scale: float = 64.0,
        interclass_filtering_threshold: float = 0.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(
            embedding_dim,
            num_classes,
            {
                "m1": m1,
                "m2": m2,
                "m3": m3,
                "scale": scale,
                "interclass_filtering_threshold": interclass_filtering_threshold,
            },
            options,
        )


class NormFaceLoss(Head):
    """NormFace: scaled cosines without a margin: `fusedloss.torch.functional.normface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    scale
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import NormFaceLoss
    >>> head = NormFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "normface_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        scale: float = 20.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(embedding_dim, num_classes, {"scale": scale}, options)


class L2SoftmaxLoss(Head):
    """Embeddings on a sphere of radius `alpha`: `fusedloss.torch.functional.l2_softmax_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    alpha
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import L2SoftmaxLoss
    >>> head = L2SoftmaxLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "l2_softmax_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        alpha: float = 16.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(embedding_dim, num_classes, {"alpha": alpha}, options)


class LSoftmaxLoss(Head):
    """Large-margin softmax: `fusedloss.torch.functional.l_softmax_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LSoftmaxLoss
    >>> head = LSoftmaxLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "l_softmax_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 4.0,
        scale: float = 1.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(embedding_dim, num_classes, {"margin": margin, "scale": scale}, options)


class ASoftmaxLoss(Head):
    """A-Softmax: a multiplicative angular margin: `fusedloss.torch.functional.a_softmax_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ASoftmaxLoss
    >>> head = ASoftmaxLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "a_softmax_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 4.0,
        scale: float = 1.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(embedding_dim, num_classes, {"margin": margin, "scale": scale}, options)


class SphereFaceLoss(Head):
    """SphereFace on normalised embeddings: `fusedloss.torch.functional.sphereface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SphereFaceLoss
    >>> head = SphereFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "sphereface_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 1.5,
        scale: float = 30.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(embedding_dim, num_classes, {"margin": margin, "scale": scale}, options)


class SubcenterArcFaceLoss(Head):
    """ArcFace with several centers per class: `fusedloss.torch.functional.subcenter_arcface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes * sub_centers, embedding_dim).
    margin, scale, sub_centers
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SubcenterArcFaceLoss
    >>> head = SubcenterArcFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "subcenter_arcface_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        sub_centers: int = 3,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(
            embedding_dim,
            num_classes,
            {"margin": margin, "scale": scale, "sub_centers": sub_centers},
            options,
            sub_centers,
        )


class MagFaceLoss(Head):
    """A margin that grows with the norm: `fusedloss.torch.functional.magface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    scale, l_a, u_a, l_margin, u_margin, lambda_g, easy_margin
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MagFaceLoss
    >>> head = MagFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "magface_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        scale: float = 64.0,
        l_a: float = 10.0,
        u_a: float = 110.0,
        l_margin: float = 0.45,
        u_margin: float = 0.8,
        lambda_g: float = 35.0,
        easy_margin: bool = True,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(
            embedding_dim,
            num_classes,
            {
                "scale": scale,
                "l_a": l_a,
                "u_a": u_a,
                "l_margin": l_margin,
                "u_margin": u_margin,
                "lambda_g": lambda_g,
                "easy_margin": easy_margin,
            },
            options,
        )


class CurricularFaceLoss(Head):
    """ArcFace that turns to hard negatives: `fusedloss.torch.functional.curricularface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Notes
    -----
    The buffer `t` follows the mean of the targets' cosines, a hundredth of the way in each call in
    training.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CurricularFaceLoss
    >>> head = CurricularFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    """

    loss = "curricularface_loss"

    t: Tensor

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(embedding_dim, num_classes, {"margin": margin, "scale": scale}, options)
        self.register_buffer("t", torch.zeros(()))

    def forward(
        self, embeddings: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss; in training after moving `t`."""
        counted = self.counted(target, sample_weight)
        if self.training and counted.any():
            cosines = self.target_cosines(embeddings.detach()[counted], target[counted])
            self.t.lerp_(cosines.mean(), 0.01)
        self.margins["t"] = self.t.item()
        return super().forward(embeddings, target, sample_weight)

    def target_cosines(self, embeddings: Tensor, target: Tensor) -> Tensor:
        """Return the cosines of the angles between embeddings and the weights of their classes."""
        x, w = embeddings.float(), self.weight.detach()[target.long()].float()
        return (normalize(x, dim=-1) * normalize(w, dim=-1)).sum(-1)


class AdaFaceLoss(Head):
    """Margins by the embedding's norm: `fusedloss.torch.functional.adaface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale, h
        As in the function.
    t_alpha : float in [0, 1], default 1
        How far the buffers `norm_mean` and `norm_std` move to those of the batch in each call in
        training.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import AdaFaceLoss
    >>> head = AdaFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    """

    loss = "adaface_loss"

    norm_mean: Tensor
    norm_std: Tensor

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 0.4,
        scale: float = 64.0,
        h: float = 0.333,
        t_alpha: float = 1.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        margins = {"margin": margin, "scale": scale, "h": h}
        super().__init__(embedding_dim, num_classes, margins, options)
        self.t_alpha = _check.in_range("t_alpha", t_alpha, 0, 1)
        # where the paper's code starts
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def forward(
        self, embeddings: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss; in training after moving the statistics of the norms."""
        counted = self.counted(target, sample_weight)
        if self.training and counted.any():
            norms = embeddings.detach()[counted].float().norm(dim=-1).clamp(1e-3, 100)
            std = norms.std() if len(norms) > 1 else torch.zeros_like(self.norm_std)
            self.norm_mean.lerp_(norms.mean(), self.t_alpha)
            self.norm_std.lerp_(std, self.t_alpha)
        self.margins |= {"norm_mean": self.norm_mean.item(), "norm_std": self.norm_std.item()}
        return super().forward(embeddings, target, sample_weight)
