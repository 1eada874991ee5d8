"""The segmenter with one more family: `python toy_segmenter.py --ros-args ...`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path[0] = ''  # as for `python -m`: the package of the working directory comes first
    sys.path.append(str(Path(__file__).resolve().parents[1] / 'unit'))
    from family_models import add_toy

    from stmask_ros.node.segmenter_node import main

    add_toy()
    main()
