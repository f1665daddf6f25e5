"""Losses of a linear layer whose outputs are never held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._lower import adaptive
from fusedloss._lower import linear as lowered
from fusedloss._lower.loss import loss
from fusedloss._types import Call, Extras, Output, Precision, Reduction

__all__ = [
    "adaptive_log_softmax_loss",
    "linear_binary_cross_entropy",
    "linear_cross_entropy",
    "linear_distillation_loss",
]


@loss("input", "linear_weight", "linear_bias")
def linear_cross_entropy(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    *,
    linear_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    shift: int = 0,
    precision: Precision | None = None,
    filter_eps: float | None = None,
    outputs: Sequence[Output] = (),
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Softmax cross-entropy of a linear layer, without holding its outputs.

    `cross_entropy` of the logits :math:`z = W x + b`, with all its options.

    Parameters
    ----------
    input : array of floats, shape (..., D)
        The layer's inputs x, one per position: float16, bfloat16, float32 or float64.
    linear_weight : array of floats of the same dtype, shape (C, D)
        The layer's weights W. Any strides: the transpose of an embedding is not copied.
    target : array
        Class indices in [0, C): any integer dtype, shape (...); or probabilities: any float dtype,
        shape (..., C).
    linear_bias : array of floats of the same dtype, shape (C,), optional
        The layer's bias b; zeros if absent.
    weight : array of floats, shape (C,), optional
        A weight per class; ones if absent.
        Without label smoothing, a position whose target class has weight 0 is ignored,
        whatever it holds.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the weights of the classes of all positions that count.
    ignore_index : int, optional
        Positions with this class index are ignored, and their gradient is zero; -100 if
        absent. With probabilities it may not be given.
    label_smoothing : float in [0, 1], default 0
        The share of the target that is spread evenly over the classes.
    sample_weight : array of floats, shape (...), optional
        A weight per position; ones if absent. "mean" divides by their sum, times class weights.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    softcap : float, optional
        A bound s on the logits, which become s tanh(z / s).
    z_loss : float, default 0
        A factor of the squared log-sum-exp, which is added to the loss.
    shift : int, default 0
        The target of position i is the one at i + shift: the last positions of `input`, along its
        next to last axis, have none, nor are the first of `target` and `sample_weight` anyone's.
    precision : {"highest", "high", "medium"}, optional
        The least precision of the products of float32 arrays, as torch has it: "highest", the
        default, is float32; "high" may take factors for sums of two bfloat16 numbers, "medium" for
        one. See Notes.
    filter_eps : float, optional
        Elements of the gradient by the logits that are no larger, times the position's own factor s
        (grad_output, sample weight and the mean's divisor), may be left out of the gradients: see
        Notes. 1e-6, say, spares a trained model most of their work; all enter if absent.
    outputs : sequence of {"lse", "entropy", "accuracy", "log_prob"}, default ()
        What to return besides, per position: the log-sum-exp of the logits, the entropy of their
        softmax, 1.0 where the target class is the first largest logit, and the log-probability of
        the target class, of class indices only.
    workspace : int, optional
        About how many bytes may be used besides inputs and gradients; 64 MiB if absent.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the input's dtype and the target's
        shape for "none"; with `outputs` a tuple of it and a dict.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For a class index that is out of range and not `ignore_index`.

    Notes
    -----
    Logits exist for a few rows at a time, in the workspace; loss and gradients are the same bits
    for any number of threads. float16 and bfloat16 are computed and summed in float32; where the
    CPU multiplies bfloat16, the gradient by the logits is rounded to it first. Where the workspace
    does not hold a float32 copy of the weights' gradient, which 16-bit dtypes take, or logits of
    enough rows, logits are computed two more times instead.

    With "medium" precision a product of two factors is off by at most :math:`2^{-7}` of it, on CPUs
    that multiply bfloat16; with "high", which is three products of high and low parts, by at most
    :math:`3 \cdot 2^{-16}`, on CPUs that do so by tiles (AMX), if both factors are finite. On all
    others, and with "highest", a product is rounded in its sum alone.

    With `filter_eps` e, an element of the input's gradient is off by at most
    :math:`e |s_i| \sum_c |W_{cd}|`, one of the weight's by at most :math:`e \sum_i |s_i x_{id}|`;
    the value and the bias's gradient are the same.

    The same in torch: ``torch.nn.functional.linear_cross_entropy(input, linear_weight, target)``.

    References
    ----------
    .. [1] E. Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> value, (dx, dw) = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))(
    ...     x, w, np.array([0, 1])
    ... )
    >>> round(value, 4)
    0.41
    >>> dw.round(4)
    array([[-0.0596,  0.25  ],
           [ 0.0596, -0.25  ]])
    """
    given = {
        "input": input,
        "linear_weight": linear_weight,
        "target": target,
        "linear_bias": linear_bias,
        "weight": weight,
        "sample_weight": sample_weight,
        "where": where,
    }
    call = _check.linear(
        given,
        reduction,
        ignore_index,
        label_smoothing,
        Extras(softcap=softcap, z_loss=z_loss, outputs=outputs),  # type: ignore[arg-type]
        shift,
        precision,
        filter_eps,
        workspace,
        num_threads,
    )
    return _core.linear_cross_entropy, (call,)


