# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Label ten things over thirty frames as a newcomer does, in a real browser, and count the time.

    OMP_NUM_THREADS=1 python -m benchmark.labelling DATA --browser chromium

DATA holds davis/. Nine drawn things pass a camel, all with true masks. A thing is begun where it
is seen first, from where the program carries it on; then each picture is looked at, and what is
less right than a person lets pass is clicked, from where the program carries it on again. The
person takes the time of each action in real time, while the program may work; he waits for what
the page shows as on its way to his picture. Needs Playwright for Python.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmark.teach import video
from benchmark.teaching_scene import KINDS, Frame, Mask, Thing, labels_of, scene, thing, write
from stmask_ros.labelling.carries import coming_to
from stmask_ros.labelling.folder import LabelTrack, decoded, read_labels, write_labels
from stmask_ros.training.motion import wander

VIDEO, EVERY, FRAMES = 'camel', 3, 30
CLASSES = ('camel', *(KINDS[number % 3] for number in range(9)))
# Of an action of a person [s], more than it takes: a click, a key, a name that is written.
ACTION = 3.0
# In IoU: what a person lets pass; clicks spent on one mask; pixels of a thing that is worth any.
GOOD, PATIENCE, LEAST = 0.7, 4, 300
# The page is done when it has not been busy for so long [s].
QUIET = 0.3


@dataclass
class Person:
    """
    A newcomer at the page.

    clicks, keys: that were done. waited: for the program, beyond the time of an action [s].
    begun, free: when the first action began, and when the next one may [s].
    """

    page: Page
    folder: Path
    frames: Sequence[Frame]
    begun: float
    free: float
    here: int = 0
    clicks: int = 0
    keys: int = 0
    waited: float = 0.0

    def _take_time(self) -> None:
        time.sleep(max(self.free + ACTION - time.monotonic(), 0))

    def press(self, key: str) -> None:
        """Press a key, and wait."""
        self._take_time()
        self.keys += 1
        self.page.keyboard.press(key)
        self._wait()

    def click(self, x: float, y: float, inside: bool) -> None:
        """Click a pixel, and wait."""
        box = self.page.locator('#picture').bounding_box()
        assert box is not None
        height, width = self.frames[0].picture.shape[:2]
        self.page.mouse.move(
            box['x'] + (x + 0.5) * box['width'] / width,
            box['y'] + (y + 0.5) * box['height'] / height)
        self._press_button('left' if inside else 'right')
        self._wait()

    def _press_button(self, button: Literal['left', 'right'] = 'left') -> None:
        self._take_time()
        self.clicks += 1
        self.page.mouse.down(button=button)
        self.page.mouse.up(button=button)

    def _wait(self) -> None:
        """Wait until the page has answered."""
        self.free = self._wait_for_none('body.busy, #masks:not([data-picture])')

    def wait_for_masks(self) -> None:
        """Wait until all masks have come to the picture that is shown, and to the file."""
        if self.page.locator('#tracks li.coming').count():
            self.free = self._wait_for_none('#tracks li.coming')
        self._wait_for_file(lambda track: self.here in coming_to(track))

    def wait_for_all(self) -> None:
        """Wait until all masks have been carried on."""
        self._wait_for_file(coming_to)

    def _wait_for_file(self, is_coming: Callable[[LabelTrack], object]) -> None:
        start = time.monotonic()
        while any(map(is_coming, read_labels(self.folder).tracks)):
            self.free = time.monotonic()
        self.waited += max(self.free - start, 0)

    def _wait_for_none(self, selector: str) -> float:
        """Return when nothing was like this any more; now, if nothing is."""
        start = last = time.monotonic()
        while time.monotonic() - last < QUIET:
            if self.page.locator(selector).count():
                last = time.monotonic()
            time.sleep(0.01)
        self.waited += last - start
        return last

    def go(self, number: int) -> None:
        """Look at another picture."""
        if number == self.here:
            return
        self.page.locator('#pictures button').nth(number).hover()
        self._press_button()
        self.page.locator('#where', has_text=f'{number + 1} of ').wait_for()
        self.here = number
        self._wait()

    def choose(self, track: int) -> None:
        """Choose a thing in the list."""
        self.page.locator('#tracks li', has_text=re.compile(rf'#{track}\b')).hover()
        self._press_button()
        self._wait()

    def mask(self, track: int) -> Mask:
        """Return the mask that is shown of a thing, bool [H, W]."""
        found = [each for each in read_labels(self.folder).tracks if each.id == track]
        mask = found[0].masks[self.here] if found else None
        return np.zeros_like(self.frames[0].masks[0]) if mask is None else decoded(mask)

    def correct(self, track: int, row: int) -> None:
        """Click until the mask of the chosen thing is good, or patience ends."""
        truth = self.frames[self.here].masks[row]
        for _ in range(PATIENCE):
            mask = self.mask(track)
            if iou(mask, truth) >= GOOD:
                return
            self.click(*worst(mask, truth))

    def begin(self, row: int, name: str) -> int:
        """Name and click a thing where it is seen first; return its track."""
        self.go(next(n for n, f in enumerate(self.frames) if f.masks[row].sum() >= LEAST))
        self.press('n')
        self._take_time()
        self.keys += 1
        self.page.fill('#class', name)
        self.page.keyboard.press('Enter')
        self._wait()
        known = {track.id for track in read_labels(self.folder).tracks}
        truth = self.frames[self.here].masks[row]
        self.click(*worst(np.zeros_like(truth), truth))
        (track,) = {track.id for track in read_labels(self.folder).tracks} - known
        self.correct(track, row)
        return track

    def review(self, tracks: Sequence[int]) -> None:
        """Look at the picture, correct what is wrong, and say that it is done."""
        self.wait_for_masks()
        for row, track in enumerate(tracks):
            truth, mask = self.frames[self.here].masks[row], self.mask(track)
            if iou(mask, truth) >= GOOD or (truth.sum() < LEAST and not mask.any()):
                continue
            if truth.sum() >= LEAST:
                self.choose(track)
                self.correct(track, row)
            elif truth.sum() < LEAST / 3:
                self.choose(track)
                self.press('Delete')
        self.press('Enter')
        self.here = min(self.here + 1, len(self.frames) - 1)


