//! FP16: convolutions, and what stands between them, in 16-bit floats; everything else as it was.
//!
//! Half of the memory traffic and the tensor cores are where the convolutions are. What follows the last of them (the
//! norm of the embedding sums 128 squares) stays in 32 bits: 16-bit floats end at 65504, and it costs next to nothing.
//! Inputs and outputs stay f32, so the file is opened like the one that it was made from.

use super::{Attribute, FLOAT, FLOAT16, Graph, Node, Tensor, read};
use ::half::f16;
use prost::Message;
use std::collections::{HashMap, HashSet};

/// Operators that compute in 16 bits. All have weights or 16-bit tensors as inputs and give one output.
const HALF: [&str; 3] = ["Conv", "Relu", "Add"];

/// Makes the FP16 file of an FP32 one.
///
/// # Errors
/// What is wrong with the file, in words that continue "file …"; a file without a convolution, or with one whose weights do
/// not fit into 16 bits.
pub fn to_half(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut model = read(bytes)?;
    let graph = model.graph.as_mut().ok_or("is no ONNX file")?;
    let weights: HashMap<String, Tensor> =
        graph.initializer.iter().filter(|t| t.data_type == FLOAT).map(|t| (t.name.clone(), t.clone())).collect();
    let mut rewriter =
        Rewriter { weights, half: HashSet::new(), cast: HashMap::new(), nodes: Vec::new(), made: Vec::new() };
    let mut convolutions = 0;
    for node in std::mem::take(&mut graph.node) {
        convolutions += usize::from(node.op_type == "Conv");
        rewriter.push(node)?;
    }
    if convolutions == 0 {
        return Err("has no convolution to compute in FP16".to_owned());
    }
    for output in &graph.output {
        rewriter.restore(&output.name);
    }
    graph.node = rewriter.nodes;
    graph.initializer.extend(rewriter.made);
    drop_unused(graph);
    // Shapes and types of inner tensors are another's now; whoever reads the file works them out.
    graph.value_info.clear();
    Ok(model.encode_to_vec())
}

struct Rewriter {
    weights: HashMap<String, Tensor>,
    /// Tensors that are 16-bit by now, by their names of before.
    half: HashSet<String>,
    /// Names of the copies in the other width.
    cast: HashMap<(String, i32), String>,
    nodes: Vec<Node>,
    made: Vec<Tensor>,
}

impl Rewriter {
    /// Takes the next node of the graph, which is in topological order.
    fn push(&mut self, mut node: Node) -> Result<(), String> {
        // A sum belongs to the convolutions only where one of its inputs comes from them.
        let wide = !node.input.iter().any(|name| self.half.contains(name));
        let computes = HALF.contains(&node.op_type.as_str()) && (node.op_type == "Conv" || !wide);
        for name in &mut node.input {
            if name.is_empty() {
                continue;
            }
            *name = if computes { self.narrow(name)? } else { self.widen(name) };
        }
        if computes {
            self.half.extend(node.output.iter().cloned());
        }
        self.nodes.push(node);
        Ok(())
    }

    /// The 16-bit version of a tensor.
    fn narrow(&mut self, name: &str) -> Result<String, String> {
        if self.half.contains(name) {
            return Ok(name.to_owned());
        }
        let Some(weights) = self.weights.get(name) else { return Ok(self.copy(name, FLOAT16)) };
        let key = (name.to_owned(), FLOAT16);
        if let Some(made) = self.cast.get(&key) {
            return Ok(made.clone());
        }
        let values = weights.floats().ok_or_else(|| format!("has weights {name:?} outside the file"))?;
        let mut raw = Vec::with_capacity(values.len() * 2);
        for value in values {
            let half = f16::from_f32(value);
            if half.is_infinite() {
                return Err(format!("has weights {name:?} that FP16 does not hold ({value})"));
            }
            raw.extend(half.to_le_bytes());
        }
        let made = format!("{name}.fp16");
        let dims = weights.dims.clone();
        self.made.push(Tensor { dims, data_type: FLOAT16, name: made.clone(), raw_data: raw, ..Tensor::default() });
        self.cast.insert(key, made.clone());
        Ok(made)
    }

    /// The 32-bit version of a tensor that may be a 16-bit one.
    fn widen(&mut self, name: &str) -> String {
        if self.half.contains(name) { self.copy(name, FLOAT) } else { name.to_owned() }
    }

    /// A copy in another width, made once.
    fn copy(&mut self, name: &str, to: i32) -> String {
        let key = (name.to_owned(), to);
        if let Some(made) = self.cast.get(&key) {
            return made.clone();
        }
        let made = format!("{name}.fp{}", if to == FLOAT16 { 16 } else { 32 });
        self.nodes.push(cast(name, &made, to));
        self.cast.insert(key, made.clone());
        made
    }

    /// A 16-bit output of the graph becomes f32 again, under its name.
    fn restore(&mut self, name: &str) {
        if !self.half.contains(name) {
            return;
        }
        let inner = format!("{name}.fp16");
        for node in &mut self.nodes {
            for other in node.input.iter_mut().chain(&mut node.output).filter(|other| *other == name) {
                other.clone_from(&inner);
            }
        }
        self.nodes.push(cast(&inner, name, FLOAT));
    }
}

fn cast(from: &str, to: &str, element: i32) -> Node {
    let kind = Attribute { name: "to".into(), i: Some(i64::from(element)), kind: 2, ..Attribute::default() };
    Node {
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        name: format!("{to}.cast"),
        op_type: "Cast".into(),
        attribute: vec![kind],
        ..Node::default()
    }
}

/// Weights that nobody reads any more.
pub(super) fn drop_unused(graph: &mut Graph) {
    let used: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    graph.initializer.retain(|tensor| used.contains(&tensor.name));
}
