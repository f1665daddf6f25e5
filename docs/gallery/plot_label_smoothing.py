"""
What label smoothing does
=========================

Without it, the loss falls for as long as the logit of the right class grows: a network that is
right already is still asked for larger weights. Smoothing spreads a share of the target over all
classes, and the loss is least at a finite logit, marked here.
"""

import matplotlib.pyplot as plt
import numpy as np

import fusedloss as fl

CLASSES = 10

logit = np.linspace(-2, 12, 500)
logits = np.zeros((len(logit), CLASSES))
logits[:, 0] = logit
target = np.zeros(len(logit), dtype=np.int64)

figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
for smoothing in [0.0, 0.05, 0.1, 0.2]:
    loss = fl.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
    (line,) = axes.plot(logit, loss, label=f"label_smoothing = {smoothing:g}")
    if smoothing > 0:
        axes.plot(logit[loss.argmin()], loss.min(), "o", color=line.get_color())
axes.set(
    xlabel=f"logit of the right class, those of the other {CLASSES - 1} being 0",
    ylabel="cross_entropy",
    ylim=(0, None),
)
axes.legend()
plt.show()
