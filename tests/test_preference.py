"""grpo_loss: the surrogate of tokens with advantages; and log-probabilities as losses take them."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
import torch

import fusedloss as fl
import fusedloss.jax as fj
from checks import assert_same_bits
from fusedloss.torch import GRPOLoss
from fusedloss.torch import functional as F
from parts import Array

GRAD = fl.value_and_grad(fl.grpo_loss)
SHAPES = ((1, 1), (3, 5), (4, 33), (7, 200), (2, 3, 40))
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"epsilon": 0.1, "epsilon_high": 0.3},
    {"beta": 0.04},
    {"epsilon": 0.0, "beta": 1.0},
)
LOSS_TYPES = ("token", "sequence", "dapo")


def of_trl(
    log_probs: torch.Tensor,
    old: torch.Tensor,
    advantages: torch.Tensor,
    ref: torch.Tensor,
    mask: torch.Tensor,
    *,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    beta: float = 0.0,
    loss_type: str,
    divisor: float | None,
) -> torch.Tensor:
    """GRPOTrainer._compute_loss of TRL 0.25, its "grpo" and "bnpo" by their names here."""
    ratio = torch.exp(log_probs - old)
    clipped = torch.clamp(
        ratio, 1 - epsilon, 1 + (epsilon if epsilon_high is None else epsilon_high)
    )
    loss = -torch.min(ratio * advantages[..., None], clipped * advantages[..., None])
    if beta != 0:
        loss = loss + beta * (torch.exp(ref - log_probs) - (ref - log_probs) - 1)
    if loss_type == "sequence":
        return ((loss * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()
    if loss_type == "token":
        return (loss * mask).sum() / mask.sum().clamp(min=1.0)
    assert divisor is not None
    return (loss * mask).sum() / divisor


def problem(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> list[Array]:
    """Log-probabilities, older ones near them, advantages of answers, a reference's, a mask."""
    log_probs = -rng.exponential(size=shape)
    old = log_probs + 0.3 * rng.normal(size=shape)
    ref = log_probs + 0.5 * rng.normal(size=shape)
    lengths = rng.integers(0, shape[-1] + 1, size=shape[:-1])
    lengths[..., 0] = shape[-1]
    where = np.arange(shape[-1]) < lengths[..., None]
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return [*(x.astype(kind) for x in (log_probs, old, rng.normal(size=shape[:-1]), ref)), where]


def options_of(loss_type: str, options: dict[str, Any], ref: Any, where: Any) -> dict[str, Any]:
    extra = {"ref_log_probs": ref} if options.get("beta") else {}
    divisor = {"divisor": 12.5} if loss_type == "dapo" else {}
    return {"where": where, "loss_type": loss_type, **options, **extra, **divisor}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_is_trls(
    options: dict[str, Any], loss_type: str, dtype: str, rng: np.random.Generator
) -> None:
    """Value and gradient, in float64 of the same numbers; what is masked holds nan."""
    for shape in SHAPES:
        log_probs, old, advantages, ref, where = problem(shape, dtype, rng)
        given = (log_probs, old, advantages, ref)
        p, q, a, r = (torch.tensor(x.astype(np.float64)) for x in given)
        leaf, mask = p.requires_grad_(), torch.tensor(where) * 1.0
        divisor = 12.5 if loss_type == "dapo" else None
        expected = of_trl(p, q, a, r, mask, **options, loss_type=loss_type, divisor=divisor)
        expected.backward()
        masked = log_probs.copy()
        masked[~where] = np.nan
        loss, gradient = GRAD(masked, old, advantages, **options_of(loss_type, options, ref, where))
        # A ratio has three roundings, of numbers up to about 5; the peer sums one by one.
        eps = 2.0**-52 if dtype == "float64" else 2.0**-23
        own = {"float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0.0)
        assert leaf.grad is not None
        assert abs(loss - expected.item()) <= (64 + where.sum() / 4) * eps
        scale = np.abs(leaf.grad.numpy()).max()
        least = 2.0**-24 if dtype == "float16" else 0.0  # its smallest number
        np.testing.assert_allclose(
            gradient.astype(np.float64),
            leaf.grad,
            rtol=64 * eps + own,
            atol=64 * eps * scale + least,
        )
        assert not gradient[~where].any()


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_gradient_by_differences(loss_type: str, rng: np.random.Generator) -> None:
    log_probs, old, advantages, ref, where = problem((3, 8), "float64", rng)
    options = options_of(loss_type, {"beta": 0.1}, ref, where)
    gradient = GRAD(log_probs, old, advantages, **options)[1]
    step = 1e-6
    for place in np.ndindex(log_probs.shape):
        values = []
        for sign in (1, -1):
            moved = log_probs.copy()
            moved[place] += sign * step
            values.append(fl.grpo_loss(moved, old, advantages, **options))
        assert gradient[place] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-8)


