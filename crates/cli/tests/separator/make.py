"""Write the separator that the program's tests use: all of the mixture for whoever is to be seen, nothing for others.

python crates/cli/tests/separator/make.py

mask = 1 where the embedding is not zero, 0 where it is; the memory counts the hops in which it was not.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
BINS, DIM, STATE = 257, 128, 2


def tensor(name: str, shape: list) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def main() -> None:
    def constant(name: str, value: np.ndarray) -> onnx.TensorProto:
        return numpy_helper.from_array(value, name)

    nodes = [
        helper.make_node("ReduceL2", ["embedding", "last"], ["length"], keepdims=1),  # [S, T, 1]
        helper.make_node("Greater", ["length", "half"], ["there"]),
        helper.make_node("Cast", ["there"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["seen", "last"], ["seen4"]),  # [S, T, 1, 1]
        helper.make_node("Mul", ["mixture", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["ones"]),  # [S, T, 2, 257]: 1 + 0i
        helper.make_node("Mul", ["ones", "seen4"], ["mask"]),
        helper.make_node("ReduceSum", ["seen", "hops"], ["count"], keepdims=0),  # [S, 1]
        helper.make_node("Add", ["state", "count"], ["state_out"]),
    ]
    one = np.stack([np.ones(BINS, np.float32), np.zeros(BINS, np.float32)])[None, None]
    constants = [
        constant("last", np.array([-1], np.int64)),
        constant("hops", np.array([1], np.int64)),
        constant("half", np.array(0.5, np.float32)),
        constant("zero", np.array(0.0, np.float32)),
        constant("one", one),
    ]
    graph = helper.make_graph(
        nodes,
        "everything",
        [tensor("mixture", ["S", "T", 2, BINS]), tensor("embedding", ["S", "T", DIM]), tensor("state", ["S", STATE])],
        [tensor("mask", ["S", "T", 2, BINS]), tensor("state_out", ["S", STATE])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    (HERE / "everything.onnx").write_bytes(data)
    (HERE / "everything.toml").write_text(f"""# Written by make.py.
schema = 1
name = "everything"
kind = "separation"
engine = "av-small"
dim = {DIM}
rate = 16000
window = 512
hop = 256
state = {STATE}

[network]
file = "everything.onnx"
sha256 = "{hashlib.sha256(data).hexdigest()}"
mixture = "mixture"
embedding = "embedding"
state_in = "state"
mask = "mask"
state_out = "state_out"

[provenance]
trained = "not at all"
licence = "MIT OR Apache-2.0"
scores = "none"
""")


if __name__ == "__main__":
    main()
