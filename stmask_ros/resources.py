# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where the files that come with the package are: models, configuration."""

from __future__ import annotations

from pathlib import Path

PACKAGE = 'stmask_ros'


def share_directory() -> Path:
    """
    Return the folder that holds model/, config/ and launch/.

    That is the checkout when run from one, else share/stmask_ros of the installation. Raises
    FileNotFoundError if neither is there.
    """
    for parent in Path(__file__).resolve().parents:
        for candidate in (parent, parent / 'share' / PACKAGE):
            if (candidate / 'package.xml').is_file() and (candidate / 'model').is_dir():
                return candidate
    raise FileNotFoundError(
        f'the files of {PACKAGE} (model/, config/) are not beside {Path(__file__).parent}; '
        'install the package, or run from its checkout'
    )
