"""The table of pointwise losses: what they take, and who else defines them so.

A loss is one entry of `LOSSES`; every test of test_pointwise*.py runs over it. Its formula and the
names of its arguments are in the table of reference/pointwise.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sklearn._loss.loss as scikit
import torch
import torch.nn.functional as F
from numpy.typing import DTypeLike

from parts import Array
from reference.pointwise import POINTWISE, Formula

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Domain:
    """An argument's values: usual ones at random, and those that ask something of the code."""

    draw: Callable[[np.random.Generator, Shape], Array]
    special: tuple[float, ...]
    of_real: Callable[[torch.Tensor], torch.Tensor] = lambda z: z  # a smooth map into the domain


#: A number that float32 holds as a subnormal, and one that float64 does.
SUBNORMAL = (1e-40, 1e-310)
INFINITE = (np.inf, -np.inf)

REAL = Domain(
    lambda rng, shape: rng.normal(size=shape) * 3,
    (0.0, -0.0, 0.5, 1.0, -1.0, 1e4, -1e4, *SUBNORMAL),
)
LOGIT = Domain(
    lambda rng, shape: rng.normal(size=shape) * 4,
    (0.0, -0.0, 1.0, -1.0, 30.0, -30.0, 90.0, -90.0, 1e4, -1e4, *SUBNORMAL),
)
#: Logarithms of rates, whose powers are numbers of every type.
LOG_RATE = Domain(LOGIT.draw, (0.0, -0.0, 1.0, -1.0, 20.0, -20.0, *SUBNORMAL))
POSITIVE = Domain(
    lambda rng, shape: rng.exponential(size=shape) + 0.05,
    (1.0, 1e-3, 0.5, 1e4, 2.0**-20),
    torch.exp,
)
#: Also what msle_loss takes for its least, 1e-7.
NOT_NEGATIVE = Domain(POSITIVE.draw, (0.0, *POSITIVE.special, 2.0**-24), torch.exp)
#: Logarithms of numbers, 0 among them.
LOG_NUMBER = Domain(LOGIT.draw, (*LOG_RATE.special, -np.inf))
#: Counts, of which only some are whole.
COUNT = Domain(lambda rng, shape: rng.gamma(2.0, 2.0, size=shape), (0.0, 1.0, 2.0, 7.0, 1e4))
VARIANCE = Domain(POSITIVE.draw, (0.0, 1e-8, 1e-3, 1.0, 1e4))
PROBABILITY = Domain(
    lambda rng, shape: rng.uniform(0.02, 0.98, size=shape),
    (0.0, 1.0, 0.5, 1e-30, 1 - 2.0**-11, *SUBNORMAL),
    torch.sigmoid,
)
#: Hard labels and soft ones.
LABEL = Domain(
    lambda rng, shape: np.clip(rng.uniform(-0.5, 1.5, size=shape), 0, 1), (0.0, 1.0, 0.25)
)
SIGN = Domain(lambda rng, shape: rng.choice([-1.0, 1.0], size=shape), (1.0, -1.0))
LOG_PROBABILITY = Domain(
    lambda rng, shape: -3 * rng.exponential(size=shape),
    (0.0, -1e-3, -1.0, -50.0, -np.inf),
    F.logsigmoid,
)
BOOLEAN = Domain(lambda rng, shape: rng.integers(0, 2, size=shape) * 1.0, (0.0, 1.0))


@dataclass(frozen=True)
class Loss:
    """An entry: what the tests know of a loss besides its formula."""

    domains: tuple[Domain, ...]
    options: tuple[dict[str, Any], ...] = ({},)  # a Domain as a value: drawn, one per column
    torch: Callable[..., Any] | None = None  # torch's own function, element by element
    formula: Callable[..., Any] | None = None  # or the formula of the source in torch's words
    scikit: Callable[..., Any] | None = None  # scikit-learn's class, if it takes the options
    bad: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # values of options that raise
    hessian: bool = False
    reductions: tuple[str, ...] = ("none", "mean", "sum")


