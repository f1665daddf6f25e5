"""
Losses of many classes
======================

Three classes, of which the first is right; its logit or score moves, the others stay at 0. The
loss of a wrong prediction, to the left, says how much a wrong label can do; where the slope
ends, to the right, nothing more is learnt. `linear_cross_entropy` and
`linear_distillation_loss` are the first and the last of these, of a product that is not held.
"""

import numpy as np

import fusedloss as fl
from families import Family, Path, draw

logit = np.linspace(-5, 5, 241)
logits = np.zeros((len(logit), 1, 3))
logits[:, 0, 0] = logit
first = np.zeros(1, np.int64)
labels = np.array([[1, 0, 0]])
teacher = np.array([[2.0, 1.0, -1.0]])

draw(
    Path("logit of the right class", logit, logits),
    [
        Family(fl.cross_entropy, (first,), "label_smoothing", (0.0, 0.1, 0.3)),
        Family(fl.focal_loss, (first,), "gamma", (0.0, 1.0, 3.0)),
        Family(fl.poly1_cross_entropy, (first,), "epsilon", (-1.0, 0.0, 2.0)),
        Family(fl.sparsemax_loss, (first,)),
        Family(fl.multi_margin_loss, (first,), "margin", (0.5, 1.0, 2.0)),
        Family(fl.categorical_hinge_loss, (labels.astype(float),)),
        Family(fl.multilabel_margin_loss, (np.array([[0, -1, -1]]),)),
        Family(fl.multilabel_soft_margin_loss, (labels.astype(float),)),
        Family(fl.linear_binary_cross_entropy, (np.eye(3), first[:, np.newaxis])),
        Family(fl.ranking_softmax_loss, (labels.astype(float),)),
        Family(fl.soft_cross_entropy, (teacher,), "temperature", (1.0, 2.0, 4.0)),
        Family(fl.distillation_loss, (teacher,), "temperature", (1.0, 2.0, 4.0)),
    ],
)

# %%
# Of probabilities
# ----------------
#
# The other two classes share what is left. `nll_loss` takes logarithms.

chance = np.linspace(0.01, 0.99, 197)
probabilities = np.stack([chance, (1 - chance) / 2, (1 - chance) / 2], axis=-1)[:, np.newaxis]
draw(
    Path("probability of the right class", chance, probabilities),
    [
        Family(fl.categorical_cross_entropy, (first,), "label_smoothing", (0.0, 0.1, 0.3)),
        Family(fl.generalized_cross_entropy, (first,), "q", (0.1, 0.5, 1.0)),
        Family(fl.nll_loss, (first,), path=Path("probability", chance, np.log(probabilities))),
    ],
    columns=3,
)
