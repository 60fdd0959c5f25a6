//! `seehear calibrate av-offset`.

use super::begun;
use crate::bar::Bar;
use crate::run::{parse_seconds, parse_set};
use crate::{EngineArgs, say, sync};
use anyhow::{Context, bail};
use gstseehear::input::Input;
use gstseehear::output::PendingFile;
use gstseehear::pattern;
use gstseehear::plan::Plan;
use gstseehear::run::{Control, Heard, Job, Progress, listen};
use seehear::calibration::OffsetCalibration;
use seehear::flash_beep::{FlashBeepMeter, Measurement, Pattern};
use seehear::time::{TimeDelta, Timestamp};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  seehear calibrate av-offset /dev/video0 -o calibration/desk.toml
                                  shows and plays the pattern here, records it with the camera and its microphone, measures
  seehear run /dev/video0 --calibration desk --display
                                  the camera as if it were in sync

  seehear calibrate av-offset --pattern pattern.mp4
  seehear calibrate av-offset rtsp://camera/1 -o calibration/hall.toml
                                  the pattern as a file, to be played on a phone before a camera far away
  seehear calibrate av-offset recording.mp4 -o calibration/hall.toml
                                  the same of a recording that the camera made of it
  seehear calibrate av-offset talk.mp4 --speech -o calibration/studio.toml
                                  without any pattern, from somebody who speaks before the device

A minute of white flashes, each with a beep that begins with it (about one a second; not for people sensitive to flashing \
light). The screen should fill a tenth of the picture or more, the room be dim enough for its white to stand out, and the \
loudspeaker be the only thing that is loud; noise suppression off. Turn it up, and start it from the beginning.

How far away: as near as the camera focuses. Sound travels a metre in 2.9 ms, light does not wait: a phone 2 m away makes \
every device 5.8 ms late. Give the distance from loudspeaker to microphone with --distance-m, and it is taken off.

What is measured is device and player together. A phone or a laptop with its own loudspeaker is some ms off, mostly less \
than 20, a Bluetooth loudspeaker by 100 to 300: don't use one. Two players that agree are right.

> 0 means that the sound is late. docs/sync.md says how it is done and how far it can be believed.

Exit codes: 0 done, 1 failed, 2 usage.";

/// Measure by how much a device's sound is late against its picture, by flash and beep
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A camera (the pattern is shown and played by this machine), or a recording or URI of the pattern
    #[arg(required_unless_present = "pattern")]
    input: Option<String>,

    /// Write the calibration here; what else the file says stays
    #[arg(short, long, value_name = "FILE.toml")]
    output: Option<PathBuf>,

    /// Write the pattern to a file instead, to be played on another screen: .mp4 (H.264, AAC) or .mkv (H.264, FLAC)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "output", "speech", "elsewhere", "distance_m"])]
    pattern: Option<PathBuf>,

    /// Measure from speech, of a file or URI: somebody who is seen and heard speaking before the device for half a minute
    #[arg(long, conflicts_with_all = ["elsewhere", "distance_m"])]
    speech: bool,

    /// With --speech: look for offsets up to this, ms, either way
    #[arg(long, value_name = "MS", default_value_t = 600, requires = "speech", value_parser = clap::value_parser!(u16).range(200..=2000))]
    range: u16,

    /// The pattern is played by something else (a phone): show nothing here
    #[arg(long)]
    elsewhere: bool,

    /// Distance from the loudspeaker to the microphone, metres: the sound's way, 2.9 ms a metre, is taken off
    #[arg(long, value_name = "M", default_value_t = 0.0, value_parser = parse_distance)]
    distance_m: f64,

    /// Record a live source for this long, seconds; by default the pattern and 15 s more
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    duration: Option<f64>,

    /// A pipeline file of your own, or a built-in one by name
    #[arg(short, long, value_name = "NAME|FILE")]
    pipeline: Option<String>,

    /// A value for a {name} in the pipeline, as in --set microphone=hw:2; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_set)]
    values: Vec<(String, String)>,

    /// Which of the input's sound tracks is taken, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    audio_track: u16,

    /// Print the measurement as one line of JSON on standard output, and nothing else
    #[arg(long)]
    json: bool,

    /// No progress bar and no words
    #[arg(short, long)]
    quiet: bool,
}

