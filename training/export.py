"""Write a checkpoint as an engine: two ONNX files and their manifest, checked against PyTorch.

  python export.py --checkpoint runs/3/checkpoint.pt --name av-small --out ../engines --zero-ms 55 \\
      --trained "…" --scores "…"
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from seehear_training import nets
from seehear_training.engine import sha256

CONTEXT_SLOTS = 3
"""Whole slots that cover the audio network's context of 10 mel frames on either side of a slot's."""
TOLERANCE = 1e-4


def write(
    net: nn.Module, example: Tensor, names: tuple[str, str], axes: tuple[dict[int, str], dict[int, str]], path: Path
) -> float:
    """Export, run both, and return the largest difference."""
    import onnxruntime as ort

    net.eval()
    part = path.with_name(path.name + ".part")
    torch.onnx.export(
        net,
        (example,),
        str(part),
        input_names=[names[0]],
        output_names=[names[1]],
        dynamic_axes=dict(zip(names, axes, strict=True)),
        opset_version=17,
        dynamo=False,
    )
    session = ort.InferenceSession(str(part))
    worst = 0.0
    for seed in range(3):
        torch.manual_seed(seed)
        x = torch.randn_like(example) * (0.2 if example.ndim == 4 and example.shape[1] == nets.SLOTS else 1.0)
        with torch.inference_mode():
            expected = net(x).numpy()
        got = session.run(None, {names[0]: x.numpy()})[0]
        worst = max(worst, float(np.abs(got - expected).max()))
    os.replace(part, path)
    return worst


def manifest(o: argparse.Namespace, scale: float, dim: int, files: dict[str, Path]) -> str:
    """The manifest's text."""
    return f'''# {o.name}. README.md beside this file says what every field means, and what the engine can and can't do.
schema = 1
name = "{o.name}"
dim = {dim}
tolerance = {TOLERANCE:.0e}

[video]
file = "{files["video"].name}"
sha256 = "{sha256(files["video"])}"
input = "slots"       # f32 [1, 5, h, w]: luma / 255 (full range) minus the mean of the stack
output = "embedding"  # f32 [1, {dim}, h/16, w/16], unit vectors over dim 1
slots = {nets.SLOTS}
height = {o.height}          # faces should be 28 to 130 px high in this picture
stride = {nets.STRIDE}

[audio]
file = "{files["audio"].name}"
sha256 = "{sha256(files["audio"])}"
input = "logmel"      # f32 [1, 1, 64, {4 * (2 * CONTEXT_SLOTS + 1)}]: log-mel, (x - running mean) / running std
output = "embedding"  # f32 [1, {dim}, {4 * (2 * CONTEXT_SLOTS + 1)}], unit vectors, one every 10 ms
context_slots = {CONTEXT_SLOTS}
steps_per_slot = 4
min_std = 0.5

[audio.mel]
mels = 64
low_hz = 60.0
high_hz = 7600.0

[score]
scale = {scale:.2f}         # multiplies a mean score before the softmax over offsets: {o.sharpen:g} times the learned
zero_ms = {o.zero_ms}        # the offset answered for material in sync
spread_ms = {o.spread_ms}
sure = {o.sure}
nothing = {o.nothing}
slope = {o.slope}           # probability of speaking = sigmoid(slope * attention logit + bias)
bias = {o.bias}

[provenance]
trained = "{o.trained}"
licence = "MIT OR Apache-2.0"
scores = "{o.scores}"
'''


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--name", required=True, help="of the engine and its files")
    parser.add_argument("--out", type=Path, default=Path("../engines"))
    parser.add_argument("--height", type=int, default=224, help="rows of the network's picture (default: %(default)s)")
    parser.add_argument(
        "--sharpen", type=float, default=1.0, help="times the learned scale: running means are less noisy than windows"
    )
    parser.add_argument("--zero-ms", type=float, default=0.0, help="offset read from footage in sync")
    parser.add_argument("--spread-ms", type=float, default=60.0)
    parser.add_argument("--sure", type=float, default=0.1)
    parser.add_argument("--nothing", type=float, default=0.04)
    parser.add_argument("--slope", type=float, default=2.6)
    parser.add_argument("--bias", type=float, default=-2.6)
    parser.add_argument("--trained", required=True, help="who trained it, on what")
    parser.add_argument("--scores", required=True, help="as measured, and how")
    o = parser.parse_args()
    net, _ = nets.load(o.checkpoint)
    o.out.mkdir(parents=True, exist_ok=True)
    files = {kind: o.out / f"{o.name}.{kind}.onnx" for kind in ("video", "audio")}
    frames = 4 * (2 * CONTEXT_SLOTS + 1)
    worst = {
        "video": write(
            net.video,
            torch.zeros(1, nets.SLOTS, 64, 96),
            ("slots", "embedding"),
            ({0: "n", 2: "h", 3: "w"}, {0: "n", 2: "rows", 3: "cols"}),
            files["video"],
        ),
        "audio": write(
            net.audio,
            torch.zeros(1, 1, 64, frames),
            ("logmel", "embedding"),
            ({0: "n", 3: "t"}, {0: "n", 2: "t"}),
            files["audio"],
        ),
    }
    for kind, difference in worst.items():
        print(f"{files[kind]}: PyTorch and ONNX Runtime differ by at most {difference:.1e}", file=sys.stderr)
        if not difference < TOLERANCE:
            print(f"{kind}: more than {TOLERANCE}", file=sys.stderr)
            return 1
    path = o.out / f"{o.name}.toml"
    part = path.with_suffix(".part")
    part.write_text(manifest(o, o.sharpen * float(net.scale.detach()), net.size.dim, files))
    os.replace(part, path)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
