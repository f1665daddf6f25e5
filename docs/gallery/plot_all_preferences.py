"""
Preference and policy losses
============================

What a policy is taught by pairs of a chosen and a rejected answer, over the log-probability of
the chosen one; that of the rejected is -4, and the reference gives both -4. `grpo_loss` is
drawn over the logarithm of the ratio to the old policy, for an advantage of 1 and of -1: where
the ratio is clipped, the slope is 0.
"""

import numpy as np

import fusedloss as fl
from families import Family, Path, draw

log_prob = np.linspace(-8, -0.05, 240)
same = np.full(1, -4.0)
desirable = np.ones(1, bool)

draw(
    Path("log-probability of the chosen answer", log_prob, log_prob[:, np.newaxis]),
    [
        Family(fl.dpo_loss, (same, same, same), "beta", (0.1, 0.5, 1.0)),
        Family(fl.ipo_loss, (same, same, same), "beta", (0.1, 0.2, 0.5)),
        Family(fl.simpo_loss, (same,), "gamma", (0.0, 1.0, 2.0)),
        Family(fl.orpo_loss, (same,), "beta", (0.1, 0.5, 1.0)),
        Family(fl.cpo_loss, (same,), "beta", (0.1, 0.5, 1.0)),
        Family(fl.kto_loss, (same, desirable), "beta", (0.1, 0.5, 1.0)),
    ],
    columns=3,
)

# %%
# A clipped ratio
# ---------------

ratio = np.linspace(-0.8, 0.8, 241)
old = np.zeros((1, 1))
of_ratios = Path("logarithm of the ratio", ratio, ratio[:, np.newaxis, np.newaxis])
draw(
    of_ratios,
    [
        Family(fl.grpo_loss, (old, np.ones(1)), "epsilon", (0.1, 0.2, 0.4)),
        Family(fl.grpo_loss, (old, -np.ones(1)), "epsilon", (0.1, 0.2, 0.4)),
        Family(fl.grpo_loss, (old, np.ones(1)), "beta", (0.0, 0.5, 1.0), {"ref_log_probs": old}),
    ],
    columns=3,
)
