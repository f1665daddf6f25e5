"""The same answer whatever the size of the batch, and for whatever memory a tensor has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, inf, nan

from fusedloss.torch import functional as F
from parts import public
from torch_parts import by_kernel

T = torch.nn.functional

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")


def t(*numbers: float) -> Tensor:
    return torch.tensor(numbers)


#: Special values and their targets, an element each; the values are repeated to make a batch.
VALUES = t(-inf, inf, 0.0, -1e4, 1e4, 1.0, 0.5)
BOTH = t(0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0)
SIGNS = t(1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0)

#: The same with rows of scores; what ignores a row may hold NaN in it.
ROWS = torch.tensor([[nan, nan, 1.0], [0.0, -inf, 1.0], [1.0, 2.0, 3.0], [1e4, -1e4, 0.0]])
LABELS = torch.tensor([-100, 0, 2, 1])
SHARES = torch.tensor([[1.0, 0, 0], [0.5, 0, 0.5], [0.2, 0.3, 0.5], [0, 0, 1]])

Losses = Callable[..., Tensor]

#: loss, its batch
ELEMENTS: dict[str, tuple[Losses, tuple[Tensor, ...]]] = {
    "l1_loss": (F.l1_loss, (VALUES, BOTH)),
    "mse_loss": (F.mse_loss, (VALUES, BOTH)),
    "smooth_l1_loss": (F.smooth_l1_loss, (VALUES, BOTH)),
    "huber_loss": (F.huber_loss, (VALUES, BOTH)),
    "poisson_nll_loss": (F.poisson_nll_loss, (VALUES, BOTH)),
    "gaussian_nll_loss": (F.gaussian_nll_loss, (VALUES, BOTH, BOTH + 0.5)),
    "binary_cross_entropy": (F.binary_cross_entropy, (VALUES.clamp(0, 1), BOTH)),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, (VALUES, BOTH)),
    "soft_margin_loss": (F.soft_margin_loss, (VALUES, SIGNS)),
    "kl_div": (F.kl_div, (VALUES, BOTH)),
    "margin_ranking_loss": (F.margin_ranking_loss, (VALUES, BOTH, SIGNS)),
    "hinge_embedding_loss": (F.hinge_embedding_loss, (VALUES, SIGNS)),
    "cross_entropy": (F.cross_entropy, (ROWS, LABELS)),
    "cross_entropy of probabilities": (F.cross_entropy, (ROWS[1:], SHARES[1:])),
    "nll_loss": (F.nll_loss, (ROWS, LABELS)),
    "multi_margin_loss": (F.multi_margin_loss, (ROWS, LABELS.clamp(0))),
    "multilabel_margin_loss": (F.multilabel_margin_loss, (ROWS, torch.tensor([[0, -1, -1]] * 4))),
    "multilabel_soft_margin_loss": (F.multilabel_soft_margin_loss, (ROWS, SHARES)),
    "cosine_embedding_loss": (F.cosine_embedding_loss, (ROWS, SHARES, SIGNS[:4])),
    "triplet_margin_loss": (F.triplet_margin_loss, (ROWS, SHARES, 1 - SHARES)),
}

every_loss = pytest.mark.parametrize(("loss", "batch"), ELEMENTS.values(), ids=ELEMENTS)


def with_gradient(loss: Losses, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Losses of the elements, the gradient of their sum, and its value."""
    x = batch[0].clone().requires_grad_()
    losses = loss(x, *batch[1:], reduction="none")
    total = loss(x, *batch[1:], reduction="sum")
    assert by_kernel(losses)
    assert by_kernel(total)
    (gradient,) = torch.autograd.grad(total, x)
    return losses.detach(), gradient, total.detach()


@pytest.mark.parametrize("times", [3, 40, 10_000])
@every_loss
def test_the_same_answer_at_every_size(loss: Losses, batch: tuple[Tensor, ...], times: int) -> None:
    losses, gradient, total = with_gradient(loss, batch)
    large = [torch.cat([x] * times) for x in batch]
    many, gradients, sum_of_many = with_gradient(loss, tuple(large))
    for one, all_of_them in ((losses, many), (gradient, gradients)):
        expected = torch.cat([one] * times)
        # the last elements of an array are computed in other lanes, to the same few ULP
        torch.testing.assert_close(all_of_them, expected, rtol=2e-6, atol=1e-7, equal_nan=True)
    assert bool(sum_of_many.isnan()) == bool(total.isnan())


