"""The thread that answers images: take, convert, step, publish. No image can stop it."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.images import ImageError
from stmask_ros.node.health import HealthMonitor
from stmask_ros.node.mailbox import Letter, Mailbox
from stmask_ros.node.messages import stamp_of
from stmask_ros.node.outputs import Outputs
from stmask_ros.node.parameters import Parameters
from stmask_ros.node.throttle import LogThrottle
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.stream import DuplicateImageError, Stream

CameraMessage: TypeAlias = Image | CompressedImage
Convert: TypeAlias = Callable[[CameraMessage], npt.NDArray[np.uint8]]

DEACTIVATED = 'deactivated'
DUPLICATE = 'repeated stamp'


class Worker:
    """Answers the messages of a mailbox, one after the other, in a thread of its own."""

    def __init__(
        self,
        node: Node,
        mailbox: Mailbox[CameraMessage],
        convert: Convert,
        stream: Stream,
        outputs: Outputs,
        health: HealthMonitor,
        parameters: Callable[[], Parameters],
    ) -> None:
        """
        Prepare; start() starts.

        convert: turns a message into a BGR image, or raises ImageError.
        parameters: returns the values in force, asked anew for every image.
        """
        self._node = node
        self._mailbox = mailbox
        self._convert = convert
        self._stream = stream
        self._outputs = outputs
        self._health = health
        self._parameters = parameters
        self._log = LogThrottle(node.get_logger())
        self._stopping = threading.Event()
        # A step can take seconds and cannot be interrupted: it must not hold up the process's end.
        self._thread = threading.Thread(target=self._run, name='segmenter', daemon=True)

    def start(self) -> None:
        """Start answering."""
        self._mailbox.open()
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """
        Stop answering: what waits is dropped, and so is what is in work.

        Returns whether the thread ended within `timeout` [s]; if not, it ends with its step, and
        its result is dropped.
        """
        self._stopping.set()
        self._mailbox.close(DEACTIVATED)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped():
            letter = self._mailbox.take()
            if letter is not None:
                self._answer(letter)

    def _stopped(self) -> bool:
        return self._stopping.is_set() or not self._node.context.ok()

    def _answer(self, letter: Letter[CameraMessage]) -> None:
        stage = 'conversion failed'
        parameters = self._parameters()
        try:
            image = self._convert(letter.message)
            stage = 'segmentation failed'
            result = self._segment(letter.message, image, parameters)
            if self._stopped():
                self._mailbox.drop(DEACTIVATED)
                return
            stage = 'publishing failed'
            self._publish(letter, result, parameters)
        except DuplicateImageError as error:
            self._mailbox.drop(DUPLICATE)
            self._log.info(DUPLICATE, f'image dropped: {error}')
        except ImageError as error:
            self._mailbox.drop(error.reason)
            self._health.failed(str(error))
            self._log.warning(error.reason, f'image dropped: {error}')
        except Exception as error:
            self._fail(stage, error)
        else:
            self._mailbox.finish()
            self._show(letter.message, image, result)

    def _segment(
        self, message: CameraMessage, image: npt.NDArray[np.uint8], parameters: Parameters
    ) -> FrameResult:
        stamp = stamp_of(message.header)
        if stamp == 0:
            self._log.info('no stamp', (
                'the images carry no stamp: time jumps and repeated images go unnoticed'
            ))
        output = self._stream.process(
            image, stamp, tracker=parameters.tracker(), max_gap=parameters.max_gap
        )
        if output.interruption:
            self._log.warning('new epoch', (
                f'epoch {output.result.epoch} begins, track ids start again: {output.interruption}'
            ))
        return output.result

    def _publish(
        self, letter: Letter[CameraMessage], result: FrameResult, parameters: Parameters
    ) -> None:
        header = letter.message.header
        since_receipt = self._outputs.publish_instances(
            result, header, letter.skipped, letter.received_ns, parameters
        )
        stamp = stamp_of(header)
        since_stamp = self._node.get_clock().now().nanoseconds - stamp if stamp else None
        self._health.processed(since_receipt, since_stamp, len(result), result.epoch)

    def _fail(self, stage: str, error: Exception) -> None:
        # Whatever goes wrong while the node shuts down is the shutdown's doing.
        if self._stopped():
            self._mailbox.drop(DEACTIVATED)
            return
        self._mailbox.drop(stage)
        self._health.failed(f'{stage}: {error}')
        self._log.error(stage, f'image dropped, {stage}:\n{traceback.format_exc()}')

    def _show(
        self, message: CameraMessage, image: npt.NDArray[np.uint8], result: FrameResult
    ) -> None:
        """Publish the pictures. The image is answered already: failing here costs them alone."""
        try:
            self._outputs.publish_pictures(result, image, message.header)
        except Exception:
            if not self._stopped():
                self._health.picture_failed()
                self._log.error('pictures', f'no overlay drawn:\n{traceback.format_exc()}')
