"""Losses as operators of torch, which compilers and transforms take as they are.

A call that torch traces, transforms or only pretends to compute cannot run a kernel: there is no
memory to run it on. Such a call becomes an operator of the namespace `fusedloss`, named after the
function and with its arguments. torch runs the operator when there is memory, batches it, and
differentiates it; the operator calls the function.
"""
