"""Losses of class scores, row by row."""

from __future__ import annotations

from functools import partial
from typing import Any, cast, overload

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import _reduction

from fusedloss import _check, _core, classification
from fusedloss._types import Extras, Reduction
from fusedloss.torch import _original as functional
from fusedloss.torch import _softmax
from fusedloss.torch._autograd import (
    evaluate,
    expect_arguments,
    expect_given,
    fused,
)
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._rowwise import Rowwise, by_formula
from fusedloss.torch._softmax import (
    Distillation,
    Softmax,
    classes_second,
    positions_of,
    silenced,
    without_masked,
)
from fusedloss.torch.functional._types import Loss, Outputs

__all__ = [
    "categorical_cross_entropy",
    "cross_entropy",
    "distillation_loss",
    "focal_loss",
    "nll_loss",
    "soft_cross_entropy",
]

_LOG_PROBABILITIES = Extras(prediction=_core.LOG_PROBABILITIES)


def _recognised(input: Any, target: Any, weight: Any, ignore_index: Any) -> bool:
    """Whether the kernels answer a call."""
    return (
        isinstance(input, Tensor)
        and isinstance(target, Tensor)
        and (
            target.dtype is torch.int64
            or (target.dtype is input.dtype and type(ignore_index) is int and ignore_index < 0)
            or (target.dtype is torch.uint8 and target.dim() < 2 and weight is None)
        )
        and (weight is None or (isinstance(weight, Tensor) and weight.dtype is input.dtype))
    )


