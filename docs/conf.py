"""Configuration of the documentation: `make docs` builds it into _build/html."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # elsewhere, pages, mathml, families
os.environ.setdefault("KERAS_BACKEND", "numpy")  # the reference imports Keras; this one is light

import elsewhere

project = "fusedloss"
copyright = "the fusedloss contributors"
version = release = version_of("fusedloss")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "elsewhere",
    "mathml",
    "pages",
]
exclude_patterns = ["_build", "generated/backreferences", "gallery"]
templates_path = ["_templates"]

autodoc_preserve_defaults = True
autodoc_typehints = "none"  # numpydoc's sections say them, in words
autosummary_ignore_module_all = False
default_role = "py:obj"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_aliases = elsewhere.aliases()
numpydoc_xref_ignore = "all"  # but the aliases

myst_heading_anchors = 3

# Prompts and output are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("fusedloss",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"fusedloss": None},
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 60,
    "download_all_examples": False,
}

html_theme = "furo"
html_title = f"fusedloss {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["losses.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sphinx = False
