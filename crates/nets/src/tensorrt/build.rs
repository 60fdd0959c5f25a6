//! From a model's bytes to a plan: parse, fix the shapes, check the tensors, build. No GPU is needed.

use super::library::{Library, complaints};
use super::unfit;
use crate::check::mismatch;
use crate::driver::Version;
use crate::notice::{Listener, Notice};
use seehear::net::{NetError, TensorSpec};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use trtx::builder::{ComputeCapability, network_flags};
use trtx::interfaces::MonitorProgress;
use trtx::{Builder, DataType, NetworkDefinition, OnnxParser};

/// The compute capabilities that TensorRT for RTX builds for.
pub const BUILDS_FOR: [Version; 6] = [
    Version::new(7, 5),
    Version::new(8, 0),
    Version::new(8, 6),
    Version::new(8, 9),
    Version::new(12, 0),
    Version::new(12, 1),
];

/// How a plan is built.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// For GPUs of this compute capability.
    pub compute: Version,
    /// Who hears how far it has come.
    pub listener: Listener,
}

/// One build at a time: what TensorRT complains of is the process'.
static BUILDING: Mutex<()> = Mutex::new(());

impl Library {
    /// Builds a plan for inputs of exactly these shapes.
    ///
    /// # Errors
    /// [`NetError::Library`] when TensorRT cannot parse or build the model or does not know the GPU,
    /// [`NetError::Tensor`] when the model has other tensors.
    pub fn build(
        &self,
        model: &Path,
        bytes: &[u8],
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
        options: &BuildOptions,
    ) -> Result<Vec<u8>, NetError> {
        let target = target(options.compute)?;
        let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        // What an earlier failure left unsaid is not this one's.
        drop(complaints());
        let failed = |e: trtx::Error| {
            let said = complaints();
            let why = if said.is_empty() { e.to_string() } else { said };
            let (file, version) = (model.display(), self.version());
            unfit(format!("engine file {file} cannot be built by TensorRT {version}: {why}"))
        };
        let mut builder = Builder::new(self.logger()?).map_err(failed)?;
        let mut config = builder.create_config().map_err(failed)?;
        config.set_nb_compute_capabilities(1).map_err(failed)?;
        config.set_compute_capability(target, 0).map_err(failed)?;
        let progress = Progress { listener: options.listener.clone(), phases: Mutex::default() };
        config.set_progress_monitor(Box::new(progress)).map_err(failed)?;
        let empty = builder.create_network(network_flags::EXPLICIT_BATCH).map_err(failed)?;
        let mut parser = OnnxParser::new(empty, self.logger()?).map_err(failed)?;
        parser.parse(bytes).map_err(failed)?;
        let network = parser.network_mut();
        fix_inputs(model, network, inputs).map_err(|e| e.or(failed))?;
        check_outputs(model, network, outputs).map_err(|e| e.or(failed))?;
        let plan = builder.build_serialized_network(network, &mut config).map_err(failed)?;
        Ok(plan.to_vec())
    }
}

/// TensorRT's name of a compute capability.
pub(super) fn target(compute: Version) -> Result<ComputeCapability, NetError> {
    Ok(match (compute.major, compute.minor) {
        (7, 5) => ComputeCapability::kSM75,
        (8, 0) => ComputeCapability::kSM80,
        (8, 6) => ComputeCapability::kSM86,
        (8, 9) => ComputeCapability::kSM89,
        (12, 0) => ComputeCapability::kSM120,
        (12, 1) => ComputeCapability::kSM121,
        _ => {
            let known: Vec<String> = BUILDS_FOR.iter().map(ToString::to_string).collect();
            return Err(unfit(format!(
                "TensorRT for RTX does not build for compute capability {compute} (it does for {}); \
                 use --backend onnxruntime-tensorrt",
                known.join(", ")
            )));
        }
    })
}

/// Ours or TensorRT's.
enum Failure {
    Ours(NetError),
    TensorRt(trtx::Error),
}

impl Failure {
    fn or(self, failed: impl FnOnce(trtx::Error) -> NetError) -> NetError {
        match self {
            Self::Ours(e) => e,
            Self::TensorRt(e) => failed(e),
        }
    }
}

