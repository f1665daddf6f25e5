"""The Keras that is needed: imported before anything that takes more of it."""

import keras

LEAST = (3, 15)

if tuple(map(int, keras.__version__.split(".")[:2])) < LEAST:
    raise ImportError(
        f"fusedloss.keras needs Keras {LEAST[0]}.{LEAST[1]} or newer: "
        f"Keras {keras.__version__} is installed"
    )
