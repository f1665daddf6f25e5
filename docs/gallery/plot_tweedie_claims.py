"""
Claims: many zeros and a few large sums
=======================================

Most insured cars cost nothing in a year, and a few cost a lot. The cost is a sum of a random number
of random claims, which has Tweedie's distribution. Claims are simulated here, from the driver's age
and the car's power, so that the true expected cost is known. The Tweedie loss learns its logarithm:
predicted costs are positive, and a driver of twice the cost may be twice as far off. The squared
error follows the few large sums.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

import fusedloss as fl
from fusedloss.sklearn import Loss

rng = np.random.default_rng(0)
n = 20_000
age, power = rng.uniform(18, 80, n), rng.uniform(0, 1, n)


def expected_cost(age: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Claims per year times the mean of one."""
    return 0.15 * np.exp(1.2 * np.exp(-(age - 18) / 12) + 0.8 * power) * 1000


claims = rng.poisson(expected_cost(age, power) / 1000)
cost = np.array([rng.gamma(0.7, 1000 / 0.7, size=k).sum() for k in claims])
features = np.stack([age, power], axis=1)

losses = {
    "Tweedie loss, power 1.6": Loss(fl.tweedie_loss, power=1.6),
    "squared error": Loss(fl.mse_loss),
}
grid = np.linspace(18, 80, 300)
figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for panel, (name, loss) in zip(panels, losses.items(), strict=True):
    model = HistGradientBoostingRegressor(loss=loss, max_iter=60, max_leaf_nodes=12)
    model.fit(features, cost)
    error = np.mean(np.abs(model.predict(features) - expected_cost(age, power)))
    for level, colour in zip([0.1, 0.9], ["tab:blue", "tab:orange"], strict=True):
        at = np.stack([grid, np.full_like(grid, level)], axis=1)
        panel.plot(grid, expected_cost(grid, np.full_like(grid, level)), ":", color=colour)
        panel.plot(grid, model.predict(at), color=colour, label=f"power {level}")
    panel.axhline(0, color="lightgrey", zorder=0)
    panel.set(title=f"{name}\nmean distance from the true cost: {error:.0f}", xlabel="age")
panels[0].set_ylabel("expected cost (dotted: the truth)")
panels[0].legend()
plt.show()
