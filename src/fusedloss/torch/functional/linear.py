"""Losses of a linear layer whose outputs are never held."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, cast, overload

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from fusedloss import _check, _core
from fusedloss._types import Extras
from fusedloss.torch import _original as functional
from fusedloss.torch import _softmax
from fusedloss.torch._autograd import (
    evaluate,
    expect_given,
    expect_tensors,
    fused,
    without_autocast,
)
from fusedloss.torch._linear import Linear
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._softmax import Softmax
from fusedloss.torch.functional._types import Loss, Outputs


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
