"""Every loss of the NumPy API is in torch's front, as a function and a module, with its options."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from torch.nn import functional as torch_functional

import fusedloss as fl
from fusedloss.torch import functional
from module_cases import TORCH_NAMES, module_of

#: Functions of logits, not losses: torch has them, and its compilers fuse them.
NOT_LOSSES = {"softmax", "log_softmax", "logsumexp"}

#: Losses without a module, and why.
WITHOUT_MODULE = {
    "l1_penalty": "takes any number of parameters, and has no state",
    "l2_penalty": "takes any number of parameters, and has no state",
    "margin_cross_entropy": "takes cosines; the heads' modules own the weights",
}

#: Options of a NumPy function that the torch function has not, and why.
NOT_IN_FUNCTION = {
    "num_threads": "torch's own setting counts",
    "precision": "torch's own setting counts: torch.set_float32_matmul_precision",
}

#: Arguments of a function that its module neither takes nor is called with. The module owns the
#: statistics of a head and the bias of a layer, and signatures of torch have no weight.
#: `ref_embeddings` is called `ref_emb` in modules, as in pytorch-metric-learning.
NOT_IN_MODULE = {
    "adaptive_log_softmax_loss": {"bias", "outputs", "reduction"},  # it returns what torch's does
    "adaface_loss": {"norm_mean", "norm_std"},
    "curricularface_loss": {"t"},
    "dynamic_soft_margin_loss": {"histogram"},
    "linear_cross_entropy": {"linear_bias"},
    "huber_loss": {"weight"},
    "l1_loss": {"weight"},
    "mse_loss": {"weight"},
    "perceptual_loss": {"reduction"},  # that of its distance
}

LOSSES = [
    name
    for name in fl.__all__
    if hasattr(getattr(fl, name), "__fusedloss__") and name not in NOT_LOSSES
]


def defaults(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


@pytest.mark.parametrize("name", LOSSES)
def test_the_torch_function_has_the_options(name: str) -> None:
    """With the same defaults; functions that torch has keep its signature, without weights."""
    ours, torchs = defaults(getattr(fl, name)), defaults(getattr(functional, name))
    alias = {"logistic_loss": "soft_margin_loss"}.get(name, name)
    of_torch = {"weight", "sample_weight"} if hasattr(torch_functional, alias) else set()
    missing = set(ours) - set(torchs) - set(NOT_IN_FUNCTION)
    assert missing <= of_torch
    assert {key: torchs[key] for key in ours if key in torchs} == {
        key: ours[key] for key in ours if key in torchs
    }


@pytest.mark.parametrize("name", LOSSES)
def test_the_module_has_the_options(name: str) -> None:
    """Options in the constructor; what comes with each batch, or is owned, in `forward`."""
    module = module_of(name)
    if name in WITHOUT_MODULE:
        assert module is None
        return
    assert module is not None
    function = defaults(getattr(functional, name))
    built, called = defaults(module), inspect.signature(module.forward).parameters
    assert {key: built[key] for key in function if key in built} == {
        key: function[key] for key in function if key in built
    }
    taken = {"ref_embeddings" if key == "ref_emb" else key for key in called}
    assert set(function) - set(built) - taken == NOT_IN_MODULE.get(name, set())


def test_exceptions_exist() -> None:
    """What is excepted here is there, and needs the exception."""
    assert {*WITHOUT_MODULE, *TORCH_NAMES, *NOT_IN_MODULE} <= set(LOSSES)
    for option in NOT_IN_FUNCTION:
        assert any(option in defaults(getattr(fl, name)) for name in LOSSES)
