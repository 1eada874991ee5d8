# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The documentation site: `make docs` builds it into out/docs, with warnings as errors."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = 'stmask_ros'
author = 'stmask_ros developers'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode']
exclude_patterns = ['draw_architecture.py']
html_theme = 'furo'
html_title = 'stmask_ros'
autodoc_typehints = 'signature'
autodoc_member_order = 'bysource'
autodoc_default_options = {'members': True, 'undoc-members': False}
myst_heading_anchors = 4
# Pages refer to files of the repository, which the site does not hold.
suppress_warnings = ['myst.xref_missing']
# Links within the site are checked; pages of others only by who has a network.
linkcheck_ignore = [r'https?://']


def plain_text(_app: object, _what: str, _name: str, _obj: object, _options: object,
               lines: list[str]) -> None:
    """Take docstrings as plain text: no mark-up, hanging indents joined to their line."""
    joined: list[str] = []
    for line in lines:
        text = re.sub(r'([*_|])', r'\\\1', line.strip()).replace('`', '``')
        if line.startswith(' ') and joined and joined[-1]:
            joined[-1] += ' ' + text
        else:
            joined.append(text)
    lines[:] = joined


def setup(app: Any) -> None:
    """Let autodoc read docstrings through plain_text()."""
    app.connect('autodoc-process-docstring', plain_text)