impl From<trtx::Error> for Failure {
    fn from(e: trtx::Error) -> Self {
        Self::TensorRt(e)
    }
}

/// Gives every input its shape; what the graph fixes already must be the same.
fn fix_inputs(model: &Path, network: &mut NetworkDefinition<'_>, specs: &[TensorSpec]) -> Result<(), Failure> {
    let mut tensors = Vec::new();
    for tensor in network.inputs() {
        tensors.push((tensor.name(network)?, tensor));
    }
    let names: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    let other = |expected: String| {
        Failure::Ours(NetError::Tensor {
            path: model.to_owned(),
            what: "inputs".to_owned(),
            expected,
            got: names.join(", "),
        })
    };
    let mut asked: HashMap<&str, &TensorSpec> = specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    if asked.len() != specs.len() || tensors.len() != specs.len() {
        return Err(other(specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ")));
    }
    for (name, mut tensor) in tensors {
        let Some(spec) = asked.remove(name.as_str()) else {
            return Err(other(specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ")));
        };
        let declared = tensor.dimensions(network)?;
        let kind = tensor.data_type(network);
        if kind != DataType::kFLOAT || spec.is_empty() || !crate::check::fits(&declared, &spec.shape) {
            return Err(Failure::Ours(mismatch(model, "input", spec, describe(kind, &declared))));
        }
        tensor.set_dimensions(network, &dims(spec));
    }
    Ok(())
}

/// The outputs' shapes follow from the inputs'.
fn check_outputs(model: &Path, network: &NetworkDefinition<'_>, specs: &[TensorSpec]) -> Result<(), Failure> {
    let mut found: HashMap<String, (DataType, Vec<i64>)> = HashMap::new();
    for tensor in network.outputs() {
        found.insert(tensor.name(network)?, (tensor.data_type(network), tensor.dimensions(network)?));
    }
    for spec in specs {
        let Some((kind, shape)) = found.get(&spec.name) else {
            let mut names: Vec<&str> = found.keys().map(String::as_str).collect();
            names.sort_unstable();
            return Err(Failure::Ours(NetError::Tensor {
                path: model.to_owned(),
                what: "name of an output".to_owned(),
                expected: spec.name.clone(),
                got: names.join(", "),
            }));
        };
        if *kind != DataType::kFLOAT || *shape != dims(spec) {
            return Err(Failure::Ours(mismatch(model, "output", spec, describe(*kind, shape))));
        }
    }
    Ok(())
}

fn dims(spec: &TensorSpec) -> Vec<i64> {
    spec.shape.iter().map(|&n| i64::try_from(n).expect("a dimension of a tensor in memory")).collect()
}

fn describe(kind: DataType, shape: &[i64]) -> String {
    let dims: Vec<String> = shape.iter().map(|&d| if d < 0 { "?".to_owned() } else { d.to_string() }).collect();
    format!("Tensor<{kind:?}>({})", dims.join(", "))
}

/// Hands TensorRT's progress on.
struct Progress {
    listener: Listener,
    /// Steps of each phase that goes on.
    phases: Mutex<HashMap<String, usize>>,
}

impl Progress {
    fn phases(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MonitorProgress for Progress {
    fn phase_start(&self, phase: &str, _: Option<&str>, steps: i32) {
        let of = usize::try_from(steps).unwrap_or(0);
        self.phases().insert(phase.to_owned(), of);
        self.listener.tell(&Notice::Building { phase: phase.to_owned(), done: 0, of });
    }

    fn step_complete(&self, phase: &str, step: i32) -> ControlFlow<()> {
        let of = self.phases().get(phase).copied().unwrap_or(0);
        let done = usize::try_from(step).unwrap_or(0) + 1;
        self.listener.tell(&Notice::Building { phase: phase.to_owned(), done, of });
        ControlFlow::Continue(())
    }

    fn phase_finish(&self, phase: &str) {
        let of = self.phases().remove(phase).unwrap_or(0);
        self.listener.tell(&Notice::Building { phase: phase.to_owned(), done: of, of });
    }
}
