"""Objectives in CatBoost, and in the Dask interfaces of LightGBM and XGBoost.

None of these is installed for the tests, being large: who has one runs its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from fusedloss.boosting import Objective
from parts import Array

datasets = pytest.importorskip("sklearn.datasets")

pytestmark = pytest.mark.long


# ---- CatBoost ------------------------------------------------------------------------------------

#: Theirs, ours, and whose targets.
CATBOOST: list[tuple[str, str, Callable[..., Any], str]] = [
    ("CatBoostClassifier", "Logloss", fl.binary_cross_entropy_with_logits, "load_breast_cancer"),
    ("CatBoostRegressor", "RMSE", fl.mse_loss, "load_diabetes"),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("model", "own", "loss", "name"), CATBOOST, ids=[r[1] for r in CATBOOST])
def test_catboost_grows_the_same_trees(
    model: str, own: str, loss: Callable[..., Any], name: str, weighted: bool
) -> None:
    """By Newton's steps, as custom objectives take them."""
    catboost = pytest.importorskip("catboost")
    features, target = getattr(datasets, name)(return_X_y=True)
    weight = np.linspace(0.5, 2, len(target)) if weighted else None
    found = []
    for objective in (own, Objective(loss).catboost):
        trained = getattr(catboost, model)(
            iterations=20,
            loss_function=objective,
            eval_metric=own,
            boost_from_average=False,
            leaf_estimation_method="Newton",
            leaf_estimation_iterations=1,
            bootstrap_type="No",
            random_seed=0,
            allow_writing_files=False,
            verbose=0,
        ).fit(features, target, sample_weight=weight)
        found.append(trained.predict(features, prediction_type="RawFormulaVal"))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-9)


def test_catboost_learns_several_classes() -> None:
    catboost = pytest.importorskip("catboost")
    features, target = datasets.load_iris(return_X_y=True)
    objective = Objective(fl.focal_loss, gamma=1.0)
    model = catboost.CatBoostClassifier(
        iterations=20,
        loss_function=objective.catboost,
        eval_metric="MultiClass",
        classes_count=3,
        allow_writing_files=False,
        verbose=0,
    ).fit(features, target)
    raw = model.predict(features, prediction_type="RawFormulaVal")
    assert (objective.predict(raw).argmax(1) == target).mean() > 0.95


# ---- Dask ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of two processes on this machine."""
    distributed = pytest.importorskip("distributed")
    pytest.importorskip("pandas")  # which LightGBM's Dask interface asks for
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


def parts(client: Any) -> tuple[Any, Any, Array, Array]:
    """Features and classes in two parts, and whole."""
    array = pytest.importorskip("dask.array")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1000, 5))
    classes = (features[:, 0] > 0).astype(int) + (features[:, 1] > 0.5)
    chunks = array.from_array(features, chunks=(500, 5)), array.from_array(classes, chunks=500)
    return *chunks, features, classes


def test_lightgbm_on_dask(client: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    X, y, features, classes = parts(client)
    objective = Objective(fl.cross_entropy)
    model = lightgbm.DaskLGBMClassifier(
        client=client, objective=objective.lightgbm, n_estimators=10, verbose=-1, num_class=3
    ).fit(X, y)
    raw = model.to_local().predict(features, raw_score=True)
    assert (objective.predict(raw).argmax(1) == classes).mean() > 0.95


def test_xgboost_on_dask(client: Any) -> None:
    xgboost = pytest.importorskip("xgboost.dask")
    X, y, features, classes = parts(client)
    objective = Objective(fl.cross_entropy)
    data = xgboost.DaskDMatrix(client, X, y)
    trained = xgboost.train(
        client, {"num_class": 3, "base_score": 0.0}, data, 10, obj=objective.xgboost
    )
    local = pytest.importorskip("xgboost")
    raw = trained["booster"].predict(local.DMatrix(features), output_margin=True)
    assert (objective.predict(raw).argmax(1) == classes).mean() > 0.95
