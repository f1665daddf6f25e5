"""What is in no listed pair counts nothing: values, gradients and the neighbours' gradients."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from parts import Array

#: Losses whose index tuples are the pairs that count. The negatives of angular_loss are all there
#: are, and the tuples of WEIGHING say how much each anchor counts.
WEIGHING = ["fast_ap_loss", "nca_loss", "smooth_ap_loss"]
LOSSES = [
    name
    for name in fl.__all__
    if hasattr(getattr(fl, name), "__fusedloss__")
    and "indices_tuple" in inspect.signature(getattr(fl, name)).parameters
    and name not in ("angular_loss", *WEIGHING)
]

LABELS = np.array([0, 0, 1, 1, 1, 2, 3, 4])
TUPLES = {
    "pairs": tuple(map(np.array, ([0, 1, 2], [1, 0, 4], [0, 1, 2], [3, 4, 5]))),
    "triplets": tuple(map(np.array, ([0, 1, 2], [1, 0, 4], [3, 4, 5]))),
}
STRANGER = 6  # in no pair
ODD = [np.nan, np.inf, -np.inf]


def arguments_of(name: str, kind: str, references: bool) -> dict[str, Any]:
    random = np.random.default_rng(5)
    parameters = inspect.signature(getattr(fl, name)).parameters
    arguments = {"embeddings": random.normal(size=(8, 5)), "labels": LABELS}
    if references:
        arguments |= {"ref_embeddings": random.normal(size=(8, 5)), "ref_labels": LABELS}
    assert arguments.keys() <= parameters.keys()
    return {**arguments, "indices_tuple": TUPLES[kind]}


def results(name: str, arguments: dict[str, Any]) -> tuple[float, list[Array]]:
    function = getattr(fl, name)
    numbers = [
        function.__fusedloss__.parameters.index(k)
        for k in ("embeddings", "ref_embeddings")
        if k in arguments
    ]
    value, gradients = fl.value_and_grad(function, numbers)(**arguments)
    return value, list(gradients)


def results_of_formula(name: str, arguments: dict[str, Any]) -> tuple[float, list[Array]]:
    """Of torch's operations, which second derivatives are taken of."""
    torch = pytest.importorskip("torch")
    from fusedloss.torch import functional as F

    given: dict[str, Any] = {
        k: tuple(map(torch.from_numpy, x)) if isinstance(x, tuple) else torch.from_numpy(x)
        for k, x in arguments.items()
    }
    wanted = [given[k].requires_grad_() for k in ("embeddings", "ref_embeddings") if k in given]
    value = getattr(F, name)(**given)
    gradients = torch.autograd.grad(value, wanted, create_graph=True)
    return value.item(), [x.detach().numpy() for x in gradients]


@pytest.mark.parametrize("front", [results, results_of_formula])
@pytest.mark.parametrize("references", [False, True])
@pytest.mark.parametrize("kind", TUPLES)
@pytest.mark.parametrize("name", LOSSES)
def test_strangers_hold_anything(name: str, kind: str, references: bool, front: Any) -> None:
    if references and "ref_embeddings" not in inspect.signature(getattr(fl, name)).parameters:
        return
    arguments = arguments_of(name, kind, references)
    value, gradients = front(name, arguments)
    for odd in ODD:
        for k, gradient in zip(("embeddings", "ref_embeddings"), gradients, strict=False):
            x = arguments[k].copy()
            x[STRANGER, 1] = odd
            found, others = front(name, arguments | {k: x})
            assert found == pytest.approx(value, rel=1e-12)
            for actual, expected in zip(others, gradients, strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-14)
            assert not gradient[STRANGER].any()


@pytest.mark.parametrize("front", [results, results_of_formula])
@pytest.mark.parametrize("name", [name for name in WEIGHING if name != "smooth_ap_loss"])
def test_anchors_of_weight_0_hold_anything(name: str, front: Any) -> None:
    """With references: without, they are references themselves."""
    arguments = arguments_of(name, "triplets", True)
    value, gradients = front(name, arguments)
    x = arguments["embeddings"].copy()
    x[STRANGER] = np.nan
    found, others = front(name, arguments | {"embeddings": x})
    assert found == pytest.approx(value, rel=1e-12)
    for actual, expected in zip(others, gradients, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", LOSSES + WEIGHING)
def test_what_is_no_array_is_named(name: str) -> None:
    """Also without labels, which the pairs stand for."""
    for references in (False, True):
        if references and "ref_embeddings" not in inspect.signature(getattr(fl, name)).parameters:
            continue
        arguments = arguments_of(name, "pairs", references)
        if name not in (*WEIGHING, "n_pairs_loss"):
            arguments |= {k: None for k in arguments if k.endswith("labels")}
        getattr(fl, name)(**arguments)
        for k in ("embeddings", "ref_embeddings", "indices_tuple")[: 2 + references]:
            for wrong in (1.0, "text", object(), [[1.0], [2.0, 3.0]], np.zeros(3)):
                if k in arguments:
                    with pytest.raises((TypeError, ValueError), match=rf"\b{k}\b"):
                        getattr(fl, name)(**arguments | {k: wrong})