def _smooth_quantile(x: Any, t: Any, quantile: float = 0.5, alpha: float = 0.1) -> Any:
    """Zheng (2011), equation 5."""
    return quantile * (t - x) + alpha * torch.log1p(torch.exp(-(t - x) / alpha))


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loss of torch.nn.functional without reduction."""
    return lambda *arrays, **options: function(*arrays, reduction="none", **options)


def _binary_cross_entropy(x: Any, t: Any, label_smoothing: float = 0.0, **options: Any) -> Any:
    t = t * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(x, t, reduction="none", **options)


def _focal(
    x: Any, t: Any, alpha: float | None = 0.25, gamma: float = 2.0, label_smoothing: float = 0.0
) -> Any:
    """torchvision.ops.sigmoid_focal_loss."""
    t = t * (1 - label_smoothing) + label_smoothing / 2
    p = torch.sigmoid(x)
    surprise = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    loss = surprise * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
    return loss if alpha is None else (alpha * t + (1 - alpha) * (1 - t)) * loss


def _asymmetric(
    x: Any, t: Any, gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05
) -> Any:
    """timm's AsymmetricLossMultiLabel for labels 0 and 1, between which it is linear here."""
    p = torch.sigmoid(x)
    rest = (1 - p + clip).clamp(max=1)
    return -(t * p.log() * (1 - p) ** gamma_pos + (1 - t) * rest.log() * (1 - rest) ** gamma_neg)


def _generalized_kl(x: Any, t: Any, log_target: bool = False) -> Any:
    """optax.losses.generalized_kl_divergence, element by element."""
    p = t.exp() if log_target else t
    entropy = t.exp() * t if log_target else torch.xlogy(t, t)
    return entropy - p * x - p + x.exp()


def _binary_sparsemax(x: Any, t: Any) -> Any:
    """jax.nn.sparse_plus(x) - t x, optax.losses.sparsemax_loss for labels 0 and 1."""
    plus = torch.where(x <= -1, torch.zeros_like(x), torch.where(x >= 1, x, (x + 1) ** 2 / 4))
    return plus - t * x


def _js(x: Any, t: Any, beta: float = 0.5) -> Any:
    """Liger's JSD."""
    q, p = x.exp(), t.exp()
    if beta == 0:
        return p * (t - x)
    if beta == 1:
        return q * (x - t)
    mixture = beta * p + (1 - beta) * q
    return beta * p * t + (1 - beta) * q * x - mixture * mixture.log()


def _tweedie(x: Any, t: Any, power: float = 1.5) -> Any:
    """scikit-learn's HalfTweedieLoss, its limits included."""
    if power == 0:
        return 0.5 * (t - x.exp()) ** 2
    if power == 1:
        return x.exp() - t * x
    if power == 2:
        return x + t * (-x).exp()
    return ((2 - power) * x).exp() / (2 - power) - t * ((1 - power) * x).exp() / (1 - power)


def _dpo(pc: Any, pr: Any, rc: Any, rr: Any, beta: float = 0.1) -> Any:
    """TRL's DPOTrainer, loss_type="sigmoid"."""
    return -F.logsigmoid(beta * ((pc - pr) - (rc - rr)))


def _ipo(pc: Any, pr: Any, rc: Any, rr: Any, beta: float = 0.1) -> Any:
    """TRL's DPOTrainer, loss_type="ipo"."""
    return ((pc - pr) - (rc - rr) - 1 / (2 * beta)) ** 2


def _simpo(pc: Any, pr: Any, beta: float = 2.0, gamma: float = 1.0) -> Any:
    """TRL's CPOTrainer, loss_type="simpo"."""
    return -F.logsigmoid(beta * (pc - pr - gamma / beta))


def _cpo(pc: Any, pr: Any, beta: float = 0.1) -> Any:
    """TRL's CPOTrainer, loss_type="sigmoid", without its cross-entropy."""
    return -F.logsigmoid(beta * (pc - pr))


def _orpo(pc: Any, pr: Any, beta: float = 0.1) -> Any:
    """TRL's ORPOTrainer, without its cross-entropy."""
    log_odds = (pc - pr) - (torch.log1p(-pc.exp()) - torch.log1p(-pr.exp()))
    return -beta * F.logsigmoid(log_odds)


def _kto(p: Any, r: Any, desirable: Any, beta: float = 0.1, kl: float = 0.0) -> Any:
    """TRL's KTOTrainer, loss_type="kto"."""
    reward = p - r
    chosen = 1 - torch.sigmoid(beta * (reward - kl))
    rejected = 1 - torch.sigmoid(beta * (kl - reward))
    return torch.where(desirable == 1, chosen, rejected)


