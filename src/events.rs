//! Events: the JSON lines of `run --events`, their schema, and the summary's figures.
//!
//! First a `header`, then one `frame` per 40 ms slot, last a `summary`. Times are floats in milliseconds of running
//! time; places are pixels of the source picture, `x, y` the centre of a box.

#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounding for display")]

use crate::asd::Voice;
use crate::av_object::TrackState;
use crate::correct::{Correction, SyncState};
use crate::session::{Report, SessionCounters};
use crate::time::TimeDelta;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// The version of this format.
pub const SCHEMA: u32 = 1;

/// One line of the events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// The first line.
    Header(Header),
    /// One slot.
    Frame(FrameEvent),
    /// The last line.
    Summary(Summary),
}

/// What the lines after it speak of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The input, as given.
    pub source: String,
    /// Source picture width, pixels.
    pub width: u32,
    /// Source picture height, pixels.
    pub height: u32,
    /// The engine's name.
    pub engine: String,
    /// The backend's name.
    pub backend: String,
    /// From the start of a slot to the moment at which its frame event can be given, in stream time, ms.
    pub latency_ms: f64,
}

/// One object in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectEvent {
    /// Stable identity.
    pub id: u32,
    /// Centre of the box, pixels from the left.
    pub x: f32,
    /// Centre of the box, pixels from the top.
    pub y: f32,
    /// Width of the box, pixels.
    pub w: f32,
    /// Height of the box, pixels.
    pub h: f32,
    /// Probability that it speaks, 0…1.
    pub score: f32,
    /// The decision.
    pub speaking: bool,
    /// How surely it is there.
    pub state: TrackState,
}

/// What is done about the offset, where a run corrects it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncEvent {
    /// What is being done.
    pub state: SyncState,
    /// What is taken off the offset. > 0: the picture is delayed; < 0: the sound.
    pub applied_ms: f64,
    /// Where `applied_ms` is going.
    pub target_ms: f64,
}

impl From<Correction> for SyncEvent {
    fn from(c: Correction) -> Self {
        let ms = |t: TimeDelta| rounded(t.as_ms_f64(), 1);
        Self { state: c.state, applied_ms: ms(c.applied), target_ms: ms(c.target) }
    }
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameEvent {
    /// Start of the slot, ms.
    pub t_ms: f64,
    /// The objects, by id.
    pub objects: Vec<ObjectEvent>,
    /// What the sound is.
    pub voice: Voice,
    /// > 0: the sound is late. `null` before there is an estimate.
    pub offset_ms: Option<f64>,
    /// 0…1.
    pub offset_confidence: f32,
    /// The correction; left out where the run does not correct.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncEvent>,
}

impl FrameEvent {
    /// Takes over what a report says, without allocating once it has room for the objects.
    fn fill(&mut self, report: &Report<'_>) {
        self.t_ms = rounded(report.start.as_ms_f64(), 3);
        self.voice = report.voice;
        self.offset_ms = report.offset.map(|o| rounded(o.offset.as_ms_f64(), 1));
        self.offset_confidence = report.offset.map_or(0.0, |o| rounded32(o.confidence, 3));
        self.sync = report.correction.map(SyncEvent::from);
        self.objects.clear();
        self.objects.extend(report.speakers.iter().map(|s| ObjectEvent {
            id: s.object.id,
            x: rounded32(s.object.rect.centre.x, 1),
            y: rounded32(s.object.rect.centre.y, 1),
            w: rounded32(s.object.rect.w, 1),
            h: rounded32(s.object.rect.h, 1),
            score: rounded32(s.probability, 3),
            speaking: s.speaking,
            state: s.object.state,
        }));
    }
}

impl From<&Report<'_>> for FrameEvent {
    fn from(report: &Report<'_>) -> Self {
        let mut frame = Self {
            t_ms: 0.0,
            objects: Vec::with_capacity(report.speakers.len()),
            voice: report.voice,
            offset_ms: None,
            offset_confidence: 0.0,
            sync: None,
        };
        frame.fill(report);
        frame
    }
}

/// Times between two percentiles, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Algorithmic: what must have arrived before a slot can be told.
    pub algorithmic: f64,
    /// Median from a frame's arrival to its event, on the clock.
    pub p50: Option<f64>,
    /// 99th percentile of the same.
    pub p99: Option<f64>,
}

