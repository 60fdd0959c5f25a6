"""Render synthetic scenes into the form that training reads: grey slots, sound, and where somebody is heard.

  python make_corpus.py --out runs/synthetic --count 500
  python make_corpus.py --out runs/heads --count 300 --face-model ict_face.npz --heads 0.8 --voices speech/

What is there already is kept, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

from seehear_training.heads import FaceModel
from seehear_training.recordings import Recordings
from seehear_training.render import render
from seehear_training.scenes import Scene
from seehear_training.spots import store_scene


@lru_cache(maxsize=1)
def face_model(path: Path | None) -> FaceModel | None:
    """The model, loaded once per process."""
    return FaceModel.load(path) if path else None


@lru_cache(maxsize=1)
def recordings(folder: Path | None, cache: Path) -> Recordings | None:
    """The voices, listed once per process."""
    return Recordings(folder, cache) if folder else None


def one(seed: int, options: argparse.Namespace) -> str:
    """Render the scene of one seed; returns its name."""
    name = f"{options.prefix}{seed:06d}"
    if (options.out / name / "spots.json").is_file():
        return name
    scene = Scene.random(
        seed,
        duration_s=options.seconds,
        size=(options.height * 16 // 9 // 2 * 2, options.height),
        people=options.people,
        heads=options.heads if options.face_model else 0.0,
        recordings=recordings(options.voices, options.out / ".voices"),
    )
    store_scene(options.out / name, render(scene, face_model(options.face_model)))
    return name


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the scenes")
    parser.add_argument("--count", type=int, default=500, help="scenes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each (default: %(default)s)")
    parser.add_argument("--height", type=int, default=144, help="rows; 16:9 (default: %(default)s)")
    parser.add_argument("--people", type=int, help="people in each (default: drawn, 1 to 6)")
    parser.add_argument("--jobs", type=int, default=2, help="scenes rendered at once (default: %(default)s)")
    parser.add_argument("--prefix", default="s", help="of the scenes' names (default: %(default)s)")
    parser.add_argument("--face-model", type=Path, help="3-D heads from this model, see README")
    parser.add_argument("--heads", type=float, default=0.8, help="share of 3-D heads, with --face-model")
    parser.add_argument("--voices", type=Path, help="folder of recorded speech that drives the mouths")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    work = partial(one, options=options)
    with ProcessPoolExecutor(options.jobs) as pool:
        for k, name in enumerate(pool.map(work, range(options.seed, options.seed + options.count)), 1):
            print(f"\r{k}/{options.count} {name}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
