"""Rules of Keras that its losses keep, and what this package's do where a kernel takes no part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from fusedloss.keras import losses
from keras_cases import CLASSES, LAYERS, OF_KERAS, OWN, labels_and_logits, rows_and_chances
from keras_cells import (
    BACKEND,
    as_numpy,
    counted,
    inputs,
    is_missing,
    same,
    value_and_gradients,
    weights,
)

RNG = np.random.default_rng(11)
LOGITS = RNG.normal(size=(6, CLASSES)).astype("float32")
LABELS = RNG.integers(0, CLASSES, 6).astype("int32")
CHANCES = RNG.dirichlet(np.ones(CLASSES), 6).astype("float32")


def pair(name: str, **options: Any) -> tuple[Any, Any]:
    return getattr(losses, name)(**options), getattr(keras.losses, name)(**options)


def made_and_called(make: Callable[..., Any], options: dict[str, Any], *args: Any) -> Any:
    return make(**options)(*args)


def outcome(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, ...]:
    """What a call returns, or the type and text of its error."""
    try:
        return "value", as_numpy(call(*args, **options))
    except Exception as error:
        return type(error), str(error)


def names() -> None:
    """All that is public in `keras.losses` is here; all that has a name here has a case."""
    public = {name for name in vars(keras.losses) if not name.startswith("_")}
    assert public <= set(losses.__all__), public - set(losses.__all__)
    classes = {name for name in losses.__all__ if isinstance(getattr(losses, name), type)}
    assert classes == {*OF_KERAS, *OWN, "Loss"}
    from fusedloss.keras import layers

    assert set(layers.__all__) == set(LAYERS)
    for name in OF_KERAS:
        assert issubclass(getattr(losses, name), getattr(keras.losses, name))
        registered = keras.saving.get_registered_object(f"fusedloss>{name}")
        assert registered is getattr(losses, name)


def get() -> None:
    """Keras' names give this package's losses."""
    for name in ("mse", "MAE", "bce", "mean_squared_error", "categorical_crossentropy"):
        ours, theirs = losses.get(name), keras.losses.get(name)
        assert ours.__name__ == theirs.__name__
        assert ours is getattr(losses, theirs.__name__)
    assert isinstance(losses.get("Huber"), losses.Huber)
    assert isinstance(losses.get(losses.Huber), losses.Huber)
    assert isinstance(losses.get({"class_name": "Huber", "config": {"delta": 2.0}}), losses.Huber)
    assert losses.get(None) is None
    for wrong in ("no_such_loss", 3):
        assert outcome(lambda w=wrong: losses.get(w)) == outcome(
            lambda w=wrong: keras.losses.get(w)
        )


def functions() -> None:
    """Functions give the loss of each sample, from arrays, lists and integers alike."""
    for name in sorted(set(losses.__all__) & set(vars(keras.losses))):
        function = getattr(losses, name)
        if isinstance(function, type) or name in (
            "get",
            "serialize",
            "deserialize",
            "ctc",
            "circle",
        ):
            continue
        sparse = name.startswith(("sparse", "categorical_generalized"))
        y_true = LABELS if sparse else np.eye(CLASSES, dtype="float32")[LABELS]
        more = {"q": 0.5} if name.startswith("categorical_generalized") else {}
        for form in (np.asarray, lambda x: x.tolist(), ops.convert_to_tensor):
            given = form(y_true), form(CHANCES)
            theirs = getattr(keras.losses, name)
            if outcome(theirs, *given, **more)[0] != "value":
                continue  # Keras does not take that form there
            expected = theirs(*given, **more)
            found = function(*given, **more)
            assert tuple(found.shape) == tuple(expected.shape)
            assert keras.backend.standardize_dtype(found.dtype) == "float32"
            same(as_numpy(found), as_numpy(expected), f"{name} {form}")


def clips_at_epsilon_of_the_call() -> None:
    """`keras.config.set_epsilon` takes hold of losses that were made before."""
    y_pred = np.array([[0.0, 1.0], [1.0, 0.0], [0.3, 0.7]], "float32")
    y_true = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    made = {
        name: pair(name)
        for name in (
            *("CategoricalCrossentropy", "BinaryCrossentropy", "Poisson", "KLDivergence"),
            *("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "CosineSimilarity"),
            "CategoricalFocalCrossentropy",
        )
    }
    sparse = pair("SparseCategoricalCrossentropy")
    before = keras.config.epsilon()
    try:
        for epsilon in (before, 1e-3):
            keras.config.set_epsilon(epsilon)
            for name, (ours, theirs) in made.items():
                a, b = (as_numpy(loss(y_true, y_pred)) for loss in (ours, theirs))
                same(a, b, f"{name} at {epsilon}")
            a, b = (as_numpy(loss(np.array([0, 0, 1]), y_pred)) for loss in sparse)
            same(a, b, f"sparse at {epsilon}")
    finally:
        keras.config.set_epsilon(before)


def ignores_by_mask() -> None:
    """Ignored classes count neither in the sum nor in the mean, whatever their rows hold."""
    y_true, y_pred = LABELS.copy(), LOGITS.copy()
    y_true[:2] = 1
    y_true[2:] = 0
    y_pred[0] = np.nan
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight"):
        for weight in (None, weights(6)):
            ours, theirs = (
                as_numpy(loss(y_true, y_pred, weight))
                for loss in pair(
                    "SparseCategoricalCrossentropy",
                    **{"from_logits": True, "ignore_class": 1, "reduction": reduction},
                )
            )
            same(ours, theirs, reduction)
    focal = losses.FocalLoss(gamma=0.0, ignore_class=1)
    plain = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)
    same(as_numpy(focal(y_true, y_pred)), as_numpy(plain(y_true, y_pred)), "focal")
    if BACKEND != "numpy":
        _, (gradient,) = value_and_gradients(lambda p: plain(y_true, p), [y_pred], [0])
        assert np.all(gradient[:2] == 0)
        assert np.all(np.isfinite(gradient))


def mask_of_the_prediction() -> None:
    """A mask that a layer gave the prediction leaves samples out."""
    from keras.src.backend import set_keras_mask

    for loss in pair("SparseCategoricalCrossentropy", from_logits=True):
        y_pred = ops.convert_to_tensor(LOGITS)
        set_keras_mask(y_pred, ops.convert_to_tensor(np.arange(6) < 3))
        found = as_numpy(loss(LABELS, y_pred))
        same(found, as_numpy(loss(LABELS[:3], LOGITS[:3])), "masked")


def labels_out_of_range() -> None:
    """A label that is no class: what Keras does on this backend."""
    y_true = LABELS.copy()
    for label, options in ((CLASSES, {}), (CLASSES, {"from_logits": True}), (-1, {}), (-100, {})):
        y_true[3] = label
        ours, theirs = (
            outcome(loss, y_true, CHANCES)
            for loss in pair("SparseCategoricalCrossentropy", **options)
        )
        if theirs[0] == "value":
            assert ours[0] == "value", ours
            same(ours[1], theirs[1], f"{label} {options}")
        else:
            assert ours[0] is theirs[0], (ours, theirs)


def errors_are_of_keras() -> None:
    """Bad input gives Keras' own errors."""
    wrong: list[tuple[str, dict[str, Any], Any, Any]] = [
        ("CategoricalCrossentropy", {}, LOGITS[:, :3], LOGITS),
        ("CategoricalCrossentropy", {"axis": True}, LOGITS, LOGITS),
        ("CategoricalFocalCrossentropy", {}, LOGITS[:, :3], LOGITS),
        ("CategoricalFocalCrossentropy", {"axis": True}, LOGITS, LOGITS),
        ("CategoricalFocalCrossentropy", {"alpha": [0.5, 0.5]}, LOGITS, LOGITS),
        ("BinaryCrossentropy", {}, LOGITS[:, :3], LOGITS),
        ("SparseCategoricalCrossentropy", {}, LABELS[:4], LOGITS),
        ("MeanSquaredError", {}, LOGITS[:, :3], LOGITS),
        ("CTC", {}, LABELS, LOGITS),
        ("CategoricalGeneralizedCrossEntropy", {"q": 2.0}, LABELS, LOGITS),
        ("MeanSquaredError", {"reduction": "average"}, LOGITS, LOGITS),
    ]
    for name, options, y_true, y_pred in wrong:
        ours, theirs = (
            outcome(made_and_called, getattr(m, name), options, y_true, y_pred)
            for m in (losses, keras.losses)
        )
        assert theirs[0] != "value", f"{name} {options}: Keras takes it"
        assert ours == theirs, (ours, theirs)


