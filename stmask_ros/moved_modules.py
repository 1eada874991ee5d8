# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Modules that have moved: their former names can be imported for one more release."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType

PACKAGE = 'stmask_ros'

# Former name and name, both below the package.
MOVED = {
    'clips': 'sources.built_in_clip',
    'cut_off_bags': 'bags.contents',
    'evaluation.bag_command': 'commands.eval_bag',
    'evaluation.chosen_segmenter': 'commands.chosen_segmenter',
    'evaluation.commands': 'commands.evaluation',
    'evaluation.dataset_command': 'commands.eval_dataset',
    'evaluation.json_command': 'commands.eval_json',
    'network.backbone': 'layers.backbone',
    'network.boxes': 'layers.boxes',
    'network.calibration': 'families.stmask.calibration',
    'network.checkpoint': 'models.checkpoint',
    'network.config': 'families.stmask.config',
    'network.conversion': 'models.conversion',
    'network.deformable': 'layers.deformable',
    'network.fpn': 'families.stmask.fpn',
    'network.heads': 'families.stmask.heads',
    'network.inference': 'families.stmask.inference',
    'network.layout': 'families.stmask.recognition',
    'network.official': 'models.official',
    'network.prototypes': 'families.stmask.prototypes',
    'network.sparse': 'layers.sparse',
    'network.stmask': 'families.stmask.network',
    'network.temporal_fusion': 'families.stmask.temporal_fusion',
    'network.verification': 'models.verification',
    'network.winograd': 'layers.winograd',
    'node.answerer': 'node.image_processor',
    'node.bag_annotation': 'commands.bag_annotate',
    'node.bag_source': 'sources.bag',
    'node.camera_info': 'camera.camera_info',
    'node.camera_node': 'camera.node',
    'node.camera_parameters': 'camera.parameters',
    'node.camera_topics': 'camera.topics',
    'node.demo': 'commands.demo',
    'node.detections_message': 'ros.detections_message',
    'node.image_messages': 'ros.image_messages',
    'node.launching': 'ros.launching',
    'node.mailbox': 'ros.mailbox',
    'node.messages': 'ros.messages',
    'node.parameter_server': 'ros.parameter_server',
    'node.picture_sources': 'sources.pictures',
    'node.process': 'ros.process',
    'node.publisher_advice': 'ros.publisher_advice',
    'node.qos': 'ros.qos',
    'node.receiver': 'ros.receiver',
    'node.recorder': 'ros.recorder',
    'node.sources': 'sources.opening',
    'node.throttle': 'ros.throttle',
    'node.transport': 'ros.transport',
    'overlay': 'views.overlay',
    'recording': 'bags.recording',
    'replay': 'tracking.replay',
    'tracking.association': 'families.stmask.association',
    'tracking.detection': 'families.stmask.detection',
    'tracking.follow': 'families.stmask.follow',
    'tracking.frame_step': 'families.stmask.frame_step',
    'tracking.masks': 'families.stmask.masks',
    'tracking.preprocess': 'families.stmask.preprocess',
    'tracking.captured': 'layers.captured',
    'tracking.report': 'families.stmask.host_tracks',
    'tracking.tracks': 'families.stmask.tracks',
    'training.command': 'commands.training',
    'training.loss_inputs': 'families.stmask.training.loss_inputs',
    'tracking.rows': 'layers.rows',
    'training.initialisation': 'families.stmask.training.initialisation',
    'training.pairs': 'training.clips',
    'training.losses': 'families.stmask.training.losses',
    'training.mask_losses': 'families.stmask.training.mask_losses',
    'training.step': 'families.stmask.training.step',
    'training.targets': 'families.stmask.training.targets',
    'training.temporal_losses': 'families.stmask.training.temporal_losses',
    'weights_command': 'commands.weights',
}
_FORMER_PACKAGES = {name.split('.')[0] for name in MOVED if '.' in name}


class MovedModuleFinder(MetaPathFinder, Loader):
    """Imports a module under its former name as the module that it is now."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for a former name, None for all others."""
        package, _, name = fullname.partition('.')
        if package != PACKAGE or (name not in MOVED and name not in _FORMER_PACKAGES):
            return None
        return ModuleSpec(
            fullname, self, origin=_file(name), is_package=name in _FORMER_PACKAGES)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module that the former name stands for; None for a former package."""
        name = spec.name.partition('.')[2]
        if name not in MOVED:
            return None
        new = f'{PACKAGE}.{MOVED[name]}'
        warnings.warn(f'{spec.name} is now {new}', DeprecationWarning, stacklevel=2)
        return importlib.import_module(new)

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the module of today, which `python -m` runs under a former name."""
        new = f'{PACKAGE}.{MOVED[fullname.partition(".")[2]]}'
        spec = find_spec(new)
        loader = spec.loader if spec else None
        return loader.get_code(new) if isinstance(loader, InspectLoader) else None

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module was imported under its name."""


def _file(former: str) -> str | None:
    """Return the file of a module, which `python -m` gives it as its name on the command line."""
    name = MOVED.get(former)
    return name and str(Path(__file__).parent / (name.replace('.', '/') + '.py'))


def install() -> None:
    """Let former names be imported, where no module of that name is found."""
    if not any(isinstance(finder, MovedModuleFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedModuleFinder())
