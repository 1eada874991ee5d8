# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Classes and their thresholds, changed under a running node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from lifecycle_msgs.msg import Transition
from segmenter_process import UNTRAINED, SegmenterProcess, image

from stmask_ros.msg import TrackedInstance, TrackedInstanceArray

NAMES = ['person', 'animal', 'vehicle', 'object']
TERMINATED = TrackedInstance.TERMINATED


@pytest.fixture(scope='module')
def process() -> Iterator[SegmenterProcess]:
    with SegmenterProcess('segmenter_classes', '-p', f'model:={UNTRAINED}') as segmenter:
        segmenter.activate()
        yield segmenter


@pytest.fixture
def segmenter(process: SegmenterProcess) -> Iterator[SegmenterProcess]:
    """Return the running node at the start of an epoch, with all classes on."""
    process.reset()
    yield process
    assert process.refusal(classes=[''], class_thresholds=['']) == ''


def classes(answer: TrackedInstanceArray) -> set[str]:
    """Return the names of the classes of those that live."""
    return {item.class_name for item in answer.instances if item.state != TERMINATED}


def most_common(answer: TrackedInstanceArray) -> str:
    return Counter(item.class_name for item in answer.instances).most_common(1)[0][0]


def test_a_class_switched_off_ends_its_tracks_and_no_others(segmenter: SegmenterProcess) -> None:
    segmenter.answer(image(1000))
    before = segmenter.answer(image(1033))
    off = most_common(before)
    others = [name for name in NAMES if name != off]
    assert segmenter.refusal(classes=others) == ''
    after = segmenter.answer(image(1066))
    assert after.epoch == before.epoch
    ended = {item.track_id for item in after.instances if item.state == TERMINATED}
    assert ended >= {item.track_id for item in before.instances if item.class_name == off}
    assert off not in classes(after)
    later = segmenter.answer(image(1100))
    assert not ended & {item.track_id for item in later.instances}
    assert segmenter.refusal(classes=['']) == ''
    again = segmenter.answer(image(1133))
    assert off in classes(again)
    assert not ended & {item.track_id for item in again.instances}


def test_classes_by_number_and_thresholds_by_class(segmenter: SegmenterProcess) -> None:
    name = most_common(segmenter.answer(image(1000)))
    assert segmenter.refusal(classes=[str(NAMES.index(name) + 1)]) == ''
    assert classes(segmenter.answer(image(1033))) == {name}
    assert segmenter.refusal(class_thresholds=[f'{name}: 1.0']) == ''
    segmenter.reset()
    assert classes(segmenter.answer(image(1066))) == set()


@pytest.mark.parametrize(('values', 'reason'), [
    ({'classes': ['persn']}, "classes: 'persn' is no class of the model, did you mean 'person'? "
     'It has 1 to 4: person, animal, vehicle, object'),
    ({'classes': ['person', '5']}, "classes: '5' is no class of the model."),
    ({'class_thresholds': ['animl: 0.4']}, "did you mean 'animal'?"),
    ({'class_thresholds': ['person']}, "'person' is no class with its threshold"),
    ({'class_thresholds': ['person: high']}, "such as 'person: 0.4'"),
    ({'class_thresholds': ['person: 1.5']}, 'person: 1.5 is outside 0 to 1'),
    ({'class_thresholds': ['person: nan']}, 'person: nan is outside 0 to 1'),
])
def test_what_is_no_class_is_refused_with_those_there_are(
    segmenter: SegmenterProcess, values: dict[str, list[str]], reason: str
) -> None:
    assert reason in segmenter.refusal(**values)
    assert classes(segmenter.answer(image(1000)))


def test_an_unknown_class_at_start_is_told_when_the_model_is_known() -> None:
    with SegmenterProcess(
        'unknown_class', '-p', f'model:={UNTRAINED}', '-p', 'classes:=[persn]',
    ) as segmenter:
        assert not segmenter.change_state(Transition.TRANSITION_CONFIGURE)
        assert "not configured: classes: 'persn' is no class of the model" in segmenter.log()
        assert segmenter.refusal(classes=['person']) == ''
        segmenter.activate()
        assert classes(segmenter.answer(image(1000))) <= {'person'}
