"""Scores of made-up events, and grids of made-up clips."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from seehear_training import footage
from seehear_training.grids import SILENT, STRANGER, Grid
from seehear_training.score import score

TRUTH = {
    "cells": [[0, 0, 100, 100], [100, 0, 100, 100]],
    "turns": [
        {"start_ms": 0, "end_ms": 2000, "who": 0},
        {"start_ms": 2000, "end_ms": 4000, "who": -1},
        {"start_ms": 4000, "end_ms": 6000, "who": None},
    ],
    "voiced": [1] * 100 + [0] * 50,
    "offset_ms": 0,
}
JUDGED = {"speaker": 40, "stranger": 30, "silence": 40}
"""Slots that are further than 400 ms from a change of turn."""


def frame(*objects: tuple[int, float, float]) -> dict:
    """An event: (id, x, score) of what speaks."""
    return {"objects": [{"id": i, "x": x, "y": 50, "score": s, "speaking": True} for i, x, s in objects]}


def test_right_answers_score_one() -> None:
    out = score(TRUTH, {k: frame((1, 50, 0.9)) if k < 50 else frame() for k in range(150)})
    assert out.figures() == {"pointing": 1, "f1": 1, "off_screen": 1, "silence": 1, "switches_per_minute": 0}
    assert (out.pointing[1], out.off_screen[1], out.silence[1]) == tuple(JUDGED.values())


def test_a_wrong_cell_and_false_alarms_count() -> None:
    out = score(TRUTH, {k: frame((1, 150, 0.9), (2, 50, 0.4)) for k in range(150)})
    assert out.figures() == {
        "pointing": 0,
        # Right in 40 slots; the other cell in those, and both in the rest.
        "f1": round(2 * 40 / (2 * 40 + 40 + 2 * 70), 4),
        "off_screen": 0,
        "silence": 0,
        "switches_per_minute": 0,
    }


def test_slots_without_an_event_are_wrong_everywhere() -> None:
    figures = score(TRUTH, {}).figures()
    assert [figures[k] for k in ("pointing", "f1", "off_screen", "silence")] == [0, 0, 0, 0]


def test_another_id_on_the_same_face_is_a_switch() -> None:
    out = score(TRUTH, {k: frame((1 + k // 20, 50, 0.9)) for k in range(50)})
    assert out.switches == 1  # at slot 20; slot 40 lies beside the change of turn
    assert out.figures()["switches_per_minute"] == round(1 / (40 * 0.04 / 60), 2)


def test_a_late_sound_is_looked_for_later() -> None:
    late = {**TRUTH, "offset_ms": 400}
    out = score(late, {k + 10: frame((1, 50, 0.9)) if k < 50 else frame() for k in range(150)})
    assert out.figures()["pointing"] == 1


def clip(folder: Path, person: str, seed: int) -> footage.Clip:
    """Six seconds of noise, different for everybody."""
    rng = np.random.default_rng(seed)
    video = np.full((150, 90, 160), 10 * seed, np.uint8)
    sound = (rng.standard_normal(150 * 640) * 1000).astype(np.int16)
    footage.store(folder / person, video, sound, {"cuts": []})
    return footage.Clip(person, person, folder / person)


def test_a_grid_lets_one_be_heard_at_a_time(tmp_path: Path) -> None:
    clips = [clip(tmp_path, f"p{k}", k) for k in range(6)]
    for seed in range(20):
        grid = Grid.random(clips, 125, np.random.default_rng(seed))
        assert len({c.person for c in (*grid.people, grid.stranger)}) == len(grid.people) + 1
        assert [t[0] for t in grid.turns] == [0, *(t[1] for t in grid.turns[:-1])] and grid.slots == 125
        sound = grid.sound()
        for begin, end, who in grid.turns:
            part = sound[begin * 640 + 200 : end * 640 - 200]
            if who is SILENT:
                assert not part.any()
                continue
            source = grid.stranger if who == STRANGER else grid.people[who]
            own = source.audio()[begin * 640 + 200 : end * 640 - 200].astype(np.float32)
            assert np.corrcoef(part, own)[0, 1] > 0.999
        picture = next(grid.frames())
        for (x, y, w, h), person in zip(grid.cells(), grid.people, strict=True):
            assert (picture[y : y + h, x : x + w] == person.video()[0, 0, 0]).all()


def test_too_few_people_are_said_to_be_too_few(tmp_path: Path) -> None:
    clips = [clip(tmp_path, "a", 1), clip(tmp_path, "b", 2)]
    with pytest.raises(ValueError, match=r"2 people with clips of at least 5 s: \d are needed"):
        Grid.random(clips, 125, np.random.default_rng(1))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_a_written_grid_scores_with_its_truth(tmp_path: Path) -> None:
    clips = [clip(tmp_path / "c", f"p{k}", k) for k in range(6)]
    grid = Grid.random(clips, 60, np.random.default_rng(3))
    grid.write(tmp_path / "scene-000.mp4")
    truth = json.loads((tmp_path / "scene-000.truth.json").read_text())
    assert truth["duration_ms"] == 2400 and len(truth["voiced"]) == 60
    assert (tmp_path / "scene-000.mp4").stat().st_size > 10_000
    score(truth, {})
