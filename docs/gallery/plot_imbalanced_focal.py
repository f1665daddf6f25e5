"""
The focal loss on imbalanced data
=================================

One handwritten digit in a hundred is an 8: which are they? Two boosted models of scikit-learn are
trained on the same trees but for their loss: the binary cross-entropy, and the sigmoid focal loss,
under which the many images that are easily told apart count less. Both rank the images by their
raw prediction; precision and recall are those of held-out images, over eight ways of splitting.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.model_selection import train_test_split

import fusedloss as fl
from fusedloss.sklearn import Loss

digits, numbers = load_digits(return_X_y=True)
is_eight = numbers == 8
losses = {
    "cross-entropy": Loss(fl.binary_cross_entropy_with_logits),
    "focal, gamma = 2": Loss(fl.sigmoid_focal_loss, gamma=2.0, alpha=None),
}

targets: list[np.ndarray] = []
scores: dict[str, list[np.ndarray]] = {name: [] for name in losses}
for seed in range(8):
    train, test = train_test_split(
        np.arange(len(digits)), test_size=0.5, stratify=is_eight, random_state=seed
    )
    eights = train[is_eight[train]]
    train = np.setdiff1d(train, eights[8:])  # eight of them are left in training
    targets.append(is_eight[test])
    for name, loss in losses.items():
        model = HistGradientBoostingClassifier(
            loss=loss, max_iter=60, max_leaf_nodes=8, min_samples_leaf=5
        )
        model.fit(digits[train], is_eight[train])
        scores[name].append(model.decision_function(digits[test]).ravel())

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
averages = {}
for name, colour in zip(losses, ["tab:grey", "tab:blue"], strict=True):
    averages[name] = [average_precision_score(*x) for x in zip(targets, scores[name], strict=True)]
    recalls = np.linspace(0, 1, 101)
    curves = []
    for target, score in zip(targets, scores[name], strict=True):
        precision, recall, _ = precision_recall_curve(target, score)
        curves.append(np.interp(recalls, recall[::-1], precision[::-1]))
    label = f"{name}: {np.mean(averages[name]):.2f}"
    left.plot(recalls, np.mean(curves, axis=0), color=colour, label=label)
left.set(xlabel="recall", ylabel="precision, mean of all splits", ylim=(0, 1.02))
left.legend(title="average precision")

right.plot([0, 1], [0, 1], color="lightgrey", zorder=0)
right.scatter(averages["cross-entropy"], averages["focal, gamma = 2"], color="tab:blue")
right.set(xlabel="average precision, cross-entropy", ylabel="average precision, focal")
low = min(map(min, averages.values())) - 0.03
right.set(xlim=(low, 1), ylim=(low, 1), title="every split")
plt.show()
