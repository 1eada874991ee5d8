# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A synthetic scene with exact geometry: colour, depth and masks from casting rays at solid shapes.

The world's frame has z up, the floor at z = 0. Shapes move at constant velocity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.lifting.camera import Calibration
from stmask_ros.lifting.transforms import Transform

FloatArray = npt.NDArray[np.float64]

_FAR = 1e6
_FLOOR_COLOUR = (150, 160, 165)
_WALL_COLOUR = (190, 180, 170)


@dataclass(frozen=True)
class Shape:
    """
    A solid thing.

    kind: 'box', 'sphere', 'cylinder' (upright), 'person' or 'picture' (upright cutouts, flat, that
    face along their own x). center: at time 0 [m]. size: full extents along its own axes [m]. yaw:
    about z [rad]. velocity: [m/s]. colour: BGR. class_name: what it is. picture: uint8
    [height, width, 4] of a 'picture', colours times alpha.
    """

    kind: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    velocity: tuple[float, float, float]
    colour: tuple[int, int, int]
    class_name: str
    picture: npt.NDArray[np.uint8] | None = field(default=None, compare=False)

    def center_at(self, seconds: float) -> FloatArray:
        """Return its middle at a time [s]."""
        return np.array(self.center) + seconds * np.array(self.velocity)


@dataclass(frozen=True)
class Scene:
    """
    Shapes in a room, and a camera that moves through it.

    camera: of all images. pose: returns, at a time [s], the transform from the camera's optical
    frame to the world. room: x and y of the walls, from and to [m].
    """

    shapes: Sequence[Shape]
    camera: Calibration
    pose: Callable[[float], Transform]
    room: tuple[float, float, float, float] = (-6.0, 12.0, -7.0, 7.0)


@dataclass(frozen=True)
class Rendered:
    """
    What a camera without faults sees of a scene.

    time: [s]. picture: uint8 BGR [height, width, 3]. depth: float32 [height, width] [m] along the
    optical axis. ids: int64 [height, width], 0 for the room, i + 1 for shape i.
    whole: bool [N], whether a shape is seen in full: nothing hides it, nor the image's edge.
    to_world: from the optical frame.
    """

    time: float
    picture: npt.NDArray[np.uint8]
    depth: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]
    whole: npt.NDArray[np.bool_]
    to_world: Transform


def render(scene: Scene, seconds: float) -> Rendered:
    """Return what the scene's camera sees at a time [s]."""
    to_world = scene.pose(seconds)
    height, width = scene.camera.size
    rays = scene.camera.rays.astype(np.float64)
    # With z = 1 in the optical frame, the length along a ray is the depth.
    directions = np.column_stack([rays, np.ones(len(rays))]) @ to_world.rotation.T
    origin = to_world.translation
    depth, colours = _room(scene.room, origin, directions)
    ids = np.zeros(len(rays), np.int64)
    alone = np.zeros(len(scene.shapes), np.int64)
    cut = np.zeros(len(scene.shapes), bool)
    for index, shape in enumerate(scene.shapes):
        pixels = _region(scene.camera, to_world, shape, seconds)
        hit, where = _cast(shape, seconds, origin, directions[pixels])
        seen = np.flatnonzero(hit < _FAR)
        alone[index] = len(seen)
        rows, columns = np.divmod(pixels[seen], width)
        cut[index] = np.any(
            (rows == 0) | (rows == height - 1) | (columns == 0) | (columns == width - 1))
        front = seen[hit[seen] < depth[pixels[seen]]]
        depth[pixels[front]] = hit[front]
        ids[pixels[front]] = index + 1
        colours[pixels[front]] = _surface(shape, where[front])
    visible = np.bincount(ids, minlength=len(scene.shapes) + 1)[1:]
    return Rendered(
        seconds, colours.astype(np.uint8).reshape(height, width, 3),
        depth.astype(np.float32).reshape(height, width), ids.reshape(height, width),
        (visible == alone) & (alone > 0) & ~cut, to_world)


