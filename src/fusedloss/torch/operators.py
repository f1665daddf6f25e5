"""Operators of torch: `torch.ops.fusedloss` has them once this module is imported.

A compiled, exported or transformed call of a loss is an operator with the loss's name and
arguments. Whoever makes such a call need not import anything; a program that was exported and is
loaded elsewhere finds its operators only if that process has imported this module.
"""

from fusedloss.torch._operators import table  # noqa: F401