def sixteen_bits() -> None:
    """In 16 bits results are no further from Keras' in 32 than Keras' own are, but a rounding."""
    for dtype, unit in (("bfloat16", 2.0**-8), ("float16", 2.0**-11)):
        for name, cases in OF_KERAS.items():
            if name in ("CTC", "BinaryFocalCrossentropy", "Circle"):
                continue
            case = cases[-1]
            options = case.options[-1]
            y_true, y_pred = inputs(case)
            if "axis" in options and BACKEND == "numpy":
                continue
            tensor = ops.cast(ops.convert_to_tensor(y_pred), dtype)
            wide = as_numpy(tensor).astype("float32")
            if np.asarray(y_true).dtype.kind == "f":
                y_true = as_numpy(ops.cast(ops.convert_to_tensor(y_true), dtype)).astype("float32")
            truth = as_numpy(getattr(keras.losses, name)(**options)(y_true, wide))
            ours, theirs = (
                as_numpy(getattr(module, name)(**options, dtype=dtype)(y_true, tensor))
                for module in (losses, keras.losses)
            )
            if not np.isfinite(theirs):
                continue  # clipped at 1 - epsilon, which is 1
            slack = 4 * unit * max(1.0, abs(float(truth)))
            assert abs(ours - truth) <= abs(theirs - truth) + slack, (name, dtype, ours, truth)