/// What was not done, by cause. All zero in a run in good order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Frames dropped before analysis because it was behind (live only).
    pub video_overload: u64,
    /// Sound buffers dropped before analysis because it was behind (live only).
    pub audio_overload: u64,
    /// Frames dropped because their time stamp was not after the one before.
    pub late_frames: u64,
    /// Buffers without a time stamp, or that could not be mapped.
    pub unusable_buffers: u64,
    /// Slots whose network run failed.
    pub failed_slots: u64,
    /// Slots that a jump of the programme cut off.
    pub cut_off_slots: u64,
    /// Slots told without a run of the video network, because the analysis was behind (live only).
    #[serde(default)]
    pub shed_slots: u64,
    /// Gaps in the sound, filled with silence.
    pub audio_gaps: u64,
    /// Pictures that went out without their own slot's result because it was late (with output only).
    pub undrawn_frames: u64,
    /// Pictures left out of the output because a step of the correction, asked for by the operator, took delay off.
    pub stepped_over_frames: u64,
    /// Pictures and sound buffers that a stream out had no room for, its far end being behind.
    #[serde(default)]
    pub unstreamed: u64,
}

/// The last line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Slots told.
    pub slots: u64,
    /// Length of the material, s.
    pub media_s: f64,
    /// Time it took, s.
    pub wall_s: f64,
    /// Media seconds per second.
    pub realtime_factor: f64,
    /// Share of a slot's 40 ms that its analysis took, mean; 1 is the limit of real time.
    pub load: f64,
    /// Latency.
    pub latency_ms: LatencySummary,
    /// Drops, by cause.
    pub drops: Drops,
    /// Slots that showed the frame before once more.
    pub repeated_frames: u64,
    /// Frames that no 25 Hz slot needed.
    pub unused_frames: u64,
    /// Times that the time line jumped.
    pub jumps: u64,
    /// Times that a lost source came back.
    #[serde(default)]
    pub reconnects: u64,
    /// Ids given to objects, those of chance included.
    pub ids: u64,
    /// Seconds with a speaker told on screen.
    pub on_screen_s: f64,
    /// Seconds with a voice told off screen.
    pub off_screen_s: f64,
    /// The correction at the end; left out where the run did not correct.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncEvent>,
    /// True if the run was interrupted before the end of the input.
    pub interrupted: bool,
}

impl Summary {
    /// Takes over what the session counted.
    pub fn set_counters(&mut self, c: &SessionCounters) {
        self.drops.late_frames = c.align.late;
        self.drops.failed_slots = c.failed;
        self.drops.cut_off_slots = c.cut_off;
        self.drops.shed_slots = c.shed;
        self.drops.audio_gaps = c.align.audio.gaps;
        self.repeated_frames = c.align.repeated;
        self.unused_frames = c.align.unused;
        self.jumps = c.align.jumps;
        self.ids = c.objects;
    }
}

fn rounded(x: f64, digits: i32) -> f64 {
    let k = 10_f64.powi(digits);
    (x * k).round() / k
}

fn rounded32(x: f32, digits: i32) -> f32 {
    rounded(f64::from(x), digits) as f32
}

/// Writes events as lines. Reuses its memory: nothing is allocated per slot after the first.
pub struct EventWriter<W> {
    out: W,
    line: Vec<u8>,
    event: Event,
}

impl<W> std::fmt::Debug for EventWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventWriter").finish_non_exhaustive()
    }
}

impl<W: Write> EventWriter<W> {
    /// Writes to `out`, a line at a time.
    #[must_use]
    pub fn new(out: W) -> Self {
        let frame = FrameEvent {
            t_ms: 0.0,
            objects: Vec::with_capacity(crate::tracker::MAX_OBJECTS + 1),
            voice: Voice::None,
            offset_ms: None,
            offset_confidence: 0.0,
            sync: None,
        };
        Self { out, line: Vec::with_capacity(4096), event: Event::Frame(frame) }
    }

    /// Writes the header.
    ///
    /// # Errors
    /// Of the writer.
    pub fn header(&mut self, header: Header) -> io::Result<()> {
        self.write(&Event::Header(header))
    }

