"""Writes the golden outputs of the engines and the small networks that the error tests open.

    python crates/nets/tests/golden/make_golden.py [engines/NAME.toml ...]

Needs numpy, onnx and onnxruntime. For each engine it writes NAME.json beside this file: for each network and input
size, some output values at known places, as ONNX Runtime's CPU provider computes them. The input is not stored:
value i is scale * (h(i) - 512) / 1024 with h(i) the upper 10 bits of the 32-bit product i * 2654435761. It is exact in
f32 for a scale that is a power of two, so every language makes the same bits.

Run it again whenever an engine's .onnx files change; the conformance test compares their SHA-256 and says so.
"""

import argparse
import json
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

HERE = Path(__file__).resolve().parent
ENGINES = HERE.parents[3] / "engines"

# Every value that is stored is one of about this many, evenly spread over the output.
VALUES = 32
# (height, width) of the video network's picture: the default, a portrait, and one barely larger than the kernels.
VIDEO_SIZES = [(192, 336), (192, 112), (32, 48)]
VIDEO_SCALE = 1.0  # luma minus the stack's mean: within +-0.5
AUDIO_SCALE = 8.0  # log-mel in standard deviations: within +-4
MEL_FRAMES_PER_SLOT = 4


def golden_input(shape: list[int], scale: float) -> np.ndarray:
    """The input that the module's docstring describes, f32 [shape]."""
    i = np.arange(np.prod(shape), dtype=np.uint64)
    h = (i * 2654435761 % 2**32) >> 22
    return (np.float32(scale) * (h.astype(np.float32) - 512) / 1024).reshape(shape)


def golden_case(session: onnxruntime.InferenceSession, net: dict, shape: list[int], scale: float) -> dict:
    """One input size of one network."""
    (output,) = session.run([net["output"]], {net["input"]: golden_input(shape, scale)})
    flat = output.ravel()
    # An odd step walks through all channels and places; from a multiple of 16 all values would be of a few cells.
    step = max(1, flat.size // VALUES) | 1
    return {
        "input": shape,
        "output": list(output.shape),
        "scale": scale,
        "step": step,
        "values": [float(np.float32(v)) for v in flat[::step]],
    }


def golden_engine(manifest: Path) -> dict:
    """All cases of one engine."""
    spec = tomllib.loads(manifest.read_text())
    video, audio = spec["video"], spec["audio"]
    shapes = {
        "video": [([1, video["slots"], h, w], VIDEO_SCALE) for h, w in VIDEO_SIZES],
        "audio": [
            ([1, 1, audio["mel"]["mels"], MEL_FRAMES_PER_SLOT * (2 * audio["context_slots"] + 1)], AUDIO_SCALE),
        ],
    }
    nets = {}
    for role, sizes in shapes.items():
        net = spec[role]
        session = onnxruntime.InferenceSession(manifest.parent / net["file"], providers=["CPUExecutionProvider"])
        nets[role] = {
            "sha256": net["sha256"],
            "cases": [golden_case(session, net, shape, scale) for shape, scale in sizes],
        }
    return {"made_by": f"make_golden.py, onnxruntime {onnxruntime.__version__}", **nets}


def write_model(name: str, nodes: list[onnx.NodeProto], inputs: list, outputs: list) -> None:
    """A network of a few nodes; opset and IR are old enough for every ONNX Runtime that we accept."""
    graph = helper.make_graph(nodes, name, inputs, outputs)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    onnx.save(model, HERE / f"{name}.onnx")


def write_models() -> None:
    """The small networks."""

    def tensor(name: str, kind: int, shape: list[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    write_model(
        "identity-i64",
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", TensorProto.INT64, [2])],
        [tensor("y", TensorProto.INT64, [2])],
    )
    # Two of each, so that a backend that mixes up their order is found out.
    write_model(
        "sum-difference",
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [tensor("a", TensorProto.FLOAT, [3]), tensor("b", TensorProto.FLOAT, [3])],
        [tensor("sum", TensorProto.FLOAT, [3]), tensor("difference", TensorProto.FLOAT, [3])],
    )


def av_engines() -> list[Path]:
    """The manifests of engines; separators are not among them."""
    return [p for p in sorted(ENGINES.glob("*.toml")) if 'kind = "separation"' not in p.read_text()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="*", type=Path, default=av_engines())
    for manifest in parser.parse_args().manifests:
        golden = golden_engine(manifest.resolve())
        (HERE / f"{manifest.stem}.json").write_text(json.dumps(golden, indent=1) + "\n")
    write_models()


if __name__ == "__main__":
    main()
