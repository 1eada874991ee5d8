# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Training runs of a network small enough for a CPU, on shapes that are drawn here."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stmask_ros.evaluation.dataset_run import Worker
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.stmask.family import STMASK
from stmask_ros.families.stmask.network import STMask, initialise
from stmask_ros.families.stmask.preprocess import MEAN, STANDARD_DEVIATION
from stmask_ros.families.stmask.training.initialisation import initialise_for_training
from stmask_ros.families.stmask.training.loss_inputs import LossConfig
from stmask_ros.models.checkpoint import load_model
from stmask_ros.training.checkpoints import initialise_from
from stmask_ros.training.clips import Clip
from stmask_ros.training.config import SyntheticData, TrainingConfig
from stmask_ros.training.frames import AnnotatedFrame
from stmask_ros.training.schedule import rate_factor
from stmask_ros.training.trainer import Trainer
from stmask_ros.training.workers import Team

ALONE = Team(Worker(), torch.device('cpu'))
HEIGHT, WIDTH = 96, 160
ROOT = Path(__file__).resolve().parents[2]


def shapes(clip: int, time: int) -> AnnotatedFrame:
    """Return a rectangle (class 1) and a disc (class 2) that move."""
    rng = np.random.default_rng(clip)
    image = np.full((HEIGHT, WIDTH, 3), rng.integers(60, 120, 3), np.uint8)
    masks = []
    for kind in range(2):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        x = int(40 + 78 * kind + rng.integers(-4, 4) + 2 * time)
        y = int(48 + rng.integers(-6, 6) - 2 * time)
        size = int(rng.integers(28, 34))
        if kind == 0:
            cv2.rectangle(mask, (x - size, y - size), (x + size, y + size), 1, -1)
        else:
            cv2.circle(mask, (x, y), size, 1, -1)
        image[mask > 0] = rng.integers(140, 255, 3)
        masks.append(mask > 0)
    return AnnotatedFrame(image, np.array(masks), np.array([1, 2]), np.array([1, 2]))


class ShapePairs:
    """Four pairs: eight frames."""

    def __len__(self) -> int:
        return 4

    def clip(self, number: int, rng: np.random.Generator) -> Clip:
        return shapes(number, 0), shapes(number, 1)


def tiny(out: Path, **changes: object) -> TrainingConfig:
    return replace(TrainingConfig(
        name='tiny', configuration='stmask_lite', classes=('rectangle', 'disc'), out=out,
        options={
            'channels': 32, 'embedding_size': 16, 'temporal_channels': (32, 32, 32),
            'input_height': HEIGHT, 'input_width': WIDTH, 'class_calibration': 'none',
        },
        synthetic=(SyntheticData(),), batch_size=2, iterations=6, optimiser='adamw', warm_up=4,
        steps=(5,), freeze_batch_norm=False, workers=0, log_every=2, checkpoint_every=0,
    ), **changes)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(config: TrainingConfig, *stops: int) -> dict[str, torch.Tensor]:
    """Train with a new trainer up to each stop; return the model that was written."""
    for stop in stops:
        Trainer(config, ALONE, [ShapePairs()]).run(stop)
    return load_file(config.out / 'tiny.safetensors')


@pytest.mark.parametrize('optimiser', ['sgd', 'adamw'])
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(
    tmp_path: Path, optimiser: str
) -> None:
    straight, stopped = (
        tiny(tmp_path / name, optimiser=optimiser, flip=True) for name in ('a', 'b')
    )
    # A few masks of many: what is drawn at random must be drawn again the same way.
    straight, stopped = (
        replace(config, loss=LossConfig(max_masks=3)) for config in (straight, stopped)
    )
    whole, parts = trained(straight, 6), trained(stopped, 3, 6)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    halfway = trained(tiny(tmp_path / 'c', optimiser=optimiser), 3)
    assert not all(torch.equal(whole[name], halfway[name]) for name in whole)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    trained(tiny(tmp_path), 1)
    for changes, problem in (
        ({'seed': 1}, 'run with seed 0, not 1'),
        ({'classes': ('a', 'b', 'c')}, 'classes .* not '),
        ({'classes': ('disc', 'rectangle')}, 'classes .* not '),
        ({'optimiser': 'sgd'}, 'optimiser adamw, not sgd'),
        ({'weight_decay': 0.5}, 'weight_decay 0.0001, not 0.5'),
        ({'options': {**tiny(tmp_path).options, 'input_width': 128}}, 'options.input_width'),
    ):
        with pytest.raises(TrainingError, match=problem):
            Trainer(tiny(tmp_path, **changes), ALONE, [ShapePairs()])
    (tmp_path / 'last.pt').write_bytes(b'not a checkpoint')
    with pytest.raises(TrainingError, match='cannot be read'):
        Trainer(tiny(tmp_path), ALONE, [ShapePairs()])


