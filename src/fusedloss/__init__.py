"""Loss functions and their gradients in one cache-friendly pass, on the CPU."""

from importlib.metadata import version as _version

from fusedloss.binary import (
    asymmetric_loss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    exponential_loss,
    hinge_loss,
    logistic_loss,
    sigmoid_focal_loss,
    soft_margin_loss,
    squared_hinge_loss,
    zero_one_loss,
)
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
from fusedloss.divergence import (
    js_div,
    kl_div,
    total_variation_loss,
)
from fusedloss.layers import (
    l1_penalty,
    l2_penalty,
    perceptual_loss,
)
from fusedloss.linear import linear_cross_entropy
from fusedloss.multiclass import (
    categorical_hinge_loss,
    generalized_cross_entropy,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    poly1_cross_entropy,
    sparsemax_loss,
)
from fusedloss.ranking import hinge_embedding_loss, margin_ranking_loss, ranking_softmax_loss
from fusedloss.regression import (
    gamma_loss,
    gaussian_nll_loss,
    huber_loss,
    l1_loss,
    log_cosh_loss,
    mape_loss,
    mse_loss,
    msle_loss,
    poisson_nll_loss,
    quantile_loss,
    smooth_l1_loss,
    tweedie_loss,
)
from fusedloss.runtime import (
    get_include,
    get_num_threads,
    set_num_threads,
    show_config,
    threads,
)
from fusedloss.similarity import (
    cosine_embedding_loss,
    cosine_similarity_loss,
    triplet_margin_loss,
)
from fusedloss.transform import grad_and_hess, value_and_grad

__version__ = _version("fusedloss")

__all__ = [
    "__version__",
    "asymmetric_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "categorical_hinge_loss",
    "cosine_embedding_loss",
    "cosine_similarity_loss",
    "cross_entropy",
    "distillation_loss",
    "exponential_loss",
    "focal_loss",
    "gamma_loss",
    "gaussian_nll_loss",
    "generalized_cross_entropy",
    "get_include",
    "get_num_threads",
    "grad_and_hess",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "js_div",
    "kl_div",
    "l1_loss",
    "l1_penalty",
    "l2_penalty",
    "linear_cross_entropy",
    "log_cosh_loss",
    "log_softmax",
    "logistic_loss",
    "logsumexp",
    "mape_loss",
    "margin_ranking_loss",
    "mse_loss",
    "msle_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "perceptual_loss",
    "poisson_nll_loss",
    "poly1_cross_entropy",
    "quantile_loss",
    "ranking_softmax_loss",
    "set_num_threads",
    "show_config",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_cross_entropy",
    "soft_margin_loss",
    "softmax",
    "sparsemax_loss",
    "squared_hinge_loss",
    "threads",
    "total_variation_loss",
    "triplet_margin_loss",
    "tweedie_loss",
    "value_and_grad",
    "zero_one_loss",
]
