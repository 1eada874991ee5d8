# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Pallets, charging docks and grippers, drawn into real videos under a moving camera.

No model of this package has seen any of them: what is taught with them was not known before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.dataset import Category
from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.folder import (
    IMAGES,
    LabelFrame,
    Labels,
    LabelTrack,
    LabelVideo,
    encoded,
    write_labels,
)
from stmask_ros.training.motion import Course, wander

Bgr = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

KINDS = ('pallet', 'charging dock', 'gripper')
HEIGHT, WIDTH = 360, 640
# Of a thing that counts as seen.
LEAST_PIXELS = 80
# Of the eye from the middle of a thing, in sizes of the thing.
DISTANCE = 3.0
LIGHT = np.array([0.4, -0.5, 0.77])
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4],
                  [1, 5, 7, 3]])
NORMALS = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]])


@dataclass(frozen=True)
class Block:
    """A cuboid: its middle and full size, x across, y deep, z up, and its colour, BGR."""

    middle: tuple[float, float, float]
    size: tuple[float, float, float]
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """
    One thing on its way.

    kind: of KINDS. place: course of (x, y) in the background [share]. side: of its size [pixel].
    turn: of yaw and tilt [rad].
    """

    kind: str
    blocks: Sequence[Block]
    place: Course
    side: Course
    turn: Course


@dataclass(frozen=True)
class Frame:
    """A picture, uint8 BGR [H, W, 3], and the masks, bool [N, H, W], of what is visible."""

    picture: Bgr
    masks: Mask


def thing(kind: str, frames: int, seed: int) -> Thing:
    """Return a thing of a kind; its colours, proportions and course depend on the seed."""
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    blocks = {'pallet': _pallet, 'charging dock': _dock, 'gripper': _gripper}[kind](rng)
    # A third of the background each, so that they hide each other only sometimes.
    left = 0.22 + 0.2 * KINDS.index(kind)
    return Thing(
        kind, blocks,
        wander(rng, frames, (left, 0.3), (left + 0.18, 0.75), (0.08, 0.08)),
        wander(rng, frames, 75, 150, 35),
        wander(rng, frames, (-0.9, 0.25), (0.9, 0.7), (0.6, 0.2)),
    )


def _pallet(rng: np.random.Generator) -> list[Block]:
    wood = np.array([95, 150, 195]) * rng.uniform(0.75, 1.15) + rng.uniform(-12, 12, 3)
    blocks = [_block((0, 0, 0), (1, 0.78, 0.12), wood * 0.35)]
    blocks += [_block((x, 0, 0.1), (0.13, 0.8, 0.05), wood * rng.uniform(0.85, 1.05))
               for x in np.linspace(-0.435, 0.435, 6)]
    blocks += [_block((x, y, -0.02), (0.14, 0.14, 0.16), wood * 0.8)
               for x in (-0.43, 0, 0.43) for y in (-0.33, 0.33)]
    return blocks


def _dock(rng: np.random.Generator) -> list[Block]:
    body = np.array([225, 225, 225]) if rng.integers(2) else np.array([70, 62, 60])
    body = body + rng.uniform(-15, 15, 3)
    lamp = ((90, 230, 90), (240, 190, 60))[int(rng.integers(2))]
    return [
        _block((0, 0.1, -0.3), (0.7, 0.7, 0.08), body * 0.85),
        _block((0, 0.35, 0.05), (0.62, 0.2, 0.7), body),
        _block((0, 0.24, 0.25), (0.44, 0.03, 0.09), lamp),
        _block((-0.14, 0.22, -0.08), (0.08, 0.06, 0.16), (60, 170, 215)),
        _block((0.14, 0.22, -0.08), (0.08, 0.06, 0.16), (60, 170, 215)),
    ]


def _gripper(rng: np.random.Generator) -> list[Block]:
    metal = np.array([185, 180, 172]) * rng.uniform(0.8, 1.1)
    accent = ((40, 110, 235), (200, 120, 40), (50, 50, 200))[int(rng.integers(3))]
    gap = rng.uniform(0.16, 0.26)
    fingers = [
        block for x in (-gap, gap) for block in (
            _block((x, 0, -0.2), (0.1, 0.14, 0.5), metal),
            _block((x * 0.85, 0, -0.42), (0.1, 0.17, 0.14), (45, 45, 45)),
        )
    ]
    return [
        _block((0, 0, 0.42), (0.24, 0.24, 0.2), metal * 0.7),
        _block((0, 0, 0.27), (0.34, 0.3, 0.1), accent),
        _block((0, 0, 0.14), (0.7, 0.26, 0.2), metal * 0.95), *fingers,
    ]


def _block(middle: Sequence[float], size: Sequence[float], colour: npt.ArrayLike) -> Block:
    b, g, r = np.clip(np.asarray(colour, np.float64), 0, 255).tolist()
    return Block((middle[0], middle[1], middle[2]), (size[0], size[1], size[2]), (b, g, r))


