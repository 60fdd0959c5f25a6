//! The session: the one loop that calls the stages, in the order a frame meets them.
//!
//! ```text
//! push_frame ─┐                ┌─ VideoEmbedder ─┬─ Attention ─ PeakPicker ─ Tracker ─ SpeakingDecider ─▶ pull
//!             ├─ Aligner ── slot ─ MotionEstimator ┤       └─ OffsetEstimator
//! push_audio ─┘                └─ AudioEmbedder ──┘
//!                                 VoiceActivity
//! ```
//!
//! Everything is causal: a report never changes, and it is given [`Session::latency`] after its slot begins. After
//! the first slots nothing allocates.

use crate::align::{AlignCounters, Aligner, AvWindow, SLOT_SAMPLES, Want};
use crate::asd::{Speaker, SpeakingConfig, SpeakingDecider, Voice};
use crate::attention::{Attention, AttentionConfig, AttentionMap};
use crate::audio::AudioWindow;
use crate::av_offset::{AvOffset, OffsetEstimator};
use crate::correct::Correction;
use crate::embed::{AudioEmbedder, VideoEmbedder};
use crate::frame::{Frame, Luma};
use crate::geometry::{MapGeometry, PxPoint};
use crate::motion::MotionConfig;
use crate::motion_thread::MotionThread;
use crate::net::{Backend, Engine, NetError};
use crate::peaks::{PeakConfig, PeakPicker};
use crate::sync_meter::{Judged, Stretch, SyncMeter, SyncMeterConfig};
use crate::time::{SLOT, TimeDelta, Timestamp};
use crate::tracker::{Tracker, TrackerConfig};
use crate::voice::{VoiceActivity, VoiceConfig};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// So many failed slots in a row end the session: the engine is broken, not the window.
const FAILURES_IN_A_ROW: u32 = 25;
/// From this confidence on, the attention follows the measured offset.
const FOLLOW_CONFIDENCE: f32 = 0.99;

/// Parameters of all stages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionConfig {
    /// Height of the network's picture, pixels; the engine's own where not given. Larger finds smaller faces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_height: Option<usize>,
    /// Motion of the picture, and cuts.
    pub motion: MotionConfig,
    /// Attention.
    pub attention: AttentionConfig,
    /// Peaks.
    pub peaks: PeakConfig,
    /// Tracking.
    pub tracker: TrackerConfig,
    /// Voice activity.
    pub voice: VoiceConfig,
    /// Speaking.
    pub speaking: SpeakingConfig,
    /// The sync meter, where the offset is to be measured finely; it costs about as much as the attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncMeterConfig>,
}

