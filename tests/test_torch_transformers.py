"""Language models of transformers, patched: the library's losses and gradients, without logits."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fusedloss.torch as front
from fusedloss.torch import transformers as patched
from torch_parts import by_kernel

os.environ |= {"USE_TF": "0", "USE_FLAX": "0", "TRANSFORMERS_VERBOSITY": "error"}

transformers = pytest.importorskip("transformers")

LABEL_SMOOTHER = "transformers.trainer_pt_utils"

SMALL = {
    "vocab_size": 97,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

#: What each model has between its head and its loss; options of its config.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("nothing", {}),
    "Qwen2": ("nothing, the weight tied", {"tie_word_embeddings": True}),
    "GPT2LMHeadModel": ("nothing, the weight tied; other names in the config", {}),
    "Gemma2": ("a cap", {"final_logit_softcapping": 0.5}),
    "Cohere": ("a factor", {"logit_scale": 0.125}),
    "Granite": ("a divisor", {"logits_scaling": 7.0}),
    "Phi": ("a bias of the head", {}),
    "Mixtral": (
        "a loss of the router added to it",
        {"num_local_experts": 2, "output_router_logits": True},
    ),
}

ids = torch.randint(3, 97, (3, 8), generator=torch.Generator().manual_seed(0))
labels = ids.clone()
labels[0, :3] = labels[2, 5:] = -100


def model(name: str, **options: Any) -> Any:
    """A model of a config, with noise in what starts as zeros and ones."""
    kind = name if name.endswith("Model") else f"{name}ForCausalLM"
    kind = getattr(transformers, kind)
    config = kind.config_class(**SMALL | MODELS[name][1] | options)
    for field in vars(config):
        if field.endswith(("_pdrop", "dropout")):
            setattr(config, field, 0.0)
    torch.manual_seed(0)
    made = kind(config).train()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return made


def twins(name: str, **options: Any) -> tuple[Any, Any]:
    """A model, and the same patched."""
    theirs = model(name, **options)
    ours = copy.deepcopy(theirs)
    front.patch_transformers(ours)
    return theirs, ours


def gradients(model: Any, loss: Any) -> list[Any]:
    return list(torch.autograd.grad(loss, [x for x in model.parameters() if x.requires_grad]))


def assert_same_training(
    theirs: Any, ours: Any, call: Callable[[Any], Any], rtol: float = 1e-5
) -> None:
    """The same loss and gradients; float32 sums in another order, through the layers."""
    losses = [call(each) for each in (theirs, ours)]
    torch.testing.assert_close(losses[1], losses[0], rtol=rtol, atol=0)
    for x, y in zip(gradients(theirs, losses[0]), gradients(ours, losses[1]), strict=True):
        torch.testing.assert_close(y, x, rtol=0, atol=rtol * float(x.abs().max()) + 1e-9)


@pytest.fixture
def no_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where logits are made."""

    def tensor(_logits: Any) -> Any:
        raise AssertionError("logits are made")

    monkeypatch.setattr(patched.Logits, "tensor", tensor)


CALLS: dict[str, dict[str, Any]] = {
    "mean": {"labels": labels},
    "tokens of all batches": {"labels": labels, "num_items_in_batch": torch.tensor(40)},
    "their number": {"labels": labels, "num_items_in_batch": 40},
    "shifted labels": {"labels": labels, "shift_labels": labels.roll(-1, 1)},
}


@pytest.mark.usefixtures("no_logits")
@pytest.mark.parametrize(
    ("name", "call"),
    [*((name, "tokens of all batches") for name in MODELS), *(("Gemma2", call) for call in CALLS)],
)
def test_losses_and_gradients_are_the_librarys(name: str, call: str) -> None:
    theirs, ours = twins(name)
    output = ours(ids, **CALLS[call])
    assert output.logits is None
    assert type(output) is type(theirs(ids, **CALLS[call]))
    assert_same_training(theirs, ours, lambda model: model(ids, **CALLS[call]).loss)


