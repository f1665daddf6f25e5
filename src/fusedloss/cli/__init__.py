"""The commands behind ``python -m fusedloss``.

One module per command (info, bench, demo: a package with a module per part), each with
``add_command``; what they share is in the modules with an underscore. Importing ``fusedloss``
imports none of them.
"""