@overload
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    outputs: tuple[()] = (),
) -> Tensor: ...
@overload
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    outputs: Outputs,
) -> Loss: ...
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    outputs: Outputs = (),
) -> Loss:
    """Softmax cross-entropy: `torch.nn.functional.cross_entropy` with seven options more.

    The formula is that of `fusedloss.cross_entropy`.

    Parameters
    ----------
    input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
        As in `torch.nn.functional.cross_entropy`.
    sample_weight : Tensor of floats, the shape of class indices, optional
        A weight per position; ones if absent. A mean divides by its sum.
    where : Tensor of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold.
    axis : int, optional
        The axis of the classes, which a view then has second; no copy is made. If absent the
        second one, or the only one.
    softcap : float, optional
        Logits z are first capped to softcap * tanh(z / softcap).
    z_loss : float, default 0
        What the square of the log-sum-exp is multiplied by and added to the loss.
    entropy_bonus : float, default 0
        What the softmax's entropy is multiplied by and subtracted from the loss.
    outputs : tuple of {"lse", "entropy", "accuracy", "log_prob"}, default ()
        What to return beside the loss.

    Returns
    -------
    Tensor or (Tensor, dict of Tensor)
        The loss; with `outputs` also a dict of them: a value per position, float32 (float64 for
        float64 logits), 0 where ignored. "log_prob" and "entropy" are differentiable, their
        gradients computed in the backward pass if one arrives; the others are not.

    See Also
    --------
    fusedloss.cross_entropy : The same for arrays.

    Notes
    -----
    The gradient is computed together with the loss, except for ``reduction="none"``, and is all
    that is kept of the logits' size beside them. Logits may be changed in place before the
    backward pass of "mean" and "sum"; a second pass, or one with ``create_graph``, needs them.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]], requires_grad=True)
    >>> loss = F.cross_entropy(logits, torch.tensor([0, 1]))
    >>> loss.backward()
    >>> logits.grad
    tensor([[-0.0596,  0.0596],
            [ 0.2500, -0.2500]])
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    if axis is not None:
        expect_given(input=input, target=target)
        input, target = classes_second(axis, input, target)
    if where is not None:
        expect_given(input=input, target=target)
        target, sample_weight = without_masked(
            where, positions_of(input), target, sample_weight, ignore_index
        )
    plain = sample_weight is None and softcap is None and not (z_loss or entropy_bonus or outputs)
    if not plain or _recognised(input, target, weight, ignore_index):
        extras = None
        if not plain:
            expect_given(input=input, target=target)
            extras = Extras(
                softcap=softcap,
                z_loss=z_loss,
                entropy_bonus=entropy_bonus,
                outputs=_check.outputs(outputs),
            )
        call = Softmax(
            _softmax.cross_entropy,
            _core.CROSS_ENTROPY,
            ignore_index,
            float(label_smoothing) if type(label_smoothing) is int else label_smoothing,
            reduction,
            None,
            extras,
            reduction == "none",
        )
        tensors = (input, target, weight, sample_weight)
        loss: Loss | None = None
        if not plain:
            if not operated(*tensors):
                loss = evaluate(call.checked(input), *tensors)
        elif not is_compiling():
            loss = fused(call, *tensors)
        if loss is None and operated(*tensors):
            loss = operate(
                "cross_entropy",
                input=input,
                target=target,
                weight=weight,
                ignore_index=ignore_index,
                reduction=reduction,
                label_smoothing=label_smoothing,
                sample_weight=sample_weight,
                softcap=softcap,
                z_loss=z_loss,
                entropy_bonus=entropy_bonus,
                outputs=outputs,
            )
        if loss is not None:
            return cast("Loss", silenced(loss, where))
    return functional.cross_entropy(
        input, target, weight, None, ignore_index, None, reduction, label_smoothing
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood: `torch.nn.functional.nll_loss` with two options more.

    Parameters
    ----------
    input, target, weight, size_average, ignore_index, reduce, reduction
        As in `torch.nn.functional.nll_loss`.
    sample_weight : Tensor of floats, the shape of `target`, optional
        A weight per position; ones if absent. A mean divides by its sum.
    where : Tensor of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold.

    Returns
    -------
    Tensor
        The loss.

    See Also
    --------
    fusedloss.nll_loss : The same for arrays.
    cross_entropy : From logits, which is quicker than their log_softmax and then this.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.nll_loss(torch.tensor([[-0.5, -1.0], [-2.0, -0.25]]), torch.tensor([0, 1]))
    tensor(0.3750)
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    if where is not None:
        expect_given(input=input, target=target)
        target, sample_weight = without_masked(
            where, positions_of(input), target, sample_weight, ignore_index
        )
    plain = sample_weight is None
    if not plain:
        expect_given(input=input, target=target)
    if not plain or _recognised(input, target, weight, ignore_index):
        call = Softmax(
            _softmax.negative_log_likelihood,
            _core.INDEX_TARGET,
            ignore_index,
            0.0,
            reduction,
            None,
            _LOG_PROBABILITIES,
            True,  # what the gradient takes is in the target and the weights
        )
        tensors = (input, target, weight, sample_weight)
        loss: Tensor | None = None
        if not plain:
            if not operated(*tensors):
                loss = evaluate(call.checked(input), *tensors)
        elif not is_compiling():
            loss = fused(call, *tensors)
        if loss is None and operated(*tensors):
            loss = operate(
                "nll_loss",
                input=input,
                target=target,
                weight=weight,
                ignore_index=ignore_index,
                reduction=reduction,
                sample_weight=sample_weight,
            )
        if loss is not None:
            return loss
    return functional.nll_loss(input, target, weight, None, ignore_index, None, reduction)


def categorical_cross_entropy(
    probs: Tensor,
    target: Tensor,
    *,
    axis: int = -1,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    alpha: float | Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of probabilities, as Keras has it; `fusedloss.categorical_cross_entropy`.

    Parameters
    ----------
    probs : Tensor of floats, of any shape with an axis of classes
        Probabilities, divided by their sum and kept within 1e-7 of 0 and 1.
    target : Tensor
        Class indices, of the shape of `probs` without the axis, or probabilities.
    axis : int, default -1
        The axis of the classes.
    label_smoothing : float in [0, 1], default 0
        The share of each target that is spread evenly over the classes.
    gamma : float in [0, 64], default 0
        The focal loss: how much less a sample counts that is classified well.
    alpha : float or Tensor of floats of shape (C,), optional
        A weight for all classes, or one per class; 1 if absent.
    ignore_index : int, default -100
        Positions with this class index are ignored.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions that count, or the sum of their sample weights.
    sample_weight : Tensor of floats, the shape of class indices, optional
        A weight per position; ones if absent.
    where : Tensor of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold.

    Returns
    -------
    Tensor
        The loss, of the dtype of `probs`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> probs = torch.tensor([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
    >>> F.categorical_cross_entropy(probs, torch.tensor([1, 2]))
    tensor(1.1769)
    >>> F.categorical_cross_entropy(probs, torch.tensor([1, 2]), gamma=2.0, alpha=0.25)
    tensor(0.2332)
    """
    expect_arguments(classification.categorical_cross_entropy, probs, target)
    if where is not None:
        shape = positions_of(probs, axis)
        target, sample_weight = without_masked(where, shape, target, sample_weight, ignore_index)
    if operated(probs, target, alpha, sample_weight):
        result: Tensor = operate(
            "categorical_cross_entropy",
            probs=probs,
            target=target,
            axis=axis,
            label_smoothing=label_smoothing,
            gamma=gamma,
            alpha=alpha,
            ignore_index=ignore_index,
            reduction=reduction,
            sample_weight=sample_weight,
        )
        return result
    call = Softmax(
        _softmax.categorical,
        _core.CROSS_ENTROPY,
        ignore_index,
        label_smoothing,
        reduction,
        axis,
        Extras(prediction=_core.PROBABILITIES, mean_of_positions=True, gamma=gamma),
        reduction == "none",
    )
    weight = None if alpha is None else _softmax.weight_of_classes(alpha, probs, axis)
    loss: Tensor = evaluate(call.checked(probs), probs, target, weight, sample_weight)
    return loss


