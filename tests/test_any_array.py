"""Arrays as they come: every public function, every array argument, every odd kind of array.

A call of valid but odd arrays gives the same bits as one of plain arrays; any other raises a
TypeError, ValueError or IndexError that names the argument, and no warning of NumPy's is seen.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from calls import ERRORS, FUNCTIONS, arrays_of, assert_same, mapped, run, valid
from parts import Array

pytestmark = pytest.mark.filterwarnings("error")

LOSSES = [name for name in FUNCTIONS if hasattr(FUNCTIONS[name], "__fusedloss__")]
PLACES = [(name, argument) for name in FUNCTIONS for argument in arrays_of(name)]


def named(argument: str) -> str:
    """Return a pattern of messages that name an argument, as a word."""
    return rf"(?<![a-zA-Z_]){re.escape(argument)}(?![a-zA-Z_])"


def assert_runs_or_names(name: str, arguments: dict[str, Any], argument: str = "") -> None:
    """A call gives values, or an error that names an argument, if one is given."""
    try:
        run(name, arguments)
    except ERRORS as error:
        message = str(error)
    else:
        return
    assert re.search(named(argument) if argument else ".", message), message


def str_of(x: Any) -> str:
    return type(x).__name__


# ---- Odd arrays that are valid ------------------------------------------------------------------


def explicit_order(x: Array) -> Array:
    """Return a copy whose buffer's format says the byte order, as ctypes and loadmat give it."""
    if x.dtype.kind == "b":
        return x
    size: Any = {"f": {4: ctypes.c_float, 8: ctypes.c_double}, "i": {8: ctypes.c_int64}}
    kind: Any = size[x.dtype.kind][x.dtype.itemsize]
    given = np.ctypeslib.as_array((kind * x.size).from_buffer_copy(x.tobytes())).reshape(x.shape)
    assert (memoryview(given).format or "?")[0] in "<>"
    return given


def swapped(x: Array) -> Array:
    return x.astype(x.dtype.newbyteorder())


def misaligned(x: Array) -> Array:
    memory = np.zeros(x.nbytes + 1, np.uint8)[1:]
    given = memory.view(x.dtype).reshape(x.shape)
    given[...] = x
    return given


def strided(x: Array) -> Array:
    return np.repeat(x, 2, axis=-1)[..., ::2]


def backwards(x: Array) -> Array:
    return x[::-1].copy()[::-1]


def read_only(x: Array) -> Array:
    given = x.copy()
    given.flags.writeable = False
    return given


