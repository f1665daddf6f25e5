"""What training on raw predictions takes of a loss: link, targets, best constant, Hessians."""

from fusedloss._training.kinds import KINDS, KINDS_OF_LISTS, Hessian, Kind
from fusedloss._training.raw_loss import HESSIANS, RawLoss, as_column, options_of_a_loss
from fusedloss._training.targets import as_classes, checked, refuse

__all__ = [
    "HESSIANS",
    "KINDS",
    "KINDS_OF_LISTS",
    "Hessian",
    "Kind",
    "RawLoss",
    "as_classes",
    "as_column",
    "checked",
    "options_of_a_loss",
    "refuse",
]