def test_a_run_writes_its_model_and_tells_how_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        trained(tiny(tmp_path), 4)
    model = load_model(tmp_path / 'tiny.yaml')
    assert model.description.classes == ('rectangle', 'disc')
    assert not model.freshly_initialised
    lines = [r.getMessage() for r in caplog.records if '/6' in r.getMessage()]
    assert len(lines) == 2
    for word in ('box ', 'center ', 'mask_shift ', 'total ', 'rate ', ' left '):
        assert word in lines[0]


def test_the_model_is_a_running_mean(tmp_path: Path) -> None:
    last = tiny(tmp_path / 'last', checkpoint_every=1, iterations=4)
    steps = [trained(last, stop) for stop in (1, 2, 3, 4)]
    config = tiny(tmp_path / 'mean', averaged_iterations=2, iterations=4)
    # Interrupted, as the mean must go on as well; the first network is the mean's beginning.
    mean = trained(config, 2, 4)
    expected = steps[0]
    for step in steps[1:]:
        expected = {name: (value + step[name]) / 2 for name, value in expected.items()}
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])
    assert any(not torch.equal(value, steps[-1][name]) for name, value in mean.items())


def test_a_run_may_begin_to_average(tmp_path: Path) -> None:
    third = trained(tiny(tmp_path / 'plain', iterations=4), 3)
    config = tiny(tmp_path / 'later', iterations=4)
    trained(config, 2)
    # Of a mean over this many, nothing moves after its first network, that of iteration 3.
    mean = trained(replace(config, averaged_iterations=10**9), 4)
    for name, value in mean.items():
        torch.testing.assert_close(value, third[name], rtol=0, atol=1e-6)


def test_frozen_batch_norm_stays(tmp_path: Path) -> None:
    fresh = STMask(tiny(tmp_path).network_config())
    initialise_for_training(fresh, 0)
    before = fresh.state_dict()
    after = trained(tiny(tmp_path, freeze_batch_norm=True, optimiser='sgd'), 2)
    names = [n for n in before if n.endswith('running_mean')]
    norms = {n.rpartition('.')[0] for n in names}
    kept = [n for n in before if n.rpartition('.')[0] in norms]
    assert len(kept) > 100
    assert all(torch.equal(before[n], after[n]) for n in kept)
    assert not all(torch.equal(before[n], after[n]) for n in before if n not in kept)


def test_frozen_stages_stay(tmp_path: Path) -> None:
    fresh = STMask(tiny(tmp_path).network_config())
    initialise_for_training(fresh, 0)
    before = fresh.state_dict()
    after = trained(tiny(tmp_path / 'kept', frozen_stages=2), 2)
    kept = {
        name for name in before
        if name.startswith(('backbone.stem.', 'backbone.layers.0.', 'backbone.layers.1.'))
    }
    assert len(kept) > 50
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not all(torch.equal(before[n], after[n]) for n in before if n.startswith('backbone.')
                   and n not in kept)
    with pytest.raises(TrainingError, match='frozen_stages: expected 0 to 4, got 5'):
        Trainer(tiny(tmp_path, frozen_stages=5), ALONE, [ShapePairs()])


