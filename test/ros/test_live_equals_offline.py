"""The library, the replay of a bag and the live node say the same of the same images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from annotated_clip import TOPIC, Clip, crossing_shapes, davis_composite, write_bag
from lifecycle_msgs.msg import Transition
from rclpy.serialization import deserialize_message
from segmenter_process import SegmenterProcess
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from stmask_ros.bags import IMAGE, INSTANCES, read_bag
from stmask_ros.bags import message_types as bag_types
from stmask_ros.cli import main
from stmask_ros.masks import decode
from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.node.image_messages import compressed_from_bytes, from_bgr
from stmask_ros.node.messages import time_message
from stmask_ros.replay import Replay
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


def from_node(clip: Clip, compressed: bool) -> list[TrackedInstanceArray]:
    """Send each image reliably once the one before it is answered, and return the answers."""
    node = SegmenterProcess(
        'live', '-p', f'model:={MODEL}', '-p', 'device:=cpu', '-p', 'torch_threads:=1',
        '-p', f'image_transport:={"compressed" if compressed else "raw"}',
        '-p', 'qos_overrides./live/camera.subscription.reliability:=reliable',
        '-p', 'qos_overrides./live/camera/compressed.subscription.reliability:=reliable',
    )
    try:
        assert node.change_state(Transition.TRANSITION_CONFIGURE), node.log()
        assert node.change_state(Transition.TRANSITION_ACTIVATE), node.log()
        node.warm_up(lambda stamp_ms: live_message(clip.frames[0], stamp_ms * 10**6, compressed))
        return [node.answer(live_message(frame, stamp, compressed))
                for frame, stamp in zip(clip.frames, clip.stamps, strict=True)]
    finally:
        node.close()


def live_message(frame: np.ndarray, stamp: int, compressed: bool) -> Image | CompressedImage:
    header = Header(stamp=time_message(stamp), frame_id='camera')
    if not compressed:
        return from_bgr(frame, header)
    _, data = cv2.imencode('.png', frame)
    return compressed_from_bytes(data, header, 'png')


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


@pytest.mark.parametrize('compressed', [False, True])
def test_three_ways_one_result(
    segmenter: VideoSegmenter, tmp_path: Path, compressed: bool
) -> None:
    clip = crossing_shapes('shapes', COUNT, 1)
    library = from_library(segmenter, clip)
    replayed = from_bag(segmenter, write_bag(tmp_path / 'bag', clip, compressed))
    live = from_node(clip, compressed)
    assert [len(ways) for ways in (library, replayed, live)] == [COUNT] * 3
    assert sum(len(result) for result in library) > 0
    assert any((result.missed > 0).any() for result in library)  # temporal fusion took part
    assert len({message.epoch for message in live}) == 1
    for message, again, result in zip(live, replayed, library, strict=True):
        assert_same(again, result)
        assert_says(message, result)


def test_real_video_three_ways(
    segmenter: VideoSegmenter, tmp_path: Path, shared: Path
) -> None:
    clip = davis_composite(shared / 'data/davis', COUNT, scale=0.1875)
    library = from_library(segmenter, clip)
    replayed = from_bag(segmenter, write_bag(tmp_path / 'bag', clip))
    for message, again, result in zip(
        from_node(clip, compressed=False), replayed, library, strict=True
    ):
        assert_same(again, result)
        assert_says(message, result)


def test_annotated_bag(segmenter: VideoSegmenter, tmp_path: Path) -> None:
    clip = crossing_shapes('shapes', COUNT, 1)
    bag = write_bag(tmp_path / 'bag', clip)
    out = tmp_path / 'annotated'
    arguments = ['bag', 'annotate', str(bag), str(out), '--model', str(MODEL), '--device', 'cpu']
    assert main([*arguments, '--birth-threshold', '0']) == 0
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
