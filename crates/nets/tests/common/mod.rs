//! What the tests of this crate share: where things are, and the golden inputs' formula.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use seehear::net::TensorSpec;
use seehear_nets::driver::Driver;
use seehear_nets::{GpuOptions, OnnxRuntime, OnnxRuntimeOptions, Options};
use std::path::{Path, PathBuf};

/// The checkout's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of `engines/`.
pub(crate) fn engine_file(name: &str) -> PathBuf {
    root().join("engines").join(name)
}

/// A file of `tests/golden/`.
pub(crate) fn golden_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The library that `make setup` puts into the checkout. Given as an option, because a target folder outside the
/// checkout (`CARGO_TARGET_DIR`) is beside no `.deps/`; without one the usual search decides.
///
/// With a GPU it is the GPU build, for the CPU too: one process has one ONNX Runtime.
pub(crate) fn library() -> Option<PathBuf> {
    let gpu = root().join(".deps/onnxruntime-gpu/onnxruntime/capi");
    if gpu.is_dir() && Driver::start().is_ok() {
        return Some(gpu);
    }
    Some(root().join(".deps/onnxruntime")).filter(|dir| dir.is_dir())
}

/// For any backend.
pub(crate) fn options() -> Options {
    Options {
        onnxruntime: OnnxRuntimeOptions { threads: 1, library: library() },
        gpu: GpuOptions { cache: root().join("engines/cache"), ..GpuOptions::default() },
        tensorrt: Some(root().join(".deps/tensorrt")).filter(|dir| dir.is_dir()),
    }
}

/// The CPU backend; its absence is a failure, never a skip.
pub(crate) fn onnx_runtime(threads: usize) -> OnnxRuntime {
    OnnxRuntime::new(OnnxRuntimeOptions { threads, library: library() }).expect("these tests need ONNX Runtime")
}

/// The default engine's video tensors for a picture of this size, pixels.
pub(crate) fn video_specs(height: usize, width: usize) -> (TensorSpec, TensorSpec) {
    (
        TensorSpec::new("slots", &[1, 5, height, width]),
        TensorSpec::new("embedding", &[1, 128, height.div_ceil(16), width.div_ceil(16)]),
    )
}

/// The default engine's audio tensors.
pub(crate) fn audio_specs() -> (TensorSpec, TensorSpec) {
    (TensorSpec::new("logmel", &[1, 1, 64, 28]), TensorSpec::new("embedding", &[1, 128, 28]))
}

/// The golden inputs: value `i` is `scale · (h(i) − 512) / 1024` with `h(i)` the upper 10 bits of the 32-bit product
/// `i · 2654435761`. Exact in f32 for a `scale` that is a power of two, so Python makes the very same bits.
pub(crate) fn golden_input(len: usize, scale: f32) -> Vec<f32> {
    (0..len)
        .map(|i| {
            let i = u32::try_from(i).expect("a tensor of less than 2^32 values");
            let h = u16::try_from(i.wrapping_mul(2_654_435_761) >> 22).expect("10 bits");
            scale * (f32::from(h) - 512.0) / 1024.0
        })
        .collect()
}
