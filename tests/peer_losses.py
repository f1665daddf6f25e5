"""Every loss of other packages, and how it is said here: the table of docs/guides/peers.md.

    python tests/peer_losses.py > docs/guides/peers_table.inc

The packages' own names are read from what is installed: test_coming.py fails when one of them has a
loss that has no row here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

#: The packages' modules of losses, and the modules here that have the same names.
MODULES = {
    "torch.nn": "fusedloss.torch",
    "keras.losses": "fusedloss.keras.losses",
    "optax.losses": "fusedloss.jax.optax",
    "pytorch_metric_learning.losses": "fusedloss.torch",
    "sklearn._loss.loss": "",
}

#: Which of their names are losses.
LOSSES: dict[str, Callable[[str, Any], bool]] = {
    "torch.nn": lambda name, x: isinstance(x, type) and "Loss" in name,
    "keras.losses": lambda name, x: isinstance(x, type) and name != "Loss",
    "optax.losses": lambda name, x: inspect.isfunction(x) and name != "smooth_labels",
    "pytorch_metric_learning.losses": lambda name, x: (
        isinstance(x, type) and not name.startswith("Base") and not name.endswith("Mixin")
    ),
    "sklearn._loss.loss": lambda name, x: (
        isinstance(x, type)
        and name.endswith(("Loss", "Error", "Identity"))
        and not name.startswith(("Base", "Cy"))
    ),
}

_OWN_WRAPPER = "as it is: it takes modules of this package"

#: What is said otherwise here; coming_from_pytorch_metric_learning.md has the options, too.
OTHERWISE = {
    "pytorch_metric_learning.losses.CrossBatchMemory": _OWN_WRAPPER,
    "pytorch_metric_learning.losses.LargeMarginSoftmaxLoss": "`fusedloss.torch.LSoftmaxLoss`",
    "pytorch_metric_learning.losses.MultipleLosses": _OWN_WRAPPER,
    "pytorch_metric_learning.losses.NormalizedSoftmaxLoss": "`fusedloss.torch.NormFaceLoss`",
    "pytorch_metric_learning.losses.SelfSupervisedLoss": _OWN_WRAPPER,
    "pytorch_metric_learning.losses.SignalToNoiseRatioContrastiveLoss": (
        '`fusedloss.torch.ContrastiveLoss(distance="snr")`'
    ),
    "pytorch_metric_learning.losses.SphereFaceLoss": "`fusedloss.torch.ASoftmaxLoss`",
    "pytorch_metric_learning.losses.SubCenterArcFaceLoss": "`fusedloss.torch.SubcenterArcFaceLoss`",
    "pytorch_metric_learning.losses.TripletMarginLoss": "`fusedloss.torch.TripletLoss`",
    "torch.nn.NLLLoss2d": "`fusedloss.torch.NLLLoss`",
    "sklearn._loss.loss.AbsoluteError": "`Loss(l1_loss)`",
    "sklearn._loss.loss.ExponentialLoss": "`Loss(exponential_loss)`",
    "sklearn._loss.loss.HalfBinomialLoss": "`Loss(binary_cross_entropy_with_logits)`",
    "sklearn._loss.loss.HalfGammaLoss": "`Loss(gamma_loss)`",
    "sklearn._loss.loss.HalfMultinomialLoss": "`Loss(cross_entropy, n_classes=n)`",
    "sklearn._loss.loss.HalfPoissonLoss": "`Loss(poisson_nll_loss)`",
    "sklearn._loss.loss.HalfSquaredError": "`Loss(mse_loss)`",
    "sklearn._loss.loss.HalfTweedieLoss": "`Loss(tweedie_loss, power=p)`",
    "sklearn._loss.loss.HuberLoss": "`Loss(huber_loss, delta=d)`",
    "sklearn._loss.loss.PinballLoss": "`Loss(quantile_loss, quantile=q)`",
}

#: What has no counterpart here, and what comes nearest.
ABSENT = {
    "pytorch_metric_learning.losses.GenericPairLoss": "a base class of one's own losses",
    "sklearn._loss.loss.HalfTweedieLossIdentity": "`Loss(tweedie_loss, power=p)` has a log link",
}


def names(module: str) -> list[str]:
    """The losses of a package that is installed."""
    found = importlib.import_module(module)
    return sorted(name for name in dir(found) if LOSSES[module](name, getattr(found, name)))


def here(module: str, name: str) -> str | None:
    """How a loss is said here; None if nothing is known of it."""
    full = f"{module}.{name.removesuffix('ArrayAPI')}"
    if full in OTHERWISE:
        return OTHERWISE[full]
    if full in ABSENT:
        return f"not here; {ABSENT[full]}" if ABSENT[full] else "not here"
    own = MODULES[module]
    if own and hasattr(importlib.import_module(own), name):
        return f"`{own}.{name}`"
    return None


def table() -> Iterator[str]:
    """The lines of the tables in Markdown."""
    for module in MODULES:
        yield f"## {module}"
        yield ""
        if module == "sklearn._loss.loss":
            yield "`Loss` is that of `fusedloss.sklearn`; losses are those of `fusedloss`."
            yield ""
        yield f"| `{module}` | here |"
        yield "| --- | --- |"
        for name in names(module):
            yield f"| `{name}` | {here(module, name)} |"
        yield ""


if __name__ == "__main__":
    print("\n".join(table()), end="")