@pytest.mark.usefixtures("no_logits")
def test_the_loss_is_the_kernels() -> None:
    _, ours = twins("Llama")
    assert by_kernel(ours(ids, labels=labels).loss)


@pytest.mark.usefixtures("no_logits")
def test_accumulated_gradients() -> None:
    """Of micro-batches, told how many tokens all have, as of one batch; as the Trainer does."""
    theirs, ours = twins("Llama")
    count = (labels[:, 1:] != -100).sum()

    def accumulated(model: Any) -> Any:
        return sum(
            model(ids[part], labels=labels[part], num_items_in_batch=count).loss
            for part in (slice(0, 1), slice(1, 3))
        )

    assert_same_training(theirs, ours, accumulated)
    loss = ours(ids, labels=labels).loss
    torch.testing.assert_close(accumulated(ours), loss, rtol=1e-5, atol=0)


@pytest.mark.usefixtures("no_logits")
def test_all_tokens_ignored() -> None:
    theirs, ours = twins("Llama")
    nothing = torch.full_like(labels, -100)
    assert theirs(ids, labels=nothing).loss.isnan()
    assert ours(ids, labels=nothing).loss.isnan()


def test_logits_are_made_where_they_are_asked_for() -> None:
    theirs, ours = twins("Gemma2")

    def same(options: dict[str, Any], **more: Any) -> None:
        given, found = theirs(ids, **options), ours(ids, **options, **more)
        assert torch.equal(found.logits, given.logits)
        if given.loss is not None:
            assert torch.equal(found.loss, given.loss)

    same({})
    same({"labels": labels}, skip_logits=False)
    theirs.eval()
    ours.eval()
    same({"labels": labels})
    assert ours(ids, labels=labels, skip_logits=True).logits is None


def test_label_smoothing_of_the_trainer() -> None:
    """It takes the labels away, and asks for the logits."""
    smoother = pytest.importorskip(LABEL_SMOOTHER).LabelSmoother(0.1)
    theirs, ours = twins("Llama")

    def call(model: Any) -> Any:
        return smoother(model(ids), labels, shift_labels=True)

    assert_same_training(theirs, ours, call)


def test_models_that_do_more_with_their_logits() -> None:
    """A loss of one's own makes them, in a model whose forward is one's own too."""

    def z_loss(logits: Any, labels: Any, vocab_size: int, **options: Any) -> Any:
        loss = transformers.loss.loss_utils.ForCausalLMLoss(logits, labels, vocab_size, **options)
        return loss + 1e-2 * torch.logsumexp(logits, -1).square().mean()

    theirs, ours = twins("Gemma2")
    theirs.loss_function = ours.loss_function = z_loss
    assert_same_training(theirs, ours, lambda model: model(ids, labels=labels).loss)
    assert torch.equal(ours(ids, labels=labels).logits, theirs(ids, labels=labels).logits)


def test_masked_logits() -> None:
    """What is written into logits before the loss is in the loss."""

    def masked(logits: Any, labels: Any, vocab_size: int, **_options: Any) -> Any:
        logits[:, :, 5:9] = -1e9
        return nn.functional.cross_entropy(logits.view(-1, vocab_size), ids.view(-1) % 5)

    theirs, ours = twins("Llama")
    theirs.loss_function = ours.loss_function = masked
    assert_same_training(theirs, ours, lambda model: model(ids, labels=labels).loss)


def loss_of(z: Any, target: Any = labels, **options: Any) -> Any:
    return nn.functional.cross_entropy(z.reshape(-1, 97), target.flatten(), **options)


