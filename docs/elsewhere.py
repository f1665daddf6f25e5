"""Links to the pages of other packages, by the addresses in elsewhere.toml and without a network.

A Sphinx extension. Three things become links where the page of a name is known: a reference that
Sphinx cannot resolve, the type of a parameter, and code that is nothing but a name. Sphinx is
imported inside the functions that need it, so that the tests can read the addresses without it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

#: The address of each name, or of all names that begin with one that ends in a dot.
ADDRESSES = {
    name: address
    for address, names in tomllib.loads(
        Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    ).items()
    for name in names
}

#: What docstrings call types; "array" depends on the page.
WORDS = {"Tensor": "torch.Tensor", "tensor": "torch.Tensor", "array": "array"}


def page_of(name: str) -> str | None:
    """Return the address of the page of a name of another package, None where it is not known."""
    beginnings = [start for start in ADDRESSES if start.endswith(".") and name.startswith(start)]
    found = name if name in ADDRESSES else max(beginnings, key=len, default=None)
    return ADDRESSES[found].format(name) if found else None


def aliases() -> dict[str, str]:
    """Return what numpydoc makes of the words of a type.

    Its own links would need the inventories of Python and NumPy.
    """
    from numpydoc.xref import DEFAULT_LINKS

    return {
        **{word: word for word in DEFAULT_LINKS},
        **{name: f":obj:`{name}`" for name in ADDRESSES if not name.endswith(".")},
        **{word: f":obj:`{word} <{name}>`" for word, name in WORDS.items()},
    }


def link(name: str, content: nodes.Node) -> nodes.reference:
    """Return a link to the page of a name."""
    from docutils import nodes

    return nodes.reference("", "", content, internal=False, refuri=page_of(name), reftitle=name)


def resolve(app: Sphinx, env: Any, node: Any, content: nodes.Node) -> nodes.reference | None:
    """Resolve a reference that Sphinx did not."""
    from docutils import nodes

    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"]
    if "." not in content.astext():
        content = nodes.inline("", content.astext())  # the type of a parameter is a word, not code
    if name == "array":
        name = "jax.Array" if "fusedloss.jax" in node["refdoc"] else "numpy.ndarray"
    return link(name, content) if page_of(name) else None


def link_code(app: Sphinx, document: nodes.document, name: str) -> None:
    """Link code that is nothing but a dotted name, outside of links and headings."""
    from docutils import nodes

    skipped = {
        code
        for above in document.findall(lambda node: isinstance(node, nodes.reference | nodes.title))
        for code in above.findall(nodes.literal)
    }
    for code in set(document.findall(nodes.literal)) - skipped:
        if "." in code.astext() and page_of(code.astext()):
            code.replace_self(link(code.astext(), code.deepcopy()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Sphinx ask here for what it does not find, and show what it has found."""
    app.connect("missing-reference", resolve)
    app.connect("doctree-resolved", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
