"""``fusedloss demo language``: a small language model of Python, trained in NumPy on its library.

The next token follows from the embeddings of the last few by one hidden layer; the embeddings are
the weights of the last layer, too. Loss and gradients of that layer are those of
`fusedloss.linear_cross_entropy`, which holds no logits: the figure shows what memory that saves.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.cli import _plot
from fusedloss.cli._memory import peak_of
from fusedloss.cli._output import Output
from fusedloss.cli.demo._part import WIDTH, Finding, Part, Picture, Report, Settings
from fusedloss.cli.demo._training import Adam

#: Line breaks with the indentation that follows, words, numbers, and all other signs.
TOKEN = re.compile(r"\n\s*|[^\W\d]\w*|\d+|\S")
#: Any token that is not among the most frequent.
RARE = "<rare>"
VOCABULARY = 32_768
#: Every so many files one is held out.
HELD_OUT = 20
HELD_OUT_TOKENS = 4096

CONTEXT = 8
FEATURES = 64
HIDDEN = 256
BATCH = 1024
LEARNING_RATE = 3e-3
STEPS = 160

#: A model that knows how frequent each token is has to be beaten by so much.
WANTED_GAIN = 1.0
#: Positions of the heads whose memory is measured.
BATCHES = (256, 1024, 4096)
LAYERS = ("held logits", "fusedloss")

linear_grads = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1, 3))


@dataclass
class Text:
    """Token numbers of what is learnt from and of what is held out."""

    names: list[str]
    training: Array
    held_out: Array

    @property
    def log_frequencies(self) -> Array:
        """The logarithm of each token's share of what is learnt from, all counted once more."""
        counts = np.bincount(self.training, minlength=len(self.names)) + 1.0
        logs: Array = np.log(counts / counts.sum()).astype(np.float32)
        return logs

    @property
    def entropy(self) -> float:
        """The held-out loss of predicting each token by how frequent it is."""
        _, target = examples(self.held_out, spread(self.held_out, HELD_OUT_TOKENS))
        return float(-self.log_frequencies[target].mean())


