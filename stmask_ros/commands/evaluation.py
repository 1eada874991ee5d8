# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The commands `stmask eval` and `stmask bag`, and what they take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stmask_ros.commands import eval_json as json_command
from stmask_ros.commands.common_options import add_overwrite, add_skip_bad
from stmask_ros.commands.look_options import add_look

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

# As many of a picture count.
COCO_DETECTIONS = 100


def register(commands: SubParsers) -> None:
    """Add both commands with their subcommands; each sets `run`, a function of the options."""
    evaluation = commands.add_parser('eval', help='score masks and identities')
    subcommands = evaluation.add_subparsers(required=True, metavar='WHAT')
    json_command.register(subcommands)
    _register_images(subcommands)
    _register_dataset(subcommands)
    _register_bag(subcommands)
    bag = commands.add_parser('bag', help='work on recorded image topics')
    bags = bag.add_subparsers(required=True, metavar='WHAT')
    _register_annotate(bags)
    _register_export(bags)
    _register_import(bags)


# What runs a network is imported when it is called, so that help does not wait for PyTorch.


def _run_images(options: argparse.Namespace) -> int:
    from stmask_ros.commands.eval_images import run

    return run(options)


def _run_dataset(options: argparse.Namespace) -> int:
    from stmask_ros.commands.eval_dataset import run

    return run(options)


def _run_bag(options: argparse.Namespace) -> int:
    from stmask_ros.commands.eval_bag import run

    return run(options)


def _run_annotate(options: argparse.Namespace) -> int:
    # Writes the node's own messages, and so needs the node's ROS 2; the others do not.
    from stmask_ros.commands.bag_annotate import run

    return run(options)


def _run_export(options: argparse.Namespace) -> int:
    from stmask_ros.commands.bag_export import run_export

    return run_export(options)


def _run_import(options: argparse.Namespace) -> int:
    from stmask_ros.commands.bag_export import run_import

    return run_import(options)


def _register_images(subcommands: SubParsers) -> None:
    text = 'score a model on single pictures: AP of boxes and masks'
    parser = subcommands.add_parser('images', help=text, description=(
        f'{text[0].upper()}{text[1:]}, as COCO counts them. Each picture starts from a fresh '
        'state.'
    ))
    parser.add_argument(
        '--annotations', type=Path, required=True, help="JSON file in COCO's format"
    )
    add_skip_bad(parser)
    parser.add_argument('--images', type=Path, required=True, help='folder of the pictures')
    parser.add_argument(
        '--grouped', action='store_true',
        help='take classes together: person, animal, vehicle, and object for all else',
    )
    parser.add_argument(
        '--recall-score', type=float, default=0.2, metavar='SCORE',
        help='lowest score that counts in the share of objects found, 0 to 1 (default: 0.2)',
    )
    parser.add_argument('--output', type=Path, metavar='FILE', help='write all numbers as JSON')
    add_overwrite(parser)
    _add_segmenter_arguments(parser, score_threshold=0.01)
    parser.set_defaults(run=_run_images, capacity=COCO_DETECTIONS)


def _register_dataset(subcommands: SubParsers) -> None:
    text = 'run a model over an annotated data set, video by video, and score it'
    parser = subcommands.add_parser('dataset', help=text, description=(
        f'{text[0].upper()}{text[1:]}. Finished videos are kept in --out: the same command goes '
        'on where it was stopped. Under torchrun each worker takes whole videos.'
    ))
    _add_annotations(parser)
    parser.add_argument('--images', type=Path, required=True, help='folder of the frames')
    parser.add_argument('--out', type=Path, default=Path('out/eval'), help='folder of the results')
    add_overwrite(parser)
    parser.add_argument(
        '--videos', nargs='+', default=[], metavar='NAME', help='run only these, by name or id'
    )
    parser.add_argument(
        '--whole-video', action='store_true',
        help='give each video to the network at once instead of frame by frame, where it can '
             '(SeqFormer, MS-STS): what their authors evaluate, and nothing for a camera',
    )
    _add_scoring_arguments(parser)
    _add_segmenter_arguments(parser)
    parser.set_defaults(run=_run_dataset)