def test_the_backbone_may_learn_slower(tmp_path: Path) -> None:
    fresh = STMask(tiny(tmp_path).network_config())
    initialise_for_training(fresh, 0)
    before = {name: value.detach() for name, value in fresh.named_parameters()}
    moved = []
    for rate in (1.0, 0.1, 0.0):
        # The first step of AdamW is as long as its rate, whatever the gradient.
        config = tiny(tmp_path / str(rate), backbone_rate=rate, weight_decay=0.0)
        after = trained(config, 1)
        change = {name: float((after[name] - before[name]).abs().max()) for name in before}
        moved.append(max(v for name, v in change.items() if name.startswith('backbone.')))
        assert max(v for n, v in change.items() if not n.startswith('backbone.')) > 0
    assert moved[0] > 0
    assert moved[1] == pytest.approx(0.1 * moved[0], rel=0.01)
    assert moved[2] == 0
    with pytest.raises(TrainingError, match='backbone_rate: expected 0 or more, got -1'):
        tiny(tmp_path, backbone_rate=-1.0)


def test_half_the_precision(tmp_path: Path) -> None:
    full, mixed = (
        trained(tiny(tmp_path / name, precision=name), 2) for name in ('float32', 'bfloat16')
    )
    assert all(value.dtype != torch.bfloat16 for value in mixed.values())
    assert not all(torch.equal(full[name], mixed[name]) for name in full)
    norms = [sum(float(v.double().norm()) for v in model.values()) for model in (full, mixed)]
    assert norms[0] == pytest.approx(norms[1], rel=0.02)
    with pytest.raises(TrainingError, match='needs CUDA'):
        Trainer(tiny(tmp_path, precision='bfloat16', options={}), ALONE, [ShapePairs()])


def test_a_gradient_that_is_not_finite_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(tiny(tmp_path), ALONE, [ShapePairs()])
    hook = trainer.network.fpn.lat_layers[0].weight.register_hook(lambda g: g * float('nan'))
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    trainer.run(1)
    assert 'iteration 0 left out' in caplog.text
    assert all(torch.equal(before[n], p) for n, p in trainer.network.named_parameters())
    hook.remove()
    trainer.run(2)
    assert not all(torch.equal(before[n], p) for n, p in trainer.network.named_parameters())


def test_weights_that_fit_are_taken_and_others_stay(tmp_path: Path) -> None:
    donor = STMask(tiny(tmp_path, classes=('a', 'b', 'c')).network_config())
    initialise(donor, seed=7)
    network = STMask(tiny(tmp_path).network_config())
    initialise(network, seed=0)
    save_file(donor.state_dict() | {'semantic.weight': torch.zeros(1)}, tmp_path / 'w.safetensors')
    left = initialise_from(STMASK, network, tmp_path / 'w.safetensors')
    assert left == [
        f'prediction_layers.0.conf_layer.{i}.{name}' for i in range(3)
        for name in ('weight', 'bias')
    ]
    same = [torch.equal(v, donor.state_dict()[n]) for n, v in network.state_dict().items()
            if n not in left]
    assert all(same)
    save_file({'other': torch.zeros(1)}, tmp_path / 'none.safetensors')
    with pytest.raises(TrainingError, match='none of its 1 tensors fits'):
        initialise_from(STMASK, network, tmp_path / 'none.safetensors')


