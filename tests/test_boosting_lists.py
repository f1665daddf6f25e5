"""Boosters whose targets are no single column: lists of queries, and several labels."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from fusedloss._training.raw_loss import HESSIANS
from fusedloss.boosting import Objective
from parts import Array

lightgbm = pytest.importorskip("lightgbm")
xgboost = pytest.importorskip("xgboost")
metrics = pytest.importorskip("sklearn.metrics")

# ---- Derivatives of lists ------------------------------------------------------------------------

SIZES = np.array([3, 1, 0, 5, 3, 1, 2])
ITEMS = int(SIZES.sum())
of_item = np.repeat(np.arange(len(SIZES)), SIZES)


def lists(rng: np.random.Generator) -> tuple[Array, Array]:
    """Relevances, all 0 in one query, and scores."""
    relevance = rng.integers(0, 4, ITEMS).astype("float32")
    relevance[of_item == 4] = 0
    return relevance, rng.normal(size=ITEMS) * 3


def by_definition(relevance: Array, raw: Array) -> Array:
    """The loss of each query, in float64."""
    losses = np.zeros(len(SIZES))
    for k in range(len(SIZES)):
        z, t = raw[of_item == k], relevance[of_item == k]
        if len(z):
            losses[k] = np.sum(t * (np.log(np.sum(np.exp(z - z.max()))) + z.max() - z))
    return losses


@pytest.mark.parametrize("hessian", HESSIANS)
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_derivatives_of_lists(hessian: Any, library: str, rng: np.random.Generator) -> None:
    """Differences of the loss's definition, of which float64 keeps nine and six digits."""
    relevance, raw = lists(rng)
    objective = Objective(fl.ranking_softmax_loss, hessian=hessian)
    gradient, curvature = called(objective, library, relevance, raw, None)
    assert gradient.dtype == curvature.dtype == np.float32
    step = 1e-4
    for i in range(ITEMS):
        moved = np.eye(ITEMS)[i] * step
        below, at, above = (
            by_definition(relevance, raw + d).sum() for d in (-moved, 0 * moved, moved)
        )
        assert gradient[i] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-5)
        second = (above - 2 * at + below) / step**2
        total = relevance[of_item == of_item[i]].sum()
        if hessian == "constant":
            assert curvature[i] == total / 4 >= second - 1e-5
        else:
            assert curvature[i] == pytest.approx(second, rel=1e-4, abs=1e-5)
            assert curvature[i] >= (1e-6 / 4 * total * 0.999 if hessian == "positive" else 0)


def called(
    objective: Objective, library: str, relevance: Array, raw: Array, weight: Array | None
) -> tuple[Array, Array]:
    """Call an objective as a library's native interface does, with a data set of these queries."""
    features = np.zeros((ITEMS, 1))
    if library == "lightgbm":
        data = lightgbm.Dataset(features, relevance, group=SIZES, weight=weight)
        data.params = {"verbose": -1}
        return objective.lightgbm(raw, data.construct())
    data = xgboost.DMatrix(features, relevance, group=SIZES, weight=weight)
    return objective.xgboost(raw.astype("float32"), data)


def test_weights_of_items_and_of_queries(rng: np.random.Generator) -> None:
    """LightGBM has one for each item, XGBoost one for each query; the derivatives' factors."""
    relevance, raw = lists(rng)
    of_queries = rng.uniform(0.5, 2, len(SIZES))
    of_items = np.repeat(of_queries, SIZES)
    objective = Objective(fl.ranking_softmax_loss)
    for library, weight in (("lightgbm", of_items), ("xgboost", of_queries)):
        plain = called(objective, library, relevance, raw, None)
        for alone, weighted in zip(
            plain, called(objective, library, relevance, raw, weight), strict=True
        ):
            np.testing.assert_allclose(weighted, alone * of_items, rtol=1e-5)
    losses = by_definition(relevance, raw)
    assert objective.value(relevance, raw, group=SIZES) == pytest.approx(losses.mean())
    expected = np.average(losses, weights=of_queries * (SIZES > 0))
    assert objective.value(relevance, raw, of_items, SIZES) == pytest.approx(expected)
    name, value, higher = objective.lightgbm_metric(relevance, raw, of_items, SIZES)  # type: ignore[misc]
    assert (name, higher) == ("ranking_softmax_loss", False)
    assert value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (None, "group is missing"),
        ([], "group is missing"),
        ([3, 1], "group sums to 4: expected the sizes of queries, of 15 items"),
        ([16, -1], "group sums to 15"),
        ([7.5, 7.5], "group has dtype float64"),
        ([[15]], r"shape \(1, 1\)"),
    ],
)
def test_wrong_groups(group: Any, words: str) -> None:
    objective = Objective(fl.ranking_softmax_loss)
    with pytest.raises(ValueError, match=words):
        objective.lightgbm(np.zeros(15), np.zeros(15), None, group)


