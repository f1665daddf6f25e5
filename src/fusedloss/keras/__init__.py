"""The Keras front: the losses of `keras.losses`, this package's own, and layers that own weights.

Keras, and the backend that it was told to use, are imported with the first look at `losses` or
`layers`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["layers", "losses"]


def __getattr__(name: str) -> ModuleType:
    """Import `losses` or `layers`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