def _logarithm(x: Any) -> Any:
    """Keras: log(max(x, 1e-7) + 1)."""
    return torch.log1p(x.clamp(min=1e-7))


NOT_POSITIVE = (0.0, -1.0, np.nan, -np.inf)
NEGATIVE = (-1e-3, -1.0, np.nan, np.inf)
NO_FRACTION = (-0.1, 1.5, np.nan)

LOSSES: dict[str, Loss] = {
    # ---- Regression
    "l1_loss": Loss((REAL, REAL), torch=_each(F.l1_loss), hessian=True),
    "mse_loss": Loss((REAL, REAL), torch=_each(F.mse_loss), hessian=True),
    "smooth_l1_loss": Loss(
        (REAL, REAL),
        ({}, {"beta": 0.3}, {"beta": 0.0}, {"beta": 4.0}),
        torch=_each(F.smooth_l1_loss),
        bad={"beta": NEGATIVE},
        hessian=True,
    ),
    "huber_loss": Loss(
        (REAL, REAL),
        ({}, {"delta": 0.3}, {"delta": 4.0}),
        torch=_each(F.huber_loss),
        bad={"delta": NOT_POSITIVE},
        hessian=True,
    ),
    "pseudo_huber_loss": Loss(
        (REAL, REAL),
        ({}, {"delta": 0.3}, {"delta": 4.0}),
        formula=lambda x, t, delta=1.0: delta**2 * ((1 + ((x - t) / delta) ** 2).sqrt() - 1),
        bad={"delta": NOT_POSITIVE},
        hessian=True,
    ),
    "log_cosh_loss": Loss(
        (REAL, REAL),
        formula=lambda x, t: (x - t) + F.softplus(-2 * (x - t)) - np.log(2),
        hessian=True,
    ),
    "smooth_quantile_loss": Loss(
        (REAL, REAL),
        ({}, {"quantile": 0.9, "alpha": 1.0}, {"quantile": 0.0, "alpha": 0.03}),
        formula=_smooth_quantile,
        bad={"quantile": NO_FRACTION, "alpha": NOT_POSITIVE},
        hessian=True,
    ),
    "epsilon_insensitive_loss": Loss(
        (REAL, REAL),
        ({}, {"epsilon": 0.0}, {"epsilon": 2.5}),
        formula=lambda x, t, epsilon=0.1: ((t - x).abs() - epsilon).relu(),
        bad={"epsilon": NEGATIVE},
    ),
    "quantile_loss": Loss(
        (REAL, REAL),
        ({}, {"quantile": 0.1}, {"quantile": 0.9}),
        formula=lambda x, t, quantile=0.5: torch.maximum(
            quantile * (t - x), (quantile - 1) * (t - x)
        ),
        scikit=scikit.PinballLoss,
        bad={"quantile": NO_FRACTION},
        hessian=True,
    ),
    "msle_loss": Loss(
        (NOT_NEGATIVE, NOT_NEGATIVE),
        formula=lambda x, t: (_logarithm(x) - _logarithm(t)) ** 2,
        hessian=True,
    ),
    "mape_loss": Loss(
        (REAL, REAL),
        formula=lambda x, t: 100 * ((t - x) / t.abs().clamp(min=1e-7)).abs(),
        hessian=True,
    ),
    "poisson_nll_loss": Loss(
        (LOG_RATE, COUNT),
        ({}, {"full": True}),
        torch=_each(F.poisson_nll_loss),
        scikit=scikit.HalfPoissonLoss,
        bad={"eps": NEGATIVE},
        hessian=True,
    ),
    "gaussian_nll_loss": Loss(
        (REAL, REAL, VARIANCE),
        ({}, {"full": True}, {"eps": 0.01}),
        torch=_each(F.gaussian_nll_loss),
        bad={"eps": NOT_POSITIVE},
        hessian=True,
    ),
    "gamma_loss": Loss(
        (LOG_RATE, POSITIVE),
        formula=lambda x, t: _tweedie(x, t, 2),
        scikit=scikit.HalfGammaLoss,
        hessian=True,
    ),
    "tweedie_loss": Loss(
        (LOG_RATE, COUNT),
        tuple({"power": power} for power in (1.5, 0, 1, 2, 1.9, 3.0)),
        formula=_tweedie,
        scikit=scikit.HalfTweedieLoss,
        bad={"power": (np.nan, np.inf, -np.inf)},
        hessian=True,
    ),
    # ---- Classification
    "binary_cross_entropy": Loss((PROBABILITY, LABEL), torch=_each(F.binary_cross_entropy)),
    "binary_cross_entropy_with_logits": Loss(
        (LOGIT, LABEL),
        (
            {},
            {"pos_weight": POSITIVE},
            {"label_smoothing": 0.1},
            {"label_smoothing": 1.0, "pos_weight": POSITIVE},
        ),
        torch=_binary_cross_entropy,
        scikit=scikit.HalfBinomialLoss,
        bad={"label_smoothing": NO_FRACTION},
        hessian=True,
    ),
    "hinge_loss": Loss((REAL, SIGN), formula=lambda x, t: (1 - t * x).clamp(min=0), hessian=True),
    "perceptron_loss": Loss((REAL, SIGN), formula=lambda x, t: (-t * x).clamp(min=0), hessian=True),
    "binary_sparsemax_loss": Loss((REAL, LABEL), formula=_binary_sparsemax, hessian=True),
    "squared_hinge_loss": Loss(
        (REAL, SIGN), formula=lambda x, t: (1 - t * x).clamp(min=0) ** 2, hessian=True
    ),
    "exponential_loss": Loss((LOGIT, SIGN), formula=lambda x, t: (-t * x).exp(), hessian=True),
    "soft_margin_loss": Loss((LOGIT, SIGN), formula=lambda x, t: F.softplus(-t * x), hessian=True),
    "sigmoid_focal_loss": Loss(
        (LOGIT, LABEL),
        (
            {},
            {"alpha": None},
            {"gamma": 0.0},
            {"gamma": 1.0, "alpha": 0.75},
            {"gamma": 0.5},
            {"gamma": 3.7, "alpha": None},
            {"label_smoothing": 0.1},
            {"label_smoothing": 0.3, "gamma": 0.5, "alpha": None},
        ),
        formula=_focal,
        bad={"alpha": NO_FRACTION, "gamma": NEGATIVE, "label_smoothing": NO_FRACTION},
        hessian=True,
    ),
    "asymmetric_loss": Loss(
        (LOGIT, LABEL),
        ({}, {"clip": 0.0}, {"gamma_neg": 0.0, "gamma_pos": 0.0}, {"gamma_neg": 2.5}),
        formula=_asymmetric,
        bad={"gamma_neg": NEGATIVE, "gamma_pos": NEGATIVE, "clip": (-0.1, 1.0, np.nan)},
    ),
    # ---- Divergences
    "kl_div": Loss(
        (LOG_PROBABILITY, PROBABILITY),
        torch=_each(F.kl_div),
        reductions=("none", "mean", "sum", "batchmean"),
    ),
    "generalized_kl_div": Loss(
        (LOG_NUMBER, NOT_NEGATIVE),
        formula=_generalized_kl,
        hessian=True,
        reductions=("none", "mean", "sum", "batchmean"),
    ),
    "js_div": Loss(
        (LOG_PROBABILITY, LOG_PROBABILITY),
        ({}, {"beta": 0.0}, {"beta": 1.0}, {"beta": 0.1}),
        formula=_js,
        bad={"beta": NO_FRACTION},
        reductions=("none", "mean", "sum", "batchmean"),
    ),
    "total_variation_loss": Loss(
        (PROBABILITY, PROBABILITY),
        formula=lambda p, t: 0.5 * (p - t).abs(),
        reductions=("none", "mean", "sum", "batchmean"),
    ),
    # ---- Ranking
    "margin_ranking_loss": Loss(
        (REAL, REAL, SIGN),
        ({}, {"margin": 0.5}, {"margin": -1.0}),
        torch=_each(F.margin_ranking_loss),
        bad={"margin": (np.nan,)},
    ),
    "hinge_embedding_loss": Loss(
        (REAL, SIGN),
        ({}, {"margin": 0.5}),
        torch=_each(F.hinge_embedding_loss),
        bad={"margin": (np.nan,)},
    ),
}

