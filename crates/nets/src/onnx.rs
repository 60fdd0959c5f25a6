//! ONNX files as data: read, counted, and written again in other numbers.
//!
//! TensorRT 11 and TensorRT for RTX take the precision from the file ("strongly typed"), so a network in FP16 or INT8 is
//! another file: [`to_half`] and [`quantise()`] make it from the FP32 one. [`count`] says what a network costs.
//! The messages are those of onnx.proto (ONNX 1.17, IR 10) that such files use; field numbers are the format.

mod cost;
mod half;
mod message;
mod quantise;

pub use cost::{Cost, count};
pub use half::to_half;
pub use quantise::{Ranges, quantise};

use message::{Attribute, Graph, Model, Node, Tensor, ValueInfo};
use prost::Message;

/// ONNX's numbers for element types.
const FLOAT: i32 = 1;
const INT8: i32 = 3;
const FLOAT16: i32 = 10;

/// Reads a model; one without a graph is none.
fn read(bytes: &[u8]) -> Result<Model, String> {
    let model = Model::decode(bytes).map_err(|e| format!("is no ONNX file: {e}"))?;
    if model.graph.as_ref().is_none_or(|graph| graph.node.is_empty()) {
        return Err("is no ONNX file: it has no graph".to_owned());
    }
    Ok(model)
}

impl Tensor {
    /// The values of an f32 tensor, however they are stored.
    fn floats(&self) -> Option<Vec<f32>> {
        if self.data_type != FLOAT || !self.external_data.is_empty() {
            return None;
        }
        if self.raw_data.is_empty() {
            return Some(self.float_data.clone());
        }
        Some(self.raw_data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    fn elements(&self) -> usize {
        self.dims.iter().map(|&d| usize::try_from(d).unwrap_or(0)).product()
    }
}
