"""Grid scenes of real talkers with their truth, to score the whole product on; see seehear_training/grids.py.

  python make_grids.py --footage DIR --cache runs/cache --out runs/grids
  for f in runs/grids/*.mp4; do seehear run "$f" --events "${f%.mp4}.events.jsonl"; done
  python score.py runs/grids

Every clip should show one person talking all the time, their mouth not far from the middle: a clip that begins with a
title is a talker who can't be pointed at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from seehear_training import footage
from seehear_training.grids import Grid


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, nargs="+", required=True, help="folders of video, one talker in each")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded clips (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the scenes")
    parser.add_argument("--scenes", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=9.0, help="length of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--split", default="all", choices=("train", "test", "all"), help="people (default: %(default)s)"
    )
    o = parser.parse_args()
    found = footage.collect(o.footage, o.cache)
    for name, why in found.skipped:
        print(f"skipped {name}: {why}", file=sys.stderr)
    clips = list(footage.of_split(found.clips, o.split))
    o.out.mkdir(parents=True, exist_ok=True)
    for k in range(o.scenes):
        rng = np.random.default_rng([o.seed, k])
        try:
            grid = Grid.random(clips, round(o.seconds * footage.FPS), rng)
        except ValueError as error:
            parser.error(str(error))
        grid.write(o.out / f"scene-{k:03d}.mp4")
        print(f"\r{k + 1}/{o.scenes}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
