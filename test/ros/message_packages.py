# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Message packages that PyPI does not have, built for the tests: the fields alone."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FFMPEG = {'FFMPEGPacket': """
std_msgs/Header header
int32 width
int32 height
string encoding
uint64 pts
uint8 flags
bool is_bigendian
uint8[] data
"""}

FOXGLOVE = {
    'CompressedVideo': """
builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
""",
    'Color': 'float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n',
    'Point2': 'float64 x\nfloat64 y\n',
    'CircleAnnotation': """
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position
float64 diameter
float64 thickness
foxglove_msgs/Color fill_color
foxglove_msgs/Color outline_color
""",
    'PointsAnnotation': """
builtin_interfaces/Time timestamp
uint8 UNKNOWN=0
uint8 POINTS=1
uint8 LINE_LOOP=2
uint8 LINE_STRIP=3
uint8 LINE_LIST=4
uint8 type
foxglove_msgs/Point2[] points
foxglove_msgs/Color outline_color
foxglove_msgs/Color[] outline_colors
foxglove_msgs/Color fill_color
float64 thickness
""",
    'TextAnnotation': """
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position
string text
float64 font_size
foxglove_msgs/Color text_color
foxglove_msgs/Color background_color
""",
    'ImageAnnotations': """
foxglove_msgs/CircleAnnotation[] circles
foxglove_msgs/PointsAnnotation[] points
foxglove_msgs/TextAnnotation[] texts
""",
}

VISION = {
    'VisionClass': 'uint16 class_id\nstring class_name\n',
    'LabelInfo': """
std_msgs/Header header
vision_msgs/VisionClass[] class_map
float32 threshold
""",
    'Point2D': 'float64 x\nfloat64 y\n',
    'Pose2D': 'vision_msgs/Point2D position\nfloat64 theta\n',
    'BoundingBox3D': 'geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n',
    'Detection3D': """
std_msgs/Header header
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox3D bbox
string id
""",
    'Detection3DArray': 'std_msgs/Header header\nvision_msgs/Detection3D[] detections\n',
    'BoundingBox2D': 'vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n',
    'ObjectHypothesis': 'string class_id\nfloat64 score\n',
    'ObjectHypothesisWithPose': """
vision_msgs/ObjectHypothesis hypothesis
geometry_msgs/PoseWithCovariance pose
""",
    'Detection2D': """
std_msgs/Header header
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox2D bbox
string id
""",
    'Detection2DArray': """
std_msgs/Header header
vision_msgs/Detection2D[] detections
""",
}

PACKAGES = {
    'ffmpeg_image_transport_msgs': FFMPEG, 'foxglove_msgs': FOXGLOVE, 'vision_msgs': VISION}

CMAKE = """
cmake_minimum_required(VERSION 3.16)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
find_package(builtin_interfaces REQUIRED)
find_package(geometry_msgs REQUIRED)
rosidl_generate_interfaces({name} {files} DEPENDENCIES std_msgs builtin_interfaces
  geometry_msgs)
ament_package()
"""

MANIFEST = """<?xml version="1.0"?>
<package format="3"><name>{name}</name><version>0.0.0</version><description>fields</description>
<maintainer email="nobody@example.com">nobody</maintainer><license>Apache-2.0</license>
<buildtool_depend>ament_cmake</buildtool_depend>
<buildtool_depend>rosidl_default_generators</buildtool_depend>
<depend>std_msgs</depend><depend>builtin_interfaces</depend><depend>geometry_msgs</depend>
<member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export></package>
"""


def environment() -> dict[str, str]:
    """Return the variables of a process that has these packages; skip where none can be built."""
    key = hashlib.sha256(f'{PACKAGES}{CMAKE}{sys.prefix}'.encode()).hexdigest()[:12]
    prefix = ROOT / 'build' / f'test-messages-{key}'
    prefix.mkdir(parents=True, exist_ok=True)
    with (prefix / 'lock').open('w') as lock:  # tests at the same time want the same packages
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (prefix / 'built').is_file():
            _build(prefix)
    site = next(prefix.glob('**/site-packages'))
    return {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(site), os.environ.get('PYTHONPATH', '')]),
        'LD_LIBRARY_PATH': os.pathsep.join(
            [str(prefix / 'lib'), os.environ.get('LD_LIBRARY_PATH', '')]),
        'AMENT_PREFIX_PATH': os.pathsep.join(
            [str(prefix), os.environ.get('AMENT_PREFIX_PATH', sys.prefix)]),
    }


def _build(prefix: Path) -> None:
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    variables = {**os.environ, 'PATH': tools, 'AMENT_PREFIX_PATH': sys.prefix}
    for name, messages in PACKAGES.items():
        source = prefix / 'src' / name
        (source / 'msg').mkdir(parents=True, exist_ok=True)
        for message, fields in messages.items():
            (source / 'msg' / f'{message}.msg').write_text(fields)
        files = ' '.join(f'"msg/{message}.msg"' for message in messages)
        (source / 'CMakeLists.txt').write_text(CMAKE.format(name=name, files=files))
        (source / 'package.xml').write_text(MANIFEST.format(name=name))
        build = prefix / 'build' / name
        for command in (
            ['-S', source, '-B', build, '-G', 'Ninja', f'-DCMAKE_INSTALL_PREFIX={prefix}',
             f'-DCMAKE_PREFIX_PATH={sys.prefix}', f'-DPython3_EXECUTABLE={sys.executable}',
             f'-DCMAKE_PROJECT_INCLUDE={ROOT / "cmake" / "ros_wheels.cmake"}',
             '-DBUILD_TESTING=OFF'],
            ['--build', build], ['--install', build],
        ):
            done = subprocess.run(
                ['cmake', *map(str, command)], env=variables, capture_output=True, text=True,
                check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    (prefix / 'built').touch()
