# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Synthetic clips: real cutouts over real backgrounds, with everything about them known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from stmask_ros.training.compositing import (
    Canvas,
    Float32Array,
    background_transform,
    blur_kernel,
    object_transform,
)
from stmask_ros.training.cutouts import Cutout, Library
from stmask_ros.training.frames import AnnotatedFrame, UInt8Array
from stmask_ros.training.motion import Course, wander

# Of a bar: how long it is, in heights of the frame, and how thick, as a share of its length.
BAR_LENGTH = 2.0
BAR_THICKNESS = (0.01, 0.06)
NO_LABEL = -1
# Of a disguised object's own look, this much shows through at most.
DISGUISE = 0.7
# Of a background that fits into the frame: of an upright picture, that would be somebody's knees.
LEAST_OF_BACKGROUND = 0.5


@dataclass(frozen=True)
class ClipConfig:
    """
    What clips look like.

    height, width: of the frames [pixel]. frames: of a clip. objects: fewest and most that move.
    bars: fewest and most, as of a fence, that stand before all objects and are none themselves.
    sizes: smallest and largest longer side of an object, as a fraction of the frame's height.
    disguised: share of the objects that look like a part of some background, of which their own
    look shows through up to DISGUISE at most; their shape and class stay.
    smallest_area: an object of which less is visible is not annotated [pixel].
    shutter: longest exposure, in frame intervals; it makes the motion blur.
    noise: strongest standard deviation of the sensor's noise, in grey levels.
    quality: lowest and highest quality of the JPEG compression, 1 to 100.
    """

    height: int = 360
    width: int = 640
    frames: int = 36
    objects: tuple[int, int] = (2, 5)
    bars: tuple[int, int] = (0, 0)
    sizes: tuple[float, float] = (0.2, 0.9)
    disguised: float = 0.0
    smallest_area: int = 100
    shutter: float = 0.6
    noise: float = 6.0
    quality: tuple[int, int] = (50, 95)


@dataclass(frozen=True)
class MovingObject:
    """
    An object, or a bar, and its course.

    center: (x, y) as fractions of the frame, which it may leave. size: logarithm of its longer
    side as a fraction of the frame's height. angle [degree]. gain: of its brightness.
    """

    cutout: Cutout
    flipped: bool
    center: Course
    size: Course
    angle: Course
    gain: float


@dataclass(frozen=True)
class Camera:
    """
    How the background moves and the picture is taken.

    pan: (x, y) in 0 to 1 of the background's part that is out of view. zoom: 1 just fills the
    frame. light: gain of the brightness. shutter [frame intervals], noise [grey levels], quality:
    as in ClipConfig, the ones of this clip.
    """

    pan: Course
    zoom: Course
    light: Course
    shutter: float
    noise: float
    quality: int


class Clip:
    """One clip; its frames can be made in any order, and always come out the same."""

    def __init__(
        self, config: ClipConfig, seed: tuple[int, ...], background: AnnotatedFrame,
        objects: tuple[MovingObject, ...], bars: tuple[MovingObject, ...], camera: Camera,
    ) -> None:
        """objects, bars: the farthest first. seed: of the noise."""
        self.config = config
        self.background = background
        self.objects = objects
        self.bars = bars
        self.camera = camera
        self._seed = seed

    def frame(self, index: int) -> AnnotatedFrame:
        """
        Return a frame with its objects, the farthest first.

        ids: those that lie in the background come first; the same object keeps its id.
        """
        frame, jpeg = self.encoded_frame(index)
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        return AnnotatedFrame(
            np.asarray(image, np.uint8), frame.masks, frame.labels, frame.ids
        )

    def encoded_frame(self, index: int) -> tuple[AnnotatedFrame, bytes]:
        """Return a frame before its compression, and the JPEG file."""
        canvas = Canvas(self.config.height, self.config.width)
        self._add_background(canvas, index)
        for moving in (*self.objects, *self.bars):
            self._add_object(canvas, moving, index)
        image = self._expose(canvas.pixels, index)
        quality = [cv2.IMWRITE_JPEG_QUALITY, self.camera.quality]
        jpeg = cv2.imencode('.jpg', image, quality)[1].tobytes()
        labels = [*self.background.labels, *(moving.cutout.label for moving in self.objects)]
        # The bars come last, and are left out.
        shown = canvas.areas()[:len(labels)] >= self.config.smallest_area
        masks = [mask for mask, visible in zip(canvas.masks, shown, strict=False) if visible]
        stacked = np.array(masks, np.bool_).reshape(-1, *image.shape[:2])
        return AnnotatedFrame(
            image, stacked, np.array(labels, np.int64)[shown], np.flatnonzero(shown) + 1
        ), jpeg

    def _add_background(self, canvas: Canvas, index: int) -> None:
        size = self.background.image.shape[:2]
        frame = (self.config.height, self.config.width)
        here, there = (
            background_transform(size, frame, self.camera.pan.at(i), self.camera.zoom.at(i))
            for i in (index, min(index + 1, self.config.frames - 1))
        )
        kernel = blur_kernel(self.camera.shutter * (there - here)[:, 2])
        canvas.fill(self.background.image, self.background.masks, here, kernel)

    def _add_object(self, canvas: Canvas, moving: MovingObject, index: int) -> None:
        height, width = self.config.height, self.config.width
        cutout = moving.cutout
        side = np.exp(moving.size.at(index)[0]) * height
        transform = object_transform(
            cutout.mask.shape, side, moving.angle.at(index)[0], moving.flipped,
            moving.center.at(index) * (width, height),
        )
        speed = moving.center.speed(index) * (width, height)
        canvas.add(
            cutout.pixels, cutout.mask, transform, moving.gain,
            blur_kernel(self.camera.shutter * speed),
        )

    def _expose(self, pixels: Float32Array, index: int) -> UInt8Array:
        rng = np.random.default_rng((*self._seed, index))
        noise = rng.standard_normal(pixels.shape, np.float32)
        light = np.float32(self.camera.light.at(index)[0])
        exposed = pixels * light + np.float32(self.camera.noise) * noise
        return np.asarray(cv2.convertScaleAbs(np.maximum(exposed, 0)), np.uint8)


