"""Steps of Keras' `fit` with and without this package, on each of Keras' backends that trains.

    python benchmarks/keras_fit.py [backend ...]

A model of one layer of 1000 classes; rounds of either loss take turns, and what is printed is the
ratio of their medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

BATCH, FEATURES, CLASSES, STEPS, ROUNDS = 1024, 64, 1000, 10, 7


def model_with(loss: Any, activation: str | None) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(CLASSES, activation=activation)
    model = keras.Sequential([keras.Input((FEATURES,)), layer])
    model.compile("sgd", loss=loss)
    return model


def seconds_of_a_step(model: Any, x: Any, y: Any) -> float:
    start = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0, shuffle=False)
    return (time.perf_counter() - start) / STEPS


def measure(backend: str) -> None:
    """Print a row for each loss; Keras has the backend already."""
    import keras
    import numpy as np

    from fusedloss.keras import losses

    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, FEATURES)).astype("float32")
    labels = rng.integers(0, CLASSES, len(x)).astype("int32")
    rows = np.eye(CLASSES, dtype="float32")[labels]
    for name, y, options, activation in (
        ("SparseCategoricalCrossentropy", labels, {"from_logits": True}, None),
        ("SparseCategoricalCrossentropy", labels, {}, "softmax"),
        ("CategoricalCrossentropy", rows, {"from_logits": True}, None),
        ("CategoricalFocalCrossentropy", rows, {}, "softmax"),
        ("CategoricalFocalCrossentropy", rows, {"from_logits": True}, None),
        ("BinaryCrossentropy", rows, {"from_logits": True}, None),
        ("MeanSquaredError", rows, {}, None),
    ):
        models = [
            model_with(getattr(module, name)(**options), activation)
            for module in (losses, keras.losses)
        ]
        times: list[list[float]] = [[], []]
        for _ in range(ROUNDS + 1):
            for model, spent in zip(models, times, strict=True):
                spent.append(seconds_of_a_step(model, x, y))
        with_, without = (statistics.median(spent[1:]) for spent in times)
        what = f"{name}({', '.join(f'{k}={v}' for k, v in options.items())})"
        print(f"{backend:11} {what:48} {without / with_:5.2f} times", flush=True)


def main() -> None:
    """Measure in a process for each backend."""
    if os.environ.get("MEASURED_HERE"):
        return measure(sys.argv[1])
    for backend in sys.argv[1:] or ["jax", "tensorflow", "torch"]:
        environment = os.environ | {"KERAS_BACKEND": backend, "MEASURED_HERE": "1"}
        environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
        subprocess.run([sys.executable, __file__, backend], env=environment, check=True)
    return None


if __name__ == "__main__":
    main()
