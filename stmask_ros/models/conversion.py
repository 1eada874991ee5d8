# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the official code, turned into the files that this package loads."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from stmask_ros.families import all as families
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import AnyFamily, Recognised
from stmask_ros.models.checkpoint import (
    ModelDescription,
    load_weights,
    read_description,
    read_weights,
    save_tensors,
)
from stmask_ros.models.official import official_checkpoint
from stmask_ros.models.verification import verify
from stmask_ros.output_files import check_free, whole_file
from stmask_ros.resources import share_directory

logger = logging.getLogger(__name__)

CLASS_LISTS = ('youtube_vis_2019', 'youtube_vis_2021', 'ovis')


def convert(
    checkpoint: Path, out: Path, configuration: str | None = None, classes: str | None = None,
    options: Mapping[str, Any] | None = None, overwrite: bool = False,
) -> ModelDescription:
    """
    Write out (.safetensors) and the .yaml beside it; return what the latter says.

    configuration: a name, or None to read it from the tensors. classes: the name of a list in
    model/, a file, or names with commas between; None to conclude them from the configuration,
    their number, or the name of an official file. options: of the configuration;
    those that the tensors do not tell. overwrite: an earlier model of that name. The network is
    verified before anything is written.
    Raises ModelError if the checkpoint is damaged or foreign, if its numbers are not finite, or
    if it leaves a choice open, listing the choices; OutputError if a file is in the way.
    """
    if out.suffix != '.safetensors':
        raise ModelError(f'{out}: expected a name that ends in .safetensors')
    if out.resolve() == checkpoint.resolve():
        raise ModelError(f'{out}: the checkpoint itself would be overwritten, give another name')
    _check_outputs(out, overwrite)
    saved = read_weights(checkpoint)
    family, recognised = recognise(saved, configuration)
    tensors = family.renamed(saved)
    name = recognised.configuration
    description = ModelDescription(
        name=out.stem, configuration=name, weights=out,
        options={**recognised.options, **(options or {})},
        classes=_class_names(
            classes or _official_classes(checkpoint, name), name, recognised.num_classes
        ),
        source=f'{checkpoint.name}, sha256 {_sha256(checkpoint)}', family=family.name,
    )
    network = family.build(description.config()).eval()
    load_weights(network, tensors)  # whatever does not fit, says so here
    verify(family, network)
    plain = {
        key: value.float() if value.is_floating_point() else value
        for key, value in tensors.items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as weights, whole_file(out.with_suffix('.yaml')) as text:
        save_tensors(weights, {key: value.contiguous().clone() for key, value in plain.items()})
        text.write_text(_text(description, _sha256(weights)), encoding='utf-8')
    return description


def recognise(
    tensors: Mapping[str, Tensor], configuration: str | None = None
) -> tuple[AnyFamily, Recognised]:
    """
    Return the family and configuration of a checkpoint's tensors.

    configuration: a name, if it is known. Raises ModelError if none fits, or several do.
    """
    answers = [_answer(family, tensors, configuration) for family in families.FAMILIES]
    for family, answer in zip(families.FAMILIES, answers, strict=True):
        if isinstance(answer, Recognised):
            return family, answer
    errors = [answer for answer in answers if isinstance(answer, ModelError)]
    # That several fit says more than that another family's do not.
    raise min(errors, key=lambda error: getattr(error, 'differences', -1))


def _answer(
    family: AnyFamily, tensors: Mapping[str, Tensor], configuration: str | None
) -> Recognised | ModelError:
    try:
        return family.recognise(family.renamed(tensors), configuration)
    except ModelError as error:
        return error


def _check_outputs(out: Path, overwrite: bool) -> None:
    check_free(out, overwrite)
    description = out.with_suffix('.yaml')
    check_free(description, overwrite)
    if description.exists():  # and not a YAML file of another kind
        read_description(description)


def _text(description: ModelDescription, sha256: str) -> str:
    assert description.weights is not None
    content = {
        'name': description.name, 'family': description.family,
        'configuration': description.configuration,
        'options': dict(description.options), 'classes': list(description.classes),
        'weights': description.weights.name, 'source': description.source, 'sha256': sha256,
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def _official_classes(checkpoint: Path, configuration: str) -> str | None:
    """Return the class list of the official file of this name, if the tensors agree with it."""
    official = official_checkpoint(checkpoint)
    if official is None:
        return None
    if configuration in (official.name, official.configuration):
        return official.classes
    logger.warning(
        '%s is named like an official checkpoint of %s, but its tensors are those of %s',
        checkpoint, official.name, configuration,
    )
    return None


def _class_names(classes: str | None, configuration: str, count: int) -> tuple[str, ...]:
    names = _read_names(classes or _class_list(configuration, count))
    if len(names) != count:
        raise ModelError(f'the checkpoint has {count} classes, {len(names)} names were given')
    return names


def _class_list(configuration: str, count: int) -> str:
    for suffix, name in (('_YTVIS2021', 'youtube_vis_2021'), ('_OVIS', 'ovis')):
        if configuration.endswith(suffix):
            return name
    fitting = [name for name in CLASS_LISTS if len(_read_names(name)) == count]
    if len(fitting) != 1:
        choices = ', '.join(fitting) or 'a file, or the names with commas between'
        raise ModelError(
            f'the checkpoint does not tell the names of its {count} classes, choose with '
            f'--classes: {choices}'
        )
    return fitting[0]


def _read_names(classes: str) -> tuple[str, ...]:
    path = Path(classes)
    if classes in CLASS_LISTS:
        path = share_directory() / 'model' / f'{classes}.txt'
    text = path.read_text(encoding='utf-8') if path.is_file() else classes.replace(',', '\n')
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
