"""Raise an error for invalid environment variables at import, except for `fusedloss info`."""

import os
import sys
from itertools import pairwise

from fusedloss import _core


def _asked_for_info() -> bool:
    """Whether this process is ``fusedloss info`` or ``python -m fusedloss info``."""
    names = (os.path.splitext(os.path.basename(word))[0] for word in sys.orig_argv)
    return ("fusedloss", "info") in pairwise(names)


if _core.ENVIRONMENT_PROBLEMS and not _asked_for_info():
    raise ValueError("; ".join(_core.ENVIRONMENT_PROBLEMS))
