//! `seehear calibrate`.

mod av_offset;
mod diagram;
mod speaking;

use crate::{EngineArgs, find::find, say};
use anyhow::{Context, bail};
use clap::Subcommand;
use gstseehear::input::Input;
use gstseehear::run::Job;
use seehear::calibration::Calibration;
use seehear::net::Engine;
use std::path::Path;

/// What is to be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    AvOffset(Box<av_offset::Args>),
    Speaking(speaking::Args),
}

pub(crate) fn main(what: &What, engine_args: &EngineArgs) -> anyhow::Result<()> {
    match what {
        What::AvOffset(args) => av_offset::main(args, engine_args),
        What::Speaking(args) => speaking::main(args, engine_args),
    }
}

/// Applies the calibration that a user names to a job, and says so.
pub(crate) fn apply(name: &str, engine: &Engine, job: &mut Job, quiet: bool) -> anyhow::Result<()> {
    let calibration = load(name)?;
    let mut told = Vec::new();
    if let Some(offset) = calibration.offset {
        job.device_offset = offset.delay();
        let (late, early) = if offset.ms > 0.0 { ("sound", "picture") } else { ("picture", "sound") };
        told.push(format!("its {late} is {:.0} ms late: the {early} is held back by as much", offset.ms.abs()));
    }
    if let Some(speaking) = &calibration.speaking {
        let own = &engine.manifest.name;
        if speaking.engine != *own {
            bail!("calibration {name}: was fitted for the engine {}, this is {own}; fit it again", speaking.engine);
        }
        job.plan.stages.speaking.calibration = speaking.sigmoid();
        told.push(format!("probability of speaking: slope {}, bias {}", speaking.slope, speaking.bias));
    }
    if told.is_empty() {
        bail!("calibration {name}: says nothing");
    }
    if !quiet {
        say::note(&format!("calibration {name}: {}", told.join("; ")));
    }
    Ok(())
}

/// The calibration that a user names: a file, or a name in `calibration/`.
fn load(name: &str) -> anyhow::Result<Calibration> {
    if name.contains(std::path::MAIN_SEPARATOR) || Path::new(name).extension().is_some_and(|e| e == "toml") {
        return Ok(Calibration::load(Path::new(name))?);
    }
    let file = Path::new("calibration").join(format!("{name}.toml"));
    let path = find(&file).with_context(|| format!("no calibration \"{name}\"; pass --calibration FILE.toml"))?;
    Ok(Calibration::load(&path)?)
}

/// The calibration to be written to a file: what it holds already stays, and this command is named.
fn begun(output: Option<&Path>) -> anyhow::Result<Calibration> {
    let mut calibration = match output.filter(|path| path.exists()) {
        Some(path) => Calibration::load(path)?,
        None => Calibration::new(String::new(), String::new()),
    };
    (calibration.by, calibration.at) = (command_line(), now());
    Ok(calibration)
}

/// The command as it was given, for the file to say what measured it; without the password that a URI may hold.
fn command_line() -> String {
    let plain = |a: &str| if a.contains("://") { Input::parse(a).name() } else { a.to_owned() };
    let words: Vec<String> = std::env::args_os().skip(1).map(|a| plain(&a.to_string_lossy())).collect();
    format!("seehear {}", words.join(" "))
}

/// Now, UTC, to the second.
fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}
