# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which topic of a bag holds the pictures that somebody means who names none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from stmask_ros.bags.contents import (
    BagContents,
    BagError,
    bag_topics,
    foreign_topics,
    listing,
    open_bag,
)
from stmask_ros.bags.types import (
    COMPRESSED_IMAGE,
    IMAGES,
    INSTANCES,
    LABEL_INFO,
    VIDEO,
    deserialised,
)
from stmask_ros.images import ImageError, has_colour

_OUTPUTS = ('overlay', 'label_image')

# Words in the names of topics whose pictures were made for people or are no light that people
# see, though their encoding is that of a colour camera.
_ASIDE = re.compile(
    r'depth|dispar|infra|thermal|confidence|overlay|label|mask|segment|debug|annotat|heat_?map'
    r'|(^|[/_])ir\d*([/_]|$)|visuali')


class _Rank(IntEnum):
    """How likely somebody means a topic: the lowest first."""

    COLOUR = 0
    GREY = 1
    ASIDE = 2
    NO_PICTURE = 3
    OURS = 4
    EMPTY = 5


@dataclass(frozen=True)
class ImageTopic:
    """
    A topic of images that was chosen.

    others: the bag's other topics of images, in the order in which they would have been taken.
    """

    topic: str
    type_name: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        """Return what was taken and what else there is, for people."""
        rest = ', '.join(self.others)
        return f'{self.topic} (the bag also has {rest})' if rest else self.topic


def choose_image_topic(path: Path, wanted: str = '') -> ImageTopic:
    """
    Return a topic of images, raw, compressed or video: the wanted one, or the likeliest.

    Colour goes before grey, infrared and depth, what a segmenter published comes last, and among
    equals the names decide. Raises BagError if the bag has none, or not the wanted one.
    """
    topics = bag_topics(path)
    images = {name: kind for name, kind in topics.items() if kind in IMAGES}
    if wanted and wanted not in images:
        raise BagError(
            f'{wanted} is no topic of images in the bag {path}; it has {listing(topics)}; of '
            f'images it has {", ".join(images) or "none"}')
    ours = {name for name in images if _is_output(name, topics)}
    if not wanted and not images.keys() - ours:
        raise BagError(
            f'the bag {path} has no images ({" or ".join(IMAGES)}); it has '
            f'{listing(topics | foreign_topics(path))}')
    order = sorted(images) if len(images) == 1 else _by_rank(open_bag(path), images, ours)
    topic = wanted or order[0]
    return ImageTopic(topic, images[topic], tuple(name for name in order if name != topic))


def image_topic(path: Path, wanted: str = '') -> str:
    """Return the name of the topic that choose_image_topic takes; BagError as there."""
    return choose_image_topic(path, wanted).topic


def _is_output(topic: str, topics: Mapping[str, str]) -> bool:
    """Return whether a segmenter that was recorded, too, has published these pictures."""
    namespace, _, name = topic.removesuffix('/compressed').rpartition('/')
    return name in _OUTPUTS and any(
        topics.get(f'{place}/{beside}') == kind
        for place in (namespace, namespace.rpartition('/')[0])
        for beside, kind in (('instances', INSTANCES), ('label_info', LABEL_INFO))
    )


def _by_rank(bag: BagContents, images: Mapping[str, str], ours: set[str]) -> list[str]:
    ranks = {
        name: _Rank.OURS if name in ours else _rank(bag, name, kind)
        for name, kind in images.items()
    }
    return sorted(images, key=lambda name: (ranks[name], name))


def _rank(bag: BagContents, topic: str, type_name: str) -> _Rank:
    """Look at the first message of a topic, and at its name."""
    first = _first_message(bag, topic, type_name)
    if first is None:
        return _Rank.EMPTY
    try:
        # What a video shows, its first packet does not tell: cameras send colour.
        colour = type_name in VIDEO or has_colour(first, compressed=type_name == COMPRESSED_IMAGE)
    except ImageError:
        return _Rank.NO_PICTURE
    if _ASIDE.search(topic.lower()):
        return _Rank.ASIDE
    return _Rank.COLOUR if colour else _Rank.GREY


def _first_message(bag: BagContents, topic: str, type_name: str) -> Any:
    """Return the first message of a topic that is one; None if there is none."""
    try:
        for message in bag.messages([topic]):
            return deserialised(message.data, type_name)
    except Exception:  # whatever a broken file or message leads the parsers to
        return None
    return None
