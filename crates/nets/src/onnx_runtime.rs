//! ONNX Runtime on the CPU, through the crate [`ort`].
//!
//! A network is opened for fixed shapes: its tensors are made once, bound once (`OrtIoBinding`), and a run is copy in,
//! compute, copy out. `ort`'s own `run_binding` wraps the outputs in new values each time, which is two Rust
//! allocations a run; we call the C function beneath it and read the tensors that we bound ourselves.
//!
//! ONNX Runtime is one library and one environment per process. Both are made by the first [`OnnxRuntime::new`] that
//! succeeds and stay; one that failed leaves nothing behind and may be tried again with another path.

use crate::check::{check_declared, check_inputs_complete, check_unique, fits, mismatch};
use crate::locate::{self, REMEDY};
use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session};
use ort::value::Tensor;
use seehear::net::{Backend, NetError, Network, TensorSpec};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The backend's name, in the events' header and in every error.
const NAME: &str = "onnxruntime-cpu";

/// More threads than this for one run is a slip of the pen.
const MAX_THREADS: usize = 256;

/// How [`OnnxRuntime`] is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxRuntimeOptions {
    /// Threads that one run of a network may use, the caller's own included; 1 to 256. Each network has its own.
    pub threads: usize,
    /// The shared library, or the folder that holds it; `None` looks in the places that the crate's documentation
    /// lists.
    pub library: Option<PathBuf>,
}

impl Default for OnnxRuntimeOptions {
    /// One thread, which is the caller's: no pool is made.
    fn default() -> Self {
        Self { threads: 1, library: None }
    }
}

/// The library and the environment, once per process.
#[derive(Debug)]
struct Runtime {
    path: PathBuf,
    version: String,
    environment: Environment,
}

/// Never emptied: `ort` allows one environment per process, ever.
static RUNTIME: Mutex<Option<Arc<Runtime>>> = Mutex::new(None);

/// The ONNX Runtime CPU backend, `onnxruntime-cpu`.
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    runtime: Arc<Runtime>,
    threads: usize,
}

impl OnnxRuntime {
    /// Finds and loads the library, unless this process has done so before.
    ///
    /// # Errors
    /// [`NetError::Library`] when there is no library, when it is not ONNX Runtime or too old, when this process
    /// already runs on another one, or when `threads` is out of range. It names what was tried and the remedy.
    pub fn new(options: OnnxRuntimeOptions) -> Result<Self, NetError> {
        let OnnxRuntimeOptions { threads, library } = options;
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(unfit(format!("threads = {threads} is out of range (1 to {MAX_THREADS})")));
        }
        // Whoever panicked while holding the lock left either nothing or a whole runtime.
        let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = match &*slot {
            Some(runtime) => {
                check_same(runtime, library.as_deref())?;
                Arc::clone(runtime)
            }
            None => Arc::clone(slot.insert(Arc::new(start(library.as_deref())?))),
        };
        Ok(Self { runtime, threads })
    }

    /// The library in use: its path, or the bare name if the system's loader found it.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.runtime.path
    }

    /// The library's version, as it says itself: `1.32.0`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.runtime.version
    }

    fn session(&self, model: &Path) -> Result<Session, ort::Error> {
        self.builder()?.commit_from_file(model)
    }

    fn builder(&self) -> Result<SessionBuilder, ort::Error> {
        Ok(Session::builder(&self.runtime.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_parallel_execution(false)?
            .with_inter_threads(1)?
            .with_intra_threads(self.threads)?
            // Idle threads sleep. Spinning ones answer some microseconds sooner and burn a core for it, all the time.
            .with_intra_op_spinning(false)?)
    }
}

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, model: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Box<dyn Network>, NetError> {
        // ONNX Runtime's words for a file that cannot be read do not say why.
        drop(File::open(model).map_err(|source| NetError::Read { path: model.to_owned(), source })?);
        let session = self.session(model).map_err(|e| {
            unfit(format!(
                "engine file {} is no network that ONNX Runtime {} can open: {e}; fetch the engine again",
                model.display(),
                self.version(),
            ))
        })?;
        check_inputs_complete(model, session.inputs(), inputs)?;
        check_unique(model, "input", session.inputs(), inputs)?;
        check_unique(model, "output", session.outputs(), outputs)?;
        for spec in inputs {
            check_declared(model, "input", session.inputs(), spec)?;
        }
        for spec in outputs {
            check_declared(model, "output", session.outputs(), spec)?;
        }
        Ok(Box::new(OnnxNetwork::new(session, model, inputs, outputs)?))
    }
}

/// Loads the library and makes the environment.
fn start(library: Option<&Path>) -> Result<Runtime, NetError> {
    let found = locate::find(library).map_err(unfit)?;
    let path = found.path.display();
    let environment = ort::init_from(&found.path)
        .map_err(|e| unfit(format!("{path}: {e}; {REMEDY}")))?
        .with_name("seehear")
        // Official builds send usage data where the platform lets them. Not from people's meetings.
        .with_telemetry(false)
        .build()
        .map_err(|e| unfit(format!("{path}: {e}; {REMEDY}")))?;
    Ok(Runtime { path: found.path, version: found.version, environment })
}

