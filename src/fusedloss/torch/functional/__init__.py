"""Losses of tensors: those of `torch.nn.functional`, and this package's own.

On plain tensors in this machine's memory they run on this package's kernels, with as many threads
as torch uses. For everything else, bad input included, torch's own operations give the answer, or
the error. All of them are differentiable twice.
"""

import typing as _typing

from fusedloss.torch.functional.binary import *
from fusedloss.torch.functional.boxes import *
from fusedloss.torch.functional.classification import *
from fusedloss.torch.functional.contrastive import *
from fusedloss.torch.functional.divergence import *
from fusedloss.torch.functional.layers import *
from fusedloss.torch.functional.linear import *
from fusedloss.torch.functional.margin import *
from fusedloss.torch.functional.metric import *
from fusedloss.torch.functional.multiclass import *
from fusedloss.torch.functional.preference import *
from fusedloss.torch.functional.proxies import *
from fusedloss.torch.functional.ranking import *
from fusedloss.torch.functional.regression import *
from fusedloss.torch.functional.segmentation import *
from fusedloss.torch.functional.self_supervised import *
from fusedloss.torch.functional.sequences import *
from fusedloss.torch.functional.similarity import *
from fusedloss.torch.functional.tuplets import *

if not _typing.TYPE_CHECKING:  # type checkers follow the stars by themselves
    __all__ = sorted(
        name
        for name, value in globals().items()
        if getattr(value, "__module__", "").startswith(__name__) and not name.startswith("_")
    )
