"""
Losses of segmentation
======================

A disc is predicted to the left or to the right of where it is, with logits that fall off at its
rim. Losses of overlap see the area that is missed, whatever the size of the image: their slopes
do not vanish where most pixels are background.
"""

import matplotlib.pyplot as plt
import numpy as np

import fusedloss as fl
from families import Family, Path, draw

across = np.linspace(-1, 1, 32)
x, y = np.meshgrid(across, across)
mask = (np.hypot(x, y) < 0.4).astype(np.int64)[np.newaxis]


def predicted(shift):
    """Logits (2, 32, 32) of background and disc."""
    inside = 15 * (0.4 - np.hypot(x - shift, y))
    return np.stack([-inside / 2, inside / 2])


shift = np.linspace(-1, 1, 81)
logits = np.stack([predicted(s) for s in shift])[:, np.newaxis]
disc, of_disc = logits[:, :, 1:], mask[:, np.newaxis]

draw(
    Path("shift of the disc", shift, logits),
    [
        Family(fl.dice_loss, (mask,), "include_background", (True, False)),
        Family(fl.tversky_loss, (mask,), "alpha", (0.3, 0.5, 0.7)),
        Family(fl.focal_tversky_loss, (mask,), "gamma", (0.75, 1.0, 2.0)),
        Family(fl.iou_loss, (mask,)),
        Family(fl.generalized_dice_loss, (mask,), "weight_type", ("square", "simple", "uniform")),
        Family(fl.dice_ce_loss, (mask,), "lambda_ce", (0.0, 0.5, 1.0)),
        Family(fl.lovasz_softmax_loss, (mask,)),
        Family(fl.lovasz_hinge_loss, (of_disc,), path=Path("shift of the disc", shift, disc)),
    ],
)

# %%
# Which pixels are pulled
# -----------------------
#
# The gradient in the logit of the disc, which is predicted too far to the right: blue pixels
# are to become disc, red ones background.

wrong = predicted(0.3)[np.newaxis]
losses = (fl.cross_entropy, fl.focal_loss, fl.dice_loss, fl.tversky_loss, fl.lovasz_softmax_loss)
figure, grid = plt.subplots(1, 5, figsize=(12, 2.8), sharey=True, layout="constrained")
for axes, loss in zip(grid, losses, strict=True):
    gradient = fl.value_and_grad(loss)(wrong, mask)[1][0, 1]
    limit = np.abs(gradient).max()
    axes.imshow(gradient, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.contour(mask[0], [0.5], colors="black", linewidths=1)
    axes.contour(wrong[0, 1], [0], colors="black", linewidths=1, linestyles="--")
    axes.set(title=loss.__name__, xticks=[], yticks=[])
figure.supxlabel("solid: the disc, dashed: where it is predicted", fontsize="small")
plt.show()
