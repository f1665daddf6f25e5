"""Options of modules: constructor, repr, checks and registration; dtypes and autocast."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import fusedloss.torch as front  # noqa: E402
from fusedloss.torch.modules._fields import Module  # noqa: E402
from fusedloss.torch.modules.margin import Head  # noqa: E402
from fusedloss.torch.modules.mining import Miner  # noqa: E402
from fusedloss.torch.modules.proxies import Proxies  # noqa: E402
from module_cases import MODULES, OWNING, P, W, Y, Z  # noqa: E402
from parts import public  # noqa: E402
from torch_parts import outcome  # noqa: E402

nn = torch.nn

CLASSES: list[type[Module]] = sorted(
    {x for name in public(front) if isinstance(x := getattr(front, name), type)},
    key=lambda module: module.__name__,
)

#: What a constructor needs, where it needs something.
NEEDED: dict[str, Any] = {
    "embedding_dim": 3,
    "num_classes": 3,
    "in_features": 3,
    "n_classes": 3,
    "cutoffs": [1],
    "feature_extractor": nn.Sequential(nn.Linear(3, 2)),
    "layers": ["0"],
}

#: Modules that own weights, called with rows and labels.
OWNERS = [module for module in CLASSES if issubclass(module, OWNING)]

#: Modules whose numbers are sizes of layers, which functions do not take.
OF_LAYERS = ("AdaptiveLogSoftmaxWithLoss", "LinearCrossEntropyLoss")

#: (module, its options, its inputs)
CALLS: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    *[(name, options, inputs) for name, options, inputs, *_ in MODULES],
    *[(module.__name__, {}, (Z, Y)) for module in OWNERS],
    *[
        (module.__name__, {"class_weight": W, "label_smoothing": 0.1, "annealing": 0.5}, (Z, Y))
        for module in OWNERS
        if issubclass(module, Head)
    ],
    ("LinearCrossEntropyLoss", {"softcap": 2.0, "z_loss": 0.1, "weight": W}, (Z, Y)),
    ("PerceptualLoss", {"criterion": "l1"}, (Z, P)),
]
of_calls = pytest.mark.parametrize(
    ("name", "options", "inputs"), CALLS, ids=[f"{name}-{'-'.join(o)}" for name, o, _ in CALLS]
)
of_classes = pytest.mark.parametrize("module", CLASSES, ids=lambda module: module.__name__)


def made(module: type[Module], **options: Any) -> Any:
    """A module with the arguments that it needs, and others; the same numbers every time."""
    parameters = inspect.signature(module).parameters.values()
    needed = {p.name: NEEDED[p.name] for p in parameters if p.default is p.empty}
    torch.manual_seed(0)
    return module(**{**copy.deepcopy(needed), **options})


def cast(inputs: Any, dtype: Any) -> Any:
    """Tensors of floats in a dtype; the first is a leaf that wants a gradient."""
    return tuple(
        x.detach().to(dtype).requires_grad_(k == 0)
        if isinstance(x, torch.Tensor) and x.is_floating_point()
        else x
        for k, x in enumerate(inputs)
    )


def loss_of(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def options_of(module: type[Module]) -> list[str]:
    """The names of the options that are kept."""
    left_out = {"size_average", "reduce", "device", "dtype", "bias", "feature_extractor"}
    return [name for name in inspect.signature(module).parameters if name not in left_out]


def test_calls_have_every_loss() -> None:
    losses = {module.__name__ for module in CLASSES if not issubclass(module, Miner)}
    assert {getattr(front, name).__name__ for name, *_ in CALLS} == losses


@of_classes
def test_signature_and_repr_say_the_options(module: type[Module]) -> None:
    """Names, types and defaults; defaults are no attributes of the class."""
    instance = made(module)
    parameters = inspect.signature(module).parameters
    said = repr(instance)
    for name in options_of(module):
        assert "InitVar" not in str(parameters[name].annotation)
        if not (issubclass(module, Head) and name == "seed"):
            assert f"{name}=" in said
        if isinstance(parameters[name].default, float):
            assert f"{name}={getattr(instance, name)!r}" in said
    assert "0x" not in said or issubclass(module, Miner)
    assert hash(instance) == hash(instance)
    assert instance != copy.deepcopy(instance)


@of_classes
def test_a_wrong_option_is_an_error_of_the_constructor(module: type[Module]) -> None:
    """A word where there is a number, or another word; what is true or false takes anything."""
    free = {"weights", "options", "seed", "distance_function", "out_features"}
    for name, parameter in inspect.signature(module).parameters.items():
        if name not in options_of(module) or name in free or isinstance(parameter.default, bool):
            continue
        with pytest.raises((TypeError, ValueError, RuntimeError, AttributeError)) as caught:
            made(module, **{name: "nope"})
        own = not hasattr(nn, module.__name__)
        assert caught.type is not RuntimeError or not own
        if own and name != "layers":
            assert name in str(caught.value)


NUMBERS = [-1, 0, 0.5, 2, 1e300, float("nan"), float("inf"), 10**400]


@of_calls
def test_constructors_take_what_calls_take(
    name: str, options: dict[str, Any], inputs: tuple[Any, ...]
) -> None:
    """A number that a constructor takes is no error of a call; one that it refuses is."""
    module = getattr(front, name)
    if not hasattr(module, "function") or name in OF_LAYERS:
        return
    function = module.function
    for option, parameter in inspect.signature(module).parameters.items():
        if type(parameter.default) not in (int, float) or option in (
            "ignore_index",  # right or wrong for the labels
            *module.of_input,
            *module.of_module,
            *(["beta"] if name == "GRPOLoss" else []),  # which needs a reference
        ):
            continue
        for number in NUMBERS if not hasattr(nn, name) else NUMBERS[:4]:
            given = {**options, option: number}
            keywords = {
                key
                for key, x in inspect.signature(function).parameters.items()
                if x.kind is x.KEYWORD_ONLY or key in ("sample_weight", "weight", "where")
            }
            arguments = dict(
                zip(inspect.signature(module.forward).parameters, ("", *inputs), strict=False)
            )
            arguments.pop("self")
            more = {k: arguments.pop(k) for k in keywords & arguments.keys()}
            if issubclass(module, Proxies | front.ManifoldLoss):
                arguments = {"e": Z, "w": Z[:3], "y": Y}
            if issubclass(module, OF_VIEWS):
                arguments = {"e": Z, "r": Z.flip(0)}
            of_call = outcome(function, *arguments.values(), **more, **given)[0]
            of_constructor = outcome(made, module, **given)[0]
            failed = isinstance(of_call, tuple) and isinstance(of_call[0], type)
            refused = isinstance(of_constructor, tuple)
            assert refused == failed, (option, number, of_call, of_constructor)


@of_calls
def test_copies(name: str, options: dict[str, Any], inputs: tuple[Any, ...]) -> None:
    module = made(getattr(front, name), **options)
    expected = loss_of(module.eval()(*inputs))
    for twin in (copy.copy(module), copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(twin) == repr(module)
        assert twin.state_dict().keys() == module.state_dict().keys()
        torch.testing.assert_close(loss_of(twin(*inputs)), expected, rtol=0, atol=0)


@of_calls
@pytest.mark.parametrize("convert", ["half", "bfloat16", "double"])
def test_modules_of_another_dtype(
    name: str, options: dict[str, Any], inputs: tuple[Any, ...], convert: str
) -> None:
    """Weights, statistics and tensors given as options follow."""
    dtype = getattr(torch.zeros(()), convert)().dtype
    module = getattr(made(getattr(front, name), **options), convert)()
    own = cast(inputs, dtype)
    for _ in range(2):
        loss = loss_of(module(*own))
    assert loss.dtype is dtype
    assert bool(loss.isfinite().all())
    if loss.requires_grad:
        loss.sum().backward()
        assert all(x.grad is None or bool(x.grad.isfinite().all()) for x in (*module.parameters(),))


@pytest.fixture
def default_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@of_calls
def test_another_default_dtype(
    name: str, options: dict[str, Any], inputs: tuple[Any, ...], default_double: None
) -> None:
    """Weights are of the default dtype; losses of the inputs'."""
    module = made(getattr(front, name), **options)
    owner = any(x.dtype is torch.float64 for x in module.parameters())
    dtype = torch.float64 if owner else torch.float32
    if name == "PerceptualLoss":
        dtype = next(module.parameters()).dtype
    loss = loss_of(module(*cast(inputs, dtype)))
    assert loss.dtype is dtype
    assert bool(loss.isfinite().all())


