"""What is found and not mended yet, by its message: to be empty.

A finding that matches is counted and not shown, so that it hides no other.
"""

KNOWN: tuple[str, ...] = ()