def test_what_else_is_wrong_of_lists() -> None:
    objective = Objective(fl.ranking_softmax_loss)
    with pytest.raises(ValueError, match=r"target\[1\] is -1.0: expected numbers of at least 0"):
        objective.lightgbm(np.array([0.0, -1.0]), np.zeros(2), None, [2])
    with pytest.raises(ValueError, match=r"weight has shape \(3,\): expected one for each of 2"):
        objective.lightgbm(np.zeros(2), np.zeros(2), np.ones(3), [2])
    with pytest.raises(ValueError, match="CatBoost hands out no groups"):
        _ = objective.catboost
    with pytest.raises(TypeError, match="no option 'where'"):
        Objective(fl.ranking_softmax_loss, where=[True])
    assert objective.initial([0.0, 3.0]) == 0


# ---- Learning to rank ----------------------------------------------------------------------------

QUERIES, TRAINING = 400, 300


@functools.cache
def table() -> tuple[Array, Array, Array, Array]:
    """Features, relevances from 0 to 4, queries and their sizes; queries differ in their level."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 30, QUERIES)
    query = np.repeat(np.arange(QUERIES), sizes)
    features = rng.normal(size=(len(query), 8))
    use = features[:, 0] + features[:, 1] * features[:, 2] + 0.5 * rng.normal(size=len(query))
    relevance = np.empty(len(query))
    for k in range(QUERIES):
        own = use[query == k]
        relevance[query == k] = np.floor(4 * (own.argsort().argsort() / (len(own) - 1)) ** 2)
    features[:, 3] += np.repeat(rng.normal(size=QUERIES) * 3, sizes)
    return features, relevance, query, sizes


def ndcg(scores: Array) -> float:
    """The gain among the first five, of queries that were held out; 1 is perfect."""
    _, relevance, query, _ = table()
    return float(
        np.mean(
            [
                metrics.ndcg_score([2 ** relevance[query == k] - 1], [scores[query == k]], k=5)
                for k in range(TRAINING, QUERIES)
            ]
        )
    )


def test_lightgbm_ranks() -> None:
    """As well as its own cross-entropy of lists; its lambdas see what is measured."""
    features, relevance, query, sizes = table()
    training = query < TRAINING
    options = {"verbose": -1, "num_threads": 2, "num_leaves": 15}
    found = {}
    objective = Objective(fl.ranking_softmax_loss)
    for what, target in (
        (objective.lightgbm, 2**relevance - 1),
        ("rank_xendcg", relevance),
        ("lambdarank", relevance),
    ):
        data = lightgbm.Dataset(features[training], target[training], group=sizes[:TRAINING])
        model = lightgbm.train(options | {"objective": what}, data, 50)
        found[what] = ndcg(model.predict(features, raw_score=True))
    assert found[objective.lightgbm] > found["rank_xendcg"] - 0.01
    assert found[objective.lightgbm] > found["lambdarank"] - 0.03

    ranker = lightgbm.LGBMRanker(
        objective=objective.lightgbm, n_estimators=50, num_leaves=15, n_jobs=2, verbose=-1
    )
    gains = 2 ** relevance[training] - 1
    ranker.fit(
        features[training],
        gains,
        group=sizes[:TRAINING],
        eval_X=features[training],
        eval_y=gains,
        eval_group=[sizes[:TRAINING]],
        eval_metric=objective.lightgbm_metric,
    )
    raw = ranker.predict(features)
    assert ndcg(raw) == pytest.approx(found[objective.lightgbm])
    watched = ranker.evals_result_["valid_0"]["ranking_softmax_loss"][-1]
    value = objective.value(gains, raw[training], group=sizes[:TRAINING])
    assert watched == pytest.approx(value, rel=1e-5)


def test_xgboost_ranks() -> None:
    """As well as its own objectives, at its own rate of learning."""
    features, relevance, query, _ = table()
    training = query < TRAINING
    options = {"nthread": 2, "max_depth": 4}
    objective = Objective(fl.ranking_softmax_loss)
    every = xgboost.DMatrix(features)
    data = xgboost.DMatrix(features[training], 2 ** relevance[training] - 1, qid=query[training])
    watched: dict[str, Any] = {}
    model = xgboost.train(
        options | {"base_score": 0.0, "disable_default_eval_metric": True},
        data,
        50,
        obj=objective.xgboost,
        custom_metric=objective.xgboost_metric,
        evals=[(data, "training")],
        evals_result=watched,
        verbose_eval=False,
    )
    ours = ndcg(model.predict(every, output_margin=True))
    losses = watched["training"]["ranking_softmax_loss"]
    assert losses[-1] < losses[0]
    data = xgboost.DMatrix(features[training], relevance[training], qid=query[training])
    for own in ("rank:pairwise", "rank:ndcg"):
        model = xgboost.train(options | {"objective": own}, data, 50)
        assert ours > ndcg(model.predict(every, output_margin=True)) - 0.03, own


# ---- Several labels ------------------------------------------------------------------------------


@functools.cache
def labels() -> tuple[Array, Array]:
    """Features, and three labels that a sample may have at once."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(800, 6))
    scores = features @ rng.normal(size=(6, 3)) + rng.normal(size=(800, 3))
    return features, (scores > [0, 0.5, -1]).astype(float)


