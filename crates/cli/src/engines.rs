//! `seehear engines`: what is done with engines apart from running them.

mod bench;
mod build;
mod list;
mod verify;

pub(crate) use bench::all as bench_all;

use crate::EngineArgs;
use crate::engine;
use clap::Subcommand;
use seehear::embed::net_size;
use seehear::net::{Engine, TensorSpec};
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    List(list::Args),
    Verify(verify::Args),
    Build(build::Args),
    Bench(bench::Args),
}

pub(crate) fn main(what: &What, engine_args: &EngineArgs) -> anyhow::Result<()> {
    match what {
        What::List(args) => list::main(args),
        What::Verify(args) => verify::main(args, engine_args),
        What::Build(args) => build::main(args, engine_args),
        What::Bench(args) => bench::main(args, engine_args),
    }
}

/// The engine that the options name, and its manifest's file.
fn named(args: &EngineArgs) -> anyhow::Result<(PathBuf, Engine)> {
    let path = engine::manifest(args.engine.as_deref().unwrap_or(engine::DEFAULT))?;
    let engine = Engine::load(&path)?;
    Ok((path, engine))
}

/// Size of a source picture, pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    width: u32,
    height: u32,
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size =
            text.split_once('x').and_then(|(w, h)| Some(Self { width: w.parse().ok()?, height: h.parse().ok()? }));
        size.filter(|s| (16..=16_384).contains(&s.width) && (16..=16_384).contains(&s.height))
            .ok_or_else(|| format!("{text:?} is no size; expected width and height, as in 1920x1080"))
    }
}

/// The video network's tensors for `batch` cameras of this size: input and output.
fn video_specs(engine: &Engine, size: Size, batch: usize) -> (TensorSpec, TensorSpec) {
    let (m, v) = (&engine.manifest, &engine.manifest.video);
    let (w, h) = net_size(size.width, size.height, 1.0, v.height, v.stride);
    let (cols, rows) = (w.div_euclid(v.stride), h.div_euclid(v.stride));
    (TensorSpec::new(&v.input, &[batch, v.slots, h, w]), TensorSpec::new(&v.output, &[batch, m.dim, rows, cols]))
}

/// The audio network's.
fn audio_specs(engine: &Engine) -> (TensorSpec, TensorSpec) {
    let (m, a) = (&engine.manifest, &engine.manifest.audio);
    let slots = 2 * a.context_slots + 1;
    let (input, output) = ([1, 1, a.mel.mels, 4 * slots], [1, m.dim, a.steps_per_slot * slots]);
    (TensorSpec::new(&a.input, &input), TensorSpec::new(&a.output, &output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!("1920x1080".parse(), Ok(Size { width: 1920, height: 1080 }));
        for bad in ["", "1920", "1920x", "x1080", "0x0", "99999x16", "a x b"] {
            assert!(bad.parse::<Size>().unwrap_err().contains("1920x1080"), "{bad}");
        }
    }

    #[test]
    fn the_shapes_are_those_that_a_run_asks_for() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines/av-small.toml");
        let engine = Engine::load(&path).unwrap();
        let (input, output) = video_specs(&engine, Size { width: 1280, height: 720 }, 4);
        assert_eq!((input.shape, output.shape), (vec![4, 5, 192, 336], vec![4, 128, 12, 21]));
        let (input, output) = audio_specs(&engine);
        assert_eq!((input.shape, output.shape), (vec![1, 1, 64, 28], vec![1, 128, 28]));
    }
}
