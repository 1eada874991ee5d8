# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The library, the replay of a bag and the live node say the same of the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from annotated_clip import TOPIC, Clip, crossing_shapes, davis_composite, write_bag
from lifecycle_msgs.msg import Transition
from rclpy.serialization import deserialize_message, serialize_message
from segmenter_process import RELIABLE, SegmenterProcess
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from stmask_ros.bags.files import IMAGE, INSTANCES, BagMessage, BagWriter, read_bag
from stmask_ros.bags.files import message_types as bag_types
from stmask_ros.cli import build_parser, main
from stmask_ros.commands.chosen_segmenter import tracker_settings
from stmask_ros.families.all import FAMILIES
from stmask_ros.images import compressed_picture, compressed_to_bgr
from stmask_ros.masks import decode
from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.node.parameters import Parameters
from stmask_ros.ros.image_messages import compressed_from_bytes, from_bgr
from stmask_ros.ros.messages import time_message
from stmask_ros.tracking.replay import Replay
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import VideoSegmenter, load_segmenter

MODEL = Path(__file__).with_name('untrained.yaml')
COUNT = 5


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Let all three run on one thread: another number changes the last bits of a score."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def segmenter() -> VideoSegmenter:
    return load_segmenter(MODEL, 'cpu')


def from_library(segmenter: VideoSegmenter, clip: Clip) -> list[FrameResult]:
    state = segmenter.initial_state(1)
    results = []
    for frame, stamp in zip(clip.frames, clip.stamps, strict=True):
        (result,), (state,) = segmenter.step([frame], [state], [stamp])
        results.append(result)
    return results


def from_bag(segmenter: VideoSegmenter, bag: Path) -> list[FrameResult]:
    images = Replay(segmenter, max_gap=10.0).run(read_bag(bag, TOPIC))
    return [image.result for image in images if image.result is not None]


@contextmanager
def live_node(frame: np.ndarray, suffix: str) -> Iterator[SegmenterProcess]:
    """Run a node that is sent such images reliably, and has answered one of them."""
    node = SegmenterProcess(
        'live', '-p', f'model:={MODEL}', '-p', 'device:=cpu', '-p', 'torch_threads:=1',
        '-p', f'image_transport:={"compressed" if suffix else "raw"}',
        '-p', 'qos_overrides./live/camera.subscription.reliability:=reliable',
        '-p', 'qos_overrides./live/camera/compressed.subscription.reliability:=reliable',
    )
    try:
        assert node.change_state(Transition.TRANSITION_CONFIGURE), node.log()
        assert node.change_state(Transition.TRANSITION_ACTIVATE), node.log()
        node.warm_up(lambda stamp_ms: live_message(frame, stamp_ms * 10**6, suffix))
        yield node
    finally:
        node.close()


def from_node(clip: Clip, suffix: str) -> list[TrackedInstanceArray]:
    """Send each image once the one before it is answered, and return the answers."""
    with live_node(clip.frames[0], suffix) as node:
        return [node.answer(live_message(frame, stamp, suffix))
                for frame, stamp in zip(clip.frames, clip.stamps, strict=True)]


def live_message(frame: np.ndarray, stamp: int, suffix: str) -> Image | CompressedImage:
    header = Header(stamp=time_message(stamp), frame_id='camera')
    if not suffix:
        return from_bgr(frame, header)
    _, data = cv2.imencode(suffix, frame)
    return compressed_from_bytes(data, header, suffix[1:])


def assert_same(left: FrameResult, right: FrameResult) -> None:
    for name, value in vars(left).items():
        other = getattr(right, name)
        if name == 'masks':
            assert [mask_values(mask) for mask in value] == [mask_values(mask) for mask in other]
        else:
            np.testing.assert_array_equal(value, other, err_msg=name)


def mask_values(mask: Any) -> tuple[int, int, list[list[bool]]]:
    return mask.x_offset, mask.y_offset, mask.pixels.tolist()


