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
    prepare_on(&driver, kind, explicit, options)
}

fn prepare_on(driver: &Driver, kind: Kind, explicit: Option<&Path>, options: &GpuOptions) -> Result<Gpu, String> {
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
    // Of cuDNN the provider keeps no list: it loads it when it first needs it.
    if !needed.iter().any(|name| name.starts_with("libcudnn.")) {
        needed.push("libcudnn.so.9".to_owned());
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn cc(output: &Path, source: &Path, args: &[String]) -> PathBuf {
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"]).arg(output).arg(source).args(args);
        assert!(cc.status().expect("cc is installed by make setup").success());
        output.to_owned()
    }

    /// Empty libraries of these names, each with those that it needs, which lie in the same folder.
    fn libraries(dir: &Path, all: &[(&str, &[&str])]) {
        let source = dir.join("empty.c");
        std::fs::write(&source, "int seehear_empty;").unwrap();
        for (name, needs) in all {
            let mut args = vec![format!("-Wl,-soname,{name}")];
            args.extend(needs.iter().map(|n| dir.join(n).display().to_string()));
            cc(&dir.join(name), &source, &args);
        }
    }

    fn driver(dir: &Path, answers: &[&str]) -> Driver {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_driver.c");
        let args: Vec<String> = answers.iter().map(|a| format!("-D{a}")).collect();
        Driver::load(&cc(&dir.join(format!("driver{}.so", answers.join(""))), &source, &args)).unwrap()
    }

    const CUDA: &str = "libonnxruntime_providers_cuda.so";
    const TENSORRT: &str = "libonnxruntime_providers_tensorrt.so";

    #[test]
    fn whatever_is_missing_is_said_before_onnx_runtime_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let good = driver(dir, &[]);
        let refused = |driver: &Driver, kind, words: &[&str]| {
            let why = prepare_on(driver, kind, Some(dir), &GpuOptions::default()).unwrap_err();
            assert!(!why.contains('\n') && words.iter().all(|w| why.contains(w)), "{words:?} are not in: {why}");
        };
        let on = |kind, words: &[&str]| refused(&good, kind, words);
        on(Kind::OnnxRuntimeCuda, &["no libonnxruntime.so* in the folder"]);
        libraries(dir, &[("libonnxruntime.so", &[])]);
        on(Kind::OnnxRuntimeCuda, &["has no CUDA provider", CUDA, "make setup-gpu"]);
        libraries(dir, &[(CUDA, &[])]);
        on(Kind::OnnxRuntimeCuda, &["does not say which CUDA it needs"]);
        // CUDA's own, under names that no machine has, but for the one that tells the version.
        libraries(dir, &[("libcudart.so.13", &[]), ("libseehear_dnn.so.9", &[]), ("libcudnn.so.9", &[])]);
        libraries(dir, &[(CUDA, &["libcudart.so.13", "libseehear_dnn.so.9"])]);
        refused(&driver(dir, &["CUDA=12040"]), Kind::OnnxRuntimeCuda, &["too old", "CUDA 12.4", "CUDA 13.0", "580"]);
        refused(&driver(dir, &["MAJOR=7", "MINOR=0"]), Kind::OnnxRuntimeCuda, &["capability 7.0", "need 7.5"]);
        refused(&driver(dir, &["FREE_MIB=10"]), Kind::OnnxRuntimeCuda, &["10 MiB of free memory", "768 MiB"]);
        let gpu = prepare_on(&good, Kind::OnnxRuntimeCuda, Some(dir), &GpuOptions::default()).unwrap();
        assert_eq!((gpu.device.ordinal, gpu.library), (0, dir.join("libonnxruntime.so")));

        on(Kind::OnnxRuntimeTensorRt, &["has no TensorRT provider", TENSORRT]);
        libraries(dir, &[("libseehear_infer.so.10", &[])]);
        libraries(dir, &[(TENSORRT, &["libseehear_infer.so.10"])]);
        std::fs::rename(dir.join("libseehear_infer.so.10"), dir.join("libseehear_infer.so.8")).unwrap();
        on(
            Kind::OnnxRuntimeTensorRt,
            &["libseehear_infer.so.10 is missing", "libseehear_infer.so.8 is there", "--backend onnxruntime-cuda"],
        );
        std::fs::rename(dir.join("libseehear_infer.so.8"), dir.join("libseehear_infer.so.10")).unwrap();
        assert!(prepare_on(&good, Kind::OnnxRuntimeTensorRt, Some(dir), &GpuOptions::default()).is_ok());
    }
}
