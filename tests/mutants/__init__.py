"""Faults that are planted one at a time, and that the tests have to notice: `make mutants`.

`table.py` lists them; `__main__.py` builds a copy of the sources that has them all, each behind a
switch, and runs tests with one switched on after the other.
"""
