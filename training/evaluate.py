"""Measure engines on footage of people they were not trained on; see seehear_training/evaluate.py.

python evaluate.py --footage DIR --cache runs/cache --engine ../engines/av-small.toml runs/3/checkpoint.pt
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from seehear_training import engine, evaluate, footage


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, nargs="+", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--engine", type=Path, nargs="*", default=[], help="manifests (.toml) or checkpoints (.pt)")
    parser.add_argument("--split", default="test", choices=("train", "test", "all"), help="default: %(default)s")
    parser.add_argument("--sides", default="112,160", help="shorter sides of the picture (default: %(default)s)")
    parser.add_argument("--baseline", action="store_true", help="also motion energy")
    parser.add_argument("--trials", type=int, default=400, help="of pointing (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    found = footage.collect(o.footage, o.cache)
    clips = list(footage.of_split(found.clips, o.split))
    people = len({c.person for c in clips})
    print(f"{len(clips)} clips of {people} people, {len(found.skipped)} skipped", file=sys.stderr)
    engines: list[engine.Engine | evaluate.MotionEngine] = [engine.load(p, half=True) for p in o.engine]
    if o.baseline:
        engines.append(evaluate.MotionEngine())
    sides = tuple(int(x) for x in o.sides.split(","))
    for asked in engines:
        items = []
        for k, clip in enumerate(clips):
            print(f"\r{asked.name}: {k + 1}/{len(clips)}", end="", file=sys.stderr, flush=True)
            items.append(evaluate.prepare(asked, clip, sides))
        print(file=sys.stderr)
        result = {"engine": asked.name, "sides": sides, "clips": len(clips), "people": people}
        result["sync"] = evaluate.sync(asked, items)
        result["pointing"] = evaluate.pointing(asked, items, result["sync"]["offsets_ms"], o.trials)
        if o.json:
            print(json.dumps(result), flush=True)
            continue
        print(f"{asked.name}, sides {o.sides}, {len(clips)} clips of {people} people")
        for title, shares in (("sync within 40 ms", result["sync"]["windows"]), ("pointing", result["pointing"])):
            cells = [
                f"{w} {s['share']:.1%} ({s['low']:.0%}–{s['high']:.0%}, n {s['count']})" for w, s in shares.items()
            ]
            print(f"  {title:20} {' · '.join(cells)}")
        halves = result["sync"]["halves_within_20ms"]
        print(f"  {'halves within 20 ms':20} {halves['share']:.1%} ({halves['low']:.0%}–{halves['high']:.0%})")
        print(f"  {'known shift, median':20} {result['sync']['known_shift_median_ms']} ms")
        print(f"  {'offset, median':20} {result['sync']['offset_median_ms']} ms", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
