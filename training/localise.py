"""Ask an engine where in footage the sound comes from; training crops around the answers.

python localise.py --footage DIR --engine ../engines/av-small.toml --cache runs/cache --out runs/spots.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from seehear_training import engine, footage, spots
from seehear_training.localise import localise


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, nargs="+", required=True, help="folders of video")
    parser.add_argument("--engine", type=Path, required=True, help="manifest (.toml) or checkpoint (.pt)")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded clips")
    parser.add_argument("--out", type=Path, required=True, help="the spots, JSON")
    parser.add_argument("--split", default="all", choices=("train", "test", "all"), help="default: %(default)s")
    options = parser.parse_args()
    asked = engine.load(options.engine, half=True)

    def tell(done: int, total: int, name: str) -> None:
        print(f"\r{done}/{total} {name:40.40}", end="", file=sys.stderr, flush=True)

    found = footage.collect(options.footage, options.cache, tell)
    for name, why in found.skipped:
        print(f"\nskipped {name}: {why}", end="", file=sys.stderr)
    print(f"\n{len(found.clips)} clips, {len(found.skipped)} skipped", file=sys.stderr)
    clips = list(footage.of_split(found.clips, options.split))
    out = []
    for k, clip in enumerate(clips):
        tell(k, len(clips), clip.name)
        out += localise(asked, clip)
    spots.save(options.out, out)
    print(f"\n{len(out)} spots in {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
