//! ONNX Runtime through the crate [`ort`]: on the CPU, or on a GPU through its CUDA or TensorRT provider.
//!
//! A network is opened for fixed shapes: its tensors are made once, bound once (`OrtIoBinding`), and a run is copy in,
//! compute, copy out. `ort`'s own `run_binding` wraps the outputs in new values each time, which is two Rust
//! allocations a run; we call the C function beneath it and read the tensors that we bound ourselves. On a GPU the bound
//! tensors lie on the device and are filled from pinned memory on the network's own stream (`cuda.rs`).
//!
//! ONNX Runtime is one library and one environment per process. Both are made by the first [`OnnxRuntime::new`] that
//! succeeds and stay; one that failed leaves nothing behind and may be tried again with another path.

use crate::check::{check_call, check_declared, check_inputs_complete, check_unique, fits, mismatch};
use crate::cuda::{self, DeviceTensor, Staging};
use crate::kind::Kind;
use crate::locate::{self, REMEDY};
use crate::provider::{self, Gpu, GpuOptions};
use cudarc::driver::CudaStream;
use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session};
use ort::value::Tensor;
use seehear::net::{Backend, NetError, Network, TensorSpec};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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

/// The ONNX Runtime backends: `onnxruntime-cpu`, `onnxruntime-cuda` and `onnxruntime-tensorrt`.
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    runtime: Arc<Runtime>,
    threads: usize,
    kind: Kind,
    /// `None` on the CPU.
    gpu: Option<Gpu>,
}

impl OnnxRuntime {
    /// The CPU backend. Finds and loads the library, unless this process has done so before.
    ///
    /// # Errors
    /// [`NetError::Library`] when there is no library, when it is not ONNX Runtime or too old, when this process
    /// already runs on another one, or when `threads` is out of range. It names what was tried and the remedy.
    pub fn new(options: OnnxRuntimeOptions) -> Result<Self, NetError> {
        Self::start(Kind::OnnxRuntimeCpu, options, None)
    }

    /// One of the GPU backends, [`Kind::OnnxRuntimeCuda`] or [`Kind::OnnxRuntimeTensorRt`]. `threads` counts for the nodes
    /// that stay on the CPU.
    ///
    /// # Errors
    /// As [`OnnxRuntime::new`], and before that for every reason for which no GPU can be used: no driver, an old one, no
    /// GPU or one that will not do, no provider, or libraries missing that the provider needs. Each says what to do.
    ///
    /// # Panics
    /// When `kind` is none of the two.
    pub fn on_gpu(kind: Kind, options: OnnxRuntimeOptions, gpu: &GpuOptions) -> Result<Self, NetError> {
        assert!(matches!(kind, Kind::OnnxRuntimeCuda | Kind::OnnxRuntimeTensorRt), "{kind} is no GPU of ONNX Runtime");
        let gpu = provider::prepare(kind, options.library.as_deref(), gpu).map_err(|why| unfit(kind, why))?;
        let options = OnnxRuntimeOptions { library: Some(gpu.library.clone()), ..options };
        Self::start(kind, options, Some(gpu))
    }

    fn start(kind: Kind, options: OnnxRuntimeOptions, gpu: Option<Gpu>) -> Result<Self, NetError> {
        let OnnxRuntimeOptions { threads, library } = options;
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(unfit(kind, format!("threads = {threads} is out of range (1 to {MAX_THREADS})")));
        }
        // Whoever panicked while holding the lock left either nothing or a whole runtime.
        let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = match &*slot {
            Some(runtime) => {
                check_same(runtime, library.as_deref()).map_err(|why| unfit(kind, why))?;
                Arc::clone(runtime)
            }
            None => {
                let started = start(library.as_deref()).map_err(|why| unfit(kind, why))?;
                Arc::clone(slot.insert(Arc::new(started)))
            }
        };
        Ok(Self { runtime, threads, kind, gpu })
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

    /// The GPU in use: its number, name and compute capability; `None` on the CPU.
    #[must_use]
    pub fn gpu(&self) -> Option<String> {
        let device = &self.gpu.as_ref()?.device;
        Some(format!("GPU {}, {}, compute capability {}", device.ordinal, device.name, device.compute))
    }

    fn session(&self, model: &Path, stream: Option<&CudaStream>) -> Result<Session, ort::Error> {
        let mut builder = self.builder()?;
        if let (Some(gpu), Some(stream)) = (&self.gpu, stream) {
            // SAFETY: The network keeps the stream until after its session (the order of the fields of `OnnxNetwork`), and
            // a session that comes to nothing is gone before the stream is.
            let providers = unsafe { gpu.providers(self.kind, stream.cu_stream().cast()) };
            builder = builder.with_execution_providers(providers)?;
        }
        builder.commit_from_file(model)
    }

