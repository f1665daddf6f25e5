"""The documentation's pages that are made from the package: nothing public is missing or false."""

from __future__ import annotations

import builtins
import doctest
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

import fusedloss as fl
from conftest import REPOSITORY
from fusedloss._lower.loss import lookup, loss
from fusedloss._types import Call
from fusedloss.torch import functional
from parts import public

DOCS = REPOSITORY / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="this copy has no documentation")


def of_docs(module: str) -> Any:
    """A module of the documentation."""
    sys.path.append(str(DOCS))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def pages() -> Any:
    """The module that makes pages from the package."""
    return of_docs("pages")


@pytest.fixture(scope="module")
def rows(pages: Any) -> dict[str, Any]:
    """The rows of the table of losses, by name."""
    return {row.name: row for row in pages.rows()}


def losses_of_the_package() -> set[str]:
    """Every loss of any module, public or forgotten."""
    modules = [
        importlib.import_module(f"fusedloss.{module.name}")
        for module in pkgutil.iter_modules(fl.__path__)
        if module.name != "__main__"
    ]
    return {
        name
        for module in modules
        for name, value in vars(module).items()
        if hasattr(value, "__fusedloss__")
    }


@pytest.mark.parametrize(
    "namespace",
    [
        "fusedloss",
        "fusedloss.boosting",
        "fusedloss.sklearn",
        "fusedloss.torch",
        "fusedloss.torch.functional",
        "fusedloss.torch.distributed",
        "fusedloss.jax",
        "fusedloss.jax.optax",
        "fusedloss.keras",
        "fusedloss.keras.losses",
        "fusedloss.keras.layers",
    ],
)
def test_reference_has_every_public_name_once(pages: Any, namespace: str) -> None:
    """As an entry of a summary, as data or another package's, or as a page of its own."""
    entry = r"^   (\w+)$|^\.\. (?:data|py:function|py:class):: (\w+)$|^:doc:`[\w.]+\.(\w+)`"
    found = re.findall(entry, pages.pages()[namespace], re.MULTILINE)
    names = ["".join(groups) for groups in found]
    assert sorted(names) == sorted(importlib.import_module(namespace).__all__)


def test_every_public_name_has_an_example(pages: Any) -> None:
    """In its own docstring; names that are another package's own have its documentation."""
    parser, missing = doctest.DocTestParser(), []
    for namespace in pages.NAMESPACES:
        module = pytest.importorskip(namespace)
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value) or not value.__module__.startswith("fusedloss"):
                continue
            examples = parser.get_examples(inspect.getdoc(value) or "")
            if len(examples) < 2:  # an import and a call
                missing.append(f"{namespace}.{name}")
    assert sorted(missing) == []


def test_table_has_every_loss(pages: Any, rows: dict[str, Any]) -> None:
    assert set(rows) == losses_of_the_package() | set(public(functional))
    text = pages.pages()["losses"]
    assert all(text.count(f"**{name}**") == 1 for name in rows)


def test_table_names_what_can_be_differentiated(rows: dict[str, Any]) -> None:
    for name in losses_of_the_package():
        row, function = rows[name], getattr(fl, name)
        parameters = list(lookup(function).parameters)
        fl.value_and_grad(function, [parameters.index(argument) for argument in row.gradient_in])
        if row.hessian:
            fl.grad_and_hess(function)
        else:
            with pytest.raises(ValueError, match="Hessian"):
                fl.grad_and_hess(function)


def test_table_says_which_dtypes_are_taken(pages: Any, rows: dict[str, Any]) -> None:
    assert rows["cross_entropy"].dtypes == ["float16", "bfloat16", "float32", "float64"]

    @loss("logits")
    def narrow(logits: ArrayLike) -> Call:
        if np.asarray(logits).dtype != np.float32:
            raise TypeError
        return float, ()

    @loss("logits")
    def impossible(logits: ArrayLike) -> Call:
        raise TypeError

    assert pages.dtypes(narrow, lookup(narrow)) == ["float32"]
    with pytest.raises(ValueError, match="impossible"):
        pages.dtypes(impossible, lookup(impossible))