ODD: list[Callable[[Array], Array]] = [
    *(explicit_order, swapped, misaligned, strided, backwards, read_only)
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_odd_arrays_give_the_same(name: str, odd: Callable[[Array], Array]) -> None:
    arguments = valid(name)
    expected = run(name, arguments)
    for argument, x in arrays_of(name).items():
        assert_same(run(name, arguments | {argument: mapped(odd, x)}), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_out_whose_format_says_the_byte_order(name: str) -> None:
    arguments = valid(name)
    first = FUNCTIONS[name].__fusedloss__.differentiable[0]  # type: ignore[attr-defined]
    number = FUNCTIONS[name].__fusedloss__.parameters.index(first)  # type: ignore[attr-defined]
    function = fl.value_and_grad(FUNCTIONS[name], number)
    value, expected = function(**arguments)
    out = mapped(explicit_order, mapped(np.zeros_like, arguments[first]))
    again, gradient = function(**arguments, out=out)
    assert gradient is out or isinstance(out, list)
    assert_same([*_leaves([again, gradient])], [*_leaves([value, expected])])


def test_arrays_of_other_packages(tmp_path: Any) -> None:
    """What scipy, multiprocessing and lightgbm hand over."""
    x = np.linspace(-1, 1, 12).reshape(4, 3)
    y = np.array([0.0, 1.0, 0.0, 1.0])
    sio = pytest.importorskip("scipy.io")
    sio.savemat(tmp_path / "x.mat", {"x": x, "y": np.arange(4) % 3})
    loaded = sio.loadmat(tmp_path / "x.mat")
    expected = fl.cross_entropy(x, np.arange(4) % 3)
    assert fl.cross_entropy(loaded["x"], loaded["y"].ravel()) == expected
    import multiprocessing

    shared = np.frombuffer(multiprocessing.Array("d", 4).get_obj())  # type: ignore[call-overload]
    shared[...] = y
    assert fl.mse_loss(np.zeros(4), shared) == 0.5
    lightgbm = pytest.importorskip("lightgbm")
    label = lightgbm.Dataset(x, y, params={"verbose": -1}).construct().get_label()
    assert fl.mse_loss(np.zeros(4, "float32"), label) == 0.5


# ---- Identity labels ----------------------------------------------------------------------------

IDENTITIES = [
    name for name in FUNCTIONS if getattr(arrays_of(name).get("labels"), "dtype", None) == np.int64
]


@pytest.mark.parametrize("references", [False, True])
@pytest.mark.parametrize("dtype", [*"bhilqBHILQ", ">i8", ">u8"])
@pytest.mark.parametrize("name", IDENTITIES)
def test_identity_labels_of_every_integer_dtype(name: str, dtype: str, references: bool) -> None:
    arguments = valid(name, references)
    expected = run(name, arguments)
    y = arguments["labels"]
    for shift in (0, 2**63, 2**64 - 3) if dtype.endswith(("Q", "u8")) else (0,):
        given = {"labels": y.astype(np.uint64).astype(dtype) + np.dtype(dtype).type(shift)}
        if "ref_labels" in arguments:
            z = arguments["ref_labels"]
            given["ref_labels"] = z.astype(np.uint64).astype(dtype) + np.dtype(dtype).type(shift)
        assert_same(run(name, arguments | given), expected)


@pytest.mark.parametrize("name", [n for n in IDENTITIES if "ref_labels" in arrays_of(n)])
def test_int64_and_uint64_compare_as_numbers(name: str) -> None:
    """No label of one is taken for one of the other that has the same bits."""
    arguments = valid(name)
    y = np.array([-1, -1, 1, 1, 2, 2])
    z = np.array([2**64 - 1, 1, 2, 2, 2**64 - 1, 2**63], np.uint64)
    ranks = {number: i for i, number in enumerate({*y.tolist(), *z.tolist()})}
    as_ranks = [np.array([ranks[number] for number in x.tolist()]) for x in (y, z)]
    expected = run(name, arguments | {"labels": as_ranks[0], "ref_labels": as_ranks[1]})
    assert_same(run(name, arguments | {"labels": y, "ref_labels": z}), expected)
    expected = run(name, arguments | {"labels": as_ranks[1], "ref_labels": as_ranks[0]})
    assert_same(run(name, arguments | {"labels": z, "ref_labels": y}), expected)


# ---- What is no array that is taken -------------------------------------------------------------


@pytest.mark.parametrize(("name", "argument"), PLACES)
def test_none_is_named(name: str, argument: str) -> None:
    parameter = inspect.signature(FUNCTIONS[name]).parameters[argument]
    arguments = valid(name) | {argument: None}
    if parameter.default is None and not argument.startswith("ref_"):
        run(name, arguments)
    else:
        with pytest.raises((TypeError, ValueError), match=named(argument)):
            run(name, arguments)


def _replacements() -> Iterator[tuple[str, Callable[[Array], Any]]]:
    sparse = pytest.importorskip("scipy.sparse")
    yield "sparse", lambda x: sparse.csr_matrix(np.atleast_2d(x))
    yield "sparse array", lambda x: sparse.csr_array(np.atleast_2d(x))
    jax = pytest.importorskip("jax.numpy")
    yield "JAX", lambda x: jax.asarray(x)
    torch = pytest.importorskip("torch")
    yield "torch", lambda x: torch.from_numpy(x)
    yield "an object", lambda x: object()
    yield "text", lambda x: "text"
    yield "complex", lambda x: x.astype(complex)
    yield "times", lambda x: x.astype("M8[s]")
    yield "masked", lambda x: np.ma.masked_array(x)
    yield "ragged", lambda x: [[1, 2], [3]]
    yield "beyond 64 bits", lambda x: [10**400]


@pytest.mark.parametrize(("kind", "replaced"), [*_replacements()], ids=lambda x: str(x)[:14])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_objects_are_named(name: str, kind: str, replaced: Callable[[Array], Any]) -> None:
    """The error says which argument, and no module that cannot be imported."""
    for argument, x in arrays_of(name).items():
        arguments = valid(name) | {argument: mapped(replaced, x)}
        with pytest.raises((TypeError, ValueError), match=named(argument)) as caught:
            run(name, arguments)
        for module in re.findall(r"fusedloss(?:\.[a-z]+)+", str(caught.value)):
            importlib.import_module(module)
        if kind.startswith(("sparse", "JAX")):
            assert kind.split()[0] in str(caught.value)


# ---- Shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "argument"), PLACES)
def test_empty_beside_what_is_not(name: str, argument: str) -> None:
    x = arrays_of(name)[argument]
    for cut in (lambda a: a[:0], lambda a: a[..., :0], lambda a: np.zeros(0, a.dtype)):
        assert_runs_or_names(name, valid(name) | {argument: mapped(cut, x)})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_empty(name: str) -> None:
    """Of no row a value, or an error."""
    for cut in (lambda a: a[:0], lambda a: a[..., :0]):
        arguments = valid(name)
        empty = {k: mapped(cut, x) for k, x in arrays_of(name).items()}
        assert_runs_or_names(name, arguments | empty)


@pytest.mark.parametrize("dimensions", [9, 10, 33, 40, 64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_many_dimensions(name: str, dimensions: int) -> None:
    """The right value, or an error that names the argument."""
    if dimensions > 32 and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("this NumPy has no such arrays")
    for argument, x in arrays_of(name).items():
        many = mapped(lambda a: a.reshape((1,) * (dimensions - a.ndim) + a.shape), x)
        assert_runs_or_names(name, valid(name) | {argument: many})
    arguments = arrays_of(name)
    every = {
        k: mapped(lambda a: a.reshape(a.shape[:1] + (1,) * (dimensions - a.ndim) + a.shape[1:]), x)
        for k, x in arguments.items()
    }
    assert_runs_or_names(name, valid(name) | every)


def test_more_dimensions_than_numpy_broadcasts_are_counted() -> None:
    x = np.zeros((1,) * 40, "float32")
    for call in (fl.mse_loss, fl.l1_loss, fl.kl_div):
        with pytest.raises(ValueError, match="40 dimensions"):
            call(x, x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (2, 4, 3)])
def test_variance_of_rows(shape: tuple[int, ...], reduction: Any) -> None:
    """As torch's, which looks for the shape without the last dimension first."""
    random = np.random.default_rng(0)
    x, t = random.normal(size=(2, *shape))
    v = random.uniform(0.5, 2, shape[:-1])
    function = fl.value_and_grad(fl.gaussian_nll_loss, (0, 1, 2))
    value, (dx, dt, dv) = function(x, t, v[..., np.newaxis], reduction=reduction)
    for given in (v, v.tolist()):
        found, (fx, ft, fv) = function(x, t, given, reduction=reduction)
        assert_same([found, fx, ft, fv], [value, dx, dt, dv[..., 0]])
    out = np.zeros_like(v)
    _, (_, gradient) = fl.value_and_grad(fl.gaussian_nll_loss, (0, 2))(
        x, t, v, reduction=reduction, out=(None, out)
    )
    assert gradient is out
    assert_same([out], [dv[..., 0]])
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.gaussian_nll_loss(
        *map(torch.from_numpy, (x, t, v)), reduction=reduction
    )
    np.testing.assert_allclose(value, expected, rtol=1e-12)


# ---- Options ------------------------------------------------------------------------------------


def _float_options() -> Iterator[tuple[str, str]]:
    for name, function in FUNCTIONS.items():
        for parameter in inspect.signature(function).parameters.values():
            if re.search(r"\bfloat\b", str(parameter.annotation)) and "Array" not in str(
                parameter.annotation
            ):
                yield name, parameter.name


OPTIONS = [*_float_options()]
NUMBERS: list[Any] = [
    *(10**400, -(10**400), 10**5000, float("nan"), float("inf"), -float("inf"), 1e-320, 1e308),
    *(True, "1", b"1", 1j, np.complex128(1), None, object(), [0.5], np.array([0.5])),
    *(np.float32(0.5), np.float16(0.5), np.int64(1), np.array(0.5), np.array("0.5"), -1, 0),
]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_options_are_taken_or_named(name: str, option: str) -> None:
    for number in NUMBERS:
        assert_runs_or_names(name, valid(name) | {option: number}, option)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
@pytest.mark.parametrize("number", [10**400, 10**5000, "1", b"1", 1j, object()], ids=str_of)
def test_what_is_no_float_is_an_error(name: str, option: str, number: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=named(option)):
        run(name, valid(name) | {option: number})


def _other_options() -> Iterator[tuple[str, str]]:
    """Switches, and seeds."""
    for name, function in FUNCTIONS.items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.annotation == "bool" or parameter.name == "seed":
                yield name, parameter.name


NO_SWITCHES: list[Any] = [None, "two", "", 2, -1, 10**400, 0.5, 1j, object(), [], np.zeros(2)]
NO_SEEDS: list[Any] = [-1, -(10**400), 0.5, "two", object(), np.array([-1]), np.array([0.5, 1])]


@pytest.mark.parametrize(("name", "option"), [*_other_options()])
def test_switches_and_seeds_are_named(name: str, option: str) -> None:
    for given in NO_SEEDS if option == "seed" else NO_SWITCHES:
        with pytest.raises((TypeError, ValueError), match=named(option)):
            run(name, valid(name) | {option: given})


@pytest.mark.parametrize(("name", "option"), [*_other_options()])
def test_switches_and_seeds_of_other_types(name: str, option: str) -> None:
    for number in (0, 1):
        expected = run(name, valid(name) | {option: number if option == "seed" else number == 1})
        for given in (np.int64(number), np.uint8(number), np.bool_(number), number):
            if not (option == "seed" and isinstance(given, np.bool_)):
                assert_same(run(name, valid(name) | {option: given}), expected)


SCALES = ("temperature", "scale", "softmax_scale", "logit_scale", "softcap")
SCALED = [
    (name, option)
    for name, function in FUNCTIONS.items()
    for option in inspect.signature(function).parameters
    if option in SCALES and name != "siglip_loss"  # which multiplies by it, and takes 0
]


@pytest.mark.parametrize("number", [1e-320, 1e-200, 1e-39, 1e39, 1e200])
@pytest.mark.parametrize(("name", "option"), SCALED)
def test_scales_without_an_inverse_are_named(name: str, option: str, number: float) -> None:
    """Of the dtype that the loss is computed in."""
    with pytest.raises(ValueError, match=named(option)):
        run(name, valid(name) | {option: number})
    wide = {
        k: mapped(lambda a: a.astype(float) if a.dtype.kind == "f" else a, x)
        for k, x in arrays_of(name).items()
    }
    arguments = valid(name) | wide | {option: number}
    if 1e-100 < number < 1e100:
        run(name, arguments)
    else:  # the square of the inverse is infinite
        assert_runs_or_names(name, arguments, option)


# ---- Extreme numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-45, 0.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_warning_of_numpy(name: str, value: float) -> None:
    """Whatever the arrays hold: some of an argument's numbers, and all."""
    for argument, x in arrays_of(name).items():
        if getattr(x, "dtype", np.dtype("f4")).kind != "f":
            continue
        for places in (np.s_[:1], np.s_[::2], np.s_[:]):

            def spoil(a: Array, places: Any = places) -> Array:
                spoiled = a.copy()
                spoiled[places] = value
                return spoiled

            # An error is one of a value outside of the domain.
            assert_runs_or_names(name, valid(name) | {argument: mapped(spoil, x)}, argument)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_beyond_the_computing_type(name: str) -> None:
    """1e300 beside float32 is infinite, or refused: no warning of NumPy either way."""
    for argument, x in arrays_of(name).items():
        if getattr(x, "dtype", np.dtype("f4")).kind == "f":

            def far(a: Array) -> Array:
                return np.where(np.arange(a.size).reshape(a.shape) == 0, np.float64(1e300), a)

            assert_runs_or_names(name, valid(name) | {argument: mapped(far, x)}, argument)
    for option in ("alpha", "label_smoothing", "margin"):
        if option in inspect.signature(FUNCTIONS[name]).parameters:
            assert_runs_or_names(name, valid(name) | {option: 1e300}, option)


# ---- Transforms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_transforms_pickle_and_say_what_they_take(name: str) -> None:
    loss, record = FUNCTIONS[name], FUNCTIONS[name].__fusedloss__  # type: ignore[attr-defined]
    arguments = valid(name)
    first = record.parameters.index(record.differentiable[0])
    transforms = [fl.value_and_grad(loss, first), fl.value_and_grad(loss, (first,))]
    if record.hessian:
        transforms.append(fl.grad_and_hess(loss))
    for function in transforms:
        again = pickle.loads(pickle.dumps(function))
        given = {k: x for k, x in arguments.items() if k in inspect.signature(function).parameters}
        assert_same([*_leaves(again(**given))], [*_leaves(function(**given))])
        assert inspect.signature(again) == inspect.signature(function)
        assert record.name in (function.__doc__ or "")
        assert function.__name__.endswith(record.name)
    parameters = inspect.signature(transforms[0]).parameters
    assert [*parameters] == [*inspect.signature(loss).parameters, "grad_output", "out"]
    if record.hessian:
        parameters = inspect.signature(transforms[-1]).parameters
        assert not {"reduction", "outputs"} & {*parameters}


def _leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, (tuple, list)):
        for each in x:
            yield from _leaves(each)
    else:
        yield x
