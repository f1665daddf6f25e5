"""Kernels in torch's graph: derivatives of both orders, repeated passes, transforms, memory."""

from __future__ import annotations

import gc
import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fusedloss.torch import functional as F
from pointwise_cases import VARIED, Case, tensors
from torch_parts import by_kernel

T = torch.nn.functional


#: torch's own use of it
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated"),
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss"),
]


def logits(*shape: int, dtype: Any = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def labels(*shape: int, classes: int, seed: int = 1) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


Y = labels(4, classes=3)
IGNORED = Y.index_fill(0, torch.tensor(1), -100)
W = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
V = torch.tensor([1.0, 0.5, 0.0, 2.0], dtype=torch.float64)
P = logits(4, 3, seed=2).detach().softmax(1)
TEACHER = logits(4, 3, seed=3).detach()
SIGNS = TEACHER.sign()
SETS = torch.tensor([[0, 3], [1, -1], [-1, -1], [2, 2]])
TOP = (torch.tensor([[0, 1], [2, 0], [1, 2], [0, 2]]), P[:, :2].log())


def of_elements(case: Case) -> Callable[..., Tensor]:
    """A pointwise loss with its options, and a weight where it takes one."""
    function = getattr(F, case.name)
    weight = (
        {"weight": W.expand(4, 3)} if "weight" in inspect.signature(function).parameters else {}
    )
    _, *others = tensors(case, logits(4, 3).detach())
    prediction = case.loss.domains[0].of_real
    return lambda z, **r: function(prediction(z), *others, **weight, **case.options, **r)


#: Losses of (4, 3) predictions.
LOSSES: dict[str, Callable[..., Tensor]] = {
    "plain": lambda z, **r: F.cross_entropy(z, Y, **r),
    "weighted": lambda z, **r: F.cross_entropy(z, IGNORED, W, label_smoothing=0.1, **r),
    "probabilities": lambda z, **r: F.cross_entropy(z, P, W, label_smoothing=0.1, **r),
    "sample weights": lambda z, **r: F.cross_entropy(z, IGNORED, W, sample_weight=V, **r),
    "capped": lambda z, **r: F.cross_entropy(z, Y, softcap=2.0, z_loss=0.1, **r),
    "outputs": lambda z, **r: F.cross_entropy(z, Y, outputs=("entropy",), **r)[0],
    "log-probabilities": lambda z, **r: F.nll_loss(z, IGNORED, W, **r),
    "categorical": lambda z, **r: F.categorical_cross_entropy(
        z.softmax(1), IGNORED, label_smoothing=0.1, **r
    ),
    "focal of probabilities": lambda z, **r: F.categorical_cross_entropy(
        z.softmax(1), IGNORED, label_smoothing=0.1, alpha=W, gamma=1.5, **r
    ),
    "focal": lambda z, **r: F.focal_loss(z, IGNORED, alpha=W, gamma=1.5, **r),
    "soft": lambda z, **r: F.soft_cross_entropy(z, TEACHER, temperature=2.0, **r),
    "distillation": lambda z, **r: F.distillation_loss(z, TEACHER, IGNORED, temperature=2.0, **r),
    "top-k distillation": lambda z, **r: F.distillation_loss(z, TOP, Y, sample_weight=V, **r),
    "linear": lambda z, **r: F.linear_cross_entropy(
        z, TEACHER, Y - 1, linear_bias=V, label_smoothing=0.1, ignore_index=-1, **r
    ),
    "linear, capped": lambda z, **r: F.linear_cross_entropy(z, TEACHER, Y, softcap=2.0, **r),
    "linear, from a teacher": lambda z, **r: F.linear_distillation_loss(
        z, TEACHER, P, P, target=IGNORED, alpha=0.25, sample_weight=V + 1, **r
    ),
    "linear, reverse": lambda z, **r: F.linear_distillation_loss(
        z, TEACHER, P, P, temperature=2.0, divergence="reverse", **r
    ),
    "linear, Jensen-Shannon": lambda z, **r: F.linear_distillation_loss(
        TEACHER, z, P, P, divergence="js", **r
    ),
    "linear, labels": lambda z, **r: F.linear_binary_cross_entropy(z, TEACHER, SETS, **r),
    "adaptive": lambda z, **r: F.adaptive_log_softmax_loss(
        z, TEACHER[:2], (P[:2], TEACHER[:2, :2]), Y, bias=V[:2], **r
    ),
    **{str(case): of_elements(case) for case in VARIED},
}

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
every_reduction = pytest.mark.parametrize("reduction", ["none", "mean", "sum"])


# ---- Derivatives -------------------------------------------------------------------------------


@every_reduction
@every_loss
def test_first_derivatives(loss: Callable[..., Tensor], reduction: str) -> None:
    z = logits(4, 3)
    assert by_kernel(loss(z, reduction=reduction))
    assert torch.autograd.gradcheck(lambda z: loss(z, reduction=reduction), z)


@every_reduction
@every_loss
def test_second_derivatives(loss: Callable[..., Tensor], reduction: str) -> None:
    assert torch.autograd.gradgradcheck(lambda z: loss(z, reduction=reduction), logits(4, 3))


def test_second_derivatives_are_those_of_torch() -> None:
    z, twin = logits(6, 5), logits(6, 5)
    target = labels(6, classes=5)
    for x, f in ((z, F), (twin, T)):
        (gradient,) = torch.autograd.grad(f.cross_entropy(x, target), x, create_graph=True)
        gradient.square().sum().backward()
    torch.testing.assert_close(z.grad, twin.grad, rtol=1e-12, atol=1e-15)


def test_the_hessian_is_that_of_torch() -> None:
    target = labels(2, classes=3)
    z = logits(2, 3).detach()
    ours, theirs = (
        torch.autograd.functional.hessian(lambda x, f=f: f.cross_entropy(x, target), z)
        for f in (F, T)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


# ---- Backward passes ---------------------------------------------------------------------------


@every_reduction
@pytest.mark.parametrize("scale", [1.0, 0.5, -3.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_graph_may_be_walked_again(dtype: Any, scale: float, reduction: str) -> None:
    """Equal gradients each time, none of them in the memory of another."""
    z = logits(5, 7, dtype=dtype)
    loss = F.cross_entropy(z, labels(5, classes=7), reduction=reduction)
    grad_output = torch.full_like(loss, scale)
    gradients = []
    for _ in range(3):
        (gradient,) = torch.autograd.grad(loss, z, grad_output, retain_graph=True)
        gradients.append(gradient.clone())
        gradient.fill_(99)
    expected = torch.autograd.grad(
        F.cross_entropy(z, labels(5, classes=7), reduction=reduction), z, grad_output
    )[0]
    for gradient in gradients:
        # scaled after rounding, or before: up to one ULP each
        torch.testing.assert_close(gradient, expected, rtol=2 * torch.finfo(dtype).eps, atol=0)


def test_different_grad_outputs_of_one_graph() -> None:
    z = logits(5, 7)
    loss = F.cross_entropy(z, labels(5, classes=7))
    once, twice, thrice = (
        torch.autograd.grad(loss, z, torch.tensor(scale, dtype=z.dtype), retain_graph=True)[0]
        for scale in (2.0, 1.0, 0.5)
    )
    torch.testing.assert_close(once, 2 * twice, rtol=1e-15, atol=0)
    torch.testing.assert_close(thrice, twice / 2, rtol=1e-15, atol=0)


def test_gradients_accumulate() -> None:
    z, twin = logits(5, 7), logits(5, 7)
    target = labels(5, classes=7)
    for x, f in ((z, F), (twin, T)):
        loss = f.cross_entropy(x, target)
        loss.backward(retain_graph=True)
        loss.backward()
        (f.cross_entropy(x, target, reduction="sum") / 3).backward()
    torch.testing.assert_close(z.grad, twin.grad, rtol=1e-14, atol=1e-16)


def test_a_graph_is_freed_as_in_torch() -> None:
    z = logits(5, 7)
    loss = F.cross_entropy(z, labels(5, classes=7))
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_a_loss_kept_keeps_nothing_of_the_size_of_the_logits() -> None:
    """A list of losses, say: neither logits nor gradient lives on in their graphs."""
    weight = logits(11, 11)
    loss = F.cross_entropy(logits(5, 11).detach() @ weight, labels(5, classes=11))
    loss.backward()
    gc.collect()
    assert loss.grad_fn is not None
    assert not [x for x in gc.get_objects() if type(x) is Tensor and x.shape == (5, 11)]


CHANGED = "modified by an inplace operation"

#: By which the tensors of a loss may be changed in place.
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x,
    "a view": lambda x: x[:1],
    "an alias": lambda x: x.detach(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("argument", ["logits", "target", "weight", "sample_weight"])
@every_reduction
def test_changing_an_argument_in_place(
    reduction: str, argument: str, change: Callable[[Tensor], Tensor]
) -> None:
    """The first gradients of mean and sum are right; whatever needs the old values raises."""

    def loss() -> tuple[dict[str, Tensor], Tensor]:
        given: dict[str, Any] = {
            "logits": logits(4, 3) * 1,
            "target": Y.clone(),
            "weight": W.clone(),
            "sample_weight": V.clone(),
        }
        options = {name: given[name] for name in ("weight", "sample_weight")}
        value = F.cross_entropy(given["logits"], given["target"], reduction=reduction, **options)
        return given, value

    given, value = loss()
    (expected,) = torch.autograd.grad(value.sum() * 3, given["logits"])
    for create_graph in (False, True):
        given, value = loss()
        with torch.no_grad():
            change(given[argument]).zero_()
        if reduction == "none" or create_graph:
            with pytest.raises(RuntimeError, match=CHANGED):
                torch.autograd.grad(value.sum(), given["logits"], create_graph=create_graph)
            continue
        total = value * 3
        (gradient,) = torch.autograd.grad(total, given["logits"], retain_graph=True)
        torch.testing.assert_close(gradient, expected, rtol=1e-14, atol=1e-16)
        with pytest.raises(RuntimeError, match=CHANGED):
            torch.autograd.grad(total, given["logits"])


def test_changing_the_loss_in_place() -> None:
    """A mask over the losses, say."""
    z, twin = logits(4, 3), logits(4, 3)
    for x, f in ((z, F), (twin, T)):
        losses = f.cross_entropy(x, Y, reduction="none")
        losses.mul_(V)
        losses.sum().backward()
    torch.testing.assert_close(z.grad, twin.grad, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_the_gradient_lies_as_the_logits_do(reduction: str) -> None:
    """Which saves a copy where it is accumulated."""
    z = logits(2, 3, 4, 5).detach().to(memory_format=torch.channels_last).requires_grad_()
    target = labels(2, 4, 5, classes=3)
    F.cross_entropy(z, target, reduction=reduction).sum().backward()
    assert z.grad.stride() == z.stride() != z.contiguous().stride()
    twin = z.detach().contiguous().requires_grad_()
    T.cross_entropy(twin, target, reduction=reduction).sum().backward()
    torch.testing.assert_close(z.grad, twin.grad, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_any_layout_of_grad_output(dtype: Any) -> None:
    z = logits(4, 3, 2, dtype=dtype)
    target = labels(4, 2, classes=3)
    grad_output = torch.arange(1, 9, dtype=dtype).reshape(2, 4).T
    (gradient,) = torch.autograd.grad(F.cross_entropy(z, target, reduction="none"), z, grad_output)
    (plain,) = torch.autograd.grad(
        F.cross_entropy(z, target, reduction="none"), z, grad_output.contiguous()
    )
    assert torch.equal(gradient, plain)
    one = torch.ones((), dtype=dtype)
    losses = [F.cross_entropy(z, target, reduction="none") for _ in range(2)]
    (gradient,) = torch.autograd.grad(losses[0], z, one.expand(4, 2))
    (plain,) = torch.autograd.grad(losses[1], z, torch.ones(4, 2, dtype=dtype))
    assert torch.equal(gradient, plain)


def test_a_batch_of_grad_outputs() -> None:
    z = logits(4, 3)
    for reduction, shape in (("mean", ()), ("none", (4,))):
        batch = torch.linspace(-1, 1, 3 * max(1, *shape, 1), dtype=z.dtype).reshape(3, *shape)
        ours, theirs = (
            torch.autograd.grad(
                f.cross_entropy(z, Y, reduction=reduction), z, batch, is_grads_batched=True
            )[0]
            for f in (F, T)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-16)


@pytest.mark.filterwarnings("ignore:Using backward")  # with create_graph, of a reference cycle
@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_of_the_logits_run_once(create_graph: bool) -> None:
    z = logits(4, 3)
    seen = []
    z.register_hook(lambda gradient: seen.append(gradient))
    F.cross_entropy(z, Y).backward(create_graph=create_graph)
    assert len(seen) == 1


def test_a_hook_may_change_the_gradient_in_place() -> None:
    z = logits(4, 3)
    x = z * 1
    x.register_hook(lambda gradient: gradient.mul_(0))
    loss = F.cross_entropy(x, Y)
    loss.backward(retain_graph=True)
    assert not z.grad.any()
    (gradient,) = torch.autograd.grad(loss, x)
    assert not gradient.any()


@pytest.mark.parametrize("scale", [3.0, 0.7, -1e-3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scaled_gradients_are_rounded_once(dtype: Any, scale: float) -> None:
    z = logits(50, 40, dtype=dtype)
    target = labels(50, classes=40)
    exact = z.detach().double().requires_grad_()
    factor = torch.tensor(scale, dtype=dtype)
    T.cross_entropy(exact, target, reduction="sum").mul(factor.double()).backward()
    F.cross_entropy(z, target, reduction="sum").mul(factor).backward()
    # half a unit in the last place, and what float32 loses before; or half of the smallest number
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    torch.testing.assert_close(
        z.grad.double(), exact.grad, rtol=torch.finfo(dtype).eps * 0.501, atol=smallest * 0.501
    )


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_second_derivatives_of_rows_that_count_nothing(reduction: str) -> None:
    """What a row of sample weight 0 holds leaves no trace in derivatives of the formula."""
    z, target = logits(6, 5), labels(6, classes=5)
    weight = torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0, 0.5], dtype=z.dtype)
    with torch.no_grad():
        z[1], z[3, 2] = torch.nan, torch.inf
    loss = F.cross_entropy(z, target, sample_weight=weight, reduction=reduction).sum()
    (first,) = torch.autograd.grad(loss, z, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), z)
    for derivative in (first, second):
        assert torch.isfinite(derivative).all()
        assert not derivative[weight == 0].any()
        assert derivative[weight != 0].all()


def test_loss_scaling_does_not_underflow() -> None:
    """Gradients that float16 cannot hold before they are scaled."""
    z = torch.zeros(4096, 8, dtype=torch.float16)
    z[:, 0] = 9
    target = torch.zeros(len(z), dtype=torch.long)
    exact = z.double().requires_grad_()
    (T.cross_entropy(exact, target) * 2.0**15).backward()
    z.requires_grad_()
    (F.cross_entropy(z, target) * 2.0**15).backward()
    assert z.grad.all()
    torch.testing.assert_close(z.grad.double(), exact.grad, rtol=2.0**-11, atol=0)  # one rounding


def test_saved_tensors_hooks() -> None:
    """Gradients kept elsewhere: packed and unpacked copies."""
    z, twin = logits(4, 3), logits(4, 3)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.numpy(force=True), torch.tensor):
        loss = F.cross_entropy(z, Y, W)
    (loss * 2).backward()
    (T.cross_entropy(twin, Y, W) * 2).backward()
    torch.testing.assert_close(z.grad, twin.grad, rtol=1e-14, atol=1e-16)


def test_checkpoint() -> None:
    z, twin = logits(4, 3), logits(4, 3)
    torch.utils.checkpoint.checkpoint(
        lambda z: F.cross_entropy(z.sin(), Y), z, use_reentrant=False
    ).backward()
    T.cross_entropy(twin.sin(), Y).backward()
    torch.testing.assert_close(z.grad, twin.grad, rtol=1e-14, atol=1e-16)


def test_inference_mode() -> None:
    z = logits(4, 3)
    with torch.inference_mode():
        loss = F.cross_entropy(z, Y)
        assert loss.is_inference()
        made = logits(4, 3)
    torch.testing.assert_close(loss, T.cross_entropy(z.detach(), Y), rtol=1e-14, atol=0)
    # torch takes logits of inference mode, and attaches no graph
    assert F.cross_entropy(made, Y).grad_fn is None


# ---- Transforms and tracing --------------------------------------------------------------------


def test_transforms() -> None:
    z = logits(4, 3).detach()

    def results(f: Any) -> list[Any]:
        def loss(z: Tensor) -> Any:
            return f.cross_entropy(z, Y, label_smoothing=0.1)

        return [
            torch.func.grad(loss)(z),
            torch.func.vmap(lambda row, y: f.cross_entropy(row, y))(z, Y),
            torch.func.hessian(loss)(z),
            torch.func.jvp(loss, (z,), (z,)),
            torch.func.vjp(loss, z)[1](torch.ones((), dtype=z.dtype)),
            torch.autograd.functional.jacobian(loss, z, vectorize=True),
        ]

    torch.testing.assert_close(results(F), results(T), rtol=1e-13, atol=1e-16)


@every_loss
def test_transforms_of_every_loss(loss: Callable[..., Tensor]) -> None:
    z = logits(4, 3)
    expected = torch.autograd.grad(loss(z), z)[0]
    torch.testing.assert_close(torch.func.grad(loss)(z.detach()), expected, rtol=1e-12, atol=1e-15)


def test_forward_mode() -> None:
    z, tangent = logits(4, 3).detach(), logits(4, 3, seed=5).detach()
    forward_ad = torch.autograd.forward_ad
    with forward_ad.dual_level():
        ours, theirs = (
            forward_ad.unpack_dual(f.cross_entropy(forward_ad.make_dual(z, tangent), Y))
            for f in (F, T)
        )
    assert torch.equal(ours.primal, theirs.primal)
    assert torch.equal(ours.tangent, theirs.tangent)


def test_forward_over_reverse_of_a_kernel() -> None:
    """The tangent of a grad_output, of a loss computed before."""
    z = logits(4, 3)
    loss = F.cross_entropy(z, Y)
    forward_ad = torch.autograd.forward_ad
    with forward_ad.dual_level():
        grad_output = forward_ad.make_dual(*torch.tensor([1.0, 2.0], dtype=z.dtype))
        (gradient,) = torch.autograd.grad(loss, z, grad_output)
        primal, tangent = forward_ad.unpack_dual(gradient)
    torch.testing.assert_close(tangent, 2 * primal, rtol=1e-15, atol=0)


@pytest.mark.filterwarnings("error::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_traced_functions_follow_their_input() -> None:
    traced = torch.jit.trace(F.cross_entropy, (logits(4, 3).detach(), Y))
    z = logits(4, 3, seed=7).detach()
    torch.testing.assert_close(traced(z, Y), T.cross_entropy(z, Y), rtol=1e-14, atol=0)


def test_dispatch_modes_see_operations() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False):
        assert not by_kernel(F.cross_entropy(logits(4, 3), Y))
    fake = torch._subclasses.FakeTensorMode()
    with fake:
        loss = F.cross_entropy(torch.empty(4, 3), torch.empty(4, dtype=torch.long))
        assert type(loss) is torch._subclasses.FakeTensor
    loss = F.cross_entropy(fake.from_tensor(torch.zeros(4, 3)), fake.from_tensor(Y))
    assert type(loss) is torch._subclasses.FakeTensor


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "capped",
        "focal",
        "linear",
        "linear, capped",
        "linear, from a teacher",
        "linear, labels",
        "distillation",
        "huber_loss-delta_4.0",
        "sigmoid_focal_loss-label_smoothing_0.3-gamma_0.5-alpha_None",
        "tweedie_loss-power_3.0",
    ],
)
def test_compiled_without_a_graph_break(name: str) -> None:
    torch._dynamo.reset()
    loss = LOSSES[name]
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=True)
    z, twin = logits(4, 3), logits(4, 3)
    value = compiled(z)
    value.backward()
    expected = loss(twin)
    assert by_kernel(expected)
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(z.grad, twin.grad, rtol=1e-13, atol=1e-15)


@every_reduction
def test_a_compiled_backward_pass(reduction: str) -> None:
    """Of a loss that a kernel computed: a compiler reads what its node does as any function."""
    torch._dynamo.reset()
    z, twin = logits(4, 3), logits(4, 3)
    loss = F.cross_entropy(z, Y, reduction=reduction)
    assert by_kernel(loss)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        loss.sum().backward()
    T.cross_entropy(twin, Y, reduction=reduction).sum().backward()
    torch.testing.assert_close(z.grad, twin.grad, rtol=1e-13, atol=1e-16)


# ---- Memory ------------------------------------------------------------------------------------

PEAKS = """
import ctypes, gc, json, sys
import torch
from fusedloss.torch import functional as F

rows, classes = 1024, 16384
dtype = getattr(torch, sys.argv[1])
logits = torch.full((rows, classes), 0.5, dtype=dtype, requires_grad=True)
target = torch.randint(classes, (rows,))

def forward():
    with torch.no_grad():
        F.cross_entropy(logits, target)

def mean():
    F.cross_entropy(logits, target).backward()

def scaled():
    (F.cross_entropy(logits, target) * 0.5).backward()

def none():
    F.cross_entropy(logits, target, reduction="none").sum().backward()

def upstream():
    (F.cross_entropy(logits * 1, target) * 0.5).backward()

def again():
    F.cross_entropy(logits, target).backward(retain_graph=True)

def focal():
    F.focal_loss(logits, target, softcap=30.0, outputs=("lse",))[0].backward()

def status(field):
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024

def peak(call):
    call()
    logits.grad = None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    call()
    return (status("VmHWM") - before) / logits.nbytes

calls = forward, mean, scaled, none, upstream, again, focal
print(json.dumps({call.__name__: peak(call) for call in calls}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nothing_of_the_logits_size_but_the_gradient(
    dtype: str, run_python: Callable[..., str]
) -> None:
    """Peak memory in sizes of the logits, 64 or 32 MB; 5 % for workspaces and the allocator."""
    # without the cache, in which the gradient's memory is there already
    peaks = json.loads(run_python(PEAKS, dtype, FUSEDLOSS_CACHE="0"))
    expected = {
        "forward": 0,
        "mean": 1,
        "scaled": 1,
        "none": 1,
        "upstream": 2,  # the logits made there, and the gradient, which is passed on
        "again": 1,
        "focal": 1,
    }
    assert peaks == pytest.approx(expected, abs=0.05)
