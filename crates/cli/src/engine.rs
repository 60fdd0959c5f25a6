//! Loading engine and backend.

use crate::EngineArgs;
use crate::find::find;
use anyhow::Context;
use seehear::net::Engine;
use seehear_nets::{OnnxRuntime, OnnxRuntimeOptions};
use std::path::{Path, PathBuf};

/// The engine where nobody names one.
pub(crate) const DEFAULT: &str = "av-small";

/// Loads what the options name, or else the engine `default`. A live source leaves the machine's other cores to the decoder, the encoder and others.
pub(crate) fn load(args: &EngineArgs, default: &str, live: bool) -> anyhow::Result<(Engine, OnnxRuntime)> {
    let path = manifest(args.engine.as_deref().unwrap_or(default))?;
    let engine = Engine::load(&path)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(if live { 1 } else { cores.min(4) }, usize::from);
    let backend = OnnxRuntime::new(OnnxRuntimeOptions { threads, library: args.onnxruntime.clone() })?;
    Ok((engine, backend))
}

/// A path as it is; a name in `engines/`.
pub(crate) fn manifest(name: &str) -> anyhow::Result<PathBuf> {
    if name.contains(std::path::MAIN_SEPARATOR) || Path::new(name).extension().is_some_and(|e| e == "toml") {
        return Ok(name.into());
    }
    let file = Path::new("engines").join(format!("{name}.toml"));
    find(&file).with_context(|| format!("no engine \"{name}\"; pass --engine FILE.toml"))
}