/// Sound's way through the air at 20 °C, ms a metre.
const MS_PER_M: f64 = 1e3 / 343.2;
/// A live source is recorded for so long beyond the pattern: somebody has to start it.
const TO_START: TimeDelta = TimeDelta::from_ms(15_000);
/// The last beep may come so long after its flash.
const TO_COME: Duration = Duration::from_millis(2_500);
/// What may be undecided without being told, ms.
const LITTLE_MS: f64 = 2.0;

fn parse_distance(text: &str) -> Result<f64, String> {
    let m: f64 = text.parse().map_err(|_| "expected metres, as in 0.5".to_owned())?;
    if (0.0..=100.0).contains(&m) { Ok(m) } else { Err("expected 0 to 100 metres".to_owned()) }
}

/// What is told, in words or as JSON.
#[derive(Debug, Serialize)]
struct Told {
    schema: u32,
    source: String,
    /// "flash-beep" or "speech".
    method: &'static str,
    /// > 0: the sound is late; the way through the air taken off.
    offset_ms: f64,
    spread_ms: f64,
    error_ms: f64,
    events: usize,
    flashes: Option<usize>,
    beeps: Option<usize>,
    drift_ms_per_min: Option<f64>,
    undecided_ms: Option<f64>,
    distance_m: f64,
}

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let control = Arc::new(Control::default());
    let asked = Arc::clone(&control);
    ctrlc::set_handler(move || asked.stop()).context("Ctrl-C can't be caught")?;
    if let Some(path) = &args.pattern {
        return write_pattern(args, path, &control);
    }
    let name = args.input.as_deref().unwrap_or_default();
    let input = Input::parse(name);
    input.check()?;
    // A file that can't be kept is known before a minute is spent.
    let mut calibration = begun(args.output.as_deref())?;
    let file = args.output.as_deref().map(PendingFile::create).transpose()?;
    let told = if args.speech {
        by_speech(args, &input, engine_args, &control)?
    } else {
        let measured = by_pattern(args, &input, &control)?;
        Told {
            schema: 1,
            source: input.name(),
            method: "flash-beep",
            offset_ms: tenths(measured.offset.as_ms_f64() - args.distance_m * MS_PER_M),
            spread_ms: tenths(measured.spread.as_ms_f64()),
            error_ms: tenths(measured.error.as_ms_f64()),
            events: measured.events,
            flashes: Some(measured.flashes),
            beeps: Some(measured.beeps),
            drift_ms_per_min: measured.drift_ms_per_min.map(tenths),
            undecided_ms: Some(tenths(measured.undecided.as_ms_f64())),
            distance_m: args.distance_m,
        }
    };
    if let Some(file) = file {
        calibration.offset = Some(OffsetCalibration {
            ms: told.offset_ms,
            spread_ms: told.spread_ms,
            error_ms: told.error_ms,
            events: u32::try_from(told.events).unwrap_or(u32::MAX),
        });
        let text = calibration.to_toml().map_err(anyhow::Error::msg)?;
        std::fs::write(file.path(), text).with_context(|| file.target().display().to_string())?;
        file.commit()?;
    }
    if args.json {
        say::result(&serde_json::to_string(&told)?)?;
    } else if !args.quiet {
        for line in words(&told) {
            say::result(&line)?;
        }
        if let Some(path) = &args.output {
            say::note(&format!("wrote {}", path.display()));
        }
    }
    Ok(())
}

fn write_pattern(args: &Args, path: &Path, control: &Control) -> anyhow::Result<()> {
    let pattern = Pattern::default();
    let bar = Bar::new(!args.quiet && !args.json);
    let whole = pattern::write(&pattern, path, &mut |at| bar.share(share(at, &pattern), "writing"), control)?;
    bar.finish();
    if !whole {
        bail!("stopped: nothing was written");
    }
    if !args.quiet && !args.json {
        let (length, events) = (pattern.length().as_s_f64(), pattern.onsets().count());
        say::note(&format!("wrote {}: {length:.0} s, {events} flashes with beeps", path.display()));
        say::note(
            "play it full screen, loud, by the device's own loudspeaker, from the beginning, close to the camera",
        );
    }
    Ok(())
}