def draw(picture: Bgr, item: Thing, frame: int) -> Mask:
    """Draw a thing into a picture; return its pixels, bool [H, W]."""
    height, width = picture.shape[:2]
    middle = item.place.at(frame) * (width, height)
    side, (yaw, tilt) = float(item.side.at(frame)[0]), item.turn.at(frame)
    rotation = _rotation(yaw, tilt)
    mask: npt.NDArray[np.uint8] = np.zeros((height, width), np.uint8)
    for corners, normal, colour in _visible_faces(item.blocks, rotation):
        scale = side * DISTANCE / (DISTANCE + corners[:, 1:2])
        pixels = middle + scale * corners[:, [0, 2]] * (1, -1)
        shade = 0.55 + 0.45 * max(float(normal @ LIGHT), 0)
        outline = np.round(16 * pixels).astype(np.int32)
        cv2.fillConvexPoly(picture, outline, (colour * shade).tolist(), cv2.LINE_AA, 4)
        cv2.polylines(picture, [outline], True, (colour * shade * 0.6).tolist(), 1, cv2.LINE_AA, 4)
        cv2.fillConvexPoly(mask, outline, 1, cv2.LINE_8, 4)
    return mask.astype(bool)


def _rotation(yaw: float, tilt: float) -> Points:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    cosine, sine = np.cos(tilt), np.sin(tilt)
    return np.asarray(np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ about_z)


def _visible_faces(
    blocks: Sequence[Block], rotation: Points
) -> list[tuple[Points, Points, Points]]:
    """Return corners [4, 3], normal and colour of the faces that look here, farthest first."""
    faces = []
    for block in blocks:
        corners = (CORNERS * block.size + block.middle) @ rotation.T
        for face, normal in zip(corners[FACES], NORMALS @ rotation.T, strict=True):
            if normal @ (face.mean(0) + np.array((0, DISTANCE, 0))) < 0:
                faces.append((face, normal, np.array(block.colour)))
    return sorted(faces, key=lambda face: -float(face[0][:, 1].mean()))


def scene(backgrounds: Sequence[Bgr], known: Sequence[Mask], things: Sequence[Thing],
          seed: int) -> Iterator[Frame]:
    """
    Yield the frames of a camera that pans over a video with things in it.

    known: of each background the pixels of what a model knows already; it is the first mask.
    """
    rng = np.random.default_rng(seed)
    pan = wander(rng, len(backgrounds), (0.25, 0.25), (0.75, 0.75), (0.4, 0.4))
    for number, (background, mask) in enumerate(zip(backgrounds, known, strict=True)):
        picture, masks = background.copy(), [mask]
        for item in things:
            drawn = draw(picture, item, number)
            masks = [hidden & ~drawn for hidden in masks] + [drawn]
        yield _seen(picture, np.stack(masks), pan.at(number), rng)


def _seen(picture: Bgr, masks: Mask, pan: Points, rng: np.random.Generator) -> Frame:
    height, width = picture.shape[:2]
    left, top = np.round(pan * (width - WIDTH, height - HEIGHT)).astype(int)
    rows, columns = slice(top, top + HEIGHT), slice(left, left + WIDTH)
    soft = cv2.GaussianBlur(picture[rows, columns], (3, 3), 0.6).astype(np.float32)
    noisy = soft + rng.normal(0, 3, soft.shape)
    return Frame(noisy.clip(0, 255).astype(np.uint8), masks[:, rows, columns])


def labels_of(
    frames: Sequence[Frame], classes: Sequence[str], labelled: Collection[int], video: int = 1
) -> Labels:
    """
    Return the labels of a video; each mask of the frames is a track.

    classes: of the tracks. labelled: the frames, from 0, that a person has looked at; the others
    have no objects.
    """
    kinds = sorted(set(classes))
    tracks = tuple(
        LabelTrack(100 * video + row, video, kinds.index(name) + 1, tuple(
            _mask(frame.masks[row]) if number in labelled else None
            for number, frame in enumerate(frames)))
        for row, name in enumerate(classes)
    )
    shown = tuple(
        LabelFrame(f'{video}/{number:05d}.jpg', None, number in labelled)
        for number in range(len(frames))
    )
    categories = tuple(Category(number, name) for number, name in enumerate(kinds, 1))
    return Labels((LabelVideo(video, HEIGHT, WIDTH, shown),), categories, tracks)


def write(folder: Path, frames: Sequence[Sequence[Frame]], labels: Sequence[Labels]) -> None:
    """Write the frames and labels of several videos, all of the same classes."""
    (folder / IMAGES).mkdir(parents=True)
    for pictures, entry in zip(frames, labels, strict=True):
        for shown, frame in zip(entry.videos[0].frames, pictures, strict=True):
            path = folder / IMAGES / shown.file_name
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), frame.picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    write_labels(folder, Labels(
        tuple(video for entry in labels for video in entry.videos), labels[0].categories,
        tuple(track for entry in labels for track in entry.tracks),
    ))


def _mask(mask: Mask) -> Rle | None:
    return encoded(mask) if mask.sum() >= LEAST_PIXELS else None
