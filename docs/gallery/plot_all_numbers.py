"""
Losses of numbers
=================

Each loss over its prediction, with its slope. Above, what counts is the error, the prediction
less the target: how fast a loss grows far away says how much an outlier weighs, and its slope
near zero how precisely the middle is fitted. Below, the target is 1: errors are relative, or
the prediction is the logarithm of a rate.
"""

import numpy as np

import fusedloss as fl
from families import Family, Path, draw

error = np.linspace(-3, 3, 241)
zero, one = np.zeros(1), np.ones(1)

draw(
    Path("error", error, error[:, np.newaxis]),
    [
        Family(fl.l1_loss, (zero,)),
        Family(fl.mse_loss, (zero,)),
        Family(fl.smooth_l1_loss, (zero,), "beta", (0.5, 1.0, 2.0)),
        Family(fl.huber_loss, (zero,), "delta", (0.5, 1.0, 2.0)),
        Family(fl.pseudo_huber_loss, (zero,), "delta", (0.5, 1.0, 2.0)),
        Family(fl.log_cosh_loss, (zero,)),
        Family(fl.epsilon_insensitive_loss, (zero,), "epsilon", (0.1, 0.5, 1.0)),
        Family(fl.quantile_loss, (zero,), "quantile", (0.1, 0.5, 0.9)),
        Family(fl.smooth_quantile_loss, (zero,), "quantile", (0.1, 0.5, 0.9)),
        Family(fl.gaussian_nll_loss, (zero, one)),
    ],
    columns=3,
)

# %%
# Of positive numbers
# -------------------
#
# The target is 1. `poisson_nll_loss`, `gamma_loss` and `tweedie_loss` take the logarithm of what
# they predict.

positive = np.linspace(0.05, 4, 241)
rate = np.linspace(-2, 2, 241)
of_logs = Path("logarithm of the prediction", rate, rate[:, np.newaxis])

draw(
    Path("prediction", positive, positive[:, np.newaxis]),
    [
        Family(fl.msle_loss, (one,)),
        Family(fl.mape_loss, (one,)),
        Family(fl.poisson_nll_loss, (one,), path=of_logs),
        Family(fl.gamma_loss, (one,), path=of_logs),
        Family(fl.tweedie_loss, (one,), "power", (1.1, 1.5, 1.9), path=of_logs),
    ],
    columns=3,
)
