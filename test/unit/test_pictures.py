"""The outlines of the open pictures, and how pictures come out of packages."""

from __future__ import annotations

import importlib
import json
import struct
import zipfile
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image

from stmask_ros.evaluation.annotations import load_annotations

FOLDER = Path(__file__).resolve().parents[2] / 'model' / 'training'


@pytest.fixture(scope='module')
def pictures() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module('pictures')


def test_every_outline_can_be_drawn(pictures: ModuleType) -> None:
    outlined = pictures.read_outlines()
    assert len({entry.package.replace('_', '-') for entry in outlined}) == 8
    for entry in outlined:
        assert entry.objects, entry.file
        assert {name for name, _ in entry.objects} <= set(pictures.CLASSES)
        for track in entry.masks():
            assert len(track) == len(entry.frames)
            seen = [mask for mask in track if mask is not None]
            assert seen, entry.file
            assert all(mask.shape == entry.size and mask.any() for mask in seen)


def test_all_that_was_made_from_one_source_has_its_name(pictures: ModuleType) -> None:
    def source(file: str, number: int | None = None) -> str:
        return pictures.Outlined('package', file, (1, 1), (), number=number).source

    assert source('media/templates/flux_edit-1.webp') == source('media/templates/flux_edit-2.webp')
    assert source('media/templates/flux_edit-1.webp') != source('media/templates/flux-1.webp')
    people = ('posture.jpg', 'selfie.jpg')
    assert {source(f'openpeople/data/curated/P001/assets/{name}') for name in people} == {'P001'}
    assert source('erase.rcc', 1) != source('erase.rcc', 2)


def test_pictures_and_clips_are_written(
    pictures: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a package made here: a clip of three frames, of which two are outlined, and a still."""
    frames = [np.full((100, 100, 3), value, np.uint8) for value in (40, 90, 140)]
    folder = 'comfyui_workflow_templates_media_video/templates'
    version = pictures.VERSIONS['comfyui-workflow-templates-media-video']
    wheel = tmp_path / f'comfyui_workflow_templates_media_video-{version}-py3-none-any.whl'
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(
        tmp_path / 'clip.webp', save_all=True, append_images=others, lossless=True, duration=40
    )
    Image.fromarray(frames[0]).save(tmp_path / 'still.webp', lossless=True)
    with zipfile.ZipFile(wheel, 'w') as archive:
        for name in ('clip', 'still'):
            archive.write(tmp_path / f'{name}.webp', f'{folder}/{name}-1.webp')
    mask = np.zeros((100, 100), np.uint8)
    mask[40:90, 20:60] = 1
    counts = pictures._encoded(mask, slice(0, 100))['counts']
    common = {'package': 'comfyui_workflow_templates_media_video', 'size': [100, 100]}
    outlines = tmp_path / 'outlines.json'
    outlines.write_text(json.dumps([
        common | {'file': f'{folder}/clip-1.webp', 'frames': [0, 2],
                  'objects': [['person', counts, None], ['animal', counts, counts]]},
        common | {'file': f'{folder}/still-1.webp', 'crop': [0, 0, 50, 50],
                  'objects': [['vehicle', counts]]},
    ]))
    monkeypatch.setattr(pictures, 'OUTLINES', outlines)
    monkeypatch.setattr(pictures, 'HELD_OUT', 10**6)  # the first source alone: the clip
    pictures.write_pictures(tmp_path)
    for name, height in (('clips_held_out', 100), ('clips_wide_held_out', 68)):
        loaded = load_annotations(tmp_path / f'{name}.json')
        video, = loaded.dataset.videos
        assert (video.length, video.height) == (2, height)
        assert [
            [mask is not None for mask in track.sequence.masks] for track in loaded.dataset.tracks
        ] == [[True, False], [True, True]]
        image = cv2.imread(str(tmp_path / name / video.file_names[1]))
        assert image.shape == (height, 100, 3)
        assert (image == 140).all()
    document = json.loads((tmp_path / 'pictures.json').read_text())
    assert [image['width'] for image in document['images']] == [100]
    assert [a['category_id'] for a in document['annotations']] == [3]


def test_webp_files_in_a_resource(pictures: ModuleType) -> None:
    large, small = (
        cv2.imencode('.webp', np.full((side, 120, 3), side, np.uint8))[1].tobytes()
        for side in (110, 90)
    )
    decoy = b'RIFF' + struct.pack('<I', 4) + b'WAVE'
    found = list(pictures._webp_pictures(b'qres' + decoy + small + b'..' + large + b'RIFF'))
    assert [picture.shape for picture in found] == [(110, 120, 3)]
