//! Compares what a graph declares with what the manifest says.
//!
//! ONNX Runtime would find most of this out by itself, at the first run and in its own words. Here it is an error of
//! start-up that names the file, the tensor, what was expected and what was found.

use ort::value::{Outlet, TensorElementType, ValueType};
use seehear::net::{NetError, TensorSpec};
use std::path::Path;

/// Every input of the graph must be fed; outputs that nobody asked for are left alone.
pub(crate) fn check_inputs_complete(model: &Path, declared: &[Outlet], specs: &[TensorSpec]) -> Result<(), NetError> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    if declared.iter().all(|outlet| names.contains(&outlet.name())) {
        return Ok(());
    }
    Err(NetError::Tensor {
        path: model.to_owned(),
        what: "inputs".to_owned(),
        expected: names.join(", "),
        got: list_names(declared),
    })
}

/// No name twice. Tensors are bound by name, so of two the first would be left unbound: an input without effect, or an
/// output that nobody ever writes.
pub(crate) fn check_unique(
    model: &Path,
    role: &str,
    declared: &[Outlet],
    specs: &[TensorSpec],
) -> Result<(), NetError> {
    for (i, spec) in specs.iter().enumerate() {
        if specs[..i].iter().any(|before| before.name == spec.name) {
            return Err(NetError::Tensor {
                path: model.to_owned(),
                what: format!("names of {role}s"),
                expected: format!("{} twice", spec.name),
                got: list_names(declared),
            });
        }
    }
    Ok(())
}

/// Name, element type and shape, as far as the graph declares them.
pub(crate) fn check_declared(model: &Path, role: &str, declared: &[Outlet], spec: &TensorSpec) -> Result<(), NetError> {
    let Some(outlet) = declared.iter().find(|outlet| outlet.name() == spec.name) else {
        return Err(NetError::Tensor {
            path: model.to_owned(),
            what: format!("name of an {role}"),
            expected: spec.name.clone(),
            got: list_names(declared),
        });
    };
    let fits = match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => !spec.is_empty() && fits(shape, &spec.shape),
        _ => false,
    };
    if fits { Ok(()) } else { Err(mismatch(model, role, spec, outlet.dtype().to_string())) }
}

/// Negative dimensions are dynamic and match anything.
pub(crate) fn fits(declared: &[i64], asked: &[usize]) -> bool {
    declared.len() == asked.len() && declared.iter().zip(asked).all(|(&d, &a)| d < 0 || usize::try_from(d) == Ok(a))
}

/// The error for a tensor that is there and is another.
pub(crate) fn mismatch(model: &Path, role: &str, spec: &TensorSpec, got: String) -> NetError {
    let dims: Vec<String> = spec.shape.iter().map(ToString::to_string).collect();
    NetError::Tensor {
        path: model.to_owned(),
        what: format!("{role} {:?}", spec.name),
        // As `ort` writes a type, so that the two can be compared by eye.
        expected: format!("Tensor<f32>({})", dims.join(", ")),
        got,
    }
}

/// The slices of a run against the specs; says which is wrong, in words.
pub(crate) fn check_call(
    in_specs: &[TensorSpec],
    inputs: &[&[f32]],
    out_specs: &[TensorSpec],
    outputs: &[&mut [f32]],
) -> Result<(), String> {
    check_lengths("input", in_specs, inputs.iter().map(|data| data.len()))?;
    check_lengths("output", out_specs, outputs.iter().map(|data| data.len()))
}

fn check_lengths(role: &str, specs: &[TensorSpec], got: impl ExactSizeIterator<Item = usize>) -> Result<(), String> {
    if got.len() != specs.len() {
        return Err(format!("{} {role}s given, it has {}", got.len(), specs.len()));
    }
    for (spec, got) in specs.iter().zip(got) {
        if got != spec.len() {
            return Err(format!(
                "{role} {:?} holds {got} values, its shape {:?} has {}",
                spec.name,
                spec.shape,
                spec.len()
            ));
        }
    }
    Ok(())
}

fn list_names(outlets: &[Outlet]) -> String {
    outlets.iter().map(Outlet::name).collect::<Vec<_>>().join(", ")
}
