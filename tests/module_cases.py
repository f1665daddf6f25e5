"""Modules of losses: inputs, and options that are not the defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from fusedloss.torch import modules
from fusedloss.torch.modules.margin import Head
from fusedloss.torch.modules.proxies import Proxies
from pair_cases import PEERS
from parts import public
from pointwise_cases import VARIED, tensors

Z = torch.linspace(-1, 1, 12).reshape(4, 3)
Y = torch.tensor([0, 1, 2, 1])
W = torch.tensor([0.5, 1.0, 2.0])
V = torch.tensor([1.0, 0.5, 0.0, 2.0])
P = Z.softmax(1)
SIGNS = Z.sign()
HEAD = torch.linspace(-2, 2, 15).sin().reshape(5, 3)

#: Modules that own weights, called with rows and labels.
OWNING = (
    Head,
    Proxies,
    modules.AdaptiveLogSoftmaxWithLoss,
    modules.LinearCrossEntropyLoss,
    modules.ManifoldLoss,
)

#: Modules whose names torch chose.
TORCH_NAMES = {
    "adaptive_log_softmax_loss": "AdaptiveLogSoftmaxWithLoss",
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
}


def module_of(name: str) -> Any:
    """The module of a loss, if there is one: its name in capitals, or torch's."""
    wanted = TORCH_NAMES.get(name, name.replace("_", "").removesuffix("loss") + "loss").lower()
    found = [each for each in public(modules) if each.lower() == wanted]
    return getattr(modules, found[0]) if found else None


#: (module, the function, their inputs and options): what is beside the table of pointwise losses.
POINTWISE: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("GaussianNLLLoss", "gaussian_nll_loss", (Z, P, 0.5), {"reduction": "sum"}),
    ("BCELoss", "binary_cross_entropy", (P, P), {"weight": W, "reduction": "sum"}),
    (
        "BCEWithLogitsLoss",
        "binary_cross_entropy_with_logits",
        (Z, P),
        {"weight": V[:, None], "pos_weight": W, "reduction": "sum"},
    ),
    (
        "BCEWithLogitsLoss",
        "binary_cross_entropy_with_logits",
        (Z, P),
        {"pos_weight": W, "label_smoothing": 0.2, "reduction": "none"},
    ),
    ("LogisticLoss", "logistic_loss", (Z, SIGNS), {}),
    ("KLDivLoss", "kl_div", (Z, P), {"reduction": "batchmean"}),
    ("ZeroOneLoss", "zero_one_loss", (SIGNS, SIGNS.flip(0)), {"reduction": "sum"}),
    ("GRPOLoss", "grpo_loss", (Z, P, P[:, 0]), {"epsilon": 0.1, "epsilon_high": 0.3}),
]

BOXES = torch.tensor([[0.0, 0, 2, 1], [1, 0, 3, 3], [0, 1, 1, 2], [4, 4, 6, 5]])
LABELS = torch.tensor([[0, -1, 0], [1, 2, -1], [2, 0, 1], [-1, 0, 0]])
LENGTHS = (torch.tensor([2, 2, 1]), torch.tensor([1, 2, 2]))
IMAGES = torch.linspace(-2, 2, 24).sin().reshape(2, 3, 4)
PIXELS = torch.tensor([[0, 1, 2, 1], [2, 2, -1, 0]])

#: The same of losses of rows and of images.
ROWWISE: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("MultiMarginLoss", "multi_margin_loss", (Z, Y), {"p": 2, "margin": 0.5, "weight": W}),
    ("MultiLabelMarginLoss", "multilabel_margin_loss", (Z, LABELS), {}),
    ("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss", (Z, P), {"weight": W}),
    ("CosineEmbeddingLoss", "cosine_embedding_loss", (Z, P, SIGNS[:, 0]), {"margin": 0.25}),
    (
        "TripletMarginLoss",
        "triplet_margin_loss",
        (Z, P, P.flip(0)),
        {"margin": 2.0, "p": 1, "eps": 0.5, "swap": True, "reduction": "sum"},
    ),
    (
        "TripletMarginWithDistanceLoss",
        "triplet_margin_with_distance_loss",
        (Z, P, P.flip(0)),
        {"distance_function": nn.PairwiseDistance(1.0), "margin": 2.0, "swap": True},
    ),
    (
        "CTCLoss",
        "ctc_loss",
        (IMAGES.log_softmax(-1), torch.tensor([[2, 3], [3, 0], [0, 2]]), *LENGTHS),
        {"blank": 1, "reduction": "sum", "zero_infinity": True},
    ),
    ("DiceLoss", "dice_loss", (IMAGES, PIXELS), {"smooth": 0.5, "ignore_index": -1}),
    ("DiceLoss", "dice_loss", (IMAGES, PIXELS), {"activation": "sigmoid", "ignore_index": -1}),
    (
        "DiceLoss",
        "dice_loss",
        (IMAGES.sigmoid(), IMAGES > 0),
        {"activation": None, "batch": True, "include_background": False, "class_weight": W},
    ),
    (
        "GeneralizedDiceLoss",
        "generalized_dice_loss",
        (IMAGES, PIXELS),
        {"weight_type": "simple", "smooth": 0.5, "ignore_index": -1},
    ),
    (
        "LovaszHingeLoss",
        "lovasz_hinge_loss",
        (IMAGES, PIXELS),
        {"batch": True, "ignore_index": -1, "class_weight": W, "reduction": "none"},
    ),
    (
        "TverskyLoss",
        "tversky_loss",
        (IMAGES, PIXELS),
        {"alpha": 0.25, "beta": 2.0, "smooth": 0.5, "ignore_index": -1, "reduction": "sum"},
    ),
    (
        "FocalTverskyLoss",
        "focal_tversky_loss",
        (IMAGES, PIXELS),
        {"alpha": 0.25, "beta": 2.0, "gamma": 2.0, "smooth": 0.5, "ignore_index": -1},
    ),
    ("IoULoss", "iou_loss", (IMAGES, PIXELS), {"smooth": 0.5, "ignore_index": -1}),
    ("LovaszSoftmaxLoss", "lovasz_softmax_loss", (IMAGES, PIXELS), {"ignore_index": -1}),
    (
        "DiceCELoss",
        "dice_ce_loss",
        (IMAGES, PIXELS),
        {
            "smooth": 0.5,
            "lambda_dice": 0.25,
            "lambda_ce": 3.0,
            "label_smoothing": 0.1,
            "class_weight": W,
            "ignore_index": -1,
        },
    ),
]