def test_table_of_versions_has_every_extra(pages: Any) -> None:
    """The package itself, and what it works with; the versions are those of pyproject.toml."""
    table = {row.name: row for row in pages.supported()}
    extras = {"numpy", "torch", "keras", "jax", "optax", "lightgbm", "xgboost", "scikit-learn"}
    assert set(table) >= {"Python", *extras}
    for name in extras - {"numpy"}:
        row = table[name]
        assert row.least, name
        installed = importlib.metadata.version("xgboost-cpu" if name == "xgboost" else name)
        assert row.tested == installed.partition("+")[0], name
    assert table["Python"].tested.startswith(f"{table['Python'].least}, ")


def test_peers_exist(pages: Any, rows: dict[str, Any]) -> None:
    """Theirs, of the packages whose names are looked up here, and the losses of this one."""
    assert set(pages.peers()) <= set(rows)
    named = [
        peer.partition("(")[0]
        for peers in pages.peers().values()
        for peer in peers
        if peer.startswith(("torch.", "sklearn."))
    ]
    assert "torch.nn.functional.cross_entropy" in named
    for peer in named:
        module, _, function = peer.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function))


def test_names_with_pages_elsewhere_exist() -> None:
    """Those of packages that the tests install; an address itself nothing here can try."""
    addresses = of_docs("elsewhere").ADDRESSES
    names = [name for name in addresses if not name.endswith(".")]
    assert "torch.nn.CrossEntropyLoss" in names
    for name in names:
        if "." not in name:
            assert hasattr(builtins, name)
        elif importlib.util.find_spec(name.partition(".")[0]):
            assert pkgutil.resolve_name(name)


def test_a_name_is_linked_by_the_longest_beginning() -> None:
    page_of = of_docs("elsewhere").page_of
    assert page_of("torch.nn.functional.mse_loss").endswith("/torch.nn.functional.mse_loss.html")
    assert page_of("torch.nn.functional").endswith("/nn.functional.html")
    assert page_of("optax.losses.l2_loss").endswith("#optax.losses.l2_loss")
    assert page_of("torch.nn.Unheard") is None


#: Losses without a picture of their own, and why.
NOT_DRAWN = {
    "adaptive_log_softmax_loss": "the cross-entropy, in clusters of classes",
    "l1_penalty": "of weights, not of predictions",
    "l2_penalty": "of weights, not of predictions",
    "linear_cross_entropy": "the cross-entropy of a product",
    "linear_distillation_loss": "the distillation of two products",
    "logsumexp": "no loss",
    "manifold_loss": "random walks of a whole batch",
    "margin_cross_entropy": "the heads with all their margins as options",
    "perceptual_loss": "of lists of features; a network is trained by its module",
    "zero_one_loss": "it has no slope",
}


def test_gallery_draws_every_loss() -> None:
    scripts = "\n".join(path.read_text() for path in (DOCS / "gallery").glob("*.py"))
    drawn = set(re.findall(r"\bfl\.(\w+)", scripts)) | set(re.findall(r'"(\w+)":', scripts))
    public = {name for name in fl.__all__ if hasattr(getattr(fl, name), "__fusedloss__")}
    names = {lookup(getattr(fl, name)).name for name in public}  # some are names of another
    assert names - drawn == set(NOT_DRAWN) & names


def test_page_of_a_new_loss_quotes_the_sources() -> None:
    """Line by line, but for the docstring of the function."""
    text = (DOCS / "new_loss.md").read_text()
    blocks = re.findall(r"```(?:c|python)\n(.*?)```", text, re.DOTALL)
    sources = (
        "src/kernels/regression.inc",
        "src/fusedloss/regression.py",
        "tests/reference/regression.py",
        "tests/pointwise_cases.py",
    )
    for block, source in zip(blocks, sources, strict=True):
        lines = [line.strip() for line in (REPOSITORY / source).read_text().splitlines()]
        start = lines.index(block.splitlines()[0].strip())
        for line in block.splitlines():
            start = lines.index(line.strip(), start)