def mixed_precision() -> None:
    """Under a policy of mixed precision a loss is that of float32, as Keras' is."""
    tensor = ops.cast(ops.convert_to_tensor(LOGITS), "bfloat16")
    for loss in pair("SparseCategoricalCrossentropy", from_logits=True):
        found = loss(LABELS, tensor)
        assert keras.backend.standardize_dtype(found.dtype) == "float32"
    a, b = (
        as_numpy(loss(LABELS, tensor))
        for loss in pair("SparseCategoricalCrossentropy", from_logits=True)
    )
    same(a, b, "of bfloat16")


def no_warnings() -> None:
    """No warning comes of any loss of usual inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, cases in (OF_KERAS | OWN).items():
            case = cases[0]
            if name in OWN and is_missing(name):
                continue
            y_true, y_pred = inputs(case)
            getattr(losses, name)(**case.options[0])(y_true, y_pred)


def seldom_inputs() -> None:
    """What kernels do not take goes to Keras: integers, broadcasting, empty batches, one class."""
    numbers: list[tuple[str, Any, Any]] = [
        ("mean_squared_error", np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3) ** 2),
        ("mean_squared_error", LOGITS, LOGITS[:, :1] * 2),
        ("mean_squared_error", LOGITS[:, :1], LOGITS[:, 0] * 2),
        ("mean_absolute_error", LOGITS[:0], LOGITS[:0]),
        ("sparse_categorical_crossentropy", LABELS[:0], LOGITS[:0]),
        ("sparse_categorical_crossentropy", LABELS.astype("float32"), CHANCES),
        ("binary_crossentropy", np.ones((3, 1)), np.full((3, 1), 0.25)),
    ]
    for name, y_true, y_pred in numbers:
        ours, theirs = (outcome(getattr(m, name), y_true, y_pred) for m in (losses, keras.losses))
        assert ours[0] == theirs[0], (name, ours, theirs)
        if ours[0] == "value":
            same(ours[1], theirs[1], name)


def symbolic() -> None:
    """A loss of symbolic tensors becomes a part of a model, as Keras' does."""
    x, y = keras.Input((CLASSES,)), keras.Input((CLASSES,))
    for name in ("mean_squared_error", "categorical_crossentropy", "kl_divergence"):
        values = [
            as_numpy(keras.Model([x, y], getattr(module, name)(x, y))([CHANCES, CHANCES[::-1]]))
            for module in (losses, keras.losses)
        ]
        same(values[0], values[1], name)