fn share(at: Timestamp, pattern: &Pattern) -> f64 {
    (at - Timestamp::ZERO).as_s_f64() / pattern.length().as_s_f64()
}

/// Records the pattern, or reads a recording of it.
fn by_pattern(args: &Args, input: &Input, control: &Arc<Control>) -> anyhow::Result<Measurement> {
    let name = args.pipeline.as_deref().unwrap_or_else(|| input.pipeline());
    let plan = if name.contains(['/', '.']) { Plan::load(name.as_ref())? } else { Plan::built_in(name)? };
    let live = plan.live;
    let shown = matches!(input, Input::Camera(_)) && !args.elsewhere;
    let job = Job {
        values: args.values.iter().cloned().collect(),
        audio_track: usize::from(args.audio_track) - 1,
        ..Job::new(input.clone(), plan)
    };
    let pattern = Pattern::default();
    let mut meter = FlashBeepMeter::new(pattern.clone());
    let bar = Bar::new(!args.quiet && !args.json);
    if live && !args.quiet && !args.json {
        say::note(if shown {
            "point the camera at this screen, the microphone at its loudspeaker; the pattern takes a minute"
        } else {
            "play the pattern before the camera now, from the beginning; Ctrl-C ends the recording"
        });
    }
    let until = match args.duration {
        Some(s) => Duration::from_secs_f64(s),
        None => Duration::from_secs_f64((pattern.length() + TO_START).as_s_f64()),
    };
    // How far the pattern has been shown, ns; and whether the camera gives pictures at all.
    let (position, begun) = (AtomicI64::new(0), AtomicBool::new(false));
    let mut take = |heard: Heard<'_>| match heard {
        Heard::Frame(frame) => {
            begun.store(true, Ordering::Release);
            meter.push_frame(frame);
        }
        Heard::Sound(window) => meter.push_sound(window),
    };
    let mut look = |p: Progress| {
        if shown {
            bar.share(share(Timestamp::from_ns(position.load(Ordering::Relaxed)), &pattern), "recording");
        } else if live {
            bar.share(p.wall.as_secs_f64() / until.as_secs_f64(), "recording");
            if p.wall >= until {
                control.stop();
            }
        } else {
            bar.update(&p);
        }
    };
    let interrupted = std::thread::scope(|scope| -> anyhow::Result<bool> {
        let shower = shown.then(|| {
            scope.spawn(|| -> anyhow::Result<bool> {
                while !begun.load(Ordering::Acquire) && !control.stopped() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                let mut at = |t: Timestamp| position.store(t.ns(), Ordering::Relaxed);
                let whole = pattern::show(&pattern, &job.plan, &mut at, control);
                if matches!(whole, Ok(true)) {
                    std::thread::sleep(TO_COME);
                }
                control.stop();
                Ok(whole?)
            })
        });
        let recorded = listen(&job, &mut take, &mut look, control);
        control.stop();
        if let Some(shower) = shower {
            let whole =
                shower.join().map_err(|_| anyhow::anyhow!("the pattern's thread panicked; please report this"))?;
            // The camera's failure ended the pattern, not the other way round.
            let interrupted = recorded?;
            return Ok(!whole? && interrupted);
        }
        Ok(recorded? && !live)
    });
    bar.finish();
    if interrupted? {
        bail!("stopped: nothing was measured");
    }
    meter.measure().with_context(|| input.name())
}

