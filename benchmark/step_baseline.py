"""The same network without any of the measures for speed: what a plain port would run."""

from __future__ import annotations

import torch
from torch import Tensor

from stmask_ros.network.checkpoint import Model
from stmask_ros.network.heads import InstanceOutput
from stmask_ros.network.stmask import Predictions, STMask
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.tracking.tracks import TrackerConfig


class PlainNetwork(STMask):
    """torchvision's deform_conv2d, batch norm as it is, masks and embeddings of all anchors."""

    def forward(self, images: Tensor) -> Predictions:
        """As STMask; with gradients enabled it takes torchvision's operator on the CPU as well."""
        with torch.enable_grad():
            return super().forward(images)

    def instances_at(
        self, predictions: Predictions, frame: int, anchors: Tensor
    ) -> InstanceOutput:
        """Compute all anchors of the batch for the first frame's sake, choose some."""
        if frame == 0:
            with torch.enable_grad():
                self.dense = self.instances(predictions)
        return InstanceOutput(*(values[frame, anchors] for values in self.dense))


def plain_segmenter(model: Model, device: torch.device, tracker: TrackerConfig) -> VideoSegmenter:
    """Return a segmenter that steps the plain network with the model's weights."""
    segmenter = VideoSegmenter(model, device, tracker)
    network = PlainNetwork(model.network.config)
    network.load_state_dict(model.network.state_dict())
    segmenter.network = network.eval().requires_grad_(False).to(device)
    return segmenter