def test_divergence_keeps_its_digits() -> None:
    """e^d - d - 1 is d^2 / 2 where the policy is near its reference."""
    for dtype, rtol in (("float32", 1e-6), ("float64", 1e-14)):
        for d in (2.0**-12, -(2.0**-8), 2.0**-3):
            p = np.zeros((1, 1), dtype)
            none = np.zeros(1, dtype)
            ref = np.full((1, 1), d, dtype)
            loss = fl.grpo_loss(p, p, none, ref_log_probs=ref, beta=1.0)
            series = d * d / 2 * (1 + d / 3 * (1 + d / 4 * (1 + d / 5 * (1 + d / 6 * (1 + d / 7)))))
            assert loss == pytest.approx(series, rel=max(rtol, abs(d) ** 6 / 1e4))


def test_on_the_bounds() -> None:
    """There the gradient is that inside; beyond, of an advantage that draws further, none."""
    old = np.log(np.array([[0.5, 0.5, 0.5, 0.5]]))
    ratio = np.array([[1.5, 1.75, 0.5, 0.25]])
    log_probs = np.log(ratio * 0.5)
    advantages = np.array([[1.0, 1.0, -1.0, -1.0]])
    epsilon = float(np.exp(log_probs - old)[0, 0] - 1)
    loss, gradient = GRAD(log_probs, old, advantages, epsilon=epsilon, loss_type="dapo", divisor=1)
    np.testing.assert_allclose(gradient, [[-1.5, 0, 0.5, 0]], rtol=1e-14)
    assert loss == pytest.approx(-1.5 - 1.5 + 0.5 + 0.5)


@pytest.mark.parametrize("shape", [(2, 3), (3,)], ids=str)
@pytest.mark.parametrize("loss_type", ["token", "sequence"])
def test_without_tokens(loss_type: str, shape: tuple[int, ...]) -> None:
    """No token is a mean of nothing, or 0 for a sequence; and nothing has a gradient."""
    z, where = np.zeros(shape, "float32"), np.zeros(shape, bool)
    loss, gradient = GRAD(z, z, np.ones(shape), where=where, loss_type=loss_type)
    leaf = torch.zeros(shape, requires_grad=True)
    given = {"where": torch.tensor(where), "loss_type": loss_type}
    of_torch = F.grpo_loss(leaf, leaf.detach(), torch.ones(shape), **given)
    of_torch.backward()
    of_jax = fj.grpo_loss(z, z, np.ones(shape, "float32"), where=where, loss_type=loss_type)
    for value in (loss, of_torch.item(), float(of_jax)):
        assert np.isnan(value) if loss_type == "token" else value == 0
    assert not gradient.any()
    assert leaf.grad is not None
    assert not leaf.grad.any()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_torch_has_the_same_numbers(loss_type: str, dtype: str, rng: np.random.Generator) -> None:
    """Of every dtype: shares of sequences are no less exact than the loss."""
    log_probs, old, advantages, _, where = problem((5, 40), dtype, rng)
    given = options_of(loss_type, {}, None, where)
    loss, gradient = GRAD(log_probs, old, advantages, **given)
    kind = getattr(torch, dtype)
    leaf, *others = (
        torch.tensor(x.astype(np.float64)).to(kind) for x in (log_probs, old, advantages)
    )
    value = F.grpo_loss(leaf.requires_grad_(), *others, **given | {"where": torch.tensor(where)})
    value.backward()
    assert value.item() == torch.tensor(loss, dtype=torch.float64).to(kind).item()
    assert leaf.grad is not None
    np.testing.assert_array_equal(leaf.grad.double(), gradient.astype(np.float64))


def test_the_same_for_any_number_of_threads(rng: np.random.Generator) -> None:
    log_probs, old, advantages, ref, where = problem((64, 1000), "float32", rng)
    options = options_of("sequence", {"beta": 0.04}, ref, where)
    first = GRAD(log_probs, old, advantages, **options, num_threads=1)
    for threads in (2, 7):
        again = GRAD(log_probs, old, advantages, **options, num_threads=threads)
        assert again[0] == first[0]
        assert_same_bits(again[1], first[1])


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"beta": 0.1}, ValueError, "ref_log_probs is None: beta=0.1 needs those of a reference"),
    ({"beta": -1}, ValueError, "beta is -1.0: expected a number of at least 0"),
    ({"epsilon": np.nan}, ValueError, "epsilon is nan: expected a number of at least 0"),
    ({"epsilon_high": -0.1}, ValueError, "epsilon_high is -0.1: expected a number of at least 0"),
    ({"loss_type": "dapo"}, ValueError, 'divisor is None: loss_type="dapo" needs the number of'),
    ({"loss_type": "dapo", "divisor": 0}, ValueError, "divisor is 0.0: expected a positive number"),
    ({"divisor": 3}, ValueError, 'divisor is 3: loss_type="token" takes none'),
    ({"loss_type": "grpo"}, ValueError, "loss_type is 'grpo': expected 'token', 'sequence' or"),
]


