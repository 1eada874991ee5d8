"""Photographs of animals, vehicles and things, cut out by hand: the stamps of Tux Paint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from packages import unpack_debian
from pycocotools import mask as coco_mask

PACKAGE = 'tuxpaint-stamps-default'
CLASSES = {
    'animals': 'animal', 'vehicles': 'vehicle', 'military/vehicles': 'vehicle', 'food': 'object',
    'hobbies': 'object', 'household': 'object', 'medical': 'object', 'plants/flowers': 'object',
    'plants/mushrooms': 'object', 'sports': 'object',
}
# Drawings, parts of things, and what is mostly holes.
LEFT_OUT = {
    '7spoke256', 'abalone', 'bee', 'echidna', 'hedgehog', 'murray-mussel', 'paratrooper', 'pizza',
    'rugby_goal_posts', 'tooth', 'wheel_tractor',
}
LEFT_OUT_FOLDERS = {'cartoon', 'plastic', 'toys'}
# The longer side of a stamp [pixel], a margin between two, and how many a row of a sheet has.
SIDE, MARGIN, COLUMNS = 256, 1, 6
# On a sheet: more than a background may have, so that no sheet becomes one.
STAMPS = 30

UInt8Array = npt.NDArray[np.uint8]


class Stamp(NamedTuple):
    """A cutout. pixels: uint8 BGR and opacity [h, w, 4]; name: of its class."""

    pixels: UInt8Array
    name: str


def write_sheets(out: Path) -> None:
    """
    Fetch Debian's package, and write its stamps as pictures with COCO's annotations.

    Raises CalledProcessError if apt-get has no such package, FileNotFoundError without apt-get.
    """
    stamps = read_stamps(unpack_debian(PACKAGE, out) / 'usr/share/tuxpaint/stamps')
    (out / 'stamps').mkdir(exist_ok=True)
    names = sorted({stamp.name for stamp in stamps})
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    count = len(stamps) // STAMPS
    for number in range(count):
        file_name = f'{number}.png'
        chosen = stamps[number::count]
        sheet, masks = _sheet(chosen)
        cv2.imwrite(str(out / 'stamps' / file_name), sheet)
        height, width = sheet.shape[:2]
        images.append({'id': number, 'file_name': file_name, 'height': height, 'width': width})
        for stamp, mask in zip(chosen, masks, strict=True):
            rle = coco_mask.encode(np.asfortranarray(mask))
            annotations.append({
                'id': len(annotations) + 1, 'image_id': number, 'iscrowd': 0,
                'category_id': names.index(stamp.name) + 1,
                'segmentation': rle | {'counts': rle['counts'].decode()},
            })
    categories = [{'id': number, 'name': name} for number, name in enumerate(names, 1)]
    document = {'images': images, 'annotations': annotations, 'categories': categories}
    (out / 'stamps.json').write_text(json.dumps(document))


def read_stamps(root: Path) -> list[Stamp]:
    """Return the photographs among the stamps, in an order that does not change."""
    stamps = []
    for folder, name in CLASSES.items():
        for file in sorted((root / folder).rglob('*.png')):
            if file.stem in LEFT_OUT or LEFT_OUT_FOLDERS & set(file.relative_to(root).parts):
                continue
            pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            # Without opacity, it is not cut out.
            if pixels is not None and pixels.dtype == np.uint8 and pixels.shape[2:] == (4,):
                stamps.append(Stamp(_shrunk(np.asarray(pixels, np.uint8)), name))
    return stamps


def _shrunk(pixels: UInt8Array) -> UInt8Array:
    factor = SIDE / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _sheet(stamps: Sequence[Stamp]) -> tuple[UInt8Array, list[UInt8Array]]:
    """Return a picture of the stamps, uint8 BGR [H, W, 3], and the mask of each, uint8 [H, W]."""
    cell = SIDE + 2 * MARGIN
    shape = (-(-len(stamps) // COLUMNS) * cell, COLUMNS * cell)
    sheet: UInt8Array = np.zeros((*shape, 3), np.uint8)
    masks = []
    for number, stamp in enumerate(stamps):
        height, width = stamp.pixels.shape[:2]
        top, left = (number // COLUMNS * cell + MARGIN, number % COLUMNS * cell + MARGIN)
        area = np.s_[top:top + height, left:left + width]
        sheet[area] = stamp.pixels[..., :3]
        masks.append(np.zeros(shape, np.uint8))
        masks[-1][area] = stamp.pixels[..., 3] > 127
    return sheet, masks
