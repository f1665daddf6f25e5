"""Losses for torch: `torch.nn`'s and this package's own, computed by fused kernels on the CPU.

The functions are in `fusedloss.torch.functional`, the modules here.
"""

from fusedloss.torch import _requirement, functional, modules  # noqa: F401
from fusedloss.torch.modules import *  # noqa: F403

__all__ = [*modules.__all__, "functional"]
