//! Inference backends: implementations of [`seehear::net::Backend`].
//!
//! | backend | name | needs | source |
//! |---|---|---|---|
//! | [`OnnxRuntime`] | `onnxruntime-cpu` | ONNX Runtime 1.17 or newer, found at run time | `onnx_runtime.rs` |
//! | | `onnxruntime-cuda` | a GPU build of it with CUDA and cuDNN, NVIDIA's driver | `provider.rs` |
//! | | `onnxruntime-tensorrt` | the same and TensorRT 10 | `provider.rs` |
//!
//! | `TensorRt` (feature `tensorrt`) | `tensorrt` | TensorRT for RTX, NVIDIA's driver; to build: libclang | `tensorrt.rs` |
//!
//! [`open`] makes one of them from a [`Choice`]; `auto` takes the first of [`Kind::ALL`] that the machine can run and says
//! of the others why not. What has run on a GPU and what has not is in `docs/hardware.md`.
//!
//! This is the only crate of the workspace with `unsafe`. Nothing is linked: a program that never opens a network
//! starts on a machine without any inference library, and one that does says what is missing and how to get it.
//!
//! # Where the library is looked for
//!
//! In this order; the first that exists counts. One that exists and is unfit is an error, never passed over for the
//! next: a broken installation must not hide behind another one's results.
//!
//! 1. [`OnnxRuntimeOptions::library`] (`--onnxruntime PATH`), a file or the folder that holds it, and then nothing else;
//! 2. `.deps/onnxruntime/` in the folder of the executable and in every folder above it, so that everything built
//!    in a checkout finds what `make setup` put there;
//! 3. `../lib/seehear/` from the executable's folder, for an installed program;
//! 4. the executable's own folder;
//! 5. the system loader's `libonnxruntime.so`.
//!
//! The GPU backends look into `.deps/onnxruntime-gpu/` of the same folders before 2., where `make setup-gpu` puts the GPU
//! build and everything that it needs.
//!
//! In folders both `libonnxruntime.so` and the versioned name that the PyPI wheel uses (`libonnxruntime.so.1.32.0`) are
//! known; of several versions the newest. Environment variables play no part, `ORT_DYLIB_PATH` included.
//!
//! # Example
//!
//! ```no_run
//! use seehear::net::{Backend, Network, TensorSpec};
//! use seehear_nets::{OnnxRuntime, OnnxRuntimeOptions};
//!
//! # fn main() -> Result<(), seehear::net::NetError> {
//! let backend = OnnxRuntime::new(OnnxRuntimeOptions { threads: 1, library: None })?;
//! let mut net = backend.load(
//!     "engines/av-small.audio.onnx".as_ref(),
//!     &[TensorSpec::new("logmel", &[1, 1, 64, 36])],
//!     &[TensorSpec::new("embedding", &[1, 128, 9])],
//! )?;
//! let mut embedding = vec![0.0; 128 * 9];
//! net.run(&[&[0.0; 64 * 36]], &mut [&mut embedding])?;
//! # Ok(())
//! # }
//! ```

mod check;
mod choose;
mod cuda;
pub mod driver;
mod kind;
mod locate;
pub mod notice;
pub mod nvrtc;
pub mod onnx;
mod onnx_runtime;
pub mod plan;
pub mod prepare;
mod provider;
mod shared;
#[cfg(feature = "tensorrt")]
mod tensorrt;

pub use choose::{AnyBackend, Chosen, Options, open};
pub use kind::{Choice, Kind};
pub use onnx_runtime::{OnnxRuntime, OnnxRuntimeOptions};
pub use provider::GpuOptions;
#[cfg(feature = "tensorrt")]
pub use tensorrt::{BUILDS_FOR, BuildOptions, Library, TensorRt};
