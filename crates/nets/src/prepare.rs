//! From pictures to the network's input on the device: `prepare.cu`, compiled by NVRTC when it is opened.
//!
//! Pictures come from host memory (only their luma is copied up) or lie on the device already, as GStreamer's CUDA and NVMM
//! memory do. What comes out is what the core makes on the CPU, to the bit; the tests run the same source on the CPU.
//!
//! Not yet run on a GPU (docs/hardware.md), and not yet in a session: [`seehear::embed`] prepares on the CPU.

use crate::cuda;
use crate::nvrtc::Nvrtc;
use cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DeviceRepr, DriverError as CudaError, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use std::sync::Arc;

/// The kernels.
pub const SOURCE: &str = include_str!("prepare.cu");

/// Without fused multiply-adds, and divisions rounded as IEEE says: the CPU's bits.
pub const OPTIONS: [&str; 2] = ["--fmad=false", "--prec-div=true"];

/// The source pixels under one target pixel, along one axis; as `Run` of `prepare.cu` and of the core's `reduce.rs`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Index of the first.
    pub first: u32,
    /// How many.
    pub len: u32,
    /// Weight of the first, 0…1.
    pub head: f32,
    /// Weight of the last, 0…1.
    pub tail: f32,
    /// One over the sum of all weights.
    pub norm: f32,
}

// SAFETY: Five numbers of four bytes each in C's order, without padding or pointers; any bits are values.
unsafe impl DeviceRepr for Run {}

/// The runs of an axis of `from` source and `to` target pixels, both 1 to 2^24.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "indices below 2^24, not negative")]
#[must_use]
pub fn runs(from: u32, to: u32) -> Vec<Run> {
    let step = f64::from(from) / f64::from(to);
    let run = |i: u32| {
        let (a, b) = (f64::from(i) * step, (f64::from(i + 1) * step).min(f64::from(from)));
        let first = (a.floor() as u32).min(from - 1);
        let last = ((b.ceil() as u32).max(first + 1) - 1).min(from - 1);
        let len = last - first + 1;
        let one = len == 1;
        let (head, tail) = if one { (1.0, 1.0) } else { (f64::from(first) + 1.0 - a, b - f64::from(last)) };
        let sum = if one { 1.0 } else { head + tail + f64::from(len - 2) };
        Run { first, len, head: head as f32, tail: tail as f32, norm: (1.0 / sum) as f32 }
    };
    (0..to).map(run).collect()
}

/// Reduces, stacks and normalises the pictures of one camera on the device.
#[derive(Debug)]
pub struct Preparer {
    stream: Arc<CudaStream>,
    reduce: CudaFunction,
    total: CudaFunction,
    stack: CudaFunction,
    source: (u32, u32),
    target: (u32, u32),
    slots: u32,
    columns: CudaSlice<Run>,
    rows: CudaSlice<Run>,
    /// The source's luma, packed.
    plane: CudaSlice<u8>,
    ring: CudaSlice<u8>,
    sum: CudaSlice<u64>,
    input: CudaSlice<f32>,
    next: u32,
    filled: bool,
}

impl Preparer {
    /// For pictures of `source` width and height, a network that sees `target`, stacks of `slots`. The driver must have been
    /// found before ([`crate::driver`]).
    ///
    /// # Errors
    /// What CUDA or NVRTC say.
    pub fn new(
        nvrtc: &Nvrtc,
        ordinal: usize,
        source: (u32, u32),
        target: (u32, u32),
        slots: u32,
    ) -> Result<Self, String> {
        let said = |e: CudaError| format!("preparing pictures on GPU {ordinal}: {e}");
        // PTX of the oldest GPU that CUDA 13 knows runs on all later ones.
        let ptx = nvrtc.compile(SOURCE, "prepare.cu", "compute_75", &OPTIONS)?;
        let context = cuda::context(ordinal).map_err(said)?;
        let module = context.load_module(Ptx::from_src(ptx)).map_err(said)?;
        let function = |name| module.load_function(name).map_err(said);
        let (reduce, total, stack) = (function("reduce")?, function("total")?, function("stack")?);
        let stream = context.new_stream().map_err(said)?;
        let index = |n: u32| usize::try_from(n).expect("usize has 64 bits where CUDA is");
        let (pixels, packed) = (index(target.0) * index(target.1), index(source.0) * index(source.1));
        Ok(Self {
            reduce,
            total,
            stack,
            source,
            target,
            slots,
            columns: stream.clone_htod(&runs(source.0, target.0)).map_err(said)?,
            rows: stream.clone_htod(&runs(source.1, target.1)).map_err(said)?,
            plane: stream.alloc_zeros(packed).map_err(said)?,
            ring: stream.alloc_zeros(pixels * index(slots)).map_err(said)?,
            sum: stream.alloc_zeros(1).map_err(said)?,
            input: stream.alloc_zeros(pixels * index(slots)).map_err(said)?,
            stream,
            next: 0,
            filled: false,
        })
    }

