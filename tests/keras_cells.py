"""The table of the Keras front: loss x (eager, fit, save), on one backend, in a process of its own.

Run with KERAS_BACKEND set, it prints a line of JSON for each cell: its name, and what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # programs that run once

import keras
import numpy as np
from keras import ops

import fusedloss as fl
from fusedloss.keras import _accelerate, layers, losses
from keras_cases import BY_FORMULA, CLASSES, LAYERS, OF_KERAS, OWN, WORKED, Case, N, cells

BACKEND = keras.config.backend()

#: Keras' operations make float32 of float64, so that there is nothing else to compare.
DTYPE = "float32"

#: Two ways of rounding, of losses of some terms of about 1; Keras' 1 - p loses as much where p is
#: near 1.
TOLERANCE = 2e-5


def as_numpy(x: Any) -> Any:
    return np.asarray(ops.convert_to_numpy(ops.cast(x, DTYPE)), np.float64)


def value_and_gradients(
    function: Callable[..., Any], arrays: list[Any], wanted: list[int]
) -> tuple[Any, list[Any]]:
    """Return a scalar and its gradients, by the backend's own means."""
    tensors = [ops.convert_to_tensor(x) for x in arrays]
    if BACKEND == "torch":
        tensors = [x.detach().requires_grad_(i in wanted) for i, x in enumerate(tensors)]
        value = function(*tensors)
        value.backward()
        return as_numpy(value), [as_numpy(tensors[i].grad) for i in wanted]
    if BACKEND == "jax":
        import jax

        value, gradients = jax.value_and_grad(function, wanted)(*tensors)
        return as_numpy(value), [as_numpy(x) for x in gradients]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch([tensors[i] for i in wanted])
            value = function(*tensors)
        return as_numpy(value), [
            as_numpy(x) for x in tape.gradient(value, [tensors[i] for i in wanted])
        ]
    return as_numpy(function(*tensors)), []