#: The same of modules that are called with a sample weight.
ROW_WEIGHTED: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("CategoricalHingeLoss", "categorical_hinge_loss", (Z, Y), {"reduction": "sum"}),
    ("Poly1CrossEntropyLoss", "poly1_cross_entropy", (Z, P), {"epsilon": 0.5}),
    ("GeneralizedCrossEntropyLoss", "generalized_cross_entropy", (P, Y), {"q": 0.25}),
    ("SparsemaxLoss", "sparsemax_loss", (Z, Y), {"reduction": "none"}),
    ("GeneralizedBoxIoULoss", "generalized_box_iou_loss", (BOXES, BOXES.flip(0)), {"eps": 1e-3}),
    ("DistanceBoxIoULoss", "distance_box_iou_loss", (BOXES, BOXES.flip(0)), {"reduction": "sum"}),
    ("CompleteBoxIoULoss", "complete_box_iou_loss", (BOXES, BOXES.flip(0)), {"eps": 1e-3}),
    ("CosineSimilarityLoss", "cosine_similarity_loss", (Z.T, P.T), {"axis": 0}),
]


def _of_elements() -> Iterator[tuple[str, dict[str, Any], tuple[Any, ...], str, dict[str, Any]]]:
    """Every pointwise loss and form of one, summed, with a weight where its module takes one."""
    for case in VARIED:
        module = module_of(case.name)
        inputs = tensors(case, Z)
        options = {**case.options, "reduction": "sum"}
        weight = {}
        if "weight" in inspect.signature(module.forward).parameters:
            weight = {"weight": W}
        yield (
            module.__name__,
            options,
            (*inputs, *weight.values()),
            case.name,
            {**options, **weight},
        )


#: Losses of embeddings, with options that are not the defaults.
EMBEDDINGS: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    *[(module_of(name).__name__, name, (Z, Y), options) for name, (options, _) in PEERS.items()],
    (
        "TripletLoss",
        "triplet_loss",
        (Z, Y),
        {
            "margin": 0.5,
            "mining": "semihard",
            "distance": "lp",
            "p": 3.0,
            "soft": True,
            "normalize": True,
            "reduction": "sum",
        },
    ),
    ("NCALoss", "nca_loss", (Z, Y), {"softmax_scale": 2, "normalize": False}),
    ("NTXentLoss", "ntxent_loss", (Z, Y), {"temperature": 0.5, "reduction": "none"}),
    ("InstanceLoss", "instance_loss", (Z, Y), {"gamma": 4.0, "reduction": "none", "workspace": 1}),
    ("NPairsLoss", "n_pairs_loss", (Z, Y // 2), {"normalize": False, "reduction": "sum"}),
    (
        "DynamicSoftMarginLoss",
        "dynamic_soft_margin_loss",
        (Z, Y),
        {"num_bins": 6, "min_val": -2.5},
    ),
    ("InfoNCELoss", "info_nce_loss", (Z, P), {"temperature": 0.5, "reduction": "none"}),
    ("CLIPLoss", "clip_loss", (Z, P, torch.tensor(3.0)), {"normalize": False}),
    ("SigLIPLoss", "siglip_loss", (Z, P, 3.0, -1.0), {"reduction": "sum"}),
]

#: Losses of two views.
VIEWS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "VICRegLoss",
        "vicreg_loss",
        {"invariance_lambda": 2.0, "variance_mu": 3.0, "covariance_v": 4.0, "eps": 0.1},
    ),
    ("BarlowTwinsLoss", "barlow_twins_loss", {"lambd": 0.1, "eps": 0.2}),
]