/// Refuses an option that asks for another library than the one this process runs on.
fn check_same(runtime: &Runtime, library: Option<&Path>) -> Result<(), NetError> {
    let Some(asked) = library else { return Ok(()) };
    let asked = locate::from_option(asked).map_err(unfit)?;
    let same = match (asked.canonicalize(), runtime.path.canonicalize()) {
        (Ok(asked), Ok(loaded)) => asked == loaded,
        _ => asked == runtime.path,
    };
    if same {
        return Ok(());
    }
    Err(unfit(format!(
        "{} cannot be loaded: this process already runs on {}, and one process has one ONNX Runtime; \
         start another process",
        asked.display(),
        runtime.path.display(),
    )))
}

fn unfit(why: String) -> NetError {
    NetError::Library { backend: NAME, why }
}

/// One open network with its tensors.
struct OnnxNetwork {
    session: Session,
    /// Holds the tensors below by name; they share its memory.
    binding: IoBinding,
    bound_inputs: Vec<Tensor<f32>>,
    bound_outputs: Vec<Tensor<f32>>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    /// The file's stem, for errors.
    name: String,
}

impl OnnxNetwork {
    /// Binds the tensors, checks the shapes that the graph leaves open, and warms up.
    fn new(
        mut session: Session,
        model: &Path,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<Self, NetError> {
        let name = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let failed = |e: ort::Error| run_error(&name, e.to_string());
        let mut binding = session.create_binding().map_err(failed)?;
        let bound_inputs = zero_tensors(inputs).map_err(failed)?;
        for (tensor, spec) in bound_inputs.iter().zip(inputs) {
            binding.bind_input(spec.name.as_str(), tensor).map_err(failed)?;
        }
        check_computed(model, &mut session, &mut binding, &name, outputs)?;
        let allocator = Allocator::default();
        let mut bound_outputs = Vec::with_capacity(outputs.len());
        for spec in outputs {
            let mut tensor = Tensor::new(&allocator, spec.shape.as_slice()).map_err(failed)?;
            binding.bind_output(spec.name.as_str(), &mut tensor).map_err(failed)?;
            bound_outputs.push(tensor);
        }
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        let mut network = Self { session, binding, bound_inputs, bound_outputs, inputs, outputs, name };
        // `check_computed` ran the graph for the first time; this is the first run into our own tensors. A camera's
        // first frame is then a frame like any other.
        network.run_bound().map_err(|e| run_error(&network.name, e.to_string()))?;
        Ok(network)
    }

    /// Computes from what is in the bound inputs what is then in the bound outputs.
    ///
    /// Takes `&mut self` because ONNX Runtime does not promise that a session may run twice at once.
    fn run_bound(&mut self) -> Result<(), ort::Error> {
        // SAFETY: The session and the binding are alive, as `self` owns both, and the binding was made for this
        // session. Every bound value is alive too: the binding holds its own reference to each. No slice of a bound
        // tensor is borrowed, as those borrow `self` too. Null run options are the default ones.
        let status =
            unsafe { (ort::api().RunWithBinding)(self.session.ptr_mut(), std::ptr::null(), self.binding.ptr()) };
        // SAFETY: The status was given by ONNX Runtime just now and nobody else has it.
        unsafe { ort::Error::result_from_status(status) }
    }
}

impl Network for OnnxNetwork {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), NetError> {
        // All lengths before anything is computed: a call that fails leaves the caller's outputs as they were.
        check_lengths("input", &self.inputs, inputs.iter().map(|data| data.len()))
            .and_then(|()| check_lengths("output", &self.outputs, outputs.iter().map(|data| data.len())))
            .map_err(|why| run_error(&self.name, why))?;
        for (tensor, data) in self.bound_inputs.iter_mut().zip(inputs) {
            let (_, bound) = tensor.try_extract_tensor_mut().map_err(|e| run_error(&self.name, e.to_string()))?;
            bound.copy_from_slice(data);
        }
        self.run_bound().map_err(|e| run_error(&self.name, e.to_string()))?;
        for (tensor, data) in self.bound_outputs.iter().zip(outputs) {
            let (_, bound) = tensor.try_extract_tensor().map_err(|e| run_error(&self.name, e.to_string()))?;
            data.copy_from_slice(bound);
        }
        Ok(())
    }
}

/// Runs once with outputs that the library makes, whose shapes are then what the graph really gives.
///
/// Graphs leave output dimensions open. Were our own tensors bound already, a wrong shape would come as a message from
/// somewhere inside the graph instead of as expected and got.
fn check_computed(
    model: &Path,
    session: &mut Session,
    binding: &mut IoBinding,
    name: &str,
    specs: &[TensorSpec],
) -> Result<(), NetError> {
    let failed = |e: ort::Error| run_error(name, e.to_string());
    let cpu = MemoryInfo::default();
    for spec in specs {
        binding.bind_output_to_device(spec.name.as_str(), &cpu).map_err(failed)?;
    }
    let made = session.run_binding(binding).map_err(failed)?;
    for spec in specs {
        let Some(value) = made.get(&spec.name) else {
            return Err(mismatch(model, "output", spec, "none".to_owned()));
        };
        if !value.dtype().tensor_shape().is_some_and(|shape| fits(shape, &spec.shape)) {
            return Err(mismatch(model, "output", spec, value.dtype().to_string()));
        }
    }
    Ok(())
}

/// Tensors for the inputs, all zero: the warm-up runs read them.
fn zero_tensors(specs: &[TensorSpec]) -> Result<Vec<Tensor<f32>>, ort::Error> {
    specs.iter().map(|spec| Tensor::from_array((spec.shape.as_slice(), vec![0.0; spec.len()]))).collect()
}

/// Says which slice is wrong, in words.
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

fn run_error(net: &str, why: String) -> NetError {
    NetError::Run { backend: NAME, net: net.to_owned(), why }
}
