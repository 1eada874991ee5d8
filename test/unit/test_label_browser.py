# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The page to label on, and the one of a report, in a real browser.

Needs Playwright for Python, and Chromium: on the path, or named by STMASK_TEST_BROWSER.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from annotated_clip import crossing_shapes, write_bag
from test_label_carries import Steps
from test_label_page import serving, started
from test_report_command import UNTRAINED

from stmask_ros.cli import main
from stmask_ros.evaluation.dataset import Category
from stmask_ros.labelling.folder import LabelFrame, Labels, LabelVideo, read_labels, write_labels
from stmask_ros.sources.built_in_clip import BuiltInClip

sync_api = pytest.importorskip('playwright.sync_api', reason='Playwright is not installed')
BROWSER = os.environ.get('STMASK_TEST_BROWSER') or next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason='no Chromium is at hand: name one by STMASK_TEST_BROWSER')
SIZES = ((640, 360), (3840, 2160))


def make_folder(folder: Path, size: tuple[int, int], count: int) -> Path:
    """Write a folder with frames of the built-in clip, without labels."""
    width, height = size
    (folder / 'images').mkdir()
    frames = []
    clip = BuiltInClip()
    for number in range(count):
        name = f'{number:06d}.jpg'
        picture = cv2.resize(clip.frame(number / 10), (width, height))
        cv2.imwrite(str(folder / 'images' / name), picture)
        frames.append(LabelFrame(name))
    write_labels(folder, Labels(
        (LabelVideo(1, height, width, tuple(frames)),), (Category(1, 'cup'),), ()))
    return folder


@pytest.fixture(params=SIZES, ids=lambda size: f'{size[0]}x{size[1]}')
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder with two pictures."""
    return make_folder(tmp_path, request.param, 2)


@pytest.fixture
def page() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=['--no-sandbox', '--no-zygote', '--single-process'])
        page = browser.new_page(viewport={'width': 1280, 'height': 720})
        page.set_default_timeout(300_000)
        errors: list[str] = []
        page.on('pageerror', lambda error: errors.append(str(error)))
        yield page
        assert not errors
        browser.close()


def settled(folder: Path) -> Labels:
    """Wait until no mask is on its way, and return the labels."""
    labels = read_labels(folder)
    while any(track.carrying for track in labels.tracks):
        time.sleep(0.05)
        labels = read_labels(folder)
    return labels


def saved(page: Any) -> None:
    """Wait until the last action is answered."""
    page.locator('body:not(.busy) #message', has_text='saved').wait_for()


def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Return a place of the picture, by fractions, on the screen."""
    box = page.locator('#picture').bounding_box()
    return box['x'] + x * box['width'], box['y'] + y * box['height']


def test_a_person_labels_two_pictures(folder: Path, page: Any) -> None:
    """By mouse and keyboard: click, correct, carry, undo, finish; the server dies on the way."""
    process, address = started(folder, 'stmask_lite')
    try:
        page.goto(address)
        page.locator('#pictures button').nth(1).wait_for()
        page.fill('#class', 'mug')
        page.keyboard.press('Enter')
        page.mouse.click(*at(page, 0.33, 0.55))
        saved(page)
        (track,) = settled(folder).tracks
        assert all(track.masks)
        assert track.carried == {1}
        page.mouse.click(*at(page, 0.9, 0.1), button='right')
        saved(page)
        page.keyboard.press('ArrowRight')
        page.locator('#where', has_text='2 of 2').wait_for()
        page.locator('#masks path.carried').wait_for()
        page.keyboard.press('Delete')
        saved(page)
        assert read_labels(folder).tracks[0].masks[1] is None
        page.keyboard.press('u')
        saved(page)
        assert all(settled(folder).tracks[0].masks)
        page.keyboard.press('ArrowLeft')
        page.locator('#where', has_text='1 of 2').wait_for()
        page.keyboard.press('c')
        page.locator('#where', has_text='2 of 2').wait_for()
        assert all(settled(folder).tracks[0].masks)
        page.keyboard.press('n')
        start, end = at(page, 0.55, 0.1), at(page, 0.9, 0.9)
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=4)
        page.mouse.up()
        saved(page)
        assert len(read_labels(folder).tracks) == 2
        page.keyboard.press('Enter')
        page.locator('#pictures button.labelled').wait_for()
        before = read_labels(folder)
        process.kill()
        process.wait()
        page.keyboard.press('u')
        page.locator('#message', has_text='start stmask label again').wait_for()
    finally:
        process.kill()
        process.wait()
    process, address = started(folder, 'stmask_lite')
    try:
        page.goto(address)
        page.locator('#pictures button.labelled').wait_for()
        assert page.locator('#tracks li').count() == 2
        assert read_labels(folder) == before
        if shots := os.environ.get('STMASK_TEST_SCREENSHOTS'):
            page.locator('#masks path').first.wait_for()
            page.screenshot(path=f'{shots}/{folder.name}.png')
    finally:
        process.kill()
        process.wait()


def test_masks_appear_when_they_have_come(tmp_path: Path, page: Any) -> None:
    """A person goes ahead of a mask, which comes to the picture that is looked at by itself."""
    folder, steps = make_folder(tmp_path, SIZES[0], 4), Steps()
    with serving(folder, steps) as server:
        try:
            page.goto(server.address)
            page.locator('#pictures button').nth(3).wait_for()
            page.fill('#class', 'mug')
            page.keyboard.press('Enter')
            page.mouse.click(*at(page, 0.33, 0.55))
            saved(page)
            page.locator('#pictures button').nth(3).click()
            page.locator('#tracks li.coming', has_text='on its way').wait_for()
            assert page.locator('#masks path').count() == 0
            page.keyboard.press('Enter')
            page.locator('#message', has_text='still on its way to this picture').wait_for()
            steps.let_all()
            page.locator('#masks path.carried').wait_for()
            assert page.locator('#tracks li.coming').count() == 0
            assert settled(folder).tracks[0].carried == {1, 2, 3}
            page.keyboard.press('Enter')
            page.locator('#pictures button.labelled').wait_for()
        finally:  # else a failure waits for what is on its way
            steps.let_all()


def test_a_report_shows_all_its_pictures_side_by_side(tmp_path: Path, page: Any) -> None:
    write_bag(tmp_path / 'bag', crossing_shapes('shapes', 8, 1))
    assert main(['report', UNTRAINED, 'stmask_lite', str(tmp_path / 'bag'), '--out',
                 str(tmp_path / 'page.html'), '--device', 'cpu']) == 0
    page.goto((tmp_path / 'page.html').as_uri())
    pictures = page.locator('img').all()
    assert len(pictures) == 2 * 2
    assert all(picture.evaluate('image => image.naturalWidth') > 0 for picture in pictures)
    boxes = [picture.bounding_box() for picture in pictures]
    for before, after in zip(boxes[::2], boxes[1::2], strict=True):
        assert before['y'] == after['y']
        assert before['x'] + before['width'] < after['x']
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