def _room(
    room: tuple[float, float, float, float], origin: FloatArray, directions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return depth and colour of floor and walls."""
    planes = [(2, 0.0), (0, room[0]), (0, room[1]), (1, room[2]), (1, room[3])]
    with np.errstate(all='ignore'):
        depths = np.stack([(at - origin[axis]) / directions[:, axis] for axis, at in planes])
    depths[~(depths > 1e-6)] = _FAR
    nearest = depths.argmin(axis=0)
    depth = depths.min(axis=0)
    points = origin + depth[:, None] * directions
    colours = np.where(
        (nearest == 0)[:, None], _texture(_FLOOR_COLOUR, points, 0.5),
        _texture(_WALL_COLOUR, points, 1.0))
    return depth, colours


def _texture(colour: tuple[int, int, int], points: FloatArray, tile: float) -> FloatArray:
    """Return the colours of points [N, 3]: a chequered pattern with tiles of that size [m]."""
    odd = np.floor(points / tile + 0.01).sum(axis=1) % 2
    return np.asarray(np.array(colour) * (0.75 + 0.25 * odd)[:, None])


def _region(
    camera: Calibration, to_world: Transform, shape: Shape, seconds: float
) -> npt.NDArray[np.intp]:
    """Return the pixels, row by row, that can see a shape."""
    middle = to_world.inverse().apply(shape.center_at(seconds)[None])[0]
    radius = float(np.linalg.norm(shape.size)) / 2
    grid = np.arange(camera.height * camera.width).reshape(camera.size)
    nearest = middle[2] - radius
    if nearest < 0.05:
        return grid.ravel()
    corners = middle[:2] + np.array([[-radius], [radius]])
    rays = np.stack([corners / nearest, corners / (middle[2] + radius)])
    pixels = rays * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    left, top = np.floor(pixels.min(axis=(0, 1)) - 3).clip(0, 1 << 15).astype(int)
    right, bottom = np.ceil(pixels.max(axis=(0, 1)) + 4).clip(0, 1 << 15).astype(int)
    return grid[top:bottom, left:right].ravel()


def _cast(
    shape: Shape, seconds: float, origin: FloatArray, directions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the depth at which each ray meets a shape, _FAR if it does not, and its own point."""
    cosine, sine = np.cos(shape.yaw), np.sin(shape.yaw)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    start = turn @ (origin - shape.center_at(seconds))
    rays = directions @ turn.T
    half = np.array(shape.size) / 2
    with np.errstate(all='ignore'):
        depth = _INTERSECTIONS[shape.kind](start, rays, half)
    depth = np.where(depth > 1e-6, depth, _FAR)
    points = start + depth[:, None] * rays
    if shape.picture is not None:
        depth = np.where(_pixels(shape, shape.picture, points)[:, 3] > 127, depth, _FAR)
    return depth, points


def _surface(shape: Shape, points: FloatArray) -> FloatArray:
    """Return the colours of points [N, 3] of a shape, given along its own axes."""
    if shape.picture is None:
        return _texture(shape.colour, points, 0.15)
    return _pixels(shape, shape.picture, points)[:, :3]


def _pixels(
    shape: Shape, picture: npt.NDArray[np.uint8], points: FloatArray
) -> FloatArray:
    """Return the pixels [N, 4] of a picture that stands upright, at points [N, 3]."""
    height, width = picture.shape[:2]
    columns = (0.5 + points[:, 1] / shape.size[1]) * width
    rows = (0.5 - points[:, 2] / shape.size[2]) * height
    found = picture[
        rows.clip(0, height - 1).astype(int), columns.clip(0, width - 1).astype(int)]
    return np.asarray(found, np.float64)


def _box(start: FloatArray, rays: FloatArray, half: FloatArray) -> FloatArray:
    one, other = (-half - start) / rays, (half - start) / rays
    enter, leave = np.minimum(one, other).max(axis=1), np.maximum(one, other).min(axis=1)
    return np.where(enter <= leave, enter, _FAR)


def _sphere(start: FloatArray, rays: FloatArray, half: FloatArray) -> FloatArray:
    return _quadric(start / half, rays / half)


def _quadric(start: FloatArray, rays: FloatArray) -> FloatArray:
    """Return where rays enter the unit sphere (or circle)."""
    a, b = (rays * rays).sum(axis=1), rays @ start
    root = b * b - a * (start @ start - 1)
    return np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / a, _FAR)


def _cylinder(start: FloatArray, rays: FloatArray, half: FloatArray) -> FloatArray:
    side = _quadric(start[:2] / half[:2], rays[:, :2] / half[:2])
    side = np.where(np.abs(start[2] + side * rays[:, 2]) <= half[2], side, _FAR)
    lid = (half[2] - start[2]) / rays[:, 2]
    on_lid = ((start[:2] + lid[:, None] * rays[:, :2]) / half[:2])
    return np.minimum(side, np.where((on_lid**2).sum(axis=1) <= 1, lid, _FAR))


