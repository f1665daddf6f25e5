"""
How CTC aligns a sequence
=========================

`ctc_loss` is given the labels of a sequence, not when each of them occurs. Its gradient by the
logits is each frame's probabilities less the chance, over all alignments, that the frame
belongs to each label. As a network learns, these alignments grow sharp. Here gradient descent
on the logits themselves aligns four labels to thirty frames, each of which has left a faint
trace.
"""

import matplotlib.pyplot as plt
import numpy as np

import fusedloss as fl

labels, frames, classes = np.array([[1, 2, 2, 3]]), 30, 4
rng = np.random.default_rng(0)
logits = 0.3 * rng.normal(size=(frames, 1, classes))
for label, start in zip(labels[0], (3, 9, 16, 23), strict=True):
    logits[start : start + 4, 0, label] += 1.5

lengths = np.array([frames]), np.array([labels.shape[1]])
call = fl.value_and_grad(fl.ctc_loss)
panels = {}
for step in range(61):
    log_probs = fl.log_softmax(logits, axis=-1)
    loss, gradient = call(log_probs, labels, *lengths, reduction="sum")
    if step in (0, 5, 60):
        panels[f"step {step}: loss {loss:.2f}"] = (np.exp(log_probs) - gradient)[:, 0].T
    logits -= gradient  # as in torch, that by the logits whose log_softmax is given

figure, grid = plt.subplots(3, 1, figsize=(9, 6), sharex=True, layout="constrained")
for axes, (title, alignment) in zip(grid, panels.items(), strict=True):
    image = axes.imshow(alignment, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_title(title, fontsize="medium")
    axes.set_yticks(range(classes), ["blank", "label 1", "label 2", "label 3"])
grid[-1].set_xlabel("frame")
figure.colorbar(image, ax=grid, label="chance that the frame belongs to it")
plt.show()
