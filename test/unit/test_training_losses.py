# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The loss: hand-computed cases of every term, gradients, and what must not matter."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.stmask.temporal_fusion import TemporalNet, pool_regions
from stmask_ros.families.stmask.training.losses import (
    DensePredictions,
    LossConfig,
    classification_loss,
    multibox_loss,
    track_loss,
)
from stmask_ros.families.stmask.training.mask_losses import mask_loss
from stmask_ros.families.stmask.training.targets import FrameTargets, MatchingRules, assign
from stmask_ros.layers.boxes import center_size, encode, priors

LEVELS = ((12, 20), (6, 10), (3, 5), (2, 3), (1, 2))
KERNELS = ((3.0, 3.0), (3.0, 5.0), (5.0, 3.0))
PRIORS = priors(LEVELS, KERNELS, torch.device('cpu'))


def frame_targets(boxes: list[tuple[float, ...]], labels: list[int], ids: list[int]):
    """Return objects that fill their boxes in an image of 160x96."""
    corners = torch.tensor(boxes).reshape(-1, 4)
    masks = torch.zeros(len(boxes), 96, 160, dtype=torch.bool)
    pixels = (corners * torch.tensor([160, 96, 160, 96])).round().int().tolist()
    for mask, (x_min, y_min, x_max, y_max) in zip(masks, pixels, strict=True):
        mask[y_min:y_max, x_min:x_max] = True
    return FrameTargets(corners, torch.tensor(labels), torch.tensor(ids), masks)


TARGETS = [
    frame_targets([(0.1, 0.1, 0.4, 0.6), (0.5, 0.3, 0.9, 0.8)], [3, 17], [1, 2]),
    frame_targets([(0.15, 0.1, 0.45, 0.6), (0.5, 0.35, 0.9, 0.85)], [3, 17], [1, 2]),
    frame_targets([(0.2, 0.2, 0.5, 0.5)], [40], [1]),
    frame_targets([(0.6, 0.1, 0.8, 0.4), (0.22, 0.2, 0.52, 0.5)], [5, 40], [2, 1]),
]


