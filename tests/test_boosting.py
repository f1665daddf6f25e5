"""Objectives for LightGBM and XGBoost: the same trees as theirs, and what theirs do not have."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from fusedloss._training import KINDS
from fusedloss.boosting import Objective
from parts import Array

lightgbm = pytest.importorskip("lightgbm")
xgboost = pytest.importorskip("xgboost")
datasets = pytest.importorskip("sklearn.datasets")

ROUNDS = 20

#: Features and targets that scikit-learn ships.
BINARY = "load_breast_cancer"
CLASSES = "load_digits"
NUMBERS = "load_diabetes"


@functools.cache
def data(name: str) -> tuple[Array, Array]:
    features, target = getattr(datasets, name)(return_X_y=True)
    return features, target


def lightgbm_raw(objective: Any, name: str, **options: Any) -> Array:
    """Raw predictions of a model that begins at 0, on what it was trained on."""
    features, target = data(name)
    fixed = {"verbose": -1, "num_threads": 2, "boost_from_average": False, "num_leaves": 15}
    fixed |= {"deterministic": True, "force_row_wise": True, "objective": objective}
    trained = lightgbm.train(fixed | options, lightgbm.Dataset(features, target), ROUNDS)
    raw: Array = trained.predict(features, raw_score=True)
    return raw


def xgboost_raw(objective: Any, name: str, base_score: float = 0.0, **options: Any) -> Array:
    features, target = data(name)
    fixed = {"nthread": 2, "max_depth": 4, "eta": 0.1, "base_score": base_score, **options}
    matrix = xgboost.DMatrix(features, target)
    if isinstance(objective, str):
        trained = xgboost.train(fixed | {"objective": objective}, matrix, ROUNDS)
    else:
        trained = xgboost.train(fixed, matrix, ROUNDS, obj=objective)
    raw: Array = trained.predict(matrix, output_margin=True)
    return raw


# ---- The same trees ----------------------------------------------------------------------------

LIGHTGBM: list[tuple[str, Callable[..., Any], str, dict[str, Any], dict[str, Any]]] = [
    ("binary", fl.binary_cross_entropy_with_logits, BINARY, {}, {}),
    ("multiclass", fl.cross_entropy, CLASSES, {"num_class": 10}, {}),
    ("l2", fl.mse_loss, NUMBERS, {}, {}),
    ("huber", fl.huber_loss, NUMBERS, {"alpha": 30.0}, {"delta": 30.0}),
    ("poisson", fl.poisson_nll_loss, NUMBERS, {}, {}),
    ("gamma", fl.gamma_loss, NUMBERS, {}, {}),
    ("tweedie", fl.tweedie_loss, NUMBERS, {"tweedie_variance_power": 1.3}, {"power": 1.3}),
]


@pytest.mark.parametrize(
    ("name", "loss", "of", "theirs", "ours"), LIGHTGBM, ids=[row[0] for row in LIGHTGBM]
)
def test_lightgbm_grows_the_same_trees(
    name: str, loss: Callable[..., Any], of: str, theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    """Its gradients are float32: a last digit may differ, which moves a leaf as little."""
    expected = lightgbm_raw(name, of, **theirs)
    classes = {name: n for name, n in theirs.items() if name == "num_class"}
    raw = lightgbm_raw(Objective(loss, **ours).lightgbm, of, **classes)
    np.testing.assert_allclose(raw, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


#: Their base scores are given as what they predict at a raw prediction of 0.
XGBOOST: list[tuple[str, float, Callable[..., Any], str, dict[str, Any], dict[str, Any]]] = [
    ("binary:logistic", 0.5, fl.binary_cross_entropy_with_logits, BINARY, {}, {}),
    ("multi:softprob", 0.0, fl.cross_entropy, CLASSES, {"num_class": 10}, {}),
    ("reg:squarederror", 0.0, fl.mse_loss, NUMBERS, {}, {}),
    (
        "reg:pseudohubererror",
        0.0,
        fl.pseudo_huber_loss,
        NUMBERS,
        {"huber_slope": 30.0},
        {"delta": 30.0, "hessian": "exact"},
    ),
    ("count:poisson", 1.0, fl.poisson_nll_loss, NUMBERS, {"max_delta_step": 0.7}, {}),
    ("reg:gamma", 1.0, fl.gamma_loss, NUMBERS, {}, {}),
    ("reg:tweedie", 1.0, fl.tweedie_loss, NUMBERS, {}, {}),
]


@pytest.mark.parametrize(
    ("name", "base", "loss", "of", "theirs", "ours"), XGBOOST, ids=[row[0] for row in XGBOOST]
)
def test_xgboost_grows_the_same_trees(
    name: str,
    base: float,
    loss: Callable[..., Any],
    of: str,
    theirs: dict[str, Any],
    ours: dict[str, Any],
) -> None:
    expected = xgboost_raw(name, of, base, **theirs)
    raw = xgboost_raw(Objective(loss, **ours).xgboost, of, **theirs)
    np.testing.assert_allclose(raw, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learn_interfaces(weighted: bool) -> None:
    """They call an objective in their own way, with weights too; the trees are the native ones."""
    features, target = data(CLASSES)
    weight = np.linspace(0.5, 2, len(target)) if weighted else None
    objective = Objective(fl.cross_entropy)
    options = {"n_estimators": 5, "n_jobs": 2}

    model = lightgbm.LGBMClassifier(objective=objective.lightgbm, verbose=-1, **options)
    model.fit(
        features,
        target,
        sample_weight=weight,
        eval_X=features[:500],
        eval_y=target[:500],
        eval_metric=objective.lightgbm_metric,
    )
    raw = model.predict(features, raw_score=True)
    native = lightgbm.train(
        {"objective": objective.lightgbm, "num_class": 10, "verbose": -1, "num_threads": 2},
        lightgbm.Dataset(features, target, weight=weight),
        5,
    )
    assert np.array_equal(raw, native.predict(features, raw_score=True))
    evaluated = model.evals_result_["valid_0"]["cross_entropy"]
    assert evaluated[-1] == pytest.approx(fl.cross_entropy(raw[:500], target[:500]), rel=1e-5)

    model = xgboost.XGBClassifier(
        objective=objective.xgboost, eval_metric=objective.xgboost_metric, base_score=0, **options
    )
    model.fit(features, target, sample_weight=weight, eval_set=[(features, target)], verbose=False)
    raw = model.get_booster().predict(xgboost.DMatrix(features), output_margin=True)
    evaluated = model.evals_result_["validation_0"]["cross_entropy"]
    assert evaluated[-1] == pytest.approx(fl.cross_entropy(raw, target), rel=1e-5)


# ---- Derivatives -------------------------------------------------------------------------------


def example(name: str, rng: np.random.Generator, rows: int = 200) -> tuple[Array, Array]:
    """Targets and raw predictions of a loss, as float32 as the libraries hand out targets."""
    kind = KINDS[name].target
    if kind == "class":
        raw = rng.normal(size=(rows, 5)) * 3
        return rng.integers(5, size=rows).astype("float32"), np.asfortranarray(raw)
    raw = rng.normal(size=rows) * 3
    drawn = {
        "real": rng.normal(size=rows) * 3,
        "share": rng.integers(2, size=rows),
        "sign": rng.choice([-1, 1], size=rows),
        "count": rng.poisson(2, size=rows),
        "positive": rng.gamma(2, size=rows) + 0.1,
    }
    return np.asarray(drawn[kind], "float32"), raw


NAMES = sorted(KINDS)


def test_every_loss_with_a_hessian_is_an_objective() -> None:
    """But those whose Hessian needs a variance, or is of what a booster does not predict.

    The last are others over again: a hinge without a margin, a squared one on both sides, and the
    Poisson loss less a constant.
    """
    with_hessian = {
        name
        for name in fl.__all__
        if hasattr(getattr(fl, name), "__fusedloss__") and getattr(fl, name).__fusedloss__.hessian
    }
    assert with_hessian - set(NAMES) == {
        *("gaussian_nll_loss", "msle_loss"),
        *("cpo_loss", "dpo_loss", "ipo_loss", "simpo_loss"),
        *("perceptron_loss", "binary_sparsemax_loss", "generalized_kl_div"),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_auto_is_never_negative(name: str, library: str, rng: np.random.Generator) -> None:
    target, raw = example(name, rng)
    gradient, hessian = getattr(Objective(getattr(fl, name)), library)(target, raw)
    assert gradient.dtype == hessian.dtype == np.float32
    assert gradient.shape == hessian.shape == raw.shape
    assert np.isfinite(gradient).all()
    assert np.isfinite(hessian).all()
    assert (hessian >= 0).all()
    assert hessian.sum() > 0
    assert gradient.any()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_losses_up_to_one_factor(name: str, rng: np.random.Generator) -> None:
    target, raw = example(name, rng)
    loss = getattr(fl, name)
    of_loss = target.astype(int) if raw.ndim == 2 else target
    _, expected = fl.value_and_grad(loss)(raw, of_loss, reduction="sum")
    gradient, _ = Objective(loss).xgboost(target, raw)
    factor = np.linalg.norm(gradient) / np.linalg.norm(expected)
    np.testing.assert_allclose(gradient, factor * expected, rtol=1e-5, atol=1e-6)
    spread = float(np.mean(np.abs(target - np.median(target))))
    factors = {
        "mse_loss": 0.5,
        "l1_loss": spread,
        "quantile_loss": 2 * spread,  # of the median, whose gradient is a half
        "mape_loss": spread / np.mean(np.abs(expected)),
    }
    assert factor == pytest.approx(factors.get(name, 1.0), rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy_with_logits"])
def test_gauss_newton_is_exact_without_focusing(name: str, rng: np.random.Generator) -> None:
    target, raw = example(name, rng)
    exact = Objective(getattr(fl, name), hessian="exact").xgboost(target, raw)[1]
    made = Objective(getattr(fl, name), hessian="gauss_newton").xgboost(target, raw)[1]
    np.testing.assert_allclose(made, exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["focal_loss", "sigmoid_focal_loss"])
def test_focal_losses_curve_downwards_unless_told(name: str, rng: np.random.Generator) -> None:
    target, raw = example(name, rng)
    loss = getattr(fl, name)
    assert (Objective(loss, hessian="exact").xgboost(target, raw)[1] < 0).any()
    assert (Objective(loss, hessian="positive").xgboost(target, raw)[1] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_is_a_number_of_copies(name: str, rng: np.random.Generator) -> None:
    target, raw = example(name, rng, rows=40)
    weight = rng.integers(1, 4, size=40)
    objective = Objective(getattr(fl, name))
    plain = objective.lightgbm(target, raw)
    for alone, weighted in zip(plain, objective.lightgbm(target, raw, weight), strict=True):
        times = weight.reshape(-1, *(1,) * (raw.ndim - 1))
        np.testing.assert_allclose(weighted, alone * times, rtol=1e-6)
    repeated = np.repeat(target, weight), np.repeat(raw, weight, axis=0)
    expected = objective.value(*repeated)
    assert objective.value(target, raw, weight) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(
        objective.initial(target, weight), objective.initial(repeated[0]), rtol=1e-4, atol=1e-5
    )


# ---- Constants, links ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_initial_is_the_best_constant(name: str, rng: np.random.Generator) -> None:
    """No constant nearby has a smaller loss, beyond what the search stops at."""
    target, raw = example(name, rng)
    objective = Objective(getattr(fl, name))
    best = np.asarray(objective.initial(target))
    at_best = objective.value(target, np.broadcast_to(best, raw.shape))
    for step in rng.normal(size=(20, *best.shape)) * 0.1:
        other = objective.value(target, np.broadcast_to(best + step, raw.shape))
        assert at_best <= other + 1e-9 * abs(other)


def test_predictions_are_what_is_predicted(rng: np.random.Generator) -> None:
    raw = rng.normal(size=(7, 3)) * 400
    chances = Objective(fl.focal_loss).predict(raw)
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-12)
    assert np.array_equal(chances.argmax(1), raw.argmax(1))
    shares = Objective(fl.sigmoid_focal_loss).predict(np.array([-1e4, 0, 1e4]))
    assert shares.tolist() == [0, 0.5, 1]
    rates = Objective(fl.poisson_nll_loss).predict(np.array([0.0, 1.0]), initial=np.log(2))
    np.testing.assert_allclose(rates, [2, 2 * np.e])
    assert Objective(fl.l1_loss).predict([1.0, 2.0]).tolist() == [1, 2]


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e5])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_are_learnt_in_any_unit(unit: float, quantile: float) -> None:
    """As well as by LightGBM's own objective, on samples that were held out."""
    rng = np.random.default_rng(3)
    features = rng.uniform(size=(6000, 3))
    target = unit * (np.sin(6 * features[:, 0]) + features[:, 1] * rng.normal(size=6000))
    training, held_out = slice(0, 4000), slice(4000, None)
    objective = Objective(fl.quantile_loss, quantile=quantile)
    start = float(objective.initial(target[training]))
    given = lightgbm.Dataset(features[training], target[training], init_score=np.full(4000, start))
    options = {"verbose": -1, "num_threads": 2, "num_leaves": 15, "min_data_in_leaf": 100}
    trained = lightgbm.train(options | {"objective": objective.lightgbm}, given, 100)
    ours = objective.predict(trained.predict(features[held_out], raw_score=True), start)

    own = {"objective": "quantile", "alpha": quantile}
    theirs = lightgbm.train(
        options | own, lightgbm.Dataset(features[training], target[training]), 100
    ).predict(features[held_out])
    losses = [fl.quantile_loss(x, target[held_out], quantile=quantile) for x in (ours, theirs)]
    assert losses[0] <= 1.03 * losses[1]
    coverages = [np.mean(target[held_out] <= x) for x in (ours, theirs)]
    assert coverages[0] == pytest.approx(coverages[1], abs=0.02)


