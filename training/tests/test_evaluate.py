"""The measures themselves, on embeddings whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[train]'")

from seehear_training import evaluate, footage, spots

DIM = 16


class Perfect:
    """An engine whose sound is the code of the moment it was made, and whose picture shows it in one cell."""

    name, scale, zero_ms = "perfect", 40.0, 0.0

    def audio(self, log_mel: np.ndarray) -> np.ndarray:
        """Not asked: no sound is recut here."""
        raise NotImplementedError

    video = audio


def item(name: str, slots: int, late_ms: int, seed: int) -> evaluate.Embedded:
    """Slot t shows in cell (1, 2) what sounds `late_ms` later; noise elsewhere."""
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((4 * slots + 400, DIM)).astype(np.float32)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    maps = rng.standard_normal((slots, DIM, 3, 4)).astype(np.float32)
    maps /= np.linalg.norm(maps, axis=1, keepdims=True)
    maps[:, :, 1, 2] = codes[200 + 4 * np.arange(slots)]
    first = 200 - late_ms // 10
    clip = footage.Clip(name, name, Path("nowhere"))
    return evaluate.Embedded(clip, [maps], codes[first : first + 4 * slots].T.copy())


@pytest.mark.parametrize("late_ms", [-430, 0, 10, 250])
def test_the_curve_s_peak_is_the_offset(late_ms: int) -> None:
    found = evaluate.refine(evaluate.curve(item("a", 90, late_ms, 1), 30, 55, Perfect()))
    assert abs(found - late_ms) < 5


def test_pointing_finds_whose_sound_it_is() -> None:
    items = [item(n, 150, late, k) for k, (n, late) in enumerate([("a", 0), ("b", 80), ("c", -120), ("d", 40)])]
    offsets = {"a": 0.0, "b": 80.0, "c": -120.0, "d": 40.0}
    out = evaluate.pointing(Perfect(), items, offsets, trials=20)
    assert all(s["share"] == 1.0 for s in out.values()), out


def test_windows_keep_clear_of_what_is_unseen() -> None:
    a = item("a", 150, 0, 1)
    a.unseen = ((60, 80), (120, 150))
    starts = a.windows(25, 25)
    assert starts == [15, 80]
    assert all(end <= begin or start >= stop for start in starts for end in [start + 25] for begin, stop in a.unseen)


def test_a_patch_follows_its_path_and_stays_within_the_map() -> None:
    maps = np.arange(2 * 1 * 4 * 5, dtype=np.float32).reshape(2, 1, 4, 5)
    out = evaluate.patch(maps, np.array([2.5, 4.9]), np.array([1.2, 0.0]))
    assert out.shape == (2, 1, 3, 3)
    assert out[0, 0, 1, 1] == maps[0, 0, 1, 2]
    assert out[1, 0, 0, 2] == maps[1, 0, 0, 4]


def test_recut_moves_the_sound_by_samples() -> None:
    sound = np.arange(1, 11, dtype=np.int16)
    assert evaluate.recut(sound, 3).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert evaluate.recut(sound, -4).tolist() == [5, 6, 7, 8, 9, 10, 0, 0, 0, 0]


def test_wilson_s_interval_is_his() -> None:
    low, high = evaluate.wilson(8, 10)
    assert abs(low - 0.4902) < 1e-3 and abs(high - 0.9433) < 1e-3


@pytest.mark.parametrize(("rows", "asked"), [(144, 90), (288, 180)])
def test_faces_are_brought_to_the_size_asked_for_whatever_the_picture_s(
    rows: int, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "video.npy", np.zeros((40, rows, 400), np.uint8))
    np.save(tmp_path / "audio.npy", np.zeros(40 * 640, np.int16))
    clip = footage.Clip("a", "a", tmp_path)
    sides: list[int] = []

    def see(_: object, video: np.ndarray, side: int) -> np.ndarray:
        sides.append(side)
        return np.zeros((len(video), DIM, 4, 4), np.float16)

    monkeypatch.setattr(evaluate, "see", see)
    monkeypatch.setattr(evaluate, "hear", lambda *_: np.zeros((DIM, 160), np.float32))
    spot = spots.Spot("a", 0, 40, x=(50.0,), y=(50.0,), face=80.0, offset_ms=0.0, known=True)
    evaluate.follow(Perfect(), clip, [spot], face=50.0)
    assert sides == [asked]
