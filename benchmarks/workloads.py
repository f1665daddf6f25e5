"""The work that is measured, who takes part and what it should take: the table of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from boosting import BOOSTING
from company import COMPANY
from computations import LABEL_SMOOTHING, NLL_LOSS, OPTIONS, PROBABILITIES, RELATIVES, WEIGHT
from costs import COSTS
from fusedloss.cli._contenders import (
    COMPILE,
    COPY,
    CROSS_ENTROPY,
    FORWARD,
    FRONT,
    FUSEDLOSS,
    JAX,
    MODES,
    NUMPY,
    OUT,
    PLAIN,
    READ,
    TORCH,
    VALUE_AND_GRADIENT,
    Computation,
    Mode,
    Work,
    contender_names,
)
from jax_calls import JAX_CALLS
from linear_heads import LINEAR_HEADS
from margin_heads import MARGIN_HEADS
from metric_learning import METRIC_LEARNING
from pointwise import POINTWISE
from steps import STEPS
from targets import Target
from torch_calls import TORCH_CALLS


@dataclass(frozen=True, eq=False)
class Case:
    """A computation on logits of one shape and dtype, its contenders and targets."""

    section: str
    work: Work
    computation: Computation = CROSS_ENTROPY
    peers: tuple[str, ...] = (FRONT, TORCH)
    #: Yardsticks other than a copy.
    yardsticks: tuple[str, ...] = ()
    targets: Mapping[Mode, tuple[Target, ...]] = field(default_factory=dict)
    modes: tuple[Mode, ...] = (VALUE_AND_GRADIENT,)

    @property
    def yardstick(self) -> str:
        """What times are given in."""
        return COPY

    @property
    def label(self) -> str:
        """Shape, dtype and computation, as the tables show them; no other case has the same."""
        dtype = "" if self.work.dtype == "float32" else self.work.dtype
        return " ".join(filter(None, (self.work.label, dtype, self.computation.name)))

    def contenders(self, mode: Mode, isa: str = "") -> list[str]:
        """Name the contenders that are timed, the copy last; few can be held to an `isa`."""
        peers = set(self.peers)
        if isa:
            peers &= {TORCH}
        if mode == FORWARD:
            peers -= {COMPILE, JAX}  # their seconds of compilation go to the work that matters
        *names, copy = contender_names(mode, peers)
        return [*names, *self.yardsticks, copy]


# ---- cross_entropy without options ------------------------------------------------------------

EVERY_PEER = (FRONT, NUMPY, TORCH, COMPILE, JAX)
COMPILERS = (FRONT, TORCH, COMPILE, JAX)
#: From here on the call overhead of the torch front is nothing, and a gradient finds its memory.
LARGE = 16_000_000
#: What the torch front may take in times of torch's, with a gradient and without, where torch has
#: little more to do than to build its graph.
SMALL_CALLS: dict[tuple[int, ...], tuple[float, float]] = {
    (1, 2): (1.2, 1.4),
    (8, 16): (1.2, 1.4),
    (128, 100): (0.9, 1.0),
    (300, 100): (0.8, 1.0),
}


def _plain(
    section: str,
    shape: tuple[int, ...],
    dtype: str = "float32",
    peers: tuple[str, ...] = (FRONT, TORCH),
    targets: Mapping[Mode, Target] | None = None,
) -> Case:
    """A case in both modes, with the targets of the torch front."""
    work = Work(shape, dtype)
    asked: dict[Mode, tuple[Target, ...]] = {}
    bounds = SMALL_CALLS.get(shape, (1.0, 1.0))
    for mode, bound in zip(MODES, bounds, strict=True):
        asked[mode] = (targets[mode],) if targets and mode in targets else ()
        asked[mode] += (Target(bound, (TORCH,), FRONT),)
    if work.bytes >= LARGE:
        asked[VALUE_AND_GRADIENT] += (Target(1.15, (OUT,), FRONT), Target(1.15, (OUT,), FUSEDLOSS))
    return Case(section, work, peers=peers, targets=asked, modes=MODES)


def _copies(value_and_gradient: float, forward: float | None = None) -> dict[Mode, Target]:
    targets = {VALUE_AND_GRADIENT: Target(value_and_gradient)}
    return targets if forward is None else targets | {FORWARD: Target(forward)}


FLOAT32 = "cross_entropy, float32"
PLAIN_CASES = (
    _plain(FLOAT32, (1, 2), peers=EVERY_PEER),
    _plain(FLOAT32, (8, 16)),
    _plain(FLOAT32, (64, 10), peers=EVERY_PEER, targets={VALUE_AND_GRADIENT: Target(3, ())}),
    _plain(FLOAT32, (16, 100)),
    _plain(FLOAT32, (128, 100)),
    _plain(FLOAT32, (300, 100)),
    _plain(FLOAT32, (1000, 100), peers=EVERY_PEER),
    _plain(
        FLOAT32,
        (256, 1000),
        peers=EVERY_PEER,
        targets={VALUE_AND_GRADIENT: Target(1 / 5, (TORCH,))},
    ),
    _plain(
        FLOAT32,
        (100_000, 10),
        peers=(FRONT, NUMPY, TORCH),
        targets={VALUE_AND_GRADIENT: Target(1 / 20, (TORCH,))},
    ),
    _plain(FLOAT32, (4096, 1000), peers=EVERY_PEER, targets=_copies(1.3, forward=0.8)),
    _plain(FLOAT32, (4, 21, 512, 512), targets=_copies(1.3)),
    _plain(FLOAT32, (2, 150, 256, 256), targets=_copies(1.3)),
    _plain(FLOAT32, (2048, 32_000), peers=COMPILERS, targets=_copies(1.0, forward=0.6)),
    _plain(FLOAT32, (1024, 128_256), peers=COMPILERS, targets=_copies(1.0, forward=0.6)),
)

#: Those on the plot of time over size: rows of logits, ever more of them or ever longer.
CURVE_SHAPES = (
    (1, 2),
    (8, 16),
    (64, 10),
    (16, 100),
    (1000, 100),
    (256, 1000),
    (4096, 1000),
    (2048, 32_000),
    (1024, 128_256),
)

DTYPES = "cross_entropy, other dtypes"
DTYPE_SHAPES = ((32_768, 1024), (2048, 32_000), (1024, 128_256))
DTYPE_CASES = (
    *(
        _plain(
            DTYPES,
            shape,
            dtype,
            peers=COMPILERS if shape == (2048, 32_000) else (FRONT, TORCH),
            targets=_copies(1.3),
        )
        for dtype in ("bfloat16", "float16")
        for shape in DTYPE_SHAPES
    ),
    _plain(DTYPES, (2048, 32_000), "float64"),
)

# ---- Options and other losses -----------------------------------------------------------------


def _option(shape: tuple[int, ...], computation: Computation, *more: Target) -> Case:
    """A case of cross_entropy with an option, against the plain call on the same logits."""
    yardsticks = (PLAIN, READ) if computation is PROBABILITIES else (PLAIN,)
    targets: dict[Mode, tuple[Target, ...]] = {
        VALUE_AND_GRADIENT: (Target(1.15, yardsticks), *more)
    }
    return Case("options", Work(shape), computation, (TORCH,), yardsticks, targets)


def _drop_in(section: str, shape: tuple[int, ...], computation: Computation) -> Case:
    """A case of what torch has too, for the torch front."""
    targets: dict[Mode, tuple[Target, ...]] = {VALUE_AND_GRADIENT: (Target(1, (TORCH,), FRONT),)}
    return Case(section, Work(shape), computation, targets=targets)


OPTION_CASES = (
    *(_drop_in("options", (64, 10), one) for one in (WEIGHT, LABEL_SMOOTHING, PROBABILITIES)),
    *(
        _option(shape, computation)
        for shape in ((256, 1000), (2048, 32_000))
        for computation in (*OPTIONS, PROBABILITIES)
    ),
    _option((4, 21, 512, 512), WEIGHT, Target(1.3)),
    _option((4, 21, 512, 512), LABEL_SMOOTHING, Target(1.3)),
    _option((4, 21, 512, 512), PROBABILITIES),
    _option((2, 150, 256, 256), LABEL_SMOOTHING, Target(1.3)),
)

LOSSES = "other losses"
LOSS_CASES = (
    _drop_in(LOSSES, (8, 16), NLL_LOSS),
    _drop_in(LOSSES, (512, 32_000), NLL_LOSS),
    *(Case(LOSSES, Work((512, 32_000)), computation, (TORCH,)) for computation in RELATIVES),
)

POINTWISE_SECTION = "pointwise losses"
#: What torch computes one element of with many operations, each a walk through memory.
FOCAL = "sigmoid_focal_loss"


def _pointwise(computation: Computation) -> Case:
    """A case of 8 million elements."""
    least = 20 if computation.name == FOCAL else 4
    targets: dict[Mode, tuple[Target, ...]] = {
        VALUE_AND_GRADIENT: (Target(2), Target(1 / least, (TORCH,)))
    }
    return Case(POINTWISE_SECTION, Work((8000, 1000)), computation, (TORCH,), targets=targets)


POINTWISE_CASES = tuple(map(_pointwise, POINTWISE))

CASES = (*PLAIN_CASES, *DTYPE_CASES, *OPTION_CASES, *LOSS_CASES, *POINTWISE_CASES)

#: Work that is measured in matrix products, or in the same call elsewhere.
COMPARISONS = (
    *(*LINEAR_HEADS, *MARGIN_HEADS, *METRIC_LEARNING),
    *(*COMPANY, *TORCH_CALLS, *JAX_CALLS, *STEPS, *BOOSTING, *COSTS),
)

# ---- Memory and lower instruction sets --------------------------------------------------------

#: Where peak memory is measured: other large shapes take the same multiples of their size.
MEMORY_CASES = tuple(
    case
    for case in (*PLAIN_CASES, *DTYPE_CASES)
    if case.work.shape in {(4096, 1000), (4, 21, 512, 512), (2048, 32_000)}
)

#: Lower instruction sets, and the ATEN_CPU_CAPABILITY that holds torch to the same one.
CAPABILITIES = {"avx2": "avx2", "x86-64-v2": "default"}
CAPABILITY_TARGET = Target(1, (TORCH,))
#: Without 1024 x 128256: 2048 x 32000 shows the same in half the time.
CAPABILITY_CASES = tuple(
    case
    for case in PLAIN_CASES
    if case.work.shape not in {(1, 2), (8, 16), (16, 100), (1000, 100), (1024, 128_256)}
)
