"""The product's events against a scene's truth, slot by slot.

- *pointing*: share of voiced slots with an on-screen speaker in which the strongest speaking object lies in the right
  cell.
- *F1*: per cell and slot, speaking or not; a slot in which nobody or a stranger is heard can only have false alarms.
- *off-screen*, *silence*: share of such slots in which nothing speaks.
- *switches*: how often the id of the object in a cell changes, a minute of its speaking.

Slots within `guard_ms` of a change of turn don't count: when exactly a turn begins is nobody's to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SLOT_MS = 40


@dataclass
class Score:
    """Counts; sums of several scenes are counts again."""

    pointing: list[int] = field(default_factory=lambda: [0, 0])
    """Right, of."""
    off_screen: list[int] = field(default_factory=lambda: [0, 0])
    silence: list[int] = field(default_factory=lambda: [0, 0])
    cells: list[int] = field(default_factory=lambda: [0, 0, 0])
    """True positives, false ones, missed."""
    switches: int = 0

    def add(self, other: Score) -> None:
        """Takes another's counts in."""
        for mine, its in (
            (self.pointing, other.pointing),
            (self.off_screen, other.off_screen),
            (self.silence, other.silence),
            (self.cells, other.cells),
        ):
            mine[:] = [a + b for a, b in zip(mine, its, strict=True)]
        self.switches += other.switches

    def figures(self) -> dict[str, float | None]:
        """Shares; None where there was nothing to judge."""

        def share(pair: list[int]) -> float | None:
            return round(pair[0] / pair[1], 4) if pair[1] else None

        right, false, missed = self.cells
        minutes = (right + missed) * SLOT_MS / 60_000
        return {
            "pointing": share(self.pointing),
            "f1": round(2 * right / (2 * right + false + missed), 4) if any(self.cells) else None,
            "off_screen": share(self.off_screen),
            "silence": share(self.silence),
            "switches_per_minute": round(self.switches / minutes, 2) if minutes else None,
        }


def read_events(path: Path) -> dict[int, dict[str, Any]]:
    """The frames of an events file by slot."""
    with path.open(encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    return {int(e["t_ms"] // SLOT_MS): e for e in events if e["type"] == "frame"}


@dataclass(frozen=True)
class Slot:
    """A slot that counts."""

    truth: dict[str, Any]
    event: int
    """The slot in whose event the answer stands: the truth is said before the offset."""

    def strongest(self, frames: dict[int, dict[str, Any]], speaking: bool = False) -> dict[int, dict[str, Any]]:
        """The object of highest score in each cell that has one."""
        objects = frames[self.event]["objects"] if self.event in frames else []
        chosen = sorted((o for o in objects if o["speaking"] or not speaking), key=lambda o: o["score"])
        return {c: o for o in chosen if (c := _cell(self.truth, o)) is not None}


def judged(truth: dict[str, Any], guard_ms: int = 400) -> Iterator[tuple[Slot, int | None]]:
    """The slots that count, with who is heard: a voice, or by the truth nobody."""
    offset = round(truth["offset_ms"] / SLOT_MS)
    for slot, voiced in enumerate(truth["voiced"]):
        ms = slot * SLOT_MS + SLOT_MS // 2
        if any(abs(ms - turn["start_ms"]) < guard_ms for turn in truth["turns"][1:]):
            continue
        who = next((t["who"] for t in truth["turns"] if t["start_ms"] <= ms < t["end_ms"]), None)
        if voiced or who is None:
            yield Slot(truth, slot + offset), who


def score(truth: dict[str, Any], frames: dict[int, dict[str, Any]], guard_ms: int = 400) -> Score:
    """One scene. A slot without an event is wrong everywhere."""
    out = Score()
    last_id: dict[int, int] = {}
    for slot, who in judged(truth, guard_ms):
        placed = slot.strongest(frames, speaking=True)
        event = frames.get(slot.event)
        speaking = [o for o in event["objects"] if o["speaking"]] if event else []
        if who is None or who < 0:
            pair = out.silence if who is None else out.off_screen
            pair[0] += event is not None and not speaking
            pair[1] += 1
            out.cells[1] += len(placed)
            continue
        top = max(speaking, key=lambda o: o["score"], default=None)
        out.pointing[0] += top is not None and _cell(truth, top) == who
        out.pointing[1] += 1
        out.cells[0] += who in placed
        out.cells[1] += len(placed) - (who in placed)
        out.cells[2] += who not in placed
        if who in placed:
            here = placed[who]["id"]
            out.switches += last_id.get(who, here) != here
            last_id[who] = here
    return out


def _cell(truth: dict[str, Any], thing: dict[str, Any]) -> int | None:
    for k, (x, y, w, h) in enumerate(truth["cells"]):
        if x <= thing["x"] < x + w and y <= thing["y"] < y + h:
            return k
    return None


def score_folder(scenes: Path, events: Path, names: Iterable[str] | None = None) -> tuple[Score, dict[str, Score]]:
    """Every scene with a truth; one without events is wrong everywhere."""
    total, each = Score(), {}
    for path in sorted(scenes.glob("*.truth.json")):
        name = path.name.removesuffix(".truth.json")
        if names is not None and name not in names:
            continue
        file = events / f"{name}.events.jsonl"
        each[name] = score(json.loads(path.read_text()), read_events(file) if file.is_file() else {})
        total.add(each[name])
    return total, each
