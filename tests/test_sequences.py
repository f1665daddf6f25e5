"""Connectionist temporal classification: every path, the formula, layouts, threads, errors."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import fusedloss as fl
import reference
from cases import INTEGER_DTYPES
from checks import (
    DTYPES,
    assert_same_bits,
    assert_within,
    compute_dtype,
    eps,
    storage_rounding,
)
from conftest import ISAS, instruction_set
from parts import Array


class Batch(NamedTuple):
    log_probs: Array
    targets: Array
    input_lengths: Array
    target_lengths: Array

    @property
    def concatenated(self) -> Batch:
        """The same, the sequences' targets one after the other."""
        rows = zip(self.targets, self.target_lengths, strict=True)
        return self._replace(targets=np.concatenate([row[:n] for row, n in rows]))


def draw(
    rng: np.random.Generator,
    frames: int,
    lengths: list[int],
    classes: int,
    dtype: str = "float64",
    blank: int = 0,
) -> Batch:
    """Sequences of as many frames and fewer, whose labels repeat here and there."""
    scores = 3 * rng.normal(size=(frames, len(lengths), classes))
    labels = rng.integers(1, classes, size=(len(lengths), max(lengths)))
    repeats = rng.random(labels.shape) < 0.3
    repeats[:, :1] = False
    labels[:, 1:] = np.where(repeats[:, 1:], labels[:, :-1], labels[:, 1:])
    labels = (labels + blank) % classes
    input_lengths = np.maximum(frames - np.arange(len(lengths)) % 4, 0)
    log_probs = fl.log_softmax(scores).astype(dtype)
    return Batch(log_probs, labels, input_lengths, np.array(lengths))


#: frames, numbers of labels, classes: around the vectors' edges; too few frames for the labels.
SHAPES = [
    (12, [0, 1, 2, 3], 4),
    (40, [7, 8, 9, 15], 11),
    (60, [16, 17, 31, 0, 32], 70),
    (9, [8, 4, 9], 3),
    (1, [0, 1, 1], 2),
]

