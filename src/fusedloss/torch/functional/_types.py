"""Types of arguments and results."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

from fusedloss._types import Output

Loss: TypeAlias = Tensor | tuple[Tensor, dict[str, Tensor]]
Outputs: TypeAlias = tuple[Output, ...]
Indices: TypeAlias = tuple[Tensor, ...] | None
