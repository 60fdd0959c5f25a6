"""The learning part: front-end, resumption, bad footage, and a small training that must work."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[train]'")

from seehear_training import footage, learn, mel, nets, objective, spots  # noqa: E402
from seehear_training.batches import Material, Recipe  # noqa: E402

SECONDS = 8


def puppet(folder: Path, seed: int, offset_ms: float = 0.0) -> spots.Spot:
    """A clip of a flap that opens with syllables of noise: all that agreement needs."""
    rng = np.random.default_rng(seed)
    count = SECONDS * 25
    fine = np.zeros(SECONDS * 1000 + 400)
    at = 0
    while at < len(fine):
        at += int(rng.integers(60, 400))
        length = int(rng.integers(60, 260))
        fine[at : at + length] = np.hanning(length)[: len(fine[at : at + length])] * rng.uniform(0.5, 1)
    video = np.full((count, 48, 48), 120, np.uint8)
    for k in range(count):
        half = round(10 * fine[40 * k])
        video[k, 24 - half : 24 + half + 1, 14:34] = 30
    late = round(offset_ms)
    envelope = np.roll(fine, late)[: SECONDS * 1000]
    sound = np.repeat(envelope, 16) * rng.standard_normal(SECONDS * 16000) * 4000
    folder.mkdir(parents=True, exist_ok=True)
    name = f"p{seed}"
    footage.store(folder / name, video, sound.astype(np.int16), {"cuts": []})
    return spots.Spot(name, 0, count, (24.0, 24.0), (24.0, 24.0), 48.0, True, offset_ms)


def material(folder: Path, known: int, latent: int = 0, late_ms: float = 0.0) -> Material:
    """Puppets in sync that say so, and puppets whose sound is late, which is not told."""
    found = [puppet(folder, seed) for seed in range(known)]
    for seed in range(known, known + latent):
        spot = puppet(folder, seed, late_ms)
        found.append(spots.Spot(**{**spot.__dict__, "known": False, "offset_ms": 0.0}))
    clips = {s.clip: footage.Clip(s.clip, s.clip, folder / s.clip) for s in found}
    return Material(clips, found)


RECIPE = Recipe(48, 48, slots=16, reach=10, face=(44, 52), wander=0.05, augment=False)


def stage(steps: int, **more: object) -> learn.Stage:
    """A stage for tests: exact arithmetic, one thread's worth of work."""
    return learn.Stage(
        steps=steps, batch=8, rate=3e-3, half=False, recipe=RECIPE, weights=objective.Weights(0, 0, 0), **more
    )  # type: ignore[arg-type]


def test_log_mel_of_a_tone_peaks_in_its_band() -> None:
    time = np.arange(16000) / 16000
    out = mel.log_mel(np.sin(2 * np.pi * 1000 * time).astype(np.float32))
    assert out.shape == (64, 100)
    centres = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([60, 7600]) / 700)), 66)[1:-1] / 2595) - 1)
    assert abs(centres[int(out[:, 50].argmax())] - 1000) < 60