def same(ours: Any, theirs: Any, what: str) -> None:
    scale = max(1.0, float(np.max(np.abs(theirs), initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=what)


def cases_of(table: dict[str, list[Case]], name: str) -> Iterator[tuple[Case, dict[str, Any]]]:
    return ((case, options) for case in table[name] for options in case.options)


def inputs(case: Case, dtype: str = DTYPE) -> tuple[Any, Any]:
    y_true, y_pred = case.make(np.random.default_rng(7))
    y_true = np.asarray(y_true)
    return (y_true.astype(dtype) if y_true.dtype.kind == "f" else y_true), y_pred.astype(dtype)


def weights(*shape: int) -> Any:
    return np.random.default_rng(3).uniform(0.5, 2, shape).astype(DTYPE)


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """The names of the losses that kernels are called for meanwhile."""
    module: Any = _accelerate.here()
    names: list[str] = []
    evaluate = module.evaluate

    def count(name: str, *args: Any) -> Any:
        names.append(name)
        return evaluate(name, *args)

    module.evaluate = count
    try:
        yield names
    finally:
        module.evaluate = evaluate


def has_kernel(name: str, options: dict[str, Any]) -> bool:
    """Whether a loss should come to a kernel."""
    if name == "BinaryFocalCrossentropy":
        return "from_logits" in options
    return name not in BY_FORMULA


def eager(name: str) -> None:
    """Values and gradients are Keras', for every option, reduced and weighted."""
    for case, options in cases_of(OF_KERAS, name):
        if BACKEND == "numpy" and name == "CosineSimilarity" and options:
            continue  # Keras' own fails along the first axis
        y_true, y_pred = inputs(case)
        rows = as_numpy(getattr(keras.losses, name)(**options, reduction=None)(y_true, y_pred))
        with counted() as names:
            ours = as_numpy(getattr(losses, name)(**options, reduction=None)(y_true, y_pred))
        assert bool(names) == has_kernel(name, options), f"{options}: {names}"
        same(ours, rows, f"{options} none")
        weight = weights(*rows.shape) if case.weighted else None
        wanted = [0, 1] if case.labels else [1]
        for reduction, given in (
            ("sum_over_batch_size", None),
            ("sum", weight),
            ("mean_with_sample_weight", weight),
        ):
            (value, gradients), (expected, expected_gradients) = (
                value_and_gradients(
                    lambda t, p, loss=loss, given=given: loss(t, p, given),
                    [y_true, y_pred],
                    wanted,
                )
                for loss in (
                    getattr(module, name)(**options, reduction=reduction)
                    for module in (losses, keras.losses)
                )
            )
            what = f"{options} {reduction}"
            same(value, expected, what)
            assert len(gradients) == len(expected_gradients)
            for argument, a, b in zip(wanted, gradients, expected_gradients, strict=False):
                same(a, b, f"{what}, gradient in argument {argument}")


def model_for(case: Case, y_pred: Any) -> Any:
    """Return a model of one layer whose outputs have the shape of such predictions."""
    keras.utils.set_random_seed(5)
    shape = y_pred.shape[1:]
    return keras.Sequential(
        [
            keras.Input((*shape[:-1], 3)),
            keras.layers.Dense(shape[-1], activation=case.activation),
        ]
    )


def training(case: Case, loss: Any) -> tuple[Any, Any]:
    """Return what a model and its loss are after some steps, or of NumPy at once."""
    y_true, y_pred = inputs(case)
    model = model_for(case, y_pred)
    x = np.random.default_rng(2).normal(size=(*y_pred.shape[:-1], 3)).astype("float32")
    model.compile(keras.optimizers.SGD(0.01), loss=loss)
    given: dict[str, Any] = {"batch_size": len(x), "verbose": 0}
    if case.weighted:
        given["sample_weight"] = weights(len(x))
    if BACKEND == "numpy":  # it does not train
        return model, [model.evaluate(x, y_true, **given)]
    history = model.fit(x, y_true, epochs=2, **given)
    return model, [*history.history["loss"], *map(as_numpy, model.get_weights())]


def fit(name: str) -> None:
    """A compiled model trains as with Keras' loss."""
    case = OF_KERAS[name][0]
    options = case.in_a_model
    made = [getattr(module, name)(**options) for module in (losses, keras.losses)]
    (_, ours), (_, theirs) = (training(case, loss) for loss in made)
    for a, b in zip(ours, theirs, strict=True):
        same(np.asarray(a), np.asarray(b), f"{options}")
    assert np.all(np.isfinite(ours[0]))


def saved(name: str, table: dict[str, list[Case]]) -> None:
    """A compiled model comes back from a file with its loss and the loss's options."""
    case = table[name][0]
    options = case.in_a_model
    loss = getattr(losses, name)(**options, reduction="sum", name="some_name")
    y_true, y_pred = inputs(case)
    model = model_for(case, y_pred)
    model.compile("sgd", loss=loss)
    x = np.ones((*y_pred.shape[:-1], 3), "float32")
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        back = keras.saving.load_model(f"{folder}/model.keras")
    assert type(back.loss) is type(loss), type(back.loss)
    assert back.loss.get_config() == loss.get_config()
    assert loss.get_config().items() >= options.items()
    before, after = (m.evaluate(x, y_true, verbose=0, batch_size=N) for m in (model, back))
    np.testing.assert_array_equal(before, after)


def save(name: str) -> None:
    """As `saved` says; and by Keras' own name for it."""
    saved(name, OF_KERAS)
    assert isinstance(losses.get(name), getattr(losses, name))
    config = losses.serialize(getattr(losses, name)())
    assert type(losses.deserialize(config)) is getattr(losses, name)


#: The functions that own losses are.
FUNCTIONS: dict[str, Any] = {name: getattr(fl, getattr(losses, name).loss) for name in OWN}


def is_missing(name: str) -> bool:
    """Whether the JAX front has not the function of an own loss or layer, which then refuses."""
    if BACKEND != "jax":
        return False
    import fusedloss.jax

    function = FUNCTIONS[name].__name__ if name in FUNCTIONS else getattr(layers, name).loss
    return not hasattr(fusedloss.jax, function)


def own_eager(name: str) -> None:
    """Values and gradients are those of the function of arrays."""
    for case, options in cases_of(OWN, name):
        y_true, y_pred = inputs(case)
        loss = getattr(losses, name)(**options)
        wanted = [0, 1] if case.labels else [0]
        value, gradients = value_and_gradients(
            lambda p, t, loss=loss: loss(t, p), [y_pred, y_true], wanted
        )
        keywords = dict(options)
        for ours, theirs in (("ignore_class", "ignore_index"), ("batch_reduction", "reduction")):
            if ours in keywords:
                keywords[theirs] = keywords.pop(ours)
        logits = np.moveaxis(y_pred, -1, 1).astype(np.float64)
        target = y_true.astype(np.float64) if case.labels else y_true
        function = fl.value_and_grad(FUNCTIONS[name], wanted)
        expected, slopes = function(logits, target, **keywords)
        same(value, expected, f"{options}")
        for argument, a, b in zip(wanted, gradients, slopes, strict=False):
            same(a, np.moveaxis(b, 1, -1), f"{options}, gradient in argument {argument}")


def own_fit(name: str) -> None:
    """A compiled model trains: finite losses, the first that of the function."""
    case = OWN[name][0]
    _, found = training(case, getattr(losses, name)(**case.in_a_model))
    assert np.all(np.isfinite(found[0]))


def own_save(name: str) -> None:
    """As `saved` says."""
    saved(name, OWN)


def layer_inputs() -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, CLASSES, N).astype("int32")
    return 3 * rng.normal(size=(N, 4)).astype("float32"), labels


def layer_eager(name: str) -> None:
    """The losses, and gradients in embeddings and weights, are those of the function of arrays."""
    for options in LAYERS[name]:
        keras.utils.set_random_seed(1)
        layer = getattr(layers, name)(CLASSES, **options, initializer="glorot_uniform")
        x, labels = layer_inputs()
        ignored = options.get("ignore_index", layer.ignore_index)
        labels[0] = ignored
        found = as_numpy(layer(x, labels))
        kernel = as_numpy(layer.kernel)
        given = {"ignore_index": ignored} | layer.options
        if options.get("use_bias"):
            given["linear_bias"] = as_numpy(layer.bias)
        function = getattr(fl, layer.loss)
        rows = function(x.astype(float), kernel, labels, reduction="none", **given)
        same(found, rows, f"{options}")
        assert found.shape == (N,)
        assert found[0] == 0
        (mean,) = layer.losses
        same(as_numpy(mean), rows[1:].mean(), f"{options}, mean")
        logits = as_numpy(layer(x))
        assert logits.shape == (N, CLASSES)
        if BACKEND == "numpy":
            continue
        _, (gradient,) = value_and_gradients(
            lambda x, layer=layer, labels=labels: ops.sum(layer(x, labels)), [x], [0]
        )
        expected = fl.value_and_grad(function)(
            x.astype(float), kernel, labels, reduction="sum", **given
        )[1]
        same(gradient, expected, f"{options}, gradient")


def layer_model(name: str) -> Any:
    keras.utils.set_random_seed(1)
    x, labels = keras.Input((4,)), keras.Input((), dtype="int32")
    embeddings = keras.layers.Dense(4)(x)
    layer = getattr(layers, name)(CLASSES, **LAYERS[name][-1])
    return keras.Model([x, labels], layer(embeddings, labels))


def layer_fit(name: str) -> None:
    """A model that ends in the layer learns its labels; nothing of it stays where it was."""
    x, labels = layer_inputs()
    model = layer_model(name)
    before = [as_numpy(w) for w in model.get_weights()]
    model.compile(keras.optimizers.Adam(0.01))
    if BACKEND == "numpy":
        assert model.predict([x, labels], verbose=0).shape == (N,)
        return
    history = model.fit([x, labels], epochs=30, batch_size=N, verbose=0)
    first, last = history.history["loss"][0], history.history["loss"][-1]
    assert last < first, (first, last)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.any(old != as_numpy(new))


def layer_save(name: str) -> None:
    """A model comes back from a file with the layer and its options."""
    x, labels = layer_inputs()
    model = layer_model(name)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        back = keras.saving.load_model(f"{folder}/model.keras")
    assert back.layers[-1].get_config() == model.layers[-1].get_config()
    a, b = (m.predict([x, labels], verbose=0) for m in (model, back))
    np.testing.assert_array_equal(a, b)


def worked(name: str) -> None:
    """The documentation's values, to half a unit of the last digit and float32's rounding."""
    loss, y_true, y_pred, expected = WORKED[name]
    digits = len(name.partition(".")[2])
    value = float(as_numpy(getattr(losses, loss)()(np.array(y_true), np.array(y_pred))))
    assert abs(value - expected) <= 0.5 * 10.0**-digits + 2.4e-7, value
    y = np.array([1, 2]) if loss.startswith("Cat") else None
    if y is not None:
        sparse = losses.SparseCategoricalCrossentropy()(y, np.array(y_pred))
        assert abs(float(as_numpy(sparse)) - expected) <= 1e-6


def rule(name: str) -> None:
    """One of the rules of `keras_rules.py`."""
    import keras_rules

    getattr(keras_rules, name)()


CHECKS: dict[str, Callable[[str], None]] = {
    check.__name__: check
    for check in (
        *(eager, fit, save, own_eager, own_fit, own_save),
        *(layer_eager, layer_fit, layer_save, worked, rule),
    )
}


def main() -> None:
    keras.utils.disable_interactive_logging()
    for cell in cells(BACKEND):
        kind, name = cell.split("-", 1)
        if sys.argv[1:] and not cell.startswith(tuple(sys.argv[1:])):
            continue
        refused = kind.startswith(("own", "layer")) and is_missing(name)
        fault = ""
        try:
            CHECKS[kind](name)
        except NotImplementedError:
            fault = "" if refused else traceback.format_exc(limit=-6)
        except Exception:
            fault = traceback.format_exc(limit=-6)
        print(json.dumps({"cell": cell, "fault": fault}), flush=True)


if __name__ == "__main__":
    main()
