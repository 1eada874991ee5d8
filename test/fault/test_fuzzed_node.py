# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Malformed images through a running node: no exit, no hang, every one on the books.

100 raw and 50 compressed ones; 10,000 and 5,000 with --long. Of other families than the first a
tenth, and none that are compressed without --long.
"""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from builtin_interfaces.msg import Time
from family_models import PACKAGED
from malformed import TAKEN, claiming, compressed_images, outcome, raw_images
from rclpy.serialization import serialize_message
from segmenter_process import RELIABLE, SegmenterProcess, every_image, image, picture
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.images import compressed_to_bgr, to_bgr

REPLACED = 'replaced by a newer image'
ROUND = 25
MEMORY_LIMIT = 512 * 2**20
Message = Image | CompressedImage


@pytest.fixture(scope='module')
def start(family: str, small_model: Path) -> Iterator[Callable[[str], SegmenterProcess]]:
    """Return a function that returns the active node for raw or compressed images."""
    running: dict[str, SegmenterProcess] = {}

    def _start(transport: str) -> SegmenterProcess:
        if transport not in running:
            running[transport] = node = _node(f'{family}_{transport}', transport, small_model)
            node.warm_up(GOOD[transport])
        return running[transport]

    yield _start
    for node in running.values():
        node.close()


def _node(kind: str, transport: str, model: Path) -> SegmenterProcess:
    name = f'fuzzed_{kind}'
    topic = f'/{name}/camera' + ('/compressed' if transport == 'compressed' else '')
    return SegmenterProcess(
        name, '-p', 'autostart:=true', '-p', f'model:={model}', '-p', 'torch_threads:=1',
        '-p', 'diagnostics_period:=0.05', '-p', f'image_transport:={transport}',
        *every_image(topic))


def jpeg(stamp_ms: int) -> CompressedImage:
    message = CompressedImage(header=image(stamp_ms).header, format='jpeg')
    message.data.frombytes(cv2.imencode('.jpg', picture())[1].tobytes())
    return message


GOOD = {'raw': image, 'compressed': jpeg}


def raw_message(fields: SimpleNamespace) -> Image:
    message = Image(
        width=fields.width, height=fields.height, step=fields.step, encoding=fields.encoding,
        is_bigendian=fields.is_bigendian)
    message.data.frombytes(fields.data)
    return message


def compressed_message(fields: SimpleNamespace) -> CompressedImage:
    message = CompressedImage(format=fields.format)
    message.data.frombytes(fields.data.tobytes())
    return message


class Siege:
    """
    A node under bad images, and what should have become of each.

    One that comes while another still waits replaces it, and the node counts that one as replaced
    and not for its own reason: all differences between the two books must be of this kind.
    """

    def __init__(self, node: SegmenterProcess, convert: Callable[[Any], np.ndarray]) -> None:
        self.node = node
        self.convert = convert
        self.begin = self.counts = node.counts()
        self.expected: Counter[str] = Counter()
        self.sent = 0
        self.stamp = 1000

    def send(self, message: Message) -> None:
        """Send an image of a stamp of its own; wait for the answer if it should have one."""
        self.sent += 1
        self.stamp += 1
        message.header.stamp = Time(sec=self.stamp)
        expected = outcome(self.convert, message)
        self.expected[expected] += 1
        node = self.node
        publisher = node.images if isinstance(message, Image) else node.jpegs
        answered = len(node.outputs)
        publisher.publish(message)
        if expected == TAKEN:
            node.spin_until(lambda: len(node.outputs) > answered, 'an answer', deadline=60)
        else:
            node.executor.spin_once(timeout_sec=0.002)

    def wait_until_done(self) -> None:
        """Wait until nothing that was sent is waiting or in work any more."""
        while True:
            counts = self.node.counts()
            arrived = counts.received >= self.begin.received + self.sent
            if arrived and counts.received == counts.processed + counts.dropped():
                return

    def settle(self) -> None:
        """Wait until all are on the node's books, and compare them with ours."""
        begin, expected = self.begin, self.expected
        while (counts := self.node.counts()).received < begin.received + self.sent:
            pass
        self.counts = counts
        assert counts.received == begin.received + self.sent
        short = {reason: number - self.dropped(reason) for reason, number in expected.items()
                 if reason != TAKEN}
        short[TAKEN] = expected[TAKEN] - (counts.processed - begin.processed)
        assert min(short.values()) >= 0, (short, self.node.log()[-3000:])
        assert sum(short.values()) == self.dropped(REPLACED)
        # The last 5000 or so are enough to say what the node did wrong.
        del self.node.outputs[:-1]

    def dropped(self, reason: str) -> int:
        return self.counts.dropped([reason]) - self.begin.dropped([reason])


