"""What can be wrong with a model or a training run, in words for the user."""


class ModelError(Exception):
    """A model cannot be loaded; the message says why and what to do."""


class TrainingError(ValueError):
    """A run cannot start or go on; the text says why and what to do."""
