"""
Margins of softmax heads
========================

A margin-softmax head lowers the logit of the right class, so that an embedding has to come
nearer to its class than to all others by a margin. Drawn is that logit over the angle between
an embedding and its class, the cosine being dotted: the farther below it, the harder the head.
The other class is at a right angle, and the scale is 1.
"""

import matplotlib.pyplot as plt
import numpy as np

import fusedloss as fl
from families import colours

angle = np.linspace(0.02, np.pi - 0.02, 200)
weight = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # the right class, and another
first = np.zeros(1, np.int64)


def logit_of(head, norm=1.0, **options):
    """The logit of the right class: with one other, 0, the loss is log(1 + exp(-z))."""
    points = norm * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    losses = np.array([head(point[np.newaxis], weight, first, **options) for point in points])
    return -np.log(np.expm1(losses))


degrees = np.degrees(angle)
heads = {
    "normface_loss": [{"scale": 1.0}],
    "cosface_loss": [{"margin": m, "scale": 1.0} for m in (0.2, 0.35, 0.5)],
    "arcface_loss": [{"margin": m, "scale": 1.0} for m in (0.2, 0.5, 0.8)],
    "combined_margin_loss": [
        {"m1": m, "m2": 0.2, "m3": 0.1, "scale": 1.0} for m in (0.9, 1.0, 1.1)
    ],
    "sphereface_loss": [{"margin": m, "scale": 1.0} for m in (1.5, 1.7, 2.0)],
    "curricularface_loss": [{"margin": m, "scale": 1.0} for m in (0.2, 0.5, 0.8)],
    "adaface_loss": [
        {"norm": n, "scale": 1.0, "norm_mean": 20.0, "norm_std": 10.0} for n in (5.0, 20.0, 35.0)
    ],
    "magface_loss": [{"norm": n, "scale": 1.0, "lambda_g": 0.0} for n in (10.0, 60.0, 110.0)],
    "subcenter_arcface_loss": [{"margin": 0.5, "scale": 1.0, "sub_centers": 1}],
    "l2_softmax_loss": [{"alpha": 1.0}],
    "l_softmax_loss": [{"margin": m} for m in (1, 2, 4)],
    "a_softmax_loss": [{"margin": m} for m in (1, 2, 4)],
}
figure, grid = plt.subplots(3, 4, figsize=(12, 8), sharex=True, sharey=True, layout="constrained")
for axes, (name, variants) in zip(grid.flat, heads.items(), strict=True):
    axes.plot(degrees, np.cos(angle), color="black", linestyle=":", linewidth=1)
    for options, colour in zip(variants, colours(len(variants)), strict=True):
        drawn = [k for k in ("norm", "margin", "m1") if k in options]
        label = ", ".join(f"{k} = {options[k]:g}" for k in drawn)
        axes.plot(
            degrees, logit_of(getattr(fl, name), **options), color=colour, label=label or None
        )
    axes.set(title=name, ylim=(-3.2, 1.2), xticks=[0, 60, 120, 180])
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize="x-small", frameon=False)
figure.supxlabel("angle to the right class, degrees")
figure.supylabel("logit of the right class")
plt.show()