def read_library(every: int = 1) -> Text:
    """Read and tokenize every so th source of Python's standard library, but its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
    paths = [
        path
        for path in sorted(root.rglob("*.py"))
        if not skipped & set(path.relative_to(root).parts)
    ]
    files = [TOKEN.findall(path.read_text("utf-8", "replace")) for path in paths[::every]]
    counts = Counter(token for tokens in files for token in tokens)
    names = [RARE, *(token for token, _ in counts.most_common(VOCABULARY - 1))]
    numbers = {name: number for number, name in enumerate(names)}

    def numbered(chosen: list[list[str]]) -> Array:
        return np.array([numbers.get(token, 0) for tokens in chosen for token in tokens])

    held_out = files[::HELD_OUT]
    training = [tokens for i, tokens in enumerate(files) if i % HELD_OUT]
    return Text(names, numbered(training), numbered(held_out))


@dataclass
class Model:
    """Embeddings of the last tokens, a layer of rectified units, and the embeddings again."""

    parameters: dict[str, Array]

    def __post_init__(self) -> None:
        """Make what changes the parameters."""
        self.optimiser = Adam(self.parameters.values(), LEARNING_RATE)

    def predict(self, context: Array) -> tuple[Array, Array, Array]:
        """Return embeddings, hidden layer and features of the next token of each context."""
        p = self.parameters
        x = p["embeddings"][context].reshape(len(context), -1)
        hidden = np.maximum(x @ p["first"] + p["first bias"], 0)
        return x, hidden, hidden @ p["second"]

    def loss(self, context: Array, target: Array) -> float:
        """Return the mean loss of the next tokens."""
        p, features = self.parameters, self.predict(context)[2]
        value: float = fl.linear_cross_entropy(
            features, p["embeddings"], target, linear_bias=p["bias"]
        )
        return value

    def learn(self, context: Array, target: Array, rate: float) -> float:
        """Take a step of Adam and return the loss before it."""
        p = self.parameters
        x, hidden, features = self.predict(context)
        loss, (by_features, by_embeddings, by_bias) = linear_grads(
            features, p["embeddings"], target, linear_bias=p["bias"]
        )
        by_hidden = by_features @ p["second"].T
        by_hidden[hidden == 0] = 0
        by_x = by_hidden @ p["first"].T
        np.add.at(by_embeddings, context.ravel(), by_x.reshape(-1, FEATURES))
        gradients = {
            "embeddings": by_embeddings,
            "bias": by_bias,
            "first": x.T @ by_hidden,
            "first bias": by_hidden.sum(0),
            "second": hidden.T @ by_features,
        }
        self.optimiser.learning_rate = rate
        self.optimiser.step(gradients[name] for name in p)
        return float(loss)


def make_model(seed: int, text: Text) -> Model:
    """Make a model that knows how frequent tokens are; all else follows from the seed."""
    random = np.random.default_rng(seed)

    def layer(inputs: int, outputs: int, scale: float) -> Array:
        return (random.standard_normal((inputs, outputs)) * scale).astype(np.float32)

    return Model(
        {
            "embeddings": layer(len(text.names), FEATURES, 0.1),
            "bias": text.log_frequencies,
            "first": layer(CONTEXT * FEATURES, HIDDEN, math.sqrt(2 / (CONTEXT * FEATURES))),
            "first bias": np.zeros(HIDDEN, np.float32),
            "second": layer(HIDDEN, FEATURES, math.sqrt(1 / HIDDEN)),
        }
    )


def examples(tokens: Array, at: Array) -> tuple[Array, Array]:
    """Return the contexts of the tokens CONTEXT after `at`, and these tokens."""
    return tokens[at[:, None] + np.arange(CONTEXT)], tokens[at + CONTEXT]


def spread(tokens: Array, count: int) -> Array:
    """Return so many positions, evenly spread, that `examples` takes."""
    return np.linspace(0, len(tokens) - CONTEXT - 1, count).astype(int)


@dataclass
class Course:
    """How training went: the loss of every step, and at some of them the held-out one."""

    losses: list[float]
    held_out: dict[int, float]


def train(model: Model, text: Text, steps: int, seed: int, output: Output) -> Course:
    """Train on random positions, the rate falling to 0."""
    random = np.random.default_rng(seed)
    course = Course([], {})
    held_out = examples(text.held_out, spread(text.held_out, HELD_OUT_TOKENS))
    with output.progress("language", steps) as advance:
        for step in range(steps):
            if step % max(steps // 10, 1) == 0:
                course.held_out[step] = model.loss(*held_out)
            at = random.integers(0, len(text.training) - CONTEXT, BATCH)
            rate = LEARNING_RATE * (1 - step / steps)
            course.losses.append(model.learn(*examples(text.training, at), rate))
            advance()
    course.held_out[steps] = model.loss(*held_out)
    return course


# ---- Memory ------------------------------------------------------------------------------------


def head_memory(layer: str, positions: int) -> int:
    """Measure in this process what loss and gradients of the last layer take beside themselves."""
    random = np.random.default_rng(0)
    x = random.standard_normal((positions, FEATURES), np.float32)
    weight = random.standard_normal((VOCABULARY, FEATURES), np.float32)
    target = random.integers(0, VOCABULARY, positions)
    by_x, by_weight = np.zeros_like(x), np.zeros_like(weight)
    grads = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))
    of_logits = fl.value_and_grad(fl.cross_entropy)

    def fused() -> None:
        grads(x, weight, target, out=(by_x, by_weight))

    def held() -> None:
        logits = x @ weight.T
        of_logits(logits, target, out=logits)  # their gradient takes their place
        np.matmul(logits, weight, out=by_x)
        np.matmul(logits.T, x, out=by_weight)

    return peak_of(fused if layer == "fusedloss" else held)


def measure_memory() -> dict[str, list[float]] | None:
    """Measure each kind of head in a process of its own; None where the system does not say."""
    measured: dict[str, list[float]] = {}
    for layer in LAYERS:
        for positions in BATCHES:
            child = subprocess.run(
                [sys.executable, "-m", __name__, layer, str(positions)],
                capture_output=True,
                text=True,
                check=False,
            )
            if child.returncode:
                return None
            measured.setdefault(layer, []).append(int(child.stdout) / 2**20)
    return measured


# ---- The part ----------------------------------------------------------------------------------


def run(settings: Settings, output: Output) -> Report:
    """Read, train, measure; what is promised is that more is learnt than frequencies."""
    text = read_library(round(1 / min(settings.effort, 1)))
    model = make_model(settings.seed, text)
    steps = settings.share(STEPS)
    course = train(model, text, steps, settings.seed, output)
    memory = measure_memory()
    last, frequencies = course.held_out[steps], text.entropy
    findings = [
        Finding(
            "held-out loss, nats per token",
            f"{last:.3f}",
            "token frequencies alone",
            f"{frequencies:.3f}",
        )
    ]
    pictures = [
        Picture(
            "language-loss",
            "Learning",
            f"The loss falls below that of knowing how frequent each of {len(text.names)} tokens "
            "is, on files that were held out as well.",
            lambda: _draw_loss(text, course),
        ),
        Picture(
            "language-predictions",
            "Predictions",
            "Held-out code, the token that follows, and what the model expected; it is bold and "
            "green where it was among the first two.",
            lambda: _draw_predictions(text, model),
        ),
    ]
    if memory is not None:
        held, fused = (memory[layer][-1] for layer in LAYERS)
        findings.append(
            Finding(
                f"last layer at {BATCHES[-1]} positions, MiB",
                f"{fused:.0f}",
                "logits held",
                f"{held:.0f}",
            )
        )
        pictures.insert(
            1,
            Picture(
                "language-memory",
                "Memory",
                "What loss and gradients of the last layer take beside themselves: with logits "
                "held it grows with the batch; fusedloss's workspace is 64 MiB at most.",
                lambda: _draw_memory(memory),
            ),
        )
    problems = []
    if not last <= frequencies - WANTED_GAIN:
        problems.append(
            f"held-out loss {last:.3f} is not {WANTED_GAIN:g} below that of token frequencies, "
            f"{frequencies:.3f}, after {steps} step{'s' * (steps > 1)}"
        )
    return Report(
        f"A model of the next token learns from {len(text.training)} tokens of Python's own "
        f"library, {len(text.names)} of them different, in {steps} steps of {BATCH}. Its last "
        "layer and loss are one call, linear_cross_entropy, which never holds the logits.",
        findings,
        pictures,
        problems,
    )


PART = Part("language", "a language model of Python's library, with and without logits", {}, run)


def _draw_loss(text: Text, course: Course) -> Any:
    figure = _plot.new_figure(WIDTH, 4)
    axes = figure.subplots()
    window = max(len(course.losses) // 30, 1)
    smooth = [mean(course.losses[max(i - window, 0) : i + 1]) for i in range(len(course.losses))]
    axes.plot(course.losses, color=_plot.LIGHT_BLUE, linewidth=0.7)
    axes.plot(smooth, color=_plot.BLUE, linewidth=2, label="batches, and their moving mean")
    axes.plot(
        list(course.held_out),
        list(course.held_out.values()),
        color=_plot.ORANGE,
        marker="o",
        markersize=5,
        label="held-out files",
    )
    axes.axhline(
        text.entropy,
        color=_plot.DARK_GREY,
        linewidth=1.2,
        linestyle=":",
        label="token frequencies alone",
    )
    axes.set_title("Loss, nats per token")
    axes.set_xlabel(f"step of {BATCH} tokens")
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.7)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _draw_memory(memory: dict[str, list[float]]) -> Any:
    figure = _plot.new_figure(WIDTH, 3.6)
    axes = figure.subplots()
    places = np.arange(len(BATCHES))
    for layer, colour, shift in zip(LAYERS, (_plot.GREY, _plot.BLUE), (-0.2, 0.2), strict=True):
        bars = axes.bar(places + shift, memory[layer], 0.38, color=colour, label=layer)
        axes.bar_label(bars, [f"{size:.0f}" for size in memory[layer]], padding=2)
    axes.set_xticks(places, map(str, BATCHES))
    axes.set_xlabel("positions in the batch")
    axes.set_title("Peak memory of the last layer, MiB")
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.legend(loc="upper left")
    return figure


def _draw_predictions(text: Text, model: Model) -> Any:
    """List held-out tokens with what comes before, and what the model expects most."""
    rows = 13
    figure = _plot.new_figure(WIDTH, 3.9)
    axes = figure.subplots()
    axes.set_axis_off()
    context, target = examples(text.held_out, spread(text.held_out, rows + 2)[1:-1])
    p = model.parameters
    probs = fl.softmax(model.predict(context)[2] @ p["embeddings"].T + p["bias"])
    font = {"fontsize": 8, "transform": axes.transAxes}
    columns = {0.37: ("code", "right"), 0.4: ("next", "left"), 0.62: ("expected", "left")}
    for x, (title, side) in columns.items():
        axes.text(x, 0.96, title, ha=side, fontweight="bold", **font)
    font["family"] = "monospace"
    for row, (before, token, prob) in enumerate(zip(context, target, probs, strict=True)):
        best = np.argsort(-prob)[:2]
        y = 0.88 - row * 0.07
        shown = " ".join(_shown(text.names[number]) for number in before)[-25:]
        expected = " ".join(f"{_shown(text.names[k], 9)} {prob[k]:.0%}" for k in best)
        found = {"color": _plot.GREEN, "fontweight": "bold"} if token in best else {}
        axes.text(0.37, y, shown, ha="right", color=_plot.DARK_GREY, **font)
        axes.text(0.4, y, _shown(text.names[token]), **font, **found)
        axes.text(0.62, y, expected, color=_plot.DARK_GREY, **font)
    return figure


def _shown(token: str, width: int = 11) -> str:
    """Return a token as it is drawn: cut, and a dollar sign would begin a formula."""
    return "⏎" if token.startswith("\n") else token[:width].replace("$", r"\$")


if __name__ == "__main__":
    print(head_memory(sys.argv[1], int(sys.argv[2])))
