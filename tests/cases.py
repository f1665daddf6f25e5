"""The table of cross-entropy cases: sizes x options x logits, shared by tests and benchmarks.

The full cross product would take hours. Every size of either axis meets every option through
rotation: the lists have lengths without a common factor, so walking all of them in step meets
each pair of entries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from parts import Array
from reference import class_axis

#: Lanes of the vectors of every instruction set: 2, 4, 8 float64 and 4, 8, 16 float32.
LANES = (2, 4, 8, 16)

#: Numbers of classes: one, fewer and more than a vector and two, and around powers of two, where
#: blocks, unrolled loops and algorithms begin and end; one row far longer than any block.
CLASS_COUNTS = sorted(
    {1, 2, 3, 10, 100, 1000}
    | {edge for lanes in LANES for edge in (lanes - 1, lanes, lanes + 1, 2 * lanes + 1)}
    | {2**power + off for power in range(6, 13) for off in (-1, 0, 1)}
    | {70001}
)

#: Numbers of positions: none, one, and around the vectors that lie across positions.
POSITIONS = (0, 1, 2, 15, 16, 17, 63, 64, 65, 1000)

#: What lies behind the class axis: nothing, a vector and its edges, several dimensions.
INNER_SHAPES: tuple[tuple[int, ...], ...] = (
    (),
    (),
    (1,),
    (7,),
    (16,),
    (17,),
    (65,),
    (3, 5),
    (2, 4, 3),
    (300,),
    (),
)

INTEGER_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


# ---- Logits: every distribution that asks something of the arithmetic --------------------------


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.normal(size=shape) * 3


def _wide(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.uniform(-90, 90, size=shape)


def _shifted(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.normal(size=shape) + 1e4


def _huge(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.choice([-1e4, 0.0, 1e4], size=shape)


def _cauchy(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.standard_cauchy(size=shape)


def _ties(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.integers(-1, 2, size=shape).astype(float)


def _masked(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """-inf at a third of the classes, the first of them never, so that a row is never all -inf."""
    logits = rng.normal(size=shape)
    mask = rng.random(shape) < 1 / 3
    np.moveaxis(mask, class_axis(len(shape)), 0)[0] = False
    logits[mask] = -np.inf
    return logits


LOGITS: dict[str, Callable[[tuple[int, ...], np.random.Generator], Array]] = {
    "normal": _normal,
    "wide": _wide,
    "shifted": _shifted,
    "huge": _huge,
    "cauchy": _cauchy,
    "ties": _ties,
    "masked": _masked,
}

# ---- Options -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """One combination of cross_entropy's options; None in ``ignore`` leaves the default."""

    target: str = "index"  # or "probability", or "one_hot"
    weight: bool = False
    ignore: str | None = None  # "default": some labels are -100; "class": a valid class
    label_smoothing: float = 0.0
    sample_weight: bool = False
    softcap: float | None = None
    z_loss: float = 0.0
    entropy_bonus: float = 0.0

    def __str__(self) -> str:
        parts = [self.target]
        parts += ["weight"] if self.weight else []
        parts += [f"ignore_{self.ignore}"] if self.ignore else []
        parts += [f"smoothing_{self.label_smoothing}"] if self.label_smoothing else []
        parts += ["sample_weight"] if self.sample_weight else []
        parts += [f"softcap_{self.softcap}"] if self.softcap is not None else []
        parts += [f"z_loss_{self.z_loss}"] if self.z_loss else []
        parts += [f"bonus_{self.entropy_bonus}"] if self.entropy_bonus else []
        return "-".join(parts)


OPTIONS = (
    Options(),
    Options(weight=True),
    Options(ignore="default"),
    Options(label_smoothing=0.1),
    Options("probability"),
    Options(weight=True, ignore="class", label_smoothing=0.2),
    Options(ignore="class"),
    Options("one_hot"),
    Options("probability", weight=True),
    Options(weight=True, ignore="default"),
    Options("probability", label_smoothing=0.3),
    Options(weight=True, label_smoothing=1.0),
    Options("probability", weight=True, label_smoothing=0.05),
)

