"""
Bands of quantiles
==================

How far will a disease have progressed in a year? The quantile loss draws the line below which a
given share of the patients stays, here by their body mass index. The lines of 0.1 and 0.9 bound a
band that holds 80 % of them. The linear model draws straight lines, boosted trees draw steps. The
titles say how many held-out patients are in the band.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import cross_val_predict

import fusedloss as fl
from fusedloss.sklearn import LinearRegressor, Loss

measured, progression = load_diabetes(return_X_y=True, scaled=False)
index = measured[:, [2]]
quantiles = 0.1, 0.5, 0.9
grid = np.linspace(index.min(), index.max(), 200)[:, np.newaxis]

models = {
    "LinearRegressor": [
        LinearRegressor(fl.quantile_loss, loss_options={"quantile": q}) for q in quantiles
    ],
    "HistGradientBoostingRegressor": [
        HistGradientBoostingRegressor(
            loss=Loss(fl.quantile_loss, quantile=q),
            max_iter=40,
            min_samples_leaf=40,
            max_leaf_nodes=4,
        )
        for q in quantiles
    ],
}

figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for panel, (name, three) in zip(panels, models.items(), strict=True):
    low, median, high = (model.fit(index, progression).predict(grid) for model in three)
    held_out = [cross_val_predict(model, index, progression, cv=5) for model in three]
    inside = np.mean((held_out[0] <= progression) & (progression <= held_out[2]))
    panel.scatter(index, progression, s=6, color="lightgrey")
    panel.fill_between(grid[:, 0], low, high, alpha=0.3, label="0.1 to 0.9")
    panel.plot(grid[:, 0], median, label="0.5")
    panel.set(title=f"{name}\n{inside:.0%} of held-out patients inside", xlabel="body mass index")
panels[0].set_ylabel("progression")
panels[0].legend(loc="upper left")
plt.show()
