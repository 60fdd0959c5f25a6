//! What both GPU backends share: a stream of one's own, pinned host buffers, and the copies between them and the device.
//!
//! Every network has its own stream, so that cameras do not wait for each other. A run is: the caller's values into pinned
//! memory, one copy up for each input, the network, one copy down for each output, wait. Copies from memory that is not
//! pinned would go through a buffer of the driver's, and would not run beside another stream's kernels.

use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaContext, CudaStream, DriverError as CudaError, PinnedHostSlice, result};
use std::sync::Arc;

/// A tensor's memory on the device: where, and how many f32 it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceTensor {
    pub(crate) at: CUdeviceptr,
    pub(crate) len: usize,
}

/// A GPU's primary context, which ONNX Runtime and TensorRT use too.
///
/// `crate::driver` must have found the driver before: `cudarc` panics where there is none.
pub(crate) fn context(ordinal: usize) -> Result<Arc<CudaContext>, CudaError> {
    let context = CudaContext::new(ordinal)?;
    // SAFETY: Off before anything is allocated. What the events would order is ordered here by each network's one stream,
    // and they would be captured into CUDA graphs.
    unsafe { context.disable_event_tracking() };
    Ok(context)
}

/// The host's side of a network's tensors.
#[derive(Debug)]
pub(crate) struct Staging {
    stream: Arc<CudaStream>,
    inputs: Vec<(PinnedHostSlice<f32>, DeviceTensor)>,
    outputs: Vec<(PinnedHostSlice<f32>, DeviceTensor)>,
}

impl Staging {
    /// Pinned memory for these tensors; inputs are zero.
    ///
    /// # Safety
    /// The device tensors belong to the stream's context and live as long as this.
    pub(crate) unsafe fn new(
        stream: &Arc<CudaStream>,
        inputs: &[DeviceTensor],
        outputs: &[DeviceTensor],
    ) -> Result<Self, CudaError> {
        let pinned = |tensor: &DeviceTensor| {
            // Plain pinned memory: write-combined memory would be slow to read, and both sides are filled with zeros here.
            // SAFETY: Unset memory, which is set in the next line, before anybody reads it.
            let mut host = unsafe { stream.context().alloc_pinned_with_flags::<f32>(tensor.len, 0) }?;
            host.as_mut_slice()?.fill(0.0);
            Ok((host, *tensor))
        };
        Ok(Self {
            stream: Arc::clone(stream),
            inputs: inputs.iter().map(pinned).collect::<Result<_, CudaError>>()?,
            outputs: outputs.iter().map(pinned).collect::<Result<_, CudaError>>()?,
        })
    }

    /// Takes the caller's values. The lengths were checked by the caller.
    pub(crate) fn fill(&mut self, values: &[&[f32]]) -> Result<(), CudaError> {
        for ((host, _), values) in self.inputs.iter_mut().zip(values) {
            host.as_mut_slice()?.copy_from_slice(values);
        }
        Ok(())
    }

    /// Puts the copies of all inputs onto the stream.
    pub(crate) fn upload(&self) -> Result<(), CudaError> {
        self.stream.context().bind_to_thread()?;
        for (host, device) in &self.inputs {
            // SAFETY: The device has room for as many values (`new`), and the host's stay where they are and untouched
            // until `wait` returns: `fill` needs `&mut self`, and is only called before `upload`.
            unsafe { result::memcpy_htod_async(device.at, host.as_slice()?, self.stream.cu_stream()) }?;
        }
        Ok(())
    }

    /// Puts the copies of all outputs onto the stream.
    pub(crate) fn download(&mut self) -> Result<(), CudaError> {
        self.stream.context().bind_to_thread()?;
        for (host, device) in &mut self.outputs {
            // SAFETY: As `upload`, the other way; nobody reads the host's values before `wait` returned.
            unsafe { result::memcpy_dtoh_async(host.as_mut_slice()?, device.at, self.stream.cu_stream()) }?;
        }
        Ok(())
    }

    /// Waits until everything on the stream is done.
    pub(crate) fn wait(&self) -> Result<(), CudaError> {
        self.stream.synchronize()
    }

    /// Gives the caller the values of the last `download`.
    pub(crate) fn give(&self, values: &mut [&mut [f32]]) -> Result<(), CudaError> {
        for ((host, _), values) in self.outputs.iter().zip(values) {
            values.copy_from_slice(host.as_slice()?);
        }
        Ok(())
    }
}
