"""Make the INT8 variant of an engine's picture network: static QDQ, weights per channel.

  python quantise.py --engine ../engines/av-small.toml --footage DIR --cache runs/cache

Ranges are those of pictures from the footage (whole pictures at the manifest's height, and half of it). The sound's
network stays as it is: it costs a hundredth. Writes NAME-int8.video.onnx and NAME-int8.toml beside the engine.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from seehear_training import footage
from seehear_training.engine import sha256
from seehear_training.localise import resize
from seehear_training.nets import SLOTS

TOLERANCE = 5e-2
"""Integer arithmetic rounds as each processor's instructions do: what the golden outputs may differ by."""


class Stacks(CalibrationDataReader):
    """One network input after the other."""

    def __init__(self, name: str, stacks: list[np.ndarray]) -> None:
        self._left = iter([{name: s} for s in stacks])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, None at the end."""
        return next(self._left, None)


def draw(clips: list[footage.Clip], heights: tuple[int, ...], count: int, seed: int = 1) -> list[np.ndarray]:
    """Stacks [1, 5, h, w] of random clips, at each of the heights in turn."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(count):
        video = clips[int(rng.integers(len(clips)))].video()
        first = int(rng.integers(len(video) - SLOTS))
        part = resize(np.asarray(video[first : first + SLOTS]), heights[k % len(heights)]).astype(np.float32) / 255
        out.append((part - part.mean())[None])
    return out


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, required=True, help="manifest of the float32 engine")
    parser.add_argument("--footage", type=Path, nargs="+", required=True, help="folders of video")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded clips (default: %(default)s)")
    parser.add_argument("--count", type=int, default=200, help="pictures that set the ranges (default: %(default)s)")
    parser.add_argument("--scores", required=True, help="as measured with evaluate.py, and how")
    o = parser.parse_args()
    text = o.engine.read_text()
    spec = tomllib.loads(text)
    name, folder = f"{spec['name']}-int8", o.engine.parent
    clips = list(footage.of_split(footage.collect(o.footage, o.cache).clips, "train"))
    height = spec["video"]["height"]
    stacks = draw(clips, (height, height // 2), o.count)
    out = folder / f"{name}.video.onnx"
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as temporary:
        ready, part = Path(temporary) / "ready.onnx", Path(temporary) / out.name
        quant_pre_process(str(folder / spec["video"]["file"]), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(part),
            Stacks(spec["video"]["input"], stacks),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Add"],
            per_channel=True,
            reduce_range=True,  # 7 bits of weight: without VNNI instructions 8 saturate in x86's 16-bit sums
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        os.replace(part, out)
    text = text.replace(f'name = "{spec["name"]}"', f'name = "{name}"', 1)
    text = text.replace(spec["video"]["file"], out.name).replace(spec["video"]["sha256"], sha256(out))
    text = re.sub(r"^tolerance = .*$", f"tolerance = {TOLERANCE:.0e}", text, count=1, flags=re.M)
    text = re.sub(r"^scores = .*$", f'scores = "{o.scores}"', text, count=1, flags=re.M)
    text = re.sub(r"^# \S+\. ", f"# {name}, made by training/quantise.py of {spec['name']}. ", text, count=1)
    manifest = folder / f"{name}.toml"
    part = manifest.with_suffix(".part")
    part.write_text(text)
    os.replace(part, manifest)
    print(manifest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
