"""The formula of every loss, its gradient and diagonal Hessian in NumPy: the oracle of the tests.

Each function named like a public loss returns ``(value, gradient)``; benchmarks import them too.
"""

from reference.softmax_family import (
    EXPONENT_ULPS,
    LEAST,
    Result,
    categorical_cross_entropy,
    class_axis,
    cross_entropy,
    distillation_loss,
    evaluate,
    evaluate_helper,
    focal_loss,
    log_softmax,
    logsumexp,
    naive_cross_entropy,
    naive_log_softmax,
    nll_loss,
    outputs,
    soft_cross_entropy,
    softmax,
    softmax_of,
)

__all__ = [
    "EXPONENT_ULPS",
    "LEAST",
    "Result",
    "categorical_cross_entropy",
    "class_axis",
    "cross_entropy",
    "distillation_loss",
    "evaluate",
    "evaluate_helper",
    "focal_loss",
    "log_softmax",
    "logsumexp",
    "naive_cross_entropy",
    "naive_log_softmax",
    "nll_loss",
    "outputs",
    "soft_cross_entropy",
    "softmax",
    "softmax_of",
]
