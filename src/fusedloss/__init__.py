"""Loss functions and their gradients in one cache-friendly pass, on the CPU."""

import typing as _typing

from fusedloss import _core as _core  # before what it uses, which uses it
from fusedloss._check import environment as _environment  # noqa: F401  # before anything else
from fusedloss.binary import *
from fusedloss.boxes import *
from fusedloss.classification import *
from fusedloss.contrastive import *
from fusedloss.divergence import *
from fusedloss.layers import *
from fusedloss.linear import *
from fusedloss.margin import *
from fusedloss.metric import *
from fusedloss.mining import *
from fusedloss.multiclass import *
from fusedloss.preference import *
from fusedloss.proxies import *
from fusedloss.ranking import *
from fusedloss.regression import *
from fusedloss.runtime import *
from fusedloss.sampling import *
from fusedloss.segmentation import *
from fusedloss.self_supervised import *
from fusedloss.sequences import *
from fusedloss.similarity import *
from fusedloss.transform import *
from fusedloss.tuplets import *

__version__: str


def __getattr__(name: str) -> str:
    """Return the version, which is not looked up before someone asks: that takes 10 ms."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    number = version(__name__)
    globals()[name] = number
    return number


if not _typing.TYPE_CHECKING:  # type checkers follow the stars by themselves
    __all__ = ["__version__"]
    __all__ += sorted(
        name
        for name, value in globals().items()
        if getattr(value, "__module__", "").startswith(__name__) and not name.startswith("_")
    )