# ---- The object, and errors ---------------------------------------------------------------------


def test_objectives_can_be_kept_and_copied(rng: np.random.Generator) -> None:
    objective = Objective(fl.focal_loss, hessian="positive", gamma=1.5)
    target, raw = example("focal_loss", rng)
    expected = objective.lightgbm(target, raw)
    for other in (pickle.loads(pickle.dumps(objective)), copy.deepcopy(objective)):
        assert repr(other) == "Objective(focal_loss, hessian='positive', gamma=1.5)"
        for ours, theirs in zip(other.lightgbm(target, raw), expected, strict=True):
            assert np.array_equal(ours, theirs)
    method = pickle.loads(pickle.dumps(objective.xgboost))
    assert np.array_equal(method(target, raw)[0], objective.xgboost(target, raw)[0])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Objective(fl.dice_loss), ValueError, "loss is dice_loss"),
        (lambda: Objective(len), TypeError, "loss is <built-in function len>"),
        (
            lambda: Objective(fl.l1_loss, hessian="none"),  # type: ignore[arg-type]
            ValueError,
            "hessian is 'none'",
        ),
        (lambda: Objective(fl.l1_loss, hessian="gauss_newton"), ValueError, "l1_loss has none"),
        (lambda: Objective(fl.gamma_loss, hessian="constant"), ValueError, "no bound"),
        (lambda: Objective(fl.l1_loss, gamma=2.0), TypeError, "no option 'gamma'"),
        (lambda: Objective(fl.l1_loss, num_threads=2), TypeError, "no option 'num_threads'"),
        (lambda: Objective(fl.poisson_nll_loss, log_input=False), ValueError, "log_input"),
    ],
)
def test_wrong_objectives(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("loss", "target", "words"),
    [
        (fl.poisson_nll_loss, [1.0, -2.0], r"target\[1\] is -2.0: expected numbers of at least 0"),
        (fl.gamma_loss, [0.0, 1.0], r"target\[0\] is 0.0: expected positive numbers"),
        (fl.mse_loss, [0.0, np.nan], r"target\[1\] is nan: expected finite numbers"),
        (fl.binary_cross_entropy_with_logits, [2.0, 0.0], r"expected numbers in \[0, 1\]"),
        (fl.hinge_loss, [0.0, 1.0], r"target\[0\] is 0.0: expected -1 or 1"),
        (fl.cross_entropy, [0.0, 3.0], r"target\[1\] is 3.0: expected whole numbers in \[0, 3\)"),
        (fl.cross_entropy, [0.5, 1.0], r"target\[0\] is 0.5: expected whole numbers"),
        (fl.focal_loss, [np.nan, 1.0], r"target\[0\] is nan: expected whole numbers"),
    ],
)
def test_bad_targets_are_named_before_the_first_tree(
    loss: Callable[..., Any], target: list[float], words: str
) -> None:
    raw = np.zeros((2, 3)) if loss in (fl.cross_entropy, fl.focal_loss) else np.zeros(2)
    with pytest.raises(ValueError, match=words):
        Objective(loss).lightgbm(np.array(target, "float32"), raw)
    if target != [0.0, 3.0]:  # how many classes there are, raw predictions say
        with pytest.raises(ValueError, match=words.split(" in ")[0]):
            Objective(loss).initial(target)


def test_classes_need_a_column_each() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\): expected \(N, C\)"):
        Objective(fl.cross_entropy).xgboost(np.zeros(3), np.zeros(3))
