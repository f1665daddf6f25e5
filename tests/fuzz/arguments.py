"""Draws calls: arguments by the names and annotations of parameters, some of them wrong.

Which arrays a function takes, and of which shapes, is read off the names of its parameters
(`FAMILIES`); options are drawn by annotation and default. A function with a required parameter
whose name is not known here is an error: a new kind of array has to be described.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fusedloss as fl
from fusedloss.torch import functional
from fuzz.memory import Placed, place
from parts import Array
from pointwise_cases import LOSSES as POINTWISE_LOSSES
from pointwise_cases import REAL
from reference.rowwise import ROWWISE
from rowwise_cases import LOSSES as ROWWISE_LOSSES
from rowwise_cases import whole_boxes
from segmentation_cases import SORTED

DTYPES = ("float32", "float32", "float64", "float16", "bfloat16")
INDEX_DTYPES = ("int64", "int64", "int32", "int16", "uint8", "uint64")
THREADS = (1, 2, 7)

#: What is public but is no computation on arrays.
NOT_CALLED = {
    *("__version__", "empty_cache", "get_include", "get_num_threads", "grad_and_hess"),
    "set_num_threads",
    *("show_config", "threads", "value_and_grad"),
}


@dataclass
class Call:
    """One call: a function's name, its arguments, and what is asked of it."""

    front: str  # "numpy" or "torch"
    name: str
    arguments: dict[str, Any]
    kind: str = "value"  # or "gradient", "hessian"
    argnums: int | tuple[int, ...] = 0
    grad_output: Any = None
    out: Any = None
    wrong: str = ""  # which argument was made wrong, if any
    limit: str = ""  # which option is at a limit of its type
    regime: str = "usual"  # the values of the prediction

    @property
    def usual(self) -> bool:
        """Whether formulas answer for it to within their tolerances."""
        return not self.wrong and not self.limit

    def placed(self) -> Iterator[Placed]:
        """Every array that it takes."""
        yield from _placed((tuple(self.arguments.values()), self.grad_output, self.out))


def _placed(x: Any) -> Iterator[Placed]:
    if isinstance(x, Placed):
        yield x
    elif isinstance(x, tuple | list):
        for each in x:
            yield from _placed(each)


@functools.cache
def parameters_of(name: str) -> dict[str, inspect.Parameter]:
    """The parameters of a function, with annotations that are types."""
    function = inspect.unwrap(getattr(fl, name))
    annotations = {k: v for k, v in function.__annotations__.items() if k != "return"}
    bare = types.SimpleNamespace(__annotations__=annotations)
    hints = typing.get_type_hints(bare, vars(inspect.getmodule(function)))
    parameters = inspect.signature(function).parameters
    return {k: p.replace(annotation=hints.get(k, Any)) for k, p in parameters.items()}


@functools.cache
def names_of_torch(name: str) -> dict[str, str]:
    """The parameters of a function of the torch front, and what NumPy's function calls them."""
    ours, theirs = parameters_of(name), inspect.signature(getattr(functional, name)).parameters
    names = {k: k for k in theirs if k in ours}
    first = [k for k, p in ours.items() if p.default is p.empty]
    return names | dict(zip(list(theirs)[: len(first)], first, strict=True))


# ---- Values ------------------------------------------------------------------------------------


