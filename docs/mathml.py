"""Formulas as MathML, which browsers draw without scripts, fonts or a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.logging import getLogger

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def convert(node: nodes.Element, tex: str, as_block: bool) -> str:
    """Return a formula as MathML; warn of what docutils does not know."""
    try:
        mathml: str = tex2mathml(tex, as_block=as_block)
    except MathError as error:
        getLogger(__name__).warning("%s in the formula %s", error, tex, location=node)
        raise nodes.SkipNode from error
    return mathml


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(convert(node, node.astext(), as_block=False))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed formula."""
    tex = rf"\begin{{aligned}}{node.astext()}\end{{aligned}}"  # aligns at &, and breaks lines at \\
    translator.body.append(convert(node, tex, as_block=True))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer to Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