@pytest.fixture(scope='module')
def randn(reference_numbers: Path) -> Callable[..., Tensor]:
    spec = importlib.util.spec_from_file_location(
        'filler', reference_numbers / 'stmask' / 'filler.py'
    )
    filler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(filler)

    def named(name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(filler.randn(name, shape))

    return named


@pytest.fixture(scope='module')
def predictions(randn: Callable[..., Tensor]) -> DensePredictions:
    """Return the inputs of the reference's loss, and a TemporalNet of its size."""
    net = TemporalNet(633, (512, 512, 1024), 32)
    for name, value in net.named_parameters():
        value.data = 0.03 * randn(f'TemporalNet.{name}', tuple(value.shape))
    joint = F.relu(0.3 * randn('ops/loss/t2s', (2, 633, 6, 10)))
    return DensePredictions(
        box_deltas=0.4 * randn('ops/loss/loc', (4, 969, 4)),
        class_logits=randn('ops/loss/conf', (4, 969, 41)),
        centerness=randn('ops/loss/cen', (4, 969, 1)).tanh().squeeze(-1),
        mask_coefficients=0.5 * randn('ops/loss/mask', (4, 969, 32)),
        embeddings=F.normalize(randn('ops/loss/track', (4, 969, 128)), dim=-1),
        prototypes=0.5 * F.relu(randn('ops/loss/proto', (4, 24, 40, 32))),
        priors=PRIORS,
        propagate=lambda boxes, pairs: net(pool_regions(joint, boxes, pairs)),
    )


def test_the_reference_inputs_have_969_priors() -> None:
    assert PRIORS.shape == (969, 4)


@pytest.mark.parametrize('reference_behaviour', [False, True])
def test_every_term_is_finite_and_positive(
    predictions: DensePredictions, reference_behaviour: bool
) -> None:
    losses = multibox_loss(
        predictions, TARGETS, LossConfig(reference_behaviour=reference_behaviour)
    )
    assert all(torch.isfinite(term) and term > 0 for term in losses.terms().values())
    assert losses.total.item() == pytest.approx(sum(t.item() for t in losses.terms().values()))


def test_what_must_not_matter_does_not(predictions: DensePredictions) -> None:
    losses = multibox_loss(predictions, TARGETS).terms()
    backwards = [
        FrameTargets(t.boxes.flip(0), t.labels.flip(0), t.ids.flip(0), t.masks.flip(0))
        for t in TARGETS
    ]
    renamed = [replace(t, ids=t.ids * 7 + 5) for t in TARGETS]
    shifted = replace(predictions, class_logits=predictions.class_logits + 3)
    for other in (
        multibox_loss(predictions, backwards), multibox_loss(predictions, renamed),
        multibox_loss(shifted, TARGETS),
    ):
        assert {k: v.item() for k, v in other.terms().items()} == pytest.approx(
            {k: v.item() for k, v in losses.items()}, rel=1e-5
        )


def test_perfect_predictions_cost_almost_nothing() -> None:
    targets = [frame_targets([(0.25, 0.25, 0.5, 0.75)], [2], [4])] * 2
    matched = assign(targets[0], PRIORS, torch.zeros(969, 4), MatchingRules())
    truth = targets[0].boxes.expand(969, 4)
    logits = 40 * F.one_hot(matched.labels.clamp(min=0), 4).float().expand(2, -1, -1)
    soft = F.adaptive_avg_pool2d(targets[0].masks.float(), (24, 40)).permute(1, 2, 0)
    losses = multibox_loss(DensePredictions(
        box_deltas=encode(truth, PRIORS).expand(2, -1, -1),
        class_logits=logits,
        centerness=torch.ones(2, 969),
        mask_coefficients=torch.tensor([1.0, -1.0]).expand(2, 969, 2) * 9,
        embeddings=torch.tensor([1.0, 0.0]).expand(2, 969, 2),
        prototypes=torch.cat((40 * soft, 40 * (1 - soft)), -1).expand(2, -1, -1, -1),
        priors=PRIORS,
        propagate=lambda boxes, pairs: (torch.zeros(len(boxes), 4), torch.zeros(len(boxes), 2)),
    ), targets)
    # Prototypes are four times coarser than masks: edges are slopes. Half a mask costs over 4.
    most = {'mask': 0.7, 'mask_shift': 0.7}
    assert all(term < most.get(name, 1e-3) for name, term in losses.terms().items()), losses


def test_an_image_without_objects_costs_nothing_but_keeps_the_graph(
    predictions: DensePredictions,
) -> None:
    leaf = predictions.box_deltas.clone().requires_grad_()
    empty = [frame_targets([], [], [])] * 4
    losses = multibox_loss(replace(predictions, box_deltas=leaf), empty)
    assert losses.total.item() == 0
    losses.total.backward()
    assert not leaf.grad.any()


def test_box_and_center_terms_of_one_anchor_by_hand() -> None:
    anchor = torch.tensor([[0.5, 0.5, 0.4, 0.4]])
    target = frame_targets([(0.3, 0.3, 0.7, 0.8)], [1], [1])
    losses = multibox_loss(DensePredictions(
        torch.zeros(2, 1, 4), torch.zeros(2, 1, 2), torch.full((2, 1), 0.5),
        torch.zeros(2, 1, 1), torch.ones(2, 1, 1), torch.zeros(2, 4, 4, 1), anchor,
    ), [target, target])
    iou, distance = 0.16 / 0.2, 0.05**2 / (0.4**2 + 0.5**2)
    diou = iou - distance
    assert losses.box.item() == pytest.approx(5 * (1 - diou), rel=1e-4)
    assert losses.center.item() == pytest.approx(20 * 0.5 * (diou - 0.5) ** 2, rel=1e-4)
    # Two classes, logits equal: log 2 for each positive, no background at all.
    assert losses.classification.item() == pytest.approx(6.125 * 0.6931472 / 4, rel=1e-5)
    # Soft masks of one half: 79 x 49 pixels of the window of 0.48 x 0.48 and one around it.
    area = 0.48 * 160 * 0.48 * 96
    assert losses.mask.item() == pytest.approx(6.125 * 0.6931472 * 79 * 49 / area, rel=1e-4)
    assert losses.box_shift.item() == losses.mask_shift.item() == 0


@pytest.mark.parametrize('reference_behaviour', [False, True])
def test_temporal_fusion_carries_no_more_masks_than_are_compared(
    predictions: DensePredictions, reference_behaviour: bool
) -> None:
    carried: list[list[int]] = []

    def propagate(boxes: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        carried.append(pairs.bincount(minlength=2).tolist())
        return torch.zeros(len(boxes), 4), torch.zeros(len(boxes), 32)

    def carry(max_masks: int | None) -> list[int]:
        multibox_loss(
            replace(predictions, propagate=propagate), TARGETS,
            LossConfig(max_masks=max_masks, reference_behaviour=reference_behaviour),
        )
        return carried[-1]

    all_of_them = carry(None)
    assert min(all_of_them) > 3
    assert carry(3) == (all_of_them if reference_behaviour else [3, 3])


def test_the_hardest_background_counts_and_the_neutral_does_not() -> None:
    logits = torch.tensor([[[0.0, 2.0], [0.0, 1.0], [0.0, 3.0], [0.0, -1.0], [0.0, 9.0]]])
    labels = torch.tensor([[0, 1, 0, 0, -1]])
    config = LossConfig(negatives_per_positive=2)
    loss = classification_loss(logits, labels, torch.tensor([1.0]), config)
    softplus = F.softplus(torch.tensor([2.0, -1.0, 3.0]))
    assert loss.item() == pytest.approx(softplus.sum().item() / 4, rel=1e-6)


def test_weights_follow_their_anchors_unless_the_reference_is_asked_for() -> None:
    logits = torch.tensor([[[0.0, 2.0]] * 2, [[0.0, 0.0], [0.0, 1.0]]])
    labels = torch.tensor([[0, 0], [1, 1]])
    weights = torch.tensor([1.0, 3.0])
    positive, negative = F.softplus(torch.tensor([0.0, -1.0])), F.softplus(torch.tensor(2.0))
    fixed = classification_loss(logits, labels, weights, LossConfig())
    expected = positive @ weights + 2 * 2 * negative
    assert fixed.item() == pytest.approx(expected.item() / 4)
    released = classification_loss(logits, labels, weights, LossConfig(reference_behaviour=True))
    expected = 1 * negative + 3 * negative + 2 * positive.sum()
    assert released.item() == pytest.approx(expected.item() / 4)


def test_the_track_term_by_hand() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    weights = torch.tensor([1.0, 2.0, 3.0])
    loss = track_loss(embeddings, torch.tensor([1, 1, 2]), weights)
    terms = -torch.tensor([0.8, 0.5, 0.1]).log()
    expected = (torch.tensor([2.0, 3.0, 6.0]) * terms).sum() / 11
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_track_term_does_not_depend_on_the_number_of_images() -> None:
    def track(pairs: int) -> float:
        frames = [frame_targets([(0.25, 0.25, 0.5, 0.75)], [1], [6])] * 2 * pairs
        images = len(frames)
        embeddings = F.normalize(torch.tensor([1.0, 2.0]), dim=0).expand(images, 969, 2)
        return multibox_loss(DensePredictions(
            torch.zeros(images, 969, 4), torch.zeros(images, 969, 2), None,
            torch.zeros(images, 969, 1), embeddings * torch.tensor([1.0, 0.5]),
            torch.zeros(images, 24, 40, 1), PRIORS,
        ), frames, LossConfig(reference_behaviour=True)).track.item()

    assert track(1) > 0.1
    assert track(8) == pytest.approx(track(1))


def test_the_track_term_is_cut_at_1e_10() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    for ids in ((1, 2), (1, 1)):
        seen = embeddings[[0, 1] if ids == (1, 2) else [0, 2]]
        loss = track_loss(seen, torch.tensor(ids), torch.ones(2))
        assert loss.item() == pytest.approx(-math.log(1e-10), rel=1e-5)


@pytest.mark.parametrize('reference_behaviour', [True, False])
def test_a_mask_is_divided_by_a_box_of_a_pixel_a_side_at_least(reference_behaviour: bool) -> None:
    # A fourth of a pixel wide and four high, of which no cell is true: each costs log 2.
    box = torch.tensor([[0.5, 0.5, 0.5 + 0.25 / 32, 0.5 + 4 / 32]])
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    arguments = (torch.zeros(32, 32, 1), torch.zeros(1, 1), box, mask, 'tanh', reference_behaviour)
    exact = mask_loss(*arguments, least_side=0).item()
    assert mask_loss(*arguments).item() == pytest.approx(exact / 4)


def test_the_box_shift_term_by_hand() -> None:
    first = frame_targets([(0.25, 0.25, 0.5, 0.75)], [1], [6])
    second = frame_targets([(0.25, 0.25, 0.5, 0.75), (0.275, 0.25, 0.525, 0.75)], [1, 1], [3, 6])
    outputs = DensePredictions(
        torch.zeros(2, 969, 4), torch.zeros(2, 969, 2), None, torch.zeros(2, 969, 1),
        torch.ones(2, 969, 1), torch.zeros(2, 24, 40, 1), PRIORS,
        lambda boxes, pairs: (torch.zeros(len(boxes), 4), torch.zeros(len(boxes), 1)),
    )
    # The center moves by a tenth of the width: a delta of 1 with the variance in.
    assert multibox_loss(outputs, [first, second]).box_shift.item() == pytest.approx(
        5 * 0.5, rel=1e-4
    )
    gone = replace(second, ids=torch.tensor([3, 7]))
    assert multibox_loss(outputs, [first, gone]).box_shift.item() == 0


def test_the_mask_term_outside_its_window() -> None:
    box = torch.tensor([[0.25, 0.25, 0.5, 0.5]])
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[:, 24:, 24:] = True
    arguments = (torch.full((8, 8, 1), -20.0).neg(), torch.tensor([[-9.0]]), box, mask)
    assert mask_loss(*arguments).item() < 1e-6
    assert mask_loss(*arguments, reference_behaviour=True).item() > 50


def test_the_dice_loss_of_a_mask_by_hand() -> None:
    box = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[:, :16] = True  # the upper half of the window, and what is outside of it

    def dice(prototypes: Tensor) -> float:
        arguments = (prototypes, torch.tensor([[9.0]]), box, mask)
        added = mask_loss(*arguments, dice=1) - mask_loss(*arguments)
        assert (mask_loss(*arguments, dice=3) - mask_loss(*arguments)).item() == pytest.approx(
            3 * added.item(), abs=1e-5
        )
        return added.item()

    window, seen = 18 * 18, 9 * 18  # a pixel more on each side
    even = torch.zeros(32, 32, 1)
    assert dice(even) == pytest.approx(1 - (2 * seen / 2 + 1) / (window / 4 + seen + 1))
    exact = torch.where(mask[0, ..., None], 20.0, -20.0)
    assert dice(exact) == pytest.approx(0, abs=1e-5)
    assert dice(-exact) == pytest.approx(1 - 1 / (window + 1), abs=1e-5)


def test_the_released_code_has_no_dice_loss() -> None:
    with pytest.raises(ValueError, match=r'dice: expected 0 with reference_behaviour, got 1\.0'):
        LossConfig(dice=1.0, reference_behaviour=True)
    with pytest.raises(ValueError, match='dice: expected 0 or more, got nan'):
        LossConfig(dice=float('nan'))


@pytest.mark.parametrize('dice', [0.0, 2.0])
def test_gradients_match_finite_differences(dice: float) -> None:
    torch.manual_seed(0)
    anchors = priors(((2, 2),), ((1.0, 1.0), (1.0, 1.5)), torch.device('cpu')).double()
    target = [
        FrameTargets(t.boxes.double(), t.labels.clamp(max=2), t.ids, t.masks)
        for t in (frame_targets([(0.1, 0.1, 0.52, 0.6)], [1], [1]),
                  frame_targets([(0.13, 0.11, 0.52, 0.63)], [2], [1]))
    ]
    shapes = ((2, 8, 4), (2, 8, 3), (2, 8), (2, 8, 2), (2, 8, 3), (2, 6, 10, 2), (4,), (2,))

    def terms(*parts: Tensor) -> Tensor:
        outputs = DensePredictions(
            *parts[:6], anchors,
            lambda boxes, pairs: (parts[6].expand(len(boxes), 4), parts[7].expand(len(boxes), 2)),
        )
        losses = multibox_loss(outputs, target, LossConfig(dice=dice))
        return torch.stack(list(losses.terms().values()))

    parts = [torch.randn(shape, dtype=torch.float64) * 0.3 for shape in shapes]
    assert all(term > 0 for term in terms(*parts))

    def check(terms_checked: slice, first: int, last: int) -> bool:
        """Compare the gradients of some terms by parts[first:last]."""
        free = [part.clone().requires_grad_() for part in parts[first:last]]
        return torch.autograd.gradcheck(
            lambda *inner: terms(*parts[:first], *inner, *parts[last:])[terms_checked], free,
            fast_mode=True,
        )

    # The other terms do see the boxes, and the shifts what they start from, but as constants.
    assert check(slice(0, 1), 0, 1)
    assert check(slice(0, 5), 1, 6)
    assert check(slice(5, 7), 6, 8)


def test_box_gradient_through_the_centerness_only_as_released(
    predictions: DensePredictions,
) -> None:
    leaf = predictions.box_deltas.clone().requires_grad_()
    moved = replace(predictions, box_deltas=leaf)
    assert not multibox_loss(moved, TARGETS).center.requires_grad
    released = multibox_loss(moved, TARGETS, LossConfig(reference_behaviour=True))
    assert torch.autograd.grad(released.center, leaf)[0].any()


def test_center_size_is_what_encode_refers_to() -> None:
    box = torch.tensor([[0.2, 0.2, 0.4, 0.6]])
    assert torch.allclose(encode(box, center_size(box)), torch.zeros(1, 4), atol=1e-6)


def test_python_of_the_document(predictions: DensePredictions) -> None:
    """What docs/training.md says of the loss runs as it stands."""
    text = (Path(__file__).resolve().parents[2] / 'docs' / 'training.md').read_text()
    code = next(b for b in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if 'multibox' in b)
    names = {field.name: getattr(predictions, field.name) for field in fields(predictions)}
    names['objects'] = [tuple(vars(target).values()) for target in TARGETS]
    exec(code, names)
    expected = multibox_loss(predictions, TARGETS, LossConfig(reference_behaviour=True))
    torch.testing.assert_close(names['losses'].total, expected.total)
