"""Separation: streaming is batch, nothing hears the future, mixtures are the sum of their parts, exports agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxruntime")

import export_separation  # noqa: E402
from seehear_training import sep_data, sep_measure, separation  # noqa: E402
from seehear_training.footage import SLOT  # noqa: E402
from seehear_training.sep_learn import Learner, Plan, losses, mix  # noqa: E402
from seehear_training.sep_mix import Mixer, Recipe  # noqa: E402
from seehear_training.separation import HOP, WINDOW  # noqa: E402


def voice(k: int, kind: str = "footage", slots: int = 80) -> sep_data.Voice:
    """A hum of its own pitch that swells; its embeddings tell how loud it is."""
    rng = np.random.default_rng(k)
    time = np.arange(slots * SLOT) / 16_000
    swell = np.clip(np.sin(2 * np.pi * (0.7 + 0.2 * k) * time + k), 0, 1)
    audio = sum(np.sin(2 * np.pi * (170 + 60 * k) * h * time) / h for h in (1, 2, 3, 4)) * swell
    loud = swell.reshape(slots, SLOT).mean(1)
    base, way = rng.standard_normal((2, separation.DIM))
    heard = base * 0.1 + np.outer(2 * loud - 1, np.arange(separation.DIM) < 64) + 0 * way
    heard /= np.linalg.norm(heard, axis=1, keepdims=True)
    seen = np.repeat(heard[:, None], 9, 1) if kind != "sound" else np.zeros((0, 9, separation.DIM))
    if kind == "still":
        audio, seen = audio * 0, np.repeat(np.roll(seen[:1], 3, -1), slots, 0)
    pcm = np.round(audio * 6000).astype(np.int16)
    return sep_data.Voice(f"v{k}", f"p{k}", kind, pcm, seen.astype(np.float16), heard.astype(np.float16), 4, 0.9)


VOICES = [voice(0), voice(1), voice(2, "scene"), voice(3, "sound"), voice(4, "still")]


def examples(net: separation.SepNet, hops: int) -> tuple[torch.Tensor, ...]:
    """Mixture, embedding, state."""
    return export_separation.examples(net, hops, 5)


@pytest.fixture(scope="module")
def net() -> separation.SepNet:
    """A small one, its weights not quite those it begins with."""
    torch.manual_seed(3)
    return separation.SepNet(separation.TINY).eval()


def test_analysis_and_synthesis_give_the_samples_back() -> None:
    audio = torch.from_numpy(np.random.default_rng(1).standard_normal(20 * HOP).astype(np.float32))
    again = separation.istft(separation.stft(audio))
    assert torch.allclose(again[:-HOP], audio[:-HOP], atol=1e-5)


def test_hop_t_knows_no_sample_after_its_own() -> None:
    audio = torch.zeros(8 * HOP)
    audio[5 * HOP + 100] = 1.0
    power = separation.stft(audio).square().sum((1, 2))
    assert power[:5].max() == 0
    assert power[5] > 0 and power[6] > 0
    assert power[7:].max() == 0


@torch.inference_mode()
def test_a_hop_at_a_time_is_one_run_over_all(net: separation.SepNet) -> None:
    mixture, embedding, state = examples(net, 45)
    mask, after = net(mixture, embedding, state)
    masks, carried = [], state
    for t in range(45):
        one, carried = net(mixture[:, t : t + 1], embedding[:, t : t + 1], carried)
        masks.append(one)
    assert (torch.cat(masks, 1) - mask).abs().max() < 1e-5
    assert (carried - after).abs().max() < 1e-5


@torch.inference_mode()
def test_nothing_depends_on_what_comes_later(net: separation.SepNet) -> None:
    mixture, embedding, state = examples(net, 30)
    mask, _ = net(mixture, embedding, state)
    mixture[:, 20:] = 3.0
    embedding[:, 20:] = 0.0
    other, _ = net(mixture, embedding, state)
    assert torch.equal(mask[:, :20], other[:, :20])
    assert (mask[:, 20:] - other[:, 20:]).abs().max() > 1e-4


@torch.inference_mode()
def test_the_level_hardly_matters_and_masks_are_bounded(net: separation.SepNet) -> None:
    mixture, embedding, state = examples(net, 30)
    mask, _ = net(mixture, embedding, state)
    louder, _ = net(mixture * 4, embedding, state)
    assert (mask - louder).abs().max() < 0.01
    assert mask.square().sum(2).max() <= 1.0


def test_slots_of_hops() -> None:
    assert separation.slots_of_hops(6).tolist() == [0, 0, 0, 1, 1, 2]


def test_bands_cover_every_bin_once() -> None:
    for bands in (6, 28):
        edges = separation.band_edges(bands)
        assert edges[0] == 0 and edges[-1] == WINDOW // 2 + 1 and len(edges) == bands + 1
        assert min(np.diff(edges)) >= 3


def test_a_mixture_is_the_sum_of_its_voices() -> None:
    recipe = Recipe(seconds=1.28, counts=(0, 0.5, 0.5), noise=0.0)
    mixer = Mixer(VOICES, recipe)
    for k in range(12):
        m = mixer.draw((1, k))
        assert np.abs(m.voices.sum(0) - m.mixture).max() < 1e-5
        assert m.mixture.shape == (80 * HOP,) and m.guides.shape == (2, 80, separation.DIM)
        assert len(set(m.people)) == len(m.people)
        for target in m.targets:
            assert not target.any() or min(np.abs(v - target).max() for v in m.voices) < 1e-6


def test_the_same_seed_is_the_same_mixture() -> None:
    one, again, other = (Mixer(VOICES, Recipe(seconds=1.28)).draw((4, k)) for k in (2, 2, 3))
    assert np.array_equal(one.mixture, again.mixture) and np.array_equal(one.guides, again.guides)
    assert not np.array_equal(one.mixture, other.mixture)


def test_noise_belongs_to_nobody() -> None:
    mixer = Mixer(VOICES, Recipe(seconds=1.28, counts=(0, 1), noise=1.0))
    m = mixer.draw((1, 1))
    rest = m.mixture - m.voices.sum(0)
    assert 0.01 < np.std(rest) / np.std(m.mixture) < 0.9


def test_what_is_told_is_of_the_same_time_as_what_is_heard() -> None:
    """The hum's embeddings tell its loudness: both must swell together, at any speed."""
    recipe = Recipe(seconds=1.92, targets=1, counts=(1,), silent=0, pauses=0, room=0, noise=0, footage=1, scenes=0)
    mixer = Mixer(VOICES[:2], recipe)
    agreements = []
    for k in range(20):
        m = mixer.draw((5, k))
        level = np.sqrt(np.square(m.targets[0]).reshape(-1, HOP).mean(1))
        told = m.guides[0][:, :64].mean(1)
        seen = np.abs(m.guides[0]).max(1) > 0
        if level[seen].std() > 0:
            agreements.append(np.corrcoef(level[seen], told[seen])[0, 1])
    assert np.median(agreements) > 0.7


