"""A user's program without mistakes: type checkers have nothing to say, and infer these types."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fusedloss as fl

logits = np.zeros((4, 3), np.float32)
target = np.array([0, 1, 2, 0])

assert_type(fl.cross_entropy(logits, target), float)
assert_type(fl.cross_entropy(logits, target, reduction="sum", label_smoothing=0.1), float)
assert_type(fl.cross_entropy([0.0, 1.0], 1, reduction="none"), NDArray[Any])
print(fl.cross_entropy(logits, target, reduction="none").shape)
value, extras = fl.cross_entropy([0.0, 1.0], 1, outputs=("lse", "accuracy"))
assert_type(extras, dict[str, NDArray[Any]])
assert_type(fl.softmax(logits, axis=1), NDArray[Any])
assert_type(fl.triplet_loss(logits, target, mining="hard"), float)

both = fl.value_and_grad(fl.cross_entropy)
assert_type(both(logits, target), tuple[float, NDArray[Any]])
assert_type(both([0.0, 1.0], 1, reduction="none"), tuple[NDArray[Any], NDArray[Any]])
print(both(logits, target, reduction="none")[0].shape)
assert_type(both(logits, target, out=np.empty_like(logits)), tuple[float, NDArray[Any]])
assert_type(both(logits, target, grad_output=2.0), tuple[float, NDArray[Any]])
assert_type(both(logits, target, grad_output=2.0, out=logits), tuple[float, NDArray[Any]])

several = fl.value_and_grad(fl.mse_loss, argnums=(0, 1))
assert_type(several(logits, logits), tuple[float, tuple[NDArray[Any], ...]])

gradient, hessian = fl.grad_and_hess(fl.cross_entropy)(logits, target)
assert_type(gradient, NDArray[Any])
