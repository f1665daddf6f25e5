"""
Wrong labels and the generalised cross-entropy
==============================================

A share of the labels of handwritten digits is replaced by others at random. The cross-entropy is
largest for labels that a model finds impossible, as it finds wrong ones. The generalised
cross-entropy of Zhang and Sabuncu (2018), which is the cross-entropy at q = 0 and the mean absolute
error at q = 1, never exceeds 1 / q. Both train the same linear model. The accuracy is measured on
held-out digits with their true labels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fusedloss as fl
from fusedloss.sklearn import LinearClassifier

digits, numbers = load_digits(return_X_y=True)
train, test, labels, truth = train_test_split(
    digits / 16, numbers, test_size=0.5, stratify=numbers, random_state=0
)
models = {
    "cross-entropy": LinearClassifier(fl.cross_entropy, alpha=1e-3),
    "generalised, q = 0.7": LinearClassifier(
        fl.generalized_cross_entropy, loss_options={"q": 0.7}, alpha=1e-3
    ),
}
shares = np.linspace(0, 0.6, 7)

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for name, model in models.items():
    accuracies = []
    for share in shares:
        of_share = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            wrong = rng.random(len(labels)) < share
            noisy = np.where(wrong, (labels + rng.integers(1, 10, len(labels))) % 10, labels)
            of_share.append(model.fit(train, noisy).score(test, truth))
        accuracies.append(np.mean(of_share))
    axes.plot(shares, accuracies, "o-", label=name)
axes.set(xlabel="share of wrong labels in training", ylabel="accuracy on true labels")
axes.legend()
plt.show()
