# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where to look, changed under a running node: region, ignore masks, crop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from segmenter_process import HEIGHT, LATCHED, UNTRAINED, WIDTH, SegmenterProcess, image, picture
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.masks import decode
from stmask_ros.msg import TrackedInstance, TrackedInstanceArray

EVERYWHERE = {'crop': False, 'region': [''], 'ignore_mask': ['']}


@pytest.fixture(scope='module')
def process() -> Iterator[SegmenterProcess]:
    with SegmenterProcess('segmenter_look', '-p', f'model:={UNTRAINED}') as segmenter:
        segmenter.activate()
        yield segmenter


@pytest.fixture
def segmenter(process: SegmenterProcess) -> Iterator[SegmenterProcess]:
    """Return the running node at the start of an epoch, looking everywhere."""
    process.reset()
    yield process
    assert process.refusal(**EVERYWHERE) == ''


def covered(answer: TrackedInstanceArray) -> np.ndarray:
    """Return which pixels belong to an instance that lives."""
    pixels = np.zeros((answer.image_height, answer.image_width), bool)
    for item in answer.instances:
        if item.state != TrackedInstance.TERMINATED:
            pixels |= decode(item.mask).to_full(*pixels.shape)
    return pixels


def mask_message(pixels: np.ndarray, encoding: str = 'mono8') -> Image:
    message = Image(
        height=pixels.shape[0], width=pixels.shape[1], step=pixels.shape[1], encoding=encoding)
    message.data.frombytes(pixels.astype(np.uint8).tobytes())
    return message


