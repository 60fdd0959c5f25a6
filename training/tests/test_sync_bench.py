"""The sync bench on made-up programs, and the baseline on made-up motion."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import sync_bench
from seehear_training import sync_baseline


def test_the_baseline_finds_motion_that_follows_the_sound() -> None:
    rng = np.random.default_rng(1)
    level = np.convolve(rng.normal(size=1200), np.ones(20) / 20, "same").astype(np.float32)
    for moved in (-230, 0, 140):
        # What is seen at 40 k is heard at 40 k + moved.
        at = np.clip(np.arange(300) * 4 + moved // 10, 0, 1199)
        energy = rng.normal(0, 0.05, (300, 12)).astype(np.float32)
        energy[:, 7] += level[at]
        assert sync_baseline.offset_ms(energy, level) == pytest.approx(moved, abs=3)
    assert sync_baseline.offset_ms(energy[:60], level[:200]) is None


def test_the_baseline_looks_at_the_talker_it_is_told_of() -> None:
    turns = [{"start_ms": 0, "end_ms": 4000, "who": 0}, {"start_ms": 4000, "end_ms": 12000, "who": 1}]
    grid = {"width": 1280, "height": 720, "cells": [[0, 0, 640, 720], [640, 0, 640, 720]], "turns": turns}
    cells, heard = sync_baseline.talker({**grid, "people": ["a.mp4", "b.mp4"]}, 300) or pytest.fail("nobody")
    assert {c % 16 for c in cells} == set(range(8, 16)) and len(cells) == 8 * 9
    assert heard.tolist() == [k >= 100 for k in range(300)]
    # A face of 160 by 160 at (800, 320): its lower half is two cells wide, one high.
    face = {"box": [None, [800, 320, 160, 160]]}
    cells, _ = sync_baseline.talker({**grid, "people": [face, face]}, 300) or pytest.fail("nobody")
    assert cells == [5 * 16 + 10, 5 * 16 + 11]
    assert sync_baseline.talker({**grid, "turns": [{"start_ms": 0, "end_ms": 9, "who": -1}]}, 300) is None
    # Elsewhere something follows the sound better, but at another time; what is not heard does not count.
    rng = np.random.default_rng(2)
    level = np.convolve(rng.normal(size=1200), np.ones(20) / 20, "same").astype(np.float32)
    at = np.arange(300) * 4
    energy = rng.normal(0, 0.02, (300, 2)).astype(np.float32)
    energy[:, 0] += level[np.clip(at + 10, 0, 1199)]
    energy[:, 1] += np.where(heard, 1, -9) * level[np.clip(at - 20, 0, 1199)]
    assert sync_baseline.offset_ms(energy, level) == pytest.approx(100, abs=3)
    assert sync_baseline.offset_ms(energy[:, 1:], level, heard=heard) == pytest.approx(-200, abs=3)
    assert sync_baseline.offset_ms(energy, level, heard=np.zeros(300, bool)) is None


def test_the_baseline_is_told_the_mean_lead_of_generated_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    level = np.convolve(rng.normal(size=1200), np.ones(20) / 20, "same").astype(np.float32)
    seen = level[np.clip(np.arange(300) * 4 + 18, 0, 1199)][:, None]  # 100 ms late, lips 80 ms ahead
    monkeypatch.setattr(sync_baseline, "motion", lambda _: seen)
    monkeypatch.setattr(sync_baseline, "loudness", lambda _: level)
    said = sync_bench.baseline(Path("a.mp4"), {"people": [{"lead_ms": 95.0}]}, place=False)
    assert said.offset_ms == pytest.approx(100, abs=3)
    said = sync_bench.baseline(Path("a.mp4"), {"people": ["a.mp4"]}, place=False)
    assert said.offset_ms == pytest.approx(180, abs=3)


def test_confidence_is_compared_with_what_was_right() -> None:
    some = [sync_bench.Result(str(k), 5.0 if k % 2 else 30.0, 0.4 + 0.1 * (k // 2)) for k in range(6)]
    told = sync_bench.groups([*some, sync_bench.Result("none", None, 0.99)])
    assert [p for p, _ in told] == [0.4, 0.5, 0.6]
    assert [(s["share"], s["count"]) for _, s in told] == [(0.5, 2)] * 3


def program(folder: Path, said: dict[str, float | None]) -> Path:
    """A `seehear` that says these offsets."""
    path = folder / "seehear"
    path.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\nname = pathlib.Path(sys.argv[2]).name\n"
        f"said = {said!r}\nprint(json.dumps({{'offset_ms': said[name], 'confidence': 0.9}}))\n"
    )
    path.chmod(0o755)
    return path


def test_the_unmoved_scene_is_taken_off_and_can_t_tell_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, moved in (("a", 100), ("b", -60), ("c", 0)):
        (tmp_path / f"{name}.truth.json").write_text(json.dumps({"offset_ms": moved}))
        (tmp_path / f"{name}.mp4").touch()
    (tmp_path / "a.ref.mp4").touch()
    negatives = tmp_path / "negatives"
    negatives.mkdir()
    (negatives / "n.mp4").touch()
    said = {"a.mp4": 135.0, "a.ref.mp4": 30.0, "b.mp4": -95.0, "c.mp4": None, "n.mp4": None}
    fake = program(tmp_path, said)
    command = ["sync_bench.py", str(tmp_path), "--seehear", str(fake), "--negatives", str(negatives), "--no-baseline"]
    monkeypatch.setattr(sys, "argv", [*command, "--json"])
    assert sync_bench.main() == 0
    out = json.loads(capsys.readouterr().out)
    assert [r["error_ms"] for r in out["scenes"]] == [5.0, -35.0, None]
    got = out["results"]["seehear"]
    assert (got["told"], got["within_20_ms"]["share"], got["within_40_ms"]["share"]) == (2, 0.3333, 0.6667)
    assert (got["median_ms"], got["median_of_told_ms"], out["nobody"]["share"]) == (35.0, 20.0, 1.0)
    monkeypatch.setattr(sys, "argv", command)
    assert sync_bench.main() == 0
    assert "| seehear | 2 of 3 | 33.3% (6%–79%, n 3)" in capsys.readouterr().out


def test_a_talkers_own_lead_is_taken_off_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        sync_bench.Result("a", 12.0, 0.9, 10.0),
        sync_bench.Result("b", -3.0, 0.9),
        sync_bench.Result("c", None, 0.0),
    ]
    assert [r.error_ms for r in sync_bench.timed(results)] == [2.0, -3.0, None]
    truth = {"offset_ms": 100, "people": [{"lead_ms": 92.5}]}
    assert sync_bench.judge(lambda *_: sync_bench.Answer(110.0), Path("a.mp4"), truth) == sync_bench.Result(
        "a", 10.0, 1.0, 12.5
    )
    sync_bench.report({"seehear": results, sync_bench.TRIVIAL: results}, [], True)
    rows = json.loads(capsys.readouterr().out)["results"]
    assert list(rows) == ["seehear", "seehear, leads taken off", "always zero"]
    assert rows["seehear, leads taken off"]["median_of_told_ms"] == 2.5
    two = {"offset_ms": 100, "people": ["x.mp4", "y.mp4"]}
    assert sync_bench.judge(lambda *_: sync_bench.Answer(110.0), Path("a.mp4"), two).lead_ms is None


def test_a_folder_without_truth_and_a_program_that_fails_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sync_bench.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        sync_bench.main()
    assert "no NAME.truth.json" in capsys.readouterr().err
    (tmp_path / "a.truth.json").write_text('{"offset_ms": 0}')
    (tmp_path / "a.mp4").touch()
    fake = program(tmp_path, {})
    monkeypatch.setattr(sys, "argv", ["sync_bench.py", str(tmp_path), "--seehear", str(fake), "--no-baseline"])
    with pytest.raises(SystemExit):
        sync_bench.main()
    assert "KeyError" in capsys.readouterr().err


def test_a_program_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "seehear"
    path.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    path.chmod(0o755)
    monkeypatch.setattr(sync_bench, "PATIENCE_S", 0.5)
    with pytest.raises(ValueError, match=r"a\.mp4: no answer"):
        sync_bench.product(path, Path("a.mp4"), [])
