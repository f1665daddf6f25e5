"""
Where losses draw the line
==========================

Linear classifiers of three clouds, one of which has eight points with a wrong label far away. A
loss that grows with the distance, as the cross-entropy and the hinge do, turns its lines to win
them; the generalised cross-entropy, which is bounded, gives them up.
"""

import matplotlib.pyplot as plt
import numpy as np

import fusedloss as fl

rng = np.random.default_rng(0)
centres = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
points = np.concatenate([rng.normal(c, 0.7, (60, 2)) for c in centres])
classes = np.repeat(np.arange(3), 60)
wrong = rng.normal([5.0, 4.0], 0.3, (8, 2))
points, classes = np.concatenate([points, wrong]), np.append(classes, np.full(8, 1))
features = np.column_stack([points, np.ones(len(points))])


def of_softmax(scores, target):
    """The generalised cross-entropy takes probabilities: its gradient goes through the softmax."""
    p = fl.softmax(scores, axis=1)
    loss, by_p = fl.value_and_grad(fl.generalized_cross_entropy)(p, target, q=0.8)
    return loss, p * (by_p - (p * by_p).sum(1, keepdims=True))


losses = {
    "cross_entropy": fl.value_and_grad(fl.cross_entropy),
    "focal_loss": fl.value_and_grad(fl.focal_loss),
    "multi_margin_loss": fl.value_and_grad(fl.multi_margin_loss),
    "sparsemax_loss": fl.value_and_grad(fl.sparsemax_loss),
    "generalized_cross_entropy": of_softmax,
}
x, y = np.meshgrid(np.linspace(-5, 6.5, 200), np.linspace(-4, 5.5, 200))
plane = np.column_stack([x.ravel(), y.ravel(), np.ones(x.size)])

figure, grid = plt.subplots(1, 5, figsize=(14, 3.1), sharey=True, layout="constrained")
for axes, (name, call) in zip(grid, losses.items(), strict=True):
    weight = np.zeros((3, 3))
    for _ in range(400):
        weight -= 0.5 * features.T @ call(features @ weight, classes)[1]
    region = (plane @ weight).argmax(1).reshape(x.shape)
    axes.contourf(x, y, region, levels=[-0.5, 0.5, 1.5, 2.5], colors=["0.95", "0.8", "0.65"])
    for c, marker in enumerate("os^"):
        of_class = points[classes == c]
        axes.plot(*of_class.T, marker, markersize=3, markeredgecolor="black", color=f"C{c}")
    axes.set_title(name, fontsize="medium")
    right = ((features @ weight).argmax(1) == classes)[:180].mean()
    axes.set_xlabel(f"right without the wrong labels: {right:.0%}", fontsize="small")
plt.show()
