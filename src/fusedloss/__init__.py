"""Loss functions and their gradients in one cache-friendly pass, on the CPU."""

from importlib.metadata import version as _version

from fusedloss.classification import (
    categorical_cross_entropy,
    cross_entropy,
    distillation_loss,
    focal_loss,
    log_softmax,
    logsumexp,
    nll_loss,
    soft_cross_entropy,
    softmax,
)
from fusedloss.regression import huber_loss, mse_loss
from fusedloss.runtime import (
    get_include,
    get_num_threads,
    set_num_threads,
    show_config,
    threads,
)
from fusedloss.transform import grad_and_hess, value_and_grad

__version__ = _version("fusedloss")

__all__ = [
    "__version__",
    "categorical_cross_entropy",
    "cross_entropy",
    "distillation_loss",
    "focal_loss",
    "get_include",
    "get_num_threads",
    "grad_and_hess",
    "huber_loss",
    "log_softmax",
    "logsumexp",
    "mse_loss",
    "nll_loss",
    "set_num_threads",
    "show_config",
    "soft_cross_entropy",
    "softmax",
    "threads",
    "value_and_grad",
]
