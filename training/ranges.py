"""Write the calibration table for INT8 on GPUs: what a picture network's activations reach on footage.

  python ranges.py --engine ../engines/av-small.toml --quantised ../engines/av-small-int8.toml \\
    --out ../calibration/av-small.ranges.json

The ranges are those that quantise.py measured on footage and put into the INT8 file for processors; TensorRT wants the
same numbers without zero points, so `seehear engines build --precision int8` makes a file of its own from the table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import onnx
from onnx import numpy_helper

from seehear_training.engine import sha256


def ranges(model: onnx.ModelProto) -> dict[str, float]:
    """Largest magnitude of every tensor that a convolution reads, from the scales and zero points in front of it."""
    values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    out = {}
    for node in (n for n in model.graph.node if n.op_type == "Conv"):
        dequantise = makers[node.input[0]]
        scale, zero = (values[name] for name in dequantise.input[1:])
        ends = np_ends(zero.dtype.name)
        reach = max(abs(end - int(zero)) for end in ends) * float(scale)
        out[makers[dequantise.input[0]].input[0]] = reach
    return out


def np_ends(kind: str) -> tuple[int, int]:
    """The smallest and the largest value of the integers."""
    return {"uint8": (0, 255), "int8": (-128, 127)}[kind]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, required=True, help="manifest of the float32 engine")
    parser.add_argument("--quantised", type=Path, required=True, help="manifest of its INT8 variant (quantise.py)")
    parser.add_argument("--out", type=Path, required=True, help="the table")
    o = parser.parse_args()
    file, quantised = (p.parent / tomllib.loads(p.read_text())["video"]["file"] for p in (o.engine, o.quantised))
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    table = {
        "by": f"training/ranges.py from {quantised.name}, {at}",
        "model_sha256": sha256(file),
        "ranges": {name: float(f"{reach:.5g}") for name, reach in sorted(ranges(onnx.load(quantised)).items())},
    }
    part = o.out.with_suffix(".part")
    part.write_text(json.dumps(table, indent=2) + "\n")
    os.replace(part, o.out)
    print(o.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