def test_si_sdr_is_what_it_should_be() -> None:
    rng = np.random.default_rng(1)
    target, noise = rng.standard_normal((2, 16_000)).astype(np.float32)
    assert sep_measure.si_sdr(0.3 * (target + 0.1 * noise), target) == pytest.approx(20, abs=0.3)


def test_the_ideal_mask_is_far_better_than_nothing() -> None:
    drawn = sep_measure.mixtures(VOICES[:2], 2.0, 2, 3, 1)
    figures = sep_measure.figures(sep_measure.bound(drawn))
    assert figures["mean"] > 8 and figures["worse"] == 0


def test_silence_is_measured() -> None:
    drawn = sep_measure.mixtures(VOICES[:2], 2.0, 2, 2, 1)
    measured = sep_measure.silence(lambda m, _: 0.1 * m, drawn, [m.guides[0] for m in drawn])
    assert measured == pytest.approx([20, 20], abs=0.1)


def test_the_loss_is_the_error_of_the_masked_spectrum() -> None:
    rng = np.random.default_rng(1)
    mixture, target = (
        torch.from_numpy(rng.standard_normal((3, 9, 2, separation.BINS)).astype(np.float32)) for _ in "ab"
    )
    target[2] = 0
    gains = torch.from_numpy(rng.random((3, 9, separation.BINS)).astype(np.float32))
    out = losses(gains, mixture, target, Plan())
    error = (gains[:, :, None] * mixture - target).square().sum((1, 2, 3))
    expected = 10 * torch.log10(target.square().sum((1, 2, 3)) / error)
    assert torch.allclose(out.snr[:2], expected[:2], atol=0.02) and out.snr[2].isnan()
    left = 10 * torch.log10((gains[2, :, None] * mixture[2]).square().sum() / mixture[2].square().sum() + 1e-3)
    assert out.left[:2].isnan().all() and float(out.left[2]) == pytest.approx(float(left), abs=0.01)
    perfect = losses(torch.ones_like(gains), mixture, mixture, Plan())
    assert perfect.snr.min() > 25 and perfect.value.max() < out.value.min()


