# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command that writes what the node would say beside a recording: `stmask bag annotate`."""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from rich.progress import Progress
from std_msgs.msg import Header

from stmask_ros.bags.contents import foreign_topics
from stmask_ros.bags.files import (
    IMAGE,
    INSTANCES,
    BagError,
    BagMessage,
    BagWriter,
    bag_topics,
    choose_image_topic,
    message_types,
    offered_qos,
    read_bag,
)
from stmask_ros.bags.offered_qos import latched_qos
from stmask_ros.commands.bag_lift import LiftedTopics, lift_bag
from stmask_ros.commands.chosen_segmenter import (
    chosen_look,
    load_chosen_segmenter,
    look_for_classes,
    tracker_settings,
)
from stmask_ros.masks import MaskEncoding
from stmask_ros.output_files import check_free, output_folder
from stmask_ros.ros.messages import (
    InstanceFormat,
    duration_message,
    image_message,
    instances_message,
    label_info_message,
    time_message,
)
from stmask_ros.tracking.replay import Replay, ReplayedImage, stamp_of
from stmask_ros.tracking.segmenter import ModelError
from stmask_ros.views.overlay import draw_overlay

_LOGGER = logging.getLogger(__name__)
_OUTPUTS = (
    'instances', 'label_info', 'overlay', 'overlay/compressed', 'label_image', 'class_image',
    'confidence_image', 'class_map', 'annotations', 'outlines', 'detections', 'selected')
_LABEL_INFO = 'stmask_ros/msg/LabelInfo'


def run(options: argparse.Namespace) -> int:
    """Write the new bag; return the exit status: 1 if the old one is damaged."""
    try:
        check_free(options.out / 'metadata.yaml', options.overwrite)  # never a bag
        with output_folder(
            options.out, 'bag annotate', options.overwrite, [options.bag]
        ) as folder:
            chosen = choose_image_topic(options.bag, options.topic)
            _LOGGER.info('images: %s', chosen)
            look = chosen_look(options)
            segmenter = load_chosen_segmenter(options)
            look_for_classes(segmenter, tracker_settings(options), options.classes)
            annotator = Annotator(
                options.bag, chosen.topic, options.name, Replay(segmenter, options.max_gap, look))
            count = annotator.write(folder / 'bag')
            _unfold(_with_depth(options, chosen.topic, folder / 'bag'))
    except (BagError, ModelError, OSError, ValueError) as error:
        _LOGGER.error('%s', error)
        return 1
    _LOGGER.info('%d images annotated in %s', count, options.out)
    if annotator.damage:
        _LOGGER.error('%s; what could be read is annotated', annotator.damage)
    return 1 if annotator.damage else 0


def _with_depth(options: argparse.Namespace, images: str, bag: Path) -> Path:
    """Return the bag, or one with the instances in space beside, if depth was asked for."""
    if not options.depth_topic:
        return bag
    lifted = bag.with_name('lifted')
    count = lift_bag(bag, lifted, LiftedTopics(
        image=images, instances=f'/{options.name.strip("/")}/instances',
        output=f'/{options.lifter_name.strip("/")}/instances_3d', depth=options.depth_topic,
        pose=options.pose_topic, fixed_frame=options.fixed_frame))
    _LOGGER.info('%d of them lifted with %s', count, options.depth_topic)
    shutil.rmtree(bag)
    return lifted


def _unfold(bag: Path) -> None:
    """Make the folder of a bag that of its files, as it is the one that was asked for."""
    for file in bag.iterdir():
        file.rename(bag.parent / file.name)
    bag.rmdir()


class Annotator:
    """
    Copies a bag, with instances, overlay and label_info of its images.

    damage: why the bag could not be read to its end; empty if it could.
    """

    def __init__(self, bag: Path, topic: str, name: str, replay: Replay) -> None:
        """
        Prepare.

        topic: of the images. name: of the node, before its topics. replay: not begun. What a
        node of this name has said in the bag is replaced; BagError if the images are among it.
        """
        self.damage = ''
        self._bag = bag
        self._topic = topic
        self._segmenter = segmenter = replay.segmenter
        self._name = '/' + name.strip('/')
        self._replaced = {f'{self._name}/{output}' for output in _OUTPUTS} & set(bag_topics(bag))
        if topic in self._replaced:
            raise BagError(
                f'the images {topic} would be replaced by what is said of them: choose another '
                '--name')
        self._replay = replay
        self._written = InstanceFormat(
            segmenter.model_name, segmenter.class_names, MaskEncoding.COCO_RLE
        )
        self._skipped = 0

    def write(self, folder: Path) -> int:
        """
        Write the new bag and return the number of annotated images.

        Raises BagError if the folder is there already or nothing can be read.
        """
        self._warn_of_what_is_left_out()
        kept = {
            name: qos for name, qos in offered_qos(self._bag).items() if name not in self._replaced
        }
        offered = kept | {f'{self._name}/label_info': [latched_qos()]}
        count = 0
        with BagWriter(folder, offered) as writer, Progress(transient=True) as progress:
            task = progress.add_task(self._topic, total=None)
            for image in self._replay.run(self._copied(writer)):
                if image.position == 0:
                    self._write_label_info(writer, image.message.time)
                count += self._annotate(writer, image)
                progress.advance(task)
        return count

    def _warn_of_what_is_left_out(self) -> None:
        if self._replaced:
            _LOGGER.warning(
                'the bag has been annotated already: replaced are %s (--name keeps both apart)',
                ', '.join(sorted(self._replaced)))
        known = message_types().types
        unknown = {name: kind for name, kind in bag_topics(self._bag).items() if kind not in known}
        unknown |= foreign_topics(self._bag)
        if unknown:
            _LOGGER.warning('not copied, for their types are not known here: %s', ', '.join(
                f'{name} ({kind})' for name, kind in unknown.items()
            ))

    def _copied(self, writer: BagWriter) -> Iterator[BagMessage]:
        """Copy all messages but those that are replaced, and yield the images among them."""
        count = 0
        try:
            for message in read_bag(self._bag):
                count += 1
                if message.topic not in self._replaced:
                    writer.write_content(message)
                if message.topic == self._topic:
                    yield message
        except BagError as error:
            if count == 0:
                raise
            self.damage = str(error)

    def _annotate(self, writer: BagWriter, image: ReplayedImage) -> bool:
        """Write what the node says of an image, and return whether it says anything."""
        if image.result is None:
            self._skipped += 1
            _LOGGER.warning('image %d dropped: %s', image.position + 1, image.detail)
            return False
        header = _header(image.taken)
        instances = instances_message(image.result, header, self._skipped, self._written)
        instances.processing_time = duration_message(round(image.seconds * 1e9))
        overlay = draw_overlay(image.pixels(), image.result, self._segmenter.class_names)
        time = image.message.time
        writer.write(
            f'{self._name}/instances', INSTANCES, time, serialize_message(instances)
        )
        writer.write(
            f'{self._name}/overlay', IMAGE, time,
            serialize_message(image_message(overlay, 'bgr8', header)),
        )
        self._skipped = 0
        return True

    def _write_label_info(self, writer: BagWriter, time: int) -> None:
        message = label_info_message(
            self._segmenter.model_name, self._segmenter.class_names,
            self._segmenter.tracker.score_threshold, time_message(time),
        )
        writer.write(f'{self._name}/label_info', _LABEL_INFO, time, serialize_message(message))


def _header(taken: Any) -> Header:
    return Header(stamp=time_message(stamp_of(taken)), frame_id=taken.header.frame_id)
