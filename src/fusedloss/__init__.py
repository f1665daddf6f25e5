"""Loss functions and their gradients in one cache-friendly pass, on the CPU."""

from fusedloss import _core as _core  # before what it uses, which uses it
from fusedloss._check import environment as _environment  # noqa: F401  # before anything else
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
from fusedloss.contrastive import (
    circle_loss,
    clip_loss,
    info_nce_loss,
    multi_similarity_loss,
    ntxent_loss,
    siglip_loss,
    supcon_loss,
    tuplet_margin_loss,
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
from fusedloss.margin import (
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
from fusedloss.metric import (
    contrastive_loss,
    fast_ap_loss,
    generalized_lifted_structure_loss,
    lifted_structure_loss,
    margin_loss,
    nca_loss,
    ranked_list_loss,
    triplet_loss,
)
from fusedloss.mining import (
    mine_angular,
    mine_distance_weighted,
    mine_easy_hard,
    mine_hard,
    mine_hardest_share,
    mine_multi_similarity,
    mine_pair_margin,
    mine_semihard,
    mine_triplets,
    mine_uniform_histogram,
)
from fusedloss.multiclass import (
    categorical_hinge_loss,
    generalized_cross_entropy,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    poly1_cross_entropy,
    sparsemax_loss,
)
from fusedloss.proxies import proxy_anchor_loss, proxy_nca_loss, soft_triple_loss
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
    pseudo_huber_loss,
    quantile_loss,
    smooth_l1_loss,
    tweedie_loss,
)
from fusedloss.runtime import (
    empty_cache,
    get_include,
    get_num_threads,
    set_num_threads,
    show_config,
    threads,
)
from fusedloss.sampling import sample_classes
from fusedloss.segmentation import (
    dice_ce_loss,
    dice_loss,
    focal_tversky_loss,
    generalized_dice_loss,
    iou_loss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    tversky_loss,
)
from fusedloss.sequences import ctc_loss
from fusedloss.similarity import (
    cosine_embedding_loss,
    cosine_similarity_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from fusedloss.transform import grad_and_hess, value_and_grad
from fusedloss.tuplets import angular_loss, histogram_loss, n_pairs_loss

__version__: str


def __getattr__(name: str) -> str:
    """Return the version, which is not looked up before someone asks: that takes 10 ms."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    number = version(__name__)
    globals()[name] = number
    return number


__all__ = [
    "__version__",
    "a_softmax_loss",
    "adaface_loss",
    "angular_loss",
    "arcface_loss",
    "asymmetric_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "categorical_hinge_loss",
    "circle_loss",
    "clip_loss",
    "combined_margin_loss",
    "contrastive_loss",
    "cosface_loss",
    "cosine_embedding_loss",
    "cosine_similarity_loss",
    "cross_entropy",
    "ctc_loss",
    "curricularface_loss",
    "dice_ce_loss",
    "dice_loss",
    "distillation_loss",
    "empty_cache",
    "exponential_loss",
    "fast_ap_loss",
    "focal_loss",
    "focal_tversky_loss",
    "gamma_loss",
    "gaussian_nll_loss",
    "generalized_cross_entropy",
    "generalized_dice_loss",
    "generalized_lifted_structure_loss",
    "get_include",
    "get_num_threads",
    "grad_and_hess",
    "hinge_embedding_loss",
    "hinge_loss",
    "histogram_loss",
    "huber_loss",
    "info_nce_loss",
    "iou_loss",
    "js_div",
    "kl_div",
    "l1_loss",
    "l1_penalty",
    "l2_penalty",
    "l2_softmax_loss",
    "l_softmax_loss",
    "lifted_structure_loss",
    "linear_cross_entropy",
    "log_cosh_loss",
    "log_softmax",
    "logistic_loss",
    "logsumexp",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "magface_loss",
    "mape_loss",
    "margin_cross_entropy",
    "margin_loss",
    "margin_ranking_loss",
    "mine_angular",
    "mine_distance_weighted",
    "mine_easy_hard",
    "mine_hard",
    "mine_hardest_share",
    "mine_multi_similarity",
    "mine_pair_margin",
    "mine_semihard",
    "mine_triplets",
    "mine_uniform_histogram",
    "mse_loss",
    "msle_loss",
    "multi_margin_loss",
    "multi_similarity_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "n_pairs_loss",
    "nca_loss",
    "nll_loss",
    "normface_loss",
    "ntxent_loss",
    "perceptual_loss",
    "poisson_nll_loss",
    "poly1_cross_entropy",
    "proxy_anchor_loss",
    "proxy_nca_loss",
    "pseudo_huber_loss",
    "quantile_loss",
    "ranked_list_loss",
    "ranking_softmax_loss",
    "sample_classes",
    "set_num_threads",
    "show_config",
    "siglip_loss",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_cross_entropy",
    "soft_margin_loss",
    "soft_triple_loss",
    "softmax",
    "sparsemax_loss",
    "sphereface_loss",
    "squared_hinge_loss",
    "subcenter_arcface_loss",
    "supcon_loss",
    "threads",
    "total_variation_loss",
    "triplet_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "tuplet_margin_loss",
    "tversky_loss",
    "tweedie_loss",
    "value_and_grad",
    "zero_one_loss",
]
