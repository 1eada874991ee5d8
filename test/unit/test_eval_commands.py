# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The commands that run a model over data sets and bags: real files, processes and a network."""

from __future__ import annotations

import html.parser
import json
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from annotated_clip import (
    CATEGORIES,
    START,
    TOPIC,
    Clip,
    crossing_shapes,
    davis_composite,
    image_message,
    write_bag,
    write_dataset,
    write_mask_folder,
)
from rosbags.rosbag2 import StoragePlugin

from stmask_ros.bags.files import (
    COMPRESSED_IMAGE,
    IMAGE,
    INSTANCES,
    BagError,
    BagMessage,
    BagWriter,
    image_topic,
    message_types,
    read_bag,
)
from stmask_ros.cli import main
from stmask_ros.evaluation.annotations import load_annotations
from stmask_ros.evaluation.coverage import measure_coverage
from stmask_ros.evaluation.dataset import DatasetError, Video, parse_dataset
from stmask_ros.evaluation.dataset_run import Worker
from stmask_ros.evaluation.run_folder import RunFolder, VideoOutcome
from stmask_ros.evaluation.scores import score
from stmask_ros.evaluation.track_collection import Observation, TrackCollector, match_classes
from stmask_ros.masks import MaskEncoding, RegionMask

ROOT = Path(__file__).resolve().parents[2]
# Random weights see something in any picture, whatever model ships.
MODEL = ROOT / 'test' / 'ros' / 'untrained.yaml'
INSTANCES_TOPIC = '/segmenter/instances'


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """Leave PyTorch's number of threads as it was: the commands set it for their process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def clips() -> list[Clip]:
    return [crossing_shapes(f'shapes{seed}', 3, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope='module')
def finished(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a data set and, in out/, of a finished run of one process over it."""
    folder = tmp_path_factory.mktemp('dataset')
    annotations, images = write_dataset(folder, clips)
    assert main(dataset_arguments(annotations, images, folder / 'out')) == 0
    return folder


def dataset_arguments(annotations: Path, images: Path, out: Path) -> list[str]:
    return ['eval', 'dataset', '--annotations', str(annotations), '--images', str(images),
            '--model', str(MODEL), '--device', 'cpu', '--out', str(out)]


def bag_arguments(bag: Path, annotations: Path, out: Path) -> list[str]:
    return ['eval', 'bag', str(bag), '--annotations', str(annotations), '--model', str(MODEL),
            '--device', 'cpu', '--out', str(out)]


def load(path: Path) -> Any:
    return json.loads(path.read_text())


# What a run writes.


def test_a_run_leaves_results_that_score_and_a_submission(finished: Path) -> None:
    out = finished / 'out'
    results = load(out / 'results.json')
    assert {entry['video_id'] for entry in results} == {1, 2, 3}
    assert all(len(entry['segmentations']) == 3 for entry in results)
    with zipfile.ZipFile(out / 'results.zip') as archive:
        assert json.loads(archive.read('results.json')) == results
    scores = load(out / 'scores.json')
    assert 0 <= scores['vis']['summary']['AP'] <= 1
    assert scores['coverage']['objects'] == 6
    assert '| mean of classes |' in (out / 'report.md').read_text()


