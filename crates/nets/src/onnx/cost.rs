//! What a network costs: multiply-adds and bytes, counted from its graph at a given input shape.
//!
//! Together with a GPU's peak figures they give the least time a run can take (the roofline, Williams 2009): the larger of
//! multiply-adds over the arithmetic's rate and bytes over the memory's. Convolutions are counted; the rest of such a
//! network is below a hundredth of them.

use super::{Node, Tensor, ValueInfo, read};
use seehear::net::TensorSpec;
use std::collections::HashMap;

/// The cost of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds of all convolutions; two floating-point operations each.
    pub multiply_adds: u64,
    /// Numbers in weights and biases.
    pub weights: u64,
    /// Numbers that convolutions read and write, each once; what is fused with them costs no more.
    pub activations: u64,
}

impl Cost {
    /// Bytes moved at least once a run: weights once for a whole batch, activations of every element.
    #[must_use]
    pub fn bytes(&self, bytes_per_number: u64) -> u64 {
        (self.weights + self.activations) * bytes_per_number
    }
}

/// Counts a model's convolutions for an input of this shape.
///
/// # Errors
/// What cannot be counted, in words that continue "file …".
pub fn count(bytes: &[u8], input: &TensorSpec) -> Result<Cost, String> {
    let model = read(bytes)?;
    let graph = model.graph.ok_or("is no ONNX file")?;
    let weights: HashMap<&str, &Tensor> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let named = |v: &&ValueInfo| v.name == input.name;
    graph.input.iter().find(named).ok_or_else(|| format!("has no input {:?}", input.name))?;
    let mut shapes: HashMap<&str, Vec<usize>> = HashMap::from([(input.name.as_str(), input.shape.clone())]);
    let mut cost = Cost::default();
    // Quantised weights come through a node of their own.
    let behind = |name: &str| -> Option<&Tensor> {
        weights.get(name).copied().or_else(|| {
            let node =
                graph.node.iter().find(|n| n.output.iter().any(|o| o == name) && n.op_type == "DequantizeLinear")?;
            weights.get(node.input.first()?.as_str()).copied()
        })
    };
    for node in &graph.node {
        let Some(from) = node.input.first().and_then(|name| shapes.get(name.as_str())).cloned() else { continue };
        let to = match node.op_type.as_str() {
            "Conv" => {
                let kernel =
                    node.input.get(1).and_then(|name| behind(name)).ok_or("has a convolution without weights")?;
                let groups = node.attribute.iter().find(|a| a.name == "group").and_then(|a| a.i).unwrap_or(1);
                let from = read_as(from, &kernel.dims, usize::try_from(groups).unwrap_or(1))?;
                let to = convolved(node, &from, &kernel.dims)?;
                // A value of the output takes as many multiply-adds as one output channel has weights.
                let each = kernel.elements().checked_div(to[1]).unwrap_or(0);
                cost.multiply_adds += wide(to.iter().product::<usize>()) * wide(each);
                cost.weights += wide(kernel.elements() + to[1]);
                cost.activations += wide(from.iter().product::<usize>() + to.iter().product::<usize>());
                to
            }
            "Relu" | "Add" | "Cast" | "Clip" | "QuantizeLinear" | "DequantizeLinear" | "Identity" => from,
            // What it becomes is worked out where a convolution reads it.
            "Reshape" => from,
            _ => continue,
        };
        if let Some(output) = node.output.first() {
            shapes.insert(output, to);
        }
    }
    let counted = cost.multiply_adds > 0;
    counted.then_some(cost).ok_or_else(|| "has no convolution that could be counted".to_owned())
}

/// The shape of which a convolution with this kernel reads a tensor of as many values: `[n, channels, …]`. Only a kernel of
/// one dimension leaves no choice.
fn read_as(from: Vec<usize>, kernel: &[i64], groups: usize) -> Result<Vec<usize>, String> {
    if from.len() == kernel.len() {
        return Ok(from);
    }
    let channels = kernel.get(1).and_then(|&c| usize::try_from(c).ok()).unwrap_or(0) * groups;
    let steps = from.iter().skip(1).product::<usize>().checked_div(channels);
    match (kernel.len(), from.first(), steps) {
        (3, Some(&n), Some(steps)) => Ok(vec![n, channels, steps]),
        _ => Err(format!("has a convolution of {} over {} dimensions", kernel.len(), from.len())),
    }
}

/// The output's shape, `[n, channels, …]`.
fn convolved(node: &Node, from: &[usize], kernel: &[i64]) -> Result<Vec<usize>, String> {
    let spatial = kernel.len().saturating_sub(2);
    if spatial == 0 {
        return Err("has a convolution without a kernel".to_owned());
    }
    let ints = |name: &str, default: Vec<i64>| {
        node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.ints.clone())
    };
    let (strides, dilations) = (ints("strides", vec![1; spatial]), ints("dilations", vec![1; spatial]));
    let pads = ints("pads", vec![0; 2 * spatial]);
    let mut to = vec![from[0], usize::try_from(kernel[0]).unwrap_or(0)];
    for i in 0..spatial {
        let size = i64::try_from(from[i + 2]).map_err(|e| e.to_string())?;
        let window = dilations[i] * (kernel[i + 2] - 1) + 1;
        let steps = (size + pads[i] + pads[i + spatial] - window).div_euclid(strides[i]) + 1;
        to.push(usize::try_from(steps).map_err(|_| "has a convolution larger than its input")?);
    }
    Ok(to)
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).expect("usize is at most 64 bits")
}
