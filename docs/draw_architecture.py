# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Draws docs/architecture.svg from the imports of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'stmask_ros'
DRAWING = ROOT / 'docs' / 'architecture.svg'

WIDTH, ROOM_WIDTH, ROOM_HEIGHT, FLOOR_HEIGHT, MARGIN = 1100, 118, 34, 84, 30


def rooms() -> dict[str, list[Path]]:
    """Return the modules of each room: a folder of the package, or a module beside the folders."""
    found: dict[str, list[Path]] = {}
    for module in sorted(PACKAGE.rglob('*.py')):
        name = module.relative_to(PACKAGE).parts[0].removesuffix('.py')
        if module.name != '__main__.py' and name not in ('__init__', 'moved_modules', 'msg'):
            found.setdefault(name, []).append(module)
    return found


def imported_rooms(module: Path) -> Iterator[str]:
    """Yield the room of every import of the package's own modules."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('stmask_ros.'):
            yield str(node.module).split('.')[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split('.')[1] for a in node.names
                        if a.name.startswith('stmask_ros.'))


def arrows(modules: dict[str, list[Path]]) -> set[tuple[str, str]]:
    """Return the pairs of rooms of which the first imports from the second."""
    return {
        (room, other)
        for room, files in modules.items() for file in files for other in imported_rooms(file)
        if other != room and other in modules
    }


def floors(modules: dict[str, list[Path]], links: set[tuple[str, str]]) -> dict[str, int]:
    """Return the floor of each room, one above the highest that it imports; ValueError if none."""
    level = dict.fromkeys(modules, 0)
    for _ in modules:
        for room, other in links:
            level[room] = max(level[room], level[other] + 1)
    if max(level.values()) >= len(modules):
        raise ValueError(f'rooms import each other in a circle: {sorted(links)}')
    return level


def drawing() -> str:
    """Return the picture as SVG text: rooms on their floors, an arrow for each kind of import."""
    modules = rooms()
    links = arrows(modules)
    level = floors(modules, links)
    top = max(level.values())
    places: dict[str, tuple[float, float]] = {}
    for floor in range(top + 1):
        row = sorted(room for room in modules if level[room] == floor)
        step = WIDTH / (len(row) + 1)
        for index, room in enumerate(row):
            places[room] = (step * (index + 1), MARGIN + FLOOR_HEIGHT * (top - floor))
    height = 2 * MARGIN + FLOOR_HEIGHT * top + ROOM_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#5a6b7b"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *(_arrow(places[room], places[other]) for room, other in sorted(links)),
        *(_room(room, places[room]) for room in sorted(modules)),
        '</svg>',
    ]
    return '\n'.join(parts) + '\n'


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    y1 += ROOM_HEIGHT
    bend = (y1 + y2) / 2
    return (
        f'<path d="M{x1:.0f} {y1:.0f}C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {y2:.0f}" '
        'fill="none" stroke="#5a6b7b" stroke-opacity="0.6" marker-end="url(#tip)"/>'
    )


def _room(name: str, place: tuple[float, float]) -> str:
    x, y = place[0] - ROOM_WIDTH / 2, place[1]
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{ROOM_WIDTH}" height="{ROOM_HEIGHT}" rx="6" '
        f'fill="#eaf2fb" stroke="#2b5d8c"/><text x="{place[0]:.0f}" y="{y + 22:.0f}" '
        f'text-anchor="middle" fill="#12324f">{name}</text>'
    )


if __name__ == '__main__':
    DRAWING.write_text(drawing())
