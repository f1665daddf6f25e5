"""scikit-learn's estimators with this package's losses, and linear models of them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from fusedloss._training import KINDS
from parts import Array

sklearn = pytest.importorskip("sklearn")

from scipy import sparse  # noqa: E402
from sklearn import datasets, linear_model  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.preprocessing import scale  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

from fusedloss.sklearn import (  # noqa: E402
    LinearClassifier,
    LinearRegressor,
    Loss,
    make_scorer,
)


def data(name: str) -> tuple[Array, Array]:
    features, target = getattr(datasets, name)(return_X_y=True)
    return scale(features), target


# ---- Loss: histogram gradient boosting ----------------------------------------------------------

#: scikit-learn's own loss, and ours; on positive targets where it asks for them.
OWN: list[tuple[str, Callable[..., Any], dict[str, Any], dict[str, Any]]] = [
    ("squared_error", fl.mse_loss, {}, {}),
    ("poisson", fl.poisson_nll_loss, {}, {}),
    ("gamma", fl.gamma_loss, {}, {}),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "loss", "theirs", "ours"), OWN, ids=[row[0] for row in OWN])
def test_boosting_is_scikit_learns(
    name: str,
    loss: Callable[..., Any],
    theirs: dict[str, Any],
    ours: dict[str, Any],
    weighted: bool,
) -> None:
    """The same trees: float32 derivatives may differ in the last digit."""
    features, target = data("load_diabetes")
    weight = np.linspace(0.5, 2, len(target)) if weighted else None
    options: dict[str, Any] = {"max_iter": 10, "early_stopping": False}
    own = HistGradientBoostingRegressor(loss=name, **theirs, **options)
    expected = own.fit(features, target, weight).predict(features)
    model = HistGradientBoostingRegressor(loss=Loss(loss, **ours), **options)
    found = model.fit(features, target, weight).predict(features)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.8])
def test_boosting_of_quantiles_is_as_good(quantile: float, weighted: bool) -> None:
    """Not the same trees: at a target itself the slope is 0 here, and one of its sides there.

    By 3.1 % with scikit-learn 1.6 and 1.7, and less with 1.9.
    """
    features, target = data("load_diabetes")
    weight = np.linspace(0.5, 2, len(target)) if weighted else None
    losses: list[Any] = ["quantile", Loss(fl.quantile_loss, quantile=quantile)]
    if quantile == 0.5:
        losses = ["absolute_error", Loss(fl.l1_loss)]
    found = []
    for loss in losses:
        own = {"quantile": quantile} if loss == "quantile" else {}
        model = HistGradientBoostingRegressor(loss=loss, max_iter=30, **own)
        fitted = model.fit(features, target, weight).predict(features)
        found.append(fl.quantile_loss(fitted, target, quantile=quantile, weight=weight))
    assert found[1] == pytest.approx(found[0], rel=0.04)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("load_breast_cancer", Loss(fl.binary_cross_entropy_with_logits)),
        ("load_iris", Loss(fl.cross_entropy, n_classes=3)),
    ],
)
def test_boosting_of_classes_is_scikit_learns(name: str, loss: Loss) -> None:
    features, target = data(name)
    labels = np.array(["a", "b", "c"])[target]
    options: dict[str, Any] = {"max_iter": 10, "early_stopping": True, "random_state": 0}
    expected = HistGradientBoostingClassifier(**options).fit(features, labels)
    found = clone(HistGradientBoostingClassifier(loss=loss, **options)).fit(features, labels)
    assert found.n_iter_ == expected.n_iter_
    ours, theirs = found.predict_proba(features), expected.predict_proba(features)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    # their scores are of mean losses
    np.testing.assert_allclose(found.validation_score_, expected.validation_score_, rtol=1e-5)


def test_boosting_by_losses_that_scikit_learn_lacks() -> None:
    features, target = data("load_breast_cancer")
    loss: Callable[..., Any]
    for loss in (fl.sigmoid_focal_loss, fl.hinge_loss, fl.exponential_loss):
        model = HistGradientBoostingClassifier(loss=Loss(loss), max_iter=20)
        assert (model.fit(features, target).predict(features) == target).mean() > 0.95
    features, target = data("load_wine")
    focal = HistGradientBoostingClassifier(loss=Loss(fl.focal_loss, n_classes=3), max_iter=20)
    assert focal.fit(features, target).score(features, target) > 0.95
    features, target = data("load_diabetes")
    for loss in (fl.huber_loss, fl.log_cosh_loss, fl.pseudo_huber_loss, fl.tweedie_loss):
        model = HistGradientBoostingRegressor(loss=Loss(loss), max_iter=20)
        fitted = model.fit(features, target).predict(features)
        assert np.abs(fitted - target).mean() < np.abs(target - np.median(target)).mean()


@pytest.mark.parametrize("name", sorted(KINDS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_interface_is_one_function(
    name: str, dtype: str, weighted: bool, rng: np.random.Generator
) -> None:
    """Value, gradient and Hessian of one call are those of the others, in any place."""
    several = KINDS[name].target == "class"
    loss = Loss(getattr(fl, name), n_classes=4 if several else None)
    raw = np.asfortranarray(rng.normal(size=(50, 4 if several else 1)).astype(dtype))
    drawn = {"class": rng.integers(4, size=50), "sign": rng.integers(2, size=50)}
    drawn["share"] = drawn["sign"]
    target = drawn.get(KINDS[name].target, rng.gamma(2, size=50)).astype(dtype)
    weight = rng.uniform(0.5, 2, size=50).astype(dtype) if weighted else None
    losses, gradient = loss.loss_gradient(target, raw, weight)
    assert np.array_equal(loss.loss(target, raw, weight, n_threads=2), losses)
    np.testing.assert_allclose(loss.gradient(target, raw, weight), gradient, rtol=1e-6)
    mean = loss(target, raw, weight)
    total = 50 if weight is None else weight.sum()
    if weight is None:  # scikit-learn's own __call__ weighs the losses itself
        assert mean == pytest.approx(losses.sum() / total, rel=1e-5)
    shape = gradient.shape
    places = (np.empty(shape, "float32", order="F"), np.empty(shape, "float32", order="F"))
    again, hessian = loss.gradient_hessian(target, raw, weight, *places)
    assert again is places[0]
    assert hessian is places[1]
    assert (hessian >= 0).all()
    fresh = loss.gradient_hessian(target, raw, weight)
    assert fresh[0].dtype == dtype
    for new, placed in zip(fresh, places, strict=True):
        np.testing.assert_allclose(new, placed, rtol=2e-6)
    if loss.differentiable and name != "mape_loss":  # whose gradients have the targets' scale
        np.testing.assert_allclose(again, gradient, rtol=1e-5, atol=1e-6)


def test_loss_is_kept_and_named() -> None:
    loss = Loss(fl.focal_loss, n_classes=3, gamma=1.5)
    assert repr(loss) == "Loss(focal_loss, n_classes=3, hessian='auto', gamma=1.5)"
    assert repr(pickle.loads(pickle.dumps(loss))) == repr(loss)
    assert not hasattr(Loss(fl.mse_loss), "predict_proba")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Loss(fl.cross_entropy), "n_classes is None: expected at least 3"),
        (lambda: Loss(fl.cross_entropy, n_classes=2), "n_classes is 2: expected at least 3"),
        (lambda: Loss(fl.mse_loss, n_classes=3), "mse_loss is no loss of several classes"),
        (lambda: Loss(fl.dice_loss), "dice_loss: it is no loss of gradient boosting"),
        (lambda: boosted(Loss(fl.poisson_nll_loss), [-1.0, 1.0]), r"target\[0\] is -1.0"),
        (lambda: boosted(Loss(fl.gamma_loss), [1.0, 0.0]), r"target\[1\] is 0.0"),
        (lambda: boosted(Loss(fl.cross_entropy, n_classes=4), [0, 1, 2]), "has 3 classes: exp"),
        (lambda: boosted(Loss(fl.cross_entropy, n_classes=3), [0, 1, 2, 3]), r"in \[0, 3\)"),
        (lambda: boosted(Loss(fl.cross_entropy, n_classes=3), [0, 1]), "has 2 classes: expected 3"),
    ],
)
def test_wrong_losses_and_targets(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def boosted(loss: Loss, target: list[Any]) -> None:
    """Fit a model to some targets, repeated."""
    kind = HistGradientBoostingClassifier if loss.is_multiclass else HistGradientBoostingRegressor
    y = np.resize(target, 60)
    kind(loss=loss).fit(np.zeros((60, 1)), y)


# ---- Linear models -------------------------------------------------------------------------------


ESTIMATORS = {
    "regressor": LinearRegressor(),
    "classifier": LinearClassifier(),
    # so flat that only Newton's steps find what weights and copies have in common
    "flat regressor": LinearRegressor(alpha=1e-4),
    "flat classifier": LinearClassifier(alpha=1e-4),
    # which takes several labels, too
    "labels": LinearClassifier(fl.binary_cross_entropy_with_logits),
}


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=f"{name}-{check.func.__name__}-{number}")
        for name, each in ESTIMATORS.items()
        for number, (estimator, check) in enumerate(estimator_checks_generator(each))
    ],
)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("name", ["load_iris", "load_breast_cancer"])
@pytest.mark.parametrize("weighted", [False, True])
def test_coefficients_of_logistic_regression(name: str, weighted: bool) -> None:
    features, target = data(name)
    weight = np.linspace(0.5, 2, len(target)) if weighted else np.ones(len(target))
    own = linear_model.LogisticRegression(C=0.7, tol=1e-10, max_iter=10000)
    own.fit(features, target, weight)
    losses: list[Callable[..., Any]] = [fl.cross_entropy]
    if name == "load_breast_cancer":
        losses += [fl.binary_cross_entropy_with_logits, fl.logistic_loss]
    for loss in losses:
        model = LinearClassifier(loss, alpha=1 / (0.7 * weight.sum()))
        model.fit(features, target, weight)
        np.testing.assert_allclose(model.coef_, own.coef_, atol=1e-4)
        np.testing.assert_allclose(model.intercept_, own.intercept_, atol=1e-4)
        np.testing.assert_allclose(
            model.predict_proba(features), own.predict_proba(features), atol=1e-5
        )


def test_coefficients_of_ridge_lasso_and_elastic_net() -> None:
    features, target = data("load_diabetes")
    n = len(target)
    rows: list[tuple[Any, dict[str, Any]]] = [
        (linear_model.Ridge(alpha=30.0), {"alpha": 2 * 30.0 / n}),
        (linear_model.Lasso(alpha=3.0, tol=1e-10), {"alpha": 6.0, "penalty": "l1"}),
        (
            linear_model.ElasticNet(alpha=2.0, l1_ratio=0.3, tol=1e-10),
            {"alpha": 4.0, "penalty": "elasticnet", "l1_ratio": 0.3},
        ),
        (
            linear_model.Ridge(alpha=30.0, fit_intercept=False),
            {"alpha": 60 / n, "fit_intercept": 0},
        ),
    ]
    for own, options in rows:
        options["fit_intercept"] = bool(options.get("fit_intercept", 1))
        own.fit(features, target)
        model = LinearRegressor(**options).fit(features, target)
        np.testing.assert_allclose(model.coef_, own.coef_, atol=1e-4)
        np.testing.assert_allclose(model.intercept_, own.intercept_, atol=1e-4)
        assert np.array_equal(model.coef_ == 0, own.coef_ == 0)


def test_coefficients_of_poisson_and_gamma_regression() -> None:
    features, target = data("load_diabetes")
    for own, loss in (
        (linear_model.PoissonRegressor(alpha=0.1, tol=1e-8, max_iter=1000), fl.poisson_nll_loss),
        (linear_model.GammaRegressor(alpha=0.1, tol=1e-8, max_iter=1000), fl.gamma_loss),
    ):
        expected = own.fit(features, target).predict(features)
        found = LinearRegressor(loss, alpha=0.1).fit(features, target).predict(features)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def pinball(model: Any, features: Array, target: Array, quantile: float, alpha: float) -> float:
    """What QuantileRegressor minimises."""
    loss = fl.quantile_loss(model.predict(features), target, quantile=quantile)
    return float(loss + alpha * np.abs(model.coef_).sum())


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e5])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_are_quantile_regressors(quantile: float, unit: float) -> None:
    features, target = data("load_diabetes")
    target = target * unit
    alpha = 0.01
    own = linear_model.QuantileRegressor(quantile=quantile, alpha=alpha).fit(features, target)
    model = LinearRegressor(
        fl.quantile_loss, loss_options={"quantile": quantile}, penalty="l1", alpha=alpha
    ).fit(features, target)
    least = pinball(own, features, target, quantile, alpha)
    # 1 % is promised, a thousandth is the rule
    assert pinball(model, features, target, quantile, alpha) <= 1.001 * least


@pytest.mark.parametrize(
    "loss",
    [
        fl.cross_entropy,
        fl.focal_loss,
        fl.generalized_cross_entropy,
        fl.hinge_loss,
        fl.multi_margin_loss,
        fl.poly1_cross_entropy,
        fl.sigmoid_focal_loss,
        fl.sparsemax_loss,
        fl.squared_hinge_loss,
    ],
)
@pytest.mark.parametrize("name", ["load_wine", "load_breast_cancer"])
def test_every_loss_of_classes_classifies(loss: Callable[..., Any], name: str) -> None:
    """Labels may be strings, features sparse, classes weighted."""
    features, target = data(name)
    labels = np.array(["red", "white", "rosé"])[target]
    model = LinearClassifier(loss, alpha=1e-3).fit(sparse.csr_matrix(features), labels)
    assert model.score(features, labels) > 0.95
    dense = clone(model).fit(features, labels)
    if loss in (fl.hinge_loss, fl.multi_margin_loss):  # of which many coefficients are as good
        assert (dense.predict(features) == model.predict(features)).mean() > 0.98
    else:
        np.testing.assert_allclose(dense.coef_, model.coef_, rtol=1e-3, atol=1e-3)
    balanced = clone(model).set_params(class_weight="balanced").fit(features, labels)
    assert balanced.score(features, labels) > 0.95
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(model.predict_proba(features).sum(1), 1, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [fl.binary_cross_entropy_with_logits, fl.logistic_loss])
def test_several_labels_are_a_model_each(loss: Callable[..., Any], weighted: bool) -> None:
    features, labels = datasets.make_multilabel_classification(200, 8, n_classes=3, random_state=0)
    weight = np.linspace(0.5, 2, len(labels)) if weighted else np.ones(len(labels))
    model = LinearClassifier(loss).fit(features, sparse.csr_matrix(labels), weight)
    assert np.array_equal(model.classes_, [0, 1, 2])
    chances = model.predict_proba(features)
    for k in range(3):
        own = linear_model.LogisticRegression(C=1 / (0.01 * weight.sum()), tol=1e-10, max_iter=9999)
        own.fit(features, labels[:, k], weight)
        np.testing.assert_allclose(model.coef_[k], own.coef_[0], atol=1e-4)
        np.testing.assert_allclose(model.intercept_[k], own.intercept_[0], atol=1e-4)
        np.testing.assert_allclose(chances[:, k], own.predict_proba(features)[:, 1], atol=1e-5)
    assert np.array_equal(model.predict(features), chances > 0.5)
    assert model.score(features, labels) > 0.4  # of all three at once


def test_a_warm_start_needs_few_iterations() -> None:
    features, target = data("load_breast_cancer")
    model = LinearClassifier(warm_start=True, alpha=1e-2).fit(features, target)
    cold = model.n_iter_
    coefficients = model.coef_.copy()
    model.fit(features, target)
    assert model.n_iter_ < cold / 3
    np.testing.assert_allclose(model.coef_, coefficients, atol=1e-5)


def test_features_may_be_of_any_scale() -> None:
    """Features that nobody scaled are scaled inside: the solution is the scaled ones'."""
    features, target = datasets.load_wine(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LinearClassifier(alpha=0).fit(features, target)
    assert model.score(features, target) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinearRegressor(fl.hinge_loss).fit([[0.0]], [1.0]), "loss is hinge_loss"),
        (lambda: LinearClassifier(fl.mse_loss).fit([[0.0]], [1]), "loss is mse_loss"),
        (lambda: LinearRegressor(fl.gamma_loss).fit([[0.0], [1]], [1, -1]), r"target\[1\] is -1"),
        (lambda: LinearClassifier().fit([[0.0], [1]], [1, 1]), "y has one class"),
        (lambda: LinearClassifier().fit([[0.0], [1]], [[1, 0], [0, 1]]), "should be a 1d array"),
        (
            lambda: LinearClassifier(fl.hinge_loss, class_weight="balanced").fit(
                [[0.0], [1]], [[1, 0], [0, 1]]
            ),
            "class_weight is given",
        ),
        (
            lambda: LinearClassifier(class_weight={7: 1.0}).fit([[0.0], [1]], [0, 1]),
            "class_weight has 7",
        ),
        (
            lambda: LinearClassifier().fit([[0.0], [1]], [0, 1], sample_weight=[1, -1]),
            r"sample_weight\[1\] is -1",
        ),
    ],
)
def test_wrong_linear_models(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


# ---- Scorers -------------------------------------------------------------------------------------


def test_scorers() -> None:
    features, target = data("load_iris")
    labels = np.array(["a", "b", "c"])[target]
    model = linear_model.LogisticRegression().fit(features, labels)
    weight = np.linspace(0.5, 2, len(target))
    raw = model.decision_function(features)
    rows: list[tuple[Callable[..., Any], dict[str, Any]]]
    rows = [(fl.cross_entropy, {}), (fl.focal_loss, {"gamma": 1.0})]
    for loss, options in rows:
        scorer = pickle.loads(pickle.dumps(make_scorer(loss, **options)))
        expected = -loss(raw, target, sample_weight=weight, **options)
        assert scorer(model, features, labels, sample_weight=weight) == pytest.approx(expected)
        assert (cross_val_score(model, features, labels, scoring=scorer) < 0).all()

    binary = target > 0
    model = linear_model.LogisticRegression().fit(features, binary)
    raw = model.decision_function(features)
    for loss in (fl.binary_cross_entropy_with_logits, fl.hinge_loss):
        t = np.where(binary, 1, -1 if loss is fl.hinge_loss else 0)
        assert make_scorer(loss)(model, features, binary) == pytest.approx(-loss(raw, t))

    features, target = data("load_diabetes")
    rates = linear_model.PoissonRegressor(max_iter=300).fit(features, target)
    raw = np.log(rates.predict(features))
    score = make_scorer(fl.poisson_nll_loss)(rates, features, target)
    assert score == pytest.approx(-fl.poisson_nll_loss(raw, target))
    score = make_scorer(fl.quantile_loss, quantile=0.9)(rates, features, target)
    assert score == pytest.approx(-fl.quantile_loss(np.exp(raw), target, quantile=0.9))


def test_scorers_of_folds_without_a_class() -> None:
    features, target = data("load_iris")
    model = linear_model.LogisticRegression().fit(features, target)
    few = target < 2
    with pytest.raises(ValueError, match="2 labels and 3 classes"):
        make_scorer(fl.cross_entropy)(model, features[few], target[few])
    score = make_scorer(fl.cross_entropy, labels=[0, 1, 2])(model, features[few], target[few])
    raw = model.decision_function(features)[few]
    assert score == pytest.approx(-fl.cross_entropy(raw, target[few]))
    with pytest.raises(ValueError, match="loss is dice_loss"):
        make_scorer(fl.dice_loss)