@dataclass
class Draw:
    """What the arrays of one call have in common."""

    rng: np.random.Generator
    name: str  # the loss's own
    parameters: dict[str, inspect.Parameter]
    dtype: str
    regime: str
    odd: float  # how likely arrays lie oddly
    used: set[str] = field(default_factory=set)

    def place(self, x: Any) -> Placed:
        return place(x, self.rng, self.odd, swap=self.dtype != "bfloat16")

    def likely(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def size(self, most: int = 40, least: int = 1) -> int:
        """Small mostly; powers of two and their neighbours; seldom 0."""
        if self.likely(0.02) and least < 2:
            return 0
        if self.likely(0.3):
            edges = [n + k for n in (4, 8, 16, 32, 64, 128) for k in (-1, 0, 1)]
            return int(self.rng.choice([n for n in edges if least <= n <= 2 * most] or [least]))
        return int(self.rng.integers(least, most + 1))

    def floats(self, shape: tuple[int, ...], scale: float = 2.0) -> Array:
        """Numbers of the call's regime, in its dtype."""
        rng = self.rng
        x = rng.normal(size=shape) * scale
        if self.regime == "whole":
            x = rng.integers(-2, 3, shape).astype(float)
        if self.regime == "wide":
            x = rng.uniform(-80, 80, shape)
        if self.regime == "special" and x.size:
            chosen = rng.random(shape) < rng.choice([0.02, 0.2])
            values = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30, 1e-40], size=shape)
            x = np.where(chosen, values, x)
        with np.errstate(over="ignore"):
            return np.asarray(x).astype(self.dtype)

    def weights(self, shape: tuple[int, ...]) -> Placed:
        x = self.rng.uniform(0.1, 2, shape)
        if self.likely(0.3):
            x = np.where(self.rng.random(shape) < 0.3, 0, x)
        return self.place(np.asarray(x).astype(self.dtype))

    def index(self, shape: tuple[int, ...], count: int, ignored: int | None = None) -> Array:
        """Integers below a count, a few of them ignored."""
        dtype = self.rng.choice(INDEX_DTYPES)
        x = np.asarray(self.rng.integers(0, max(count, 1), shape))
        if ignored is not None and self.likely(0.3) and ignored < 0:
            x = np.where(self.rng.random(shape) < 0.3, ignored, x)
            dtype = self.rng.choice(["int64", "int32", "int16"])
        return x.astype(dtype if count < 100 else "int64")

    def option(self, *names: str) -> bool:
        """Whether an optional array is given."""
        return all(name in self.parameters for name in names) and self.likely(0.4)


def elements(draw: Draw) -> dict[str, Any]:
    """Arrays that broadcast to one shape, of the domains in the table of pointwise losses."""
    rng = draw.rng
    shape = tuple(draw.size(12) for _ in range(rng.integers(0, 4)))
    required = [k for k, p in draw.parameters.items() if p.default is p.empty]
    loss = POINTWISE_LOSSES.get(draw.name)
    domains = loss.domains if loss else (REAL,) * len(required)
    arguments: dict[str, Any] = {}
    for name, domain in zip(required, domains, strict=True):
        own = shape
        if name != required[0] and draw.likely(0.1):
            own = tuple(1 if draw.likely() else n for n in shape)
        x = np.asarray(domain.draw(rng, own))
        if draw.regime == "whole":
            x = np.asarray(rng.choice([*domain.special[:4]], own))
        if draw.regime == "special":
            x = np.asarray(rng.choice([*domain.special, np.nan], own))
        with np.errstate(over="ignore"):
            arguments[name] = draw.place(x.astype(draw.dtype))
    if draw.option("weight"):
        arguments["weight"] = draw.weights(shape)
    if draw.option("pos_weight"):
        arguments["pos_weight"] = draw.weights(shape[-1:])
    return arguments


