"""
Losses of pairs
===============

An embedding moves round a circle, away from the class that it belongs to. Two embeddings of its
class are at 0 and 20 degrees, two of another class at 90 and 120 degrees. Drawn is the loss of
all five over the angle in radians, and its slope: where a pull begins, where it is strongest,
and where it ends. In the second view that VICReg and Barlow Twins take, the embedding is at 10
degrees.
"""

import numpy as np

import fusedloss as fl
from families import Family, Path, draw


def at(radians):
    """The points of a circle."""
    return np.stack([np.cos(radians), np.sin(radians)], axis=-1)


angle = np.linspace(-1, 3.5, 271)
moving = at(angle)[:, np.newaxis]
resting = np.broadcast_to(at(np.radians([0, 20, 90, 120])), (len(angle), 4, 2))
labels = np.array([0, 0, 0, 1, 1])
view = at(np.radians([10, 0, 20, 90, 120]))
proxies, first = at(np.radians([10, 105])), np.zeros(1, np.int64)
of_class, of_other = at(np.radians([10])), at(np.radians([105]))

total = {"reduction": "sum"}  # the means are of what is not 0

draw(
    Path("angle", angle, np.concatenate([moving, resting], axis=1)),
    [
        Family(fl.contrastive_loss, (labels,), "neg_margin", (0.5, 1.0, 1.5), total),
        Family(fl.triplet_loss, (labels,), "margin", (0.1, 0.3, 0.6), total),
        Family(fl.margin_loss, (labels,), "beta", (0.8, 1.0, 1.2), total),
        Family(fl.nca_loss, (labels,), "softmax_scale", (1.0, 4.0, 16.0)),
        Family(fl.lifted_structure_loss, (labels,)),
        Family(fl.generalized_lifted_structure_loss, (labels,)),
        Family(fl.n_pairs_loss, (labels,)),
        Family(fl.instance_loss, (labels,), "gamma", (4.0, 16.0, 64.0)),
        Family(fl.angular_loss, (labels,), "alpha", (35.0, 40.0, 45.0)),
        Family(fl.ntxent_loss, (labels,), "temperature", (0.1, 0.2, 0.5)),
        Family(fl.supcon_loss, (labels,), "temperature", (0.1, 0.2, 0.5)),
        Family(fl.multi_similarity_loss, (labels,)),
        Family(fl.circle_loss, (labels,), "m", (0.2, 0.4, 0.6), {"gamma": 8.0}),
        Family(fl.tuplet_margin_loss, (labels,), "scale", (4.0, 16.0, 64.0)),
        Family(fl.intra_pair_variance_loss, (labels,)),
        Family(
            fl.threshold_consistent_margin_loss, (labels,), "margin_minus", (0.3, 0.5, 0.7), total
        ),
        Family(fl.ranked_list_loss, (labels,)),
        Family(fl.fast_ap_loss, (labels,)),
        Family(fl.dynamic_soft_margin_loss, (labels,), "num_bins", (5, 10, 40)),
        Family(fl.histogram_loss, (labels,), "n_bins", (5, 10, 20)),
        Family(fl.smooth_ap_loss, (labels,), "temperature", (0.01, 0.1, 0.3)),
        Family(fl.pnp_loss, (labels,)),
        Family(fl.vicreg_loss, (view,), "covariance_v", (1.0, 10.0, 50.0)),
        Family(fl.barlow_twins_loss, (view,), "lambd", (0.0051, 0.2, 1.0)),
    ],
)

# %%
# Proxies and rows of two towers
# ------------------------------
#
# Here one embedding moves; the proxies of its class and of the other are at 10 and 105 degrees,
# and so are the rows of the second tower.

pair = np.concatenate([moving, np.broadcast_to(of_other, (len(angle), 1, 2))], axis=1)
of_pairs = Path("angle", angle, pair)

draw(
    Path("angle", angle, moving),
    [
        Family(fl.proxy_nca_loss, (proxies, first)),
        Family(fl.proxy_anchor_loss, (proxies, first), "margin", (0.0, 0.1, 0.3), {"alpha": 8.0}),
        Family(fl.p2s_grad_loss, (proxies, first)),
        Family(fl.soft_triple_loss, (proxies, first), options={"centers_per_class": 1}),
        Family(fl.info_nce_loss, (proxies,), "temperature", (0.1, 0.2, 0.5), path=of_pairs),
        Family(fl.clip_loss, (proxies,), path=of_pairs),
        Family(fl.siglip_loss, (proxies,), path=of_pairs),
        Family(fl.triplet_margin_loss, (of_class, of_other), "margin", (0.2, 0.5, 1.0)),
        Family(fl.triplet_margin_with_distance_loss, (of_class, of_other)),
        Family(fl.cosine_similarity_loss, (of_class,)),
        Family(fl.cosine_embedding_loss, (of_other, -np.ones(1)), "margin", (0.0, 0.3, 0.6)),
    ],
)
