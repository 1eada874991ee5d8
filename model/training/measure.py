"""What a model finds in videos that it never saw, with and without temporal fusion."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from stmask_ros.evaluation.annotations import Annotations, load_annotations
from stmask_ros.evaluation.coverage import holders, measure_coverage, summarise
from stmask_ros.evaluation.dataset_run import DatasetRun
from stmask_ros.evaluation.run_folder import RunFolder
from stmask_ros.evaluation.track_collection import predictions_of
from stmask_ros.evaluation.video_iou import VideoOverlap, measure_overlaps
from stmask_ros.evaluation.vis_metric import evaluate_vis
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.models.checkpoint import Model, load_model
from stmask_ros.tracking.segmenter import VideoSegmenter


@dataclass(frozen=True)
class Figures:
    """
    Of one model on some videos.

    found: share of an object's frames in which a mask reaches IoU 0.5. mean_iou: of the best
    mask. same_id: share of the found frames that the longest track covers. right_class: share of
    the found frames in which the track has the object's class. instances: in a frame, of anything.
    ap: of tracks, None where not all objects are annotated.
    """

    objects: int
    found: float
    mean_iou: float
    same_id: float
    right_class: float
    id_switches: int
    instances: float
    ap: float | None


def main() -> None:
    """Print the figures, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='stmask_lite')
    parser.add_argument('--annotations', type=Path, required=True)
    parser.add_argument('--images', type=Path, required=True)
    parser.add_argument(
        '--videos', nargs='*', default=[], metavar='NAME=CLASS',
        help='of a folder without classes: which videos, and what their object is',
    )
    parser.add_argument(
        '--birth-threshold', type=float, default=TrackerConfig.birth_threshold, metavar='SCORE',
        help="lowest score of a detection that starts a track (default: 0; the node's is 0.2)",
    )
    parser.add_argument(
        '--nms-threshold', type=float, default=TrackerConfig.nms_threshold, metavar='IOU',
        help='of two detections that overlap more, the weaker is dropped (default: 0.5)',
    )
    parser.add_argument('--json', type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    model = load_model(options.model)
    annotations = _annotations(options.annotations, options.videos, model.description.classes)
    tracker = TrackerConfig(
        birth_threshold=options.birth_threshold, nms_threshold=options.nms_threshold
    )
    figures = {
        name: _measure(variant, tracker, annotations, options.images)
        for name, variant in (('with fusion', model), ('without', _without_fusion(model)))
    }
    for name, entry in figures.items():
        ap = '-' if entry.ap is None else f'{entry.ap:.3f}'
        sys.stdout.write(
            f'{name:12} {entry.objects} objects: found {entry.found:.1%}, mean IoU '
            f'{entry.mean_iou:.3f}, same id {entry.same_id:.1%}, right class '
            f'{entry.right_class:.1%}, {entry.id_switches} id switches, '
            f'{entry.instances:.1f} instances a frame, AP {ap}\n'
        )
    if options.json:
        content = {name: asdict(entry) for name, entry in figures.items()}
        options.json.write_text(json.dumps(content, indent=2) + '\n')


def _annotations(path: Path, videos: Sequence[str], classes: Sequence[str]) -> Annotations:
    """Return the annotations with the numbers of the model's classes."""
    annotations = load_annotations(path)
    named = dict(video.split('=') for video in videos)
    if named:
        annotations = annotations.only(list(named))
    dataset = annotations.dataset
    names = {category.id: category.name for category in dataset.categories}
    of_video = {video.id: named.get(video.name) for video in dataset.videos}
    tracks = tuple(
        replace(t, category_id=1 + classes.index(of_video[t.video_id] or names[t.category_id]))
        for t in dataset.tracks
    )
    categories = tuple(
        replace(dataset.categories[0], id=n, name=name) for n, name in enumerate(classes, 1)
    )
    return replace(annotations, dataset=replace(dataset, tracks=tracks, categories=categories))


def _without_fusion(model: Model) -> Model:
    """Return the same network without its temporal fusion: a tracker of single frames."""
    network = STMask(replace(model.network.config, temporal_fusion=False))
    network.load_state_dict({
        key: value for key, value in model.network.state_dict().items()
        if not key.startswith('TemporalNet.')
    })
    return replace(model, network=network.eval().requires_grad_(False))


def _measure(
    model: Model, tracker: TrackerConfig, annotations: Annotations, images: Path
) -> Figures:
    segmenter = VideoSegmenter(model, torch.device('cpu'), tracker)
    classes = {number: number for number in range(1, len(model.description.classes) + 1)}
    with tempfile.TemporaryDirectory() as folder:
        run = DatasetRun(segmenter, RunFolder(Path(folder), images, {}), classes)
        outcomes = [run.run_video(video, lambda: None) for video in annotations.dataset.videos]
    tracks = predictions_of([track for outcome in outcomes for track in outcome.tracks])
    overlaps = measure_overlaps(annotations.dataset, tracks)
    summary = summarise(measure_coverage(overlaps))
    vis = evaluate_vis(annotations.dataset, tracks) if annotations.is_complete else None
    shown = sum(int((track.sequence.areas > 0).sum()) for track in tracks)
    frames = sum(video.length for video in annotations.dataset.videos)
    return Figures(
        summary.objects, summary.recall, summary.mean_iou, summary.stability,
        _right_class(overlaps), summary.id_switches, shown / frames,
        None if vis is None else vis.summary.ap,
    )


def _right_class(overlaps: Sequence[VideoOverlap]) -> float:
    found = right = 0
    for overlap in overlaps:
        for index, truth in enumerate(overlap.truths):
            held = holders(overlap)[:, index]
            held = held[held >= 0]
            found += len(held)
            right += sum(overlap.predictions[h].category_id == truth.category_id for h in held)
    return right / max(found, 1)


if __name__ == '__main__':
    main()
