"""Losses for torch: `torch.nn`'s and this package's own, computed by fused kernels on the CPU.

The functions are in `fusedloss.torch.functional`, the modules here; `enable` puts the functions in
the places of those of `torch.nn.functional`.
"""

from fusedloss.torch import _requirement, functional, modules  # noqa: F401
from fusedloss.torch.enabling import disable, enable, enabled
from fusedloss.torch.modules import *  # noqa: F403
from fusedloss.torch.transformers import patch_transformers

__all__ = [
    *modules.__all__,
    "disable",
    "enable",
    "enabled",
    "functional",
    "patch_transformers",
]