    /// The next picture's luma, `[height, width]` packed. Copied up, reduced, put into the ring.
    ///
    /// # Errors
    /// A plane of another length, or what CUDA says.
    pub fn push(&mut self, luma: &[u8]) -> Result<(), String> {
        if luma.len() != self.plane.len() {
            return Err(format!("a plane of {} bytes, {} expected", luma.len(), self.plane.len()));
        }
        self.stream.memcpy_htod(luma, &mut self.plane).map_err(|e| e.to_string())?;
        let at = cudarc::driver::DevicePtr::device_ptr(&self.plane, &self.stream).0;
        let stride = self.source.0;
        // SAFETY: The plane is ours, of this size, and lives on.
        unsafe { self.push_device(at, stride) }
    }

    /// The next picture's luma where it lies on the device, rows `stride` bytes apart: nothing is copied.
    ///
    /// # Safety
    /// `at` is memory of this GPU that holds the source's height of such rows, and stays as it is until the next
    /// [`Preparer::stack`] returned.
    ///
    /// # Errors
    /// What CUDA says.
    pub unsafe fn push_device(&mut self, at: u64, stride: u32) -> Result<(), String> {
        let (width, height) = self.target;
        let pixels = u64::from(width) * u64::from(height);
        // Before the stream its first picture stood still.
        let places = if self.filled { 1 } else { self.slots };
        let ring = cudarc::driver::DevicePtr::device_ptr(&self.ring, &self.stream).0;
        for k in 0..places {
            let out = ring + u64::from((self.next + k) % self.slots) * pixels;
            let grid = (width.div_ceil(32), height.div_ceil(8), 1);
            let config = LaunchConfig { grid_dim: grid, block_dim: (32, 8, 1), shared_mem_bytes: 0 };
            let mut launch = self.stream.launch_builder(&self.reduce);
            launch.arg(&at).arg(&stride).arg(&self.columns).arg(&self.rows).arg(&width).arg(&height).arg(&out);
            // SAFETY: The arguments are those of `reduce` in order and type; `out` is a place of the ring, the plane is
            // the caller's word, and threads beyond the picture return at once.
            unsafe { launch.launch(config) }.map_err(|e| e.to_string())?;
        }
        self.filled = true;
        self.next = (self.next + 1) % self.slots;
        Ok(())
    }

    /// The network's input of the last pictures, `[slots, height, width]`, copied down. `gain` is 1/255, or 1/219 for video
    /// range.
    ///
    /// # Errors
    /// What CUDA says.
    pub fn stack(&mut self, gain: f32) -> Result<Vec<f32>, String> {
        let plane = self.target.0 * self.target.1;
        let count = plane * self.slots;
        let config = LaunchConfig { grid_dim: (64, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
        let mut run = || -> Result<Vec<f32>, CudaError> {
            self.stream.memset_zeros(&mut self.sum)?;
            let mut launch = self.stream.launch_builder(&self.total);
            launch.arg(&self.ring).arg(&count).arg(&mut self.sum);
            // SAFETY: The arguments are those of `total`; it reads `count` bytes, which the ring has.
            unsafe { launch.launch(config) }?;
            let mut launch = self.stream.launch_builder(&self.stack);
            launch.arg(&self.ring).arg(&self.slots).arg(&self.next).arg(&plane);
            launch.arg(&self.sum).arg(&gain).arg(&mut self.input);
            // SAFETY: The arguments are those of `stack`; it reads and writes `slots · plane` values, which both have.
            unsafe { launch.launch(config) }?;
            self.stream.clone_dtoh(&self.input)
        };
        run().map_err(|e| e.to_string())
    }
}
