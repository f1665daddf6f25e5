"""What the tests of the torch front share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
REDUCTIONS = ["none", "mean", "sum"]


def by_kernel(loss: Tensor) -> bool:
    """Whether a loss with a graph was computed by a kernel."""
    return "_Attached" in type(loss.grad_fn).__name__


def same_numbers(x: Any, dtype: Any = torch.float64) -> Any:
    """A float tensor's numbers in another dtype, outside of its graph; anything else as it is."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return x.detach().to(dtype)
    return x


def assert_close(actual: Tensor, truth: Tensor, size: float, magnitude: float = 0.0) -> None:
    """Float32 and float64 are off by a few ULP of the largest number involved, `size`.

    16-bit types are computed in float32 and rounded once: by half an ULP, or half the smallest
    number. `magnitude` is an error of that many float32 or float64 ULP more.
    """
    limits = torch.finfo(actual.dtype)
    wide = torch.finfo(torch.float64 if actual.dtype is torch.float64 else torch.float32)
    half = limits.eps / 2 if limits.bits == 16 else 0.0
    allowed = (
        16 * wide.eps * (size + magnitude) + half * truth.abs() + half * limits.smallest_normal
    )
    assert actual.shape == truth.shape
    error = (actual.double() - truth).abs()
    finite = truth.isfinite()
    assert torch.equal(actual.double()[~finite].nan_to_num(), truth[~finite].nan_to_num())
    assert bool((error <= allowed)[finite].all()), (error[finite].max(), allowed)


def outcome(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a call does: its result, or type and text of its error; and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result: Any = function(*arguments, **options)
        except Exception as error:
            result = type(error), str(error)
    return result, [(warning.category, str(warning.message)) for warning in caught]
