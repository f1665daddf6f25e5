"""Formulas as MathML, which browsers draw without scripts, fonts or a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.logging import getLogger

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MATHML = "http://www.w3.org/1998/Math/MathML"
APPLY = "\u2061"  # what docutils puts between a function's name and its argument; nobody draws it

THIN = "0.1667em"

#: What lays its parts out in a row, and what has spaces of its own.
ROWS = {f"{{{MATHML}}}{name}" for name in ("math", "mrow", "mtd", "mstyle", "msqrt")}
OPERATORS = {f"{{{MATHML}}}{name}" for name in ("mo", "mspace")}


def convert(node: nodes.Element, tex: str, as_block: bool) -> str:
    """Return a formula as MathML; warn of what docutils does not know."""
    try:
        mathml: str = tex2mathml(tex, as_block=as_block)
    except MathError as error:
        getLogger(__name__).warning("%s in the formula %s", error, tex, location=node)
        raise nodes.SkipNode from error
    return with_spaces(mathml)


def with_spaces(mathml: str) -> str:
    """Set functions' names apart from the variables beside them, as TeX does: s tanh x."""
    ElementTree.register_namespace("", MATHML)
    root = ElementTree.fromstring(mathml.replace("&ApplyFunction;", APPLY))
    for parent in list(root.iter()):
        parts = [part for part in parent if part.text != APPLY]
        if parent.tag not in ROWS or len(parts) < 2:
            continue
        for part in list(parent):
            parent.remove(part)
        for part in parts:
            if part.tag == f"{{{MATHML}}}mo" and len(part.text or "") > 1:  # max, min
                part.attrib.update(lspace=THIN, rspace=THIN)
        for i, part in enumerate(parts):
            named = i > 0 and (is_name(parts[i - 1]) or is_name(part))
            if named and not {parts[i - 1].tag, part.tag} & OPERATORS:
                ElementTree.SubElement(parent, f"{{{MATHML}}}mspace", width=THIN)
            parent.append(part)
    return ElementTree.tostring(root, encoding="unicode")


def is_name(part: ElementTree.Element) -> bool:
    """Whether a part of a row is a name of several letters, perhaps with an exponent."""
    base = part if part.tag == f"{{{MATHML}}}mi" else next(iter(part), part)
    named = part.tag.endswith(("}mi", "}msub", "}msup", "}msubsup"))
    return named and base.tag.endswith("}mi") and len(base.text or "") > 1


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