class _Page(html.parser.HTMLParser):
    """Collects the tags of a page and whatever it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or '' for name, value in attrs if name in ('src', 'href')]


def test_the_page_needs_no_other_file(finished: Path) -> None:
    page = _Page()
    page.feed((finished / 'out' / 'report.html').read_text())
    assert page.tags.count('table') == 4
    assert page.tags.count('svg') == 1 + 3
    assert page.sources
    assert all(source.startswith('data:image/jpeg;base64,') for source in page.sources)
    assert 'script' not in page.tags
    assert 'link' not in page.tags


# Stopping, going on, sharing.


def test_two_workers_find_what_one_finds(finished: Path, tmp_path: Path) -> None:
    arguments = dataset_arguments(finished / 'annotations.json', finished / 'images', tmp_path)
    subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
         '-m', 'stmask_ros.cli', *arguments],
        cwd=ROOT, check=True, capture_output=True, timeout=300,
    )
    for name in ('results.json', 'run.json', 'scores.json'):
        assert (tmp_path / name).read_bytes() == (finished / 'out' / name).read_bytes()


def test_workers_share_whole_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    videos = [Video(i, 1, 1, 1, ()) for i in range(7)]
    shares = []
    for rank in range(3):
        monkeypatch.setenv('RANK', str(rank))
        monkeypatch.setenv('WORLD_SIZE', '3')
        shares += Worker.from_environment().share(videos)
    assert sorted(video.id for video in shares) == list(range(7))


def test_a_stopped_run_goes_on(finished: Path, tmp_path: Path) -> None:
    annotations, images = finished / 'annotations.json', finished / 'images'
    out = tmp_path / 'out'
    arguments = dataset_arguments(annotations, images, out)
    assert main([*arguments, '--videos', 'shapes1', 'shapes3']) == 0
    kept = {path: path.stat().st_mtime_ns for path in (out / 'videos').iterdir()}
    assert len(kept) == 2
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (out / 'results.json').read_bytes() == (finished / 'out/results.json').read_bytes()


@pytest.mark.parametrize(('option', 'value', 'setting'), [
    ('--max-missed', '3', 'max_missed'),
    ('--nms-threshold', '0.4', 'nms_threshold'),
    ('--birth-threshold', '0.2', 'birth_threshold'),
])
def test_other_settings_are_not_mixed_in(
    finished: Path, caplog: pytest.LogCaptureFixture, option: str, value: str, setting: str
) -> None:
    arguments = dataset_arguments(
        finished / 'annotations.json', finished / 'images', finished / 'out'
    )
    assert main([*arguments, option, value]) == 1
    assert 'other settings' in caplog.text
    assert setting in caplog.text


@pytest.mark.parametrize(('change', 'told'), [
    ({'classes': ['a', 'b']}, 'model.classes'), ({'options': {'channels': 32}}, 'model.options'),
])
def test_another_description_of_a_model_is_not_mixed_in(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any],
    told: str,
) -> None:
    model = tmp_path / MODEL.name
    model.write_text(yaml.safe_dump(yaml.safe_load(MODEL.read_text()) | change))
    arguments = dataset_arguments(
        finished / 'annotations.json', finished / 'images', finished / 'out'
    )
    arguments[arguments.index(str(MODEL))] = str(model)
    assert main([*arguments, '--class-agnostic']) == 1
    assert told in caplog.text


def test_a_folder_of_the_user_is_refused_untouched(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'run.json').write_text('mine')
    arguments = dataset_arguments(finished / 'annotations.json', finished / 'images', tmp_path)
    assert main(arguments) == 1
    assert '--overwrite' in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ['run.json']
    assert (tmp_path / 'run.json').read_text() == 'mine'


def test_other_pictures_are_not_mixed_in(
    clips: list[Clip], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotations, images = write_dataset(tmp_path, clips[:2])
    arguments = dataset_arguments(annotations, images, tmp_path / 'out')
    assert main(arguments) == 0
    (images / 'shapes1' / '00000.png').write_bytes(
        (images / 'shapes2' / '00000.png').read_bytes()
    )
    assert main([*arguments, '--videos', 'shapes2']) == 0
    assert main(arguments) == 1
    assert '000001.json was made from other frames of shapes1' in caplog.text
    assert 'names, sizes and times' in caplog.text
    assert main([*arguments, '--overwrite']) == 0


def test_a_run_whose_settings_are_lost_is_not_gone_on_with(tmp_path: Path) -> None:
    """As one that was stopped while it began again; ids of videos may be below 0."""
    images, out = tmp_path / 'images', tmp_path / 'out'
    folder = RunFolder(out, images, {'model': 'old'})
    video = Video(-1, 4, 5, 0, ())
    folder.save(VideoOutcome(video.id, (), ()), folder.frames(video))
    assert RunFolder(out, images, {'model': 'old'}).has(video)
    (out / 'run.json').unlink()
    with pytest.raises(DatasetError, match=r'run\.json, are lost: .* --overwrite'):
        RunFolder(out, images, {'model': 'new'})
    RunFolder.begin_again(out)
    assert not RunFolder(out, images, {'model': 'new'}).has(video)


def test_half_precision_is_refused_on_a_cpu(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(finished / 'out' / 'run.json')['precision'] in ('float32', 'bfloat16')
    arguments = dataset_arguments(
        finished / 'annotations.json', finished / 'images', tmp_path / 'out'
    )
    assert main([*arguments, '--precision', 'float16']) == 1
    assert "'float16' was asked for and the device is a CPU" in caplog.text


def test_a_missing_frame_costs_its_video_alone(
    clips: list[Clip], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotations, images = write_dataset(tmp_path, clips[:2])
    (images / 'shapes2' / '00001.png').unlink()
    arguments = dataset_arguments(annotations, images, tmp_path / 'out')
    assert main(arguments) == 1
    assert '00001.png: no such picture' in caplog.text
    assert [path.name for path in (tmp_path / 'out/videos').iterdir()] == ['000001.json']


def test_annotations_without_objects_give_a_submission(
    finished: Path, clips: list[Clip], tmp_path: Path
) -> None:
    document = load(finished / 'annotations.json')
    del document['annotations']
    annotations = tmp_path / 'valid.json'
    annotations.write_text(json.dumps(document))
    out = tmp_path / 'out'
    arguments = dataset_arguments(annotations, finished / 'images', out)
    assert main([*arguments, '--videos', 'shapes1']) == 0
    assert (out / 'results.zip').exists()
    assert not (out / 'report.html').exists()


# Annotations.


def test_mask_pictures_hold_one_object_or_several(clips: list[Clip], tmp_path: Path) -> None:
    several = load_annotations(write_mask_folder(tmp_path / 'palette', clips[0], palette=True))
    one = load_annotations(write_mask_folder(tmp_path / 'white', clips[0], palette=False))
    assert [len(a.dataset.tracks) for a in (several, one)] == [2, 1]
    assert not several.is_complete
    areas = [[int(mask.sum()) for mask in masks] for masks in clips[0].objects]
    assert [t.sequence.areas.tolist() for t in several.dataset.tracks] == areas
    assert one.dataset.tracks[0].sequence.areas.tolist() == np.sum(areas, axis=0).tolist()
    assert several.dataset.videos[0].file_names[1] == 'shapes1/00001.jpg'


def test_classes_match_by_name_and_misspelt_ones_by_number() -> None:
    model = [line for line in (ROOT / 'model/ovis.txt').read_text().splitlines() if line]
    misspelt = {i: name.replace('Vehicle', 'Vehical') for i, name in enumerate(model, 1)}
    assert match_classes(model, misspelt) == {i: i for i in range(1, 26)}
    names_2019 = (ROOT / 'model/youtube_vis_2019.txt').read_text().split()
    names_2021 = dict(enumerate((ROOT / 'model/youtube_vis_2021.txt').read_text().split(), 1))
    across = match_classes(names_2019, names_2021)
    assert all(names_2019[ours - 1] == names_2021[theirs] for ours, theirs in across.items())
    assert names_2019.index('sedan') + 1 not in across


# Tracks and coverage, against values worked out by hand.


def square(size: int, column: int) -> RegionMask:
    return RegionMask(column, 0, np.ones((size, size), bool))


def test_a_track_has_its_mean_score_and_most_frequent_class() -> None:
    collector = TrackCollector(Video(9, 8, 16, 4, ()))
    collector.add(0, [Observation(1, 5, 2, 0.25, square(2, 0))])
    collector.add(2, [Observation(1, 5, 3, 0.75, square(3, 0)),
                      Observation(1, 6, 1, 0.5, square(1, 9))])
    (track,) = collector.tracks({2: 20, 3: 30})
    assert (track.name, track.prediction.category_id, track.prediction.score) == ('5', 20, 0.5)
    assert track.prediction.sequence.areas.tolist() == [4, 0, 9, 0]
    assert [mask is None for mask in track.prediction.sequence.masks] == [
        False, True, False, True]


def test_coverage_of_an_object_that_changes_hands(tmp_path: Path) -> None:
    masks = [np.pad(np.ones((4, 4), bool), ((0, 4), (0, 12))) for _ in range(4)]
    clip = Clip('hands', [np.zeros((8, 16, 3), np.uint8)] * 4, [masks], [1])
    annotations = load_annotations(write_dataset(tmp_path, [clip])[0])
    collector = TrackCollector(annotations.dataset.videos[0])
    collector.add(0, [Observation(1, 1, 1, 1.0, square(4, 0))])  # IoU 1
    collector.add(1, [Observation(1, 1, 1, 1.0, square(4, 0))])
    collector.add(2, [Observation(1, 2, 1, 1.0, square(3, 0))])  # IoU 9 / 16
    collector.add(3, [Observation(1, 2, 1, 1.0, square(2, 0))])  # IoU 4 / 16: not found
    scores = score(annotations, collector.tracks({1: 1}))
    (entry,) = measure_coverage(scores.overlaps)
    assert (entry.frames, entry.recall, entry.id_switches) == (4, 0.75, 1)
    assert entry.mean_iou == pytest.approx((1 + 1 + 9 / 16 + 4 / 16) / 4)
    assert entry.stability == pytest.approx(2 / 3)


# Bags.


@pytest.mark.parametrize('suffix', ['', '.png'])
@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_replayed_bag_gives_what_the_library_gives(
    finished: Path, clips: list[Clip], tmp_path: Path, suffix: str, storage: StoragePlugin
) -> None:
    bag = write_bag(tmp_path / 'shapes2', clips[1], suffix, storage)
    assert main(bag_arguments(bag, finished / 'annotations.json', tmp_path / 'out')) == 0
    expected = [r for r in load(finished / 'out/results.json') if r['video_id'] == 2]
    assert load(tmp_path / 'out/results.json') == expected


def test_images_find_their_frames_by_stamp(clips: list[Clip], tmp_path: Path) -> None:
    clip = clips[0]
    annotations, _ = write_dataset(tmp_path, [clip], stamps=True)
    bag = tmp_path / 'bag'
    stamps = [START - 1, *clip.stamps[:2], clip.stamps[1], *clip.stamps[2:]]
    frames = [clip.frames[0], *clip.frames[:2], clip.frames[1], *clip.frames[2:]]
    with BagWriter(bag) as writer:
        for frame, stamp in zip(frames, stamps, strict=True):
            writer.write_content(
                BagMessage(TOPIC, IMAGE, stamp, image_message(frame, stamp)))
    assert main(bag_arguments(bag, annotations, tmp_path / 'out')) == 0
    report = (tmp_path / 'out/report.md').read_text()
    assert '| in the bag | 5 |' in report
    assert '| not annotated | 1 |' in report
    assert '| dropped: repeated stamp | 1 |' in report
    assert '| annotated frames without a processed image | 0 |' in report


def test_a_broken_image_keeps_its_place(clips: list[Clip], tmp_path: Path) -> None:
    clip = clips[0]
    annotations, _ = write_dataset(tmp_path, [clip])
    with BagWriter(tmp_path / 'bag') as writer:
        for index, (frame, stamp) in enumerate(zip(clip.frames, clip.stamps, strict=True)):
            message = image_message(frame, stamp, '.png')
            if index == 1:
                message.data = message.data[:50]
            writer.write_content(BagMessage(TOPIC, COMPRESSED_IMAGE, stamp, message))
    assert main(bag_arguments(tmp_path / 'bag', annotations, tmp_path / 'out')) == 0
    results = load(tmp_path / 'out/results.json')
    assert results
    assert all(entry['segmentations'][1] is None for entry in results)
    assert any(entry['segmentations'][2] is not None for entry in results)


def test_a_cut_off_bag_is_scored_as_far_as_it_goes(
    clips: list[Clip], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotations, _ = write_dataset(tmp_path, clips[:1])
    bag = write_bag(tmp_path / 'bag', clips[0])
    (file,) = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:-100])
    assert main(bag_arguments(bag, annotations, tmp_path / 'out')) == 1
    assert 'what could be read is scored' in caplog.text
    assert '| processed | 3 |' in (tmp_path / 'out/report.md').read_text()


def test_what_is_wrong_with_a_bag_is_said(
    finished: Path, clips: list[Clip], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotations = finished / 'annotations.json'
    out = tmp_path / 'out'
    bag = write_bag(tmp_path / 'shapes1', clips[0])
    small = Clip('shapes1', [frame[:48, :64].copy() for frame in clips[0].frames], [], [])
    for arguments, text in [
        (bag_arguments(tmp_path / 'none', annotations, out), 'none is called none'),
        ([*bag_arguments(tmp_path / 'none', annotations, out), '--video', '1'],
         'does not exist'),
        ([*bag_arguments(bag, annotations, out), '--topic', '/other'],
         'it has /camera/image_raw (sensor_msgs/msg/Image)'),
        ([*bag_arguments(bag, annotations, out), '--from-recorded'], 'has no instances'),
        (bag_arguments(write_bag(tmp_path / 'small/shapes1', small), annotations, out),
         '64x48, but the annotations of shapes1 are for 128x96'),
    ]:
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            assert main(arguments) == 1
        assert text in caplog.text


def recorded_bag(folder: Path, clip: Clip, answered: list[int], images: bool) -> Path:
    """Write a bag as a robot records it: images, and exact instances for some of them."""
    make = message_types().types
    with BagWriter(folder) as writer:
        for index, (frame, stamp) in enumerate(zip(clip.frames, clip.stamps, strict=True)):
            image = image_message(frame, stamp)
            if images:
                writer.write_content(BagMessage(TOPIC, IMAGE, stamp + 10**6, image))
            if index not in answered:
                continue
            instances = [
                instance(track_id, masks[index], category) for track_id, (masks, category)
                in enumerate(zip(clip.objects, clip.category_ids, strict=True), 1)
            ]
            height, width = frame.shape[:2]
            writer.write_content(BagMessage(
                INSTANCES_TOPIC, INSTANCES, stamp + 50 * 10**6, make[INSTANCES](
                    header=image.header, image_width=width, image_height=height, epoch=1,
                    sequence=index, frames_skipped=0, temporal_valid=True, model='test@0',
                    processing_time=make['builtin_interfaces/msg/Duration'](0, 40 * 10**6),
                    instances=instances,
                )))
    return folder


def instance(track_id: int, mask: np.ndarray, category: int) -> Any:
    make = message_types().types
    region = RegionMask.from_full(mask)
    zero = make['builtin_interfaces/msg/Time'](0, 0)
    return make['stmask_ros/msg/TrackedInstance'](
        track_id=track_id, state=2, source=1, class_id=category,
        class_name=CATEGORIES[category - 1], score=0.9, detection_score=0.9, age=1, hits=1,
        missed=0, first_seen=zero, last_detected=zero, x_min=0.0, y_min=0.0, x_max=1.0, y_max=1.0,
        mask=make['stmask_ros/msg/InstanceMask'](
            encoding=int(MaskEncoding.COCO_RLE), x_offset=region.x_offset,
            y_offset=region.y_offset, width=region.width, height=region.height, area=region.area,
            data=np.frombuffer(region.encode(MaskEncoding.COCO_RLE), np.uint8),
        ),
    )


@pytest.mark.parametrize('images', [True, False])
def test_recorded_instances_are_scored_with_their_drops(
    tmp_path: Path, images: bool
) -> None:
    clip = crossing_shapes('robot', 5, 4)
    annotations, _ = write_dataset(tmp_path, [clip], stamps=not images)
    bag = recorded_bag(tmp_path / 'bag', clip, [0, 1, 3, 4], images)
    arguments = bag_arguments(bag, annotations, tmp_path / 'out')
    assert main([*arguments, '--from-recorded']) == 0
    scores = load(tmp_path / 'out/scores.json')
    assert scores['coverage']['recall'] == pytest.approx(4 / 5)
    assert scores['coverage']['mean_iou'] == pytest.approx(4 / 5)
    assert scores['coverage']['stability'] == 1
    assert scores['identity']['detection_average']['IDSW'] == 0
    report = (tmp_path / 'out/report.md').read_text()
    assert '| answered | 4 |' in report
    assert '| annotated frames without an answer | 1 |' in report
    assert 'recording of its instances | 50.0 | 50.0 | 50.0 | 50.0 |' in report
    assert 'publication | 40.0 |' in report


def test_an_annotated_bag_has_still_one_topic_of_images(tmp_path: Path) -> None:
    clip = crossing_shapes('robot', 1, 4)
    bag = recorded_bag(tmp_path / 'bag', clip, [0], images=True)
    assert image_topic(bag) == TOPIC
    with pytest.raises(BagError, match='no topic of images'):
        image_topic(bag, INSTANCES_TOPIC)
    assert [message.topic for message in read_bag(bag)] == [TOPIC, INSTANCES_TOPIC]


# Real video.


def test_two_davis_sequences_in_one_picture(shared: Path, tmp_path: Path) -> None:
    clip = davis_composite(shared / 'data/davis', 3)
    annotations, images = write_dataset(tmp_path, [clip])
    dataset = parse_dataset(load(annotations))
    assert len(dataset.tracks) == 2
    assert all(track.sequence.areas.min() > 500 for track in dataset.tracks)
    out = tmp_path / 'out'
    assert main(dataset_arguments(annotations, images, out)) == 0
    assert main(bag_arguments(write_bag(tmp_path / 'bag', clip), annotations,
                              tmp_path / 'replayed')) == 0
    results = load(out / 'results.json')
    assert results
    assert load(tmp_path / 'replayed/results.json') == results


def test_help_does_not_wait_for_pytorch() -> None:
    code = ("import sys; from stmask_ros.cli import build_parser; build_parser(); "
            "sys.exit('torch' in sys.modules)")
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, env=dict(os.environ))
