"""Losses of a linear layer whose outputs are never held."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal, cast, overload

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from fusedloss import _check, _core
from fusedloss._types import Extras, Reduction
from fusedloss.torch import _original as functional
from fusedloss.torch import _softmax
from fusedloss.torch._autograd import (
    evaluate,
    expect_given,
    expect_tensors,
    fused,
    without_autocast,
)
from fusedloss.torch._linear import AdaptiveLayer, DistilledLayer, LabelledLayer, Linear
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._softmax import Softmax
from fusedloss.torch.functional._types import Loss, Outputs

__all__ = [
    "adaptive_log_softmax_loss",
    "linear_binary_cross_entropy",
    "linear_cross_entropy",
    "linear_distillation_loss",
]


def _recognised(
    input: Any,
    linear_weight: Any,
    target: Any,
    linear_bias: Any,
    weight: Any,
    ignore_index: Any,
) -> bool:
    """Whether the kernels answer a call."""
    tensors = [x for x in (input, linear_weight, linear_bias, target, weight) if x is not None]
    if not all([isinstance(x, Tensor) for x in tensors]):
        return False
    mixes = torch.is_autocast_enabled("cpu")  # which brings dtypes together
    if input.dim() not in (1, 2) or linear_weight.dim() != 2:
        return False
    return (
        (
            target.dtype is torch.int64
            or ((target.dtype is input.dtype or mixes) and ignore_index is None)
        )
        and (weight is None or weight.dtype is input.dtype or mixes)
        and not (mixes and any([x.dtype is torch.float64 for x in tensors]))
    )


def _has_more_axes(input: Any, linear_weight: Any) -> bool:
    """Whether there are more axes of positions than torch takes."""
    tensors = isinstance(input, Tensor) and isinstance(linear_weight, Tensor)
    return tensors and input.dim() > 2 and linear_weight.dim() == 2


def _of_logits(ignore_index: int | None, label_smoothing: float, reduction: str) -> Softmax:
    """Return the call of a loss of logits."""
    return Softmax(
        _softmax.cross_entropy,
        _core.CROSS_ENTROPY,
        -100 if ignore_index is None else ignore_index,
        label_smoothing,
        reduction,
        deferred=reduction == "none",
    )


def of_layer(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None,
    sample_weight: Tensor | None,
    *,
    reduction: str,
    ignore_index: int | None,
    label_smoothing: float,
    softcap: float | None,
    z_loss: float,
    outputs: Outputs,
    filter_eps: float,
    workspace: int,
    dtype: torch.dtype,
) -> Loss:
    """Compute linear_cross_entropy, its arguments checked, shifted and cast: of type `dtype`."""
    of_logits = _of_logits(ignore_index, label_smoothing, reduction)
    extras = Extras(softcap=softcap, z_loss=z_loss, outputs=outputs)
    call = Linear(
        of_logits._replace(extras=extras).checked(input),
        ignore_index,
        filter_eps,
        workspace,
        2 if linear_bias is None else 3,
        dtype,
    )
    loss: Loss = evaluate(call, input, linear_weight, linear_bias, target, weight, sample_weight)
    return loss


@overload
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: nn.LinearCrossEntropyOptions | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    shift: int = 0,
    filter_eps: float | None = None,
    outputs: tuple[()] = (),
    workspace: int | None = None,
) -> Tensor: ...
@overload
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: nn.LinearCrossEntropyOptions | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    shift: int = 0,
    filter_eps: float | None = None,
    outputs: Outputs,
    workspace: int | None = None,
) -> Loss: ...
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: nn.LinearCrossEntropyOptions | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    shift: int = 0,
    filter_eps: float | None = None,
    outputs: Outputs = (),
    workspace: int | None = None,
) -> Loss:
    """`torch.nn.functional.linear_cross_entropy` that holds no logits, with more options.

    The logits are never held, whatever `options` say. The formula is that of
    `fusedloss.linear_cross_entropy`.

    Parameters
    ----------
    input, linear_weight, target, linear_bias, weight, reduction, ignore_index, label_smoothing
        As in `torch.nn.functional.linear_cross_entropy`.
    options : torch.nn.LinearCrossEntropyOptions, optional
        What torch is to do with a call that is left to it.
    sample_weight : Tensor of floats, the shape of class indices, optional
        A weight per position; ones if absent. A mean divides by its sum.
    where : Tensor of bools, the shape of class indices, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold.
    softcap : float, optional
        Logits z are first capped to softcap * tanh(z / softcap).
    z_loss : float, default 0
        What the square of the log-sum-exp is multiplied by and added to the loss.
    shift : int, default 0
        The target of position i is the one at i + shift, along the input's next to last axis.
    filter_eps : float, optional
        What of the gradient by the logits, times the position's factor, may be left out of the
        gradients: see `fusedloss.linear_cross_entropy`. All enters if absent.
    outputs : tuple of {"lse", "entropy", "accuracy", "log_prob"}, default ()
        What to return beside the loss.
    workspace : int, optional
        About how many bytes may be used besides inputs and gradients; 64 MiB if absent.

    Returns
    -------
    Tensor or (Tensor, dict of Tensor)
        The loss; with `outputs` also a dict of them: a value per position, float32 (float64 for
        a float64 input), 0 where ignored. "log_prob" is differentiable, its gradient computed in
        the backward pass if one arrives; the others are not.

    See Also
    --------
    fusedloss.linear_cross_entropy : The same for arrays.

    Notes
    -----
    An input may have more axes than torch's, (..., in_features), with targets (...) or (..., C):
    hidden states (B, T, D) and tokens (B, T). The gradients are computed together with the loss,
    except for ``reduction="none"``; none is computed for a frozen weight. Products of float32 are
    as precise as `torch.set_float32_matmul_precision` says; under autocast they are of its dtype,
    summed in float32.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> weight = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> loss = F.linear_cross_entropy(x, weight, torch.tensor([0, 1]))
    >>> loss.backward()
    >>> x.grad
    tensor([[-0.1192,  0.0000],
            [ 0.5000,  0.0000]])
    """
    if where is not None:
        expect_given(input=input, target=target)
        ignored = -100 if ignore_index is None else ignore_index
        target, sample_weight = _softmax.without_masked(
            where, input.shape[:-1], target, sample_weight, ignored
        )
    more = (sample_weight, softcap, filter_eps, workspace)
    plain = not z_loss and not shift and not outputs and all([x is None for x in more])
    plain = plain and not _has_more_axes(input, linear_weight)
    if not plain or _recognised(input, linear_weight, target, linear_bias, weight, ignore_index):
        of_logits = _of_logits(ignore_index, label_smoothing, reduction)
        x, y, s = input, target, sample_weight
        if not plain:
            expect_given(input=x, linear_weight=linear_weight, target=y)
            expect_tensors(linear_bias, weight, s)
            extras = Extras(softcap=softcap, z_loss=z_loss, outputs=_check.outputs(outputs))
            of_logits = of_logits._replace(extras=extras).checked(input)
            steps = _check.shifted_by(shift, x.shape)
            if steps:  # errors name the shapes that are given, not those of the parts
                classes = linear_weight.shape[:1] if y.is_floating_point() else ()
                _softmax.expect_shape("target", y, x.shape[:-1] + classes)
                if s is not None:
                    _softmax.expect_shape("sample_weight", s, x.shape[:-1])
                x, s = x[..., :-steps, :], None if s is None else s[..., steps:]
                y = y[..., steps:, :] if y.is_floating_point() else y[..., steps:]
        layer, dtype = [x, linear_weight, linear_bias], x.dtype
        if torch.is_autocast_enabled("cpu") and dtype is not torch.float64:
            low, dtype = torch.get_autocast_dtype("cpu"), torch.float32
            layer = [None if each is None else each.to(low) for each in layer]
        call = Linear(
            of_logits,
            ignore_index,
            0.0 if filter_eps is None else _check.not_negative("filter_eps", filter_eps),
            _check.workspace_size(workspace),
            2 if linear_bias is None else 3,
            dtype,
        )
        tensors = (*layer, y, weight, s)
        loss: Loss | None = None
        mixed = torch.is_autocast_enabled("cpu")
        with without_autocast() if mixed else nullcontext():  # the layer's dtype is not the loss's
            if not plain:
                if not operated(*tensors):
                    loss = evaluate(call, *tensors)
            elif not is_compiling():
                loss = fused(call, *tensors)
            if loss is None and operated(*tensors):
                loss = operate(
                    "linear_cross_entropy",
                    input=layer[0],
                    linear_weight=layer[1],
                    linear_bias=layer[2],
                    target=y,
                    weight=weight,
                    sample_weight=s,
                    ignore_index=ignore_index,
                    label_smoothing=label_smoothing,
                    softcap=softcap,
                    z_loss=z_loss,
                    outputs=outputs,
                    filter_eps=call.filter_eps,
                    workspace=call.workspace,
                    dtype=dtype,
                    reduction=reduction,
                )
        if loss is not None:
            left = where if where is None or not shift else where[..., shift:]
            return cast("Loss", _softmax.silenced(loss, left))
    return functional.linear_cross_entropy(
        input,
        linear_weight,
        target,
        linear_bias=linear_bias,
        weight=weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        options=options,
    )


def linear_distillation_loss(
    student: Tensor,
    student_weight: Tensor,
    teacher: Tensor,
    teacher_weight: Tensor,
    *,
    target: Tensor | None = None,
    temperature: float = 1.0,
    alpha: float = 1.0,
    divergence: Literal["forward", "reverse", "js"] = "forward",
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """Distillation from the linear layer of a teacher, without the logits of either.

    `distillation_loss` of the logits linear(student, student_weight) and linear(teacher,
    teacher_weight), or another divergence; `fusedloss.linear_distillation_loss`.

    Parameters
    ----------
    student : Tensor of floats, shape (..., D)
        The inputs of the student's last layer.
    student_weight : Tensor of floats, shape (C, D)
        The student's weights.
    teacher : Tensor of floats, shape (..., E)
        The inputs of the teacher's last layer, which may be of another dtype and have as many
        features as the teacher has. Not differentiated.
    teacher_weight : Tensor of floats, shape (C, E)
        The teacher's weights. Not differentiated.
    target : Tensor of integers, shape (...), optional
        Class indices in [0, C). Without them alpha is 1.
    temperature : float, default 1
        T: logits are divided by it, and the divergence multiplied by its square.
    alpha : float in [0, 1], default 1
        The share of the divergence; the cross-entropy against the target has the rest.
    divergence : {"forward", "reverse", "js"}, default "forward"
        Kullback-Leibler from the student's softmax to the teacher's; the other way; or that of
        Jensen and Shannon.
    ignore_index : int, default -100
        Positions with this class index are ignored in both parts.
    sample_weight : Tensor of floats, shape (...), optional
        A weight per position; ones if absent.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions that count, or the sum of their sample weights.
    workspace : int, optional
        About how many bytes may be used besides inputs and gradients; 64 MiB if absent.

    Returns
    -------
    Tensor
        The loss, of the dtype of `student`.

    See Also
    --------
    fusedloss.linear_distillation_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> x, w = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> y, v = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [0.0]])
    >>> F.linear_distillation_loss(x, w, y, v)
    tensor(0.2052)
    """
    expect_given(
        student=student,
        student_weight=student_weight,
        teacher=teacher,
        teacher_weight=teacher_weight,
    )
    if operated(student, student_weight, teacher, teacher_weight, target, sample_weight):
        result: Tensor = operate(
            "linear_distillation_loss",
            student=student,
            student_weight=student_weight,
            teacher=teacher,
            teacher_weight=teacher_weight,
            target=target,
            temperature=temperature,
            alpha=alpha,
            divergence=divergence,
            ignore_index=ignore_index,
            sample_weight=sample_weight,
            reduction=reduction,
            workspace=workspace,
        )
        return result
    call = DistilledLayer(
        temperature,
        alpha,
        divergence,
        ignore_index,
        reduction,
        _check.workspace_size(workspace),
        reduction == "none",
    ).checked(student)
    tensors = (student, student_weight, teacher, teacher_weight, target, sample_weight)
    loss: Tensor = evaluate(call, *tensors)
    return loss


def linear_binary_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """Sigmoid cross-entropy of a linear layer with very many labels, without its logits.

    `binary_cross_entropy_with_logits` of linear(input, linear_weight) against the set of each
    position's labels; `fusedloss.linear_binary_cross_entropy`.

    Parameters
    ----------
    input : Tensor of floats, shape (..., D)
        The layer's inputs.
    linear_weight : Tensor of floats, shape (C, D)
        The layer's weights.
    target : Tensor of integers, shape (..., K)
        The labels of each position: class indices in [0, C), in any order, a repeated one counting
        once; rows of fewer than K labels are filled up with -1.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the positions' losses, each a mean over the classes, are reduced.
    workspace : int, optional
        About how many bytes may be used besides inputs and gradients; 64 MiB if absent.

    Returns
    -------
    Tensor
        The loss, of the dtype of `input`.

    See Also
    --------
    fusedloss.linear_binary_cross_entropy : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> w = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    >>> F.linear_binary_cross_entropy(torch.eye(2), w, torch.tensor([[0, 2], [1, -1]]))
    tensor(0.7021)
    """
    expect_given(input=input, linear_weight=linear_weight, target=target)
    if operated(input, linear_weight, target):
        result: Tensor = operate(
            "linear_binary_cross_entropy",
            input=input,
            linear_weight=linear_weight,
            target=target,
            reduction=reduction,
            workspace=workspace,
        )
        return result
    call = LabelledLayer(
        _check.reduction(reduction), _check.workspace_size(workspace), reduction == "none"
    )
    loss: Tensor = evaluate(call, input, linear_weight, target)
    return loss


@overload
def adaptive_log_softmax_loss(
    input: Tensor,
    head_weight: Tensor,
    tail_weights: tuple[Tensor, ...],
    target: Tensor,
    *,
    bias: Tensor | None = None,
    reduction: Reduction = "mean",
    outputs: tuple[()] = (),
    workspace: int | None = None,
) -> Tensor: ...
@overload
def adaptive_log_softmax_loss(
    input: Tensor,
    head_weight: Tensor,
    tail_weights: tuple[Tensor, ...],
    target: Tensor,
    *,
    bias: Tensor | None = None,
    reduction: Reduction = "mean",
    outputs: tuple[Literal["log_prob"], ...],
    workspace: int | None = None,
) -> Loss: ...
def adaptive_log_softmax_loss(
    input: Tensor,
    head_weight: Tensor,
    tail_weights: tuple[Tensor, ...],
    target: Tensor,
    *,
    bias: Tensor | None = None,
    reduction: Reduction = "mean",
    outputs: tuple[Literal["log_prob"], ...] = (),
    workspace: int | None = None,
) -> Loss:
    """Adaptive softmax of classes sorted by frequency, without logits.

    `torch.nn.AdaptiveLogSoftmaxWithLoss` of given weights; `fusedloss.adaptive_log_softmax_loss`.

    Parameters
    ----------
    input : Tensor of floats, shape (..., D)
        The inputs of head and clusters.
    head_weight : Tensor of floats, shape (S + K, D)
        The head's weights, of S frequent classes and K clusters of others.
    tail_weights : tuple of Tensors of floats
        Two for each cluster: a projection, shape (H, D), and the weights of the cluster's classes,
        shape (C, H).
    target : Tensor of integers, shape (...)
        Class indices, the frequent classes first.
    bias : Tensor of floats, shape (S + K,), optional
        The head's bias.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions.
    outputs : tuple of {"log_prob"}, default ()
        What to return beside the loss.
    workspace : int, optional
        About how many bytes each of the layers may use; 64 MiB if absent.

    Returns
    -------
    Tensor or (Tensor, dict of Tensor)
        The loss, of the dtype of `input`; with `outputs` also a dict of the log-probabilities of
        the targets, float32 (float64 for a float64 input), differentiable too: their gradient is
        computed in the backward pass if one arrives.

    See Also
    --------
    fusedloss.adaptive_log_softmax_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> head, tail = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0], [0.0], [0.0]])
    >>> projection = torch.tensor([[0.0, 1.0]])
    >>> F.adaptive_log_softmax_loss(torch.eye(2), head, (projection, tail), torch.tensor([0, 1]))
    tensor(0.6858)
    """
    expect_given(input=input, head_weight=head_weight, target=target)
    tails = _check.arrays("tail_weights", tail_weights)
    expect_given(**{f"tail_weights[{i}]": x for i, x in enumerate(tails)})
    expect_tensors(bias)
    names = _check.outputs(outputs)
    if operated(input, head_weight, *tails, target, bias):
        made: Loss = operate(
            "adaptive_log_softmax_loss",
            input=input,
            head_weight=head_weight,
            tail_weights=tuple(tails),
            target=target,
            bias=bias,
            reduction=reduction,
            outputs=names,
            workspace=workspace,
        )
        return made
    call = AdaptiveLayer(
        _check.clusters_of(input, head_weight, tails),
        _check.reduction(reduction),
        _check.log_prob_alone(names),
        _check.workspace_size(workspace),
        input.dtype,
        reduction == "none",
    )
    tensors = (input, head_weight, bias, *tails, target, None, None)
    loss: Loss = evaluate(call, *tensors)
    return loss