each_shape = pytest.mark.parametrize(("frames", "lengths", "classes"), SHAPES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_reduction = pytest.mark.parametrize("reduction", ["none", "mean", "sum"])

differentiated = fl.value_and_grad(fl.ctc_loss)


def assert_right(batch: Batch, grad_output: Any = None, **options: Any) -> None:
    """Value and gradient, alone and together.

    Each frame adds a few roundings of numbers that are as large as its logarithms are.
    """
    g = 1.0 if grad_output is None else np.asarray(grad_output).astype(np.float64)
    expected = reference.ctc_loss(*batch, grad_output=g, **options)
    value, gradient = differentiated(*batch, grad_output=grad_output, **options)
    assert_same_bits(fl.ctc_loss(*batch, **options), value)
    dtype = batch.log_probs.dtype.newbyteorder("=")
    finite = batch.log_probs.astype(np.float64)
    largest = np.abs(finite[np.isfinite(finite)]).max(initial=1)
    moved = 4 * eps(compute_dtype(dtype)) * len(finite) * largest
    stored = "float64" if isinstance(value, float) else dtype
    terms = batch.target_lengths.size
    assert_within(value, expected.value, moved * terms + storage_rounding(expected.value, stored))
    assert gradient.dtype == dtype
    assert_within(
        gradient,
        expected.gradient,
        moved * np.abs(g).max(initial=0) + storage_rounding(expected.gradient, dtype),
    )


# ---- Numbers -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@each_dtype
@each_reduction
def test_weights_of_sequences(reduction: str, dtype: str, rng: np.random.Generator) -> None:
    """A sequence of weight 0 may hold anything, and have too few frames for its labels."""
    batch = draw(rng, 40, [7, 8, 30, 15, 3], 11, dtype)
    batch.input_lengths[2] = 20
    v = np.array([0.5, 2.0, 0.0, 1.0, 0.0])
    expected = differentiated(*batch, sample_weight=v, reduction=reduction)
    for given in (v, v.astype(dtype)):
        assert_right(batch, sample_weight=given, reduction=reduction)
    batch.log_probs[:, [2, 4]] = np.nan
    value, gradient = differentiated(*batch, sample_weight=v, reduction=reduction)
    assert_same_bits(np.asarray(value), np.asarray(expected[0]))
    assert_same_bits(gradient, expected[1])
    assert np.all(gradient[:, [2, 4]] == 0)
    assert np.isfinite(np.asarray(value).astype(float)).all()


def test_bad_weights_of_sequences(rng: np.random.Generator) -> None:
    batch = draw(rng, 9, [3, 2], 4)
    for weight, error, match in (
        (np.ones(3), ValueError, r"sample_weight has shape \(3,\): expected \(2,\)"),
        (np.ones(2, int), TypeError, "sample_weight has dtype int64: expected a float dtype"),
    ):
        with pytest.raises(error, match=match):
            fl.ctc_loss(*batch, sample_weight=weight)


def spelled(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("blank", [0, 2])
def test_every_path_of_few_frames(blank: int, rng: np.random.Generator) -> None:
    """The sum over all of them, and the share that is at each class in each frame."""
    log_probs = fl.log_softmax(rng.normal(size=(4, 3)))
    p = np.exp(log_probs)
    totals: dict[tuple[int, ...], Any] = {}
    for path in itertools.product(range(3), repeat=4):
        at = np.eye(3)[list(path)]
        weighted = p[at == 1].prod() * np.stack([np.ones_like(at), at])
        totals[spelled(path, blank)] = totals.get(spelled(path, blank), 0) + weighted
    assert len(totals) == 1 + 2 + 4 + 6 + 2  # of up to four labels, a blank between equal ones
    for labels, (total, shares) in totals.items():
        targets = np.array(labels, int)
        value, gradient = differentiated(
            log_probs, targets, 4, len(labels), blank=blank, reduction="sum"
        )
        assert value == pytest.approx(-np.log(total[0, 0]), rel=1e-14)
        np.testing.assert_allclose(gradient, p - shares / total, rtol=0, atol=1e-14)


@pytest.mark.filterwarnings("ignore:invalid value")
@each_shape
@each_dtype
@each_reduction
def test_values_and_gradients(
    frames: int,
    lengths: list[int],
    classes: int,
    dtype: str,
    reduction: str,
    rng: np.random.Generator,
) -> None:
    batch = draw(rng, frames, lengths, classes, dtype)
    grad_output = rng.normal(size=len(lengths) if reduction == "none" else ()).astype(dtype)
    for isa in ISAS:
        with instruction_set(isa):
            for zero_infinity in (False, True):
                options = {"reduction": reduction, "zero_infinity": zero_infinity}
                assert_right(batch, grad_output, **options)


@pytest.mark.usefixtures("isa")
def test_any_class_is_the_blank(rng: np.random.Generator) -> None:
    for blank in range(5):
        batch = draw(rng, 20, [3, 6], 5, blank=blank)
        assert_right(batch, blank=blank)
        assert_right(batch.concatenated, blank=blank)


@pytest.mark.usefixtures("isa")
def test_one_sequence_alone(rng: np.random.Generator) -> None:
    batch = draw(rng, 20, [5], 6)
    single = Batch(batch.log_probs[:, 0], batch.targets[0], np.array(20), np.array(5))
    assert_right(single, reduction="none")
    value, gradient = differentiated(*single)
    assert value == fl.ctc_loss(*batch)
    assert_same_bits(gradient, differentiated(*batch)[1][:, 0])


@pytest.mark.usefixtures("isa")
def test_long_sequences_lose_no_more_than_short_ones(rng: np.random.Generator) -> None:
    """Where torch's logarithms grow with the frames, these stay near 0."""
    batch = draw(rng, 3000, [400, 200], 30, "float32")
    value, gradient = differentiated(*batch, reduction="sum")
    exact = batch._replace(log_probs=batch.log_probs.astype(np.float64))
    expected, truth = differentiated(*exact, reduction="sum")
    assert abs(value / expected - 1) < 4 * eps("float32")
    error = np.abs(gradient - truth).max()
    assert error < 3000 * eps("float32")
    x = torch.from_numpy(batch.log_probs).requires_grad_()
    loss = torch.nn.functional.ctc_loss(x, *map(torch.tensor, batch[1:]), reduction="sum")
    by_torch = torch.autograd.grad(loss, x)[0].numpy()
    assert error < np.abs(by_torch - truth).max() / 100


# ---- What is infinite, or not there -------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_more_labels_than_frames(zero_infinity: bool, rng: np.random.Generator) -> None:
    """No path spells them: the gradient of an infinite loss is nan."""
    batch = draw(rng, 5, [2, 3], 4, "float32")
    batch.targets[1] = 1, 1, 1
    batch.input_lengths[1] = 4
    losses, gradient = differentiated(*batch, reduction="none", zero_infinity=zero_infinity)
    assert losses[1] == (0 if zero_infinity else np.inf)
    assert np.isfinite(gradient[:, 0]).all()
    assert np.all(gradient[:4, 1] == 0 if zero_infinity else np.isnan(gradient[:4, 1]))
    assert np.all(gradient[4:, 1] == 0)


@pytest.mark.usefixtures("isa")
def test_no_frames(rng: np.random.Generator) -> None:
    batch = draw(rng, 3, [0, 2], 4)._replace(input_lengths=np.array([0, 0]))
    losses, gradient = differentiated(*batch, reduction="none")
    assert losses.tolist() == [0, np.inf]
    assert np.all(gradient == 0)


def test_no_sequence() -> None:
    nothing = Batch(np.zeros((3, 0, 4)), *np.zeros((3, 0), int))
    for targets in (np.zeros((0, 2), int), np.zeros(0, int)):
        value, gradient = differentiated(*nothing._replace(targets=targets))
        assert np.isnan(value)
        assert gradient.shape == (3, 0, 4)
        assert fl.ctc_loss(*nothing, reduction="none").shape == (0,)


@pytest.mark.usefixtures("isa")
@each_dtype
def test_impossible_classes(dtype: str, rng: np.random.Generator) -> None:
    """A probability of 0 takes paths away; its gradient is like any other, and nan in torch."""
    batch = draw(rng, 20, [4, 6], 6, dtype)
    batch.log_probs[3:6, :, 0] = -np.inf
    batch.log_probs[10, :, 5] = -np.inf
    assert_right(batch)
    assert np.isfinite(differentiated(*batch)[1].astype(np.float64)).all()


@pytest.mark.usefixtures("isa")
def test_nan_is_not_lost(rng: np.random.Generator) -> None:
    """It is its own sequence's, and nobody's after the last frame."""
    batch = draw(rng, 20, [4, 6, 5], 6, "float32")
    batch.log_probs[7, 1, 0] = np.nan
    batch.log_probs[19, 2] = np.nan
    batch.input_lengths[:] = 20, 20, 19
    losses, gradient = differentiated(*batch, reduction="none", zero_infinity=True)
    assert np.isnan(losses).tolist() == [False, True, False]
    assert np.isnan(gradient).any(axis=(0, 2)).tolist() == [False, True, False]
    assert np.all(gradient[19, 2] == 0)


@pytest.mark.usefixtures("isa")
def test_unlikely_labels(rng: np.random.Generator) -> None:
    """Logarithms far below those of the smallest numbers."""
    batch = draw(rng, 50, [10, 20], 6)
    batch = batch._replace(log_probs=(100 * batch.log_probs).astype("float32"))
    assert_right(batch)


# ---- Arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
def test_integers_of_every_dtype(dtype: str, rng: np.random.Generator) -> None:
    batch = draw(rng, 20, [4, 6], 6, "float32")
    value, gradient = differentiated(*batch)
    same, too = differentiated(batch.log_probs, *(x.astype(dtype) for x in batch[1:]))
    assert same == value
    assert_same_bits(too, gradient)
    assert fl.ctc_loss(batch.log_probs, *(x.tolist() for x in batch[1:])) == value


def odd_copies(x: Array) -> list[Array]:
    """The same numbers, laid out in every way."""
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    return [
        x.copy(order="F"),
        np.repeat(x, 2, axis=-1)[..., ::2],
        np.flip(np.flip(x).copy()),
        np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1),
        x.astype(x.dtype.newbyteorder("S")) if x.dtype.isbuiltin == 1 else x,
        raw,
    ]


@each_dtype
def test_any_layout(dtype: str, rng: np.random.Generator) -> None:
    """Of the log-probabilities, and of the gradient: beside them, or in their place."""
    batch = draw(rng, 20, [4, 6, 0], 37, dtype)
    value, gradient = differentiated(*batch)
    for odd in odd_copies(batch.log_probs):
        before = odd.copy()
        same, too = differentiated(odd, *batch[1:])
        assert same == value
        assert_same_bits(too, gradient)
        assert_same_bits(odd, before)
        if odd.dtype.isnative:
            out = np.empty_like(odd)
            assert differentiated(odd, *batch[1:], out=out)[1] is out
            assert_same_bits(out, gradient)
            assert differentiated(odd, *batch[1:], out=odd)[1] is odd
            assert_same_bits(odd, gradient)


def test_a_single_sequence_s_output(rng: np.random.Generator) -> None:
    batch = draw(rng, 20, [5], 6, "float32")
    arguments = (batch.log_probs[:, 0].copy(), batch.targets[0], 20, 5)
    out = np.empty((20, 12), "float32")[:, ::2]
    assert differentiated(*arguments, out=out)[1] is out
    assert_same_bits(out, differentiated(*arguments)[1])


@pytest.mark.usefixtures("isa")
def test_threads_do_not_change_a_bit(num_threads: int, rng: np.random.Generator) -> None:
    batch = draw(rng, 60, [20, 3, 11, 0, 16, 7, 25], 50, "float32")
    for reduction in ("none", "mean", "sum"):
        one = differentiated(*batch, reduction=reduction, num_threads=1)
        more = differentiated(*batch, reduction=reduction, num_threads=num_threads)
        for left, right in zip(one, more, strict=True):
            assert_same_bits(left, right)


# ---- Errors ------------------------------------------------------------------------------------

ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"log_probs": np.zeros((5, 2, 3), int)}, TypeError, "log_probs has dtype int64"),
    ({"log_probs": np.zeros(5)}, ValueError, r"log_probs has shape \(5,\): expected \(T, N, C\)"),
    ({"log_probs": np.zeros((5, 2, 0))}, ValueError, r"log_probs has shape \(5, 2, 0\)"),
    ({"targets": np.ones((2, 2))}, TypeError, "targets has dtype float64"),
    (
        {"targets": np.ones((3, 2), int)},
        ValueError,
        r"targets has shape \(3, 2\): expected \(2, S\)",
    ),
    ({"targets": np.ones(4, int)}, ValueError, r"targets has shape \(4,\): .*\(3,\)"),
    (
        {"targets": [[1, 3], [1, 0]]},
        IndexError,
        r"targets\[0, 1\] is 3: out of range for 3 classes",
    ),
    ({"targets": [[1, 2], [-1, 0]]}, IndexError, r"targets\[1, 0\] is -1: out of range"),
    ({"targets": [[0, 2], [1, 0]]}, ValueError, r"targets\[0, 0\] is 0, the blank"),
    (
        {"input_lengths": [5, 6]},
        ValueError,
        r"input_lengths\[1\] is 6: .* at most 5, the number of",
    ),
    ({"input_lengths": [-1, 5]}, ValueError, r"input_lengths\[0\] is -1"),
    ({"input_lengths": [5]}, ValueError, r"input_lengths has shape \(1,\): expected \(2,\)"),
    ({"input_lengths": [5.0, 5.0]}, TypeError, "input_lengths has dtype float64"),
    ({"target_lengths": [3, 1]}, ValueError, r"target_lengths\[0\] is 3: .* at most 2"),
    ({"blank": 3}, ValueError, "blank is 3: out of range for 3 classes"),
    ({"blank": 0.0}, TypeError, "blank is 0.0: expected an integer"),
    ({"reduction": "batchmean"}, ValueError, "reduction is 'batchmean'"),
    ({"num_threads": 0}, ValueError, "num_threads is 0"),
    ({"grad_output": np.ones(2)}, ValueError, r"grad_output has shape \(2,\): expected a scalar"),
    ({"out": np.zeros((5, 2, 4))}, ValueError, r"out has shape \(5, 2, 4\)"),
    ({"out": np.zeros((5, 2, 3), "f")}, TypeError, "out has dtype float32"),
]


@pytest.mark.parametrize(("spoiled", "error", "match"), ERRORS)
def test_errors(spoiled: dict[str, Any], error: Any, match: str) -> None:
    arguments = {
        "log_probs": np.zeros((5, 2, 3)),
        "targets": np.array([[1, 2], [1, 0]]),
        "input_lengths": [5, 5],
        "target_lengths": [2, 1],
        "out": np.full((5, 2, 3), 7.0),
    }
    differentiated(**arguments)
    arguments["out"][...] = 7
    with pytest.raises(error, match=match):
        differentiated(**{**arguments, **spoiled})
    assert np.all(arguments["out"] == 7)