def test_rows_are_sums_and_both_voices_hear_the_same() -> None:
    recipe = Recipe(seconds=0.96, counts=(0.3, 0.4, 0.3), noise=0, silent=0.2)
    parts = Mixer(VOICES, recipe).parts((1,), 4)
    rows = mix(parts, recipe, np.random.default_rng(2), each=4)
    n = len(rows.mixture)
    assert n == 8 and len(rows.target) == len(rows.guide) == 16
    assert (rows.voices.sum(1) - rows.mixture).abs().max() < 1e-4
    power = rows.mixture.square().sum(2).mean((1, 2))
    assert (power - 1).abs().max() < 0.01
    for k in range(16):
        voices = rows.voices[k % n]
        assert rows.target[k].abs().max() == 0 or (voices - rows.target[k]).abs().amax((1, 2, 3)).min() == 0


def test_voices_are_kept_whole(tmp_path: Path) -> None:
    sep_data.save(tmp_path, VOICES, "v")
    again = sep_data.load(tmp_path / "v.npz")
    assert [v.name for v in again] == [v.name for v in VOICES]
    assert all(
        np.array_equal(a.audio, b.audio) and np.array_equal(a.seen, b.seen) for a, b in zip(again, VOICES, strict=True)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["v.npz"]


def small_run(folder: Path, voices: int = 1, steps: int = 60) -> Learner:
    torch.manual_seed(1)
    recipe = Recipe(seconds=0.96, counts=(0, 1, 0), noise=0, room=0, pauses=0, silent=0)
    size = separation.Size(**{**separation.TINY.__dict__, "voices": voices})
    plan = Plan(steps=steps, parts=4, each=2, rate=1e-2, half=False)
    return Learner(separation.SepNet(size), Mixer(VOICES, recipe), plan, folder)


def test_learning_learns_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = small_run(tmp_path / "whole", steps=100)
    whole.train_round()
    whole.train_round()
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]

    first = small_run(tmp_path / "parts", steps=100)
    first.train_round()
    second = small_run(tmp_path / "parts", steps=100)
    assert second.resume() and second.step == 50
    second.train_round()
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, second.net.state_dict()[name]), name


def test_the_baseline_learns_without_being_told(tmp_path: Path) -> None:
    learner = small_run(tmp_path, voices=2)
    learner.train_round()
    before = learner.net.guide_in.weight.clone()
    assert np.isfinite(learner.history[-1]["loss"])
    drawn = sep_measure.mixtures(VOICES[:2], 1.0, 2, 2, 1)
    assert len(sep_measure.blind(learner.net, drawn)) == 4
    learner.plan = Plan(steps=100, parts=4, each=2, half=False)
    learner.train_round()
    # Nothing comes in there but zeros.
    assert torch.allclose(before, learner.net.guide_in.weight, rtol=0.01)


def test_export_agrees_with_torch(net: separation.SepNet, tmp_path: Path) -> None:
    file = tmp_path / "tiny.onnx"
    assert export_separation.write(net, file) < 1e-5
    import tomllib

    facts = tomllib.loads(export_separation.manifest("tiny", "av-small", net, file, "nobody", "none"))
    assert facts["kind"] == "separation" and facts["state"] == net.state_size
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.onnx"]