@pytest.mark.parametrize("weighted", [False, True])
def test_xgboost_of_several_labels(weighted: bool) -> None:
    """It keeps them, and its own objective takes them: the same trees, by either interface."""
    features, target = labels()
    weight = np.linspace(0.5, 2, len(target)) if weighted else None
    objective = Objective(fl.binary_cross_entropy_with_logits)
    options = {"nthread": 2, "max_depth": 3}
    data = xgboost.DMatrix(features, target, weight=weight)
    own = options | {"objective": "binary:logistic", "base_score": 0.5}
    expected = xgboost.train(own, data, 10).predict(data, output_margin=True)
    ours = options | {"base_score": 0.0, "num_target": 3}
    raw = xgboost.train(ours, data, 10, obj=objective.xgboost).predict(data, output_margin=True)
    np.testing.assert_allclose(raw, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(objective.predict(raw), 1 / (1 + np.exp(-raw)), rtol=1e-5)

    model = xgboost.XGBRegressor(
        objective=objective.xgboost, n_estimators=10, n_jobs=2, max_depth=3, base_score=0
    ).fit(features, target, sample_weight=weight)
    np.testing.assert_allclose(model.predict(features), raw, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_lightgbm_of_several_labels(weighted: bool) -> None:
    """It keeps one column: a function brings the others. The trees are those of a model each."""
    features, target = labels()
    weight = np.linspace(0.5, 2, len(target)) if weighted else None
    objective = Objective(fl.binary_cross_entropy_with_logits)
    options = {"verbose": -1, "num_threads": 2, "num_leaves": 7, "boost_from_average": False}
    options |= {"deterministic": True, "force_row_wise": True}

    def of_all(raw: Array, data: Any) -> tuple[Array, Array]:
        return objective.lightgbm(target, raw, data.get_weight())

    data = lightgbm.Dataset(features, target[:, 0], weight=weight)
    start = objective.initial(target, weight)
    assert np.shape(start) == (3,)
    trained = lightgbm.train(options | {"objective": of_all, "num_class": 3}, data, 10)
    raw = trained.predict(features, raw_score=True)
    for k in range(3):
        data = lightgbm.Dataset(features, target[:, k], weight=weight)
        own = lightgbm.train(options | {"objective": "binary"}, data, 10)
        expected = own.predict(features, raw_score=True)
        np.testing.assert_allclose(raw[:, k], expected, rtol=1e-6, atol=1e-6)
