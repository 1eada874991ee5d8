"""Where the package's own files (config, launch, model) are. No ROS."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def share_directory() -> Path:
    """
    Return the folder that holds config/, launch/ and model/.

    In a checkout that is its root; installed (by colcon, or by pip), share/stmask_ros of the
    prefix that this module was installed below.
    Raises FileNotFoundError if this module was copied somewhere without those files.
    """
    checkout = _PACKAGE.parent
    if (checkout / 'package.xml').is_file() and (checkout / 'config').is_dir():
        return checkout
    for prefix in _PACKAGE.parents:
        share = prefix / 'share' / 'stmask_ros'
        if (share / 'package.xml').is_file():
            return share
    raise FileNotFoundError(
        f'no share/stmask_ros above {_PACKAGE}: the package was not installed whole. '
        'Build it with colcon, or with `pip install --no-build-isolation .`'
    )
