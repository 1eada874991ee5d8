# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with an image, a model or a training run, in words for the user."""


class InvalidImageError(ValueError):
    """An image has another shape or dtype than a step takes."""


class ModelError(Exception):
    """A model cannot be loaded; the message says why and what to do."""


class UnrecognisedError(ModelError):
    """Tensors belong to no configuration of a family."""

    def __init__(self, message: str, differences: int) -> None:
        """differences: number of names and shapes that the closest configuration has otherwise."""
        super().__init__(message)
        self.differences = differences


class TrainingError(ValueError):
    """A run cannot start or go on; the text says why and what to do."""
