# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The segmenter node's parameters: their values, and the rules these obey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from stmask_ros.families.family import TrackerSettings
from stmask_ros.masks import MaskEncoding
from stmask_ros.node.by_camera import of_camera
from stmask_ros.ros import camera_names, image_transports
from stmask_ros.ros.parameter_rules import broken_rules, parameter, problem_of
from stmask_ros.tracking.class_choice import ClassChoice
from stmask_ros.tracking.look import IgnoreMask, Look, Region
from stmask_ros.tracking.selection import Reacquisition


@dataclass(frozen=True)
class Parameters:
    """The values of all parameters of the segmenter node (config/stmask.yaml explains each)."""

    model: str = parameter(
        'stmask_lite',
        "Name of a model in the package's model folder, or path of a model's .yaml file.",
        read_only=True,
    )
    device: str = parameter(
        'auto',
        "Where the network runs: 'cpu', 'cuda', 'cuda:1', or 'auto' (CUDA if there is one).",
        read_only=True,
    )
    precision: Literal['auto', 'float32', 'float16', 'bfloat16'] = parameter(
        'auto',
        "Of the network's weights and feature maps; 'auto' is the fastest that the device has and "
        'the model is known to keep identities in.',
        read_only=True,
        choices=('auto', 'float32', 'float16', 'bfloat16'),
    )
    engine: Literal['torch', 'onnxruntime', 'openvino', 'tensorrt'] = parameter(
        'torch',
        'What computes the network of a frame; all but torch have to be installed.',
        read_only=True,
        choices=('torch', 'onnxruntime', 'openvino', 'tensorrt'),
    )
    torch_threads: int = parameter(
        0,
        "CPU threads of the network [count]; 0 is PyTorch's own choice.",
        read_only=True,
        between=(0, 1024),
    )
    image_transport: str = parameter(
        'raw',
        "How images come: 'raw' on image, else on image/NAME as a plugin of image_transport sends "
        "them: 'compressed' (JPEG, PNG), 'zstd', or video by 'ffmpeg' or 'foxglove'.",
        read_only=True,
    )
    autostart: bool = parameter(
        False,
        'Configure and activate at start-up, without a lifecycle manager.',
        read_only=True,
    )
    diagnostics_period: float = parameter(
        1.0,
        'Time between two reports on /diagnostics [s].',
        read_only=True,
        between=(0.05, 60.0),
    )
    cameras: tuple[str, ...] = parameter(
        (),
        "Names of the cameras: that of 'front' is received on front/image and answered on "
        '~/front/instances. None: one camera, received on image, answered on ~/instances.',
        read_only=True,
    )
    max_batch: int = parameter(
        0,
        'Most images of different cameras in one step [count]; 0: all that wait on a GPU, one '
        'on a CPU, where a step takes as long as its images one after the other.',
        between=(0, 1024),
    )
    batch_wait: float = parameter(
        0.005,
        'Longest time that an image waits for those of other cameras to share its step [s].',
        between=(0.0, 10.0),
    )
    trace: bool = parameter(
        False,
        "Write the times of every image to a trace file in ROS's log directory.",
    )
    max_gap: float = parameter(
        10.0,
        'Longest pause between the stamps of two images of one epoch [s]; 0: no limit.',
        between=(0.0, 1e9),
    )
    score_threshold: float = parameter(
        0.05,
        'Instances with a lower score are not reported [0..1].',
        between=(0.0, 1.0),
    )
    classes: tuple[str, ...] = parameter(
        (),
        'Names or numbers of the classes to look for; the tracks of others end. None: all.',
    )
    class_thresholds: tuple[str, ...] = parameter(
        (),
        "Score thresholds of single classes in place of score_threshold, each as 'person: 0.4'.",
    )
    region: tuple[str, ...] = parameter(
        (),
        "Where objects are: 'x y x y' of two corners or 'x y, x y, x y' of a polygon, in pixels, "
        "or in fractions of the image if none is above 1; of one camera as 'front: 0 0.2 1 1'.",
    )
    ignore_mask: tuple[str, ...] = parameter(
        (),
        "PNG of any size whose pixels that are not black never count; of one camera as "
        "'front: arm.png'. A latched mono8 image on ~/ignore_mask does the same.",
    )
    crop: bool = parameter(
        False,
        'Show the network no more than the rectangle around the region, in its full resolution.',
    )
    birth_threshold: float = parameter(
        0.2,
        'A detection with a lower score starts no track, it can only continue one [0..1].',
        between=(0.0, 1.0),
    )
    nms_threshold: float = parameter(
        0.4,
        'Of two detections that overlap more than this (IoU), the weaker is dropped [0..1].',
        between=(0.0, 1.0),
    )
    max_missed: int = parameter(
        -1,
        'A track not detected in more frames in a row than this is given up [frames]; -1 for as '
        'many as the model says.',
        between=(-1, 10_000),
    )
    confirm_hits: int = parameter(
        3,
        'A track is TENTATIVE until it was detected in this many frames [frames].',
        between=(1, 10_000),
    )
    capacity: int = parameter(
        64,
        'Most tracks kept at a time [count].',
        read_only=True,
        between=(1, 4096),
    )
    retirement: Literal['missed', 'never'] = parameter(
        'missed',
        "'missed' gives tracks up after max_missed; 'never' keeps all, as published.",
        read_only=True,
        choices=('missed', 'never'),
    )
    reacquire_time: float = parameter(
        30.0,
        'An object chosen with ~/track that was not detected for longer is lost [s].',
        between=(0.0, 3600.0),
    )
    reacquire_likeness: float = parameter(
        0.9,
        'A chosen object that left is found again in a new track whose embedding is at least so '
        'alike (cosine) [0..1].',
        between=(0.0, 1.0),
    )
    mask_encoding: str = parameter(
        'coco_rle',
        'Encoding of the masks in ~/instances.',
        choices=('coco_rle', 'bitpack', 'mono8', 'none'),
    )
    publish_class_names: bool = parameter(
        True,
        'Send the name of the class with every instance, not its number alone.',
    )

    def problems(self) -> list[str]:
        """Return what is wrong with the values, one line each; empty if all are right."""
        found = broken_rules(self) + camera_names.problems_of(self.cameras)
        found += image_transports.problems_of(self.image_transport)
        found += problem_of(self.class_choice)
        for camera in self.cameras or ('',):
            found += problem_of(partial(self.look, camera))
        if self.crop and not self.region:
            found.append('crop: expected a region to crop to; set region too, or crop to false')
        return list(dict.fromkeys(found))

    def class_choice(self) -> ClassChoice:
        """Return classes and class_thresholds; ValueError for texts that are none."""
        return ClassChoice.parsed(self.classes, self.class_thresholds)

    def look(self, camera: str) -> Look:
        """Return region, ignore_mask and crop of a camera; ValueError for what is none."""
        region = of_camera('region', self.region, self.cameras, camera)
        mask = of_camera('ignore_mask', self.ignore_mask, self.cameras, camera)
        return Look(
            region=None if region is None else Region.parsed(region),
            ignored=() if mask is None else (IgnoreMask.read(mask),),
            crop=self.crop and region is not None,
        )

    def tracker(self, class_names: Sequence[str]) -> TrackerSettings:
        """Return the part that the tracker of a model reads; ValueError for unknown classes."""
        by_class = self.class_choice().of_model(class_names, self.score_threshold)
        return TrackerSettings(
            score_threshold=min(by_class, default=self.score_threshold),
            class_thresholds=by_class,
            birth_threshold=self.birth_threshold,
            nms_threshold=self.nms_threshold,
            max_missed=None if self.max_missed < 0 else self.max_missed,
            confirm_hits=self.confirm_hits,
            capacity=self.capacity,
            retirement=self.retirement,
        )

    def reacquisition(self) -> Reacquisition:
        """Return when a chosen object that left counts as found again."""
        return Reacquisition(self.reacquire_time, self.reacquire_likeness)

    def encoding(self) -> MaskEncoding:
        """Return mask_encoding as the value of InstanceMask.encoding."""
        return MaskEncoding[self.mask_encoding.upper()]
