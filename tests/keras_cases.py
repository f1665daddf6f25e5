"""The losses of the Keras front with inputs and options: what every cell of its table runs over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

N, CLASSES = 6, 5


@dataclass(frozen=True)
class Case:
    """A class, its inputs, and the options to construct it with, one after the other."""

    make: Callable[[np.random.Generator], tuple[Any, Any]]
    options: tuple[dict[str, Any], ...] = ({},)
    #: The activation of the last layer of a model whose outputs are such predictions.
    activation: str | None = None
    #: Whether y_true may be differentiated, by Keras' own formula.
    labels: bool = field(default=False, kw_only=True)
    #: Whether losses are one for each of the first axis, so that sample weights go with them.
    weighted: bool = field(default=True, kw_only=True)

    @property
    def in_a_model(self) -> dict[str, Any]:
        """The last options whose losses are one for each sample."""
        return [options for options in self.options if options.get("axis") != 0][-1]


Pair = tuple[Any, Any]


def numbers(rng: np.random.Generator) -> Pair:
    return rng.normal(size=(N, CLASSES)), rng.normal(size=(N, CLASSES))


def rates(rng: np.random.Generator) -> Pair:
    return rng.integers(0, 5, (N, CLASSES)).astype(float), rng.uniform(0.1, 3, (N, CLASSES))


def bits(rng: np.random.Generator) -> Any:
    return rng.integers(0, 2, (N, CLASSES)).astype(float)


def bits_and_scores(rng: np.random.Generator) -> Pair:
    return bits(rng), 3 * rng.normal(size=(N, CLASSES))


def saturated(rng: np.random.Generator) -> Pair:
    """Scores whose sigmoids Keras clips, among others."""
    return bits(rng), rng.choice([-30.0, -2.0, 0.5, 20.0], (N, CLASSES))


def bits_and_chances(rng: np.random.Generator) -> Pair:
    """Probabilities, of which some are 0 and 1."""
    p = rng.uniform(size=(N, CLASSES))
    p[0, :2] = 0, 1
    return bits(rng), p


def chances(rng: np.random.Generator) -> Any:
    """Rows of probabilities that do not quite sum to 1, with one that is clipped."""
    p = rng.dirichlet(np.ones(CLASSES), N) * rng.uniform(0.8, 1.2, (N, 1))
    p[0, 0] = 0
    return p


def one_hot(rng: np.random.Generator) -> Any:
    return np.eye(CLASSES)[rng.integers(0, CLASSES, N)]


def rows_and_chances(rng: np.random.Generator) -> Pair:
    return one_hot(rng), chances(rng)


def soft_rows_and_chances(rng: np.random.Generator) -> Pair:
    return rng.dirichlet(np.ones(CLASSES), N), chances(rng)


def certain(rng: np.random.Generator) -> Pair:
    """Probabilities of 0 and 1, which are clipped, and ones near them."""
    p = np.eye(CLASSES)[rng.integers(0, CLASSES, N)]
    p[1::2] += 1e-3
    return one_hot(rng), p


def rows_and_logits(rng: np.random.Generator) -> Pair:
    return rng.dirichlet(np.ones(CLASSES), N), 3 * rng.normal(size=(N, CLASSES))


def maps_and_logits(rng: np.random.Generator) -> Pair:
    return rng.dirichlet(np.ones(CLASSES), (2, 3)), 3 * rng.normal(size=(2, 3, CLASSES))


def classes_first(rng: np.random.Generator) -> Pair:
    y_true, y_pred = maps_and_logits(rng)
    return np.moveaxis(y_true, -1, 1).copy(), np.moveaxis(y_pred, -1, 1).copy()


def labels(rng: np.random.Generator, *shape: int) -> Any:
    return rng.integers(0, CLASSES, shape or (N,)).astype(np.int32)


def labels_and_chances(rng: np.random.Generator) -> Pair:
    return labels(rng), chances(rng)


def labels_and_logits(rng: np.random.Generator) -> Pair:
    return labels(rng), 3 * rng.normal(size=(N, CLASSES))


def column_and_logits(rng: np.random.Generator) -> Pair:
    y_true, y_pred = labels_and_logits(rng)
    return y_true[:, None], y_pred


def label_maps_and_logits(rng: np.random.Generator) -> Pair:
    return labels(rng, 2, 3), 3 * rng.normal(size=(2, 3, CLASSES))


def images(rng: np.random.Generator) -> Pair:
    """Class indices and logits of images, the classes last."""
    return labels(rng, 2, 4, 3), rng.normal(size=(2, 4, 3, CLASSES))


def sequences(rng: np.random.Generator) -> Pair:
    """Labels that end in the padding, and logits of enough steps for them."""
    y_true = rng.integers(1, CLASSES, (4, 3)).astype(np.int32)
    y_true[0, 2:], y_true[1, 1:] = 0, 0
    return y_true, rng.normal(size=(4, 9, CLASSES))


def embeddings(rng: np.random.Generator) -> Pair:
    x = rng.normal(size=(8, 4))
    return np.arange(8) % 3, x / np.linalg.norm(x, axis=1, keepdims=True)


def views(rng: np.random.Generator) -> Pair:
    x = rng.normal(size=(8, 4))
    return x + 0.3 * rng.normal(size=x.shape), x


LOGITS = {"from_logits": True}
SMOOTHED = {"label_smoothing": 0.1}

#: Each class of `keras.losses`, with every option at least once.
OF_KERAS: dict[str, list[Case]] = {
    "MeanSquaredError": [Case(numbers, labels=True)],
    "MeanAbsoluteError": [Case(numbers, labels=True)],
    "MeanAbsolutePercentageError": [Case(numbers, labels=True)],
    "MeanSquaredLogarithmicError": [Case(rates, labels=True)],
    "CosineSimilarity": [Case(numbers, ({}, {"axis": 0}), labels=True)],
    "Huber": [Case(numbers, ({}, {"delta": 0.3}), labels=True)],
    "LogCosh": [Case(numbers, labels=True)],
    "Poisson": [Case(rates, activation="softplus", labels=True)],
    "KLDivergence": [Case(rows_and_chances, activation="softmax", labels=True)],
    "Hinge": [Case(bits_and_scores), Case(lambda rng: (2 * bits(rng) - 1, numbers(rng)[0]))],
    "SquaredHinge": [Case(bits_and_scores), Case(numbers)],
    "CategoricalHinge": [Case(rows_and_logits)],
    "BinaryCrossentropy": [
        Case(bits_and_chances, ({}, SMOOTHED, {"axis": 0}), "sigmoid", labels=True),
        Case(bits_and_scores, (LOGITS, LOGITS | SMOOTHED), labels=True),
    ],
    "BinaryFocalCrossentropy": [
        Case(
            bits_and_chances,
            ({}, SMOOTHED, {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.5}),
            "sigmoid",
        ),
        Case(bits_and_scores, (LOGITS, LOGITS | SMOOTHED | {"gamma": 3.0})),
        Case(saturated, (LOGITS,)),
    ],
    "CategoricalCrossentropy": [
        Case(rows_and_chances, ({}, SMOOTHED), "softmax", labels=True),
        Case(soft_rows_and_chances, ({}, SMOOTHED), "softmax", labels=True),
        Case(rows_and_logits, (LOGITS, LOGITS | SMOOTHED), labels=True),
        Case(maps_and_logits, (LOGITS, LOGITS | SMOOTHED), labels=True),
        Case(classes_first, (LOGITS | {"axis": 1},), labels=True),
    ],
    "CategoricalFocalCrossentropy": [
        Case(rows_and_chances, ({}, SMOOTHED | {"gamma": 1.0}), "softmax", labels=True),
        Case(
            soft_rows_and_chances,
            ({"gamma": 0.5, "alpha": [0.1, 0.2, 0.3, 0.4, 0.5]}, SMOOTHED | {"alpha": 1}),
            "softmax",
            labels=True,
        ),
        Case(certain, ({}, {"gamma": 1.0}), labels=True),
        Case(rows_and_logits, (LOGITS | {"alpha": 0.5}, LOGITS | SMOOTHED), labels=True),
        Case(maps_and_logits, (LOGITS, LOGITS | {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5]})),
        Case(classes_first, (LOGITS | {"axis": 1},), labels=True),
    ],
    "SparseCategoricalCrossentropy": [
        Case(labels_and_chances, ({}, {"ignore_class": 1}), "softmax"),
        Case(labels_and_logits, (LOGITS, LOGITS | {"ignore_class": 1})),
        Case(column_and_logits, (LOGITS,)),
        Case(label_maps_and_logits, (LOGITS, LOGITS | {"ignore_class": 2})),
    ],
    "CategoricalGeneralizedCrossEntropy": [
        Case(labels_and_chances, ({}, {"q": 0.8}), "softmax"),
    ],
    "CTC": [Case(sequences)],
    "Dice": [Case(bits_and_chances, ({}, {"axis": -1}), "sigmoid", weighted=False)],
    "Tversky": [
        Case(bits_and_chances, ({}, {"alpha": 0.2, "axis": -1}), "sigmoid", weighted=False)
    ],
    "Circle": [Case(embeddings, ({}, {"gamma": 8.0, "margin": 0.3, "remove_diagonal": False}))],
}

#: This package's own, by the function that they are and how its arguments are named there.
OWN: dict[str, list[Case]] = {
    "FocalLoss": [
        Case(labels_and_logits, ({}, {"gamma": 1.0, "alpha": 0.3}, {"ignore_class": 1})),
        Case(labels_and_logits, ({"alpha": [0.1, 0.2, 0.3, 0.4, 0.5]},)),
        Case(images, ({},)),
    ],
    "DiceLoss": [Case(images, ({}, {"smooth": 0.5, "ignore_class": 2}), weighted=False)],
    "IoULoss": [Case(images, ({},), weighted=False)],
    "TverskyLoss": [Case(images, ({}, {"alpha": 0.3, "beta": 0.7}), weighted=False)],
    "FocalTverskyLoss": [Case(images, ({}, {"gamma": 1.5}), weighted=False)],
    "LovaszSoftmaxLoss": [Case(images, ({}, {"ignore_class": 2}), weighted=False)],
    "TripletLoss": [
        Case(embeddings, ({}, {"margin": 0.5, "mining": "hard", "soft": True}), weighted=False)
    ],
    "ContrastiveLoss": [Case(embeddings, ({}, {"neg_margin": 0.7}), weighted=False)],
    "SupConLoss": [Case(embeddings, ({}, {"temperature": 0.5}), weighted=False)],
    "NTXentLoss": [Case(embeddings, ({},), weighted=False)],
    "MultiSimilarityLoss": [Case(embeddings, ({}, {"base": 0.4}), weighted=False)],
    "CircleLoss": [Case(embeddings, ({}, {"m": 0.3, "gamma": 16.0}), weighted=False)],
    "FastAPLoss": [Case(embeddings, ({}, {"num_bins": 7}), weighted=False)],
    "GeneralizedLiftedStructureLoss": [Case(embeddings, ({}, {"neg_margin": 0.7}), weighted=False)],
    "LiftedStructureLoss": [Case(embeddings, ({}, {"neg_margin": 0.7}), weighted=False)],
    "MarginLoss": [Case(embeddings, ({}, {"margin": 0.3, "beta": 0.9}), weighted=False)],
    "NCALoss": [Case(embeddings, ({}, {"softmax_scale": 2.0}), weighted=False)],
    "RankedListLoss": [Case(embeddings, ({}, {"margin": 0.5, "alpha": 1.3}), weighted=False)],
    "IntraPairVarianceLoss": [Case(embeddings, ({}, {"pos_eps": 0.05}), weighted=False)],
    "PNPLoss": [
        Case(embeddings, ({"anneal": 0.1}, {"variant": "Ds", "anneal": 0.2}), weighted=False)
    ],
    "SmoothAPLoss": [Case(embeddings, ({"temperature": 0.1},), weighted=False)],
    "ThresholdConsistentMarginLoss": [
        Case(embeddings, ({}, {"margin_plus": 0.8, "lambda_minus": 0.5}), weighted=False)
    ],
    "TupletMarginLoss": [Case(embeddings, ({}, {"margin": 3.0, "scale": 8.0}), weighted=False)],
    "AngularLoss": [Case(embeddings, ({}, {"alpha": 30.0}), weighted=False)],
    "HistogramLoss": [Case(embeddings, ({}, {"n_bins": 12}), weighted=False)],
    "InstanceLoss": [Case(embeddings, ({}, {"gamma": 8.0}), weighted=False)],
    "NPairsLoss": [Case(embeddings, ({}, {"batch_reduction": "sum"}), weighted=False)],
    "InfoNCELoss": [Case(views, ({}, {"temperature": 0.5}), labels=True, weighted=False)],
    "CLIPLoss": [Case(views, ({}, {"logit_scale": 4.0}), labels=True, weighted=False)],
    "SigLIPLoss": [Case(views, ({}, {"logit_bias": -2.0}), labels=True, weighted=False)],
    "BarlowTwinsLoss": [Case(views, ({}, {"lambd": 0.1}), labels=True, weighted=False)],
    "VICRegLoss": [Case(views, ({}, {"covariance_v": 2.0}), labels=True, weighted=False)],
}

#: The layers of weights, with the logits that they should give without labels.
LAYERS: dict[str, tuple[dict[str, Any], ...]] = {
    "LinearCrossEntropy": ({}, {"use_bias": True, "label_smoothing": 0.1, "softcap": 5.0}),
    "ArcFace": ({"scale": 8.0}, {"margin": 0.3, "scale": 4.0, "easy_margin": True}),
    "CosFace": ({"scale": 8.0},),
    "SphereFace": ({"scale": 8.0},),
    "NormFace": ({},),
    "CombinedMargin": ({"m1": 0.9, "m3": 0.1, "scale": 8.0},),
    "AdaFace": ({"scale": 8.0}, {"scale": 4.0, "h": 0.5, "label_smoothing": 0.1}),
    "MagFace": ({"scale": 8.0},),
    "SubcenterArcFace": ({"scale": 8.0, "sub_centers": 2},),
    "L2Softmax": ({},),
    "LSoftmax": ({},),
    "ASoftmax": ({},),
}

#: Keras' worked examples: the loss, y_true, y_pred, and the value printed.
WORKED: dict[str, tuple[str, Any, Any, float]] = {
    "1.176939": (
        *("CategoricalCrossentropy", [[0, 1, 0], [0, 0, 1]]),
        *([[0.05, 0.95, 0], [0.1, 0.8, 0.1]], 1.176939),
    ),
    "0.5108254": ("BinaryCrossentropy", [[0.0], [1.0]], [[0.4], [0.6]], 0.5108254),
    "1.0": ("MeanAbsoluteError", [[1.0], [1.0]], [[0.0], [0.0]], 1.0),
    "0.5": ("MeanSquaredError", [[1.0], [1.0]], [[0.0], [1.0]], 0.5),
    "0.18": ("Huber", [[0.0], [1.0]], [[0.6], [0.4]], 0.18),
}

#: What has no kernel: Keras' own formula is taken.
BY_FORMULA = {
    *("CategoricalGeneralizedCrossEntropy", "Circle", "Dice", "KLDivergence", "Tversky"),
}

#: What Keras leaves to its users is kept, in `keras_rules.py`, and what is only of some backends.
RULES = (
    *("clips_at_epsilon_of_the_call", "errors_are_of_keras", "functions", "get"),
    *("ignores_by_mask", "labels_out_of_range", "mask_of_the_prediction", "mixed_precision"),
    *("names", "no_warnings", "seldom_inputs", "sixteen_bits", "symbolic"),
)
ONLY_ON: dict[str, tuple[str, ...]] = {
    "tensorflow": ("activations", "differentiated_twice", "graph", "xla"),
    "torch": ("differentiated_twice",),
    "jax": (),
    "numpy": (),
}


def cells(backend: str) -> list[str]:
    """The names of all cells of a backend."""
    kinds: dict[str, Any] = {
        "eager": OF_KERAS,
        "fit": OF_KERAS,
        "save": OF_KERAS,
        "own_eager": OWN,
        "own_fit": OWN,
        "own_save": OWN,
        "layer_eager": LAYERS,
        "layer_fit": LAYERS,
        "layer_save": LAYERS,
        "worked": WORKED,
        "rule": (*RULES, *ONLY_ON[backend]),
    }
    return [f"{kind}-{name}" for kind, names in kinds.items() for name in names]