@overload
def focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float | Tensor | None = None,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    outputs: tuple[()] = (),
) -> Tensor: ...
@overload
def focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float | Tensor | None = None,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    outputs: Outputs,
) -> Loss: ...
def focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float | Tensor | None = None,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    outputs: Outputs = (),
) -> Loss:
    """Softmax focal loss, -alpha_y (1 - p_y)^gamma log p_y; `fusedloss.focal_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities.
    target : Tensor
        Class indices, shape (), (N,) or (N, d1, ...), or probabilities, of the shape of `logits`.
    alpha : float or Tensor of floats of shape (C,), optional
        A weight for all classes, or one per class; 1 if absent.
    gamma : float, default 2
        How much less a sample counts that is classified well.
    ignore_index : int, default -100
        Positions with this class index are ignored.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions that count, or the sum of their sample weights.
    sample_weight, where
        As in `cross_entropy`.
    axis : int, optional
        The axis of the classes, which a view then has second; no copy is made. If absent the
        second one, or the only one.
    softcap, z_loss, entropy_bonus, outputs
        As in `cross_entropy`; of class indices alone.

    Returns
    -------
    Tensor or (Tensor, dict of Tensor)
        The loss, of the logits' dtype; with `outputs` also a dict of them.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.focal_loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.0875)
    """
    expect_arguments(classification.focal_loss, logits, target)
    logits, target = classes_second(axis, logits, target)
    if where is not None:
        shape = positions_of(logits)
        target, sample_weight = without_masked(where, shape, target, sample_weight, ignore_index)
    if operated(logits, target, alpha, sample_weight):
        result: Loss = operate(
            "focal_loss",
            logits=logits,
            target=target,
            alpha=alpha,
            gamma=gamma,
            ignore_index=ignore_index,
            reduction=reduction,
            sample_weight=sample_weight,
            softcap=softcap,
            z_loss=z_loss,
            entropy_bonus=entropy_bonus,
            outputs=outputs,
        )
        return result
    weight = None if alpha is None else _softmax.weight_of_classes(alpha, logits)
    if target.is_floating_point():
        _check.expect_none_of(
            {"softcap": softcap, "z_loss": z_loss, "entropy_bonus": entropy_bonus},
            _check.outputs(outputs),
        )
        return _focal_of_shares(logits, target, weight, gamma, reduction, sample_weight)
    call = Softmax(
        _softmax.focal,
        _core.INDEX_TARGET,
        ignore_index,
        0.0,
        reduction,
        None,
        Extras(
            mean_of_positions=True,
            gamma=gamma,
            softcap=softcap,
            z_loss=z_loss,
            entropy_bonus=entropy_bonus,
            outputs=_check.outputs(outputs),
        ),
        reduction == "none",
    )
    loss: Loss = evaluate(call.checked(logits), logits, target, weight, sample_weight)
    return loss


def _focal_of_shares(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    gamma: float,
    reduction: str,
    sample_weight: Tensor | None,
) -> Tensor:
    """Compute the focal loss of distributions of classes."""
    focusing = _check.in_range("gamma", gamma, 0, _check.MOST_GAMMA)
    losses = partial(_softmax.focal_of_shares, gamma=focusing)
    call = Rowwise(
        "focal_loss_of_shares",
        partial(by_formula, losses, _check.reduction(reduction), None),
        reduction,
        (_check.INDICES_OR_ROWS,),
        (focusing,),
    )
    loss: Tensor = evaluate(call, logits, target, weight, sample_weight)
    return loss


