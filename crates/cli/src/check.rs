//! `seehear check`.

use crate::say;
use anyhow::bail;
use gstseehear::plan::{BUILT_IN, Plan};
use gstseehear::source;
use gstseehear::stream::{self, StreamPlan};
use std::collections::BTreeMap;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  seehear check                      the built-in pipelines: is everything installed?
  seehear check rtsp mine.toml       a built-in one and one of your own
  seehear check pipelines/*.toml     all of the checkout

No device is opened and nothing is linked: that a pipeline is in order does not show that it runs. The fields of a \
pipeline file are described in pipelines/README.md.

A pipeline that says what hardware it needs, on a machine without it, is told as not checked to the end.

Exit codes: 0 all in order, 1 one or more are not (all are told), 2 usage.";

/// Check pipeline files: syntax, unknown fields, ranges, and that every GStreamer element they name is installed.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Pipeline files (a name with "/" or "." in it) or built-in names; all built-in ones where none is given
    files: Vec<String>,
}

pub(crate) fn main(args: &Args) -> anyhow::Result<()> {
    gstseehear::init()?;
    let names: Vec<String> =
        if args.files.is_empty() { BUILT_IN.map(|(n, _)| n.to_owned()).to_vec() } else { args.files.clone() };
    let mut bad = 0;
    for name in &names {
        match check(name) {
            Ok(Checked::Ok(description)) => say::result(&format!("{name}: ok ({description})"))?,
            Ok(Checked::NotHere { needs, why }) => {
                say::result(&format!("{name}: not checked to the end, it needs {needs} ({why})"))?
            }
            Err(error) => {
                bad += 1;
                say::error(&error.context(name.clone()));
            }
        }
    }
    if bad > 0 {
        bail!("{bad} of {} pipeline files are not in order", names.len());
    }
    Ok(())
}

enum Checked {
    Ok(String),
    /// What it takes is not on this machine.
    NotHere {
        needs: String,
        why: String,
    },
}

fn check(name: &str) -> anyhow::Result<Checked> {
    // Files of streams lie in a folder of that name.
    if Path::new(name).parent().is_some_and(|p| p.ends_with("streams")) {
        let plan = StreamPlan::parse(&std::fs::read_to_string(name)?).map_err(anyhow::Error::msg)?;
        stream::check(&plan)?;
        return Ok(Checked::Ok(plan.description));
    }
    let plan = if name.contains(['/', '.']) { Plan::load(name.as_ref())? } else { Plan::built_in(name)? };
    // Values that the input gives at run time; any will do to see whether the descriptions parse.
    let mut values: BTreeMap<String, String> =
        [("uri", "file:///dev/null"), ("device", "/dev/video0")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    values.extend(plan.defaults.clone());
    for (field, text) in plan.descriptions() {
        match (source::parse(text, &values, &field), &plan.needs) {
            (Ok(_), _) => {}
            (Err(e), Some(needs)) => return Ok(Checked::NotHere { needs: needs.clone(), why: e.to_string() }),
            (Err(e), None) => return Err(e.into()),
        }
    }
    Ok(Checked::Ok(plan.description))
}
