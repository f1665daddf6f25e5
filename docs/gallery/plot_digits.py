"""
A classifier of handwritten digits
==================================

One hidden layer, trained in plain NumPy. The loss gives the gradient in the logits; two matrix
products take it back to the weights.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fusedloss as fl

HIDDEN, EPOCHS, BATCH, LEARNING_RATE = 64, 30, 32, 0.2

rng = np.random.default_rng(0)
images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32)
order = rng.permutation(len(labels))
train, test = order[:-400], order[-400:]

weights = rng.standard_normal((64, HIDDEN), dtype=np.float32) / 8
head = np.zeros((HIDDEN, 10), dtype=np.float32)
value_and_grad = fl.value_and_grad(fl.cross_entropy)

# %%
# The gradient overwrites the logits, which nobody needs any more: ``out=logits``.

losses, held_out = [], []
for _ in range(EPOCHS):
    for batch in np.array_split(rng.permutation(train), len(train) // BATCH):
        hidden = np.maximum(images[batch] @ weights, 0)
        logits = hidden @ head
        loss, grad_logits = value_and_grad(logits, labels[batch], out=logits)
        grad_hidden = (grad_logits @ head.T) * (hidden > 0)
        head -= LEARNING_RATE * hidden.T @ grad_logits
        weights -= LEARNING_RATE * images[batch].T @ grad_hidden
    for rows, curve in [(train, losses), (test, held_out)]:
        logits = np.maximum(images[rows] @ weights, 0) @ head
        curve.append(fl.cross_entropy(logits, labels[rows]))
guess = logits.argmax(axis=1)
accuracy = (guess == labels[test]).mean()

# %%
# The logits are now those of the digits held out.

figure, axes = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
axes.semilogy(range(1, EPOCHS + 1), losses, label="training")
axes.semilogy(range(1, EPOCHS + 1), held_out, label="held out")
axes.set(title=f"{accuracy:.1%} of the digits held out are read right", xlabel="epoch")
axes.set_ylabel("cross_entropy")
axes.legend()
plt.show()

# %%
# The loss of each digit, ``reduction="none"``, finds those that it is most wrong about.

worst = fl.cross_entropy(logits, labels[test], reduction="none").argsort()[::-1]
figure, places = plt.subplots(1, 6, figsize=(9, 2), layout="constrained")
for axes, row in zip(places, worst, strict=False):
    axes.imshow(images[test[row]].reshape(8, 8), cmap="gray_r")
    axes.set(title=f"{labels[test[row]]}, read as {guess[row]}", xticks=[], yticks=[])
plt.show()
