# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The network of a frame by other engines than PyTorch: the same instances, and clear refusals."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mask_models import mask_model
from small_models import noise, small_model
from small_msts import small_network
from torch import nn

from stmask_ros.cli import main
from stmask_ros.engines.cache import EngineCache
from stmask_ros.engines.toolkit import Engine
from stmask_ros.families.errors import ModelError
from stmask_ros.families.sipmask.towers import FeatureAlignment
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.layers.deformable import ModulatedDeformableConv2d
from stmask_ros.layers.processor import multiplies_bfloat16
from stmask_ros.models.checkpoint import Model, ModelDescription, load_model
from stmask_ros.models.conversion import convert
from stmask_ros.sources.built_in_clip import BuiltInClip
from stmask_ros.tracking import placement
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import Precision, VideoSegmenter, load_segmenter

CPU = torch.device('cpu')
FRAMES = 5


def msts_model(name: str, modules: bool) -> Model:
    description = ModelDescription(name, 'msts_lite', ('one', 'two', 'three'), family='msts')
    return Model(description, small_network(modules=modules), name)


OTHERS = [
    mask_model('sipmask', 'sipmask_tiny', {}),
    mask_model('sgnet', 'sgnet_tiny', {}),
    mask_model('sgnet', 'sgnet_tiny', {'motion_reads': 'centerness', 'spatial_attention': True}),
    msts_model('msts', modules=False),
    msts_model('msts_with_modules', modules=True),
]


def installed(engine: Engine) -> pytest.MarkDecorator:
    there = importlib.util.find_spec(engine) is not None
    return pytest.mark.skipif(not there, reason=f'{engine} is not installed')


ENGINES = [pytest.param(name, marks=installed(name)) for name in ('onnxruntime', 'openvino')]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is exported here."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'stmask_ros'


def results(segmenter: VideoSegmenter, frames: list[np.ndarray]) -> list[FrameResult]:
    state, found = segmenter.initial_state(), []
    for frame in frames:
        (result,), (state,) = segmenter.step([frame], [state])
        found.append(result)
    return found


def mask_iou(one: FrameResult, other: FrameResult) -> list[float]:
    ious = []
    for a, b in zip(one.masks, other.masks, strict=True):
        first, second = (m.to_full(one.image_height, one.image_width) for m in (a, b))
        union = (first | second).sum()
        ious.append((first & second).sum() / union if union else 1.0)
    return ious