def soft_cross_entropy(
    logits: Tensor,
    target_logits: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """Cross-entropy between two softmaxes; `fusedloss.soft_cross_entropy`.

    -T^2 sum_c softmax(t / T)_c log softmax(z / T)_c.

    Parameters
    ----------
    logits : Tensor of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities z.
    target_logits : Tensor of floats, the shape of `logits`
        The teacher's t.
    temperature : float, default 1
        T.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions, or the sum of their sample weights.
    sample_weight : Tensor of floats, shape (), (N,) or (N, d1, ...), optional
        A weight per position; ones if absent.
    where : Tensor of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold.
    axis : int, optional
        The axis of the classes, which a view then has second; no copy is made. If absent the
        second one, or the only one.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.soft_cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
    tensor(0.4325)
    """
    expect_arguments(classification.soft_cross_entropy, logits, target_logits)
    logits, target_logits = classes_second(axis, logits, target_logits)
    if where is not None:
        sample_weight = without_masked(where, positions_of(logits), logits, sample_weight, -100)[1]
    if operated(logits, target_logits, sample_weight):
        result: Tensor = operate(
            "soft_cross_entropy",
            logits=logits,
            target_logits=target_logits,
            temperature=temperature,
            reduction=reduction,
            sample_weight=sample_weight,
        )
        return result
    call = Distillation(temperature, 1.0, -100, reduction, "none", reduction == "none")
    loss: Tensor = evaluate(call.checked(logits), logits, None, sample_weight, target_logits)
    return loss


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor | tuple[Tensor, Tensor],
    target: Tensor | None = None,
    *,
    temperature: float = 1.0,
    alpha: float = 0.5,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """Divergence from a teacher and cross-entropy against labels; `fusedloss.distillation_loss`.

    alpha T^2 KL(softmax(t / T) || softmax(z / T)) + (1 - alpha) cross_entropy(z, target).

    Parameters
    ----------
    student_logits : Tensor of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities z.
    teacher_logits : Tensor of floats, the shape of `student_logits`, or a tuple of two Tensors
        The teacher's t; or ``(indices, log_probs)`` of its k likeliest classes, both of that shape
        with k for C: log q, used as it is, for the classes listed.
    target : Tensor of integers, shape (), (N,) or (N, d1, ...), optional
        Class indices in [0, C). Without them alpha is 1.
    temperature : float, default 1
        T.
    alpha : float in [0, 1], default 0.5
        The share of the divergence.
    ignore_index : int, default -100
        Positions with this class index are ignored in both parts.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions that count, or the sum of their sample weights.
    sample_weight : Tensor of floats, shape (), (N,) or (N, d1, ...), optional
        A weight per position; ones if absent.
    where : Tensor of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold.
    axis : int, optional
        The axis of the classes, which a view then has second; no copy is made. If absent the
        second one, or the only one.

    Returns
    -------
    Tensor
        The loss, of the dtype of `student_logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> z, t = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    >>> F.distillation_loss(z, t, torch.tensor([0]), temperature=2.0)
    tensor(0.2093)
    """
    given = teacher_logits if isinstance(teacher_logits, tuple) else (teacher_logits,)
    expect_arguments(classification.distillation_loss, student_logits, *given[:1])
    teacher: list[Tensor]
    student_logits, *teacher = classes_second(axis, student_logits, *given)
    if where is not None:
        shape = positions_of(student_logits)
        # As against probabilities: what the teacher has is masked by weights.
        sample_weight = without_masked(where, shape, student_logits, sample_weight, ignore_index)[1]
        if target is not None:
            target, _ = without_masked(where, shape, target, None, ignore_index)
        if len(teacher) == 2:
            at = 1 if student_logits.dim() > 1 else 0
            teacher[0] = teacher[0].masked_fill(~where.unsqueeze(at), 0)
    if operated(student_logits, *teacher, target, sample_weight):
        result: Tensor = operate(
            "distillation_loss",
            student_logits=student_logits,
            teacher_logits=tuple(teacher) if len(teacher) > 1 else teacher[0],
            target=target,
            temperature=temperature,
            alpha=alpha,
            ignore_index=ignore_index,
            reduction=reduction,
            sample_weight=sample_weight,
        )
        return result
    call = Distillation(temperature, alpha, ignore_index, reduction, "forward", reduction == "none")
    loss: Tensor = evaluate(
        call.checked(student_logits), student_logits, target, sample_weight, *teacher
    )
    return loss
