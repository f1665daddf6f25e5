"""Losses for torch: `torch.nn`'s and this package's own, computed by fused kernels on the CPU.

The functions are in `fusedloss.torch.functional`, the modules here.
"""

from fusedloss.torch import functional
from fusedloss.torch.modules import (
    CategoricalCrossEntropyLoss,
    CrossEntropyLoss,
    DistillationLoss,
    FocalLoss,
    NLLLoss,
    SoftCrossEntropyLoss,
)

__all__ = [
    "CategoricalCrossEntropyLoss",
    "CrossEntropyLoss",
    "DistillationLoss",
    "FocalLoss",
    "NLLLoss",
    "SoftCrossEntropyLoss",
    "functional",
]
