# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A taught model on disk: description, weights, and a card that says where it came from."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import yaml

from stmask_ros.fingerprint import file_sha256
from stmask_ros.models.checkpoint import save_tensors
from stmask_ros.output_files import write_whole
from stmask_ros.teaching.material import Material
from stmask_ros.teaching.scoring import FrameScores
from stmask_ros.teaching.teacher import Taught


def write_model(folder: Path, taught: Taught, material: Material) -> Path:
    """Write NAME.safetensors, NAME.md and NAME.yaml, which a node loads; return the last."""
    description = taught.model.description
    weights = folder / f'{description.name}.safetensors'
    save_tensors(weights, {
        name: value.detach().cpu().half().contiguous()
        for name, value in taught.model.network.state_dict().items()
    })
    write_whole(weights.with_suffix('.md'), card(taught, material))
    write_whole(weights.with_suffix('.yaml'), yaml.safe_dump({
        'name': description.name,
        'family': description.family,
        'configuration': description.configuration,
        'options': dict(description.options),
        'classes': list(description.classes),
        'weights': weights.name,
        'tracker': dict(description.tracker),
        'source': f'{description.source}, see {description.name}.md',
        'sha256': file_sha256(weights),
    }, sort_keys=False, default_flow_style=None, width=98))
    return weights.with_suffix('.yaml')


def card(taught: Taught, material: Material) -> str:
    """Return the card, in Markdown."""
    before = taught.before
    rows = [f'| {" | ".join(row)} |' for row in summary(taught)]
    facts = (
        f'- made: {datetime.date.today().isoformat()}, by `stmask teach`, '
        f'{taught.iterations} iterations',
        f'- parent: {before.description.name}, weights of sha256 {before.digest}',
        f'- learned: {", ".join(taught.plan.learned)}',
        f'- data: {material.folder.name}, {len(material.frames)} labelled frames, annotations of '
        f'sha256 {file_sha256(material.folder / "annotations.json")}',
        f'- judged by: {taught.split.described(material)}',
    )
    return '\n'.join([
        f'# {taught.model.description.name}', '', *facts, '',
        'Mask AP [%] on the held-out frames, each by itself; the run was ended in view of it, so '
        'that on other frames it is rather less.', '',
        '| class | parent | this model |', '|---|---:|---:|', *rows, '',
        'Classes that are not in the table have no object in these frames. Their outputs are the '
        "parent's; masks were tuned towards the labelled objects.", '',
    ])


def _percent(scores: FrameScores, name: str) -> str:
    value = scores.by_class.get(name, float('nan'))
    return f'{100 * value:.1f}' if value == value else '-'


def summary(taught: Taught) -> Sequence[Sequence[str]]:
    """Return rows of class, AP before and AP after, in percent."""
    return [
        (name, _percent(taught.scores_before, name), _percent(taught.scores, name))
        for name in taught.scores.by_class
    ]