@pytest.mark.parametrize(("options", "error", "text"), BAD, ids=str)
def test_errors(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Of both fronts alike."""
    z = np.zeros((2, 3), "float32")
    tensor = torch.zeros(2, 3)
    with pytest.raises(error) as of_arrays:
        fl.grpo_loss(z, z, np.ones(2), **options)
    with pytest.raises(error) as of_tensors:
        F.grpo_loss(tensor, tensor, torch.ones(2), **options)
    assert text in str(of_arrays.value)
    assert text in str(of_tensors.value)


def test_shapes_that_do_not_fit() -> None:
    z = np.zeros((2, 3), "float32")
    with pytest.raises(ValueError, match=r"where has shape \(3, 3\): expected one that broadcasts"):
        fl.grpo_loss(z, z, np.ones(2), where=np.ones((3, 3), bool))
    with pytest.raises(ValueError, match=r"advantages has shape \(4,\): expected one that"):
        fl.grpo_loss(z, z, np.ones(4))
    with pytest.raises(TypeError, match="where has dtype float64: expected bool"):
        fl.grpo_loss(z, z, np.ones(2), where=np.ones((2, 3)))


# ---- Other fronts --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_torch_and_jax(options: dict[str, Any], loss_type: str, rng: np.random.Generator) -> None:
    """The kernel's numbers, and the formula's second derivatives."""
    log_probs, old, advantages, ref, where = problem((5, 40), "float32", rng)
    masked = log_probs.copy()
    masked[~where] = np.nan
    given = options_of(loss_type, options, ref, where)
    loss, gradient = GRAD(masked, old, advantages, **given)

    tensors = [torch.tensor(x) for x in (masked, old, advantages)]
    leaf = tensors[0].requires_grad_()
    module = GRPOLoss(**options, loss_type=loss_type)  # type: ignore[arg-type]
    call = {"where": torch.tensor(where), "divisor": given.get("divisor")}
    if options.get("beta"):
        call["ref_log_probs"] = torch.tensor(ref)
    value = module(*tensors, **call)
    value.backward()
    assert leaf.grad is not None
    torch.testing.assert_close(value.item(), float(np.float32(loss)))
    assert_same_bits(leaf.grad.numpy(), gradient)
    (first,) = torch.autograd.grad(module(*tensors, **call), leaf, create_graph=True)
    torch.testing.assert_close(first.detach(), leaf.grad)
    (second,) = torch.autograd.grad(first.sum(), leaf)
    assert second.isfinite().all()

    arrays = {k: jax.numpy.asarray(x) if isinstance(x, np.ndarray) else x for k, x in given.items()}

    def of_jax(x: Any) -> Any:
        return fj.grpo_loss(x, old, advantages, **arrays)

    value, slope = jax.jit(jax.value_and_grad(of_jax))(masked)
    np.testing.assert_allclose(value, np.float32(loss), rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("name", "count"), [("dpo_loss", 4), ("ipo_loss", 4), ("kto_loss", 2)])
def test_torch_in_every_argument(
    name: str, count: int, reduction: str, rng: np.random.Generator
) -> None:
    """The kernel's gradients by answers and references, and the formula's second derivatives."""
    arrays = [-rng.exponential(size=12) for _ in range(count)]
    others = [rng.random(12) < 0.5] if name == "kto_loss" else []
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    tensors = [torch.tensor(x) for x in others]

    def loss(*given: torch.Tensor) -> Any:
        return getattr(F, name)(*given, *tensors, beta=0.5, reduction=reduction)

    value = loss(*leaves)
    g = rng.normal(size=value.shape)
    found = torch.autograd.grad(value, leaves, torch.tensor(g))
    gradient_of = fl.value_and_grad(getattr(fl, name), tuple(range(count)))
    options = {"grad_output": g} if reduction == "none" else {}
    expected, gradients = gradient_of(*arrays, *others, beta=0.5, reduction=reduction, **options)
    scale = 1 if reduction == "none" else float(g)
    np.testing.assert_allclose(value.detach(), expected, rtol=1e-14)
    for x, y in zip(found, gradients, strict=True):
        np.testing.assert_allclose(x, scale * y, rtol=1e-13, atol=1e-16)
    assert torch.autograd.gradgradcheck(loss, leaves)


def test_log_probabilities_to_preferences(rng: np.random.Generator) -> None:
    """Of a policy's logits in torch, through its tokens' log-probabilities, to a preference."""
    logits = torch.tensor(rng.normal(size=(4, 6, 11)), dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor(rng.integers(0, 11, (4, 6)))
    tokens[1, 4:] = -100
    reference = torch.tensor(rng.normal(size=4))

    _, outputs = F.cross_entropy(logits.movedim(-1, 1), tokens, outputs=("log_prob",))
    answers = outputs["log_prob"].sum(-1)
    loss = F.dpo_loss(answers[:2], answers[2:], reference[:2], reference[2:])
    (slope,) = torch.autograd.grad(loss, logits)

    given = logits.log_softmax(-1).gather(-1, tokens.clamp(min=0)[..., None]).squeeze(-1)
    answers = (given * (tokens >= 0)).sum(-1)
    margin = (answers[:2] - answers[2:]) - (reference[:2] - reference[2:])
    expected = -torch.nn.functional.logsigmoid(0.1 * margin).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, logits)[0])
