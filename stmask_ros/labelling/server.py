# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The page on which people label, served to browsers of this machine alone.

Every address begins with a token that only the person who started the program knows; a request
that names another host, as one by DNS rebinding does, is refused.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

from stmask_ros.evaluation.annotations import picture_name
from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.evaluation.records import Record
from stmask_ros.labelling.carries import coming_to
from stmask_ros.labelling.editor import Editor
from stmask_ros.labelling.exchange import masks_at
from stmask_ros.labelling.folder import IMAGES, decoded
from stmask_ros.labelling.outlines import polygons_of
from stmask_ros.labelling.proposal import Click

_LOGGER = logging.getLogger(__name__)
_PAGE = {
    '': ('index.html', 'text/html; charset=utf-8'),
    'label.js': ('label.js', 'text/javascript; charset=utf-8'),
    'label.css': ('label.css', 'text/css; charset=utf-8'),
}
_JSON = 'application/json'
_LONGEST_BODY = 1 << 16
_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"


class LabelServer(ThreadingHTTPServer):
    """A server on the loopback address; address: of the page, with its token."""

    daemon_threads = True

    def __init__(self, folder: Path, editor: Editor, port: int = 0) -> None:
        """port: 0 for any that is free. Raises OSError if it is taken."""
        super().__init__(('127.0.0.1', port), _Handler)
        self.folder = folder
        self.editor = editor
        self.token = secrets.token_urlsafe(24)
        self.hosts = {f'{name}:{self.server_port}' for name in ('127.0.0.1', 'localhost')}

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f'http://127.0.0.1:{self.server_port}/{self.token}/'


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    protocol_version = 'HTTP/1.1'
    timeout = 60

    def do_GET(self) -> None:
        """Answer with the page, a picture, or what is labelled."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Do something to the labels."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing of each request: addresses hold the token."""

    def _answer(self, respond: Any) -> None:
        path = self._allowed_path()
        if path is None:
            self._send(HTTPStatus.FORBIDDEN, b'open the address that stmask label printed')
            return
        try:
            respond(path)
        except (DatasetError, ValueError) as error:
            text = json.dumps({'error': str(error)}).encode()
            self._send(HTTPStatus.BAD_REQUEST, text, _JSON)
        except Exception as error:  # whatever a model or a disk leads to, the page tells
            _LOGGER.exception('a request failed')
            text = json.dumps({'error': f'not saved: {error}'}).encode()
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, text, _JSON)

    def _allowed_path(self) -> str | None:
        """Return what is asked for, behind the token; None if this is not to be answered."""
        _, _, rest = self.path.partition('/')
        token, slash, path = rest.partition('/')
        origin = self.headers.get('Origin')
        is_ours = self.headers.get('Host') in self.server.hosts and (
            origin is None or origin.removeprefix('http://') in self.server.hosts)
        known = hmac.compare_digest(token.encode(), self.server.token.encode())
        return path if is_ours and known and slash else None

    def _get(self, path: str) -> None:
        if path in _PAGE:
            name, kind = _PAGE[path]
            content = files('stmask_ros.labelling').joinpath('page', name).read_bytes()
            self._send(HTTPStatus.OK, content, kind)
        elif path == 'labels':
            with self.server.editor.turn:
                self._send_json(overview(self.server.editor))
        elif path.startswith('picture/'):
            self._send_picture(_number(path))
        elif path.startswith('masks/'):
            with self.server.editor.turn:
                self._send_json(outlines(self.server.editor, _number(path)))
        else:
            self._send(HTTPStatus.NOT_FOUND, b'there is no such page')

    def _send_picture(self, number: int) -> None:
        # Named by its number alone: no path comes from the browser.
        picture = self.server.editor.picture(number)
        folder = self.server.folder / IMAGES
        path = (folder / picture_name(folder, picture.file_name)).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise DatasetError(f'{picture.file_name} leads out of the folder')
        self._send(HTTPStatus.OK, path.read_bytes(), f'image/{path.suffix[1:].lower()}'.replace(
            'jpg', 'jpeg'))

    def _post(self, path: str) -> None:
        length = int(self.headers.get('Content-Length') or 0)
        fits = 0 < length <= _LONGEST_BODY
        if path != 'do' or self.headers.get('Content-Type') != _JSON or not fits:
            self._send(HTTPStatus.BAD_REQUEST, b'expected a short JSON object for do')
            return
        wish = Record(json.loads(self.rfile.read(length)), 'request')
        with self.server.editor.turn:
            self._send_json(done(self.server.editor, wish) | {
                'labels': overview(self.server.editor)})

    def _send_json(self, content: Any) -> None:
        self._send(HTTPStatus.OK, json.dumps(content).encode(), _JSON)

    def _send(self, status: HTTPStatus, body: bytes, kind: str = 'text/plain') -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Cache-Control', 'no-store')
        self.send_header('Content-Security-Policy', _POLICY)
        self.send_header('Referrer-Policy', 'no-referrer')
        self.send_header('X-Content-Type-Options', 'nosniff')
        if status is not HTTPStatus.OK:  # a body that was not read is no request
            self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(body)