#: Losses of answers' log-probabilities.
LOSSES |= {
    name: Loss(
        (LOG_PROBABILITY,) * operands,
        ({}, *options),
        formula=formula,
        bad={"beta": NOT_POSITIVE},
        hessian=name != "orpo_loss",
    )
    for name, operands, options, formula in (
        ("dpo_loss", 4, ({"beta": 2.0},), _dpo),
        ("ipo_loss", 4, ({"beta": 2.0},), _ipo),
        ("simpo_loss", 2, ({"beta": 0.5, "gamma": -3.0},), _simpo),
        ("cpo_loss", 2, ({"beta": 3.0},), _cpo),
        ("orpo_loss", 2, ({"beta": 1.0},), _orpo),
    )
}
LOSSES["kto_loss"] = Loss(
    (LOG_PROBABILITY, LOG_PROBABILITY, BOOLEAN),
    ({}, {"beta": 2.0, "kl": 1.5}),
    formula=_kto,
    bad={"beta": NOT_POSITIVE, "kl": NEGATIVE},
)

#: Forms of a loss whose arguments mean something else.
FORMS: dict[str, Loss] = {
    "generalized_kl_div": Loss(
        (LOG_NUMBER, LOG_NUMBER), ({"log_target": True},), formula=_generalized_kl
    ),
    "poisson_nll_loss": Loss(
        (POSITIVE, COUNT),
        ({"log_input": False}, {"log_input": False, "full": True, "eps": 1e-3}),
        torch=_each(F.poisson_nll_loss),
    ),
    "kl_div": Loss(
        (LOG_PROBABILITY, LOG_PROBABILITY), ({"log_target": True},), torch=_each(F.kl_div)
    ),
}