@loss("student", "student_weight")
def linear_distillation_loss(
    student: ArrayLike,
    student_weight: ArrayLike,
    teacher: ArrayLike,
    teacher_weight: ArrayLike,
    *,
    target: ArrayLike | None = None,
    temperature: float = 1.0,
    alpha: float = 1.0,
    divergence: Literal["forward", "reverse", "js"] = "forward",
    ignore_index: int = -100,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Distillation from the linear layer of a teacher, without holding the outputs of either.

    `distillation_loss` of the logits :math:`z = W x` of the student and :math:`t = V y` of the
    teacher: with :math:`p = \mathrm{softmax}(z / T)` and :math:`q = \mathrm{softmax}(t / T)`,

    .. math:: \ell = \alpha T^2 D(p, q) - (1 - \alpha) \log \mathrm{softmax}(z)_y

    where D is :math:`\sum_c q_c \log (q_c / p_c)`, "forward"; with p and q exchanged, "reverse"; or
    the mean of both divergences from :math:`m = (p + q) / 2`, that is
    :math:`\frac 1 2 \sum_c p_c \log (p_c / m_c) + q_c \log (q_c / m_c)`, "js".

    Parameters
    ----------
    student : array of floats, shape (..., D)
        The inputs x of the student's last layer, one per position: float16, bfloat16, float32 or
        float64.
    student_weight : array of floats of the same dtype, shape (C, D)
        The student's weights W.
    teacher : array of floats, shape (..., E)
        The inputs y of the teacher's last layer: of any of these dtypes, and as many features as
        the teacher has. Not differentiated.
    teacher_weight : array of floats of the teacher's dtype, shape (C, E)
        The teacher's weights V. Not differentiated.
    target : array of integers, shape (...), optional
        Class indices in [0, C). Without them alpha is 1.
    temperature : float, default 1
        T.
    alpha : float in [0, 1], default 1
        The share of the divergence.
    divergence : {"forward", "reverse", "js"}, default "forward"
        D: Kullback-Leibler from the student to the teacher, which covers all that the teacher does;
        the other way, which covers what the student does; or that of Jensen and Shannon.
    ignore_index : int, default -100
        Positions with this class index are ignored in both parts.
    sample_weight : array of floats, shape (...), optional
        A weight per position; ones if absent.
        A position of weight 0 is ignored, whatever it holds.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions that count, or the sum of their sample weights.
    workspace : int, optional
        About how many bytes may be used besides inputs and gradients; 64 MiB if absent. See Notes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the student's dtype and the positions'
        shape for "none".

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For a class index that is out of range and not `ignore_index`.

    Notes
    -----
    The logits of both models are computed for as many rows at a time as fit into the workspace, in
    float32 or float64; the gradient overwrites the student's. If fewer than about 64 rows fit
    (``64 * 8 * C`` bytes in float32), reading the weights takes longer than multiplying them: a
    larger workspace is faster. The gradient by 16-bit weights is summed in a float32 array of their
    shape beside the workspace. The results have the same bits for any number of threads.

    The same in torch, of divergence "forward" without a target: ``T**2 * kl_div(log_softmax(
    linear(student, student_weight) / T, -1), log_softmax(linear(teacher, teacher_weight) / T, -1),
    log_target=True, reduction="batchmean")``.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.
    .. [2] R. Agarwal et al., "On-Policy Distillation of Language Models: Learning from
       Self-Generated Mistakes", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> y, v = np.array([[1.0], [2.0]]), np.array([[1.0], [0.0]])
    >>> value, (dx, dw) = fl.value_and_grad(fl.linear_distillation_loss, argnums=(0, 1))(x, w, y, v)
    >>> round(value, 4)
    0.2052
    >>> dw.round(4)
    array([[ 0.0749, -0.1904],
           [-0.0749,  0.1904]])
    """
    return lowered.linear_distillation, (
        student,
        student_weight,
        teacher,
        teacher_weight,
        target,
        temperature,
        alpha,
        ignore_index,
        divergence,
        reduction,
        sample_weight,
        workspace,
        num_threads,
    )


@loss("input", "linear_weight")
def linear_binary_cross_entropy(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Sigmoid cross-entropy of a linear layer with very many labels, without holding its outputs.

    Of the logits :math:`z = W x` and the set Y of a position's labels,

    .. math:: \ell = -\frac 1 C \Bigl(\sum_{c \in Y} \log \sigma(z_c)
              + \sum_{c \notin Y} \log \sigma(-z_c)\Bigr)

    Parameters
    ----------
    input : array of floats, shape (..., D)
        The layer's inputs x, one per position: float16, bfloat16, float32 or float64.
    linear_weight : array of floats of the same dtype, shape (C, D)
        The layer's weights W.
    target : array of integers, shape (..., K)
        The labels of each position: class indices in [0, C), in any order; a repeated label counts
        once. Rows with fewer than K labels are padded with -1.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions: it is the mean over all positions and classes.
    workspace : int, optional
        About how many bytes may be used besides inputs and gradients; 64 MiB if absent. See Notes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the input's dtype and the positions'
        shape for "none". The mean over no position is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For a class index that is out of range and not -1.

    Notes
    -----
    Logits are computed for one group of classes at a time and, if there are many positions, for
    one chunk of them at a time. Weights are read once, and their gradient is written once. 1 - p is
    never formed by subtraction. float16 and bfloat16 are computed in float32; the gradient by such
    inputs is summed in a float32 array of their shape beside the workspace. The results have the
    same bits for any number of threads.

    The same in torch, y being the labels in an array of zeros and ones:
    ``torch.nn.functional.binary_cross_entropy_with_logits(linear(input, linear_weight), y)``.

    References
    ----------
    .. [1] R. Babbar, B. Schölkopf, "DiSMEC: Distributed Sparse Machines for Extreme Multi-label
       Classification", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    >>> labels = np.array([[0, 2], [1, -1]])
    >>> round(fl.linear_binary_cross_entropy(x, w, labels), 4)
    0.7021
    """
    return lowered.linear_binary_cross_entropy, (
        input,
        linear_weight,
        target,
        reduction,
        workspace,
        num_threads,
    )


@loss("input", "head_weight", "bias", "tail_weights")
def adaptive_log_softmax_loss(
    input: ArrayLike,
    head_weight: ArrayLike,
    tail_weights: Sequence[ArrayLike],
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    reduction: Reduction = "mean",
    outputs: Sequence[Literal["log_prob"]] = (),
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Adaptive softmax of classes sorted by frequency, without holding logits.

    The head tells S frequent classes and K clusters of rarer ones apart; a cluster's own layer
    tells its classes apart, of a projection of the input to fewer features. With :math:`z = W x +
    b` of the head, and :math:`z^k = W_k P_k x` of a cluster,

    .. math::

        \ell = \begin{cases}
        -\log \mathrm{softmax}(z)_y & y < S \\
        -\log \mathrm{softmax}(z)_{S + k} - \log \mathrm{softmax}(z^k)_{y - c_k}
        & c_k \le y < c_{k + 1} \end{cases}

    Parameters
    ----------
    input : array of floats, shape (..., D)
        The inputs x, one per position: float16, bfloat16, float32 or float64.
    head_weight : array of floats of the same dtype, shape (S + K, D)
        The head's weights W: of the classes below S, which are the frequent ones, and of the
        clusters.
    tail_weights : list or tuple of arrays of floats of the same dtype
        Two for each of K clusters: the projection :math:`P_k`, shape (:math:`H_k`, D), and the
        weights :math:`W_k` of its classes, shape (:math:`c_{k+1} - c_k`, :math:`H_k`), which begin
        where those of the cluster before end, :math:`c_0 = S`.
    target : array of integers, shape (...)
        Class indices.
    bias : array of floats of the same dtype, shape (S + K,), optional
        The head's bias b; zeros if absent.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions.
    outputs : sequence of {"log_prob"}, default ()
        What to return besides, per position: the log-probability of the target class.
    workspace : int, optional
        About how many bytes each of the layers may use; 64 MiB if absent.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the input's dtype and the target's
        shape for "none"; with `outputs` a tuple of it and a dict. The mean over no position is nan
        (and its gradient zero). The gradient by `tail_weights` is a list, and so is its `out`.

    Raises
    ------
    TypeError
        For a dtype that is not taken, or `tail_weights` that are no list.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For a class index that is out of range.

    Notes
    -----
    Each layer is a `linear_cross_entropy`: logits exist for a few rows at a time. A cluster is
    computed for the positions that fall to it, whose inputs are copied, and not at all if there are
    none. Its projection is of the input's dtype, rounded once from sums in float32 or float64.

    Of a ``torch.nn.AdaptiveLogSoftmaxWithLoss`` m it is the loss, with ``m.head.weight``,
    ``list(m.tail.parameters())`` and ``m.head.bias``.

    References
    ----------
    E. Grave, A. Joulin, M. Cissé, D. Grangier, H. Jégou, "Efficient softmax approximation for
    GPUs", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, head = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> projection, weight = np.array([[0.0, 1.0]]), np.array([[1.0], [0.0], [0.0]])
    >>> round(fl.adaptive_log_softmax_loss(x, head, [projection, weight], [0, 1]), 4)
    0.6858
    """
    arguments = (input, head_weight, tail_weights, target, bias, reduction, outputs, workspace)
    return adaptive.adaptive_log_softmax, (*arguments, num_threads)
