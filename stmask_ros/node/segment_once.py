# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The service ~/segment: one image by itself, between the images of the streams."""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass, replace

from rclpy.node import Node
from sensor_msgs.msg import Image

from stmask_ros.images import ImageError, raw_picture
from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.node.errands import Errand, Errands
from stmask_ros.node.parameters import Parameters
from stmask_ros.ros.deferred_service import Answer, DeferredService
from stmask_ros.ros.messages import InstanceFormat, instances_message, stamp_of
from stmask_ros.srv import Segment
from stmask_ros.tracking.segmenter import VideoSegmenter

# Of the state that a single image starts from: its ids mean nothing beyond it.
_NO_EPOCH = 0


@dataclass(frozen=True)
class RequestCounts:
    """What became of all requests; received = answered + refused + waiting."""

    received: int = 0
    answered: int = 0
    refused: int = 0

    @property
    def waiting(self) -> int:
        """Those that wait, or are in work."""
        return self.received - self.answered - self.refused


class SegmentOnce:
    """Answers requests in the worker's thread. No request can make that raise."""

    def __init__(self, node: Node, errands: Errands) -> None:
        """Offer the service."""
        self._node = node
        self._errands = errands
        self._lock = threading.Lock()
        self._counts = RequestCounts()
        self._service = DeferredService(node, Segment, '~/segment', self._on_request)

    def close(self) -> None:
        """Take the service back."""
        self._service.close()

    def counts(self) -> RequestCounts:
        """Return a consistent snapshot."""
        return self._counts

    def _on_request(self, request: Segment.Request, answer: Answer) -> None:
        self._count(received=1)

        def run(segmenter: VideoSegmenter, parameters: Parameters) -> None:
            self._answer(request.image, answer, segmenter, parameters)

        refusal = self._errands.add(Errand(run, lambda reason: self._refuse(reason, answer)))
        if refusal:
            self._refuse(refusal, answer)

    def _answer(
        self, image: Image, answer: Answer, segmenter: VideoSegmenter, parameters: Parameters
    ) -> None:
        try:
            result = segmented(image, segmenter, parameters)
        except ImageError as error:
            self._refuse(str(error), answer)
        except Exception as error:
            self._node.get_logger().error(
                f'a request of ~/segment failed:\n{traceback.format_exc()}',
                throttle_duration_sec=5.0)
            self._refuse(f'segmentation failed: {type(error).__name__}: {error}', answer)
        else:
            self._count(answered=1)
            answer(Segment.Response(success=True, result=result))

    def _refuse(self, reason: str, answer: Answer) -> None:
        self._count(refused=1)
        answer(Segment.Response(success=False, message=reason))

    def _count(self, **more: int) -> None:
        with self._lock:
            self._counts = replace(self._counts, **{
                name: getattr(self._counts, name) + number for name, number in more.items()
            })


def segmented(
    image: Image, segmenter: VideoSegmenter, parameters: Parameters
) -> TrackedInstanceArray:
    """Return what is in one image; raises ImageError, and whatever the segmenter raises."""
    picture = raw_picture(image, segmenter.scaled_size)
    tracker = parameters.tracker(segmenter.class_names)
    segmenter.tracker = segmenter.tracker_options(tracker)
    (result,), _ = segmenter.step(
        [picture.pixels], [segmenter.initial_state(_NO_EPOCH)], [stamp_of(image.header)],
        [picture.size],
    )
    names = segmenter.class_names if parameters.publish_class_names else ()
    written = InstanceFormat(segmenter.model_name, names, parameters.encoding())
    return instances_message(result, image.header, 0, written)