impl SessionConfig {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// Names the field, its value and its range.
    pub fn validate(&self) -> Result<(), String> {
        let unit = 0.0..=1.0;
        let checks = [
            ("motion.valid_share", self.motion.valid_share, unit.clone()),
            ("motion.cut_valid_share", self.motion.cut_valid_share, unit.clone()),
            ("motion.cut_correlation", self.motion.cut_correlation, -1.0..=1.0),
            ("attention.memory_ms", self.attention.memory_ms, 40.0..=20_000.0),
            ("attention.own_share", self.attention.own_share, unit.clone()),
            ("attention.expected_ms", self.attention.expected_ms, -600.0..=600.0),
            ("attention.spread_ms", self.attention.spread_ms.unwrap_or(40.0), 10.0..=10_000.0),
            ("peaks.min_logit", self.peaks.min_logit, -20.0..=20.0),
            ("peaks.radius_share", self.peaks.radius_share, unit.clone()),
            ("tracker.reach_share", self.tracker.reach_share, unit.clone()),
            ("tracker.apart_share", self.tracker.apart_share, unit.clone()),
            ("tracker.begin_logit", self.tracker.begin_logit, -20.0..=20.0),
            ("tracker.confirm_logit", self.tracker.confirm_logit, -20.0..=20.0),
            ("tracker.visible_likeness", self.tracker.visible_likeness, -1.0..=1.0),
            ("tracker.likeness", self.tracker.likeness, -1.0..=1.0),
            ("tracker.own_offset", self.tracker.own_offset, 0.0..=10.0),
            ("tracker.own_offset_s", self.tracker.own_offset_s, 0.0..=8.0),
            ("tracker.smoothing", self.tracker.smoothing, unit.clone()),
            ("tracker.move_logit", self.tracker.move_logit, -20.0..=20.0),
            ("voice.min_dbfs", self.voice.min_dbfs, -120.0..=0.0),
            ("voice.above_floor_db", self.voice.above_floor_db, 0.0..=60.0),
            ("voice.floor_rise_db_per_s", self.voice.floor_rise_db_per_s, 0.0..=60.0),
            ("speaking.on_probability", self.speaking.on_probability, unit.clone()),
            ("speaking.off_probability", self.speaking.off_probability, unit),
            ("speaking.margin", self.speaking.margin, 0.0..=10.0),
            ("speaking.calibration.slope", self.speaking.calibration.slope, 0.01..=100.0),
            ("speaking.calibration.bias", self.speaking.calibration.bias, -100.0..=100.0),
        ];
        for (name, value, range) in checks {
            if !range.contains(&value) {
                return Err(format!("{name} = {value} is out of range ({} to {})", range.start(), range.end()));
            }
        }
        if self.speaking.off_probability > self.speaking.on_probability {
            return Err(format!(
                "speaking.off_probability = {} is above speaking.on_probability = {}: it would flicker",
                self.speaking.off_probability, self.speaking.on_probability
            ));
        }
        if self.attention.smoothing > 8 {
            return Err(format!("attention.smoothing = {} is out of range (0 to 8)", self.attention.smoothing));
        }
        let times = [
            ("tracker.confirm_ms", self.tracker.confirm_ms),
            ("tracker.lost_after_ms", self.tracker.lost_after_ms),
            ("tracker.proven_ms", self.tracker.proven_ms),
            ("tracker.hidden_after_ms", self.tracker.hidden_after_ms),
            ("tracker.forget_after_ms", self.tracker.forget_after_ms),
            ("voice.hold_ms", self.voice.hold_ms),
            ("speaking.on_ms", self.speaking.on_ms),
            ("speaking.off_ms", self.speaking.off_ms),
            ("speaking.off_screen_after_ms", self.speaking.off_screen_after_ms),
            ("speaking.still_after_ms", self.speaking.still_after_ms),
        ];
        for (name, ms) in times {
            if !(0..=600_000).contains(&ms) {
                return Err(format!("{name} = {ms} is out of range (0 to 600000)"));
            }
        }
        if let Some(h) = self.net_height
            && !(32..=2160).contains(&h)
        {
            return Err(format!("net_height = {h} is out of range (32 to 2160)"));
        }
        Ok(())
    }
}

/// Size and shape of the source picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceFormat {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Width of a pixel over its height.
    pub pixel_aspect: f64,
}

/// What the session says of one slot.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// When the slot begins, running time.
    pub start: Timestamp,
    /// The objects and whether they speak.
    pub speakers: &'a [Speaker],
    /// What the sound is.
    pub voice: Voice,
    /// The offset between sound and picture, once there is an estimate.
    pub offset: Option<AvOffset>,
    /// What is done about the offset in the output. `None` from a session, which only measures.
    pub correction: Option<Correction>,
    /// The attention behind it.
    pub map: AttentionMap<'a>,
    /// What the network saw.
    pub seen: Seen<'a>,
    /// A stretch of the sync meter that has just been finished; it ended [`SyncMeter::reach`] ago.
    pub stretch: Option<&'a Stretch>,
}

/// The picture of a slot as the video network sees it. Borrowed: it costs nothing who does not look.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Unit vectors `[dim, rows, cols]`, in the geometry of [`Report::map`]; empty where there was none.
    pub embeddings: &'a [f32],
    /// A new shot begins with this slot.
    pub cut: bool,
}

