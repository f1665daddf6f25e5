"""Types of arguments and results."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor

Reduction: TypeAlias = Literal["none", "mean", "sum"]
Loss: TypeAlias = Tensor | tuple[Tensor, dict[str, Tensor]]
Outputs: TypeAlias = tuple[Literal["lse", "entropy", "accuracy"], ...]
Indices: TypeAlias = tuple[Tensor, ...] | None
