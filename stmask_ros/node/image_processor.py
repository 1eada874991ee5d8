# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What happens to each image of one camera: converted, admitted, published, or dropped."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.families.frames import Size
from stmask_ros.images import ImageError, NoPictureError, Picture, SeenSize
from stmask_ros.images.raw import Bgr
from stmask_ros.images.video import VideoImage
from stmask_ros.node.camera_look import CameraLook
from stmask_ros.node.health import HealthMonitor
from stmask_ros.node.outputs import Outputs
from stmask_ros.node.parameters import Parameters
from stmask_ros.node.selection_requests import SelectionRequests
from stmask_ros.node.tracing import Tracer
from stmask_ros.ros.mailbox import Mailbox, QueuedMessage
from stmask_ros.ros.messages import stamp_of
from stmask_ros.ros.throttle import LogThrottle
from stmask_ros.tracking.look import RegionError
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.stream import DuplicateImageError, Stream, StreamInput, StreamOutput

CameraMessage: TypeAlias = Image | CompressedImage | VideoImage
# With the size at which a picture is seen, or None for all there is; raises ImageError.
Convert: TypeAlias = Callable[[CameraMessage, SeenSize | None], Picture]

DEACTIVATED = 'deactivated'
DUPLICATE = 'repeated stamp'
OUTSIDE = 'region outside'


@dataclass(frozen=True)
class CameraPipeline:
    """
    What one camera's images pass through, from the mailbox to the topics.

    name: of the camera; '' for the only one. convert: turns a message into a picture, which may be
    smaller than the image: see stmask_ros.images.compressed_picture for seen_size. look: where
    objects are.
    """

    name: str
    mailbox: Mailbox[CameraMessage]
    convert: Convert
    seen_size: SeenSize
    stream: Stream
    outputs: Outputs
    health: HealthMonitor
    look: CameraLook
    selection: SelectionRequests

    def picture(self, message: CameraMessage, parameters: Parameters) -> Picture:
        """Return a message's picture, no finer than the network sees it; raises ImageError."""
        def seen_size(size: Size) -> Size:
            return self.look.at(parameters, size).wanted_size(self.seen_size)

        return self.convert(message, seen_size)