def iou(first: Mask, second: Mask) -> float:
    """Return the overlap of two masks; 1 of two empty ones."""
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def worst(mask: Mask, truth: Mask) -> tuple[float, float, bool]:
    """Return the middle of what is most wrong, x and y, and whether it is of the thing."""
    missing, extra = (_middle(part) for part in (truth & ~mask, mask & ~truth))
    (depth, x, y), inside = (missing, True) if missing >= extra else (extra, False)
    assert depth > 0
    return x, y, inside


def _middle(part: Mask) -> tuple[float, int, int]:
    distance = cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return float(distance[y, x]), int(x), int(y)


def ten_things(data: Path) -> list[Frame]:
    """Return the frames, the camel's mask first."""
    pictures, masks = video(data, VIDEO)
    count = EVERY * FRAMES
    things = [_in_its_place(number, count) for number in range(9)]
    return list(scene(pictures[:count], masks[:count], things, 5))[::EVERY]


def _in_its_place(number: int, frames: int) -> Thing:
    rng = np.random.default_rng((7, number))
    left, top = 0.2 + 0.2 * (number % 3), 0.2 + 0.2 * (number // 3)
    return replace(
        thing(KINDS[number % 3], frames, 10 + number),
        place=wander(rng, frames, (left, top), (left + 0.2, top + 0.2), (0.08, 0.08)),
        side=wander(rng, frames, 45, 95, 15))


def started(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the program; return it and the page's address."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'stmask_ros.cli', 'label', str(folder)], text=True,
        stdout=subprocess.PIPE)
    assert process.stdout is not None
    found = re.search(r'http://\S+', process.stdout.readline())
    assert found is not None
    return process, found[0]


def tell(person: Person, tracks: Sequence[int]) -> None:
    """Print the figures, when all masks have been carried on."""
    person.wait_for_all()
    labels = read_labels(person.folder)
    overlaps = np.array([
        iou(decoded(mask), truth) if (mask := labels.track(track).masks[number]) else 0.0
        for row, track in enumerate(tracks) for number, frame in enumerate(person.frames)
        if (truth := frame.masks[row]).sum() >= LEAST])
    actions = person.clicks + person.keys
    seconds = person.free - person.begun
    sys.stdout.write(
        f'{person.clicks} clicks and {person.keys} keys at {ACTION:.0f} s, '
        f'{person.waited:.0f} s waited, {seconds - ACTION * actions - person.waited:.0f} s of the '
        f'person itself: {seconds / 60:.1f} minutes\n'
        f'{len(overlaps)} masks, mean IoU {overlaps.mean():.3f}, '
        f'{100 * (overlaps >= 0.5).mean():.0f} % at least 0.5\n')


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--browser', default='chromium', help='program (default: chromium)')
    parser.add_argument('--out', type=Path, help='folder to keep (default: none)')
    options = parser.parse_args()
    frames = ten_things(options.data)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = (options.out or Path(temporary)) / 'labels'
        write(folder, [frames], [labels_of(frames, CLASSES, ())])
        labels = read_labels(folder)
        write_labels(folder, replace(labels, tracks=()))
        process, address = started(folder)
        try:
            page = playwright.chromium.launch(
                executable_path=shutil.which(options.browser), timeout=300_000,
                args=['--no-sandbox']).new_page(viewport={'width': 1280, 'height': 720})
            page.set_default_timeout(300_000)
            page.goto(address)
            page.locator('#pictures button').nth(FRAMES - 1).wait_for()
            now = time.monotonic()
            person = Person(page, folder, frames, now, now)
            tracks = [person.begin(row, name) for row, name in enumerate(CLASSES)]
            tell(person, tracks)
            person.go(0)
            for _ in frames:
                person.review(tracks)
            tell(person, tracks)
            if options.out:
                page.screenshot(path=str(options.out / 'page.png'))
        finally:
            process.terminate()
            process.wait()


if __name__ == '__main__':
    main()
