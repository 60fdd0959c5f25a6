//! `seehear engines list`.

use super::{Size, audio_specs, video_specs};
use crate::{find, say};
use anyhow::{Context, bail};
use seehear::net::{Engine, TensorSpec};
use seehear_nets::onnx;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  seehear engines list                   those that came with the program, and what was built for GPUs of them
  seehear engines list my-engines        those in a folder of your own

Columns: multiply-adds of one slot of 40 ms at --size, both networks; size of both files. What an engine is good for stands \
under its line, as measured by its makers. An engine whose files are not what its manifest says is told with what is wrong.

Exit codes: 0 listed, 1 a folder has none or one of them is broken, 2 usage.";

/// List engines: name, size, cost, and the scores in their manifests.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folders with manifests; engines/ and engines/cache/ of the checkout where none is given
    folders: Vec<PathBuf>,

    /// Size of the source's picture, pixels
    #[arg(long, default_value = "1280x720", value_name = "WxH")]
    size: Size,
}

pub(crate) fn main(args: &Args) -> anyhow::Result<()> {
    let folders = if args.folders.is_empty() { own()? } else { args.folders.clone() };
    let mut manifests = Vec::new();
    for folder in &folders {
        let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let paths = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>()?;
        manifests.extend(paths.into_iter().filter(|p| p.extension().is_some_and(|e| e == "toml")));
    }
    manifests.sort();
    if manifests.is_empty() {
        let names: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
        bail!("no engine's manifest (*.toml) in {}", names.join(", "));
    }
    say::result("| engine | dim | files, MiB | GMAC a slot | manifest |")?;
    say::result("|---|---|---|---|---|")?;
    let mut broken = 0;
    for path in &manifests {
        match row(path, args.size) {
            Ok(row) => say::result(&row)?,
            Err(error) => {
                broken += 1;
                say::error(&error);
            }
        }
    }
    if broken > 0 {
        bail!("{broken} of {} engines are broken", manifests.len());
    }
    Ok(())
}

/// The checkout's folder of engines, and what was built of them.
fn own() -> anyhow::Result<Vec<PathBuf>> {
    let manifest = find::find(Path::new("engines/av-small.toml"))?;
    let folder = manifest.parent().unwrap_or(Path::new(".")).to_owned();
    let cache = folder.join("cache");
    Ok(if cache.is_dir() { vec![folder, cache] } else { vec![folder] })
}

fn row(path: &Path, size: Size) -> anyhow::Result<String> {
    let engine = Engine::load(path)?;
    let m = &engine.manifest;
    let (mut bytes, mut multiply_adds) = (0, Some(0));
    for (file, input) in
        [(engine.video_file(), video_specs(&engine, size, 1).0), (engine.audio_file(), audio_specs(&engine).0)]
    {
        let model = std::fs::read(&file).with_context(|| file.display().to_string())?;
        bytes += model.len();
        multiply_adds = multiply_adds.zip(cost(&model, &input)).map(|(a, b)| a + b);
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let (mib, gmac) = (bytes as f64 / f64::from(1 << 20), multiply_adds.map(|n: u64| n as f64 / 1e9));
    let gmac = gmac.map_or_else(|| "–".to_owned(), |g| format!("{g:.2}"));
    Ok(format!("| {} | {} | {mib:.1} | {gmac} | {} |\n  {}", m.name, m.dim, path.display(), m.provenance.scores))
}

/// Multiply-adds; none for a network with layers that are not counted.
fn cost(model: &[u8], input: &TensorSpec) -> Option<u64> {
    onnx::count(model, input).ok().map(|c| c.multiply_adds)
}
