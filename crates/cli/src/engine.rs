//! Finding engine and backend.

use crate::EngineArgs;
use anyhow::{Context, bail};
use seehear::net::Engine;
use seehear_nets::{OnnxRuntime, OnnxRuntimeOptions};
use std::path::{Path, PathBuf};

/// Loads what the options name. A live source leaves the machine's other cores to the decoder, the encoder and others.
pub(crate) fn load(args: &EngineArgs, live: bool) -> anyhow::Result<(Engine, OnnxRuntime)> {
    let path = find(&args.engine)?;
    let engine = Engine::load(&path)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(if live { 1 } else { cores.min(4) }, usize::from);
    let backend = OnnxRuntime::new(OnnxRuntimeOptions { threads, library: args.onnxruntime.clone() })?;
    Ok((engine, backend))
}

/// A path as it is; a name in `engines/` of the present folder, of any folder above the program, or installed.
fn find(name: &str) -> anyhow::Result<PathBuf> {
    if name.contains(std::path::MAIN_SEPARATOR) || Path::new(name).extension().is_some_and(|e| e == "toml") {
        return Ok(name.into());
    }
    let file = format!("{name}.toml");
    let program = std::env::current_exe().context("where is this program?")?;
    let mut tried = vec![Path::new("engines").join(&file)];
    tried.extend(program.ancestors().skip(1).map(|dir| dir.join("engines").join(&file)));
    tried.extend(program.parent().map(|bin| bin.join("../share/seehear/engines").join(&file)));
    if let Some(found) = tried.iter().find(|p| p.is_file()) {
        return Ok(found.clone());
    }
    let places: Vec<String> = tried.iter().map(|p| p.display().to_string()).collect();
    bail!("no engine \"{name}\"; looked for {}; pass --engine FILE.toml", places.join(", "))
}