@dataclass(frozen=True)
class Case:
    """A loss with one set of its options."""

    name: str
    loss: Loss
    options: dict[str, Any]

    def __str__(self) -> str:
        values = ("drawn" if isinstance(v, Domain) else v for v in self.options.values())
        pairs = zip(self.options, values, strict=True)
        return "-".join([self.name, *(f"{name}_{value}" for name, value in pairs)])

    @property
    def formula(self) -> Formula:
        return POINTWISE[self.name]

    @property
    def argnums(self) -> tuple[int, ...]:
        """The positions of the differentiable arguments."""
        return tuple(map(self.formula.arguments.index, self.formula.differentiable))

    def draw(
        self, shape: Shape, dtype: DTypeLike, rng: np.random.Generator
    ) -> tuple[list[Array], dict[str, Any]]:
        """Usual values of every argument, and the options."""
        arrays = [np.asarray(d.draw(rng, shape)).astype(dtype) for d in self.loss.domains]
        return arrays, self.draw_options(shape, dtype, rng)

    def draw_options(
        self, shape: Shape, dtype: DTypeLike, rng: np.random.Generator
    ) -> dict[str, Any]:
        return {
            name: np.asarray(x.draw(rng, shape[-1:])).astype(dtype) if isinstance(x, Domain) else x
            for name, x in self.options.items()
        }

    def special(self, dtype: DTypeLike) -> list[Array]:
        """Special values of every argument, each with each, and the prediction's infinities."""
        first, *others = (domain.special for domain in self.loss.domains)
        if self.loss.domains[0] in (REAL, LOGIT):
            first = (*first, *INFINITE)
        grids = np.meshgrid(first, *others, indexing="ij")
        with np.errstate(over="ignore", under="ignore"):
            return [grid.reshape(-1).astype(dtype) for grid in grids]


CASES = tuple(
    Case(name, loss, options)
    for table in (LOSSES, FORMS)
    for name, loss in table.items()
    for options in loss.options
)


def _of_numbers(case: Case) -> bool:
    return bool(case.options) and not any(isinstance(x, Domain) for x in case.options.values())


def operands(case: Case, shape: Shape, dtype: str = "float64", seed: int = 0) -> list[Array]:
    """Usual values of every argument of a loss, the same every time."""
    return case.draw(shape, dtype, np.random.default_rng([seed, *case.name.encode()]))[0]


def tensors(case: Case, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A prediction made of real numbers by a smooth map, and usual values of what is beside it."""
    first, *_ = case.loss.domains
    _, *others = operands(case, tuple(z.shape))
    return first.of_real(z), *(torch.from_numpy(x).to(z.dtype) for x in others)


#: A case of every loss and of every form of one, whose options are numbers that are no defaults
#: where it has such.
VARIED = tuple(
    next(
        (case for case in reversed(CASES) if case.loss is loss and _of_numbers(case)),
        Case(name, loss, {}),
    )
    for table in (LOSSES, FORMS)
    for name, loss in table.items()
)