def assert_says(message: Any, result: FrameResult) -> None:
    """Compare every number of a message but the epoch with the result's, bit for bit."""
    assert (message.image_height, message.image_width, message.sequence) == (
        result.image_height, result.image_width, result.sequence)
    assert message.temporal_valid == result.temporal_valid
    columns = {
        'track_id': result.track_ids, 'state': result.statuses, 'source': result.sources,
        'class_id': result.class_ids, 'score': result.scores,
        'detection_score': result.detection_scores, 'age': result.ages, 'hits': result.hits,
        'missed': result.missed, 'x_min': result.boxes[:, 0], 'y_min': result.boxes[:, 1],
        'x_max': result.boxes[:, 2], 'y_max': result.boxes[:, 3],
    }
    for name, column in columns.items():
        said = np.array([getattr(item, name) for item in message.instances], column.dtype)
        np.testing.assert_array_equal(said, column, err_msg=name)
    times = {'first_seen': result.first_seen, 'last_detected': result.last_detected}
    for name, stamps in times.items():
        said = [getattr(item, name) for item in message.instances]
        assert [time.sec * 10**9 + time.nanosec for time in said] == stamps.tolist()
    assert [mask_values(decode(item.mask)) for item in message.instances] == [
        mask_values(mask) for mask in result.masks]


@pytest.mark.parametrize('suffix', ['', '.png'])
def test_three_ways_one_result(
    segmenter: VideoSegmenter, tmp_path: Path, suffix: str
) -> None:
    clip = crossing_shapes('shapes', COUNT, 1)
    library = from_library(segmenter, clip)
    replayed = from_bag(segmenter, write_bag(tmp_path / 'bag', clip, suffix))
    live = from_node(clip, suffix)
    assert [len(ways) for ways in (library, replayed, live)] == [COUNT] * 3
    assert sum(len(result) for result in library) > 0
    assert any((result.missed > 0).any() for result in library)  # temporal fusion took part
    assert len({message.epoch for message in live}) == 1
    for message, again, result in zip(live, replayed, library, strict=True):
        assert_same(again, result)
        assert_says(message, result)


def test_large_jpegs_are_seen_smaller_and_answered_in_their_own_pixels(
    segmenter: VideoSegmenter, tmp_path: Path
) -> None:
    shapes = crossing_shapes('shapes', 3, 1)
    clip = replace(shapes, frames=[cv2.resize(frame, (1280, 720)) for frame in shapes.frames])
    state = segmenter.initial_state(1)
    library = []
    for frame, stamp in zip(clip.frames, clip.stamps, strict=True):
        picture = compressed_picture(live_message(frame, stamp, '.jpg'), segmenter.scaled_size)
        assert picture.pixels.shape == (360, 640, 3)
        (result,), (state,) = segmenter.step(
            [picture.pixels], [state], [stamp], [picture.size])
        library.append(result)
    replayed = from_bag(segmenter, write_bag(tmp_path / 'bag', clip, '.jpg'))
    with live_node(clip.frames[0], '.jpg') as node:
        overlays: list[Image] = []
        node.client.create_subscription(Image, '/live/overlay', overlays.append, RELIABLE)
        live = [node.answer(live_message(frame, stamp, '.jpg'))
                for frame, stamp in zip(clip.frames, clip.stamps, strict=True)]
        node.spin_until(
            lambda: overlays and overlays[-1].header == live[-1].header, 'the last overlay')
    for message, again, result in zip(live, replayed, library, strict=True):
        assert_same(again, result)
        assert_says(message, result)
    assert (library[-1].image_height, library[-1].image_width) == (720, 1280)
    assert library[-1].boxes[:, 2].max() > 640
    # To look at it, the image is taken as fine as it is.
    assert (overlays[-1].height, overlays[-1].width) == (720, 1280)
    drawn = np.frombuffer(overlays[-1].data, np.uint8).reshape(720, 1280, 3)
    sent = live_message(clip.frames[-1], clip.stamps[-1], '.jpg')
    assert (drawn == compressed_to_bgr(sent)).all(axis=2).any()


def test_real_video_three_ways(
    segmenter: VideoSegmenter, tmp_path: Path, shared: Path
) -> None:
    clip = davis_composite(shared / 'data/davis', COUNT, scale=0.1875)
    library = from_library(segmenter, clip)
    replayed = from_bag(segmenter, write_bag(tmp_path / 'bag', clip))
    for message, again, result in zip(
        from_node(clip, ''), replayed, library, strict=True
    ):
        assert_same(again, result)
        assert_says(message, result)


def test_an_annotated_bag_says_by_default_what_the_node_says_by_default() -> None:
    options = build_parser().parse_args(['bag', 'annotate', 'bag', 'out'])
    for family in FAMILIES:
        said = family.tracker(tracker_settings(options), {})
        assert said == family.tracker(Parameters().tracker(()), {}), family.name
    assert options.max_gap == Parameters().max_gap


