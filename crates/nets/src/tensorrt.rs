//! TensorRT for RTX itself, through the crates `trtx` and `cudarc`: the model is parsed, built into a plan for one compute
//! capability, kept (`plan.rs`), and run as one CUDA graph: copies up, network, copies down.
//!
//! Building needs no GPU and no driver, so that plans can be made ahead of time for other machines ([`Library::build`]).
//! Running needs both, and nothing of TensorRT's runtime is touched before `crate::driver` has found them: without a
//! driver TensorRT hands out pointers that are none.

mod build;
mod library;
mod network;

pub use build::{BUILDS_FOR, BuildOptions};
pub use library::Library;

use crate::cuda;
use crate::driver::{Device, Driver, Needs, Version};
use crate::kind::Kind;
use crate::notice::{Listener, Notice};
use crate::plan::{Found, Plans, Precision, Recipe};
use crate::provider::GpuOptions;
use network::TensorRtNetwork;
use seehear::net::{Backend, NetError, Network, TensorSpec};
use std::path::Path;

/// What [`Library`] was made with: PyPI's `tensorrt-rtx-cu13-libs`.
const CUDA_MAJOR: u32 = 13;

/// The direct backend, `tensorrt`.
#[derive(Debug)]
pub struct TensorRt {
    library: Library,
    device: Device,
    plans: Plans,
    listener: Listener,
}

impl TensorRt {
    /// Looks for driver, GPU and library.
    ///
    /// # Errors
    /// [`NetError::Library`] for every reason for which this GPU cannot be used; each says what to do.
    pub fn new(gpu: &GpuOptions, library: Option<&Path>) -> Result<Self, NetError> {
        let driver = Driver::start().map_err(|e| unfit(e.to_string()))?;
        let library = Library::load(library)?;
        let lowest = Version::new(7, 5);
        let needs = Needs { cuda_major: CUDA_MAJOR, compute: lowest, free_bytes: crate::provider::FREE_BYTES };
        let device = driver.device(gpu.ordinal, &needs).map_err(|e| unfit(e.to_string()))?.clone();
        build::target(device.compute)?;
        Ok(Self { library, device, plans: Plans::new(&gpu.cache), listener: gpu.listener.clone() })
    }

    /// The plan for a model: the kept one, or a new one that is kept then.
    fn plan(
        &self,
        model: &Path,
        bytes: &[u8],
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<Vec<u8>, NetError> {
        // A name ending in .fp16 or -int8 says it to people; the key has the model's bytes anyway.
        let precision = Precision::of_name(model);
        let (version, compute) = (self.library.version(), self.device.compute);
        let recipe = Recipe::new(model, bytes, version, compute, precision, (inputs, outputs));
        match self.plans.find(&recipe)? {
            Found::Plan(plan) => return Ok(plan),
            Found::Nothing => {}
            Found::Unfit(why) => {
                let path = self.plans.path(&recipe);
                self.listener.tell(&Notice::Says(format!("{} is {why}: building it again", path.display())));
            }
        }
        let options = BuildOptions { compute, listener: self.listener.clone() };
        let plan = self.library.build(model, bytes, inputs, outputs, &options)?;
        self.plans.keep(&recipe, &plan)?;
        Ok(plan)
    }
}

impl Backend for TensorRt {
    fn name(&self) -> &'static str {
        Kind::TensorRt.name()
    }

    fn load(&self, model: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Box<dyn Network>, NetError> {
        let bytes = std::fs::read(model).map_err(|source| NetError::Read { path: model.to_owned(), source })?;
        let plan = self.plan(model, &bytes, inputs, outputs)?;
        let name = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let context = cuda::context(self.device.ordinal)
            .map_err(|e| unfit(format!("no CUDA context on {}: {e}", self.device.name)))?;
        Ok(Box::new(TensorRtNetwork::new(&self.library, &context, &plan, name, inputs, outputs, &self.listener)?))
    }
}

pub(crate) fn unfit(why: String) -> NetError {
    NetError::Library { backend: Kind::TensorRt.name(), why }
}
