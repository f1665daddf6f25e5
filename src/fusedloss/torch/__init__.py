"""Losses for torch: `torch.nn`'s and this package's own, computed by fused kernels on the CPU.

The functions are in `fusedloss.torch.functional`, the modules here; `enable` puts the functions in
the places of those of `torch.nn.functional`.
"""

import typing as _typing

from fusedloss.torch import _requirement, enabling, modules, transformers  # noqa: F401
from fusedloss.torch import functional as functional
from fusedloss.torch.enabling import *
from fusedloss.torch.modules import *
from fusedloss.torch.transformers import *

if not _typing.TYPE_CHECKING:  # type checkers follow the stars by themselves
    __all__ = sorted(["functional", *modules.__all__, *enabling.__all__, *transformers.__all__])