def differentiated_twice() -> None:
    """Second derivatives are right, or refused."""
    y_true, y_pred = labels_and_logits(np.random.default_rng(0))
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if BACKEND == "torch":
        import torch

        seconds = []
        for function in (loss, theirs):
            p = torch.tensor(y_pred, dtype=torch.float32, requires_grad=True)
            (first,) = torch.autograd.grad(function(y_true, p), p, create_graph=True)
            seconds.append(torch.autograd.grad(first.square().sum(), p)[0].numpy())
        same(seconds[0], seconds[1], "twice")
        return
    import tensorflow as tf

    p = tf.constant(y_pred, tf.float32)
    with tf.GradientTape() as outer:
        outer.watch(p)
        with tf.GradientTape() as inner:
            inner.watch(p)
            value = loss(y_true, p)
        first = tf.reduce_sum(inner.gradient(value, p) ** 2)
    with pytest.raises(NotImplementedError, match="differentiated twice"):
        outer.gradient(first, p)


def activations() -> None:
    """TensorFlow sees the logits behind a softmax or sigmoid, in eager code and in graphs."""
    import tensorflow as tf

    logits = 30 * LOGITS  # whose probabilities are clipped
    one_hot = np.eye(CLASSES, dtype="float32")[LABELS]
    for name, target, activation in (
        ("CategoricalCrossentropy", one_hot, keras.activations.softmax),
        ("SparseCategoricalCrossentropy", LABELS, keras.activations.softmax),
        ("BinaryCrossentropy", one_hot, keras.activations.sigmoid),
        ("BinaryFocalCrossentropy", one_hot, keras.activations.sigmoid),
        ("CategoricalCrossentropy", one_hot, tf.nn.softmax),
    ):
        found = []
        for loss in pair(name):

            def call(z: Any, loss: Any = loss, f: Any = activation, t: Any = target) -> Any:
                return loss(t, f(z))

            with counted() as names:
                found += [call(tf.constant(logits)), tf.function(call)(tf.constant(logits))]
            assert names or loss.__class__.__module__.startswith("keras")
        for a, b in zip(found[:2], found[2:], strict=True):
            same(as_numpy(a), as_numpy(b), name)


def graph() -> None:
    """In graphs of unknown batch sizes values, gradients and errors are as in eager code."""
    import tensorflow as tf

    loss, theirs = pair("SparseCategoricalCrossentropy", from_logits=True)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, CLASSES])])
    def gradient(t: Any, p: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(t, p)
        return value, tape.gradient(value, p)

    for n in (6, 2):
        found, slope = gradient(LABELS[:n], LOGITS[:n])
        assert slope.shape == (n, CLASSES)
        expected, (gradients,) = value_and_gradients(
            lambda p, n=n: theirs(LABELS[:n], p), [LOGITS[:n]], [0]
        )
        same(as_numpy(found), expected, f"{n}")
        same(as_numpy(slope), gradients, f"gradient of {n}")
    with pytest.raises(tf.errors.InvalidArgumentError, match="out of range"):
        gradient(LABELS + CLASSES, LOGITS)


def xla() -> None:
    """Graphs that XLA compiles take Keras' formula; this package's own losses refuse."""
    import tensorflow as tf

    y_true, y_pred = rows_and_chances(np.random.default_rng(0))
    given = tf.constant(y_true, tf.float32), tf.constant(y_pred, tf.float32)
    ours, theirs = (
        tf.function(loss, jit_compile=True)(*given) for loss in pair("CategoricalCrossentropy")
    )
    same(as_numpy(ours), as_numpy(theirs), "compiled")
    with pytest.raises(NotImplementedError, match="jit_compile=False"):
        tf.function(losses.FocalLoss(), jit_compile=True)(LABELS, tf.constant(LOGITS))