# ---- Tensors that hold other than they say, or nothing -------------------------------------------


def test_tensors_that_are_not_plain_memory() -> None:
    """The answer is torch's, or the same as of a plain copy."""
    z, y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), LABELS.clamp(0)
    expected = T.cross_entropy(z, y)
    negative = torch.complex(torch.zeros(4, 3), -z).conj().imag
    assert negative.is_neg()
    with torch.inference_mode():
        inferred = z * 1
    kinds: dict[str, Tensor] = {
        "negative": negative,
        "of inference mode": inferred,
        "Parameter": torch.nn.Parameter(z),
        "transposed": z.T.contiguous().T,
        "strided": torch.stack([z, z], -1)[..., 0],
    }
    for name, tensor in kinds.items():
        loss = F.cross_entropy(tensor, y)
        torch.testing.assert_close(loss.detach(), expected, rtol=1e-6, atol=0, msg=name)


def test_a_tensor_of_zeros_without_memory() -> None:
    zeros = torch._efficientzerotensor((4, 3))
    expected = T.mse_loss(torch.zeros(4, 3), ROWS[2].expand(4, 3))
    torch.testing.assert_close(F.mse_loss(zeros, ROWS[2].expand(4, 3)), expected)


def test_fake_tensors() -> None:
    with torch._subclasses.FakeTensorMode():
        z = torch.empty(4, 3, requires_grad=True)
        loss = F.cross_entropy(z, torch.zeros(4, dtype=torch.long))
    assert type(loss) is not Tensor
    assert loss.shape == ()


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_no_dimension_and_no_element(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    for reduction in ("none", "mean", "sum"):
        loss, expected = (f.mse_loss(x, torch.ones(shape), reduction=reduction) for f in (F, T))
        torch.testing.assert_close(loss, expected, equal_nan=True)


def test_without_the_table_of_functions() -> None:
    """Tensors come as arrays, with the same results."""
    from fusedloss import _core

    table = Tensor.__dlpack_c_exchange_api__
    try:
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            batch = (ROWS[1:].to(dtype), LABELS[1:])
            assert _core.use_exchange(table)
            expected = with_gradient(F.cross_entropy, batch)
            assert not _core.use_exchange(None)
            for x, y in zip(with_gradient(F.cross_entropy, batch), expected, strict=True):
                assert torch.equal(x, y)
    finally:
        _core.use_exchange(table)


# ---- torch itself --------------------------------------------------------------------------------


def test_torch_patched_with_these_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernels leave to torch is left to torch's own functions."""
    for name in public(F):
        if hasattr(T, name):
            monkeypatch.setattr(T, name, getattr(F, name))
    for loss, batch in ELEMENTS.values():
        wrong: Any = [x.bool() for x in batch]
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            loss(*wrong, reduction="none of these")


LENGTHS = torch.tensor([3])


@pytest.mark.parametrize(
    ("targets", "at"),
    [
        (torch.tensor([[16, 4, 31]]), "targets[0, 2]"),
        (torch.tensor([[16, -1, 3]]), "targets[0, 1]"),
        (torch.tensor([16, 4, 31]), "targets[2]"),
        (torch.tensor([16, 4, 31], dtype=torch.int32), "targets[2]"),
    ],
)
def test_labels_that_torch_does_not_look_at(targets: Tensor, at: str) -> None:
    log_probs = torch.zeros(9, 1, 31, requires_grad=True)
    with pytest.raises(IndexError) as raised:
        F.ctc_loss(log_probs, targets, torch.tensor([9]), LENGTHS)
    assert at in str(raised.value)


def test_soft_margin_of_a_target_that_broadcasts() -> None:
    """The kernel's answer, which is finite, as of a target of the same shape."""
    x = torch.tensor([[-2e4, 1.0], [0.5, -3.0]]).half().requires_grad_()
    target = torch.tensor([[1.0], [-1.0]]).half()
    loss = F.soft_margin_loss(x, target)
    assert torch.equal(loss, F.soft_margin_loss(x, target.expand_as(x)))
    assert loss.isfinite()
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.isfinite().all()
    with pytest.raises(RuntimeError, match="must match the size"):
        F.soft_margin_loss(x, target[:, :0].expand(2, 0).reshape(0, 2).T)
