"""
What gamma does in the focal loss
=================================

The focal loss is the cross-entropy times :math:`(1 - p)^\\gamma`, where p is the probability of
the right class. Rows that are classified well already count less, so that many easy ones do not
drown the few hard ones. With gamma 0 it is the cross-entropy.
"""

import matplotlib.pyplot as plt
import numpy as np

import fusedloss as fl

# Two classes; the softmax of (z, 0) gives the first one the probability p.
p = np.linspace(0.005, 0.995, 400)
logits = np.stack([np.log(p / (1 - p)), np.zeros_like(p)], axis=1)
target = np.zeros(len(p), dtype=np.int64)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
colours = plt.colormaps["viridis"](np.linspace(0, 0.85, 5))
for gamma, colour in zip([0, 0.5, 1, 2, 5], colours, strict=True):
    loss, gradient = fl.value_and_grad(fl.focal_loss)(logits, target, gamma=gamma, reduction="none")
    left.plot(p, loss, color=colour, label=f"gamma = {gamma:g}")
    right.plot(p, -gradient[:, 0], color=colour)
left.set(title="loss", xlabel="probability of the right class", ylim=(0, 5))
right.set(title="pull on its logit", xlabel="probability of the right class", ylim=(0, None))
left.legend()
plt.show()