@pytest.mark.parametrize("name", ["AdaFaceLoss", "CurricularFaceLoss"])
@pytest.mark.parametrize("convert", ["half", "bfloat16", "double"])
def test_statistics_move_in_any_dtype(name: str, convert: str) -> None:
    """They are those of a float32 module, whose steps 16 bits would lose, and are saved so."""
    module, twin = (made(getattr(front, name)) for _ in range(2))
    if name == "AdaFaceLoss":
        module.t_alpha = twin.t_alpha = 0.01
    getattr(module, convert)()
    with torch.no_grad():
        twin.weight.copy_(module.weight)
    for _ in range(20):
        x = torch.randn(8, 3).bfloat16()
        y = torch.randint(3, (8,))
        module(x.to(module.weight.dtype), y)
        twin(x.float(), y)
    for statistic in module.statistics:
        ours, theirs = getattr(module, statistic), getattr(twin, statistic)
        assert ours.dtype is (torch.float64 if convert == "double" else torch.float32)
        torch.testing.assert_close(ours.float(), theirs, rtol=1e-5, atol=1e-6)


@of_calls
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_losses_are_float32_under_autocast(
    name: str, options: dict[str, Any], inputs: tuple[Any, ...], dtype: Any
) -> None:
    """That of the same numbers in float32; gradients have the dtypes of what they are by."""
    module = made(getattr(front, name), **options)
    linear = name in ("LinearCrossEntropyLoss", "PerceptualLoss")
    twin = copy.deepcopy(module)
    low = cast(inputs, dtype)
    wide = cast([x.detach() if isinstance(x, torch.Tensor) else x for x in low], torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(module(*low))
    expected = loss_of(twin(*wide))
    assert loss.dtype is torch.float32
    # what is left of a layer's products is as autocast has them
    close = {"rtol": 0.05, "atol": 0.05} if linear else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(loss, expected, **close)
    if not loss.requires_grad:
        return
    loss.sum().backward()
    expected.sum().backward()
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        if q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, **close)
    for x, y in zip(low, wide, strict=True):
        if isinstance(x, torch.Tensor) and y.is_leaf and y.requires_grad and y.grad is not None:
            assert x.grad.dtype is x.dtype
            half = torch.finfo(dtype).eps
            atol = 0.05 if linear else 1e-4
            torch.testing.assert_close(x.grad.float(), y.grad, rtol=2 * half, atol=atol)


