# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The running nodes do no more to the machine and to the robot than docs/security.md says."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import rclpy
import torch
from lifter_process import LifterProcess
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError
from segmenter_process import UNTRAINED, SegmenterProcess, image

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / 'config' / 'sros2_policy.xml'
AUDITED = Path(__file__).with_name('audited_segmenter.py')

# What DDS and the log of ROS need of the machine.
EXPECTED_FILES = ('/dev/null', '/dev/shm/', 'pipe:', 'socket:', 'anon_inode:')


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[SegmenterProcess]:
    """Return an active segmenter that notes what it does, with a model and weights of its own."""
    network = STMask(STMaskConfig.named('stmask_lite'))
    initialise(network)
    torch.save(network.state_dict(), tmp_path / 'weights.pth')
    model = tmp_path / 'model.yaml'
    model.write_text(UNTRAINED.read_text().replace('weights: null', 'weights: weights.pth'))
    segmenter = SegmenterProcess(
        'segmenter_audited', '-p', f'model:={model}',
        command=[sys.executable, str(AUDITED), str(tmp_path / 'notes')],
        env=os.environ | {'ROS_LOG_DIR': str(tmp_path / 'log')})
    try:
        segmenter.activate()
        yield segmenter
    finally:
        segmenter.close()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.iterdir() if path.is_file() and path.name != 'notes'}


def files_open_for_writing(process: int) -> set[str]:
    """Return what the process has open for writing, be it opened by Python or by a library."""
    folder = Path(f'/proc/{process}')
    paths = set()
    for descriptor in (folder / 'fd').iterdir():
        flags = (folder / 'fdinfo' / descriptor.name).read_text().split('flags:')[1].split()[0]
        if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
            paths.add(str(descriptor.readlink()))
    return paths


def tcp_connections(process: int) -> int:
    """Return how many TCP sockets the process has; DDS uses UDP and shared memory."""
    folder = Path(f'/proc/{process}')
    sockets = {str(link.readlink()) for link in (folder / 'fd').iterdir()}
    rows = [line.split() for table in ('tcp', 'tcp6')
            for line in (folder / 'net' / table).read_text().splitlines()[1:]]
    return sum(f'socket:[{row[9]}]' in sockets for row in rows)


def test_images_are_answered_without_touching_the_machine(
    audited: SegmenterProcess, tmp_path: Path
) -> None:
    """From configure to the answers: nothing written, started or connected."""
    before = digests(tmp_path)
    for stamp in (1000, 1033, 1066):
        audited.answer(image(stamp))
    process = audited.process.pid
    opened = {path for path in files_open_for_writing(process)
              if not path.startswith(EXPECTED_FILES)}
    expected = {str(tmp_path / 'notes'), str(audited._log)}
    assert {path for path in opened - expected if not path.startswith(f'{tmp_path}/log/')} == set()
    children = [task.read_text() for task in Path(f'/proc/{process}/task').glob('*/children')]
    assert not any(children)
    assert tcp_connections(process) == 0
    assert digests(tmp_path) == before
    assert (tmp_path / 'notes').read_text() == ''


def test_the_notes_see_what_they_are_for(tmp_path: Path) -> None:
    script = (
        'import os, pathlib, socket, subprocess, sys; sys.argv = ["", sys.argv[1]];'
        'import audited_segmenter as audit;'
        'audit._note_into(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT));'
        f'pathlib.Path({str(tmp_path / "written")!r}).write_text("");'
        'subprocess.run(["true"]); os.system("true");'
        'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("127.0.0.1", 9))'
    )
    subprocess.run(
        [sys.executable, '-c', script, str(tmp_path / 'notes')], check=True,
        env=os.environ | {'PYTHONPATH': f'{AUDITED.parent}:{ROOT}'})
    notes = (tmp_path / 'notes').read_text()
    for event in ('open for writing', 'subprocess.Popen', 'os.system', 'socket.connect'):
        assert event in notes


# The policy of SROS2.


def enclaves() -> dict[str, ElementTree.Element]:
    """Return the one profile of each enclave, by the enclave's path."""
    tree = ElementTree.parse(POLICY)
    return {str(enclave.get('path')): enclave.find('profiles/profile')
            for enclave in tree.iterfind('enclaves/enclave')}


def of_actions(profile: ElementTree.Element, how: str, *parts: str) -> set[str]:
    """Return the full names of topics or services that the actions of a profile consist of."""
    return {f'{name}/_action/{part}' for name in allowed(profile, 'actions', how)
            for part in parts}


def allowed(profile: ElementTree.Element, kind: str, how: str) -> set[str]:
    """Return the full names of what a profile allows, such as topics that it may publish."""
    namespace, node = profile.get('ns').rstrip('/'), profile.get('node')
    names = set()
    for group in profile.iterfind(kind):
        if group.get(how) == 'ALLOW':
            for item in group:
                name = item.text.replace('~', f'{namespace}/{node}', 1)
                names.add(name if name.startswith('/') else f'{namespace}/{name}')
    return names


