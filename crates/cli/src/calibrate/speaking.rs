//! `seehear calibrate speaking`.

use super::diagram;
use crate::bar::Bar;
use crate::engine::Use;
use crate::{EngineArgs, engine, say};
use anyhow::{Context, bail};
use gstseehear::input::Input;
use gstseehear::output::PendingFile;
use gstseehear::plan::Plan;
use gstseehear::run::{Control, Job, Observer, SlotTiming};
use seehear::calibration::SpeakingCalibration;
use seehear::events::Header;
use seehear::geometry::PxPoint;
use seehear::net::{Backend, Engine};
use seehear::reliability::{Group, Judgement, Sigmoid, calibration_error, reliability};
use seehear::session::Report;
use seehear::time::{SLOT, Timestamp};
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  seehear calibrate speaking room/ -o calibration/room.toml      two numbers, fitted on labelled recordings of the room
  seehear calibrate speaking room/ --diagram room.svg            how far the probabilities can be believed
  seehear run /dev/video0 --calibration room                     with them

Beside every recording NAME.mp4 lies its truth NAME.truth.json:
  {\"cells\": [[0, 0, 640, 720], [640, 0, 640, 720]],              who is where: x, y, width, height, pixels
   \"turns\": [{\"start_ms\": 0, \"end_ms\": 4200, \"who\": 0},          who is heard: a cell's number from 0, -1 somebody out of
             {\"start_ms\": 4200, \"end_ms\": 9000, \"who\": -1}]}        sight, null nobody
\"voiced\" (0 or 1 for every 40 ms) and \"offset_ms\" of generated scenes are heeded too. Some minutes with three people who take
turns are enough. Within 0.4 s of a change of turn nothing counts: when exactly it happened is nobody's to say.

Exit codes: 0 done, 1 failed, 2 usage.";

/// Fit the probability of speaking on labelled recordings, and show how far it can be believed
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folders with NAME.truth.json beside NAME.mp4 (or .mkv, .mov, .webm)
    #[arg(required = true, value_name = "FOLDER")]
    scenes: Vec<PathBuf>,

    /// Write the calibration here; what else the file says stays
    #[arg(short, long, value_name = "FILE.toml")]
    output: Option<PathBuf>,

    /// Draw the reliability diagram
    #[arg(long, value_name = "FILE.svg")]
    diagram: Option<PathBuf>,

    /// No progress bar and no words
    #[arg(short, long)]
    quiet: bool,
}

/// Nothing counts this close to a change of turn, ms.
const GUARD_MS: i64 = 400;
/// Groups of the table.
const GROUPS: usize = 10;
/// The reliability told is that of scenes left out of the fit, in so many parts.
const FOLDS: usize = 5;
const KINDS: [&str; 4] = ["mp4", "mkv", "mov", "webm"];

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let scenes = Scene::of(&args.scenes)?;
    let mut calibration = super::begun(args.output.as_deref())?;
    let (engine, backend) = engine::load(engine_args, engine::DEFAULT, Use::default())?;
    let control = Arc::new(Control::default());
    let asked = Arc::clone(&control);
    ctrlc::set_handler(move || asked.stop()).context("Ctrl-C can't be caught")?;
    let bar = Bar::new(!args.quiet);
    let mut judged = Vec::with_capacity(scenes.len());
    for (i, scene) in scenes.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a share of some scenes")]
        bar.share(i as f64 / scenes.len() as f64, "scenes");
        judged.push(scene.judge(&engine, &*backend, &control)?);
        if control.stopped() {
            bail!("stopped: nothing was written");
        }
    }
    bar.finish();

    let all: Vec<Judgement> = judged.concat();
    let fitted = Sigmoid::fit(&all)?;
    let before = groups(&all, |_| Sigmoid::default());
    let after = left_out(&judged)?;
    if !args.quiet {
        words(&all, scenes.len(), fitted, &before, &after, &engine)?;
    }
    if let Some(path) = &args.diagram {
        write(path, &diagram::svg(&before, &after))?;
    }
    if let Some(path) = &args.output {
        calibration.speaking = Some(SpeakingCalibration {
            engine: engine.manifest.name.clone(),
            slope: rounded(fitted.slope),
            bias: rounded(fitted.bias),
        });
        write(path, &calibration.to_toml().map_err(anyhow::Error::msg)?)?;
    }
    for path in [&args.output, &args.diagram].into_iter().flatten().filter(|_| !args.quiet) {
        say::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = PendingFile::create(path)?;
    std::fs::write(file.path(), text).with_context(|| path.display().to_string())?;
    Ok(file.commit()?)
}

fn rounded(x: f32) -> f64 {
    (f64::from(x) * 1e4).round() / 1e4
}

fn words(
    all: &[Judgement],
    scenes: usize,
    fitted: Sigmoid,
    before: &[Group],
    after: &[Group],
    engine: &Engine,
) -> io::Result<()> {
    let heard = all.iter().filter(|j| j.heard).count();
    say::result(&format!("{scenes} scenes, {} judgements of objects in slots, {heard} of them heard", all.len()))?;
    say::result("told → found, in ten groups of equal size:")?;
    for (name, table, error) in [
        ("as it was", before, calibration_error(before)),
        ("calibrated, on scenes left out of the fit", after, calibration_error(after)),
    ] {
        let row: Vec<String> = table.iter().map(|g| format!("{:.2}→{:.2}", g.predicted, g.observed)).collect();
        say::result(&format!("  {name}: {}  (mean error {error:.3})", row.join(" ")))?;
    }
    say::result(&format!("slope = {:.3}", fitted.slope))?;
    say::result(&format!("bias = {:.3}", fitted.bias))?;
    let s = &engine.manifest.score;
    let (slope, bias) = (fitted.slope * s.slope, fitted.slope * s.bias + fitted.bias);
    say::result(&format!("taken into the manifest of {}: slope = {slope:.3}, bias = {bias:.3}", engine.manifest.name))
}

