"""Measure engines on people they were not trained on; see seehear_training/evaluate.py.

python evaluate.py --footage DIR --cache runs/cache --engine ../engines/av-small.toml runs/3/checkpoint.pt
python evaluate.py --synthetic runs/test-drawn runs/test-heads --engine ../engines/av-small.toml
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from seehear_training import engine, evaluate, footage, spots
from seehear_training.localise import localise


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, nargs="*", default=[], help="folders of video")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="folders made by make_corpus.py")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded clips (default: %(default)s)")
    parser.add_argument("--engine", type=Path, nargs="*", default=[], help="manifests (.toml) or checkpoints (.pt)")
    parser.add_argument("--split", default="test", choices=("train", "test", "all"), help="default: %(default)s")
    parser.add_argument("--look", nargs="*", default=["whole", "object"], choices=("whole", "object", "centre"))
    parser.add_argument("--spots", type=Path, nargs="*", default=[], help="trajectories to follow, of localise.py")
    parser.add_argument("--sides", default="112,160", help="shorter sides of whole pictures (default: %(default)s)")
    parser.add_argument("--unseen", type=Path, help="table of spans without a visible talker: file, begin_s, end_s")
    parser.add_argument("--baseline", action="store_true", help="also motion energy")
    parser.add_argument("--trials", type=int, default=400, help="of pointing (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="a line for each engine and look")
    o = parser.parse_args()
    if not o.footage and not o.synthetic:
        parser.error("nothing to measure on: --footage or --synthetic")
    found = footage.collect(o.footage, o.cache)
    for name, why in found.skipped:
        print(f"skipped {name}: {why}", file=sys.stderr)
    clips = list(footage.of_split(found.clips, o.split))
    places: dict[str, list[spots.Spot]] = {}
    for path in o.spots:
        for spot in spots.load(path):
            places.setdefault(spot.clip, []).append(spot)
    for folder in o.synthetic:
        scenes, known = spots.stored_scenes(folder)
        clips += scenes
        for spot in known:
            places.setdefault(spot.clip, []).append(spot)
    unseen = evaluate.read_unseen(o.unseen) if o.unseen else {}
    if strange := set(unseen) - {c.name for c in found.clips}:
        parser.error(f"{o.unseen}: no such clip: {', '.join(sorted(strange))}")
    sides = tuple(int(x) for x in o.sides.split(","))
    asked: list[tuple[evaluate.Asked, str]] = [(engine.load(p, half=True), look) for p in o.engine for look in o.look]
    if o.baseline:
        asked.append((evaluate.MotionEngine(), "whole"))
    for one, look in asked:
        items = []
        for k, clip in enumerate(clips):
            print(f"\r{one.name}, {look}: {k + 1}/{len(clips)}", end="", file=sys.stderr, flush=True)
            item = look_at(one, look, clip, places.get(clip.name, []), sides)
            if item is None:
                print(f"\nleft out {clip.name}: too short a shot", file=sys.stderr)
                continue
            items.append(replace(item, unseen=tuple(unseen.get(clip.name, ()))))
        print(file=sys.stderr)
        report(one, look, items, o.trials, o.json)
    return 0


def look_at(
    asked: evaluate.Asked, look: str, clip: footage.Clip, places: list[spots.Spot], sides: tuple[int, ...]
) -> evaluate.Embedded | None:
    """What one engine makes of a clip in one way of looking; None where there is no object to follow."""
    if look == "object" and not isinstance(asked, evaluate.MotionEngine):
        places = places or localise(asked, clip)
        return evaluate.follow(asked, clip, places) if places else None
    item = evaluate.whole(asked, clip, sides)
    if places and places[0].known:
        item.truth_ms = places[0].offset_ms
    return evaluate.centre(item) if look == "centre" else item


def report(asked: evaluate.Asked, look: str, items: list[evaluate.Embedded], trials: int, machine: bool) -> None:
    """Measure, and print."""
    people = len({i.clip.person for i in items})
    sync = evaluate.sync(asked, items)
    pointing = evaluate.pointing(asked, items, sync["offsets_ms"], trials)
    if machine:
        facts = {"engine": asked.name, "look": look, "clips": len(items), "people": people}
        print(json.dumps({**facts, "sync": sync, "pointing": pointing}), flush=True)
        return
    print(f"{asked.name}, {look}, {len(items)} clips of {people} people")
    for title, shares in (("sync within 40 ms", sync["windows"]), ("pointing", pointing)):
        print(f"  {title:20} {' · '.join(f'{w} {evaluate.words(s)}' for w, s in shares.items())}")
    print(f"  {'halves within 20 ms':20} {evaluate.words(sync['halves_within_20ms'])}")
    print(f"  {'known delay, median':20} {sync['known_delay_median_ms']} ms")
    print(f"  {'offset, median':20} {sync['offset_median_ms']} ms", flush=True)


if __name__ == "__main__":
    sys.exit(main())