    /// Writes one slot.
    ///
    /// # Errors
    /// Of the writer.
    pub fn report(&mut self, report: &Report<'_>) -> io::Result<()> {
        if let Event::Frame(frame) = &mut self.event {
            frame.fill(report);
        }
        self.line.clear();
        serde_json::to_writer(&mut self.line, &self.event)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    /// Writes the summary and flushes.
    ///
    /// # Errors
    /// Of the writer.
    pub fn summary(&mut self, summary: Summary) -> io::Result<()> {
        self.write(&Event::Summary(summary))?;
        self.out.flush()
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, event)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    /// Hands what was written so far on (for readers at the other end of a pipe).
    ///
    /// # Errors
    /// Of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Gives the writer back.
    pub fn into_inner(self) -> W {
        self.out
    }
}

/// A histogram of times in steps of 0.5 ms up to ten seconds: percentiles without memory of every value.
#[derive(Clone, Debug)]
pub struct Histogram {
    bins: Vec<u32>,
    count: u64,
    sum: TimeDelta,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; 20_000], count: 0, sum: TimeDelta::ZERO }
    }
}

impl Histogram {
    const STEP_NS: i64 = 500_000;

    /// Counts a time; longer ones than ten seconds count as ten.
    pub fn push(&mut self, t: TimeDelta) {
        let bin = usize::try_from(t.ns().div_euclid(Self::STEP_NS)).unwrap_or(0).min(self.bins.len() - 1);
        self.bins[bin] = self.bins[bin].saturating_add(1);
        self.count += 1;
        self.sum = self.sum + t;
    }

    /// The time, ms, that `share` (0…1) of the counted ones do not exceed; `None` when nothing was counted.
    #[must_use]
    #[expect(clippy::cast_sign_loss, reason = "a share of a count")]
    pub fn percentile_ms(&self, share: f64) -> Option<f64> {
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.bins
            .iter()
            .position(|&n| {
                seen += u64::from(n);
                seen >= rank
            })
            .map(|bin| (bin as f64 + 1.0) * Self::STEP_NS as f64 / 1e6)
    }

    /// Mean, ms; `None` when nothing was counted.
    #[must_use]
    pub fn mean_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.as_ms_f64() / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_format_is_the_contract() {
        let mut event = Event::Frame(FrameEvent {
            t_ms: 40.0,
            objects: vec![ObjectEvent {
                id: 3,
                x: 1.0,
                y: 2.0,
                w: 3.0,
                h: 4.0,
                score: 0.5,
                speaking: true,
                state: TrackState::Confirmed,
            }],
            voice: Voice::OnScreen,
            offset_ms: None,
            offset_confidence: 0.0,
            sync: None,
        });
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"type":"frame","t_ms":40.0,"objects":[{"id":3,"x":1.0,"y":2.0,"w":3.0,"h":4.0,"score":0.5,"speaking":true,"state":"confirmed"}],"voice":"on-screen","offset_ms":null,"offset_confidence":0.0}"#
        );
        let correction = Correction {
            applied: TimeDelta::from_ns(41_260_000),
            target: TimeDelta::from_ms(-500),
            wanted: TimeDelta::from_ms(-580),
            state: SyncState::Clamped,
        };
        if let Event::Frame(frame) = &mut event {
            frame.objects.clear();
            frame.sync = Some(correction.into());
        }
        let line = serde_json::to_string(&event).unwrap();
        let end = r#""offset_confidence":0.0,"sync":{"state":"clamped","applied_ms":41.3,"target_ms":-500.0}}"#;
        assert!(line.ends_with(end), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        for (voice, word) in [(Voice::None, "none"), (Voice::OffScreen, "off-screen"), (Voice::Ambiguous, "ambiguous")]
        {
            assert_eq!(serde_json::to_string(&voice).unwrap(), format!("\"{word}\""));
        }
    }

    #[test]
    fn percentiles() {
        let mut h = Histogram::default();
        assert_eq!(h.percentile_ms(0.5), None);
        for ms in 1..=100 {
            h.push(TimeDelta::from_ms(ms));
        }
        h.push(TimeDelta::from_ms(1_000_000));
        assert_eq!(h.percentile_ms(0.5), Some(51.5));
        assert_eq!(h.percentile_ms(0.99), Some(100.5));
        assert_eq!(h.percentile_ms(1.0), Some(10_000.0));
    }
}
