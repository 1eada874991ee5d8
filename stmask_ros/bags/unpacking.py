# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What bags hold in compressed form, unpacked no further than it may take of the memory."""

from __future__ import annotations

import lz4.frame
import zstandard

# Of one chunk or message, in bytes. The largest image that is taken has half as many.
MOST_UNPACKED = 2**30


class UnpackingError(Exception):
    """Data cannot be unpacked, or is more than it may be; the message says which."""


def unpacked_zstd(packed: bytes, most: int = MOST_UNPACKED) -> bytes:
    """Return what a frame of Zstandard holds, at most so many bytes; or UnpackingError."""
    try:
        if zstandard.frame_content_size(packed) > most:
            raise _too_much(most)
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=max(most, 1))
    except zstandard.ZstdError as error:
        raise UnpackingError(f'it cannot be unpacked to at most {most} bytes: {error}') from error


def unpacked_lz4(packed: bytes, most: int = MOST_UNPACKED) -> bytes:
    """Return what a frame of LZ4 holds, at most so many bytes; or UnpackingError."""
    unpacker = lz4.frame.LZ4FrameDecompressor()
    try:
        data = bytes(unpacker.decompress(packed, max_length=most))
    except RuntimeError as error:
        raise UnpackingError(f'it cannot be unpacked: {error}') from error
    if not unpacker.eof:
        raise _too_much(most) if len(data) >= most else UnpackingError('it is cut off')
    return data


def _too_much(most: int) -> UnpackingError:
    return UnpackingError(f'it unpacks to more than the {most} bytes that it may take')