impl Seen<'_> {
    /// The unit vector `[dim]` at a place of the source picture, by the nearest cell. False, and `out` untouched, where the network saw
    /// nothing or `out` is of another size.
    pub fn embedding_into(&self, geometry: &MapGeometry, place: PxPoint, out: &mut [f32]) -> bool {
        let cells = geometry.cells();
        if self.embeddings.is_empty() || self.embeddings.len() != out.len() * cells {
            return false;
        }
        let i = geometry.nearest(place);
        for (o, plane) in out.iter_mut().zip(self.embeddings.chunks_exact(cells)) {
            *o = plane[i];
        }
        true
    }
}

/// What the session did, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// The aligner's account.
    pub align: AlignCounters,
    /// Slots whose network run failed; they count as "can't tell".
    pub failed: u64,
    /// Slots that a jump of the programme cut off before their answer.
    pub cut_off: u64,
    /// Slots told without a run of the video network, for want of time.
    pub shed: u64,
    /// Ids given to objects.
    pub objects: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    start: Timestamp,
    voiced: bool,
    moved: bool,
    /// As in [`AvWindow::picture_lag`].
    picture_lag: TimeDelta,
}

/// All stages after alignment.
#[derive(Debug)]
struct Stages {
    video: VideoEmbedder,
    motion: MotionThread,
    audio: AudioEmbedder,
    voice: VoiceActivity,
    attention: Attention,
    peaks: PeakPicker,
    tracker: Tracker,
    decider: SpeakingDecider,
    offset: OffsetEstimator,
    meter: Option<SyncMeter>,
    /// Slots that wait for their sound vector.
    waiting: VecDeque<Slot>,
    empty_map: Vec<f32>,
    empty_sound: Vec<f32>,
    dim: usize,
    failed: u64,
    failed_in_a_row: u32,
    cut_off: u64,
    /// The video network is not run for the slots to come.
    shedding: bool,
    shed: u64,
}

/// A session over one source.
#[derive(Debug)]
pub struct Session<P> {
    aligner: Aligner<P>,
    stages: Stages,
    ended: (bool, bool),
}

impl<P: Luma> Session<P> {
    /// Opens the engine for a source. `max_lead`: see [`Aligner::new`].
    ///
    /// # Errors
    /// When a network can't be opened.
    pub fn new(
        engine: &Engine,
        backend: &dyn Backend,
        source: SourceFormat,
        config: &SessionConfig,
        max_lead: Option<TimeDelta>,
    ) -> Result<Self, NetError> {
        let m = &engine.manifest;
        let size = (source.width, source.height);
        let video = VideoEmbedder::new(engine, backend, size, source.pixel_aspect, config.net_height)?;
        let audio = AudioEmbedder::new(engine, backend)?;
        let geometry = video.geometry();
        // Slots that wait for their vectors: the networks' latency, and the one that has just come.
        let most_waiting = latency_slots(engine) + 2;
        Ok(Self {
            aligner: Aligner::new(max_lead),
            stages: Stages {
                attention: Attention::new(&config.attention, &m.score, geometry, m.dim, m.video.slots.div_euclid(2)),
                motion: MotionThread::new(&config.motion, video.net_size(), m.video.stride, most_waiting)
                    .map_err(NetError::Thread)?,
                peaks: PeakPicker::new(&config.peaks, geometry.cells()),
                tracker: Tracker::new(&config.tracker),
                decider: SpeakingDecider::new(&config.speaking),
                offset: OffsetEstimator::new(&m.score),
                meter: config
                    .sync
                    .as_ref()
                    .map(|c| SyncMeter::new(c, geometry, m.dim, m.audio.steps_per_slot, m.score.scale)),
                voice: VoiceActivity::new(&config.voice),
                waiting: VecDeque::with_capacity(most_waiting),
                empty_map: vec![0.0; m.dim * geometry.cells()],
                empty_sound: vec![0.0; m.dim * m.audio.steps_per_slot],
                dim: m.dim,
                video,
                audio,
                failed: 0,
                failed_in_a_row: 0,
                cut_off: 0,
                shedding: false,
                shed: 0,
            },
            ended: (false, false),
        })
    }

    /// Takes a frame; see [`Aligner::push_frame`].
    pub fn push_frame(&mut self, frame: Frame<P>) {
        self.aligner.push_frame(frame);
    }

