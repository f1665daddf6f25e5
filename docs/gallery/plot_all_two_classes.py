"""
Losses of two classes
=====================

Each loss over the raw prediction, its logit, where the right class is the positive one. To the
left a prediction is wrong: the slope there says how hard it is pulled. To the right it is
right: where the slope ends, nothing more is learnt from it. (`logistic_loss` is
`soft_margin_loss`.)
"""

import numpy as np

import fusedloss as fl
from families import Family, Path, draw

logit = np.linspace(-4, 4, 241)
one = np.ones(1)

draw(
    Path("logit", logit, logit[:, np.newaxis]),
    [
        Family(fl.binary_cross_entropy_with_logits, (one,), "label_smoothing", (0.0, 0.1, 0.3)),
        Family(fl.soft_margin_loss, (one,)),
        Family(fl.sigmoid_focal_loss, (one,), "gamma", (0.0, 1.0, 2.0), {"alpha": None}),
        Family(fl.asymmetric_loss, (one,), "gamma_pos", (0.0, 1.0, 2.0)),
        Family(fl.hinge_loss, (one,)),
        Family(fl.squared_hinge_loss, (one,)),
        Family(fl.perceptron_loss, (one,)),
        Family(fl.exponential_loss, (one,)),
        Family(fl.binary_sparsemax_loss, (one,)),
        Family(fl.hinge_embedding_loss, (-one,), "margin", (0.5, 1.0, 2.0)),
        Family(fl.margin_ranking_loss, (np.zeros(1), one), "margin", (0.0, 1.0, 2.0)),
    ],
)

# %%
# Of a probability
# ----------------
#
# `binary_cross_entropy` takes the probability itself. The divergences compare it with another
# one, 0.5 here; `kl_div` and `generalized_kl_div` take its logarithm. (`zero_one_loss`, 0 or 1,
# has no slope to draw.)

chance = np.linspace(0.05, 0.99, 189)
half = np.full(1, 0.5)
of_logs = Path("its logarithm", np.log(chance), np.log(chance)[:, np.newaxis])
draw(
    Path("probability of the right class", chance, chance[:, np.newaxis]),
    [
        Family(fl.binary_cross_entropy, (one,)),
        Family(fl.js_div, (half,)),
        Family(fl.total_variation_loss, (half,)),
        Family(fl.kl_div, (half,), path=of_logs),
        Family(fl.generalized_kl_div, (half,), path=of_logs),
    ],
    columns=3,
)
