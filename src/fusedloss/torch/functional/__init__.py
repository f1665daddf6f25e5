"""Losses of tensors: those of `torch.nn.functional`, and this package's own.

On plain tensors in this machine's memory they run on this package's kernels, with as many threads
as torch uses. For everything else, bad input included, torch's own operations give the answer, or
the error. All of them are differentiable twice.
"""

from fusedloss.torch.functional.binary import (
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
from fusedloss.torch.functional.classification import (
    categorical_cross_entropy,
    cross_entropy,
    distillation_loss,
    focal_loss,
    nll_loss,
    soft_cross_entropy,
)
from fusedloss.torch.functional.divergence import js_div, kl_div, total_variation_loss
from fusedloss.torch.functional.layers import l1_penalty, l2_penalty, perceptual_loss
from fusedloss.torch.functional.linear import linear_cross_entropy
from fusedloss.torch.functional.margin import (
    a_softmax_loss,
    adaface_loss,
    arcface_loss,
    combined_margin_loss,
    cosface_loss,
    curricularface_loss,
    l2_softmax_loss,
    l_softmax_loss,
    magface_loss,
    margin_cross_entropy,
    normface_loss,
    sphereface_loss,
    subcenter_arcface_loss,
)
from fusedloss.torch.functional.ranking import hinge_embedding_loss, margin_ranking_loss
from fusedloss.torch.functional.regression import (
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

__all__ = [
    "a_softmax_loss",
    "adaface_loss",
    "arcface_loss",
    "asymmetric_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "combined_margin_loss",
    "cosface_loss",
    "cross_entropy",
    "curricularface_loss",
    "distillation_loss",
    "exponential_loss",
    "focal_loss",
    "gamma_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "js_div",
    "kl_div",
    "l1_loss",
    "l1_penalty",
    "l2_penalty",
    "l2_softmax_loss",
    "l_softmax_loss",
    "linear_cross_entropy",
    "log_cosh_loss",
    "logistic_loss",
    "magface_loss",
    "mape_loss",
    "margin_cross_entropy",
    "margin_ranking_loss",
    "mse_loss",
    "msle_loss",
    "nll_loss",
    "normface_loss",
    "perceptual_loss",
    "poisson_nll_loss",
    "quantile_loss",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_cross_entropy",
    "soft_margin_loss",
    "sphereface_loss",
    "squared_hinge_loss",
    "subcenter_arcface_loss",
    "total_variation_loss",
    "tweedie_loss",
    "zero_one_loss",
]
