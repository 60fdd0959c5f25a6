//! Where ONNX Runtime computes: on the CPU, or through its CUDA or TensorRT provider on a GPU.
//!
//! Everything that can be missing is looked at before ONNX Runtime is loaded, as one process has one ONNX Runtime for
//! good: the driver, the provider's own library beside ONNX Runtime's, and the libraries that it needs.

use crate::driver::{Device, Driver, Needs, Version};
use crate::kind::Kind;
use crate::notice::Listener;
use crate::{locate, shared};
use ort::ep;
use std::path::{Path, PathBuf};

/// What to do about a missing or unfit GPU build.
pub(crate) const REMEDY: &str = "run `make setup-gpu` in the checkout, or pass --onnxruntime PATH of a GPU build";

/// Free memory below which nothing is begun: a run would end in the middle with "out of memory". Not measured yet
/// (docs/hardware.md): CUDA's context and its libraries' kernels alone take some hundreds of MiB.
pub(crate) const FREE_BYTES: u64 = 768 << 20;

/// How a GPU is used.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Which GPU, as the driver counts them, from 0.
    pub ordinal: usize,
    /// Folder for built TensorRT engines; made when it is missing.
    pub cache: PathBuf,
    /// Who hears of builds.
    pub listener: Listener,
}

impl Default for GpuOptions {
    /// The first GPU; `engines/cache` of the present folder.
    fn default() -> Self {
        Self { ordinal: 0, cache: PathBuf::from("engines/cache"), listener: Listener::default() }
    }
}

/// A GPU that was looked at and the library that will drive it.
#[derive(Clone, Debug)]
pub(crate) struct Gpu {
    pub(crate) options: GpuOptions,
    pub(crate) device: Device,
    /// ONNX Runtime's library.
    pub(crate) library: PathBuf,
}

/// Looks for everything that a provider needs and loads what ONNX Runtime itself would not find.
pub(crate) fn prepare(kind: Kind, explicit: Option<&Path>, options: &GpuOptions) -> Result<Gpu, String> {
    // Before any library: without a driver nothing else matters, and nothing else may be touched.
    let driver = Driver::start().map_err(|e| e.to_string())?;
    let library = locate::gpu_library(explicit)?;
    let cuda = beside(&library, "libonnxruntime_providers_cuda.so")?;
    let mut needed = shared::needed(&cuda)?;
    if kind == Kind::OnnxRuntimeTensorRt {
        needed.extend(shared::needed(&beside(&library, "libonnxruntime_providers_tensorrt.so")?)?);
    }
    let cuda_major = shared::cuda_major(&needed)
        .ok_or_else(|| format!("{} does not say which CUDA it needs; {REMEDY}", cuda.display()))?;
    let needs = Needs { cuda_major, compute: lowest_compute(cuda_major), free_bytes: FREE_BYTES };
    let device = driver.device(options.ordinal, &needs).map_err(|e| e.to_string())?.clone();
    // The driver's own is loaded; ONNX Runtime brings the bridge between its libraries.
    needed.retain(|name| name != "libcuda.so.1" && !name.starts_with("libonnxruntime"));
    let remedy = if kind == Kind::OnnxRuntimeTensorRt {
        "install TensorRT of the version asked for (docs/hardware.md), or use --backend onnxruntime-cuda"
    } else {
        REMEDY
    };
    shared::load_all(&needed, &shared::folders(&library), remedy)?;
    Ok(Gpu { options: options.clone(), device, library })
}

/// What CUDA's libraries of a major version still run on.
pub(crate) fn lowest_compute(cuda_major: u32) -> Version {
    if cuda_major >= 13 { Version::new(7, 5) } else { Version::new(5, 2) }
}

fn beside(library: &Path, name: &str) -> Result<PathBuf, String> {
    let path = library.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let provider = if name.contains("tensorrt") { "TensorRT" } else { "CUDA" };
    Err(format!("ONNX Runtime {} has no {provider} provider ({name} is not beside it); {REMEDY}", library.display()))
}

impl Gpu {
    /// The providers for a session, best first. One that does not register is an error, never passed over.
    ///
    /// # Safety
    /// The stream must live longer than the session.
    pub(crate) unsafe fn providers(&self, kind: Kind, stream: *mut ()) -> Vec<ep::ExecutionProviderDispatch> {
        let ordinal = i32::try_from(self.options.ordinal).expect("the driver counts in int");
        let cuda = ep::CUDA::default()
            .with_device_id(ordinal)
            // The search for the fastest algorithm of each convolution, once at the first run; shapes are fixed.
            .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Exhaustive)
            // fp32 as the tolerance of the manifest means it: TF32 has 10 bits of mantissa.
            .with_tf32(false);
        // SAFETY: The caller's.
        let cuda = unsafe { cuda.with_compute_stream(stream) }.build().error_on_failure();
        if kind != Kind::OnnxRuntimeTensorRt {
            return vec![cuda];
        }
        let cache = self.options.cache.join("onnxruntime");
        let tensorrt = ep::TensorRT::default()
            .with_device_id(ordinal)
            .with_engine_cache(true)
            .with_engine_cache_path(cache.display())
            .with_timing_cache(true)
            .with_timing_cache_path(cache.display())
            // Quantised files (QDQ) run in INT8; in files without Q and DQ it changes nothing.
            .with_int8(true);
        // SAFETY: The caller's.
        let tensorrt = unsafe { tensorrt.with_compute_stream(stream) }.build().error_on_failure();
        vec![tensorrt, cuda]
    }
}