def assert_answered(node: SegmenterProcess, message: Message) -> None:
    answer = node.answer(message)
    assert answer.header == message.header


@pytest.mark.parametrize(('transport', 'source', 'message', 'convert', 'numbers'), [
    pytest.param('raw', raw_images, raw_message, to_bgr, (100, 10_000), id='raw'),
    pytest.param(
        'compressed', compressed_images, compressed_message, compressed_to_bgr, (50, 5_000),
        id='compressed', marks=pytest.mark.long_for_others),
])
def test_fuzzed_images(
    start: Callable[[str], SegmenterProcess], record_property: Callable[[str, object], None],
    family: str, long: bool, transport: str, source: Callable[[int], Iterator[SimpleNamespace]],
    message: Callable[[SimpleNamespace], Message], convert: Callable[[Any], np.ndarray],
    numbers: tuple[int, int],
) -> None:
    """Each costs itself alone and is counted by its reason; the next good one is answered."""
    node = start(transport)
    process = psutil.Process(node.process.pid)
    before, highest = process.memory_info().rss, 0
    siege = Siege(node, convert)
    images = source(31)
    number = numbers[long] // (1 if family == PACKAGED[0] else 10)
    while siege.sent - siege.dropped(REPLACED) < number:
        for fields in itertools.islice(images, ROUND):
            siege.send(message(fields))
        siege.send(GOOD[transport](0))
        siege.settle()
        highest = max(highest, process.memory_info().rss)
    record_property('images sent', siege.sent)
    for reason, number in sorted(siege.expected.items()):
        record_property(f'  {reason}', number)
    record_property('  of these replaced by the next one', siege.dropped(REPLACED))
    record_property('resident memory, before and most [MiB]', f'{before >> 20} {highest >> 20}')
    assert highest - before < MEMORY_LIMIT
    assert node.process.poll() is None
    assert 'Traceback' not in node.log()


@pytest.mark.long_for_others
def test_pictures_of_the_largest_size(
    start: Callable[[str], SegmenterProcess], record_property: Callable[[str, object], None],
) -> None:
    """A few KiB that unpack to 64 megapixels are taken; more are refused. Memory is bounded."""
    node = start('compressed')
    process = psutil.Process(node.process.pid)
    siege = Siege(node, compressed_to_bgr)
    before = process.memory_info().rss
    largest = cv2.imencode('.png', np.zeros((8192, 8192), np.uint8))[1].tobytes()
    for data in (largest, claiming(largest, 8193, 8192), claiming(largest, 60_000, 60_000)):
        fields = SimpleNamespace(format='png', data=np.frombuffer(data, np.uint8))
        siege.send(compressed_message(fields))
        siege.wait_until_done()  # else one that is refused may be replaced by the next instead
    siege.settle()
    assert (siege.expected[TAKEN], siege.dropped('size')) == (1, 2)
    peak = int(_status(process.pid)['VmHWM'].split()[0]) >> 10
    record_property('size of the file [KiB]', len(largest) >> 10)
    record_property('resident memory, before and most [MiB]', f'{before >> 20} {peak}')
    assert_answered(node, jpeg(10_000))


def _status(pid: int) -> dict[str, str]:
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return dict(line.split(':\t', 1) for line in lines)


@pytest.mark.long_for_others
def test_what_is_no_message_at_all(start: Callable[[str], SegmenterProcess]) -> None:
    """Bytes on the topic that do not deserialise are not images; the next image is answered."""
    node = start('raw')
    whole = bytes(serialize_message(image(1)))
    vast = bytearray(whole)
    vast[12:16] = struct.pack('<I', 2**31)  # the length of frame_id
    noise = np.random.default_rng(5).bytes(300)
    broken = [whole[:4], whole[:30], whole[:-7], bytes(vast), bytes(4) + noise, b'']
    # After an empty one Fast DDS delivers nothing more of its reliable publisher: of that alone.
    publisher = node.client.create_publisher(Image, f'/{node.name}/camera', RELIABLE)
    node.spin_until(lambda: publisher.get_subscription_count() > 0, 'the connection')
    for number, data in enumerate(broken, start=2):
        publisher.publish(data)
        assert_answered(node, image(number))
    counts = node.counts()
    assert counts.received == counts.processed + counts.dropped()