def check_equal(found: list[FrameResult], expected: list[FrameResult]) -> None:
    """Ids and classes are the same; boxes within 0.01 pixel, scores 1e-4, masks IoU 0.995."""
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine.track_ids, theirs.track_ids)
        np.testing.assert_array_equal(mine.class_ids, theirs.class_ids)
        np.testing.assert_allclose(mine.boxes, theirs.boxes, atol=1e-2)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-4)
        assert min(mask_iou(mine, theirs), default=1) >= 0.995
    assert any(len(result) for result in expected)


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('name', ['STMask_plus_resnet50_ada', 'stmask_lite_distances'])
def test_every_kind_of_network_predicts_the_same(engine: Engine, name: str) -> None:
    """To 1e-4, in a batch too: fresh weights leave no ids that would be sure."""
    config = STMaskConfig.named(name)
    if name == 'stmask_lite_distances':
        model = load_fresh(replace(config, input_height=96, input_width=128))
    else:
        model = small_model(config)
    ours = VideoSegmenter(model, CPU, TrackerConfig(), engine=engine).network
    plain = VideoSegmenter(model, CPU, TrackerConfig()).network
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, expected = ours(images), plain(images)
        for mine, theirs in (
            (found.boxes, expected.boxes), (found.prototypes, expected.prototypes),
            (found.head.class_logits, expected.head.class_logits),
            (found.head.centerness, expected.head.centerness),
            *zip(found.head.upfeatures, expected.head.upfeatures, strict=True),
            (found.temporal.correlated, expected.temporal.correlated),
            (found.temporal.concatenated, expected.temporal.concatenated),
        ):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
        chosen = torch.arange(0, found.boxes.shape[1], 7)
        for mine, theirs in zip(
            ours.instances_at(found, 1, chosen), plain.instances_at(expected, 1, chosen),
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


def load_fresh(config: STMaskConfig) -> Model:
    model = small_model()
    network = model.family.build(config)
    model.family.initialise(network, 0)
    return replace(model, network=network.eval().requires_grad_(False))


def clips(shared: Path | None) -> list[list[np.ndarray]]:
    """Return frames of the built-in clip, and of real video where there is some."""
    built_in = BuiltInClip()
    found = [[built_in.frame(2 + index / 10) for index in range(FRAMES)]]
    if shared is not None:
        paths = sorted((shared / 'data' / 'davis' / 'JPEGImages' / 'car-shadow').glob('*.jpg'))
        found.append([cv2.imread(str(path)) for path in paths[:FRAMES]])
    return found


@pytest.mark.parametrize('engine', ENGINES)
def test_the_shipped_model_says_the_same_of_photographs_and_of_video(
    engine: Engine, shared_if_there: Path | None
) -> None:
    model = copied_away(load_model('stmask_lite'))
    plain = VideoSegmenter(model, CPU, TrackerConfig())
    segmenter = VideoSegmenter(model, CPU, TrackerConfig(), engine=engine)
    for frames in clips(shared_if_there):
        check_equal(results(segmenter, frames), results(plain, frames))


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('model', OTHERS, ids=lambda model: model.description.name)
def test_every_other_family_says_the_same_of_photographs_and_of_video(
    engine: Engine, model: Model, shared_if_there: Path | None
) -> None:
    """With fresh weights, whose scores differ by more than a hundred times what engines do."""
    tracker = model.tracker(None)
    plain = VideoSegmenter(model, CPU, tracker)
    segmenter = VideoSegmenter(model, CPU, tracker, engine=engine)
    for frames in clips(shared_if_there):
        check_equal(results(segmenter, frames), results(plain, frames))


@installed('openvino')
@pytest.mark.parametrize('model', [OTHERS[0], OTHERS[3]], ids=lambda m: m.description.name)
def test_images_of_another_shape_get_a_program_of_their_own(model: Model) -> None:
    told: list[str] = []
    tracker = model.tracker(None)
    plain = VideoSegmenter(model, CPU, tracker)
    segmenter = VideoSegmenter(model, CPU, tracker, engine='openvino', tell=told.append)
    assert len(told) == 2
    (landscape, *_) = clips(None)
    portrait = [np.ascontiguousarray(np.rot90(frame)) for frame in landscape[:2]]
    check_equal(results(segmenter, portrait), results(plain, portrait))
    check_equal(results(segmenter, landscape[:1]), results(plain, landscape[:1]))
    assert len(told) == 4 and told[0] != told[2]


@installed('openvino')
def test_export_writes_the_program_of_a_shape_ahead_of_time(tmp_path: Path) -> None:
    torch.save(OTHERS[0].network.state_dict(), tmp_path / 'trained.pth')
    out = tmp_path / 'portable.safetensors'
    convert(tmp_path / 'trained.pth', out, classes='one,two,three')
    export = ['export', str(out), '--engine', 'openvino', '--device', 'cpu']
    assert main([*export, '--image-size', '90x120']) == 0
    sizes = {path.name.split('.')[-2] for path in tmp_path.glob('*.xml')}
    assert sizes == {'frame-128x96', 'frame-96x128'}
    with pytest.raises(SystemExit):
        main([*export, '--image-size', '90'])


def copied_away(model: Model) -> Model:
    """Return the model as if it had no folder, so that the tests' cache is used."""
    return replace(model, description=replace(model.description, weights=None))


@installed('onnxruntime')
@pytest.mark.parametrize('deformable', [False, True])
@pytest.mark.parametrize('groups', [1, 4])
def test_onnx_has_the_deformable_layers_in_both_forms(
    deformable: bool, groups: int, tmp_path: Path
) -> None:
    import onnx
    import onnxruntime

    from stmask_ros.engines.onnx import write_onnx

    layer: nn.Module
    if groups == 1:
        layer = ModulatedDeformableConv2d(4, 6, 2).eval()
        nn.init.normal_(layer.conv_offset_mask.weight)
    else:
        layer = Aligned().eval()
    module = Tupled(layer)
    x = torch.randn(1, 4, 13, 20, generator=torch.Generator().manual_seed(0))
    path = tmp_path / 'layer.onnx'
    write_onnx(module, x, path, deformable)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert ('DeformConv' in kinds, 'GridSample' in kinds) == (deformable, not deformable)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(found, layer(x).detach().numpy(), atol=4e-5)


class Aligned(nn.Module):
    # SipMask's, with offsets of its own for each of four groups of channels.
    def __init__(self) -> None:
        super().__init__()
        self.align = FeatureAlignment(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        aligned: torch.Tensor = self.align(x, self.align.conv_offset(x))
        return aligned


class Tupled(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.layer(x),)


# The cache, with a module that is quick to export.


def engine_cache(folder: Path | None, told: list[str], digest: str = 'a') -> EngineCache:
    return EngineCache('openvino', 'small', digest, 'as it is', folder, CPU, told.append)


def compiled(cache: EngineCache) -> Callable[[torch.Tensor], object]:
    module = Tupled(nn.Conv2d(3, 4, 3))
    return cache.compiled('part', module, torch.zeros(1, 3, 8, 8), 'float32')


@installed('openvino')
def test_what_was_exported_is_found_again(tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / 'model'
    folder.mkdir()
    compiled(engine_cache(folder, told))
    assert 'exporting' in told[0] and 'exported' in told[1]
    names = [path.name for path in folder.iterdir()]
    assert sorted(Path(name).suffix for name in names) == ['.bin', '.xml']
    compiled(engine_cache(folder, told))
    assert len(told) == 2
    compiled(engine_cache(folder, told, digest='of other weights'))
    assert len(told) == 4 and set(names) < {path.name for path in folder.iterdir()}


@installed('openvino')
def test_without_a_folder_the_users_cache_is_taken(cache: Path) -> None:
    compiled(engine_cache(None, []))
    assert list(cache.glob('small.openvino-*.part.xml'))


SIGNALLED = """
import gc, os, pathlib, signal, sys
import torch
from stmask_ros.engines.openvino import OpenVINO

class Twice(torch.nn.Module):
    def forward(self, images):
        return (2 * images,)

engine, path, cpu = OpenVINO(), pathlib.Path(sys.argv[1]), torch.device('cpu')
engine.export(Twice(), torch.zeros(1, 3, 8, 8), path)
programs = [engine.load(path, cpu, 'float32') for _ in range(2)]
while programs:
    programs.pop(0)
    gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print('handled'))
os.kill(os.getpid(), signal.SIGUSR1)
"""


@installed('openvino')
def test_signals_are_handled_after_programs_are_gone(tmp_path: Path) -> None:
    """OpenVINO moves the stack of signal handlers, on processors whose registers are wide."""
    done = subprocess.run(
        [sys.executable, '-c', SIGNALLED, str(tmp_path / 'twice.xml')],
        capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr


@installed('openvino')
def test_a_damaged_file_is_refused_and_named(tmp_path: Path) -> None:
    compiled(engine_cache(tmp_path, []))
    (path,) = tmp_path.glob('*.xml')
    path.write_text('<net')
    with pytest.raises(ModelError, match=r'part\.xml cannot be loaded; if you remove it'):
        compiled(engine_cache(tmp_path, []))


@pytest.mark.skipif(
    importlib.util.find_spec('tensorrt') is not None, reason='tensorrt is installed')
def test_an_engine_that_is_not_installed_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ModelError, match=r"not installed: pip install 'stmask-ros\[tensorrt\]'"):
        load_segmenter('stmask_lite', engine='tensorrt')
    assert main(['export', 'stmask_lite', '--engine', 'tensorrt']) == 1
    assert "engine 'tensorrt' was asked for and is not installed" in caplog.text


@installed('onnxruntime')
def test_an_engine_refuses_a_precision_that_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, 'multiplies_bfloat16', lambda: True)
    model = small_model()
    with pytest.raises(ModelError, match="runs here in float32, got precision 'bfloat16'"):
        VideoSegmenter(model, CPU, TrackerConfig(), precision='bfloat16', engine='onnxruntime')


# Precision.


@pytest.mark.parametrize(('has', 'measured', 'expected'), [
    (True, True, 'bfloat16'), (False, True, 'float32'), (True, False, 'float32'),
])
def test_auto_is_what_the_processor_has_and_the_model_bears(
    monkeypatch: pytest.MonkeyPatch, has: bool, measured: bool, expected: Precision
) -> None:
    monkeypatch.setattr(placement, 'multiplies_bfloat16', lambda: has)
    model = small_model()
    precisions = {'torch': ['bfloat16']} if measured else {}
    model = replace(
        model, description=replace(model.description, measured_precisions=precisions)
    )
    assert placement.chosen_precision('auto', CPU, 'torch', model) == expected
    assert placement.chosen_precision('auto', CPU, 'openvino', model) == 'float32'


def test_bfloat16_is_refused_where_it_would_be_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, 'multiplies_bfloat16', lambda: False)
    with pytest.raises(ModelError, match='no instructions for it'):
        load_segmenter('stmask_lite', precision='bfloat16')


def test_bfloat16_detects_and_tracks_on_a_cpu() -> None:
    model = small_model()
    tracker = TrackerConfig(score_threshold=0.0)
    half = VideoSegmenter(model, CPU, tracker, precision='bfloat16')
    assert {p.dtype for p in half.network.parameters()} == {torch.bfloat16}
    first, second = results(half, [noise(1), noise(1)])
    assert len(first) and set(first.track_ids) & set(second.track_ids)


@pytest.mark.parametrize(('known', 'multiplies'), [
    ({'avx2': True}, False), ({'avx512_bf16': True}, True), ({'amx_bf16': True}, True),
    ({'bf16': True}, True), ({'bf16': False}, False),
])
def test_the_processor_is_asked_for_its_bfloat16(
    known: dict[str, bool], multiplies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: known, raising=False)
    assert multiplies_bfloat16() is multiplies


@pytest.mark.parametrize('asked', ['_is_avx512_bf16_supported', '_is_amx_tile_supported', None])
def test_an_older_torch_is_asked_in_another_way(
    asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == asked, raising=False)
    assert multiplies_bfloat16() is (asked is not None)