    /// Takes sound; see [`Aligner::push_audio`].
    pub fn push_audio(&mut self, window: AudioWindow<'_>) {
        self.aligner.push_audio(window);
    }

    /// The source says that there is no sound up to `until`.
    pub fn audio_silent_until(&mut self, until: Timestamp) {
        self.aligner.audio_silent_until(until);
    }

    /// No more frames will come.
    pub fn end_video(&mut self) {
        self.aligner.end_video();
        self.ended.0 = true;
    }

    /// No more sound will come.
    pub fn end_audio(&mut self) {
        self.aligner.end_audio();
        self.ended.1 = true;
    }

    /// Which stream the next report waits for.
    #[must_use]
    pub fn want(&self) -> Want {
        self.aligner.want()
    }

    /// The next report, or `None` until more has been pushed. After both ends the last slots come out.
    ///
    /// # Errors
    /// When the engine fails for a second on end; single failures are counted and passed over.
    pub fn pull(&mut self) -> Result<Option<Report<'_>>, NetError> {
        while !self.stages.ready() {
            if let Some(window) = self.aligner.pull() {
                self.stages.step(window)?;
            } else if self.ended == (true, true) && !self.stages.waiting.is_empty() {
                self.stages.step_past_the_end()?;
            } else {
                return Ok(None);
            }
        }
        Ok(self.stages.finish_slot())
    }

    /// After the last report of an ended stream: what the sync meter had begun of a stretch, if it is half of one.
    pub fn last_stretch(&mut self) -> Option<&Stretch> {
        let meter = self.stages.meter.as_mut()?;
        meter.end();
        meter.pull()
    }

    /// From the start of a slot to its report, in stream time: what must have arrived before it can be told.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        self.aligner.latency() + self.stages.latency()
    }

    /// The map's place over the source picture.
    #[must_use]
    pub fn geometry(&self) -> MapGeometry {
        self.stages.video.geometry()
    }

    /// The next object is number `used + 1`: ids go on from an earlier session of the same run.
    pub fn give_ids_from(&mut self, used: u64) {
        self.stages.tracker.give_ids_from(u32::try_from(used).unwrap_or(u32::MAX - 1));
    }

    /// [`SpeakingConfig::set_threshold`], from the next slot that is pulled on.
    pub fn set_threshold(&mut self, on_probability: f32) {
        self.stages.decider.set_threshold(on_probability);
    }

    /// Whether the video network, by far the dearest stage, is left out from the next slot on: the analysis is behind, and a live
    /// source does not wait. Every slot is still told, by the sound, the motion and the last map there is; they are counted.
    pub fn set_shedding(&mut self, shedding: bool) {
        self.stages.shedding = shedding;
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> SessionCounters {
        SessionCounters {
            align: self.aligner.counters(),
            failed: self.stages.failed,
            cut_off: self.stages.cut_off,
            shed: self.stages.shed,
            objects: u64::from(self.stages.tracker.ids_given()),
        }
    }

    /// Forgets the stream (after a seek, say); counters and ids go on.
    pub fn reset(&mut self) {
        self.aligner.reset();
        self.stages.reset();
        self.ended = (false, false);
    }
}

impl Stages {
    fn step<P: Luma>(&mut self, window: AvWindow<'_, P>) -> Result<(), NetError> {
        if window.discont {
            self.cut_off += self.waiting.len() as u64;
            self.reset();
        }
        self.video.push(window.picture);
        self.motion.push(self.video.picture(), self.video.moved());
        let video = if self.shedding {
            self.shed += 1;
            Ok(self.video.hold())
        } else {
            self.video.run()
        };
        self.voice.push(window.samples);
        let voiced = self.voice.pull().unwrap_or(false) && !window.sound_lost;
        let (start, moved, picture_lag) = (window.start, self.video.moved(), window.picture_lag);
        self.waiting.push_back(Slot { start, voiced, moved, picture_lag });
        let audio = self.audio.push(window.samples);
        self.hand_on(video, audio)
    }