def test_annotated_bag(segmenter: VideoSegmenter, tmp_path: Path) -> None:
    clip = crossing_shapes('shapes', COUNT, 1)
    bag = write_bag(tmp_path / 'bag', clip)
    out = tmp_path / 'annotated'
    arguments = ['bag', 'annotate', str(bag), str(out), '--model', str(MODEL), '--device', 'cpu']
    assert main([*arguments, '--birth-threshold', '0', '--nms-threshold', '0.5']) == 0
    library = from_library(segmenter, clip)
    said = list(read_bag(out, '/segmenter/instances'))
    for message, result in zip(said, library, strict=True):
        assert_says(message.content, result)
        # What plays the bag hands these bytes to subscribers.
        data = bytes(bag_types().serialize_cdr(message.content, INSTANCES))
        assert_says(deserialize_message(data, TrackedInstanceArray), result)
    copied = list(read_bag(out, TOPIC))
    overlays = list(read_bag(out, '/segmenter/overlay'))
    (label_info,) = read_bag(out, '/segmenter/label_info')
    assert label_info.content.class_names == list(segmenter.class_names)
    for image, overlay, frame in zip(copied, overlays, clip.frames, strict=True):
        assert overlay.type_name == IMAGE
        assert overlay.content.header == image.content.header
        pixels = overlay.content.data.reshape(frame.shape)
        np.testing.assert_array_equal(image.content.data, frame.ravel())
        assert (pixels != frame).any()
    assert main(arguments) == 1  # it is there already, and stays as it is


def test_a_bag_is_annotated_where_the_operator_looks(
    segmenter: VideoSegmenter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = crossing_shapes('shapes', COUNT, 1)
    bag, out = write_bag(tmp_path / 'bag', clip), tmp_path / 'annotated'
    arguments = ['bag', 'annotate', str(bag), str(out), '--model', str(MODEL), '--device', 'cpu',
                 '--birth-threshold', '0']

    def said(*more: str) -> list[Any]:
        assert main([*arguments, *more, '--overwrite']) == 0
        return [item for message in read_bag(out, '/segmenter/instances')
                for item in message.content.instances]

    found = {item.class_name for item in said()}
    others = set(segmenter.class_names) - found
    assert not said('--classes', *others)
    for crop in ([], ['--crop']):
        left = said('--classes', *found, '--region', '0 0 0.5 1', *crop)
        masks = [decode(item.mask) for item in left]
        assert masks
        assert max(mask.x_offset + mask.width for mask in masks) <= clip.frames[0].shape[1] / 2
    for wrong, reason in (
        (['--classes', 'unicorn'], segmenter.class_names[0]), (['--crop'], '--region'),
        (['--ignore-mask', 'missing.png'], 'missing.png'), (['--region', '1 2'], 'two corners'),
    ):
        assert main([*arguments, *wrong, '--overwrite']) == 1
        assert reason in caplog.text


@pytest.mark.parametrize(('name', 'kept'), [('/segmenter', False), ('other/one', True)])
def test_an_annotated_bag_is_annotated_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, kept: bool
) -> None:
    """The answers of a robot's segmenter are replaced, or stand beside the new ones."""
    clip = crossing_shapes('shapes', COUNT, 1)
    once, twice = tmp_path / 'once', tmp_path / 'twice'
    with BagWriter(once) as writer:
        for message in read_bag(write_bag(tmp_path / 'bag', clip)):
            writer.write_content(message)
            for old in ('overlay', 'label_image', 'front/overlay'):
                topic = f'/segmenter/{old}'
                writer.write_content(BagMessage(topic, IMAGE, message.time, message.content))
            writer.write('/segmenter/instances', INSTANCES, message.time,
                         serialize_message(TrackedInstanceArray(model='old')))
    assert main(['bag', 'annotate', str(once), str(twice), '--model', str(MODEL),
                 '--device', 'cpu', '--name', name]) == 0
    counts = Counter(message.topic for message in read_bag(twice))
    assert counts[TOPIC] == counts['/segmenter/front/overlay'] == COUNT
    models = [m.content.model for m in read_bag(twice, '/segmenter/instances')]
    assert len(models) == counts['/segmenter/overlay'] == COUNT
    assert ('old' in models) is kept
    assert counts['/segmenter/label_image'] == (COUNT if kept else 0)
    assert counts['/other/one/instances'] == (COUNT if kept else 0)
    assert ('annotated already' in caplog.text) is not kept
    assert main(['bag', 'annotate', str(once), str(tmp_path / 'no'), '--model', str(MODEL),
                 '--device', 'cpu', '--topic', '/segmenter/overlay']) == 1
    assert 'choose another --name' in caplog.text