class ClipGenerator:
    """Clips without end, each by its number."""

    def __init__(self, library: Library, config: ClipConfig | None = None, seed: int = 0) -> None:
        """
        Take those pictures for backgrounds that have about the frame's shape, or all if none has.

        seed: other seeds give other clips.
        """
        self.library = library
        self.config = config or ClipConfig()
        self.seed = seed
        fitting = [b for b in library.backgrounds if self._share(b) >= LEAST_OF_BACKGROUND]
        self._backgrounds = fitting or library.backgrounds

    def clip(self, number: int) -> Clip:
        """Return clip `number` (>= 0) of this seed."""
        rng = np.random.default_rng((self.seed, number))
        background = self._backgrounds[rng.integers(len(self._backgrounds))]
        camera = self._draw_camera(rng)
        count = rng.integers(self.config.objects[0], self.config.objects[1], endpoint=True)
        objects = tuple(self._draw_object(rng) for _ in range(count))
        bars = tuple(
            self._draw_bar(rng) for _ in range(rng.integers(*self.config.bars, endpoint=True))
        )
        return Clip(self.config, (self.seed, number), background, objects, bars, camera)

    def _share(self, background: AnnotatedFrame) -> float:
        height, width = background.image.shape[:2]
        shape = (width * self.config.height) / (height * self.config.width)
        return float(min(shape, 1 / shape))

    def _draw_camera(self, rng: np.random.Generator) -> Camera:
        frames = self.config.frames
        return Camera(
            pan=wander(rng, frames, [0, 0], [1, 1], [0.4, 0.4]),
            zoom=wander(rng, frames, 1.05, 1.5, 0.1),
            light=wander(rng, frames, 0.6, 1.3, 0.25),
            shutter=rng.uniform(0, self.config.shutter),
            noise=rng.uniform(0, self.config.noise),
            quality=int(rng.integers(*self.config.quality, endpoint=True)),
        )

    def _draw_object(self, rng: np.random.Generator) -> MovingObject:
        frames = self.config.frames
        cutouts = self.library.cutouts
        low, high = np.log(self.config.sizes)
        cutout = cutouts[rng.integers(len(cutouts))]
        if self.config.disguised and rng.random() < self.config.disguised:
            cutout = self._disguise(cutout, rng)
        return MovingObject(
            cutout=cutout,
            flipped=bool(rng.integers(2)),
            center=wander(rng, frames, [-0.2, 0.0], [1.2, 1.0], [0.5, 0.3]),
            size=wander(rng, frames, low, high, 0.35),
            angle=wander(rng, frames, -15, 15, 10),
            gain=rng.uniform(0.75, 1.25),
        )

    def _disguise(self, cutout: Cutout, rng: np.random.Generator) -> Cutout:
        """Return a cutout with a background's look: its outline is left to know it by."""
        picture = self._backgrounds[rng.integers(len(self._backgrounds))].image
        height, width = cutout.mask.shape
        # A part of the cutout's proportions and at most of its size, which it is enlarged to.
        scale = rng.uniform(0.3, 1) * min(picture.shape[0] / height, picture.shape[1] / width, 1)
        part = np.maximum((np.array((height, width)) * scale).astype(int), 1)
        top, left = (int(rng.integers(n - m, endpoint=True))
                     for n, m in zip(picture.shape, part, strict=False))
        look = cv2.resize(picture[top:top + part[0], left:left + part[1]], (width, height))
        own = rng.uniform(0, DISGUISE)
        mixed = cv2.addWeighted(cutout.pixels, own, look, 1 - own, 0)
        return replace(cutout, pixels=np.asarray(mixed, np.uint8))

    def _draw_bar(self, rng: np.random.Generator) -> MovingObject:
        frames = self.config.frames
        backgrounds = self.library.backgrounds
        picture = backgrounds[rng.integers(len(backgrounds))].image
        height, width = picture.shape[:2]
        thickness = min(max(round(rng.uniform(*BAR_THICKNESS) * height), 1), width)
        left = rng.integers(width - thickness, endpoint=True)
        pixels = picture[:, left:left + thickness]
        length = np.full((frames, 1), np.log(BAR_LENGTH))
        return MovingObject(
            cutout=Cutout(pixels, np.ones(pixels.shape[:2], np.bool_), NO_LABEL),
            flipped=False,
            center=wander(rng, frames, [-0.1, 0.3], [1.1, 0.7], [0.4, 0.1]),
            size=Course(length),
            angle=wander(rng, frames, -25, 25, 10),
            gain=rng.uniform(0.5, 1.5),
        )
