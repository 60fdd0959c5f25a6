"""Learn to separate: mixtures of voices, each target told by what an engine sees of its face.

  python train_separation.py --run runs/sep --voices runs/voices/train-train.npz runs/voices/heads.npz --steps 6000
  python train_separation.py --run runs/blind --blind --voices … --steps 2000

What is in --run is gone on with. --blind trains the baseline: the same network, told nothing, three masks, the best
order (uPIT).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch

from seehear_training import sep_data, separation
from seehear_training.learn import Diverged
from seehear_training.sep_learn import Learner, Plan
from seehear_training.sep_mix import Mixer, Recipe


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoint and the log")
    parser.add_argument("--voices", type=Path, nargs="+", required=True, help="files of prepare_separation.py")
    parser.add_argument("--from", dest="start", type=Path, help="begin with this checkpoint's averaged weights")
    parser.add_argument("--blind", action="store_true", help="the baseline without embeddings")
    parser.add_argument("--size", default="small", choices=sorted(separation.SIZES), help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after these")
    parser.add_argument("--parts", type=int, default=Plan.parts, help="voices in a step (default: %(default)s)")
    parser.add_argument(
        "--each", type=int, default=Plan.each, help="mixtures of each as a target (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=Recipe.seconds, help="of a mixture (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="default: %(default)s")
    parser.add_argument("--average", type=float, default=Plan.average, help="of the weights (default: %(default)s)")
    parser.add_argument("--footage-share", type=float, default=Recipe.footage, help="default: %(default)s")
    parser.add_argument("--scene-share", type=float, default=Recipe.scenes, help="default: %(default)s")
    parser.add_argument("--silent-share", type=float, default=Recipe.silent, help="default: %(default)s")
    parser.add_argument(
        "--ease", type=int, default=Plan.ease, help="steps over which voices' own embeddings give way to faces'"
    )
    parser.add_argument(
        "--ease-from", type=float, default=Plan.ease_from, help="how much at first (default: %(default)s)"
    )
    parser.add_argument(
        "--plain", action="store_true", help="two voices each, no noise, rooms, pauses or silent targets"
    )
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--device", default=Plan.device)
    o = parser.parse_args()
    recipe = Recipe(seconds=o.seconds, footage=o.footage_share, scenes=o.scene_share, silent=o.silent_share)
    if o.plain:
        recipe = replace(recipe, counts=(0.0, 1.0), silent=0.0, pauses=0.0, room=0.0, noise=0.0)
    voices = [v for path in o.voices for v in sep_data.load(path)]
    mixer = Mixer(voices, recipe, o.seed)
    print(mixer.summary(), file=sys.stderr, flush=True)
    size = separation.SIZES[o.size]
    torch.manual_seed(o.seed)
    net = separation.SepNet(replace(size, voices=3) if o.blind else size)
    print(f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M parameters", file=sys.stderr, flush=True)
    plan = Plan(
        steps=o.steps,
        parts=o.parts,
        each=o.each,
        rate=o.rate,
        average=o.average,
        ease=o.ease,
        ease_from=o.ease_from,
        seed=o.seed,
        device=o.device,
    )
    learner = Learner(net, mixer, plan, o.run)
    if not learner.resume() and o.start:
        learner.adopt(o.start)
    try:
        learner.train(o.minutes, lambda line: print(json.dumps(line), flush=True))
    except Diverged as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