#: Functions of logits (3, 8, 97), and whether they need the numbers.
OPERATIONS: list[tuple[Callable[[Any], Any], bool]] = [
    (lambda z: loss_of(z * 2 / 3), False),
    (lambda z: loss_of(0.5 * z), False),
    (lambda z: loss_of((z / 3).tanh() * 3), False),
    (lambda z: loss_of(torch.tanh(z * 0.3) * 5), False),
    (lambda z: loss_of(z.tanh()), False),
    (lambda z: loss_of(z.float().contiguous().to(torch.float32)), False),
    (lambda z: loss_of(z, label_smoothing=0.1, reduction="sum"), False),
    (lambda z: loss_of(z, weight=torch.ones(97)), False),
    (lambda z: loss_of(z[..., :-1, :], labels[:, 1:]), False),
    (lambda z: loss_of(z[:, 2:, :], labels[:, 2:]), False),
    (lambda z: loss_of(z[..., :97]), True),
    (lambda z: loss_of(z.tanh().tanh()), True),
    (lambda z: loss_of(torch.tanh(z) / 2), True),
    (lambda z: loss_of(torch.tanh(z) * 2 * 2), True),
    (lambda z: loss_of(z * torch.tensor(2.0)), True),
    (lambda z: loss_of(z + 1.0 - z[..., :1]), True),
    (lambda z: loss_of(-z), True),
    (lambda z: loss_of(z.clamp(-1, 1)), True),
    (lambda z: loss_of(z, reduce=False).sum(), True),
    (lambda z: nn.functional.cross_entropy(z.transpose(1, 2), labels), True),
    (lambda z: nn.functional.cross_entropy(z.view(-1, 97), z.detach().view(-1, 97) ** 2), True),
    (lambda z: torch.stack([z.size(-1) * z.mean(), z.sum(), z[0, 0, 0]]).sum(), True),
]


@pytest.mark.filterwarnings("ignore:size_average and reduce args will be deprecated")
@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_operations_on_logits(number: int) -> None:
    operation, needed = OPERATIONS[number]
    torch.manual_seed(0)
    head, hidden = nn.Linear(16, 97), torch.randn(3, 8, 16, requires_grad=True)
    answers = []
    for z in (head(hidden), patched.Logits(hidden, head.weight, head.bias)):
        assert z.shape == (3, 8, 97)
        loss = operation(z)
        answers.append((loss, *torch.autograd.grad(loss, (hidden, *head.parameters()))))
    assert (z.made is not None) == needed
    for x, y in zip(*answers, strict=True):
        torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-5 * float(x.detach().abs().max()))


def test_what_stays_as_it_was() -> None:
    theirs, ours = twins("GPT2LMHeadModel")
    assert isinstance(ours, type(theirs))
    assert isinstance(ours.lm_head, nn.Linear)
    assert ours.lm_head.weight is ours.transformer.wte.weight
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert theirs.lm_head.__class__ is nn.Linear
    front.patch_transformers(ours)  # again
    assert len(ours._forward_hooks) == len(ours._forward_pre_hooks) == 1
    tuples = [each(ids, labels=labels, return_dict=False) for each in (theirs, ours)]
    assert len(tuples[0]) == len(tuples[1])
    assert tuples[1][1] is None
    ours.eval()
    theirs.eval()
    options = {"max_new_tokens": 3, "do_sample": False}
    assert torch.equal(ours.generate(ids, **options), theirs.generate(ids, **options))


@pytest.mark.usefixtures("no_logits")
def test_copies_are_patched() -> None:
    _, ours = twins("Llama")
    loss = ours(ids, labels=labels).loss
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(twin(ids, labels=labels).loss, loss)


@pytest.mark.usefixtures("no_logits")
def test_frozen_weights_have_no_gradient() -> None:
    theirs, ours = twins("Llama")
    for each in (theirs, ours):
        each.lm_head.weight.requires_grad_(False)
    assert_same_training(theirs, ours, lambda model: model(ids, labels=labels).loss)
    ours(ids, labels=labels).loss.backward()
    assert ours.lm_head.weight.grad is None


@pytest.mark.usefixtures("no_logits")
def test_bfloat16() -> None:
    """The loss is float32, and closer to the float32 model's than the library's is."""
    theirs, ours = twins("Llama")
    exact = theirs(ids, labels=labels).loss
    with torch.autocast("cpu", torch.bfloat16):
        mixed = [each(ids, labels=labels).loss for each in (theirs, ours)]
    low = [each.bfloat16()(ids, labels=labels).loss for each in (theirs, ours)]
    for of_theirs, of_ours in (mixed, low):
        assert of_ours.dtype is of_theirs.dtype is torch.float32
        # 8 bits of the layers; those of the logits are not lost
        torch.testing.assert_close(of_ours, exact, rtol=1e-2, atol=0)
    gradients(ours, low[1])