def _person(start: FloatArray, rays: FloatArray, half: FloatArray) -> FloatArray:
    """Return where rays meet a cutout in the plane x = 0 with head, trunk and two legs."""
    depth = -start[0] / rays[:, 0]
    across = np.abs(start[1] + depth * rays[:, 1]) / half[1]
    up = (start[2] + depth * rays[:, 2]) / half[2]
    head = (across / 0.45) ** 2 + ((up - 0.82) / 0.18) ** 2 <= 1
    trunk = (up > -0.15) & (up < 0.68) & (across < 1)
    legs = (up > -1) & (up <= -0.15) & (across > 0.12) & (across < 0.85)
    return np.where(head | trunk | legs, depth, _FAR)


def _picture(start: FloatArray, rays: FloatArray, half: FloatArray) -> FloatArray:
    depth = -start[0] / rays[:, 0]
    across, up = start[1] + depth * rays[:, 1], start[2] + depth * rays[:, 2]
    return np.where((np.abs(across) < half[1]) & (np.abs(up) < half[2]), depth, _FAR)


_INTERSECTIONS: dict[str, Callable[[FloatArray, FloatArray, FloatArray], Any]] = {
    'box': _box, 'sphere': _sphere, 'cylinder': _cylinder, 'person': _person,
    'picture': _picture,
}


@dataclass(frozen=True)
class Faults:
    """
    What a depth camera does to depth.

    noise: standard deviation at one metre [m], growing with the square of the distance.
    holes: share of pixels without depth [0..1]. flying: share of the pixels at an edge whose depth
    is between its two sides [0..1]. shift: how far depth is out of line [pixel].
    """

    noise: float = 0.002
    holes: float = 0.2
    flying: float = 0.5
    shift: int = 1


def with_faults(
    depth: npt.NDArray[np.float32], faults: Faults, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return a depth image [m] as a camera with faults measures it; 0 where it has no depth."""
    moved = np.roll(depth, faults.shift, axis=1)
    moved[:, :faults.shift] = depth[:, :1]
    square = np.ones((3, 3), np.uint8)
    near, far = cv2.erode(moved, square), cv2.dilate(moved, square)
    flying = (far - near > 0.1) & (random.random(depth.shape) < faults.flying)
    moved = np.where(flying, near + random.random(depth.shape) * (far - near), moved)
    noise = random.normal(size=depth.shape) * faults.noise * moved**2
    moved = (moved + noise).astype(np.float32)
    moved[random.random(depth.shape) < faults.holes] = 0
    return moved


def looking(position: Sequence[float], target: Sequence[float]) -> Transform:
    """Return the pose (optical frame to world) of a camera at one place that looks at another."""
    forward = np.array(target, np.float64) - np.array(position, np.float64)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return Transform(
        np.stack([right, np.cross(forward, right), forward], axis=1),
        np.array(position, np.float64))


def demo_scene(width: int = 640, height: int = 480) -> Scene:
    """Return a room with people-like cutouts, boxes, balls and a barrel, some of them moving."""
    camera = Calibration(
        width, height, 0.9 * width, 0.9 * width, width / 2 - 0.5, height / 2 - 0.5)

    def pose(seconds: float) -> Transform:
        position = (-1.0 + 0.25 * seconds, -0.6 + 0.3 * np.sin(0.8 * seconds), 1.3)
        return looking(position, (4.0 + 0.25 * seconds, 0.3 * np.sin(0.5 * seconds), 0.8))

    return Scene((
        Shape('person', (4.2, -1.8, 0.86), (0.02, 0.55, 1.72), 0.1, (0.0, 0.7, 0.0),
              (70, 60, 190), 'person'),
        Shape('person', (6.0, 2.2, 0.9), (0.02, 0.6, 1.8), -0.1, (-0.2, -0.5, 0.0),
              (170, 110, 50), 'person'),
        Shape('box', (3.2, 1.1, 0.3), (0.7, 0.5, 0.6), 0.5, (0.0, 0.0, 0.0),
              (60, 140, 60), 'box'),
        Shape('box', (5.5, -0.2, 0.4), (0.6, 0.9, 0.8), -0.4, (0.0, 0.0, 0.0),
              (40, 130, 200), 'box'),
        Shape('sphere', (2.8, -1.2, 0.25), (0.5, 0.5, 0.5), 0.0, (0.1, 0.35, 0.0),
              (50, 200, 220), 'ball'),
        Shape('cylinder', (4.8, -2.6, 0.45), (0.6, 0.6, 0.9), 0.0, (0.0, 0.0, 0.0),
              (150, 70, 140), 'barrel'),
    ), camera, pose)