    /// A stream for one network.
    fn stream(&self) -> Result<Option<Arc<CudaStream>>, NetError> {
        let Some(gpu) = &self.gpu else { return Ok(None) };
        let made = cuda::context(gpu.options.ordinal).and_then(|context| context.new_stream());
        made.map(Some).map_err(|e| unfit(self.kind, format!("no stream on {}: {e}", gpu.device.name)))
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
        self.kind.name()
    }

    fn load(&self, model: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Box<dyn Network>, NetError> {
        // ONNX Runtime's words for a file that cannot be read do not say why.
        drop(File::open(model).map_err(|source| NetError::Read { path: model.to_owned(), source })?);
        if let Some(gpu) = &self.gpu {
            let dir = gpu.options.cache.join("onnxruntime");
            std::fs::create_dir_all(&dir).map_err(|source| NetError::Read { path: dir, source })?;
        }
        let stream = self.stream()?;
        let session = self.session(model, stream.as_deref()).map_err(|e| {
            let (file, version) = (model.display(), self.version());
            let why = match self.gpu {
                None => format!(
                    "engine file {file} is no network that ONNX Runtime {version} can open: {e}; fetch the engine again"
                ),
                // Opening compiles for the GPU: the file is only one of the things that may be at fault.
                Some(_) => format!("engine file {file} cannot be opened by ONNX Runtime {version}: {e}"),
            };
            unfit(self.kind, why)
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
        Ok(Box::new(OnnxNetwork::new(self.kind, session, stream, model, inputs, outputs)?))
    }
}

/// Loads the library and makes the environment.
fn start(library: Option<&Path>) -> Result<Runtime, String> {
    let found = locate::find(library)?;
    let path = found.path.display();
    let environment = ort::init_from(&found.path)
        .map_err(|e| format!("{path}: {e}; {REMEDY}"))?
        .with_name("seehear")
        // Official builds send usage data where the platform lets them. Not from people's meetings.
        .with_telemetry(false)
        .build()
        .map_err(|e| format!("{path}: {e}; {REMEDY}"))?;
    Ok(Runtime { path: found.path, version: found.version, environment })
}

/// Refuses an option that asks for another library than the one this process runs on.
fn check_same(runtime: &Runtime, library: Option<&Path>) -> Result<(), String> {
    let Some(asked) = library else { return Ok(()) };
    let asked = locate::from_option(asked)?;
    let same = match (asked.canonicalize(), runtime.path.canonicalize()) {
        (Ok(asked), Ok(loaded)) => asked == loaded,
        _ => asked == runtime.path,
    };
    if same {
        return Ok(());
    }
    Err(format!(
        "{} cannot be loaded: this process already runs on {}, and one process has one ONNX Runtime; \
         start another process",
        asked.display(),
        runtime.path.display(),
    ))
}

fn unfit(kind: Kind, why: String) -> NetError {
    NetError::Library { backend: kind.name(), why }
}

/// One open network with its tensors. The order of the fields is that in which they go: the session before its stream.
struct OnnxNetwork {
    session: Session,
    /// Holds the tensors below by name; they share its memory.
    binding: IoBinding,
    bound_inputs: Vec<Tensor<f32>>,
    bound_outputs: Vec<Tensor<f32>>,
    /// On a GPU, where the bound tensors cannot be reached from here.
    staging: Option<Staging>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    kind: Kind,
    /// The file's stem, for errors.
    name: String,
}

impl OnnxNetwork {
    /// Binds the tensors, checks the shapes that the graph leaves open, and warms up.
    fn new(
        kind: Kind,
        mut session: Session,
        stream: Option<Arc<CudaStream>>,
        model: &Path,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<Self, NetError> {
        let name = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let failed = |e: ort::Error| run_error(kind, &name, e.to_string());
        let failed_cuda = |e: cudarc::driver::DriverError| run_error(kind, &name, e.to_string());
        let allocator = match &stream {
            None => Allocator::default(),
            Some(stream) => device_allocator(&session, stream).map_err(failed)?,
        };
        let mut binding = session.create_binding().map_err(failed)?;
        let mut bound_inputs = match stream {
            None => zero_tensors(inputs).map_err(failed)?,
            Some(_) => new_tensors(&allocator, inputs).map_err(failed)?,
        };
        for (tensor, spec) in bound_inputs.iter().zip(inputs) {
            binding.bind_input(spec.name.as_str(), tensor).map_err(failed)?;
        }
        let mut bound_outputs = new_tensors(&allocator, outputs).map_err(failed)?;
        let staging = match &stream {
            None => None,
            Some(stream) => {
                let (from, to) = (on_device(&mut bound_inputs), on_device(&mut bound_outputs));
                // SAFETY: The tensors are of this context, as the session is, and stay in the same struct as the staging.
                let staging = unsafe { Staging::new(stream, &from, &to) }.map_err(failed_cuda)?;
                // The warm-up runs read the inputs.
                staging.upload().and_then(|()| staging.wait()).map_err(failed_cuda)?;
                Some(staging)
            }
        };
        check_computed(kind, model, &mut session, &mut binding, &name, outputs)?;
        for (tensor, spec) in bound_outputs.iter_mut().zip(outputs) {
            binding.bind_output(spec.name.as_str(), tensor).map_err(failed)?;
        }
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        let mut network = Self { session, binding, bound_inputs, bound_outputs, staging, inputs, outputs, kind, name };
        // `check_computed` ran the graph for the first time; this is the first run into our own tensors. A camera's
        // first frame is then a frame like any other.
        network.run_bound().map_err(|e| network.failed(&e))?;
        Ok(network)
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> NetError {
        run_error(self.kind, &self.name, why.to_string())
    }

    /// Computes from what is in the bound inputs what is then in the bound outputs.
    ///
    /// Takes `&mut self` because ONNX Runtime does not promise that a session may run twice at once.
    fn run_bound(&mut self) -> Result<(), ort::Error> {
        // SAFETY: The session and the binding are alive, as `self` owns both, and the binding was made for this
        // session. Every bound value is alive too: the binding holds its own reference to each. No slice of a bound
        // tensor is borrowed, as those borrow `self` too. Null run options are the default ones, with which a run on a GPU
        // ends when its stream is done.
        let status =
            unsafe { (ort::api().RunWithBinding)(self.session.ptr_mut(), std::ptr::null(), self.binding.ptr()) };
        // SAFETY: The status was given by ONNX Runtime just now and nobody else has it.
        unsafe { ort::Error::result_from_status(status) }
    }

    fn run_on_host(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), ort::Error> {
        for (tensor, data) in self.bound_inputs.iter_mut().zip(inputs) {
            tensor.try_extract_tensor_mut()?.1.copy_from_slice(data);
        }
        self.run_bound()?;
        for (tensor, data) in self.bound_outputs.iter().zip(outputs) {
            data.copy_from_slice(tensor.try_extract_tensor()?.1);
        }
        Ok(())
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
        check_call(&self.inputs, inputs, &self.outputs, outputs).map_err(|why| self.failed(&why))?;
        let Some(mut staging) = self.staging.take() else {
            return self.run_on_host(inputs, outputs).map_err(|e| self.failed(&e));
        };
        let up = staging.fill(inputs).and_then(|()| staging.upload()).map_err(|e| self.failed(&e));
        let done = up.and_then(|()| self.run_bound().map_err(|e| self.failed(&e))).and_then(|()| {
            let down = staging.download().and_then(|()| staging.wait()).and_then(|()| staging.give(outputs));
            down.map_err(|e| self.failed(&e))
        });
        self.staging = Some(staging);
        done
    }
}

/// Runs once with outputs that the library makes, whose shapes are then what the graph really gives.
///
/// Graphs leave output dimensions open. Were our own tensors bound already, a wrong shape would come as a message from
/// somewhere inside the graph instead of as expected and got.
fn check_computed(
    kind: Kind,
    model: &Path,
    session: &mut Session,
    binding: &mut IoBinding,
    name: &str,
    specs: &[TensorSpec],
) -> Result<(), NetError> {
    let failed = |e: ort::Error| run_error(kind, name, e.to_string());
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

/// Memory of the GPU that the stream is of.
fn device_allocator(session: &Session, stream: &CudaStream) -> Result<Allocator, ort::Error> {
    let ordinal = i32::try_from(stream.context().ordinal()).expect("the driver counts in int");
    let info = MemoryInfo::new(AllocationDevice::CUDA, ordinal, AllocatorType::Device, MemoryType::Default)?;
    Allocator::new(session, info)
}

/// Tensors in the allocator's memory, of no set content.
fn new_tensors(allocator: &Allocator, specs: &[TensorSpec]) -> Result<Vec<Tensor<f32>>, ort::Error> {
    specs.iter().map(|spec| Tensor::new(allocator, spec.shape.as_slice())).collect()
}

/// Tensors for the inputs, all zero: the warm-up runs read them.
fn zero_tensors(specs: &[TensorSpec]) -> Result<Vec<Tensor<f32>>, ort::Error> {
    specs.iter().map(|spec| Tensor::from_array((spec.shape.as_slice(), vec![0.0; spec.len()]))).collect()
}

/// Where the tensors lie on the device.
fn on_device(tensors: &mut [Tensor<f32>]) -> Vec<DeviceTensor> {
    let place = |tensor: &mut Tensor<f32>| DeviceTensor {
        at: u64::try_from(tensor.data_ptr_mut().addr()).expect("usize is at most 64 bits"),
        len: tensor.shape().num_elements(),
    };
    tensors.iter_mut().map(place).collect()
}

fn run_error(kind: Kind, net: &str, why: String) -> NetError {
    NetError::Run { backend: kind.name(), net: net.to_owned(), why }
}
