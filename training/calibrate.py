"""Fit an engine's probability of speaking on scenes with truth, and show how far it can be believed.

  for f in runs/grids/*.mp4; do seehear run "$f" --events "${f%.mp4}.events.jsonl"; done
  python calibrate.py --engine ../engines/av-small.toml runs/grids

Logistic regression (Platt 1999) of "the cell's person is heard" on the log-odds of the strongest object in the cell.
Prints the manifest's new `slope` and `bias`, and the reliability: ten equal groups of predictions, and how many of
each were right. Run the product again after changing them: peaks begin at a log-odds of their own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path

import numpy as np

from seehear_training.score import judged, read_events


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, help="folder with NAME.truth.json")
    parser.add_argument("events", type=Path, nargs="?", help="folder with NAME.events.jsonl (default: the same)")
    parser.add_argument("--engine", type=Path, required=True, help="the manifest that the events were made with")
    o = parser.parse_args()
    logits, heard = [], []
    for path in sorted(o.scenes.glob("*.truth.json")):
        truth = json.loads(path.read_text())
        frames = read_events((o.events or o.scenes) / path.name.replace(".truth.json", ".events.jsonl"))
        for slot, who in judged(truth):
            if who is None:  # without a voice the product says 0, whatever the engine thinks
                continue
            for cell, thing in slot.strongest(frames).items():
                p = float(np.clip(thing["score"], 1e-4, 1 - 1e-4))
                logits.append(np.log(p / (1 - p)))
                heard.append(cell == who)
    if len(set(heard)) < 2:
        parser.error(f"{o.scenes}: nothing to fit: no scenes, no events, or always the same answer")
    x, y = np.array(logits), np.array(heard, float)
    a, b = fit(x, y)
    score = tomllib.loads(o.engine.read_text())["score"]
    print(f"slope = {a * score['slope']:.3f}")
    print(f"bias = {a * score['bias'] + b:.3f}")
    print(f"# {len(x)} cells and slots, {y.mean():.1%} heard; predicted/observed:")
    predicted = 1 / (1 + np.exp(-(a * x + b)))
    order = np.argsort(predicted)
    print("#", " ".join(f"{predicted[k].mean():.2f}/{y[k].mean():.2f}" for k in np.array_split(order, 10)))
    return 0


def fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and bias of greatest likelihood, by Newton's method."""
    w = np.array([1.0, 0.0])
    design = np.stack([x, np.ones_like(x)], 1)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ w))
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (y - p))
        w += step
        if np.abs(step).max() < 1e-9:
            break
    return float(w[0]), float(w[1])


if __name__ == "__main__":
    sys.exit(main())