@pytest.mark.parametrize("module", OWNERS, ids=lambda module: module.__name__)
def test_mixed_dtypes_are_errors_without_autocast(module: type[Module]) -> None:
    with pytest.raises(RuntimeError, match="same dtype"):
        made(module)(Z.bfloat16(), Y)


@pytest.mark.parametrize(
    "module",
    [x for x in OWNERS if x.__name__ not in OF_LAYERS],
    ids=lambda module: module.__name__,
)
def test_labels_of_heads_are_integers(module: type[Module]) -> None:
    head = made(module)
    expected = head.eval()(Z, Y)
    for dtype in (torch.int8, torch.uint8, torch.int16, torch.int32):
        torch.testing.assert_close(head(Z, Y.to(dtype)), expected, rtol=0, atol=0)
    head.train()
    for labels in (Y.float(), Y.bfloat16(), Y > 0):
        with pytest.raises(TypeError, match=rf"target has dtype {labels.dtype}: expected integers"):
            head(Z, labels)
    with pytest.raises(ValueError, match=r"target has shape \(4, 1\): expected \(4,\)"):
        head(Z, Y[:, None])


@pytest.mark.parametrize("convert", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_sampling_head_survives_copies_whole(convert: Any) -> None:
    """The same classes are drawn from then on, and sparse gradients are coalesced."""
    head = made(front.ArcFaceLoss, num_classes=40, sample_rate=0.25, seed=5)
    twin = convert(head)
    for _ in range(3):
        for each in (head, twin):
            each.zero_grad()
            each(Z, Y).backward()
            assert each.weight.grad.is_coalesced()
        assert torch.equal(head.weight.grad.indices(), twin.weight.grad.indices())


#: Options that are learnt, with inputs for which their gradient is not 0.
LEARNABLE = [
    ("InfoNCELoss", "temperature", 0.5, (Z, P)),
    ("NTXentLoss", "temperature", 0.5, (Z, Y)),
    ("SupConLoss", "temperature", 0.5, (Z, Y)),
    ("MarginLoss", "beta", 0.75, (Z, Y)),
]


@pytest.mark.parametrize(("name", "option", "number", "inputs"), LEARNABLE)
def test_parameters_given_as_options_are_learnt(
    name: str, option: str, number: float, inputs: Any
) -> None:
    """They are registered, and their gradient is that of central differences in float64."""
    parameter = nn.Parameter(torch.tensor(number, dtype=torch.float64))
    module = made(getattr(front, name), **{option: parameter})
    assert dict(module.named_parameters()) == {option: parameter}
    assert list(copy.deepcopy(module).state_dict()) == [option]
    own = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    module(*own).backward()
    step = 1e-5
    above, below = (
        made(getattr(front, name), **{option: number + by})(*own) for by in (step, -step)
    )
    expected = (above - below) / (2 * step)
    torch.testing.assert_close(parameter.grad, expected, rtol=1e-6, atol=1e-8)


@of_classes
def test_other_parameters_are_refused(module: type[Module]) -> None:
    """An option that is not learnt may not be a Parameter, which an optimiser would be given."""
    if hasattr(nn, module.__name__) and module is not front.CrossEntropyLoss:
        return
    for name, parameter in inspect.signature(module).parameters.items():
        if type(parameter.default) is float and name not in module.learnable:
            with pytest.raises(TypeError, match=f"{name} is a Parameter"):
                made(module, **{name: nn.Parameter(torch.tensor(parameter.default))})


def test_tensors_given_as_options_are_buffers() -> None:
    for name, option, x in (
        ("FocalLoss", "alpha", W),
        ("MarginLoss", "beta", torch.tensor(1.0)),
        ("ArcFaceLoss", "class_weight", W),
        ("CrossEntropyLoss", "weight", W),
    ):
        module = made(getattr(front, name), **{option: x})
        assert option in module.state_dict()
        assert getattr(module.double(), option).dtype is torch.float64
        assert option in repr(module)


BATCH = [
    module for module in CLASSES if "indices_tuple" in inspect.signature(module.forward).parameters
]
OF_LABELS = (
    *(front.NCALoss, front.FastAPLoss, front.SmoothAPLoss),
    *(front.NPairsLoss, front.AngularLoss),
)
#: Losses that take no references, in pytorch-metric-learning either.
OF_BATCHES = (
    front.NPairsLoss,
    front.HistogramLoss,
    front.InstanceLoss,
    front.SmoothAPLoss,
    front.PNPLoss,
)

#: Losses of two views of each row, without labels.
OF_VIEWS = (front.BarlowTwinsLoss, front.VICRegLoss)


#: Losses that take index tuples.
LISTED = [
    x
    for x in BATCH
    if x not in (front.RankedListLoss, front.PNPLoss, front.InstanceLoss, *OF_VIEWS)
]
PAIRS = (torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0, 1]), torch.tensor([2, 3]))
TRIPLETS = (torch.tensor([0, 3]), torch.tensor([1, 2]), torch.tensor([2, 5]))


