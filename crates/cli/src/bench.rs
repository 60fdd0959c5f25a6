//! `seehear bench`.

use crate::EngineArgs;

/// Measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn main(_args: &Args, _engine: &EngineArgs) -> anyhow::Result<()> {
    anyhow::bail!("to come")
}
