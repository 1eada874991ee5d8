"""From pairs of frames to batches; what comes when depends on the seed and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms.functional import adjust_contrast, adjust_hue, adjust_saturation

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.preprocess import STRIDE
from stmask_ros.families.stmask.training.targets import FrameTargets
from stmask_ros.training.frames import AnnotatedFrame, UInt8Array
from stmask_ros.training.pairs import PairSource


@dataclass(frozen=True)
class Example:
    """An image at the network's input size, uint8 BGR [H, W, 3], and its objects."""

    image: UInt8Array
    targets: FrameTargets


@dataclass(frozen=True)
class Place:
    """Where in a run a pair comes: its number in the sources, and its position of all time."""

    number: int
    position: int


def prepare(frame: AnnotatedFrame, config: STMaskConfig, flipped: bool) -> Example:
    """Resize a frame to the network's input, and pad its masks as the image will be."""
    size = (config.input_width, config.input_height)
    image = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    height, width = (-(-side // STRIDE) * STRIDE for side in reversed(size))
    masks = torch.zeros(len(frame.masks), height, width, dtype=torch.bool)
    for padded, mask in zip(masks, frame.masks, strict=True):
        small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        padded[:size[1], :size[0]] = torch.from_numpy(np.asarray(small) > 0)
    if flipped:
        image = np.ascontiguousarray(image[:, ::-1])
        masks[:, :, :size[0]] = masks[:, :, :size[0]].flip(2)
    shown = masks.flatten(1).any(1)
    masks = masks[shown]
    return Example(image, FrameTargets(
        boxes_of(masks), torch.from_numpy(frame.labels)[shown],
        torch.from_numpy(frame.ids)[shown], masks,
    ))


def color_jittered(
    pair: Sequence[Example], amount: float, rng: np.random.Generator
) -> list[Example]:
    """
    Return a pair under another light: the same change of all its images.

    amount: 0 to 1, the largest share by which contrast and saturation grow or shrink; times a
    quarter of a circle, the most that the hue turns.
    """
    contrast, saturation = rng.uniform(1 - amount, 1 + amount, 2).tolist()
    hue = rng.uniform(-amount, amount) / 4

    def changed(image: UInt8Array) -> UInt8Array:
        rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
        for adjust, factor in (
            (adjust_contrast, contrast), (adjust_saturation, saturation), (adjust_hue, hue)
        ):
            rgb = adjust(rgb, factor)
        return np.ascontiguousarray(rgb.permute(1, 2, 0).numpy()[..., ::-1])

    return [Example(changed(example.image), example.targets) for example in pair]


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """Return the boxes [N, 4] around masks [N, H, W], as fractions; none may be empty."""
    edges = []
    for axis in (1, 2):
        along = masks.any(axis)
        size = along.shape[1]
        low = along.int().argmax(1)
        high = size - along.flip(1).int().argmax(1)
        edges.append((low / size, high / size))
    (x_min, x_max), (y_min, y_max) = edges
    return torch.stack((x_min, y_min, x_max, y_max), 1)


class PairDataset(Dataset[list[Example]]):
    """Pairs of several sources, ready for the network."""

    def __init__(
        self, sources: Sequence[PairSource], config: STMaskConfig, flip: bool, seed: int,
        color_jitter: float = 0.0,
    ) -> None:
        """
        Prepare; nothing is read yet.

        flip: mirror both frames of every second pair, at random. color_jitter: amount, see
        color_jittered.
        """
        self._sources = sources
        self._config = config
        self._flip = flip
        self._seed = seed
        self._color_jitter = color_jitter
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        """Return the pairs of an epoch."""
        return int(self._ends[-1])

    def __getitem__(self, place: Place) -> list[Example]:
        """Return a pair; the same place is the same pair whoever asks."""
        rng = np.random.default_rng((self._seed, place.position))
        source = int(np.searchsorted(self._ends, place.number, side='right'))
        start = int(self._ends[source]) - len(self._sources[source])
        first, second = self._sources[source].pair(place.number - start, rng)
        flipped = self._flip and bool(rng.integers(2))
        pair = [prepare(frame, self._config, flipped) for frame in (first, second)]
        return color_jittered(pair, self._color_jitter, rng) if self._color_jitter else pair


class PairSampler(Sampler[list[Place]]):
    """The batches of one worker of a run, from an iteration on."""

    def __init__(
        self, length: int, batch_size: int, seed: int, iterations: range, rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """batch_size: of all workers together, which share each batch evenly."""
        self._length = length
        self._batch_size = batch_size
        self._seed = seed
        self._iterations = iterations
        self._share = range(rank, batch_size, world_size)
        self._epoch = -1
        self._order = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._iterations)

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield a batch for each iteration."""
        for iteration in self._iterations:
            start = iteration * self._batch_size
            yield [self._place(start + offset) for offset in self._share]

    def _place(self, position: int) -> Place:
        epoch, offset = divmod(position, self._length)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self._length)
        return Place(int(self._order[offset]), position)


def collate(pairs: Sequence[Sequence[Example]]) -> list[Example]:
    """Return the images of pairs in the order of the network's batch."""
    return list(chain.from_iterable(pairs))


def build_loader(
    dataset: PairDataset, sampler: PairSampler, workers: int
) -> DataLoader[list[Example]]:
    """Return an iterable of batches, lists of examples; it leaves the global seed alone."""
    return DataLoader(
        dataset, batch_sampler=sampler, num_workers=workers, collate_fn=collate,
        worker_init_fn=_use_one_thread, generator=torch.Generator(),
        persistent_workers=False, prefetch_factor=4 if workers else None,
    )


def _use_one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
