"""Losses that train policies: of preferred answers, and of answers with rewards.

They are made of log-probabilities, which ``outputs=("log_prob",)`` of `cross_entropy` and
`linear_cross_entropy` gives for each token: in float32 whatever the logits' type, and without a
matrix of log-probabilities. Their sum over the tokens of an answer is the answer's.
"""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.pointwise import pointwise
from fusedloss._lower.policy import policy, ratio_options
from fusedloss._types import Call, Reduction

__all__ = [
    "cpo_loss",
    "dpo_loss",
    "grpo_loss",
    "ipo_loss",
    "kto_loss",
    "orpo_loss",
    "simpo_loss",
]


@loss(*("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected"), hessian=True)
def dpo_loss(
    policy_chosen: ArrayLike,
    policy_rejected: ArrayLike,
    reference_chosen: ArrayLike,
    reference_rejected: ArrayLike,
    *,
    beta: float = 0.1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Prefer the chosen answers more than a reference does: direct preference optimisation.

    .. math::

        \ell = -\log \sigma(\beta ((\pi_c - \pi_r) - (\rho_c - \rho_r)))

    Parameters
    ----------
    policy_chosen : array of floats
        Log-probabilities :math:`\pi_c` that the policy gives the chosen answers, summed over their
        tokens: float16, bfloat16, float32 or float64.
    policy_rejected : array of real numbers
        The same :math:`\pi_r` of the rejected answers.
    reference_chosen, reference_rejected : array of real numbers
        The same :math:`\rho_c, \rho_r` by the model that the policy started from. All arrays are
        broadcast against each other.
    beta : float, default 0.1
        How closely the policy keeps to the reference; positive.
    weight : array of real numbers, optional
        What the loss of each pair is multiplied by; ones if absent.
        A pair of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which pairs take part, of any shape that broadcasts; all do if absent. The others are left
        out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of pairs.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `policy_chosen` for "none".
        The mean over nothing is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    The gradients by the reference's log-probabilities are there too, for who trains it.

    The "sigmoid" loss of TRL's ``DPOTrainer`` and of Liger's ``LigerFusedLinearDPOLoss``; in torch
    ``-logsigmoid(beta * ((pc - pr) - (rc - rr))).mean()``.

    References
    ----------
    R. Rafailov et al., "Direct preference optimization: your language model is secretly a reward
    model", NeurIPS 2023.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.dpo_loss([-10.0, -20.0], [-15.0, -18.0], [-11.0, -19.0], [-14.0, -19.0]), 6)
    0.698139
    """
    operands = {
        "policy_chosen": policy_chosen,
        "policy_rejected": policy_rejected,
        "reference_chosen": reference_chosen,
        "reference_rejected": reference_rejected,
    }
    parameters = (_check.positive("beta", beta),)
    return pointwise("dpo_loss", operands, parameters, weight, reduction, num_threads, where=where)


@loss(*("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected"), hessian=True)
def ipo_loss(
    policy_chosen: ArrayLike,
    policy_rejected: ArrayLike,
    reference_chosen: ArrayLike,
    reference_rejected: ArrayLike,
    *,
    beta: float = 0.1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Prefer the chosen answers by a margin: identity preference optimisation.

    .. math:: \ell = \left( (\pi_c - \pi_r) - (\rho_c - \rho_r) - \frac{1}{2 \beta} \right)^2

    Parameters
    ----------
    policy_chosen : array of floats
        Log-probabilities :math:`\pi_c` that the policy gives the chosen answers, averaged
        over their tokens (TRL's choice) or summed: float16, bfloat16, float32 or float64.
    policy_rejected : array of real numbers
        The same :math:`\pi_r` of the rejected answers.
    reference_chosen, reference_rejected : array of real numbers
        The same :math:`\rho_c, \rho_r` by the model that the policy started from. All arrays are
        broadcast against each other.
    beta : float, default 0.1
        The margin's inverse, but for a factor of 2; positive. The authors call it tau.
    weight : array of real numbers, optional
        What the loss of each pair is multiplied by; ones if absent.
        A pair of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which pairs take part, of any shape that broadcasts; all do if absent. The others are left
        out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of pairs.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `policy_chosen` for "none".
        The mean over nothing is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    The "ipo" loss of TRL's ``DPOTrainer``; in torch
    ``((pc - pr) - (rc - rr) - 1 / (2 * beta)).square().mean()``.

    References
    ----------
    M. G. Azar et al., "A general theoretical paradigm to understand learning from human
    preferences", AISTATS 2024.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.ipo_loss([-1.0], [-3.0], [-2.0], [-2.0], beta=0.5)
    1.0
    """
    operands = {
        "policy_chosen": policy_chosen,
        "policy_rejected": policy_rejected,
        "reference_chosen": reference_chosen,
        "reference_rejected": reference_rejected,
    }
    parameters = (_check.positive("beta", beta),)
    return pointwise("ipo_loss", operands, parameters, weight, reduction, num_threads, where=where)


@loss("policy_chosen", "policy_rejected", hessian=True)
def simpo_loss(
    policy_chosen: ArrayLike,
    policy_rejected: ArrayLike,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Prefer the chosen answers, without a reference: simple preference optimisation.

    .. math:: \ell = -\log \sigma(\beta (\pi_c - \pi_r) - \gamma)

    Parameters
    ----------
    policy_chosen : array of floats
        Log-probabilities :math:`\pi_c` that the policy gives the chosen answers, averaged
        over their tokens: float16, bfloat16, float32 or float64.
    policy_rejected : array of real numbers
        The same :math:`\pi_r` of the rejected answers. The arrays are broadcast against each other.
    beta : float, default 2
        What the difference is multiplied by; positive.
    gamma : float, default 1
        The margin :math:`\gamma`, after that multiplication.
    weight : array of real numbers, optional
        What the loss of each pair is multiplied by; ones if absent.
        A pair of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which pairs take part, of any shape that broadcasts; all do if absent. The others are left
        out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of pairs.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `policy_chosen` for "none".
        The mean over nothing is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    `gamma` is the authors' and TRL's ``simpo_gamma``. In torch
    ``-logsigmoid(beta * (pc - pr) - gamma).mean()``.

    References
    ----------
    Y. Meng, M. Xia, D. Chen, "SimPO: simple preference optimization with a reference-free reward",
    NeurIPS 2024.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.simpo_loss([-0.5, -1.0], [-1.5, -1.0]), 6)
    0.813262
    """
    operands = {"policy_chosen": policy_chosen, "policy_rejected": policy_rejected}
    parameters = (_check.positive("beta", beta), _check.finite("gamma", gamma))
    return pointwise(
        "simpo_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("policy_chosen", "policy_rejected", hessian=True)
def cpo_loss(
    policy_chosen: ArrayLike,
    policy_rejected: ArrayLike,
    *,
    beta: float = 0.1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Prefer the chosen answers, without a margin: contrastive preference optimisation.

    .. math:: \ell = -\log \sigma(\beta (\pi_c - \pi_r))

    Parameters
    ----------
    policy_chosen : array of floats
        Log-probabilities :math:`\pi_c` that the policy gives the chosen answers, summed over their
        tokens: float16, bfloat16, float32 or float64.
    policy_rejected : array of real numbers
        The same :math:`\pi_r` of the rejected answers. The arrays are broadcast against each other.
    beta : float, default 0.1
        What the difference is multiplied by; positive.
    weight : array of real numbers, optional
        What the loss of each pair is multiplied by; ones if absent.
        A pair of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which pairs take part, of any shape that broadcasts; all do if absent. The others are left
        out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of pairs.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `policy_chosen` for "none".
        The mean over nothing is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    The preference term alone: the authors add the cross-entropy of the chosen answers to it. The
    "sigmoid" loss of TRL's ``CPOTrainer``; in torch ``-logsigmoid(beta * (pc - pr)).mean()``.

    References
    ----------
    H. Xu et al., "Contrastive preference optimization: pushing the boundaries of LLM performance in
    machine translation", ICML 2024.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.cpo_loss([-10.0], [-30.0]), 6)
    0.126928
    """
    operands = {"policy_chosen": policy_chosen, "policy_rejected": policy_rejected}
    parameters = (_check.positive("beta", beta), 0.0)
    return pointwise(
        "simpo_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("policy_chosen", "policy_rejected")
def orpo_loss(
    policy_chosen: ArrayLike,
    policy_rejected: ArrayLike,
    *,
    beta: float = 0.1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Prefer the chosen answers by their odds: odds-ratio preference optimisation.

    .. math::

        \ell = -\beta \log \sigma \left(
            \log \frac{p_c}{1 - p_c} - \log \frac{p_r}{1 - p_r} \right),
        \quad p = e^{\pi}

    Parameters
    ----------
    policy_chosen : array of floats
        Log-probabilities :math:`\pi_c` that the policy gives the chosen answers, averaged
        over their tokens, none above 0: float16, bfloat16, float32 or float64.
    policy_rejected : array of real numbers
        The same :math:`\pi_r` of the rejected answers. The arrays are broadcast against each other.
    beta : float, default 0.1
        What the term is multiplied by; positive. The authors call it lambda.
    weight : array of real numbers, optional
        What the loss of each pair is multiplied by; ones if absent.
        A pair of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which pairs take part, of any shape that broadcasts; all do if absent. The others are left
        out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of pairs.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `policy_chosen` for "none".
        The mean over nothing is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    A log-probability above 0, which is none, gives nan. Of a chosen answer that is certain, 0, the
    loss and its gradient are the limits: the loss is 0.

    The term of TRL's ``ORPOTrainer`` and of Liger's ``LigerFusedLinearORPOLoss``; in torch
    ``-beta * logsigmoid(pc - pr - (log1p(-pc.exp()) - log1p(-pr.exp()))).mean()``.

    References
    ----------
    J. Hong, N. Lee, J. Thorne, "ORPO: monolithic preference optimization without reference model",
    EMNLP 2024.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.orpo_loss([-0.5], [-1.5], beta=1.0), 6)
    0.170859
    """
    operands = {"policy_chosen": policy_chosen, "policy_rejected": policy_rejected}
    parameters = (_check.positive("beta", beta),)
    return pointwise("orpo_loss", operands, parameters, weight, reduction, num_threads, where=where)


@loss("policy", "reference")
def kto_loss(
    policy: ArrayLike,
    reference: ArrayLike,
    desirable: ArrayLike,
    *,
    beta: float = 0.1,
    kl: float = 0.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Learn from answers that are desirable or not, without pairs: Kahneman-Tversky optimisation.

    .. math::

        \ell = 1 - \sigma(\pm \beta (\pi - \rho - K)), \quad + \text{ where desirable, else } -

    Parameters
    ----------
    policy : array of floats
        Log-probabilities :math:`\pi` that the policy gives the answers, summed over their tokens:
        float16, bfloat16, float32 or float64.
    reference : array of real numbers
        The same :math:`\rho` by the model that the policy started from.
    desirable : array of bools
        Which answers are desirable. The arrays are broadcast against each other.
    beta : float, default 0.1
        How closely the policy keeps to the reference; positive.
    kl : float, default 0
        The divergence :math:`K` of the policy from the reference, the point that gains and losses
        are seen from: estimated by the caller, not differentiated, and not negative.
    weight : array of real numbers, optional
        What the loss of each answer is multiplied by; ones if absent.
        An answer of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which answers take part, of any shape that broadcasts; all do if absent. The others are left
        out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of answers.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `policy` for "none".
        The mean over nothing is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    The authors' weights of desirable and of other answers are `weight`:
    ``np.where(desirable, 1.0, 1.33)``. The "kto" loss of TRL's ``KTOTrainer``; in torch
    ``(1 - sigmoid(torch.where(desirable, 1, -1) * beta * (policy - reference - kl))).mean()``.

    References
    ----------
    K. Ethayarajh, W. Xu, N. Muennighoff, D. Jurafsky, D. Kiela, "KTO: model alignment as prospect
    theoretic optimization", ICML 2024.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.kto_loss([-10.0, -20.0], [-12.0, -18.0], [True, False], beta=0.5), 6)
    0.268941
    """
    operands = {"policy": policy, "reference": reference, "desirable": desirable}
    parameters = (_check.positive("beta", beta), _check.not_negative("kl", kl))
    return pointwise("kto_loss", operands, parameters, weight, reduction, num_threads, where=where)


@loss("log_probs")
def grpo_loss(
    log_probs: ArrayLike,
    old_log_probs: ArrayLike,
    advantages: ArrayLike,
    *,
    ref_log_probs: ArrayLike | None = None,
    where: ArrayLike | None = None,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    beta: float = 0.0,
    loss_type: Literal["token", "sequence", "dapo"] = "token",
    divisor: float | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Learn from tokens with advantages: group-relative policy optimisation.

    .. math::

        \ell = -\min(r A, \operatorname{clip}(r, 1 - \epsilon, 1 + \epsilon_h) A)
               + \beta (e^d - d - 1),
        \quad r = e^{\pi - \pi_{old}}, \quad d = \rho - \pi

    Parameters
    ----------
    log_probs : array of floats, shape (..., T)
        Log-probabilities :math:`\pi` that the policy gives the tokens of its answers: float16,
        bfloat16, float32 or float64.
    old_log_probs : array of real numbers, shape (..., T)
        The same by the policy that the answers were sampled from.
    advantages : array of real numbers, shape (...) or (..., T)
        What an answer is better than the others of its group, or what each of its tokens is.
    ref_log_probs : array of real numbers, shape (..., T), optional
        Log-probabilities :math:`\rho` by a reference model: needed where `beta` is not 0, and
        read only there.
    where : array of bools, shape (..., T), optional
        True for the tokens that take part: those of the answers, without padding. Others may hold
        anything, and have a gradient of 0.
    epsilon, epsilon_high : float, default 0.2 and `epsilon`
        How far below and above 1 the ratio :math:`r` is followed. Neither negative.
    beta : float, default 0
        The weight of the estimated divergence from the reference; not negative.
    loss_type : {"token", "sequence", "dapo"}, default "token"
        The mean over all tokens; the mean over sequences of each one's mean over its tokens, 0 for
        one without any; or the sum over all tokens divided by `divisor`.
    divisor : float, optional
        For "dapo", which needs it: the number of tokens of all processes and all micro-batches.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss. The mean over no token is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not fit, a missing `ref_log_probs` or `divisor`, or another option that
        does not fit.

    Notes
    -----
    Differentiable in `log_probs` alone. On the bounds of the ratio the gradient is that inside.

    TRL's and Liger's ``loss_type``: their "bnpo" is "token" here, "grpo" is "sequence", "dapo" is
    "dapo", and "dr_grpo" is "dapo" with ``divisor=B * T``. In torch, with the ratio r,
    ``-torch.minimum(r * A, r.clamp(1 - epsilon, 1 + epsilon_high) * A).mean()``.

    References
    ----------
    Z. Shao et al., "DeepSeekMath: pushing the limits of mathematical reasoning in open language
    models", 2024 (the loss by sequences); Q. Yu et al., "DAPO: an open-source LLM reinforcement
    learning system at scale", 2025 (by tokens, and the second bound); J. Schulman et al., "Proximal
    policy optimization algorithms", 2017 (the surrogate).

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> log_probs = np.log([[0.5, 0.25], [0.5, 0.5]])
    >>> old = np.log([[0.5, 0.5], [0.25, 0.5]])
    >>> where = [[True, True], [True, False]]
    >>> fl.grpo_loss(log_probs, old, [1.0, 2.0], where=where)
    -1.3
    """
    operands = {"log_probs": log_probs, "old_log_probs": old_log_probs, "advantages": advantages}
    parameters = ratio_options(epsilon, epsilon_high, beta, ref_log_probs)
    if ref_log_probs is not None and parameters[2] != 0:
        operands["ref_log_probs"] = ref_log_probs
    return policy("grpo_loss", operands, parameters, where, loss_type, divisor, num_threads)
