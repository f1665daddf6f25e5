"""A seeded random caller of every public function: `python -m fuzz`, or `make fuzz`.

`arguments.py` draws calls, of which `memory.py` places the arrays; `formulas.py` knows the answers;
`calls.py` makes a call and says what is wrong with it; `__main__.py` runs them in child processes.
"""
