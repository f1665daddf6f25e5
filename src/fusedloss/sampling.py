"""Classes to train on, where all of them are too many."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._types import Array

__all__ = [
    "sample_classes",
]


def sample_classes(
    target: ArrayLike,
    num_classes: int,
    sample_rate: float,
    *,
    ignore_index: int = -1,
    seed: int | np.random.Generator | None = None,
) -> tuple[Array, Array]:
    """Choose the classes of a batch's targets and a random share of the others: Partial FC.

    A head or a linear layer that is given the rows ``weight[classes]`` and the targets among them
    has the gradient of these rows alone: the others' is zero.

    Parameters
    ----------
    target : array of integers
        Class indices in [0, num_classes).
    num_classes : int
        The number of all classes.
    sample_rate : float in (0, 1]
        The share of all classes to choose, at least one; those of the targets are chosen in any
        case.
    ignore_index : int, default -1
        A target that is no class.
    seed : int or numpy.random.Generator, optional
        What the choice depends on; another one in each call if absent.

    Returns
    -------
    tuple of arrays
        The chosen classes in rising order, and the targets as indices into them, in the target's
        shape; where ignored they are `ignore_index`.

    Raises
    ------
    TypeError
        If the target is no array of integers.
    ValueError
        If `sample_rate` is no share.
    IndexError
        For a class index that is out of range and not `ignore_index`.

    Notes
    -----
    With torch the rows are ``torch.nn.functional.embedding(classes, weight, sparse=True)``, whose
    gradient is a sparse tensor: the option `sample_rate` of the modules.

    References
    ----------
    .. [1] X. An et al., "Killing Two Birds with One Stone: Efficient and Robust Training of Face
       Recognition CNNs by Partial FC", 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> classes, target = fl.sample_classes(np.array([7, 2, 7]), 10, 0.4, seed=0)
    >>> len(classes), classes[target].tolist()
    (4, [7, 2, 7])
    """
    y = _check.class_labels(target, num_classes, ignore_index)
    rng = _check.generator("seed", seed)
    wanted = max(round(_check.sample_share("sample_rate", sample_rate) * num_classes), 1)
    counted = y != ignore_index
    chosen = np.zeros(num_classes, bool)
    chosen[y[counted]] = True
    others = np.flatnonzero(~chosen)
    missing = min(wanted - (num_classes - len(others)), len(others))
    if missing > 0:
        chosen[rng.choice(others, missing, replace=False)] = True
    classes = np.flatnonzero(chosen)
    among = np.full(y.shape, ignore_index, np.int64)
    among[counted] = np.searchsorted(classes, y[counted])
    return classes, among
