# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What an operator asks for, wrong or all the time: masks, regions, classes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from segmenter_process import HEIGHT, LATCHED, WIDTH, SegmenterProcess, every_image, image
from sensor_msgs.msg import Image

from stmask_ros.masks import decode
from stmask_ros.msg import TrackedInstance, TrackedInstanceArray

NAME = 'look_faults'
SMALL = Path(__file__).parent.with_name('models') / 'stmask.yaml'
STORM, LONG_STORM = 60, 2000


@pytest.fixture(scope='module')
def segmenter() -> Iterator[SegmenterProcess]:
    with SegmenterProcess(
        NAME, '-p', 'autostart:=true', '-p', f'model:={SMALL}', '-p', 'torch_threads:=1',
        *every_image(f'/{NAME}/camera'),
    ) as process:
        process.warm_up(image)
        yield process


@pytest.fixture(scope='module')
def stamps() -> Iterator[int]:
    return itertools.count(10**6, 33)


def mask(height: int, width: int, value: int = 255, /, **changed: Any) -> Image:
    """Return a mask message of one value, with fields changed."""
    message = Image(height=height, width=width, step=width, encoding='mono8')
    message.data.frombytes(bytes([value]) * (height * width))
    for name, wrong in changed.items():
        setattr(message, name, wrong)
    return message


def covered(answer: TrackedInstanceArray) -> int:
    """Return how many pixels belong to instances that live."""
    return sum(decode(item.mask).area for item in answer.instances
               if item.state != TrackedInstance.TERMINATED)


def test_masks_that_are_none_are_told_and_the_last_good_one_holds(
    segmenter: SegmenterProcess, stamps: Iterator[int]
) -> None:
    def answer() -> TrackedInstanceArray:
        return segmenter.answer(image(next(stamps)))

    assert covered(answer())
    publisher = segmenter.client.create_publisher(Image, f'/{NAME}/ignore_mask', LATCHED)
    publisher.publish(mask(7, 1000))  # another size than the images'
    segmenter.spin_until(lambda: not covered(answer()), 'the mask over everything')
    for wrong, reason in (
        (mask(4, 4, 0, encoding='bgr8'), "expected encoding mono8, got 'bgr8'"),
        (mask(0, 0), 'expected a mask of at least one pixel, got [0, 0]'),
        (mask(4, 4, 0, height=5), 'expected 5 rows of 4 bytes for 4x5 pixels, got 16 bytes'),
        (mask(4, 4, 0, step=2), 'expected 4 rows of 2 bytes for 4x4 pixels'),
        (mask(4, 4, 0, width=2**32 - 1), f'for {2**32 - 1}x4 pixels'),
    ):
        def told(wrong: Image = wrong, reason: str = reason) -> bool:
            publisher.publish(wrong)  # again, as the log withholds some
            return reason in segmenter.log()

        segmenter.spin_until(told, reason)
        assert not covered(answer())
    publisher.publish(mask(1, 1, 0))
    segmenter.spin_until(lambda: bool(covered(answer())), 'the end of the mask')
    segmenter.client.destroy_publisher(publisher)


@pytest.mark.parametrize('content', [b'', b'no picture', b'\x89PNG\r\n\x1a\n', 'folder'],
                         ids=['empty', 'text', 'header alone', 'folder'])
def test_a_file_that_is_no_mask_changes_nothing(
    segmenter: SegmenterProcess, stamps: Iterator[int], tmp_path: Path, content: bytes | str
) -> None:
    path = tmp_path / 'mask.png'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.mkdir()
    before = segmenter.answer(image(next(stamps)))
    (result,) = segmenter.set_parameters(ignore_mask=[str(path)])
    assert not result.successful
    assert f"ignore_mask: '{path}' cannot be read as a PNG" in result.reason
    after = segmenter.answer(image(next(stamps)))
    assert after.epoch == before.epoch
    assert covered(after)


def test_a_storm_of_what_to_look_for(
    segmenter: SegmenterProcess, stamps: Iterator[int], long: bool
) -> None:
    """Right and wrong sets while images come: each is answered, and ids never come back."""
    client = segmenter.client.create_client(SetParameters, f'/{NAME}/set_parameters')
    segmenter.spin_until(client.service_is_ready, 'the service')
    wishes: list[tuple[str, list[str], bool]] = [
        ('classes', ['1'], True), ('region', ['0 0 0.6 1'], True), ('classes', ['no one'], False),
        ('class_thresholds', ['1: 0.9'], True), ('region', ['1 2 3'], False),
        ('class_thresholds', ['1'], False), ('classes', [''], True), ('region', [''], True),
        ('class_thresholds', [''], True),
    ]
    segmenter.reset()
    futures = []
    first = len(segmenter.outputs)
    count = LONG_STORM if long else STORM
    for number in range(count):
        name, value, _ = wishes[number % len(wishes)]
        parameter = Parameter(name, value=value).to_parameter_msg()
        futures.append(client.call_async(SetParameters.Request(parameters=[parameter])))
        if number % 3 == 0:
            segmenter.images.publish(image(next(stamps)))
        segmenter.spin_until(
            lambda: all(future.done() for future in futures[:-4]), 'answers so far')
    segmenter.spin_until(lambda: all(future.done() for future in futures), 'all answers')
    accepted = [future.result().results[0].successful for future in futures]
    assert accepted == [wishes[number % len(wishes)][2] for number in range(count)]
    segmenter.client.destroy_client(client)
    for name in ('classes', 'region', 'class_thresholds'):
        assert segmenter.set_parameters(**{name: ['']})[0].successful
    segmenter.counts()
    assert covered(segmenter.answer_to(image(next(stamps))))
    outputs = segmenter.outputs[first:]
    assert len({output.epoch for output in outputs}) == 1  # without a crop, none begins
    ended: set[int] = set()
    for output in outputs:
        assert not ended & {item.track_id for item in output.instances}
        ended |= {item.track_id for item in output.instances
                  if item.state == TrackedInstance.TERMINATED}


def test_a_mask_of_one_of_many_cameras_is_for_it_alone() -> None:
    """Eight of them, and a mask over all that one sees."""
    name, cameras = 'look_many', [f'camera_{number}' for number in range(8)]
    with SegmenterProcess(
        name, '-p', 'autostart:=true', '-p', f'model:={SMALL}', '-p', 'torch_threads:=1',
        '-p', f'cameras:=[{", ".join(cameras)}]', '-r', '__ns:=/many',
    ) as segmenter:
        answers: dict[str, TrackedInstanceArray] = {}
        publishers = {}
        for camera in cameras:
            def keep(message: TrackedInstanceArray, camera: str = camera) -> None:
                answers[camera] = message

            segmenter.client.create_subscription(
                TrackedInstanceArray, f'/many/{name}/{camera}/instances', keep, 10)
            publishers[camera] = segmenter.client.create_publisher(
                Image, f'/many/{camera}/image', 10)
        hidden = segmenter.client.create_publisher(
            Image, f'/many/{name}/camera_3/ignore_mask', LATCHED)
        hidden.publish(mask(HEIGHT, WIDTH))
        numbers = itertools.count(1000, 33)

        def separate() -> bool:
            stamp = next(numbers)
            for publisher in publishers.values():
                publisher.publish(image(stamp))
            for _ in range(50):
                segmenter.executor.spin_once(timeout_sec=0.02)
            seen = {camera for camera, answer in answers.items() if covered(answer)}
            return set(answers) == set(cameras) and seen == set(cameras) - {'camera_3'}

        segmenter.spin_until(separate, 'seven cameras that see, and one that does not')