def rows(draw: Draw) -> dict[str, Any]:
    """Rows on the class axis, or on the last; indices, numbers or further rows to each."""
    rng, parameters = draw.rng, draw.parameters
    required = [k for k, p in parameters.items() if p.default is p.empty]
    inner = tuple(draw.size(6) for _ in range(rng.choice([0, 0, 1, 2])))
    shape = (draw.size(), *inner, max(draw.size(70), 1))
    arguments: dict[str, Any] = {}
    loss = ROWWISE_LOSSES.get(draw.name)
    if loss is not None:
        arrays = [each(rng, shape) for each in loss.draws]
        of_classes = ROWWISE[draw.name].of_classes
        if draw.name in BOXES:
            arrays = [boxes(draw, shape, x) for x in arrays]
        elif arrays[0].min(initial=0) < 0:
            arrays[0] = draw.floats(shape)
    else:
        of_classes = draw.name != "categorical_cross_entropy"
        arrays = [draw.floats(shape)]
        if required[0] == "log_probs":
            arrays = [fl.log_softmax(arrays[0].astype(float))]
        if required[0] == "probs":
            arrays = [fl.softmax(arrays[0].astype(float))]
        ignored = -100 if "ignore_index" in parameters else None
        arrays += [draw.floats(shape) for name in required[1:] if name.endswith("logits")]
        if "target" in parameters and draw.likely(0.8):
            arrays.append(draw.index(shape[:-1], shape[-1], ignored))
            if draw.name in ("cross_entropy", "categorical_cross_entropy") and draw.likely(0.2):
                arrays[-1] = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
        elif "target" in required:
            arrays.append(draw.index(shape[:-1], shape[-1], ignored))
    names = [k for k, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
    for name, x in zip(names, arrays, strict=False):
        if of_classes and x.ndim == len(shape) > 1:
            x = np.moveaxis(x, -1, 1)
        with np.errstate(over="ignore"):
            x = x.astype(draw.dtype) if x.dtype.kind == "f" else x
        arguments[name] = draw.place(x)
    if draw.option("sample_weight"):
        arguments["sample_weight"] = draw.weights(shape[:-1])
    for name in ("weight", "alpha"):
        if draw.option(name) and draw.name != "distillation_loss":
            arguments[name] = draw.weights(shape[-1:])
    if draw.name == "ranking_softmax_loss" and draw.option("where"):
        own = arguments[names[0]].shape
        arguments["where"] = draw.place(rng.random(own) < 0.8)
    return arguments


#: Losses whose rows are boxes.
BOXES = {name for name, loss in ROWWISE_LOSSES.items() if loss.draws[0].__name__ == "_boxes"}


def boxes(draw: Draw, shape: tuple[int, ...], usual: Array) -> Array:
    """Boxes of the call's regime; in one of them corners may be anything."""
    if draw.regime == "whole":
        return whole_boxes(draw.rng, shape)
    if draw.regime == "wide":
        return usual * draw.rng.uniform(1, 30, size=(*shape[:-1], 1))
    return draw.floats(usual.shape) if draw.regime == "special" else usual


def helper(draw: Draw) -> dict[str, Any]:
    """Logits alone."""
    shape = tuple(draw.size(20) for _ in range(draw.rng.integers(1, 4)))
    arguments: dict[str, Any] = {"logits": draw.place(draw.floats(shape))}
    if draw.likely():
        arguments["axis"] = int(draw.rng.integers(-len(shape), len(shape)))
    return arguments


def images(draw: Draw) -> dict[str, Any]:
    """Logits of pixels, and their classes or distributions."""
    rng = draw.rng
    inner = tuple(draw.size(7) for _ in range(rng.integers(0, 3)))
    shape = (max(draw.size(3), 1), int(rng.integers(2, 20)), *inner)
    target = draw.index((shape[0], *inner), shape[1], -100)
    if draw.name not in SORTED and draw.likely(0.3):
        soft = rng.dirichlet(np.ones(shape[1]), (shape[0], *inner))
        target = np.moveaxis(soft, -1, 1).astype(draw.dtype)
    elif draw.likely(0.3):
        target = rng.integers(0, 2, shape).astype(np.uint8)
    result = {"logits": draw.place(draw.floats(shape)), "target": draw.place(target)}
    if draw.option("class_weight"):
        result["class_weight"] = draw.weights((shape[1],))
    if draw.option("sample_weight"):
        result["sample_weight"] = draw.weights((shape[0], *inner))
    return result


def heads(draw: Draw) -> dict[str, Any]:
    """Embeddings, centers of classes, and the classes of the embeddings."""
    n, d, c = draw.size(), draw.size(30, 2), max(draw.size(30), 1)
    centers = 1
    arguments: dict[str, Any] = {}
    for name in ("sub_centers", "centers_per_class"):
        if name in draw.parameters:
            centers = arguments[name] = int(draw.rng.integers(1, 4))
    ignored = -1 if "ignore_index" in draw.parameters else None
    result: dict[str, Any] = {
        "embeddings": draw.place(draw.floats((n, d))),
        "weight": draw.place(draw.floats((c * centers, d))),
        "target": draw.place(draw.index((n,), c, ignored)),
        **arguments,
    }
    return result | _weights(draw, n, c)


def _weights(draw: Draw, n: int, c: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if draw.option("sample_weight"):
        result["sample_weight"] = draw.weights((n,))
    if draw.option("class_weight"):
        result["class_weight"] = draw.weights((c,))
    return result


def cosines(draw: Draw) -> dict[str, Any]:
    n, c = draw.size(), max(draw.size(30), 1)
    cosine = draw.rng.uniform(-0.99, 0.99, (n, c)).astype(draw.dtype)
    target = draw.index((n,), c, -1)
    return {"cosine": draw.place(cosine), "target": draw.place(target)} | _weights(draw, n, c)


def linear(draw: Draw) -> dict[str, Any]:
    n, d, c = draw.size(), draw.size(40, 1), max(draw.size(60), 1)
    result: dict[str, Any] = {
        "input": draw.place(draw.floats((n, d))),
        "linear_weight": draw.place(draw.floats((c, d), 1 / np.sqrt(max(d, 1)))),
    }
    if draw.name == "linear_binary_cross_entropy":
        return result | {"target": draw.place(draw.index((n, draw.size(6)), c, -1))}
    result["target"] = draw.place(draw.index((n,), c, -100))
    if draw.option("linear_bias"):
        result["linear_bias"] = draw.place(draw.floats((c,)))
    if draw.option("weight"):
        result["weight"] = draw.weights((c,))
    if draw.option("sample_weight"):
        result["sample_weight"] = draw.weights((n,))
    if draw.likely(0.7):  # by halves, or by the precision of the products, errors are another's
        result["precision"] = "highest" if draw.dtype == "float32" else None
    return result


def adaptive(draw: Draw) -> dict[str, Any]:
    """A head over frequent classes and clusters, and the two layers of each cluster."""
    n, d, shortlist = draw.size(), draw.size(40, 1), int(draw.rng.integers(1, 20))
    sizes = [int(draw.rng.integers(1, 20)) for _ in range(draw.rng.integers(1, 4))]
    head = draw.floats((shortlist + len(sizes), d), 1 / np.sqrt(d))
    tails = []
    for size in sizes:
        hidden = int(draw.rng.integers(0, 9))
        tails += [draw.floats((hidden, d), 1 / np.sqrt(d)), draw.floats((size, hidden))]
    result: dict[str, Any] = {
        "input": draw.place(draw.floats((n, d))),
        "head_weight": draw.place(head),
        "tail_weights": [draw.place(x) for x in tails],
        "target": draw.place(draw.index((n,), shortlist + sum(sizes))),
    }
    if draw.option("bias"):
        result["bias"] = draw.place(draw.floats((len(head),)))
    return result


def distilled(draw: Draw) -> dict[str, Any]:
    """The linear layers of a student and a teacher."""
    n, d, e, c = draw.size(), draw.size(40, 1), draw.size(20, 1), max(draw.size(60), 1)
    result: dict[str, Any] = {
        "student": draw.place(draw.floats((n, d))),
        "student_weight": draw.place(draw.floats((c, d), 1 / np.sqrt(max(d, 1)))),
        "teacher": draw.place(draw.floats((n, e))),
        "teacher_weight": draw.place(draw.floats((c, e), 1 / np.sqrt(max(e, 1)))),
    }
    if draw.option("target"):
        result["target"] = draw.place(draw.index((n,), c, -100))
    if draw.option("sample_weight"):
        result["sample_weight"] = draw.weights((n,))
    return result


def pairs(draw: Draw) -> dict[str, Any]:
    """Embeddings with labels, and references or lists of pairs and triplets."""
    rng, n, d = draw.rng, draw.size(24), draw.size(20, 2)
    classes = int(rng.integers(1, 6))
    y = draw.index((n,), classes)
    result: dict[str, Any] = {
        "embeddings": draw.place(draw.floats((n, d), 1.0)),
        "labels": draw.place(y),
    }
    count, z = n, y
    if draw.option("ref_embeddings", "ref_labels"):
        count = draw.size(24)
        z = draw.index((count,), classes)
        result["ref_embeddings"] = draw.place(draw.floats((count, d), 1.0))
        result["ref_labels"] = draw.place(z)
    if draw.option("sample_weight"):
        result["sample_weight"] = draw.weights((n,))
    if draw.option("indices_tuple") and n and count:
        lists = 3 if draw.likely() else 4
        k = draw.size(30)
        if lists == 3:
            chosen = [rng.integers(0, m, k) for m in (n, count, count)]
        else:
            other = draw.size(30)
            sizes = ((n, k), (count, k), (n, other), (count, other))
            chosen = [rng.integers(0, m, s) for m, s in sizes]
        result["indices_tuple"] = tuple(draw.place(x) for x in chosen)
    return result


def towers(draw: Draw) -> dict[str, Any]:
    """Two batches of embeddings whose rows belong together."""
    n, d = draw.size(24), draw.size(20, 2)
    names = [k for k, p in draw.parameters.items() if p.default is p.empty]
    more = draw.size(9) if draw.likely(0.5) else 0  # rows that belong to none
    sizes = dict(zip(names, (n, n + more), strict=True))
    result: dict[str, Any] = {k: draw.place(draw.floats((m, d), 1.0)) for k, m in sizes.items()}
    if draw.option("sample_weight"):
        result["sample_weight"] = draw.weights((n,))
    if draw.option("where"):
        result["where"] = draw.place(draw.rng.random((n, n + more)) < 0.8)
    return result


def views(draw: Draw) -> dict[str, Any]:
    """Two views of a batch."""
    shape = (draw.size(24, 2), draw.size(20, 1))
    names = ("embeddings", "ref_embeddings")
    return {k: draw.place(draw.floats(shape, 1.0)) for k in names}


def vectors(draw: Draw) -> dict[str, Any]:
    """Anchors, positives and negatives."""
    shape = tuple(draw.size(12) for _ in range(draw.rng.integers(0, 3)))
    shape = (*shape, draw.size(20, 1))
    return {k: draw.place(draw.floats(shape)) for k in ("anchor", "positive", "negative")}


def sequences(draw: Draw) -> dict[str, Any]:
    """Frames of log-probabilities, and labels; lengths of both."""
    rng = draw.rng
    frames, n, c = draw.size(20, 1), int(rng.integers(1, 6)), int(rng.integers(2, 12))
    most = int(rng.integers(0, frames + 2))
    lengths = rng.integers(0, most + 1, n)
    targets = draw.index((n, most), c - 1) + np.uint8(1)
    if draw.likely(0.3):
        targets = np.concatenate([row[:k] for row, k in zip(targets, lengths, strict=True)])
    log_probs = fl.log_softmax(3 * rng.normal(size=(frames, n, c))).astype(draw.dtype)
    return {
        "log_probs": draw.place(log_probs),
        "targets": draw.place(targets.astype("int64")),
        "input_lengths": draw.place(rng.integers(max(frames - 4, 0), frames + 1, n)),
        "target_lengths": draw.place(lengths),
    }


def lists(draw: Draw) -> dict[str, Any]:
    """Lists of arrays of any shapes."""
    rng = draw.rng
    shapes = [
        tuple(draw.size(9) for _ in range(rng.integers(0, 4))) for _ in range(rng.integers(1, 4))
    ]
    names = [k for k in ("params", "features", "target_features") if k in draw.parameters]
    result: dict[str, Any] = {k: [draw.place(draw.floats(s)) for s in shapes] for k in names}
    if "strength" in draw.parameters:
        result["strength"] = float(rng.uniform(0, 2))
    if draw.option("weights"):
        result["weights"] = [float(x) for x in rng.uniform(0, 2, len(shapes))]
    return result


def sampled(draw: Draw) -> dict[str, Any]:
    count = int(draw.rng.integers(1, 40))
    return {
        "target": draw.place(draw.index((draw.size(),), count, -1)),
        "num_classes": count,
        "sample_rate": float(draw.rng.uniform(0.05, 1)),
        "seed": int(draw.rng.integers(1000)),
    }


def policies(draw: Draw) -> dict[str, Any]:
    """Log-probabilities of tokens, older ones near them, advantages; a reference's, a mask."""
    rng = draw.rng
    shape = (*(draw.size(5) for _ in range(rng.integers(0, 3))), draw.size())
    by_answer = len(shape) > 1 and draw.likely(0.7)
    log_probs = -rng.exponential(20.0 if draw.regime == "wide" else 1.0, shape)
    if draw.regime == "whole":
        log_probs = np.round(log_probs)
    near = [log_probs + np.round(2 * rng.normal(size=shape)) / 4 for _ in range(2)]
    if draw.regime == "special":
        log_probs, *near = (draw.floats(shape) for _ in range(3))
    with np.errstate(over="ignore"):
        old, ref = (draw.place(x.astype(draw.dtype)) for x in near)
        first = draw.place(log_probs.astype(draw.dtype))
    result: dict[str, Any] = {
        "log_probs": first,
        "old_log_probs": old,
        "advantages": draw.place(draw.floats(shape[:-1] if by_answer else shape, 1.0)),
    }
    if draw.likely():
        result["ref_log_probs"] = ref
        result["beta"] = float(rng.uniform(0.01, 1))
    if draw.likely():
        result["where"] = draw.place(rng.random(shape) < rng.choice([0.2, 0.8]))
    if draw.likely(0.3):
        result["loss_type"], result["divisor"] = "dapo", float(rng.uniform(1, 100))
    else:
        result["loss_type"] = str(rng.choice(["token", "sequence"]))
    return result


Family = Callable[[Draw], dict[str, Any]]

#: The arrays of a function by the names of its required parameters, the first that it has all of.
FAMILIES: tuple[tuple[set[str], Family], ...] = (
    ({"embeddings", "weight", "target"}, heads),
    ({"embeddings", "labels"}, pairs),
    ({"embeddings", "ref_embeddings"}, views),
    ({"query", "key"}, towers),
    ({"image_features", "text_features"}, towers),
    ({"input", "linear_weight", "target"}, linear),
    ({"input", "head_weight", "tail_weights", "target"}, adaptive),
    ({"student", "student_weight", "teacher", "teacher_weight"}, distilled),
    ({"cosine", "target"}, cosines),
    ({"log_probs", "targets", "input_lengths", "target_lengths"}, sequences),
    ({"log_probs", "old_log_probs", "advantages"}, policies),
    ({"params"}, lists),
    ({"features", "target_features"}, lists),
    ({"target", "num_classes", "sample_rate"}, sampled),
)

#: What elements and rows are called.
NUMBERS = {
    *("anchor", "input", "input1", "input2", "labels", "log_probs", "log_target", "logits"),
    "log_prediction",
    *("negative", "positive", "prediction", "probs", "scores", "student_logits", "target"),
    *("target_logits", "teacher_logits", "var"),
    *("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected"),
    *("policy", "reference", "desirable"),
}


def family_of(name: str) -> Family:
    """How the arrays of a function are drawn."""
    parameters = parameters_of(name)
    required = {k for k, p in parameters.items() if p.default is p.empty}
    for names, family in FAMILIES:
        if names <= required:
            return family
    if not required or not required <= NUMBERS:
        raise LookupError(
            f"{name} takes {sorted(required - NUMBERS)}: describe it in fuzz/arguments.py"
        )
    if required == {"logits"}:
        return helper
    if "include_background" in parameters:
        return images
    if "sample_weight" in parameters:
        return rows
    if "distance_function" in parameters:
        return vectors
    return elements


#: Options whose default, None or 0, says nothing of their range.
RANGES: dict[str, tuple[float, float]] = {
    **{
        "alpha": (0.1, 0.9),
        "annealing": (0, 5),
        "filter_eps": (1e-12, 1e-3),
        "focal_gamma": (0, 3),
    },
    **{"interclass_filtering_threshold": (0, 0.5), "label_smoothing": (0, 0.5), "margin": (0, 1)},
    **{"m2": (0, 0.5), "m3": (0, 0.5), "norm_mean": (1, 20), "norm_std": (1, 20)},
    **{"pos_margin": (0, 1), "softcap": (1, 30), "t": (0, 1), "Tp": (0, 5), "z_loss": (0, 1e-2)},
    **{"nonzero_loss_cutoff": (1.3, 2), "clip": (0, 0.3), "workspace": (0, 1e5), "shift": (0, 1)},
    **{"beta": (0.1, 0.9), "q": (0.1, 1), "quantile": (0.1, 0.9), "temperature": (0.1, 2)},
    **{"p": (1, 3), "power": (1, 2), "limit": (1e5, 1e6)},
}

#: At the limits of what a number can be.
LIMITS = (0, -1, 1, 1e-300, 1e-40, 1e38, 1e300, float("inf"), float("-inf"), float("nan"))
LIMITS_OF_INTEGERS = (0, -1, 1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**64)

#: What memory is proportional to, which is no matter of limits.
COUNTS = ("num_classes", "num_bins", "n_bins", "sub_centers", "centers_per_class", "limit")

#: What is no number at all, or one that nobody would write.
WRONG_OPTIONS: tuple[Any, ...] = (
    None,
    "two",
    b"",
    (),
    [],
    {},
    object,
    1j,
    True,
    10**400,
    -(10**400),
    np.zeros(2),
)

#: Options that arrays or later steps decide.
DECIDED = {
    *("num_threads", "outputs", "distance_function", "allowed_pos_range", "allowed_neg_range"),
    *("ref_log_probs", "divisor"),
}


def option_of(name: str, p: inspect.Parameter, rng: np.random.Generator) -> Any:
    """A usual value of an option."""
    kinds = typing.get_args(p.annotation) or (p.annotation,)
    if typing.get_origin(p.annotation) is typing.Literal:
        return str(rng.choice(kinds))
    if bool in kinds:
        return bool(rng.random() < 0.5)
    choices = [
        x
        for kind in kinds
        if typing.get_origin(kind) is typing.Literal
        for x in typing.get_args(kind)
    ]
    if choices:
        return str(rng.choice(choices))
    if float not in kinds and int not in kinds:
        return p.default
    whole = float not in kinds
    if p.default in (None, 0) or (name in RANGES and rng.random() < 0.5):
        low, high = RANGES.get(name, (0.1, 2))
        value = rng.uniform(low, high)
    else:
        value = p.default * rng.uniform(0.5, 1.5)
    return round(value) if whole else float(value)


def draw_call(name: str, front: str, rng: np.random.Generator) -> Call:
    """One call of a function."""
    parameters = parameters_of(name)
    function = getattr(fl, name)
    record = getattr(function, "__fusedloss__", None)
    own = record.name if record else name
    regime = str(rng.choice(["usual", "usual", "usual", "whole", "wide", "special"]))
    odd = float(rng.choice([0, 0.3, 0.6])) if front == "numpy" else 0.0
    draw = Draw(rng, own, parameters, str(rng.choice(DTYPES)), regime, odd)
    arguments = family_of(name)(draw)
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in arguments]
    assert not missing, (name, missing)
    if front == "torch":
        taken = names_of_torch(name).values()
        arguments = {k: x for k, x in arguments.items() if k in taken}
    limit = ""
    for key, p in parameters.items():
        if key in arguments or p.default is p.empty or key in DECIDED:
            continue
        if front == "torch" and key not in names_of_torch(name).values():
            continue
        if key == "seed":
            arguments[key] = int(rng.integers(1000))
        elif rng.random() < (0.7 if key == "reduction" else 0.25):
            arguments[key] = option_of(key, p, rng)
            if arguments[key] == p.default:
                del arguments[key]
    if "distance" in arguments and arguments["distance"] != "lp":
        for key in ("p", "power"):
            arguments.pop(key, None)
    types_of = {
        k: {*typing.get_args(p.annotation), p.annotation}
        for k, p in parameters.items()
        if front == "numpy" or k in names_of_torch(name).values()
    }
    numeric = [k for k, kinds in types_of.items() if {int, float} & kinds and k != "num_threads"]
    if numeric and rng.random() < 0.1:
        limit = str(rng.choice(numeric))
        values = LIMITS if float in types_of[limit] else LIMITS_OF_INTEGERS
        arguments[limit] = values[rng.integers(len(values))]
        if limit in COUNTS:
            arguments[limit] = min(arguments[limit], 1000)
    call = Call(front, name, arguments, limit=limit, regime=regime)
    if record is not None:
        _differentiate(call, record, draw)
    if rng.random() < 0.25:
        _spoil(call, draw)
    return call


def _differentiate(call: Call, record: Any, draw: Draw) -> None:
    """Ask for gradients or a Hessian, perhaps into given arrays."""
    rng = draw.rng
    if record.hessian and draw.likely(0.2) and call.front == "numpy":
        call.kind = "hessian"
        call.arguments.pop("reduction", None)
        return
    given = [
        record.parameters.index(k)
        for k in record.differentiable
        if isinstance(call.arguments.get(k), Placed | list)
    ]
    if not record.differentiable or not given or draw.likely(0.2):
        return
    call.kind = "gradient"
    call.argnums = 0 if 0 in given else given[0]
    if len(given) > 1 and draw.likely():
        call.argnums = tuple(given)
    if call.arguments.get("reduction", "mean") != "none" and draw.likely(0.3):
        call.grad_output = float(rng.normal())
    if draw.likely(0.4) and call.front == "numpy":
        numbers = call.argnums if isinstance(call.argnums, tuple) else (call.argnums,)
        places = [_place_for(call.arguments[record.parameters[k]], draw) for k in numbers]
        call.out = tuple(places) if isinstance(call.argnums, tuple) else places[0]


def _place_for(x: Any, draw: Draw) -> Any:
    if isinstance(x, list):
        return [_place_for(each, draw) for each in x]
    return place(
        np.zeros(x.shape, x.view().dtype.newbyteorder("=")), draw.rng, draw.odd, written=True
    )


def _spoil(call: Call, draw: Draw) -> None:
    """Make one argument wrong, or odd enough to be refused."""
    rng = draw.rng
    arrays = [k for k, x in call.arguments.items() if isinstance(x, Placed)]
    if isinstance(call.out, Placed) and draw.likely():
        call.wrong = "out"
        call.out = _wrong_place(call, draw, arrays)
        return
    if not arrays or draw.likely(0.3):
        names = [k for k in draw.parameters if k not in arrays]
        if call.front == "torch":
            names = [k for k in names if k in names_of_torch(call.name).values()] or arrays
        names = [k for k in names if not isinstance(call.arguments.get(k), tuple | list)]
        call.wrong = str(rng.choice(names))
        values = (*WRONG_OPTIONS, *LIMITS)
        call.arguments[call.wrong] = values[rng.integers(len(values))]
        return
    call.wrong = str(rng.choice(arrays))
    x = call.arguments[call.wrong].numbers()
    whole = x.dtype.kind in "iu"
    spoilt: list[Callable[[], Any]] = [
        lambda: None,
        lambda: "text",
        lambda: object(),
        lambda: draw.place(x[np.newaxis]),
        lambda: draw.place(x.reshape(-1)),
        lambda: draw.place(x.reshape(-1)[: x.size // 2]),
        lambda: draw.place(np.concatenate([x, x]) if x.ndim else np.stack([x, x])),
        lambda: draw.place(x.astype(bool)),
        lambda: draw.place(np.nan_to_num(x.astype(float)).astype("complex64")),
        lambda: draw.place(x.astype("float64")),
        lambda: draw.place(np.nan_to_num(x.astype(float)).clip(-100, 100).astype("int32")),
        lambda: np.full(x.shape, "text"),
        lambda: x.astype(object),
        lambda: np.ma.masked_array(x, np.zeros(x.shape, bool)),
        lambda: x.tolist(),
    ]
    if whole and x.size:
        limits = [-1, -2, 1000, -(2**31), 2**31 - 1, 2**62, -(2**62)]

        def out_of_range() -> Placed:
            y = x.astype("int64").reshape(-1)
            y[rng.integers(y.size)] = rng.choice(limits)
            return draw.place(y.reshape(x.shape))

        spoilt += [out_of_range] * 5
    call.arguments[call.wrong] = spoilt[rng.integers(len(spoilt))]()


def _wrong_place(call: Call, draw: Draw, arrays: list[str]) -> Any:
    rng, out = draw.rng, call.out
    kind = rng.integers(7)
    if kind == 0:  # some of an input's own memory
        x: Placed = call.arguments[str(rng.choice(arrays))]
        if x.view().dtype.name == out.view().dtype.name and x.shape == out.shape:
            shifted = Placed(x.memory, x.dtype, x.shape, x.offset, x.strides)
            if draw.likely() and x.view().dtype.isnative:
                shifted.offset += int(x.view().itemsize) * int(rng.choice([-1, 0, 1]))
            elif x.strides:
                shifted.offset += x.strides[0] * (x.shape[0] - 1) if x.shape[0] else 0
                shifted.strides = (-x.strides[0], *x.strides[1:])
            return shifted
    if kind == 1:
        return place(np.zeros((*out.shape, 2), out.dtype), rng, 0.3, written=True)
    if kind == 2:
        return place(np.zeros(out.shape, "float16" if out.dtype != "<f2" else "float32"), rng, 0.3)
    if kind == 3:
        out.writeable = False
    if kind == 4 and out.strides:
        out.strides = (0, *out.strides[1:])
    if kind == 5:
        return "text"
    if kind == 6:
        return (out, out)
    return out
