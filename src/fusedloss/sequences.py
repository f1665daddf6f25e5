"""Losses of sequences, whose frames are not aligned with their labels."""

from __future__ import annotations

from numpy.typing import ArrayLike

from fusedloss._lower.ctc import ctc
from fusedloss._lower.loss import loss
from fusedloss._types import Call, Reduction

__all__ = [
    "ctc_loss",
]


@loss("log_probs")
def ctc_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    *,
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_infinity: bool = False,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Connectionist temporal classification: label sequences without an alignment to the frames.

    .. math:: \ell = -\log \sum_{\pi} \prod_t p_t(\pi_t)

    over all paths :math:`\pi` of a class for each frame that spell the labels, once repetitions
    are merged and blanks dropped.

    Parameters
    ----------
    log_probs : array of floats, shape (T, N, C) or (T, C)
        Log-probabilities :math:`\log p` of the classes in each frame of each sequence, such as
        `log_softmax` gives: float16, bfloat16, float32 or float64.
    targets : array of integers, shape (N, S) or (sum(target_lengths),)
        The labels, each sequence's in a row, or one after the other. None of them is the blank.
    input_lengths : array of integers, shape (N,)
        How many of its T frames each sequence has; () for log-probabilities of shape (T, C).
    target_lengths : array of integers, shape (N,)
        How many labels each sequence has; () as well.
    blank : int, default 0
        The class that stands for no label.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides each loss by the sequence's number of labels, or 1 if it has none, and their
        sum by the number of sequences, or the sum of their weights.
    zero_infinity : bool, default False
        Infinite losses, and their gradients, are 0: those of sequences that are too short for
        their labels.
    sample_weight : array of floats, shape (N,), optional
        What the loss of each sequence is multiplied by; ones if absent. A sequence of weight 0 adds
        nothing to the loss and has a zero gradient, whatever it holds.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`. A sequence is worked on by one.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of shape (N,), or (), and of the dtype of
        `log_probs` for "none". The mean over no sequence is nan.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape, a length or an option that does not fit, or a label that is the blank.
    IndexError
        For a label that is no class.

    Notes
    -----
    The gradient is that by numbers :math:`z` of which `log_probs` is the log-softmax, as in torch:
    :math:`p_t(c)` less the probability that a path which spells the labels is at :math:`c`. It is
    nan where the loss is infinite, and 0 after a sequence's last frame.

    The forward-backward algorithm keeps the logarithms of 2 L + 2 states for each frame of the
    sequences at hand, each frame's close to 0, so that long sequences lose no more than short ones.

    Like ``torch.nn.functional.ctc_loss``.

    References
    ----------
    Graves, Fernandez, Gomez and Schmidhuber, Connectionist Temporal Classification: Labelling
    Unsegmented Sequence Data with Recurrent Neural Networks, ICML 2006.

    Examples
    --------
    Of two frames with two classes and a blank, "1" is spelled by 1 1, 1 blank and blank 1.

    >>> import numpy as np
    >>> import fusedloss as fl
    >>> log_probs = np.log(np.full((2, 1, 3), 1 / 3))
    >>> round(fl.ctc_loss(log_probs, [[1]], [2], [1]), 6)  # -log(3 / 9)
    1.098612
    """
    return ctc, (
        *(log_probs, targets, input_lengths, target_lengths),
        *(blank, zero_infinity, reduction, num_threads, sample_weight),
    )
