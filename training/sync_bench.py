"""Measure `seehear sync` on scenes whose sound was moved by a known time, beside the classical baseline.

  python make_scenes.py --out runs/moved --count 24 --people 1 --seconds 12 --random-offset-ms 400
  python sync_bench.py runs/moved
  python sync_bench.py runs/moved --negatives ~/voice-overs --json

Every NAME.truth.json of a folder says by how much the sound of NAME.mp4 was moved (`offset_ms`, > 0: late). Where
NAME.ref.mp4 lies beside it, the same scene unmoved, its answer is taken off: people have offsets of their own. "Can't
tell" counts as wrong. The baseline correlates what moves in the picture with how loud the sound is: once in the cell
that fits best, once told by the truth whose face to look at, and when. In generated scenes it is told the mean of the
leads, 80 ms, too, which the engine has learnt.

Lips move 60 to 100 ms before the sound they make, from talker to talker: that is no offset, and nobody can tell one
from the other. Generated scenes of one talker know it; rows that have it taken off show how well the lips are timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seehear_training import sync_baseline
from seehear_training.evaluate import share, words
from seehear_training.media import MediaError

MEAN_LEAD_MS = 80.0
"""Of the generator's talkers: what "in sync" means."""
SHARES = ("within_20_ms", "within_40_ms", "of_told_within_20_ms", "of_told_within_40_ms")
PATIENCE_S = 1800.0
"""For an answer: longer than the product needs for an hour of film."""
Way = Callable[[Path, dict[str, Any]], "Answer"]
"""What answers for a file; the truth is for the baseline that may look."""
TRIVIAL = "always zero"
KINDS = (".mp4", ".mkv", ".mov", ".webm")


@dataclass(frozen=True)
class Answer:
    """What is said of a file."""

    offset_ms: float | None
    """None: can't tell."""
    confidence: float = 1.0


@dataclass(frozen=True)
class Result:
    """A scene: how far the answer is off, and how sure it was."""

    name: str
    error_ms: float | None
    confidence: float
    lead_ms: float | None = None
    """How much further ahead of their sound this talker's lips are than talkers' on average; None: not known."""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+", help="folders with NAME.truth.json and NAME.mp4")
    parser.add_argument("--negatives", type=Path, nargs="*", default=[], help="folders without a visible talker")
    program = Path(__file__).parent.parent / "target/release/seehear"
    parser.add_argument("--seehear", type=Path, default=program, help="the program (default: %(default)s)")
    parser.add_argument("--args", default="", help='more for `seehear sync`, as in --args "--engine av-small"')
    parser.add_argument("--no-baseline", action="store_true", help="the product alone")
    parser.add_argument("--each", action="store_true", help="also a line for each scene")
    parser.add_argument("--json", action="store_true", help="for machines")
    o = parser.parse_args()
    ways: dict[str, Way] = {"seehear": lambda path, _: product(o.seehear, path, o.args.split())}
    if not o.no_baseline:
        ways["motion × loudness"] = partial(baseline, place=False)
        ways["motion × loudness, talker known"] = partial(baseline, place=True)
        ways[TRIVIAL] = lambda *_: Answer(0.0)
    results: dict[str, list[Result]] = {}
    try:
        scenes = list(find(o.scenes))
        for name, way in ways.items():
            results[name] = [judge(way, path, truth) for path, truth in shown(scenes, name)]
        negatives = sorted(p for folder in o.negatives for p in folder.iterdir() if p.suffix in KINDS)
        told = [ways["seehear"](p, {}) for p, _ in shown([(p, {}) for p in negatives], "negatives")]
    except (MediaError, OSError, ValueError) as error:
        parser.error(str(error))
    if o.each:
        for r in results["seehear"]:
            error = "can't tell" if r.error_ms is None else f"{r.error_ms:+.1f} ms"
            print(f"{r.name}: {error}, confidence {r.confidence:.2f}")
    report(results, told, o.json)
    return 0


