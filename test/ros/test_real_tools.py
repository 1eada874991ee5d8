# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""With the real tools of ROS 2, where they are installed: what they say of our nodes and files."""

from __future__ import annotations

import base64
import dataclasses
import importlib.util
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import message_packages
import numpy as np
import pytest
import rclpy
import yaml
from ament_index_python.packages import get_package_prefix
from annotated_clip import TOPIC, crossing_shapes, write_bag
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from segmenter_process import RELIABLE, UNTRAINED, SegmenterProcess

from stmask_ros.bags import read_bag
from stmask_ros.masks import MaskEncoding, RegionMask, decode
from stmask_ros.msg import InstanceMask, TrackedInstance, TrackedInstanceArray
from stmask_ros.node.parameters import Parameters

ROOT = Path(__file__).resolve().parents[2]


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skip a test with its reason where `ros2` or one of its parts is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if shutil.which('ros2') is None:
        missing.append('the command ros2')
    return pytest.mark.skipif(bool(missing), reason=f'not installed: {", ".join(missing)}')


@needs('ros2cli', 'ros2param')
def test_param_dump_writes_every_parameter_and_the_node_takes_the_file(tmp_path: Path) -> None:
    with SegmenterProcess('segmenter_dumped', '-p', f'model:={UNTRAINED}') as process:
        process.activate()
        command = ['ros2', 'param', 'dump', '--no-daemon', '--spin-time', '5', '/segmenter_dumped']
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    dumped = yaml.safe_load(done.stdout)['/segmenter_dumped']['ros__parameters']
    assert {field.name for field in dataclasses.fields(Parameters)} <= set(dumped)
    (tmp_path / 'dumped.yaml').write_text(done.stdout)
    with SegmenterProcess(
        'segmenter_dumped', '--params-file', str(tmp_path / 'dumped.yaml')
    ) as again:
        again.activate()
        assert 'no parameter' not in again.log()


@dataclasses.dataclass
class Heard:
    """Of a segmenter: the stamps [ns] of its answers, and how many images it says it received."""

    stamps: list[int] = dataclasses.field(default_factory=list)
    received: int = 0

    def on_answer(self, message: TrackedInstanceArray) -> None:
        """Note an answer."""
        stamp = message.header.stamp
        self.stamps.append(stamp.sec * 10**9 + stamp.nanosec)

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        """Note a report."""
        facts = {fact.key: fact.value for status in message.status for fact in status.values}
        self.received = int(facts.get('images received', self.received))