fn by_speech(args: &Args, input: &Input, engine_args: &EngineArgs, control: &Arc<Control>) -> anyhow::Result<Told> {
    let options = sync::Args::of_speech(&input.name(), args.range, args.audio_track, args.quiet || args.json);
    let measured = sync::measure(&options, input.clone(), engine_args, control)?;
    let Some(offset) = measured.estimate.offset else {
        bail!("{}: the offset can't be told from speech: {}", input.name(), measured.why(&options));
    };
    let points: Vec<f64> = measured.estimate.points.iter().map(|p| p.offset.offset.as_ms_f64()).collect();
    Ok(Told {
        schema: 1,
        source: input.name(),
        method: "speech",
        offset_ms: tenths(offset.offset.as_ms_f64()),
        spread_ms: tenths(deviation(&points)),
        error_ms: tenths(offset.error.as_ms_f64()),
        events: points.len().max(1),
        flashes: None,
        beeps: None,
        drift_ms_per_min: None,
        undecided_ms: None,
        distance_m: 0.0,
    })
}

fn tenths(x: f64) -> f64 {
    // No −0.
    (x * 10.0).round() / 10.0 + 0.0
}

/// Standard deviation; 0 of fewer than two.
fn deviation(x: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some stretches")]
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    if x.len() < 2 { 0.0 } else { (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt() }
}

fn words(t: &Told) -> Vec<String> {
    let size = t.offset_ms.abs();
    let what = if t.offset_ms > 0.0 {
        format!("the sound is {size:.1} ms late")
    } else if t.offset_ms < 0.0 {
        format!("the sound is {size:.1} ms early")
    } else {
        "picture and sound are in sync".to_owned()
    };
    let Some(flashes) = t.flashes else {
        return vec![format!("{what}, ± {:.1} ms, by {} stretches of speech", t.error_ms, t.events)];
    };
    let mut lines = vec![format!(
        "{what}, ± {:.1} ms (standard error): {} events of {flashes} flashes and {} beeps, which differ by {:.1} ms",
        t.error_ms,
        t.events,
        t.beeps.unwrap_or(0),
        t.spread_ms
    )];
    if t.distance_m > 0.0 {
        let way = t.distance_m * MS_PER_M;
        lines.push(format!("the sound's way through {:.1} m of air, {way:.1} ms, is taken off", t.distance_m));
    } else {
        lines.push(
            "the sound's way through the air is in it, 2.9 ms for every metre from loudspeaker to microphone: \
             --distance-m takes it off"
                .to_owned(),
        );
    }
    if let Some(drift) = t.drift_ms_per_min {
        lines.push(format!(
            "it drifts by {drift:.1} ms a minute, and this is its middle: a calibration holds for a constant offset only"
        ));
    }
    if let Some(undecided) = t.undecided_ms.filter(|ms| *ms > LITTLE_MS) {
        lines.push(format!(
            "pictures and flashes run in step: if a camera took them, it may be up to {undecided:.0} ms less or more; \
             another frame rate of the camera, or another screen, tells"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            schema: 1,
            source: "x".into(),
            method: "flash-beep",
            offset_ms: 42.3,
            spread_ms: 1.8,
            error_ms: 0.3,
            events: 50,
            flashes: Some(54),
            beeps: Some(53),
            drift_ms_per_min: None,
            undecided_ms: Some(1.0),
            distance_m: 0.0,
        }
    }

    #[test]
    fn words_tell_the_sign_and_what_is_to_be_heeded() {
        let lines = words(&told());
        assert!(lines[0].starts_with("the sound is 42.3 ms late, ± 0.3 ms") && lines[0].contains("50 events of 54"));
        assert!(lines.len() == 2 && lines[1].contains("--distance-m takes it off"), "{lines:?}");
        let odd =
            Told { offset_ms: -7.0, drift_ms_per_min: Some(-3.0), undecided_ms: Some(9.0), distance_m: 2.0, ..told() };
        let lines = words(&odd).join("\n");
        for part in ["7.0 ms early", "2.0 m of air, 5.8 ms, is taken off", "drifts by -3.0 ms", "up to 9 ms"] {
            assert!(lines.contains(part), "{part}: {lines}");
        }
    }

    #[test]
    fn distances_are_metres() {
        assert_eq!(parse_distance("0.5"), Ok(0.5));
        assert!(["-1", "101", "x", "nan"].iter().all(|t| parse_distance(t).is_err()));
    }
}