# ---- Cases -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One call's inputs, built on demand."""

    shape: tuple[int, ...]  # of the logits
    options: Options = field(default_factory=Options)
    logits: str = "normal"
    target_dtype: str = ""  # int64 for class indices, float64 for probabilities

    def __post_init__(self) -> None:
        default = "int64" if self.options.target == "index" else "float64"
        object.__setattr__(self, "target_dtype", self.target_dtype or default)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"{shape}-{self.options}-{self.logits}-{self.target_dtype}"

    def build(self, dtype: DTypeLike) -> tuple[Array, Array, dict[str, Any]]:
        """Logits, target and keyword options; the same numbers in every run."""
        rng = np.random.default_rng(list(str(self).encode()))
        axis = class_axis(len(self.shape))
        classes = self.shape[axis]
        positions = self.shape[:axis] + self.shape[axis + 1 :]
        with np.errstate(over="ignore"):  # float16's largest number is 65504
            logits = LOGITS[self.logits](self.shape, rng).astype(dtype)
        options: dict[str, Any] = {}
        for name in ("label_smoothing", "softcap", "z_loss", "entropy_bonus"):
            if getattr(self.options, name):
                options[name] = getattr(self.options, name)
        if self.options.weight:
            options["weight"] = rng.uniform(0.25, 2, size=classes).astype(dtype)
        if self.options.target == "index":
            target = self._labels(positions, classes, options, rng)
        elif self.options.target == "one_hot":
            target = np.eye(classes)[rng.integers(0, classes, size=positions)]
            target = np.moveaxis(target, -1, axis)
        else:
            target = np.where(np.isneginf(logits), 0, rng.exponential(size=self.shape))
            target = target / target.sum(axis=axis, keepdims=True)
        if self.options.sample_weight:
            sample_weight = np.asarray(rng.uniform(0.25, 2, size=positions))
            options["sample_weight"] = sample_weight.astype(dtype)
        return logits, target.astype(self.target_dtype), options

    def _labels(
        self,
        positions: tuple[int, ...],
        classes: int,
        options: dict[str, Any],
        rng: np.random.Generator,
    ) -> Array:
        limits = np.iinfo(self.target_dtype)
        labels = np.asarray(rng.integers(0, min(classes, limits.max + 1), size=positions))
        if self.options.ignore == "class":
            options["ignore_index"] = int(labels.flat[0]) if labels.size else 0
        elif self.options.ignore == "default":
            ignored = -100 if limits.min < 0 else limits.max
            options["ignore_index"] = int(ignored)
            # unsigned 64-bit labels have no -100: their largest number that an int64 holds
            options["ignore_index"] = min(options["ignore_index"], np.iinfo(np.int64).max)
            labels[rng.random(positions) < 0.3] = options["ignore_index"]
        return labels


def _rotated(limit: int) -> list[Case]:
    """Four cases for every number of classes, every other list walked in step."""
    cases: list[Case] = []
    for step in range(4 * len(CLASS_COUNTS)):
        classes = CLASS_COUNTS[step // 4]
        inner = INNER_SHAPES[step % len(INNER_SHAPES)]
        if classes * math.prod(inner) > limit:
            inner = ()
        room = max(limit // (classes * math.prod(inner)), 1)
        count = POSITIONS[step % len(POSITIONS)]
        count = count if count <= room else max(n for n in POSITIONS if n <= room)
        options = OPTIONS[step % len(OPTIONS)]
        dtypes = INTEGER_DTYPES if options.target == "index" else ("float32", "float64")
        cases.append(
            Case(
                shape=(count, classes, *inner),
                options=options,
                logits=list(LOGITS)[step % len(LOGITS)],
                target_dtype=dtypes[step // len(OPTIONS) % len(dtypes)],
            )
        )
    return cases


#: What rotation does not reach: no batch axis, long rows with a stride, many positions.
PLAIN_CASES = (
    *(
        Case((classes,), options)
        for classes in (1, 3, 17, 1000, 70001)
        for options in (OPTIONS[0], OPTIONS[5], OPTIONS[12])
    ),
    Case((2, 70001), Options(weight=True, label_smoothing=0.1)),
    Case((1, 70001, 2), Options(weight=True)),
    Case((2, 20011, 3), Options("probability", label_smoothing=0.1), "masked", "float32"),
    Case((2, 5, 65, 67), Options(weight=True, ignore="default"), "wide"),
    Case((20011, 3), Options(ignore="default"), "cauchy", "uint8"),
    Case((1, 3, 20011), Options(weight=True, label_smoothing=0.1), "wide", "int8"),
)

CASES = (*_rotated(limit=40_000), *PLAIN_CASES)

#: A few small cases with every option, for tests about something else than the numbers.
SMALL_CASES = tuple(
    Case((6, 5, *inner), options)
    for options, inner in zip(OPTIONS, INNER_SHAPES + INNER_SHAPES, strict=False)
    if math.prod(inner) < 20
)