def golden_signal(count: int) -> np.ndarray:
    """The same formula of integers as in tests/golden/make_logmel.py."""
    i = np.arange(count, dtype=np.int64)
    chirp = ((i * i) // 40 % 2000 - 1000) / 2000
    low = ((i * 37) % 1600 - 800) / 3000
    burst = np.where((i // 800) % 3 == 0, 1.0, 0.05)
    return ((chirp + low) * burst * (i < count - 1600)).astype(np.float32)


def test_log_mel_is_the_product_s() -> None:
    path = Path(__file__).parents[2] / "tests" / "golden" / "logmel.json"
    golden = json.loads(path.read_text())
    out = mel.log_mel(golden_signal(golden["samples"]))
    np.testing.assert_allclose(out.T[golden["frames"]], golden["logmel"], atol=2e-3)


def test_folding_the_batch_norm_changes_nothing() -> None:
    torch.manual_seed(0)
    net = nets.SyncNet(nets.TINY)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    folded = nets.folded(net).eval()
    assert not any(isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d) for m in folded.modules())
    stacks, sound = torch.rand(2, 5, 48, 48) - 0.5, torch.randn(1, 1, 64, 40)
    net.eval()
    with torch.inference_mode():
        torch.testing.assert_close(folded.video(stacks), net.video(stacks))
        torch.testing.assert_close(folded.audio(sound), net.audio(sound))


def test_audio_net_sees_no_further_than_it_says() -> None:
    net = nets.AudioNet(nets.TINY).eval()
    x = torch.randn(1, 1, 64, 60)
    y = x.clone()
    y[..., 40:] += 1.0
    with torch.inference_mode():
        change = (net(x) - net(y)).abs().amax((0, 1))
    first = int(torch.nonzero(change > 1e-6)[0])
    assert first == 40 - nets.AudioNet.CONTEXT


def test_similarity_is_the_mean_product_at_each_shift() -> None:
    torch.manual_seed(0)
    video, audio = torch.randn(2, 6, 8, 3), torch.randn(2, 8, 4 * (6 + 2 * 2))
    out = objective.similarity(video, audio, reach=2)
    assert out.shape == (2, 17, 3)
    by_hand = sum(float(video[1, t, :, 2] @ audio[1, :, 4 * t + 5]) for t in range(6)) / 6
    assert abs(float(out[1, 5, 2]) - by_hand) < 1e-5


def test_a_short_training_lowers_the_loss_and_finds_hidden_offsets(tmp_path: Path) -> None:
    # Without clips in sync there is no zero: a network that answers 40 ms later for everything is as good.
    torch.manual_seed(3)
    torch.set_num_threads(1)
    stuff = material(tmp_path / "m", known=6, latent=4, late_ms=120.0)
    learner = learn.Learner(nets.SyncNet(nets.TINY), stuff, stage(300), tmp_path / "run")
    learner.train()
    first, last = learner.history[0], learner.history[-1]
    assert last["shift"] < first["shift"] - 0.2, learner.history
    assert min(last["real"], last["known"]) > 0.8, learner.history
    # The prior at zero pulls a little: the puppets have no more than a few seconds each.
    assert all(abs(ms - 120) <= 40 for ms in learner.offsets().values()), learner.offsets()


def test_resumed_training_equals_uninterrupted(tmp_path: Path) -> None:
    def run(name: str, parts: tuple[int, ...]) -> dict[str, torch.Tensor]:
        for steps in parts:
            torch.manual_seed(5)
            learner = learn.Learner(nets.SyncNet(nets.TINY), stuff, stage(2 * learn.ROUND), tmp_path / name)
            learner.resume()
            while learner.step < steps:
                learner.train_round()
        return learner.net.state_dict()

    torch.set_num_threads(1)
    stuff = material(tmp_path / "m", known=2, latent=2)
    whole = run("whole", (2 * learn.ROUND,))
    resumed = run("parts", (learn.ROUND, 2 * learn.ROUND))
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def test_a_loss_that_is_no_number_stops_with_seed_and_step(tmp_path: Path) -> None:
    net = nets.SyncNet(nets.TINY)
    with torch.no_grad():
        net.log_scale.fill_(float("nan"))
    learner = learn.Learner(net, material(tmp_path / "m", known=2), stage(10, seed=7), tmp_path / "run")
    with pytest.raises(learn.Diverged, match=r"step 0, seed 7"):
        learner.train()


def test_unreadable_and_silent_footage_is_listed_and_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "footage"
    folder.mkdir()
    (folder / "broken.mp4").write_bytes(b"not a film")
    make = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x48:r=30:d=3", "-f", "lavfi", "-i"]
    for name, sound in (("good", "sine=d=3"), ("silent", "anullsrc=d=3")):
        subprocess.run([*make, sound, "-shortest", str(folder / f"{name}.mp4")], check=True)
    subprocess.run([*make[:8], str(folder / "mute.mp4")], check=True)
    found = footage.collect([folder], tmp_path / "cache")
    assert [c.name for c in found.clips] == ["footage/good.mp4"]
    assert {Path(n).name for n, _ in found.skipped} == {"broken.mp4", "silent.mp4", "mute.mp4"}
    clip = found.clips[0]
    assert clip.video().shape == (75, 288, 384)
    assert len(clip.audio()) == 75 * 640
    assert json.loads((clip.folder / "clip.json").read_text())["cuts"] == []


def test_a_cut_is_found_where_it_is() -> None:
    rng = np.random.default_rng(0)
    shots = [np.repeat(rng.integers(0, 255, (1, 288, 512), np.uint8), 20, 0) for _ in range(3)]
    assert footage.find_cuts(np.concatenate(shots)) == (20, 40)
