# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""JSON decoded a few items at a time says what it says decoded at once."""

from itertools import chain
from typing import Any

import orjson
import pytest

from stmask_ros.evaluation.long_lists import LongList, in_blocks, load_document

MANY = [{'id': number, 'counts': list(range(number % 7)), 'at': {'x': None}}
        for number in range(40_000)]


def decoded(text: bytes, key: str | None) -> Any:
    """Return the document with all of its items."""
    document = load_document(text, key)
    if key is None:
        return list(chain.from_iterable(in_blocks(document)))
    items = list(chain.from_iterable(in_blocks(document[key])))
    return document | {key: items}


def test_a_long_list_comes_in_parts() -> None:
    """Under a key, whatever is before and after it, and as a document of its own."""
    text = orjson.dumps({'info': {'a': [{}]}, 'items': MANY, 'end': [{'b': 1}]})
    items = load_document(text, 'items')['items']
    assert isinstance(items, LongList)
    assert len(list(in_blocks(items))) > 3
    assert decoded(text, 'items') == orjson.loads(text)
    alone = orjson.dumps(MANY, option=orjson.OPT_INDENT_2)
    assert isinstance(load_document(alone), LongList)
    assert decoded(alone, None) == MANY


@pytest.mark.parametrize('name', [
    '{', '}', '}{', '{}', '}, {', '"}', '\\"}, {"', '\\', ']', '}]', '}]}', '{"items": [{}]}',
    '"items": [{', '\x7f', 'ä{',
])
@pytest.mark.parametrize('place', ['first', 'middle', 'last', 'before', 'after'])
def test_names_with_braces_do_not_mislead(name: str, place: str) -> None:
    """Neither in an item nor outside, though the spans are told by braces."""
    items = [{'n': 1, 'of': {'x': [2]}} for _ in range(5)]
    document: dict[str, Any] = {'before': '', 'items': items, 'after': ''}
    if place in document:
        document[place] = name
    else:
        items[{'first': 0, 'middle': 2, 'last': 4}[place]]['name'] = name
    for indent in (None, orjson.OPT_INDENT_2):
        text = orjson.dumps(document, option=indent)
        assert decoded(text, 'items') == document
        assert decoded(orjson.dumps(items, option=indent), None) == items


@pytest.mark.parametrize('document', [
    {'items': []}, {'items': [1, 2]}, {'items': [{}, 1]}, {'items': [[{}]]}, {'items': [{}]},
    {'a': {'items': [{'x': 1}]}, 'items': [{'y': 2}]}, {'a': {'items': [{'x': 1}]}, 'items': []},
    {'items': [{'items': [{'x': 1}]}]},
])
def test_other_lists_are_read_as_they_are(document: dict[str, Any]) -> None:
    """Empty, of numbers, and with the same key elsewhere."""
    assert decoded(orjson.dumps(document), 'items') == document


@pytest.mark.parametrize('document', [{'items': None}, {'items': {'a': 1}}, {}, [], [{}], 3, None])
def test_what_has_no_such_list_is_decoded(document: Any) -> None:
    """Also if it is no object at all."""
    assert load_document(orjson.dumps(document), 'items') == document


@pytest.mark.parametrize('text', [
    b'', b'{', b'{"items": [{"a": 1}', b'{"items": [{"a": 1}, ]}',
    b'{"items": [{"a": 1} {"a": 1}]}', b'{"items": [{"a": 1},, {"a": 1}]}',
    b'{"items": [{"a": }, {"a": 1}]}',
    b'{"items": [{"a": 1}, {"a": 01}]}', b'{"items": [{"a": 1}]]}', b'{"items": [{"a": 1}]} x',
    b'{"items": [{"a": "\xff"}]}',
])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """Wherever the mistake is, at the latest when its item is decoded."""
    with pytest.raises(orjson.JSONDecodeError):
        decoded(text, 'items')
    with pytest.raises(orjson.JSONDecodeError):
        decoded(text.removeprefix(b'{"items": ').removesuffix(b'}') or b'{', None)
