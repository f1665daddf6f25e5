"""Loss functions and their gradients in one cache-friendly pass, on the CPU."""

from importlib.metadata import version as _version

from fusedloss.classification import cross_entropy, log_softmax, logsumexp, softmax
from fusedloss.runtime import (
    get_include,
    get_num_threads,
    set_num_threads,
    show_config,
    threads,
)
from fusedloss.transform import value_and_grad

__version__ = _version("fusedloss")

__all__ = [
    "__version__",
    "cross_entropy",
    "get_include",
    "get_num_threads",
    "log_softmax",
    "logsumexp",
    "set_num_threads",
    "show_config",
    "softmax",
    "threads",
    "value_and_grad",
]
