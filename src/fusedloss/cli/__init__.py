"""The commands behind ``python -m fusedloss``.

One module per command (info, bench, demo), each with ``add_command`` and ``run``; what they share
is in the modules with an underscore. Importing ``fusedloss`` imports none of them.
"""
