"""What is found and not mended yet, by its message: to be empty.

A finding that matches is counted and not shown, so that it hides no other.
"""

KNOWN: tuple[str, ...] = (
    # None, an empty array or an array of labels in place of what is expected
    r"AttributeError: .* has no attribute",
    r"SystemError: fusedloss: .* was not taken",
    r"SystemError: fusedloss: arguments that passed every check were not taken",
    r"SystemError: .*: no value is out of range",
    # integers of hundreds of digits as options, and what NumPy says of NaN in a miner's input
    r"OverflowError: ",
    r"ZeroDivisionError: ",
    r"RuntimeWarning: ",
    # options that are not of their type
    r"names no argument: ValueError: The truth value of an array",
    r"names no argument: TypeError: SeedSequence expects",
)