def _register_bag(subcommands: SubParsers) -> None:
    text = 'run a model over the images of a bag as the node would, and score it'
    parser = subcommands.add_parser('bag', help=text, description=(
        f'{text[0].upper()}{text[1:]}. Every image is processed, in order, as fast as the machine '
        'allows; with --from-recorded nothing is run, and the recorded instances are scored.'
    ))
    _add_bag(parser)
    _add_annotations(parser)
    parser.add_argument(
        '--video', metavar='NAME',
        help="the video of the annotations that the bag shows, by name or id (default: the only "
             "one, or the one with the bag's name)",
    )
    parser.add_argument('--out', type=Path, default=Path('out/bag'), help='folder of the results')
    add_overwrite(parser)
    parser.add_argument(
        '--from-recorded', action='store_true',
        help='score the recorded instances: an image without them counts as missed',
    )
    parser.add_argument(
        '--instances-topic', default='', metavar='TOPIC',
        help='topic of the recorded instances (default: the only one)',
    )
    _add_scoring_arguments(parser)
    _add_segmenter_arguments(parser)
    _add_max_gap(parser)
    parser.set_defaults(run=_run_bag)


def _register_annotate(subcommands: SubParsers) -> None:
    text = 'write a new bag with what the node would say of the images of another'
    parser = subcommands.add_parser('annotate', help=text, description=(
        f'{text[0].upper()}{text[1:]}: all its messages, and beside them instances, overlay and '
        'label_info.'
    ))
    _add_bag(parser)
    parser.add_argument('out', type=Path, help='folder of the new MCAP bag')
    add_overwrite(parser)
    parser.add_argument(
        '--name', default='/segmenter', help='name of the node, before its topics'
    )
    parser.add_argument(
        '--depth-topic', default='', metavar='TOPIC',
        help='depth images or clouds: writes where the instances are in space, too',
    )
    parser.add_argument(
        '--fixed-frame', default='', metavar='FRAME',
        help="frame of what is in space, by /tf or --pose-topic (default: the image's own)",
    )
    parser.add_argument(
        '--pose-topic', default='', metavar='TOPIC',
        help="PoseStamped of the image's optical frame in --fixed-frame, instead of /tf",
    )
    parser.add_argument(
        '--lifter-name', default='/lifter', help='name of the lifter node, before its topic'
    )
    _add_segmenter_arguments(parser, birth_threshold=0.2, nms_threshold=0.4)
    add_look(parser)
    _add_max_gap(parser)
    parser.set_defaults(run=_run_annotate)


def _register_export(subcommands: SubParsers) -> None:
    text = 'write the frames of a bag that are worth labelling, with masks to start from'
    parser = subcommands.add_parser('export', help=text, description=(
        f'{text[0].upper()}{text[1:]}: sharp ones, different from each other, where the model is '
        'unsure or its tracks change; for `stmask label`, CVAT, Label Studio and Roboflow. See '
        'docs/teaching.md.'
    ))
    _add_bag(parser)
    parser.add_argument('out', type=Path, help='folder of pictures and labels')
    add_overwrite(parser)
    parser.add_argument(
        '--every', type=int, default=1, metavar='N',
        help='look at the sharpest of N images in a row (default: 1, all)',
    )
    parser.add_argument(
        '--most', type=int, default=30, metavar='N', help='choose N images (default: 30)'
    )
    parser.add_argument(
        '--class', dest='classes', action='append', default=[], metavar='NAME',
        help='a class that the model does not know, for the lists of the tools; several times',
    )
    parser.add_argument(
        '--label-studio-images', default='/data/local-files/?d=images/', metavar='ADDRESS',
        help='where Label Studio finds the pictures (default: %(default)s)',
    )
    _add_segmenter_arguments(parser, birth_threshold=0.2, nms_threshold=0.4)
    _add_max_gap(parser)
    parser.set_defaults(run=_run_export)