@pytest.fixture
def listen() -> Callable[[subprocess.Popen[bytes]], Heard]:
    """Return what hears a segmenter until a launch ends."""
    def collect(launch: subprocess.Popen[bytes]) -> Heard:
        context = rclpy.Context()
        rclpy.init(context=context)
        node = Node('listener', context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        heard = Heard()
        node.create_subscription(
            TrackedInstanceArray, '/segmenter/instances', heard.on_answer, RELIABLE)
        node.create_subscription(DiagnosticArray, '/diagnostics', heard.on_diagnostics, RELIABLE)
        end = time.monotonic() + 240
        while launch.poll() is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        node.destroy_node()
        rclpy.shutdown(context=context)
        return heard
    return collect


@needs('ros2cli', 'ros2launch', 'ros2bag', 'rosbag2_py')
def test_a_bag_that_rosbag2_plays_is_heard_from_its_first_image(
    tmp_path: Path, listen: Callable[[subprocess.Popen[bytes]], Heard]
) -> None:
    bag = write_bag(tmp_path / 'bag', crossing_shapes('shapes', 5, 1))
    recorded = [
        message.content.header.stamp.sec * 10**9 + message.content.header.stamp.nanosec
        for message in read_bag(bag, TOPIC)
    ]
    log = tmp_path / 'log'
    launch = subprocess.Popen(
        ['ros2', 'launch', str(ROOT / 'launch/replay.launch.py'), f'bag:={bag}', 'player:=rosbag2',
         f'model:={UNTRAINED}'],
        stdout=log.open('w'), stderr=subprocess.STDOUT, env=os.environ | {
            'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])})
    try:
        heard = listen(launch)
    finally:
        if launch.poll() is None:
            launch.send_signal(signal.SIGINT)
            launch.wait(20)
    assert heard.received == len(recorded), log.read_text()
    # The player sends the first two at once, of which the newer is answered.
    assert heard.stamps[0] in recorded[:2], log.read_text()
    assert set(heard.stamps) <= set(recorded)


def has_package(name: str) -> bool:
    """Say whether a package of ROS is installed, as `ros2 run` looks for it."""
    try:
        return bool(get_package_prefix(name))
    except LookupError:
        return False


@needs('ros2cli', 'ros2run')
@pytest.mark.parametrize(('transport', 'package'), [
    ('raw', 'image_transport'), ('compressed', 'compressed_image_transport')])
def test_what_image_transport_republishes_is_answered(transport: str, package: str) -> None:
    """It asks the camera for all images reliably, as its default is."""
    if not has_package(package):
        pytest.skip(f'not installed: {package}')
    name = f'segmenter_after_{transport}'
    suffix = '' if transport == 'raw' else f'/{transport}'
    camera = [sys.executable, '-m', 'stmask_ros.camera.node', '--ros-args', '-p', 'rate:=5.0',
              '-r', f'image_raw:=/{name}/before']
    republish = [
        'ros2', 'run', 'image_transport', 'republish', '--ros-args', '-p', 'in_transport:=raw',
        '-p', f'out_transport:={transport}', '-r', f'in:=/{name}/before',
        '-r', f'out{suffix}:=/{name}/camera{suffix}']
    with SegmenterProcess(name, '-p', f'model:={UNTRAINED}', '-p', 'autostart:=true', '-p',
                          f'image_transport:={transport}') as process:
        others = [subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
                  for command in (camera, republish)]
        try:
            process.spin_until(lambda: bool(process.outputs), 'an answer')
        finally:
            for other in others:
                os.killpg(other.pid, signal.SIGKILL)
                other.wait()
    answer = process.outputs[0]
    assert (answer.image_width, answer.image_height) == (640, 360)
    assert answer.header.frame_id == 'camera'


def mask_message(region: RegionMask, encoding: MaskEncoding) -> InstanceMask:
    return InstanceMask(
        encoding=int(encoding), x_offset=region.x_offset, y_offset=region.y_offset,
        width=region.width, height=region.height, area=region.area,
        data=region.encode(encoding))


@pytest.fixture(scope='module')
def cpp_subscriber(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build test/cpp/subscriber.cpp against the ROS 2 of this environment."""
    prefixes = [Path(sys.prefix), *map(Path, filter(
        None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)))]
    if shutil.which('g++') is None or not any(
            (prefix / 'include' / 'rcl' / 'rcl' / 'rcl.h').is_file() for prefix in prefixes):
        pytest.skip('not installed: g++, or the headers of rcl')
    folders = [folder for prefix in prefixes for folder in (prefix / 'include').glob('*/')]
    program = tmp_path_factory.mktemp('cpp') / 'subscriber'
    # The wheels' libraries lead to some that are made to be loaded by Python.
    python = Path(str(sysconfig.get_config_var('LIBDIR')))
    library = python / str(sysconfig.get_config_var('LDLIBRARY'))
    is_there = library.suffix == '.so' and library.is_file()
    shared = ['-Wl,--no-as-needed', library, f'-Wl,-rpath,{python}'] if is_there else []
    subprocess.run(
        ['g++', '-std=c++17', '-O1', '-I', ROOT / 'include', *(f'-I{each}' for each in folders),
         ROOT / 'test/cpp/subscriber.cpp', '-o', program,
         *(f'-L{prefix / "lib"}' for prefix in prefixes),
         '-Wl,--unresolved-symbols=ignore-in-shared-libs', '-lrcl', '-lrcutils',
         '-lstmask_ros__rosidl_typesupport_cpp', *shared], check=True)
    return program


def test_a_subscriber_in_cpp_decodes_what_the_node_sends(cpp_subscriber: Path) -> None:
    random = np.random.default_rng(3)
    full = [np.kron(random.random((6, 8)) < share, np.ones((10, 10))) > 0
            for share in np.linspace(0, 1, 52)]
    kinds = itertools.cycle(list(MaskEncoding)[1:])
    message = TrackedInstanceArray(image_height=60, image_width=80, instances=[
        TrackedInstance(mask=mask_message(RegionMask.from_full(mask), kind))
        for mask, kind in zip(full, kinds, strict=False)])
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node('sender', context=context)
    publisher = node.create_publisher(TrackedInstanceArray, '/to_cpp', RELIABLE)
    process = subprocess.Popen([cpp_subscriber, '/to_cpp'], stdout=subprocess.PIPE)
    try:
        while publisher.get_subscription_count() == 0 and process.poll() is None:
            time.sleep(0.05)
        publisher.publish(message)
        received, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert process.returncode == 0
    pixels = np.frombuffer(received, np.uint8).reshape(-1, 60, 80)
    assert np.array_equal(pixels, np.array(full, np.uint8))


def has_foxglove(*names: str) -> bool:
    """Say whether node finds Foxglove's libraries, installed by npm below NODE_PATH."""
    script = ';'.join(f"require.resolve('{name}')" for name in names)
    node = shutil.which('node')
    return node is not None and subprocess.run(
        [node, '-e', script], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(
    not has_foxglove('@mcap/core', '@foxglove/rosmsg', '@foxglove/rosmsg2-serialization', 'fzstd'),
    reason="not installed: node, and Foxglove's libraries below NODE_PATH")
def test_the_libraries_of_foxglove_read_an_annotated_bag(tmp_path: Path) -> None:
    from stmask_ros import cli

    bag = write_bag(tmp_path / 'bag', crossing_shapes('shapes', 3, 1))
    assert cli.main(['bag', 'annotate', str(bag), str(tmp_path / 'out'), '--model', str(UNTRAINED),
                     '--birth-threshold', '0']) == 0
    (file,) = (tmp_path / 'out').glob('*.mcap')
    ours = list(read_bag(tmp_path / 'out', '/segmenter/instances'))
    command = ['node', str(ROOT / 'test/ros/read_bag.mjs'), str(file), '/segmenter/instances']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ours) == len(theirs) == 3
    assert any(message.content.instances for message in ours)
    for our, their in zip(ours, theirs, strict=True):
        assert their['type'] == 'stmask_ros/msg/TrackedInstanceArray'
        content = their['content']
        assert content['header']['frame_id'] == our.content.header.frame_id
        assert content['epoch'] == our.content.epoch
        assert len(content['instances']) == len(our.content.instances)
        for one, other in zip(our.content.instances, content['instances'], strict=True):
            assert (int(other['track_id']), other['class_name']) == (one.track_id, one.class_name)
            assert other['score'] == pytest.approx(one.score)
            mask = SimpleNamespace(
                **{key: other['mask'][key] for key in ('encoding', 'x_offset', 'y_offset', 'width',
                                                       'height')},
                data=base64.b64decode(other['mask']['data']))
            assert np.array_equal(decode(mask).pixels, decode(one.mask).pixels)


@pytest.mark.skipif(
    not has_foxglove('@foxglove/schemas/internal'),
    reason="not installed: node, and Foxglove's schemas below NODE_PATH")
def test_the_schemas_of_foxglove_have_every_field_that_is_sent() -> None:
    """They have more; what the tests build and the node fills is there, of the same type."""
    script = """
        const its = require('@foxglove/schemas/internal');
        for (const name of process.argv.slice(1)) {
          const schema = its.generateRosMsgDefinition(
            its.foxgloveMessageSchemas[name], { rosVersion: 2 });
          console.log(its.generateRosMsg(schema, { rosVersion: 2 }) + '=====');
        }"""
    done = subprocess.run(['node', '-e', script, *message_packages.FOXGLOVE], capture_output=True,
                          text=True, timeout=120, check=True)
    theirs = done.stdout.split('=====')
    for (name, ours), definition in zip(message_packages.FOXGLOVE.items(), theirs, strict=False):
        assert f'foxglove_msgs/msg/{name}\n' in definition
        assert set(ours.split('\n')) <= set(definition.split('\n')), name


def test_the_layout_is_what_the_library_of_foxglove_writes() -> None:
    layouts = pytest.importorskip('foxglove.layouts', reason='not installed: foxglove-sdk')

    def image(title: str, **mode: object) -> object:
        config = layouts.ImageConfig(image_mode=layouts.ImageModeConfig(**mode))
        return layouts.ImagePanel(title=title, config=config)

    def split(direction: str, *items: tuple[int, object]) -> object:
        return layouts.SplitContainer(direction=direction, items=[
            layouts.SplitItem(proportion=proportion, content=item) for proportion, item in items])

    shown = {f'/segmenter/{topic}': layouts.ImageAnnotationSettings(visible=visible)
             for topic, visible in (('annotations', True), ('outlines', False))}
    pictures = split(
        'column',
        (1, image('Image with annotations', image_topic='/image_raw/compressed',
                  annotations=shown, synchronize=True)),
        (1, image('Overlay', image_topic='/segmenter/overlay/compressed')))
    texts = split(
        'column',
        (1, layouts.RawMessagesPanel(title='Instances', config=layouts.RawMessagesConfig(
            topic_path='/segmenter/instances'))),
        (1, layouts.DiagnosticsSummaryPanel(
            title='Diagnostics', config=layouts.DiagnosticsSummaryConfig(
                min_level=0, topic_to_render='/diagnostics'))))
    layout = layouts.Layout(content=split('row', (2, pictures), (1, texts)))
    ours = json.loads((ROOT / 'config/foxglove.json').read_text())
    assert json.loads(layout.to_json()) == ours


def test_message_filters_pairs_images_and_answers_by_their_stamps() -> None:
    filters = pytest.importorskip('message_filters', reason='not installed: message_filters')
    from sensor_msgs.msg import Image

    image, answer = filters.SimpleFilter(), filters.SimpleFilter()
    pairs: list[tuple[Image, TrackedInstanceArray]] = []
    filters.TimeSynchronizer([image, answer], 10).registerCallback(
        lambda *pair: pairs.append(pair))
    for second in np.arange(1, 4).tolist():
        ours, theirs = Image(), TrackedInstanceArray()
        ours.header.stamp.sec = theirs.header.stamp.sec = second
        image.signalMessage(ours)
        answer.signalMessage(theirs)
    assert [one.header.stamp.sec for one, _ in pairs] == [1, 2, 3]
