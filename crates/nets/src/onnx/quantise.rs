//! INT8 as TensorRT takes it: QuantizeLinear and DequantizeLinear around every convolution's input and weights, signed and
//! without zero points; biases stay floats.
//!
//! An activation's scale comes from a table of ranges that was measured on footage (`calibration/*.ranges.json`); a
//! weight's from the weights, one for each output channel. Files that were quantised for processors (unsigned activations,
//! 7-bit weights, quantised biases) are others, and TensorRT refuses them.

use super::half::drop_unused;
use super::{Attribute, FLOAT, INT8, Node, Tensor, read};
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// What the activations of a network reach on footage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// Which command measured it, on what, when.
    pub by: String,
    /// SHA-256 of the FP32 model.
    pub model_sha256: String,
    /// Largest magnitude of each tensor that a convolution reads, by its name in the graph.
    pub ranges: BTreeMap<String, f32>,
}

/// Makes the INT8 file of an FP32 one.
///
/// # Errors
/// What is wrong with the file, in words that continue "file …"; a table of another model, or one that lacks a tensor.
pub fn quantise(bytes: &[u8], table: &Ranges) -> Result<Vec<u8>, String> {
    let sha256 = crate::plan::sha256(bytes);
    if table.model_sha256 != sha256 {
        return Err(format!("has SHA-256 {sha256}, its calibration table is for {}", table.model_sha256));
    }
    let mut model = read(bytes)?;
    let graph = model.graph.as_mut().ok_or("is no ONNX file")?;
    let weights: HashMap<String, Tensor> = graph.initializer.iter().map(|t| (t.name.clone(), t.clone())).collect();
    let (mut nodes, mut made) = (Vec::new(), Vec::new());
    let mut done: HashMap<String, String> = HashMap::new();
    let mut convolutions = 0;
    for mut node in std::mem::take(&mut graph.node) {
        if node.op_type == "Conv" && node.input.len() >= 2 {
            convolutions += 1;
            let (data, kernel) = (node.input[0].clone(), node.input[1].clone());
            if let Some(known) = done.get(&data) {
                node.input[0].clone_from(known);
            } else {
                let reach = *table.ranges.get(&data).ok_or_else(|| format!("has a tensor {data:?} without a range"))?;
                if !(reach > 0.0 && reach.is_finite()) {
                    return Err(format!("has a tensor {data:?} whose range is {reach}"));
                }
                let (scale, zero) = (format!("{data}.scale"), format!("{data}.zero"));
                made.push(floats(&scale, &[], &[reach / 127.0]));
                made.push(bytes_of(&zero, &[], vec![0]));
                let (q, out) = (format!("{data}.int8"), format!("{data}.dequantised"));
                nodes.push(linear("QuantizeLinear", [&data, &scale, &zero], &q, None));
                nodes.push(linear("DequantizeLinear", [&q, &scale, &zero], &out, None));
                node.input[0].clone_from(&out);
                done.insert(data, out);
            }
            let values = weights.get(&kernel).and_then(Tensor::floats);
            let (Some(values), Some(tensor)) = (values, weights.get(&kernel)) else {
                return Err(format!("has a convolution whose weights {kernel:?} are not in the file"));
            };
            let channels = usize::try_from(*tensor.dims.first().ok_or("has weights without a shape")?).unwrap_or(0);
            let (scales, integers) = per_channel(&values, channels);
            let names = ["int8", "scale", "zero"].map(|what| format!("{kernel}.{what}"));
            made.push(bytes_of(&names[0], &tensor.dims, integers));
            made.push(floats(&names[1], &tensor.dims[..1], &scales));
            made.push(bytes_of(&names[2], &tensor.dims[..1], vec![0; channels]));
            let out = format!("{kernel}.dequantised");
            nodes.push(linear("DequantizeLinear", [&names[0], &names[1], &names[2]], &out, Some(0)));
            node.input[1] = out;
        }
        nodes.push(node);
    }
    if convolutions == 0 {
        return Err("has no convolution to compute in INT8".to_owned());
    }
    graph.node = nodes;
    graph.initializer.extend(made);
    drop_unused(graph);
    graph.value_info.clear();
    Ok(model.encode_to_vec())
}

/// Scales and integers of weights `[channels, …]`.
fn per_channel(values: &[f32], channels: usize) -> (Vec<f32>, Vec<u8>) {
    let each = values.len().checked_div(channels).unwrap_or(0).max(1);
    let mut scales = Vec::with_capacity(channels);
    let mut integers = Vec::with_capacity(values.len());
    for channel in values.chunks(each) {
        let reach = channel.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        // A channel of nothing but zeros has any scale.
        let scale = if reach > 0.0 { reach / 127.0 } else { 1.0 };
        scales.push(scale);
        integers.extend(channel.iter().map(|v| {
            #[expect(clippy::cast_possible_truncation, reason = "clamped to ±127 before")]
            let q = (v / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
            q.cast_unsigned()
        }));
    }
    (scales, integers)
}

fn linear(op: &str, inputs: [&String; 3], output: &str, axis: Option<i64>) -> Node {
    let axis = axis.map(|i| Attribute { name: "axis".into(), i: Some(i), kind: 2, ..Attribute::default() });
    Node {
        input: inputs.map(Clone::clone).to_vec(),
        output: vec![output.to_owned()],
        name: format!("{output}.{op}"),
        op_type: op.to_owned(),
        attribute: axis.into_iter().collect(),
        ..Node::default()
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
    let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor { dims: dims.to_vec(), data_type: FLOAT, name: name.to_owned(), raw_data, ..Tensor::default() }
}

fn bytes_of(name: &str, dims: &[i64], raw_data: Vec<u8>) -> Tensor {
    Tensor { dims: dims.to_vec(), data_type: INT8, name: name.to_owned(), raw_data, ..Tensor::default() }
}