def _register_import(subcommands: SubParsers) -> None:
    text = 'bring labels that another tool exported into a folder of `stmask bag export`'
    parser = subcommands.add_parser('import', help=text, description=(
        f'{text[0].upper()}{text[1:]}: COCO JSON, YOLO segmentation, Label Studio JSON, XML of '
        'CVAT for video, or a folder of mask pictures. Tracks keep their ids.'
    ))
    parser.add_argument('folder', type=Path, help='folder of pictures and labels')
    parser.add_argument('export', type=Path, help='file or folder that the tool exported')
    parser.add_argument(
        '--class', dest='category', default='', metavar='NAME',
        help='of new objects, where the format names none (mask pictures)',
    )
    parser.set_defaults(run=_run_import)


def _add_bag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('bag', type=Path, help='rosbag2 folder, or .mcap or .db3 file')
    parser.add_argument(
        '--topic', default='',
        help='topic of the images (default: colour before depth, infrared and what a segmenter '
             'published; the log says which)',
    )


def _add_annotations(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--annotations', type=Path, required=True,
        help='JSON file of YouTube-VIS or OVIS, or folder of mask pictures as DAVIS has it',
    )
    add_skip_bad(parser)


def _add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('scores')
    group.add_argument(
        '--class-agnostic', action='store_true',
        help='take all classes as one, for a model with other classes than the annotations',
    )
    group.add_argument(
        '--identity-threshold', type=float, metavar='SCORE',
        help='tracks with a lower score count for the track AP only (default: none)',
    )


def _add_segmenter_arguments(
    parser: argparse.ArgumentParser, birth_threshold: float = 0.0, nms_threshold: float = 0.5,
    score_threshold: float = 0.05,
) -> None:
    parser.set_defaults(capacity=None)
    group = parser.add_argument_group('segmenter')
    group.add_argument('--model', default='stmask_lite', help='name or path of a model')
    group.add_argument('--device', default='auto', help='cpu, cuda or auto (default)')
    group.add_argument(
        '--precision', choices=('auto', 'float32', 'float16', 'bfloat16'), default='auto',
        help="of the network's weights and feature maps (default: auto, the fastest that the "
             'device has and the model is known to keep identities in)',
    )
    group.add_argument(
        '--engine', choices=('torch', 'onnxruntime', 'openvino', 'tensorrt'), default='torch',
        help='what computes the network of a frame (default: torch)',
    )
    group.add_argument(
        '--torch-threads', type=int, default=1, metavar='N',
        help='CPU threads of the network (default: 1). Another number can change the last bits of '
             'a score',
    )
    group.add_argument(
        '--score-threshold', type=float, default=score_threshold, metavar='SCORE',
        help=f'lowest score of an instance, 0 to 1 (default: {score_threshold:g})',
    )
    group.add_argument(
        '--birth-threshold', type=float, default=birth_threshold, metavar='SCORE',
        help='lowest score of a detection that starts a track, 0 to 1 (default: '
             f"{birth_threshold:g}; AP wants 0, the node's is 0.2)",
    )
    group.add_argument(
        '--nms-threshold', type=float, default=nms_threshold, metavar='IOU',
        help='of two detections that overlap more, the weaker is dropped, 0 to 1 (default: '
             f'{nms_threshold:g}; 0.5 as published, 0.4 in the node)',
    )
    group.add_argument(
        '--max-missed', type=int, metavar='FRAMES',
        help='frames in a row that a track is carried without a detection (default: as many as '
             'the model says)',
    )
    group.add_argument(
        '--retirement', choices=('missed', 'never'), default='missed',
        help="'missed' gives tracks up as the node does (default); 'never' keeps all, as the "
             'released code does',
    )


def _add_max_gap(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--max-gap', type=float, default=10.0, metavar='SECONDS',
        help='longest pause between the stamps of two images of one epoch (default: 10; 0: none)',
    )