fn groups(all: &[Judgement], sigmoid: impl Fn(usize) -> Sigmoid) -> Vec<Group> {
    let told: Vec<_> = all.iter().enumerate().map(|(i, j)| (sigmoid(i).probability(j.logit), j.heard)).collect();
    reliability(&told, GROUPS)
}

/// The reliability of what is fitted on the other scenes.
fn left_out(judged: &[Vec<Judgement>]) -> anyhow::Result<Vec<Group>> {
    let folds = FOLDS.min(judged.len());
    if folds < 2 {
        bail!("one recording is not enough to say how far the fit holds for another: cut it in two, or label more");
    }
    let mut told = Vec::new();
    for fold in 0..folds {
        let (mut fit_on, mut held) = (Vec::new(), Vec::new());
        for (i, scene) in judged.iter().enumerate() {
            if i % folds == fold { &mut held } else { &mut fit_on }.extend_from_slice(scene);
        }
        let sigmoid = Sigmoid::fit(&fit_on)?;
        told.extend(held.iter().map(|j| (sigmoid.probability(j.logit), j.heard)));
    }
    Ok(reliability(&told, GROUPS))
}

/// What is heeded of a truth file (`training/TRUTH.md`).
#[derive(Debug, Deserialize)]
struct Truth {
    /// x, y, width, height, pixels.
    cells: Vec<[f32; 4]>,
    turns: Vec<Turn>,
    /// Per slot; everywhere where it isn't said.
    voiced: Option<Vec<u8>>,
    /// The sound was delayed by this much; the truth is said before that.
    #[serde(default)]
    offset_ms: f64,
}

#[derive(Debug, Deserialize)]
struct Turn {
    start_ms: i64,
    end_ms: i64,
    who: Option<i64>,
}

impl Truth {
    /// Who is heard in the slot at `ms`, −1 being somebody out of sight; `None`: nobody, or it doesn't count.
    fn heard(&self, ms: i64) -> Option<i64> {
        if self.turns.iter().skip(1).any(|t| (ms - t.start_ms).abs() < GUARD_MS) {
            return None;
        }
        let slot = usize::try_from(ms.div_euclid(SLOT.ns().div_euclid(1_000_000))).ok()?;
        if self.voiced.as_ref().is_some_and(|v| v.get(slot) != Some(&1)) {
            return None;
        }
        self.turns.iter().find(|t| (t.start_ms..t.end_ms).contains(&ms))?.who
    }

    fn cell(&self, p: PxPoint) -> Option<usize> {
        self.cells.iter().position(|&[x, y, w, h]| (x..x + w).contains(&p.x) && (y..y + h).contains(&p.y))
    }
}

/// A recording with its truth.
struct Scene {
    video: PathBuf,
    truth: Truth,
}

impl Scene {
    fn of(folders: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let mut scenes = Vec::new();
        for folder in folders {
            let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
            let mut files: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<io::Result<_>>()?;
            files.sort();
            for path in files {
                let Some(stem) = path.to_str().and_then(|p| p.strip_suffix(".truth.json")) else { continue };
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let truth: Truth = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
                let video = KINDS.iter().map(|kind| PathBuf::from(format!("{stem}.{kind}"))).find(|v| v.is_file());
                let video = video.with_context(|| format!("{}: no video {stem}.mp4 beside it", path.display()))?;
                scenes.push(Self { video, truth });
            }
        }
        if scenes.is_empty() {
            let names: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
            bail!("{}: no NAME.truth.json in it (see --help)", names.join(", "));
        }
        Ok(scenes)
    }

    fn judge(
        &self,
        engine: &Engine,
        backend: &(dyn Backend + Sync),
        control: &Control,
    ) -> anyhow::Result<Vec<Judgement>> {
        let job = Job::new(Input::File(self.video.clone()), Plan::built_in("file")?);
        let mut judge = Judge { truth: &self.truth, judgements: Vec::new() };
        gstseehear::run::run(&job, engine, backend, &mut judge, &mut |_| {}, control)?;
        Ok(judge.judgements)
    }
}

struct Judge<'a> {
    truth: &'a Truth,
    judgements: Vec<Judgement>,
}

impl Observer for Judge<'_> {
    fn header(&mut self, _: &Header) -> io::Result<()> {
        Ok(())
    }

    fn report(&mut self, report: &Report<'_>, _: SlotTiming) -> io::Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds")]
        let ms = ((report.start - Timestamp::ZERO).as_ms_f64() - self.truth.offset_ms + 0.5 * SLOT.as_ms_f64()) as i64;
        let Some(who) = self.truth.heard(ms) else { return Ok(()) };
        // In each cell its strongest object: the others are hands and shoulders of the same person.
        let mut strongest: Vec<Option<f32>> = vec![None; self.truth.cells.len()];
        for speaker in report.speakers {
            let Some(cell) = self.truth.cell(speaker.object.rect.centre) else { continue };
            let best = strongest[cell].get_or_insert(f32::MIN);
            *best = best.max(speaker.object.logit);
        }
        let judgements = strongest
            .iter()
            .zip(0_i64..)
            .filter_map(|(logit, cell)| logit.map(|logit| Judgement { logit, heard: cell == who }));
        self.judgements.extend(judgements);
        Ok(())
    }
}