    /// After the end of the stream: the last picture stays and the sound is silence, until every slot has its answer.
    fn step_past_the_end(&mut self) -> Result<(), NetError> {
        self.video.repeat();
        let video = self.video.run();
        let audio = self.audio.push(&[0.0; SLOT_SAMPLES]);
        self.hand_on(video, audio)
    }

    fn hand_on(&mut self, video: Result<bool, NetError>, audio: Result<bool, NetError>) -> Result<(), NetError> {
        let mut failure = None;
        // A failed run leaves its slot empty (no agreement anywhere), so that the slots after it stay in step.
        match video {
            Ok(false) => {}
            Ok(true) => self.attention.push_map(self.video.pull().unwrap_or(&self.empty_map)),
            Err(e) => {
                self.attention.push_map(&self.empty_map);
                failure = Some(e);
            }
        }
        let heard = match audio {
            Ok(heard) => heard,
            Err(e) => {
                failure = Some(e);
                true
            }
        };
        if heard {
            let sound = self.audio.pull().unwrap_or(&self.empty_sound);
            // Attention looks at slots: the first of a slot's vectors stands for its beginning.
            self.attention.push_sound(&sound[..self.dim]);
            if let Some(meter) = &mut self.meter {
                meter.push_sound(sound);
            }
        }
        let Some(error) = failure else {
            self.failed_in_a_row = 0;
            return Ok(());
        };
        self.failed += 1;
        self.failed_in_a_row += 1;
        if self.failed_in_a_row >= FAILURES_IN_A_ROW { Err(error) } else { Ok(()) }
    }

    fn ready(&self) -> bool {
        !self.waiting.is_empty() && self.attention.ready()
    }

    fn finish_slot(&mut self) -> Option<Report<'_>> {
        let slot = self.waiting.pop_front()?;
        let motion = self.motion.pull()?;
        self.attention.advance(motion)?;
        if slot.voiced {
            self.offset.push(self.attention.offset_curve(), slot.picture_lag);
        }
        let offset = self.offset.pull();
        if let Some(o) = offset
            && o.confidence >= FOLLOW_CONFIDENCE
        {
            self.attention.set_offset(o.on_the_slots);
        }
        if let Some(meter) = &mut self.meter {
            let times = (slot.start, slot.picture_lag);
            meter.push_map(times, self.attention.last_map(), motion, slot.voiced);
        }
        let attended = self.attention.map(slot.start, motion);
        self.peaks.push(&attended);
        self.tracker.push(self.peaks.pull()?, &attended, slot.voiced);
        self.decider.push(self.tracker.pull()?, slot.voiced, slot.moved);
        let (speakers, voice) = self.decider.pull()?;
        let mut stretch = None;
        if let Some(meter) = &mut self.meter {
            for s in speakers {
                let cell = attended.map.geometry.to_cell(s.object.rect.centre);
                meter.judge(Judged { cell, probability: s.probability });
            }
            meter.advance();
            stretch = meter.pull();
        }
        let map = attended.map;
        let seen = Seen { embeddings: attended.embeddings, cut: motion.cut };
        Some(Report { start: slot.start, speakers, voice, offset, correction: None, map, seen, stretch })
    }

    fn latency(&self) -> TimeDelta {
        self.video.latency().max(self.audio.latency())
    }

    fn reset(&mut self) {
        self.video.reset();
        self.motion.reset();
        self.audio.reset();
        self.voice.reset();
        self.attention.reset();
        self.peaks.reset();
        self.tracker.reset();
        self.decider.reset();
        self.offset.reset();
        if let Some(meter) = &mut self.meter {
            meter.reset();
        }
        self.waiting.clear();
    }
}

/// The algorithmic latency of any session with this engine, without opening it.
#[must_use]
pub fn declared_latency(engine: &Engine) -> TimeDelta {
    SLOT * (1 + i64::try_from(latency_slots(engine)).unwrap_or(i64::MAX))
}

/// Slots from a picture to its map, or from a slot's sound to its vector, whichever is more.
fn latency_slots(engine: &Engine) -> usize {
    let m = &engine.manifest;
    m.video.slots.div_euclid(2).max(m.audio.context_slots + 1)
}
