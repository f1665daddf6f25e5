"""What follows from the package: the API reference, the table of losses, supported versions.

A Sphinx extension that writes them before Sphinx looks for pages, so that a new loss is on the site
once it is public.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np

import fusedloss
from elsewhere import page_of
from fusedloss._lower.loss import Loss, lookup
from fusedloss.torch import functional

if TYPE_CHECKING:
    from sphinx.application import Sphinx

#: The public namespaces, and what a page calls them.
NAMESPACES = {
    "fusedloss": "fusedloss: NumPy",
    "fusedloss.torch": "fusedloss.torch: modules",
    "fusedloss.torch.functional": "fusedloss.torch.functional: functions of tensors",
    "fusedloss.torch.distributed": "fusedloss.torch.distributed: over process groups",
    "fusedloss.boosting": "fusedloss.boosting: LightGBM, XGBoost, CatBoost",
    "fusedloss.sklearn": "fusedloss.sklearn: boosting, linear models, scorers",
    "fusedloss.jax": "fusedloss.jax: functions of JAX's arrays",
    "fusedloss.jax.optax": "fusedloss.jax.optax: optax's names",
    "fusedloss.keras": "fusedloss.keras: losses and layers of Keras",
    "fusedloss.keras.losses": "fusedloss.keras.losses: Keras' names, and this package's",
    "fusedloss.keras.layers": "fusedloss.keras.layers: heads that hold no logits",
}

DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}

PEERS = Path(__file__).with_name("peers.toml")
PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def pages() -> dict[str, str]:
    """Return the reStructuredText of every page, by its name."""
    made = {name: reference(name) for name in NAMESPACES}
    return {**made, "losses": table_of_losses()}


# ---- The API reference -------------------------------------------------------------------------


def reference(namespace: str) -> str:
    """Return the page of a namespace: what is public in it, by the module that defines it."""
    module = importlib.import_module(namespace)
    parts = [heading(NAMESPACES[namespace], "="), f".. automodule:: {namespace}\n"]
    objects = {name: getattr(module, name) for name in module.__all__}
    documented: dict[ModuleType, list[str]] = {}
    others: list[str] = []
    for name, value in objects.items():
        if f"{namespace}.{name}" in NAMESPACES:
            parts.append(f":doc:`{namespace}.{name}` has a page of its own.\n")
        elif callable(value) and not value.__module__.startswith("fusedloss"):
            others.append(of_another_package(namespace, name, value))
        elif callable(value):
            documented.setdefault(importlib.import_module(value.__module__), []).append(name)
        else:
            kind, indent = type(value).__name__, "   "
            parts.append(f".. data:: {name}\n{indent}:type: {kind}\n{indent}:value: {value!r}\n")
    for definer, names in sorted(documented.items(), key=lambda item: item[0].__name__):
        if len(documented) > 1:
            title = definer.__name__.rpartition(".")[2].strip("_").replace("_", " ")
            parts.append(heading(title.capitalize(), "-"))
            parts.append(f"{summary(definer)}\n")
        entries = "\n".join(f"   {name}" for name in names)
        parts.append(f".. autosummary::\n   :toctree: api\n   :nosignatures:\n\n{entries}\n")
    if others:
        parts += [heading("Of the other package itself", "-"), *others]
    return "\n".join(parts)


def of_another_package(namespace: str, name: str, value: Any) -> str:
    """Return the entry of what a namespace has from the package whose names it has."""
    kind = "class" if inspect.isclass(value) else "function"
    package = value.__module__.partition(".")[0]
    public = f"{package}.losses.{name}"
    return f".. py:{kind}:: {name}\n   :module: {namespace}\n\n   ``{public}`` itself.\n"


def heading(text: str, underline: str) -> str:
    """Return a heading in reStructuredText."""
    return f"{text}\n{underline * len(text)}\n"


def summary(thing: object) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


# ---- The table of losses -----------------------------------------------------------------------


class Row(NamedTuple):
    """What the table says of a loss; empty where it is not in that namespace."""

    name: str
    summary: str
    numpy: str
    gradient_in: tuple[str, ...]
    hessian: bool
    dtypes: list[str]
    torch: str
    peers: list[str]


def table_of_losses() -> str:
    """Return the page of all losses: where each exists, what it takes, who defines it alike."""
    table = [("loss", "NumPy", "gradient in", "Hessian", "dtypes", "torch", "alike elsewhere")]
    for row in rows():
        all_dtypes = row.dtypes == list(DTYPES)
        table.append(
            (
                f"| **{row.name}**\n| {row.summary}",
                row.numpy and f":func:`fl <{row.numpy}>`",
                ", ".join(row.gradient_in),
                "yes" if row.hessian else "",
                "all" if all_dtypes else ", ".join(row.dtypes),
                row.torch and f":func:`F <{row.torch}>`",
                ", ".join(map(linked, row.peers)),
            )
        )
    return f"""\
{heading("All losses", "=")}
Every loss gives its value and, by :func:`fusedloss.value_and_grad` or torch's autograd, the
gradient in the arguments named; *Hessian* says that :func:`fusedloss.grad_and_hess` takes it too.
*dtypes* are those of the prediction, all being {", ".join(DTYPES)}. A function *alike elsewhere*
has the same formula with the same defaults or the options given; its reduction, the order of its
arguments and the names of its options may differ.