def check_names(
    executor: SingleThreadedExecutor, node: Node, name: str, expected: dict[str, set[str]]
) -> None:
    """Compare a node's names on the network, by publisher, subscriber, service and client."""
    readers = {what: getattr(node, f'get_{what}_names_and_types_by_node') for what in expected}

    def names() -> dict[str, set[str]]:
        try:
            return {what: {found for found, _ in read(name, '/')}
                    for what, read in readers.items()}
        except NodeNameNonExistentError:  # not discovered yet
            return {}

    spin(executor, lambda: names() == expected)
    assert names() == expected


def spin(executor: SingleThreadedExecutor, until: Callable[[], bool]) -> None:
    """Take part in discovery until a condition holds, but not for ever."""
    end = time.monotonic() + 60
    while not until() and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)


def test_the_policy_is_what_the_segmenter_uses() -> None:
    """Not a topic or service more or less."""
    missing = {'/segmenter/class_map', '/segmenter/detections'}
    if find_spec('vision_msgs'):
        missing.clear()
    if not find_spec('foxglove_msgs'):
        missing.add('/segmenter/annotations')
    profile = enclaves()['/segmenter']
    segmenter = SegmenterProcess('segmenter', '-p', f'model:={UNTRAINED}')
    try:
        segmenter.activate()
        check_names(segmenter.executor, segmenter.client, 'segmenter', {
            'publisher': allowed(profile, 'topics', 'publish') - missing
            | of_actions(profile, 'execute', 'feedback', 'status'),
            # The launch file's image topic; the tests have another one.
            'subscriber': {'/segmenter/camera' if name == '/image_raw' else name
                           for name in allowed(profile, 'topics', 'subscribe')},
            'service': allowed(profile, 'services', 'reply')
            | of_actions(profile, 'execute', 'send_goal', 'cancel_goal', 'get_result'),
            'client': allowed(profile, 'services', 'request'),
        })
    finally:
        segmenter.close()


def test_the_policy_is_what_the_camera_uses() -> None:
    profile = enclaves()['/camera']
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node('viewer', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    camera = subprocess.Popen([sys.executable, '-m', 'stmask_ros.camera.node'])
    try:
        spin(executor, lambda: ('camera', '/') in node.get_node_names_and_namespaces())
        check_names(executor, node, 'camera', {
            'publisher': allowed(profile, 'topics', 'publish'),
            'subscriber': allowed(profile, 'topics', 'subscribe'),
            'service': allowed(profile, 'services', 'reply'),
            'client': allowed(profile, 'services', 'request'),
        })
    finally:
        camera.terminate()
        camera.wait(10)
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_the_policy_is_what_the_lifter_uses() -> None:
    profile, inputs = enclaves()['/lifter'], '/lifter_in'
    launched = {
        '/segmenter/instances': f'{inputs}/instances', '/camera_info': f'{inputs}/camera_info',
        '/depth/image_raw': f'{inputs}/depth', '/depth/camera_info': f'{inputs}/depth_camera_info'}
    absent = set() if find_spec('tf2_ros') else {'/tf', '/tf_static', '/tf2_frames'}
    missing = {name for package, name in (
        ('vision_msgs', '/lifter/detections_3d'), ('visualization_msgs', '/lifter/markers'),
    ) if not find_spec(package)}
    with LifterProcess('lifter') as lifter:
        lifter.wait_for_connection(lifter.instances)
        check_names(lifter.executor, lifter.client, 'lifter', {
            'publisher': allowed(profile, 'topics', 'publish') - missing,
            'subscriber': {launched.get(name, name) for name in
                           allowed(profile, 'topics', 'subscribe') - absent},
            'service': allowed(profile, 'services', 'reply') - absent,
            'client': allowed(profile, 'services', 'request'),
        })


@pytest.mark.parametrize('user', ['/consumer', '/operator'])
def test_users_may_have_what_is_offered(user: str) -> None:
    segmenter, profile = enclaves()['/segmenter'], enclaves()[user]
    offered = allowed(segmenter, 'topics', 'publish') | allowed(
        enclaves()['/lifter'], 'topics', 'publish')
    assert allowed(profile, 'topics', 'subscribe') <= offered
    assert allowed(profile, 'topics', 'publish') == {'/parameter_events', '/rosout'}
    requested = allowed(profile, 'services', 'request')
    assert requested <= allowed(segmenter, 'services', 'reply')
    assert bool(requested) == (user == '/operator')


def test_the_policy_can_be_read_by_ros2_security() -> None:
    """Its reader takes every child of <enclaves> for an enclave, comments included."""
    builder = ElementTree.TreeBuilder(insert_comments=True)
    tree = ElementTree.parse(POLICY, ElementTree.XMLParser(target=builder))
    children = list(tree.find('enclaves'))
    assert [child.tag for child in children] == ['enclave'] * len(enclaves())


def test_without_its_keys_the_node_does_not_start(tmp_path: Path) -> None:
    """Where security is enforced, nothing runs unprotected; the reason is one clear line."""
    environment = os.environ | {
        'ROS_SECURITY_ENABLE': 'true', 'ROS_SECURITY_STRATEGY': 'Enforce',
        'ROS_SECURITY_KEYSTORE': str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, '-m', 'stmask_ros.node.segmenter_node', '--ros-args',
         '--enclave', '/segmenter', '-p', 'autostart:=true'],
        env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert 'cannot start' in ended.stderr
    assert f'{tmp_path}/enclaves/segmenter' in ended.stderr
    assert 'Traceback' not in ended.stderr