def find(folders: list[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The scenes and their truth."""
    for folder in folders:
        truths = sorted(folder.glob("*.truth.json"))
        if not truths:
            raise ValueError(f"{folder}: no NAME.truth.json in it")
        for path in truths:
            yield path.with_name(path.name.replace(".truth.json", ".mp4")), json.loads(path.read_text())


def judge(way: Way, path: Path, truth: dict[str, Any]) -> Result:
    """One scene."""
    answer = way(path, truth)
    reference = path.with_suffix(".ref.mp4")
    own = way(reference, truth) if reference.is_file() else Answer(0.0)
    sure = min(answer.confidence, own.confidence)
    own_lead = lead(truth)
    ahead = None if own_lead is None else own_lead - MEAN_LEAD_MS
    if answer.offset_ms is None or own.offset_ms is None:
        return Result(path.stem, None, sure, ahead)
    return Result(path.stem, answer.offset_ms - own.offset_ms - truth["offset_ms"], sure, ahead)


def lead(truth: dict[str, Any]) -> float | None:
    """How far the lips of a generated scene's one talker are ahead of their sound, ms; None: not known."""
    match truth.get("people"):
        case [{"lead_ms": float() | int() as ms}]:
            return float(ms)
        case _:
            return None


def timed(results: list[Result]) -> list[Result]:
    """Without the talkers' own leads: lips that are further ahead look like a sound that is later."""
    return [
        r if r.error_ms is None or r.lead_ms is None else replace(r, error_ms=r.error_ms - r.lead_ms) for r in results
    ]


def product(program: Path, path: Path, more: list[str]) -> Answer:
    """What `seehear sync` says."""
    command = [str(program), "sync", str(path), "--json", *more]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{path}: no answer from {program} in {PATIENCE_S:g} s; try it on this file alone") from error
    if done.returncode:
        raise ValueError(done.stderr.strip() or f"{path}: {program} failed")
    said = json.loads(done.stdout)
    return Answer(said["offset_ms"], said["confidence"])


def baseline(path: Path, truth: dict[str, Any], *, place: bool) -> Answer:
    """What motion and loudness say; `place`: looking only where and while the truth's talker is heard."""
    energy, level = sync_baseline.motion(path), sync_baseline.loudness(path)
    if not place:
        found = sync_baseline.offset_ms(energy, level)
    elif (known := sync_baseline.talker(truth, len(energy))) is None:
        return Answer(None)
    else:
        cells, heard = known
        found = sync_baseline.offset_ms(energy[:, cells], level, heard=heard)
    # The engine was trained to call the lips' lead zero; what only sees them move must be told of it.
    zero = 0.0 if lead(truth) is None else MEAN_LEAD_MS
    return Answer(None if found is None else found - zero)


def shown(items: list[tuple[Path, dict[str, Any]]], what: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The items, and on a terminal how far it is."""
    for k, item in enumerate(items):
        print(f"\r{what}: {k + 1}/{len(items)}", end="", file=sys.stderr, flush=True)
        yield item
    if items:
        print(file=sys.stderr)


def figures(results: list[Result]) -> dict[str, Any]:
    """Shares of all scenes and of those told, and the median error of all."""
    errors = np.array([np.inf if r.error_ms is None else abs(r.error_ms) for r in results])
    told = errors[np.isfinite(errors)]
    median = float(np.median(errors))
    return {
        "scenes": len(errors),
        "told": len(told),
        **{f"within_{w}_ms": share(errors <= w) for w in (20, 40)},
        **{f"of_told_within_{w}_ms": share(told <= w) for w in (20, 40)},
        "median_ms": round(median, 1) if np.isfinite(median) else None,
        "median_of_told_ms": round(float(np.median(told)), 1) if len(told) else None,
    }


def groups(results: list[Result], count: int = 3) -> list[tuple[float, dict[str, Any]]]:
    """Of those told: mean confidence and share within 20 ms, in groups of equal size."""
    told = sorted((r for r in results if r.error_ms is not None), key=lambda r: r.confidence)
    parts = [told[k * len(told) // count : (k + 1) * len(told) // count] for k in range(count)]
    return [
        (round(float(np.mean([r.confidence for r in p])), 3), share(abs(r.error_ms or 0.0) <= 20 for r in p))
        for p in parts
        if p
    ]


def report(results: dict[str, list[Result]], negatives: list[Answer], machine: bool) -> None:
    """The table, for people or machines."""
    own = results["seehear"]
    sure = groups(own)
    if any(r.lead_ms is not None for r in own):
        rows: dict[str, list[Result]] = {}
        for name, some in results.items():
            rows[name] = some
            if name != TRIVIAL:
                rows[f"{name}, leads taken off"] = timed(some)
        results = rows
    nobody = share(a.offset_ms is None for a in negatives)
    if machine:
        said = {name: figures(r) for name, r in results.items()}
        each = [asdict(r) for r in own]
        print(json.dumps({"results": said, "scenes": each, "reliability": sure, "nobody": nobody}))
        return
    print("| | told | within ±20 ms | within ±40 ms | told, ±20 ms | told, ±40 ms | median error, ms | of those told |")
    print("|---|---|---|---|---|---|---|---|")
    for name, some in results.items():
        f = figures(some)
        cells = [words(f[k]) if f[k]["count"] else "–" for k in SHARES]
        medians = ["–" if f[k] is None else f"{f[k]:.1f}" for k in ("median_ms", "median_of_told_ms")]
        print("|", " | ".join([name, f"{f['told']} of {f['scenes']}", *cells, *medians]), "|")
    print("\n| confidence, mean | within ±20 ms |\n|---|---|")
    for said, right in sure:
        print(f"| {said:.2f} | {words(right)} |")
    if negatives:
        print(f"\nnobody visible, and told so: {words(nobody)}")


if __name__ == "__main__":
    sys.exit(main())
