//! Loading engine and backend.

use crate::find::find;
use crate::{EngineArgs, say};
use anyhow::{Context, bail};
use seehear::net::Engine;
use seehear_nets::notice::{Listener, Notice};
use seehear_nets::{AnyBackend, Choice, GpuOptions, OnnxRuntimeOptions, Options};
use std::path::{Path, PathBuf};

/// The engine where nobody names one.
pub(crate) const DEFAULT: &str = "av-small";

/// What a verb is going to do with an engine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    /// A live source leaves the machine's other cores to the decoder, the encoder and others.
    pub(crate) live: bool,
    /// Nothing but errors is told.
    pub(crate) quiet: bool,
}

/// Loads what the options name, or else the engine `default`.
pub(crate) fn load(args: &EngineArgs, default: &str, to: Use) -> anyhow::Result<(Engine, AnyBackend)> {
    let path = manifest(args.engine.as_deref().unwrap_or(default))?;
    let engine = Engine::load(&path)?;
    if args.backend == Choice::All {
        bail!("--backend all is for bench; name one, or auto");
    }
    let chosen = seehear_nets::open(args.backend, &options(args, &path, to.live))?;
    if let Some(line) = chosen.explain(args.backend)
        && !to.quiet
    {
        say::note(&line);
    }
    Ok((engine, chosen.backend))
}

/// How the backends are set up for an engine of this manifest.
pub(crate) fn options(args: &EngineArgs, manifest: &Path, live: bool) -> Options {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(if live { 1 } else { cores.min(4) }, usize::from);
    Options {
        onnxruntime: OnnxRuntimeOptions { threads, library: args.onnxruntime.clone() },
        gpu: GpuOptions { ordinal: usize::from(args.gpu), cache: cache(manifest), listener: Listener::new(hear) },
        tensorrt: args.tensorrt.clone(),
    }
}

/// What a backend tells while it opens networks. A build's progress is for `engines build`; here it is over in a second or two.
fn hear(notice: &Notice) {
    if let Notice::Says(line) = notice {
        say::note(line);
    }
}

/// Where engines that were built for a GPU are kept: beside the manifest.
pub(crate) fn cache(manifest: &Path) -> PathBuf {
    let dir = manifest.parent().unwrap_or(Path::new("."));
    // A manifest that was made in the cache is there already.
    if dir.ends_with("cache") { dir.to_owned() } else { dir.join("cache") }
}

/// A path as it is; a name in `engines/`.
pub(crate) fn manifest(name: &str) -> anyhow::Result<PathBuf> {
    if name.contains(std::path::MAIN_SEPARATOR) || Path::new(name).extension().is_some_and(|e| e == "toml") {
        return Ok(name.into());
    }
    let file = Path::new("engines").join(format!("{name}.toml"));
    find(&file).with_context(|| format!("no engine \"{name}\"; pass --engine FILE.toml"))
}
