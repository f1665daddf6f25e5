"""The examples that the frameworks' documentation works out, with the digits that it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl

LOGITS = [
    [0.8, 0.5, 0.2, 0.5],
    [0.2, 0.9, 0.3, 0.2],
    [0.4, 0.3, 0.7, 0.1],
    [0.1, 0.2, 0.4, 0.8],
]

#: Loss, prediction, target, options, the value, and half a unit of its last digit.
EXAMPLES: dict[str, tuple[str, Any, Any, dict[str, Any], Any, float]] = {
    "categorical cross-entropy": (
        "categorical_cross_entropy",
        [[0.05, 0.95, 0], [0.1, 0.8, 0.1]],
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        {},
        1.176939,
        5e-7,
    ),
    # Keras' is -log(0.6 + 1e-7), less by 1.7e-7, and computed in float32, which is good to 6e-8
    "binary cross-entropy": (
        "binary_cross_entropy",
        [[0.4], [0.6]],
        [[0.0], [1.0]],
        {},
        0.5108254,
        3e-7,
    ),
    "mean absolute error": ("l1_loss", [[0.0], [0.0]], [[1.0], [1.0]], {}, 1.0, 0),
    "mean squared error": ("mse_loss", [[0.0], [1.0]], [[1.0], [1.0]], {}, 0.5, 0),
    "Huber": ("huber_loss", [[0.6], [0.4]], [[0.0], [1.0]], {"delta": 1.0}, 0.18, 1e-15),
    "rows of cross-entropy": (
        "cross_entropy",
        LOGITS,
        [0, 1, 2, 3],
        {"reduction": "none"},
        [1.1087, 0.9329, 1.0852, 0.9991],
        5e-5,
    ),
    "rows of cross-entropy, one-hot": (
        "cross_entropy",
        LOGITS,
        np.eye(4),
        {"reduction": "none"},
        [1.1087, 0.9329, 1.0852, 0.9991],
        5e-5,
    ),
    "cross-entropy": ("cross_entropy", LOGITS, [0, 1, 2, 3], {}, 1.0314708, 5e-8),
    "cross-entropy, one-hot": ("cross_entropy", LOGITS, np.eye(4), {}, 1.0314708, 5e-8),
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str, dtype: str) -> None:
    loss, prediction, target, options, expected, digit = EXAMPLES[name]
    actual = getattr(fl, loss)(np.array(prediction, dtype), target, **options)
    # the inputs' own roundings to float32, of a loss of about 1
    rounded = 2 * np.finfo(dtype).eps if dtype == "float32" else 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=digit + rounded)
