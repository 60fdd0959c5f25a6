//! A plan that runs: tensors on the device, pinned buffers, one stream, and one CUDA graph of all that a run does.
//!
//! Not yet run on a GPU (docs/hardware.md).

use super::library::{Library, complaints};
use super::unfit;
use crate::check::check_call;
use crate::cuda::{DeviceTensor, Staging};
use crate::kind::Kind;
use crate::notice::{Listener, Notice};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaGraph, CudaSlice, CudaStream, DevicePtr};
use seehear::net::{NetError, Network, TensorSpec};
use std::sync::Arc;
use trtx::{CudaEngine, ExecutionContext, Runtime};

/// The order of the fields is that in which they go: the graph before what it reads, the context before its engine, the
/// engine before its runtime, all before the stream.
pub(super) struct TensorRtNetwork {
    /// `None` where the driver could not record the run; it is then put onto the stream each time.
    graph: Option<CudaGraph>,
    context: ExecutionContext<'static>,
    /// Held for the context.
    _engine: CudaEngine<'static>,
    _runtime: Runtime<'static>,
    staging: Staging,
    /// Every tensor of the plan, those that nobody asked for too.
    _memory: Vec<CudaSlice<f32>>,
    stream: Arc<CudaStream>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    name: String,
}

// SAFETY: TensorRT's and CUDA's objects may be used by any thread, one at a time (TensorRT's documentation, "Thread
// Safety"; CUDA's on graphs). Every use below takes `&mut self`, and nothing is shared with another network: stream,
// runtime, engine and context are this one's own; the logger is `Sync`.
unsafe impl Send for TensorRtNetwork {}

impl TensorRtNetwork {
    pub(super) fn new(
        library: &Library,
        context: &Arc<CudaContext>,
        plan: &[u8],
        name: String,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
        listener: &Listener,
    ) -> Result<Self, NetError> {
        let failed = |e: trtx::Error| {
            let said = complaints();
            unfit(format!("network {name} does not load: {}", if said.is_empty() { e.to_string() } else { said }))
        };
        let failed_cuda = |e: cudarc::driver::DriverError| unfit(format!("network {name}: {e}"));
        let stream = context.new_stream().map_err(failed_cuda)?;
        let mut runtime = Runtime::new(library.logger()?).map_err(failed)?;
        let mut engine = runtime.deserialize_cuda_engine(plan).map_err(failed)?;
        let mut execution = engine.create_execution_context().map_err(failed)?;

        let mut memory = Vec::new();
        let mut place = |name: &str, len: usize| -> Result<DeviceTensor, NetError> {
            let slice = stream.alloc_zeros::<f32>(len).map_err(failed_cuda)?;
            let at = slice.device_ptr(&stream).0;
            memory.push(slice);
            // SAFETY: Memory for as many values as the tensor has, kept in `_memory` as long as the context.
            unsafe { execution.set_tensor_address(name, std::ptr::with_exposed_provenance_mut(address(at))) }
                .map_err(failed)?;
            Ok(DeviceTensor { at, len })
        };
        let mut all = |specs: &[TensorSpec]| {
            specs.iter().map(|spec| place(&spec.name, spec.len())).collect::<Result<Vec<_>, _>>()
        };
        let (from, to) = (all(inputs)?, all(outputs)?);
        for index in 0..engine.nb_io_tensors().map_err(failed)? {
            let tensor = engine.io_tensor_name(index).map_err(failed)?;
            if inputs.iter().chain(outputs).any(|spec| spec.name == tensor) {
                continue;
            }
            // An output that nobody asked for is written all the same.
            let shape = engine.tensor_shape(&tensor).map_err(failed)?;
            let len: Option<usize> = shape.iter().map(|&d| usize::try_from(d).ok()).product();
            let len = len.ok_or_else(|| unfit(format!("network {name}: tensor {tensor:?} has no set shape")))?;
            place(&tensor, len)?;
        }
        stream.synchronize().map_err(failed_cuda)?;
        // SAFETY: The memory is of the stream's context and is kept in `_memory`.
        let staging = unsafe { Staging::new(&stream, &from, &to) }.map_err(failed_cuda)?;
        let mut network = Self {
            graph: None,
            context: execution,
            _engine: engine,
            _runtime: runtime,
            staging,
            _memory: memory,
            stream,
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            name,
        };
        // The first run compiles what is left to compile; a camera's first frame is then a frame like any other.
        network
            .enqueue()
            .and_then(|()| network.staging.wait().map_err(|e| e.to_string()))
            .map_err(|why| network.error(why))?;
        if let Err(why) = network.capture() {
            listener.tell(&Notice::Says(format!(
                "tensorrt: network {} runs without a CUDA graph, which takes more of the CPU: {why}",
                network.name
            )));
        }
        Ok(network)
    }

    /// Puts a whole run onto the stream.
    fn enqueue(&mut self) -> Result<(), String> {
        self.staging.upload().map_err(|e| e.to_string())?;
        // SAFETY: The stream is alive, every tensor has its memory (`new`).
        unsafe { self.context.enqueue_v3(self.stream.cu_stream().cast()) }.map_err(|e| {
            let said = complaints();
            if said.is_empty() { e.to_string() } else { said }
        })?;
        self.staging.download().map_err(|e| e.to_string())
    }

    /// Records a run as a graph, which is then started by one call.
    fn capture(&mut self) -> Result<(), String> {
        let begun = self.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
        begun.map_err(|e| e.to_string())?;
        let recorded = self.enqueue();
        // Ended whatever came of it: a stream that goes on recording runs nothing any more.
        let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let ended = self.stream.end_capture(flags).map_err(|e| e.to_string());
        recorded?;
        self.graph = ended?;
        Ok(())
    }

    fn error(&self, why: String) -> NetError {
        NetError::Run { backend: Kind::TensorRt.name(), net: self.name.clone(), why }
    }

    fn compute(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), String> {
        self.staging.fill(inputs).map_err(|e| e.to_string())?;
        match &self.graph {
            Some(graph) => graph.launch().map_err(|e| e.to_string())?,
            None => self.enqueue()?,
        }
        self.staging.wait().and_then(|()| self.staging.give(outputs)).map_err(|e| e.to_string())
    }
}

impl Network for TensorRtNetwork {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), NetError> {
        // All lengths before anything is computed: a call that fails leaves the caller's outputs as they were.
        check_call(&self.inputs, inputs, &self.outputs, outputs).map_err(|why| self.error(why))?;
        self.compute(inputs, outputs).map_err(|why| self.error(why))
    }
}

/// A device pointer as TensorRT takes it.
fn address(at: u64) -> usize {
    usize::try_from(at).expect("CUDA is on 64-bit systems only")
}
