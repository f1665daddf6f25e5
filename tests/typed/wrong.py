"""A user's program with mistakes: type checkers find one in every line that says so."""

import numpy as np

import fusedloss as fl

logits = np.zeros((4, 3), np.float32)
target = np.array([0, 1, 2, 0])

fl.cross_entropy(logits)  # mistake: the target is missing
fl.cross_entropy(logits, target, label_smooting=0.1)  # mistake: the option is misspelt
fl.cross_entropy(logits, target, reduction="avg")  # mistake: no such reduction
fl.cross_entropy(logits, target, None)  # mistake: options are keywords
fl.triplet_loss(logits, target, mining="soft")  # mistake: no such mining
fl.cross_entropy(logits, target).shape  # mistake: a float has no shape
fl.cross_entropy([0.0, 1.0], 1, reduction="none").hex()  # mistake: an array is no float

fl.value_and_grad(fl.cross_entropy)(logits)  # mistake: the target is missing
fl.value_and_grad(fl.cross_entropy)(logits, target, label_smooting=0.1)  # mistake: misspelt
fl.value_and_grad(fl.cross_entropy)(logits, target)[1].hex()  # mistake: an array is no float
fl.value_and_grad(fl.mse_loss, argnums=(0, 1))(logits, logits)[1].shape  # mistake: it is a tuple
fl.value_and_grad(len)  # mistake: no loss
fl.value_and_grad(fl.mse_loss, argnums="input")  # mistake: argnums are numbers