@pytest.mark.parametrize("module", LISTED, ids=lambda module: module.__name__)
def test_transforms_leave_an_index_tuple_as_it_is(module: type[Module]) -> None:
    """Forward mode wraps the integers that an operator is given, labels of any dtype as well."""
    x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels, v = torch.arange(6) // 2, x.flip(0)
    loss = made(module).double().eval()  # in which no statistics move
    for y, listed in ((labels, PAIRS), (labels, TRIPLETS), (labels.to(torch.uint16), None)):

        def of(x: Any, y: Any = y, listed: Any = listed) -> Any:
            return loss(x, y, listed)

        leaf = x.clone().requires_grad_()
        value = of(leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
        tangent = torch.func.jvp(of, (x,), (v,))
        batched = torch.vmap(torch.func.grad(of))(torch.stack([x, v, x]))[2]
        for actual, expected in (
            (tangent, (value.detach(), (gradient * v).sum())),
            (torch.func.jacfwd(of)(x), gradient),
            (batched, gradient),
        ):
            # Both are float64, by formulas that add up in other orders.
            torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("module", LISTED, ids=lambda module: module.__name__)
def test_pairs_need_no_labels(module: type[Module]) -> None:
    """An index tuple says which pairs are positive; losses of all negatives need labels too."""
    x, y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) // 2
    loss = made(module).eval()  # in which no statistics move
    for listed in (PAIRS, TRIPLETS):
        if issubclass(module, OF_LABELS):
            with pytest.raises(TypeError, match="labels is None: expected integer labels"):
                loss(x, indices_tuple=listed)
            continue
        expected = loss(x, y, listed)
        torch.testing.assert_close(loss(x, indices_tuple=listed), expected, rtol=0, atol=0)
        x.requires_grad_()
        for create_graph in (False, True):
            gradients = [
                torch.autograd.grad(loss(x, labels, listed), x, create_graph=create_graph)[0]
                for labels in (y, None)
            ]
            torch.testing.assert_close(*gradients, rtol=0, atol=0)
        x.requires_grad_(False)
    with pytest.raises(TypeError, match="labels is None: expected integer labels"):
        loss(x)


@pytest.mark.parametrize(
    "module",
    [x for x in BATCH if x not in (*OF_BATCHES, *OF_VIEWS)],
    ids=lambda module: module.__name__,
)
def test_every_loss_takes_references(module: type[Module]) -> None:
    """Value and gradients of pytorch-metric-learning, called alike; it has no `normalize`."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    generator = torch.Generator().manual_seed(0)
    x, r = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (6, 8))
    x.requires_grad_(), r.requires_grad_()
    y, z = torch.arange(6) % 3, torch.arange(8) % 3
    ours = made(module)(x, y, None, r, z)
    gradients = torch.autograd.grad(ours, (x, r))
    assert all(bool(g.isfinite().all()) and bool((g != 0).any()) for g in gradients)
    if module in (front.LiftedStructureLoss, front.AngularLoss):
        theirs = getattr(losses, module.__name__)()(x, y, None, r, z)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=0)
        expected = torch.autograd.grad(theirs, (x, r))
        torch.testing.assert_close(gradients, expected, rtol=1e-8, atol=1e-12)
