"""Rows divided by their norms, as the kernels do it, in torch's differentiable operations."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_rows(x: Tensor, root: float = 2.0, least: float = 0.0) -> Tensor:
    """Divide rows by their norms, or by `least` where that is more; a zero row's gradient is 0.

    Rows whose powers would over- or underflow are scaled first.
    """
    most = x.detach().abs().amax(-1, keepdim=True)
    far = torch.finfo(x.dtype).max ** 0.25
    zero = most == 0
    ordinary = ((most > 1 / far) & (most < far)) | zero | (most == torch.inf)
    unit = torch.where(ordinary, 1, 1 / most)
    scaled = (x * unit).masked_fill(zero, 1)
    norm = torch.linalg.vector_norm(scaled, root, -1, keepdim=True).maximum(least * unit)
    result: Tensor = (scaled / norm).masked_fill(zero, 0)
    return result
