"""The losses of `fusedloss.torch.functional` as modules, and miners."""

import typing as _typing

from fusedloss.torch.modules.binary import *
from fusedloss.torch.modules.boxes import *
from fusedloss.torch.modules.classification import *
from fusedloss.torch.modules.contrastive import *
from fusedloss.torch.modules.divergence import *
from fusedloss.torch.modules.layers import *
from fusedloss.torch.modules.linear import *
from fusedloss.torch.modules.margin import *
from fusedloss.torch.modules.metric import *
from fusedloss.torch.modules.mining import *
from fusedloss.torch.modules.multiclass import *
from fusedloss.torch.modules.preference import *
from fusedloss.torch.modules.proxies import *
from fusedloss.torch.modules.ranking import *
from fusedloss.torch.modules.regression import *
from fusedloss.torch.modules.segmentation import *
from fusedloss.torch.modules.self_supervised import *
from fusedloss.torch.modules.sequences import *
from fusedloss.torch.modules.similarity import *
from fusedloss.torch.modules.tuplets import *

if not _typing.TYPE_CHECKING:  # type checkers follow the stars by themselves
    __all__ = sorted(
        name
        for name, value in globals().items()
        if getattr(value, "__module__", "").startswith(__name__) and not name.startswith("_")
    )
