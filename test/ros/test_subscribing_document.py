# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The subscriber that docs/subscribing.md shows hears a running segmenter."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from segmenter_process import UNTRAINED, SegmenterProcess, image

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'subscribing.md'


@pytest.fixture(scope='module')
def segmenter() -> Iterator[SegmenterProcess]:
    """Return an active node."""
    with SegmenterProcess('documented', '-p', f'model:={UNTRAINED}') as node:
        node.activate()
        yield node


def block(language: str) -> str:
    """Return the first code block of a language."""
    found = re.search(rf'^```{language}\n(.*?)^```', DOCUMENT.read_text(), re.S | re.M)
    assert found is not None
    return found[1]


def test_the_python_subscriber_prints_confirmed_tracks(
    segmenter: SegmenterProcess, tmp_path: Path
) -> None:
    program, log = tmp_path / 'listener.py', tmp_path / 'log'
    program.write_text(block('python').replace('/segmenter/', f'/{segmenter.name}/'))
    with log.open('w') as output:
        listener = subprocess.Popen([sys.executable, str(program)], stdout=output, stderr=output)
    try:
        segmenter.spin_until(
            lambda: segmenter.client.count_subscribers(f'/{segmenter.name}/instances') >= 2,
            'the listener',
        )
        # Discovered is not connected yet: what comes before that is lost.
        stamps = itertools.count(1000, 40)
        segmenter.spin_until(
            lambda: bool(segmenter.answer(image(next(stamps)))) and ' pixels' in log.read_text(),
            'a line of the listener',
        )
    finally:
        listener.kill()
        listener.wait()
    printed = log.read_text()
    assert 'Traceback' not in printed
    assert re.search(r'\d+-\d+ .* [01]\.\d\d, \d+ pixels', printed)


def test_the_table_has_the_quality_of_service_of_every_output(
    segmenter: SegmenterProcess
) -> None:
    rows = re.findall(r'^\| `(~/[^|]*)` \| ([a-z ]+) \| ([a-z ]+) \| \d+ \|$',
                      DOCUMENT.read_text(), re.M)
    told = {name.replace('~', f'/{segmenter.name}'): (reliability, durability)
            for names, reliability, durability in rows for name in names.split('`, `')}
    own = f'/{segmenter.name}/'

    def published() -> set[str]:
        """Return the node's outputs, without what rcl publishes of states and actions."""
        topics = segmenter.client.get_publisher_names_and_types_by_node(segmenter.name, '/')
        return {topic for topic, _ in topics if topic.startswith(own)
                and not topic.endswith(('/transition_event', '/feedback', '/status'))}

    segmenter.spin_until(lambda: f'{own}class_image' in published(), 'the topics')
    # Those of messages that are not installed are told and not published.
    assert published() <= set(told)
    reliable = {ReliabilityPolicy.RELIABLE: 'reliable',
                ReliabilityPolicy.BEST_EFFORT: 'best effort'}
    durable = {DurabilityPolicy.VOLATILE: 'volatile',
               DurabilityPolicy.TRANSIENT_LOCAL: 'transient local'}
    for topic in published():
        for publisher in segmenter.client.get_publishers_info_by_topic(topic):
            assert reliable[publisher.qos_profile.reliability] == told[topic][0]
            assert durable[publisher.qos_profile.durability] == told[topic][1]
