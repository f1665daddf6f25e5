"""The torch that is needed: imported before anything that takes more of it."""

import torch

LEAST = (2, 13)

if tuple(map(int, torch.__version__.split(".")[:2])) < LEAST:
    raise ImportError(
        f"fusedloss.torch needs torch {LEAST[0]}.{LEAST[1]} or newer: "
        f"torch {torch.__version__} is installed"
    )
