"""Score the product's events on scenes with truth; see seehear_training/score.py for what the figures mean.

seehear run runs/grids/scene-000.mp4 --events runs/grids/scene-000.events.jsonl
python score.py runs/grids
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from seehear_training.score import score_folder


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, help="folder with NAME.truth.json")
    parser.add_argument("events", type=Path, nargs="?", help="folder with NAME.events.jsonl (default: the same)")
    parser.add_argument("--each", action="store_true", help="also a line for each scene")
    parser.add_argument("--json", action="store_true", help="for machines")
    o = parser.parse_args()
    total, each = score_folder(o.scenes, o.events or o.scenes)
    if not each:
        parser.error(f"{o.scenes}: no *.truth.json")
    rows = {**(each if o.each else {}), f"{len(each)} scenes": total}
    for name, score in rows.items():
        figures = score.figures()
        if o.json:
            print(json.dumps({"name": name, **figures}))
        else:
            print(name, *(f"{k} {'-' if v is None else f'{v:.3f}'}" for k, v in figures.items()), sep="  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