def test_a_part_starts_fresh_though_the_file_has_it(tmp_path: Path) -> None:
    network = STMask(tiny(tmp_path).network_config())
    initialise(network, seed=7)
    save_file(network.state_dict(), tmp_path / 'w.safetensors')
    initialise(network, seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    left = initialise_from(
        STMASK, network, tmp_path / 'w.safetensors', ['TemporalNet', 'proto_net.0'])
    assert left == [n for n in before if n.startswith(('TemporalNet.', 'proto_net.0.'))]
    assert all(torch.equal(before[name], network.state_dict()[name]) for name in left)
    with pytest.raises(TrainingError, match=r"such as TemporalNet, .*, got 'Temporal'"):
        initialise_from(STMASK, network, tmp_path / 'w.safetensors', ['Temporal'])


def test_the_backbone_starts_from_imagenet(tmp_path: Path) -> None:
    donor, network = (STMask(tiny(tmp_path).network_config()) for _ in range(2))
    initialise(donor, seed=7)
    # The names of the published file: those of the stem, while the others only have an order.
    stem = ['_conv_stem.weight', *(
        f'_bn0.{name}' for name in
        ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'))]
    names = [*stem, *(f'_blocks.{i}' for i in range(1000))]
    backbone = dict(zip(names, donor.backbone.state_dict().values(), strict=False))
    torch.save(backbone | {'_fc.weight': torch.zeros(1000, 1280)}, tmp_path / 'imagenet.pth')
    left = initialise_from(STMASK, network, tmp_path / 'imagenet.pth')
    assert left
    assert not any(name.startswith('backbone.') for name in left)
    taken = network.backbone.state_dict()
    renormalised = ('stem.0.weight', 'stem.1.running_mean')
    assert all(
        torch.equal(taken[n], v) for n, v in donor.backbone.state_dict().items()
        if n not in renormalised
    )
    # It was trained on other values, so it must see the same in ours; borders are padded.
    picture = 255 * torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    ours = (picture - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(
        STANDARD_DEVIATION).view(3, 1, 1)
    seen = network.eval().backbone.stem(ours)[..., 1:-1, 1:-1]
    expected = donor.eval().backbone.stem((picture - 127) / 128)[..., 1:-1, 1:-1]
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-5)
    assert expected.std() > 0.01


def test_the_rate_warms_up_and_steps_down() -> None:
    iterations = (0, 250, 500, 65_999, 66_000, 133_000)
    rates = [rate_factor(i, (66_000, 133_000), 500) for i in iterations]
    assert rates == pytest.approx([0.1, 0.55, 1, 1, 0.1, 0.01])


WORKER = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[2])
from test_training import ShapePairs, tiny
from stmask_ros.training.trainer import Trainer
from stmask_ros.training.workers import joined_team
torch.set_num_threads(1)
with joined_team('cpu') as team:
    trainer = Trainer(tiny(Path(sys.argv[1])), team, [ShapePairs()])
    trainer.run(2)
    own = torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
    torch.save(own, Path(sys.argv[1]) / f'{team.worker.rank}.pt')
"""


def test_two_workers_keep_one_model(tmp_path: Path) -> None:
    script = tmp_path / 'worker.py'
    script.write_text(WORKER)
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
         str(script), str(tmp_path), str(Path(__file__).parent)],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))
    assert torch.equal(first, second)
    alone = trained(tiny(tmp_path / 'alone'), 2)
    written = load_file(tmp_path / 'tiny.safetensors')
    assert written.keys() == alone.keys()


def overlaps(trainer: Trainer) -> list[float]:
    """Return the mask IoU of the best instance of the right class, for each object."""
    segmenter = trainer.segmenter()
    found = []
    for clip in range(4):
        state = segmenter.initial_state()
        for time in range(2):
            frame = shapes(clip, time)
            (result,), (state,) = segmenter.step([frame.image], [state])
            for mask, label in zip(frame.masks, frame.labels.tolist(), strict=True):
                full = [
                    m.to_full(HEIGHT, WIDTH) for m, class_id, score in zip(
                        result.masks, result.class_ids.tolist(), result.scores, strict=True
                    ) if class_id == label and score > 0.3
                ]
                found.append(max(((m & mask).sum() / (m | mask).sum() for m in full), default=0))
    return found


@pytest.mark.slow
def test_eight_frames_are_learned_by_heart(tmp_path: Path) -> None:
    config = tiny(
        tmp_path, batch_size=4, iterations=200, steps=(80,), learning_rate=2e-3, warm_up=20,
        clip_gradient=10.0, flip=False, log_every=20,
    )
    trainer = Trainer(config, ALONE, [ShapePairs()])
    untrained = np.mean(overlaps(trainer))
    reached = 0.0
    while reached < 0.95 and trainer.iteration < config.iterations:
        trainer.run(trainer.iteration + 20)
        reached = np.mean(overlaps(trainer))
        logging.info('mask IoU %.3f after %d iterations', reached, trainer.iteration)
    assert untrained < 0.5
    assert reached >= 0.95