def _number(path: str) -> int:
    text = path.partition('/')[2]
    if not text.isdecimal() or len(text) > 9:
        raise DatasetError('expected the number of a picture')
    return int(text)


def overview(editor: Editor) -> dict[str, Any]:
    """Return what the page shows beside the picture."""
    labels = editor.labels
    frames = [frame for video in labels.videos for frame in video.frames]
    shown = [masks_at(labels, picture) for picture in editor.pictures]
    return {
        'pictures': [
            {'name': picture.file_name, 'width': picture.width, 'height': picture.height,
             'video': picture.video_id, 'labelled': frame.is_labelled, 'reason': frame.reason}
            for picture, frame in zip(editor.pictures, frames, strict=True)
        ],
        'classes': [each.name for each in labels.categories],
        'tracks': [
            {'id': track.id, 'class': labels.category(track.category_id).name,
             'video': track.video_id,
             'pictures': [number for number, masks in enumerate(shown) if track.id in masks],
             'coming': [number for number, picture in enumerate(editor.pictures)
                        if picture.video_id == track.video_id and picture.frame in frames]}
            for track in labels.tracks for frames in [coming_to(track)]
        ],
        'trouble': editor.trouble,
    }


def outlines(editor: Editor, number: int) -> list[dict[str, Any]]:
    """Return the masks of a picture as polygons, x and y in pixels."""
    masks = masks_at(editor.labels, editor.picture(number))
    return [
        {'track': track_id, 'carried': editor.is_carried(number, track_id), 'polygons': [
            part.round(1).tolist() for part in polygons_of(decoded(mask))]}
        for track_id, mask in masks.items()
    ]


def done(editor: Editor, wish: Record) -> dict[str, Any]:
    """Do what the page asks for; return the track or picture that it is about now."""
    action = wish.text('action')
    if action == 'undo':
        editor.undo()
        return {}
    if action == 'rename':
        editor.rename(wish.integer('track'), wish.text('class'))
        return {}
    number = wish.integer('picture')
    if action == 'mark':
        editor.mark(number, wish.values.get('labelled') is True)
        return {}
    if action == 'remove':
        editor.remove(number, wish.integer('track'))
        return {}
    if action == 'carry':
        return {'picture': editor.carry(number, wish.integer('track'))}
    track = wish.integer('track') if wish.has('track') else None
    if action == 'box':
        left, top, right, bottom = (wish.number(n) for n in ('left', 'top', 'right', 'bottom'))
        return {'track': editor.draw_box(
            number, track, (left, top, right, bottom), wish.text('class'))}
    if action == 'click':
        click = Click(wish.number('x'), wish.number('y'), wish.values.get('inside') is True)
        return {'track': editor.click(number, track, click, wish.text('class'))}
    raise DatasetError(f'{action}: no such action')
