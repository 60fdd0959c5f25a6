//! `seehear engines verify`.

use super::{Size, audio_specs, named, video_specs};
use crate::{EngineArgs, engine, say};
use anyhow::bail;
use seehear::net::{Backend, Engine, TensorSpec};
use seehear_nets::{Choice, Kind};
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  seehear engines verify                                  the default engine, on the CPU
  seehear engines verify --engine mine/mine.toml          one of your own
  seehear engines verify --backend onnxruntime-cuda       does a GPU compute what the CPU computes?

Checked: the manifest, both files' SHA-256, the tensors' names and shapes, that the vectors are of length 1, that a run gives the \
same twice, and, on another backend than the CPU, that it gives what the CPU gives within the manifest's tolerance.

Exit codes: 0 in order, 1 not, 2 usage.";

/// Check an engine's files, and that a backend computes them rightly.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Size of the source's picture, pixels
    #[arg(long, default_value = "1280x720", value_name = "WxH")]
    size: Size,
}

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let (path, engine) = named(engine_args)?;
    let m = &engine.manifest;
    say::result(&format!("{}: manifest and both files' SHA-256 are in order", path.display()))?;
    if engine_args.backend == Choice::All {
        bail!("--backend all is for bench; name one, or auto");
    }
    let options = engine::options(engine_args, &path, false);
    let chosen = seehear_nets::open(engine_args.backend, &options)?;
    let cpu = if chosen.kind == Kind::OnnxRuntimeCpu {
        None
    } else {
        Some(seehear_nets::open(Choice::One(Kind::OnnxRuntimeCpu), &options)?)
    };
    for (name, file, (input, output)) in [
        ("picture", engine.video_file(), video_specs(&engine, args.size, 1)),
        ("sound", engine.audio_file(), audio_specs(&engine)),
    ] {
        let got = Ran::on(&*chosen.backend, &file, &input, &output)?;
        let length = got.length(m.dim);
        if (length - 1.0).abs() > 1e-2 {
            bail!("{}: a vector is of length {length:.3} and not 1", file.display());
        }
        let mut line = format!(
            "{name}: {:?} → {:?} on {}, vectors of length 1, the same twice",
            input.shape, output.shape, chosen.kind
        );
        if let Some(cpu) = &cpu {
            let apart = got.apart(&Ran::on(&*cpu.backend, &file, &input, &output)?);
            if apart > m.tolerance {
                bail!(
                    "{}: {} and the CPU are {apart:.1e} apart; the manifest allows {:.1e}",
                    file.display(),
                    chosen.kind,
                    m.tolerance
                );
            }
            line += &format!(", {apart:.1e} from the CPU (allowed: {:.1e})", m.tolerance);
        }
        say::result(&line)?;
    }
    tell_of_calibration(&engine)
}

/// A network's answer to a made-up input.
struct Ran {
    values: Vec<f32>,
    /// Numbers in a row: `dim` rows of vectors across.
    cells: usize,
}

impl Ran {
    fn on(backend: &dyn Backend, file: &Path, input: &TensorSpec, output: &TensorSpec) -> anyhow::Result<Self> {
        let mut net = backend.load(file, std::slice::from_ref(input), std::slice::from_ref(output))?;
        let given = made_up(input.len());
        let mut runs = [vec![0.0; output.len()], vec![0.0; output.len()]];
        for run in &mut runs {
            net.run(&[&given], &mut [run])?;
        }
        let [first, second] = runs;
        if first.iter().any(|x| !x.is_finite()) {
            bail!("{}: gives numbers that are none", file.display());
        }
        if first.iter().zip(&second).any(|(a, b)| a.to_bits() != b.to_bits()) {
            bail!("{}: gives another answer the second time", file.display());
        }
        Ok(Self { values: first, cells: output.shape[2..].iter().product() })
    }

    /// Length of the vector that is furthest from 1.
    fn length(&self, dim: usize) -> f32 {
        let norm = |cell: usize| (0..dim).map(|d| self.values[d * self.cells + cell].powi(2)).sum::<f32>().sqrt();
        (0..self.cells)
            .map(norm)
            .fold(1.0, |worst, n| if (n - 1.0).abs() > (worst - 1.0_f32).abs() { n } else { worst })
    }

    fn apart(&self, other: &Self) -> f32 {
        self.values.iter().zip(&other.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }
}

/// Numbers between −0.5 and 0.5 without a pattern: the upper bits of Weyl's sequence.
fn made_up(n: usize) -> Vec<f32> {
    let mut state = 0_u32;
    (0..n)
        .map(|_| {
            state = state.wrapping_add(2_654_435_761);
            f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 65_536.0 - 0.5
        })
        .collect()
}

/// What cannot be seen in the files.
fn tell_of_calibration(engine: &Engine) -> anyhow::Result<()> {
    let s = &engine.manifest.score;
    say::result(&format!(
        "probability of speaking = sigmoid({} · logit {:+}): whether that fits your footage, `seehear calibrate speaking` measures",
        s.slope, s.bias
    ))?;
    Ok(())
}