def test_masks_and_boxes_end_at_the_region_and_ids_stay(segmenter: SegmenterProcess) -> None:
    before = segmenter.answer(image(1000))
    assert covered(before)[:, WIDTH // 2:].any()
    assert segmenter.refusal(region=['0 0 0.5 1']) == ''
    after = segmenter.answer(image(1033))
    assert after.epoch == before.epoch
    assert after.instances
    assert not covered(after)[:, WIDTH // 2:].any()
    known = {item.track_id for item in before.instances}
    assert known & {item.track_id for item in after.instances}
    assert segmenter.refusal(region=['']) == ''
    again = segmenter.answer(image(1066))
    assert covered(again)[:, WIDTH // 2:].any()
    assert again.epoch == before.epoch


def test_a_png_and_a_latched_mask_both_hide(segmenter: SegmenterProcess, tmp_path: Path) -> None:
    arm = np.zeros((3, 4), np.uint8)
    arm[:, 0] = 255
    cv2.imwrite(str(tmp_path / 'arm.png'), arm)
    assert segmenter.refusal(ignore_mask=[str(tmp_path / 'arm.png')]) == ''
    assert not covered(segmenter.answer(image(1000)))[:, :WIDTH // 4].any()
    publisher = segmenter.client.create_publisher(Image, f'/{segmenter.name}/ignore_mask', LATCHED)
    bonnet = np.zeros((HEIGHT, WIDTH), np.uint8)
    bonnet[HEIGHT // 2:] = 1
    publisher.publish(mask_message(bonnet))
    stamps = iter(range(1033, 100_000, 33))
    segmenter.spin_until(
        lambda: not covered(segmenter.answer(image(next(stamps))))[HEIGHT // 2:].any(),
        'the mask of the topic')
    both = covered(segmenter.answer(image(next(stamps))))
    assert both.any()
    assert not both[:, :WIDTH // 4].any()
    publisher.publish(mask_message(np.zeros((1, 1), np.uint8)))
    segmenter.spin_until(
        lambda: covered(segmenter.answer(image(next(stamps))))[HEIGHT // 2:].any(),
        'the end of the mask')
    segmenter.client.destroy_publisher(publisher)


def test_a_crop_begins_an_epoch_and_answers_in_pixels_of_the_image(
    segmenter: SegmenterProcess,
) -> None:
    before = segmenter.answer(image(1000))
    assert segmenter.refusal(region=['80 60 160 120'], crop=True) == ''
    cropped = segmenter.answer(image(1033))
    assert cropped.epoch == before.epoch + 1
    assert (cropped.image_height, cropped.image_width) == (HEIGHT, WIDTH)
    seen = covered(cropped)
    assert seen[60:, 80:].any()
    assert not seen[:60].any()
    assert not seen[:, :80].any()
    # Not what the whole image shows there: the network saw the part alone, and larger.
    assert not np.array_equal(seen[60:, 80:], covered(before)[60:, 80:])
    assert segmenter.answer(image(1066)).epoch == cropped.epoch
    segmenter.wait_for_log('the network sees another part of the image (region, crop)')


@pytest.mark.parametrize(('values', 'reason'), [
    ({'region': ['0 0 1']}, "region: '0 0 1' is neither two corners"),
    ({'region': ['0 0 0 1']}, 'has no area'),
    ({'region': ['0 0 1 1', '0 0 1 0.5']}, "'0 0 1 1' and '0 0 1 0.5' are both for all cameras"),
    ({'ignore_mask': ['/nowhere/arm.png']}, "'/nowhere/arm.png' cannot be read as a PNG"),
    ({'crop': True}, 'crop: expected a region to crop to'),
])
def test_what_is_no_place_is_refused(
    segmenter: SegmenterProcess, values: dict[str, list[str] | bool], reason: str
) -> None:
    assert reason in segmenter.refusal(**values)
    assert covered(segmenter.answer(image(1000))).any()


def test_a_region_outside_of_the_images_is_told_and_ends(segmenter: SegmenterProcess) -> None:
    before = segmenter.counts()
    assert segmenter.refusal(region=['1000 1000 2000 2000']) == ''
    segmenter.images.publish(image(1000))
    segmenter.wait_for_drop('region outside', before)
    segmenter.wait_for_log('has no pixel in an image of 160x120')
    assert segmenter.refusal(region=['']) == ''
    assert covered(segmenter.answer(image(1033))).any()


def test_a_crop_of_large_jpegs_is_decoded_as_fine_as_it_is_seen() -> None:
    with SegmenterProcess(
        'segmenter_look_jpeg', '-p', f'model:={UNTRAINED}', '-p', 'image_transport:=compressed',
        '-p', "region:=['1200 900 1600 1200']", '-p', 'crop:=true',
    ) as segmenter:
        large = cv2.resize(picture(), (1600, 1200))

        def jpeg(stamp_ms: int) -> CompressedImage:
            message = CompressedImage(header=image(stamp_ms).header, format='jpeg')
            message.data.frombytes(cv2.imencode('.jpg', large)[1].tobytes())
            return message

        assert segmenter.change_state(1)
        assert segmenter.change_state(3)
        segmenter.warm_up(jpeg)
        answer = segmenter.answer(jpeg(100_000))
        assert (answer.image_height, answer.image_width) == (1200, 1600)
        seen = covered(answer)
        assert seen[900:, 1200:].any()
        assert not seen[:900].any()
        assert not seen[:, :1200].any()


def test_each_camera_has_its_own_region() -> None:
    name = 'segmenter_look_two'
    with SegmenterProcess(
        name, '-p', f'model:={UNTRAINED}', '-p', 'autostart:=true', '-p', 'cameras:=[left, right]',
        '-p', "region:=['left: 0 0 0.5 1', 'right: 0.5 0 1 1']",
        '-r', f'left/image:=/{name}/left_images', '-r', f'right/image:=/{name}/right_images',
    ) as segmenter:
        answers: dict[str, TrackedInstanceArray] = {}
        stamps = itertools.count(1000, 100)
        segmenter.wait_for_log('waiting for images')
        for camera in ('left', 'right'):
            def keep(message: TrackedInstanceArray, camera: str = camera) -> None:
                answers[camera] = message

            segmenter.client.create_subscription(
                TrackedInstanceArray, f'/{name}/{camera}/instances', keep, 10)
            publisher = segmenter.client.create_publisher(Image, f'/{name}/{camera}_images', 10)

            def heard(publisher: Any = publisher, camera: str = camera) -> bool:
                publisher.publish(image(next(stamps)))
                return camera in answers

            segmenter.spin_until(heard, camera)
        half = WIDTH // 2
        assert covered(answers['left'])[:, :half].any()
        assert not covered(answers['left'])[:, half:].any()
        assert covered(answers['right'])[:, half:].any()
        assert not covered(answers['right'])[:, :half].any()