class ImageProcessor:
    """Answers one camera's images in the worker's thread. No image can make it raise."""

    def __init__(
        self, node: Node, camera: CameraPipeline, tracer: Tracer, stopped: Callable[[], bool]
    ) -> None:
        """Prepare; stopped: says whether the worker was told to stop."""
        self._node = node
        self._camera = camera
        self._tracer = tracer
        self._stopped = stopped
        self._log = LogThrottle(node.get_logger())
        self._of_camera = f' of {camera.name}' if camera.name else ''

    def admit(
        self, queued: QueuedMessage[CameraMessage], parameters: Parameters
    ) -> StreamInput | None:
        """Return what a step needs of a queued message; None if its image was dropped."""
        stage = 'conversion failed'
        stamp = stamp_of(queued.message.header)
        if stamp == 0:
            self._log.info('no stamp', (
                f'the images{self._of_camera} carry no stamp: time jumps and repeated images go '
                'unnoticed'
            ))
        try:
            with self._timed('conversion', queued):
                picture = self._camera.picture(queued.message, parameters)
                view = self._camera.look.at(parameters, picture.size)
            stage = 'segmentation failed'
            return self._camera.stream.admit(
                picture.pixels, stamp, parameters.max_gap, view=view)
        except RegionError as error:
            self._camera.mailbox.drop(OUTSIDE)
            self._camera.health.failed(str(error))
            self._log.warning(OUTSIDE, f'image{self._of_camera} dropped: {error}')
        except DuplicateImageError as error:
            self._camera.mailbox.drop(DUPLICATE)
            self._log.info(DUPLICATE, f'image{self._of_camera} dropped: {error}')
        except ImageError as error:
            self._camera.mailbox.drop(error.reason)
            if not isinstance(error, NoPictureError):
                self._camera.health.failed(str(error))
            self._log.warning(error.reason, f'image{self._of_camera} dropped: {error}')
        except Exception as error:
            self._fail(stage, error)
        return None

    def publish(
        self,
        queued: QueuedMessage[CameraMessage],
        outcome: StreamOutput | Exception,
        parameters: Parameters,
    ) -> FrameResult | None:
        """Publish the outcome of a step; None if the image was dropped after all."""
        if isinstance(outcome, Exception):
            self._fail('segmentation failed', outcome)
            return None
        if outcome.interruption:
            self._log.warning('new epoch', (
                f'epoch {outcome.result.epoch}{self._of_camera} begins, track ids start again: '
                f'{outcome.interruption}'
            ))
        result = outcome.result
        try:
            with self._timed(
                'publication', queued, epoch=result.epoch, sequence=result.sequence
            ):
                self._publish(queued, result, parameters)
        except Exception as error:
            self._fail('publishing failed', error)
            return None
        self._camera.mailbox.finish()
        return result

    def select(
        self, queued: QueuedMessage[CameraMessage], result: FrameResult, parameters: Parameters
    ) -> None:
        """Tell of chosen objects. The image is answered already: failing here costs them alone."""
        camera = self._camera
        try:
            camera.selection.advance(
                result, queued.message.header, camera.stream.appearance, parameters,
                camera.outputs.written(parameters),
            )
        except Exception:
            if not self._stopped():
                camera.health.view_failed()
                self._log.error('selection', (
                    f'chosen objects{self._of_camera} not told of:\n{traceback.format_exc()}'
                ))

    def show(
        self, queued: QueuedMessage[CameraMessage], admitted: StreamInput, result: FrameResult
    ) -> None:
        """Publish the views. The image is answered already: failing here costs them alone."""
        try:
            if self._camera.outputs.has_viewers():
                with self._timed('views', queued):
                    self._camera.outputs.publish_views(
                        result, partial(self._whole_image, queued, admitted), queued.message.header
                    )
        except Exception:
            if not self._stopped():
                self._camera.health.view_failed()
                self._log.error('views', (
                    f'not all views{self._of_camera} published:\n{traceback.format_exc()}'
                ))

    def note(
        self,
        stage: str,
        queued: QueuedMessage[CameraMessage],
        begin_ns: int,
        end_ns: int,
        **details: int,
    ) -> None:
        """Note when a message was in a stage of the work [ns, steady clock], for the trace."""
        self._camera.health.took(stage, end_ns - begin_ns)
        stamp = stamp_of(queued.message.header)
        self._tracer.span(stage, begin_ns, end_ns, {
            'camera': self._camera.name, 'stamp': stamp, 'image': queued.number, **details,
        })

    def abandon(self) -> None:
        """Drop an image whose step ended after the worker was told to stop."""
        self._camera.mailbox.drop(DEACTIVATED)

    @contextmanager
    def _timed(
        self, stage: str, queued: QueuedMessage[CameraMessage], **details: int
    ) -> Iterator[None]:
        begin = time.monotonic_ns()
        try:
            yield
        finally:
            self.note(stage, queued, begin, time.monotonic_ns(), **details)

    def _whole_image(self, queued: QueuedMessage[CameraMessage], admitted: StreamInput) -> Bgr:
        if admitted.image.shape[:2] == admitted.size:
            return admitted.image
        return self._camera.convert(queued.message, None).pixels

    def _publish(
        self, queued: QueuedMessage[CameraMessage], result: FrameResult, parameters: Parameters
    ) -> None:
        header = queued.message.header
        self._camera.selection.remember(header, queued.received_ns, result)
        since_receipt = self._camera.outputs.publish_instances(
            result, header, queued.skipped, queued.received_ns, parameters
        )
        stamp = stamp_of(header)
        since_stamp = self._node.get_clock().now().nanoseconds - stamp if stamp else None
        self._camera.health.processed(since_receipt, since_stamp, len(result), result.epoch)

    def _fail(self, stage: str, error: Exception) -> None:
        # Whatever goes wrong while the node shuts down is the shutdown's doing.
        if self._stopped():
            self.abandon()
            return
        self._camera.mailbox.drop(stage)
        self._camera.health.failed(f'{stage}: {error}')
        details = ''.join(traceback.format_exception(error))
        self._log.error(stage, f'image{self._of_camera} dropped, {stage}:\n{details}')