.. list-table::
   :header-rows: 1
   :class: losses

{"".join(map(table_row, table))}"""


def linked(peer: str) -> str:
    """Return the name of another package's function, linked to its page where that is known."""
    page = page_of(peer.partition("(")[0])
    return f"`{peer} <{page}>`__" if page else f"``{peer}``"


def table_row(cells: tuple[str, ...]) -> str:
    """Return a row of a list-table."""
    indented = [cell.replace("\n", "\n       ") for cell in cells]
    return "   * - " + "\n     - ".join(indented) + "\n"


def rows() -> list[Row]:
    """Return the rows of the table: all losses, of NumPy and of torch."""
    alike = peers()
    arrays = {
        name: function
        for name in fusedloss.__all__
        if hasattr(function := getattr(fusedloss, name), "__fusedloss__")
    }
    tensors = {name: getattr(functional, name) for name in vars(functional)["__all__"]}
    made = []
    for name in sorted({*arrays, *tensors}):
        function = arrays.get(name)
        record = lookup(function) if function else None
        made.append(
            Row(
                name,
                summary(function or tensors[name]),
                f"fusedloss.{name}" if function else "",
                (*record.differentiable, *record.by_targets) if record else (),
                record is not None and record.hessian,
                dtypes(function, record) if function and record else [],
                f"fusedloss.torch.functional.{name}" if name in tensors else "",
                alike.get(name, []),
            )
        )
    return made


def peers() -> dict[str, list[str]]:
    """Return what other packages define alike, by the name of the loss."""
    return tomllib.loads(PEERS.read_text())


def dtypes(function: Callable[..., Any], record: Loss) -> list[str]:
    """Return the dtypes of the prediction that a loss takes, found by calling it."""
    taken = [name for name, dtype in DTYPES.items() if takes(function, record, dtype)]
    if not taken:
        raise ValueError(f"{record.name} takes none of the arguments of `samples`: add to them")
    return taken


def takes(function: Callable[..., Any], record: Loss, dtype: Any) -> bool:
    """Whether some arguments of a dtype give a value."""
    for arguments in samples(function, record, dtype):
        try:
            function(*arguments)
        except (TypeError, ValueError, IndexError):
            continue
        return True
    return False


def samples(function: Callable[..., Any], record: Loss, dtype: Any) -> Iterator[tuple[Any, ...]]:
    """Try every kind of argument in every place; what is differentiated is of the dtype."""
    vector = np.ones(2, dtype)
    matrix = np.ones((2, 2), dtype)
    centers = np.ones((30, 2), dtype)  # several of each class
    boxes = np.array([[0, 0, 1, 1]], dtype)
    lists = [[matrix], [matrix, matrix]]
    of_dtype: list[Any] = [matrix, vector, *lists, centers, boxes]
    others = [*of_dtype, np.zeros(2, np.int64), np.ones(1, np.int64), 1.0]
    required = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    return itertools.product(
        *(of_dtype if name in record.differentiable else others for name in required)
    )