#: (module, its options, its inputs, the function, its options)
MODULES: list[tuple[str, dict[str, Any], tuple[Any, ...], str, dict[str, Any]]] = [
    ("CrossEntropyLoss", {}, (Z, Y), "cross_entropy", {}),
    (
        "CrossEntropyLoss",
        {"weight": W, "ignore_index": 1, "reduction": "sum", "label_smoothing": 0.1},
        (Z, Y),
        "cross_entropy",
        {"weight": W, "ignore_index": 1, "reduction": "sum", "label_smoothing": 0.1},
    ),
    (
        "CrossEntropyLoss",
        {"softcap": 2.0, "z_loss": 0.1, "outputs": ("lse",)},
        (Z, Y, V),
        "cross_entropy",
        {"softcap": 2.0, "z_loss": 0.1, "outputs": ("lse",), "sample_weight": V},
    ),
    (
        "NLLLoss",
        {"weight": W, "ignore_index": 1, "reduction": "none"},
        (Z, Y, V),
        "nll_loss",
        {"weight": W, "ignore_index": 1, "reduction": "none", "sample_weight": V},
    ),
    (
        "CategoricalCrossEntropyLoss",
        {"axis": 0, "label_smoothing": 0.1, "ignore_index": 1, "reduction": "sum"},
        (P, Y[:3], V[:3]),
        "categorical_cross_entropy",
        {
            "axis": 0,
            "label_smoothing": 0.1,
            "ignore_index": 1,
            "reduction": "sum",
            "sample_weight": V[:3],
        },
    ),
    (
        "CategoricalCrossEntropyLoss",
        {"gamma": 2.0, "alpha": W},
        (P, Y, V),
        "categorical_cross_entropy",
        {"gamma": 2.0, "alpha": W, "sample_weight": V},
    ),
    (
        "FocalLoss",
        {"alpha": 0.25, "gamma": 1.0, "ignore_index": 1, "reduction": "none", "softcap": 2.0},
        (Z, Y),
        "focal_loss",
        {"alpha": 0.25, "gamma": 1.0, "ignore_index": 1, "reduction": "none", "softcap": 2.0},
    ),
    (
        "FocalLoss",
        {"alpha": W, "z_loss": 0.1, "outputs": ("entropy",)},
        (Z, Y, V),
        "focal_loss",
        {"alpha": W, "z_loss": 0.1, "outputs": ("entropy",), "sample_weight": V},
    ),
    (
        "SoftCrossEntropyLoss",
        {"temperature": 2.0, "reduction": "sum"},
        (Z, Z.flip(0), V),
        "soft_cross_entropy",
        {"temperature": 2.0, "reduction": "sum", "sample_weight": V},
    ),
    (
        "DistillationLoss",
        {"temperature": 2.0, "alpha": 0.25, "ignore_index": 1, "reduction": "none"},
        (Z, Z.flip(0), Y, V),
        "distillation_loss",
        {
            "temperature": 2.0,
            "alpha": 0.25,
            "ignore_index": 1,
            "reduction": "none",
            "sample_weight": V,
        },
    ),
    ("DistillationLoss", {}, (Z, Z.flip(0)), "distillation_loss", {}),
    (
        "LinearDistillationLoss",
        {
            "temperature": 2.0,
            "alpha": 0.25,
            "divergence": "reverse",
            "ignore_index": 1,
            "reduction": "none",
            "workspace": 1,
        },
        (Z, HEAD, Z.flip(0), HEAD.flip(1), Y, V),
        "linear_distillation_loss",
        {
            "temperature": 2.0,
            "alpha": 0.25,
            "divergence": "reverse",
            "ignore_index": 1,
            "reduction": "none",
            "workspace": 1,
            "target": Y,
            "sample_weight": V,
        },
    ),
    ("LinearDistillationLoss", {}, (Z, HEAD, P, HEAD), "linear_distillation_loss", {}),
    (
        "LinearBinaryCrossEntropyLoss",
        {"reduction": "sum", "workspace": 1},
        (Z, HEAD, LABELS),
        "linear_binary_cross_entropy",
        {"reduction": "sum", "workspace": 1},
    ),
    *[
        (name, options, inputs, function, options)
        for name, function, inputs, options in POINTWISE + EMBEDDINGS
    ],
    *_of_elements(),
    *[(name, options, inputs, function, options) for name, function, inputs, options in ROWWISE],
    *[
        (name, options, (*inputs, V), function, {**options, "sample_weight": V})
        for name, function, inputs, options in ROW_WEIGHTED
    ],
    *[  # of one view; test_self_supervised.py has two
        (name, options, (Z,), function, {**options, "ref_embeddings": Z})
        for name, function, options in VIEWS
    ],
    (
        "RankingSoftmaxLoss",
        {"reduction": "sum"},
        (Z, P, P > 0.3, V),
        "ranking_softmax_loss",
        {"reduction": "sum", "where": P > 0.3, "sample_weight": V},
    ),
]
