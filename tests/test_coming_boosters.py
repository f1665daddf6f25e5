"""The page for those who come from scikit-learn or the boosters: each row of its tables is run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import ensemble, linear_model, metrics

import fusedloss as fl
from fusedloss.boosting import Objective
from fusedloss.sklearn import LinearClassifier, LinearRegressor, Loss
from test_boosting import LIGHTGBM, XGBOOST
from test_coming import DOCS, table

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="this copy has no documentation")

PAGE = "coming_from_boosters.md"
METRICS = table(PAGE, "Metrics of scikit-learn")
LINEAR = table(PAGE, "Linear models of scikit-learn")
BOOSTING = table(PAGE, "Losses of scikit-learn's gradient boosting")
OBJECTIVES: dict[str, Any] = {"lightgbm": LIGHTGBM, "xgboost": XGBOOST}
HEADINGS = {"lightgbm": "Objectives of LightGBM", "xgboost": "Objectives of XGBoost"}


def drawn() -> dict[str, Any]:
    """The arrays that the page has letters for."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 3))
    exponentials = np.exp(z)
    return {
        "X": rng.normal(size=(200, 4)),
        "t": rng.normal(size=200),
        "x": rng.normal(size=200),
        "r": rng.uniform(0.5, 2, 200),
        "n": rng.uniform(0.5, 3, 200),
        "y": rng.integers(3, size=200),
        "z": z,
        "P": exponentials / exponentials.sum(1, keepdims=True),
        "s": rng.choice([-1, 1], 200),
        "d": rng.normal(size=200),
        "w": rng.uniform(0.5, 2, 200),
    }


@pytest.mark.parametrize(("theirs", "ours"), METRICS, ids=[row[0] for row in METRICS])
def test_metrics(theirs: str, ours: str) -> None:
    names = {"M": metrics, "fl": fl, "np": np, **drawn()}
    # scikit-learn clips probabilities at float64's epsilon, and here 1e-7: these are larger
    assert eval(ours, names) == pytest.approx(eval(theirs, names), rel=1e-12)


def assert_same_model(theirs: Any, ours: Any, target: Any, rtol: float) -> None:
    features = drawn()["X"]
    made = [model.fit(features, target).predict(features) for model in (theirs, ours)]
    np.testing.assert_allclose(made[1], made[0], rtol=rtol, atol=rtol * np.abs(made[0]).max())
    if hasattr(theirs, "predict_proba"):
        chances = [model.predict_proba(features) for model in (theirs, ours)]
        np.testing.assert_allclose(chances[1], chances[0], atol=rtol)


def target_of(theirs: str) -> Any:
    kinds = {"Classifier": "y", "Logistic": "y", "oisson": "n", "amma": "n", "Tweedie": "n"}
    return drawn()[next((letter for name, letter in kinds.items() if name in theirs), "t")]


@pytest.mark.parametrize(("theirs", "ours"), LINEAR, ids=[row[0] for row in LINEAR])
def test_linear_models(theirs: str, ours: str) -> None:
    names: dict[str, Any] = {"linear": linear_model, "fl": fl}
    names |= {"LinearRegressor": LinearRegressor, "LinearClassifier": LinearClassifier}
    there = eval(theirs, names)
    if "tol" in there.get_params():
        there.set_params(tol=1e-8)
    # their solvers stop at about 1e-4 of the optimum; that of kinks, rounded off here, is flat
    rtol = 2e-2 if "Quantile" in theirs else 2e-3
    assert_same_model(there, eval(ours, names), target_of(theirs), rtol=rtol)


@pytest.mark.parametrize(("theirs", "ours"), BOOSTING, ids=[row[1] for row in BOOSTING])
def test_gradient_boosting(theirs: str, ours: str) -> None:
    names = {"boosting": ensemble, "fl": fl, "Loss": Loss}
    there, here = (eval(x, names).set_params(max_iter=5, random_state=0) for x in (theirs, ours))
    # the gradients are float32 there: their last digit moves a leaf as little
    assert_same_model(there, here, target_of(theirs), rtol=1e-5)


@pytest.mark.parametrize("library", HEADINGS)
def test_objectives(library: str) -> None:
    """Each can be made, and what is said to grow the same trees is what test_boosting.py tests."""
    text = (DOCS / PAGE).read_text().partition(f"## {HEADINGS[library]}\n")[2].partition("\n## ")[0]
    same = set()
    for name, ours in table(PAGE, HEADINGS[library]):
        objective = eval(ours, {"Objective": Objective, "fl": fl})
        assert callable(getattr(objective, library))
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        if "the same trees" in line:
            same.add((name, objective.loss.__name__))
    assert same == {
        (row[0], x.__name__)
        for row in OBJECTIVES[library]
        for x in row
        if hasattr(x, "__fusedloss__")
    }


def test_tables_are_read() -> None:
    assert [len(rows) for rows in (METRICS, LINEAR, BOOSTING)] == [14, 8, 6]