def test_float64_logits_are_rounded_as_the_librarys() -> None:
    theirs, ours = twins("Llama")
    assert_same_training(
        theirs.double(), ours.double(), lambda model: model(ids, labels=labels).loss
    )


def test_hooks_of_the_head_see_its_outputs() -> None:
    _, ours = twins("Llama")
    seen = []
    handle = ours.lm_head.register_forward_hook(lambda _m, _x, output: seen.append(output.shape))
    assert ours(ids, labels=labels).logits.shape == seen[0] == (3, 8, 97)
    handle.remove()
    assert ours(ids, labels=labels).logits is None


def test_an_error_leaves_nothing_behind() -> None:
    _, ours = twins("Llama")
    with pytest.raises(TypeError):
        ours(ids, labels=labels, num_items_in_batch="many")
    assert isinstance(ours.lm_head(torch.ones(2, 16)), torch.Tensor)
    assert ours(ids).logits.shape == (3, 8, 97)


def test_threads_ask_for_what_they_ask_for() -> None:
    _, ours = twins("Llama")
    kinds: dict[bool, set[type]] = {True: set(), False: set()}

    def work(alone: bool) -> None:
        for _ in range(20):
            output = ours(ids, **({"labels": labels} if alone else {}))
            kinds[alone].add(type(output.logits))

    threads = [threading.Thread(target=work, args=(alone,)) for alone in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds == {True: {type(None)}, False: {torch.Tensor}}


def test_models_without_a_linear_head() -> None:
    with pytest.raises(TypeError, match=r"the head of Linear is NoneType: expected a model of tr"):
        front.patch_transformers(nn.Linear(2, 2))


@pytest.mark.usefixtures("no_logits")
def test_enabled_losses() -> None:
    """Losses replaced for the process do not make the logits either."""
    theirs, ours = twins("Gemma2")
    expected = theirs(ids, labels=labels).loss
    with front.enable():
        torch.testing.assert_close(ours(ids, labels=labels).loss, expected)


@pytest.mark.long
@pytest.mark.parametrize("name", ["Llama", "Gemma2"])
def test_compiled(name: str) -> None:
    theirs, ours = twins(name)
    torch._dynamo.reset()
    compiled = torch.compile(ours, backend="aot_eager")
    assert compiled(ids, labels=labels).logits is None
    losses = [each(ids, labels=labels).loss for each in (theirs, compiled)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)
    for x, y in zip(gradients(theirs, losses[0]), gradients(ours, losses[1]), strict=True):
        torch.testing.assert_close(y, x, rtol=0, atol=1e-5 * float(x.abs().max()) + 1e-9)


PEAK = """
import os, sys
os.environ |= {"USE_TF": "0", "USE_FLAX": "0", "TRANSFORMERS_VERBOSITY": "error"}
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from fusedloss.cli._memory import peak_of
from fusedloss.torch import patch_transformers

config = LlamaConfig(
    vocab_size=32_000, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
    num_attention_heads=1, tie_word_embeddings=True,
)
model = LlamaForCausalLM(config)
ids = torch.randint(32_000, (2, 1024))
if sys.argv[1] == "patched":
    patch_transformers(model)

def step():
    model.zero_grad()
    model(ids, labels=ids).loss.backward()

print(peak_of(step))
"""


@pytest.mark.long
def test_peak_memory(run_python: Callable[..., str]) -> None:
    """Of 2048 tokens, 32,000 words: logits of 262 MB, which the library holds several times.

    Patched, a step takes 64 MiB of workspace, the weight's gradient twice, as it is tied, and the
    layer's few activations.
    """
    logits = 2048 * 32_000 * 4
    theirs, ours = (int(run_python(PEAK, each)) for each in ("plain", "patched"))
    assert theirs > 2 * logits
    assert ours < 2**26 + 2 * 32_000 * 64 * 4 + 40e6