# ---- Versions of other packages ----------------------------------------------------------------


class Supported(NamedTuple):
    """What the page on versions says of a package."""

    name: str
    least: str
    tested: str


def supported() -> list[Supported]:
    """Return the packages that this one works with, as pyproject.toml has them."""
    file = tomllib.loads(PROJECT.read_text())
    project, groups = file["project"], file["dependency-groups"]
    pinned = versions([*groups["test"], *groups["check"]], "==")
    tested = {name.removesuffix("-cpu"): version for name, version in pinned.items()}
    fronts = [extra for name, extra in project["optional-dependencies"].items() if name != "demo"]
    least = versions([*project["dependencies"], *itertools.chain(*fronts)], ">=")
    wheels = " ".join(file["tool"]["cibuildwheel"]["build"]).replace("t-*", " free-threaded")
    python = [f"3.{version}" for version in re.findall(r"cp3(\d+(?: free-threaded)?)", wheels)]
    rows = [Supported("Python", project["requires-python"].strip(">="), ", ".join(python))]
    rows += [Supported(name, least[name], tested.get(name, "the newest")) for name in least]
    others = ["catboost", "tensorflow", "transformers"]  # which no extra brings
    return rows + [Supported(name, "", tested[name]) for name in others]


def versions(requirements: list[Any], relation: str) -> dict[str, str]:
    """Return the versions that requirements give, by the names of the packages."""
    pattern = re.compile(rf"([\w-]+){relation}([\w.]+)$")
    found = [pattern.match(text) for text in requirements if isinstance(text, str)]
    return {match[1]: match[2] for match in found if match}


def table_of_versions() -> str:
    """Return the table of the page on versions."""
    table = [("package", "least version", "tested with"), *supported()]
    return f".. list-table::\n   :header-rows: 1\n\n{''.join(map(table_row, table))}"


# ---- Sphinx ------------------------------------------------------------------------------------


#: What readers look for: the search has to find a page for each.
SEARCHED = (
    "LightGBM",
    "XGBoost",
    "quantile",
    "out of memory",
    "logits",
    "NaN",
    "ArcFace degrees",
    "imbalance",
    "threads",
    "label smoothing",
)


def check_search(app: Sphinx, exception: Exception | None) -> None:
    """Warn of what readers look for and the search has no page of."""
    from sphinx.util.logging import getLogger

    if exception is not None or app.builder.name != "html":
        return
    index = app.builder.indexer
    for phrase in SEARCHED:
        words = [w for w in phrase.lower().split() if w not in index.lang.stopwords]
        stems = map(index.lang.stem, words)
        found = [index._mapping.get(x, set()) | index._title_mapping.get(x, set()) for x in stems]
        if not set.intersection(*found):
            getLogger(__name__).warning("the search finds no page for %r", phrase)


def write(app: Sphinx, config: object) -> None:
    """Write the pages where Sphinx will find them."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / f"{name}.rst").write_text(text)
    (folder / "versions.inc").write_text(table_of_versions())


def check(app: Sphinx, env: Any) -> None:
    """Warn of public names that the built reference lacks; Sphinx itself warns of duplicates."""
    from sphinx.util.logging import getLogger

    described = env.domains.python_domain.objects
    for namespace in NAMESPACES:
        for name in importlib.import_module(namespace).__all__:
            if f"{namespace}.{name}" not in described:
                getLogger(__name__).warning("%s.%s is not in the reference", namespace, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Write before Sphinx looks for pages; check when it has read them, and what it wrote."""
    app.connect("config-inited", write)
    app.connect("env-check-consistency", check)
    app.connect("build-finished", check_search)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
