"""Train a stage: crops first, then pictures. Goes on where it stopped.

  python train.py --run runs/1 --synthetic runs/drawn --steps 1500
  python train.py --run runs/2 --from runs/1/checkpoint.pt --synthetic runs/drawn runs/heads \\
      --footage DIR --spots runs/spots.json --cache runs/cache --steps 6000
  python train.py --run runs/3 --from runs/2/checkpoint.pt ... --crop 128x192 --batch 6 --rate 8e-4
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from seehear_training import footage, learn, nets, objective, spots
from seehear_training.batches import Material, Recipe


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoints and log")
    parser.add_argument("--from", dest="start", type=Path, help="begin with another run's averaged weights")
    parser.add_argument("--size", default="small", choices=sorted(nets.SIZES), help="default: %(default)s")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="folders made by make_corpus.py")
    parser.add_argument("--footage", type=Path, nargs="*", default=[], help="folders of video")
    parser.add_argument("--spots", type=Path, nargs="*", default=[], help="made by localise.py for the footage")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded clips (default: %(default)s)")
    parser.add_argument("--split", default="train", choices=("train", "all"), help="people (default: %(default)s)")
    parser.add_argument("--crop", default="64x64", help="rows x columns (default: %(default)s)")
    parser.add_argument("--face", default="38-110", help="heights of faces in the crop (default: %(default)s)")
    parser.add_argument("--wander", type=float, default=0.28, help="place of the spot in the crop, shares of it")
    parser.add_argument("--window", type=int, default=20, help="slots (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop earlier, to be resumed")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--real-share", type=float, default=0.45)
    parser.add_argument("--match", type=float, default=0.5, help="weight of the match term (default: %(default)s)")
    parser.add_argument("--place", type=float, default=0.0, help="of the place term (default: %(default)s)")
    parser.add_argument("--presence", type=float, default=0.0, help="of the presence term (default: %(default)s)")
    parser.add_argument("--trust", type=float, default=0.0, help="leave out spots of less confidence")
    parser.add_argument("--no-latent", action="store_true", help="take all footage for in sync: an ablation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plain", action="store_true", help="no augmentation: how the first steps learn fastest")
    parser.add_argument("--fold", action="store_true", help="no batch norm: --from's goes into the weights; faster")
    parser.add_argument("--exact", action="store_true", help="float32 instead of bfloat16")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)

    clips: dict[str, footage.Clip] = {}
    found: list[spots.Spot] = []
    for folder in o.synthetic:
        scenes, places = spots.stored_scenes(folder)
        clips |= {c.name: c for c in scenes}
        found += places
    if o.footage:
        collection = footage.collect(o.footage, o.cache)
        for name, why in collection.skipped:
            print(f"skipped {name}: {why}", file=sys.stderr)
        kept = {c.name: c for c in footage.of_split(collection.clips, o.split)}
        clips |= kept
        found += [s for path in o.spots for s in spots.load(path) if s.clip in kept]
    if o.no_latent:
        found = [replace(s, known=True, offset_ms=0.0) if not s.known else s for s in found]
    found = [s for s in found if s.end - s.begin >= o.window and (s.known or s.confidence >= o.trust)]
    if not found:
        parser.error("nothing to learn from: give --synthetic, or --footage with --spots")
    height, width = (int(x) for x in o.crop.split("x"))
    low, high = (float(x) for x in o.face.split("-"))
    stage = learn.Stage(
        steps=o.steps,
        batch=o.batch,
        rate=o.rate,
        real_share=o.real_share,
        weights=objective.Weights(o.match, o.place, o.presence),
        seed=o.seed,
        half=not o.exact,
        device=o.device,
        recipe=Recipe(height, width, slots=o.window, face=(low, high), wander=o.wander, augment=not o.plain),
    )
    torch.manual_seed(o.seed)
    net = nets.SyncNet(replace(nets.SIZES[o.size], norm=not o.fold))
    learner = learn.Learner(net, Material(clips, found), stage, o.run)
    if learner.resume():
        print(f"going on from step {learner.step}", file=sys.stderr)
    elif o.start:
        learner.adopt(o.start)
    real = sum(not s.known for s in found)
    print(f"{len(found) - real} synthetic spots, {real} of footage, {len(clips)} clips", file=sys.stderr)
    learner.train(o.minutes, lambda line: print(line, file=sys.stderr, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
