//! Live lip-sync correction in the pipeline: what the analysis decided, done to picture and sound on their way out.
//!
//! ```text
//! video tee ─┬─ appsink ▶ analysis ─▶ SyncCorrector ─▶ SyncCurve (10 s of it, over running time)
//!            └─ queue ─ overlay ─[delay_picture]─ tee ─▶ file, display     │ read by both
//! audio tee ─┬─ 16 kHz mono ─ appsink ▶ analysis (before the delays: no loop)
//!            └─ F32LE ─[delay_sound]─ tee ─▶ file, display
//! ```
//!
//! The picture's **time stamps** move, the sound's **content** does (older samples under the same stamps): no buffer is
//! ever later than its stamp says, so that nothing is dropped behind, and no latency changes. A picture that is stamped
//! ahead waits in a queue, which must have the room ([`crate::output`]).
//!
//! Both streams ask for the curve `lag` before their own time, when it has long been decided: the newest value would
//! move in steps of a slot, 0.4 ms in one sound buffer (4 % of speed) and nothing in the next three; and the streams,
//! which reach their places at different moments, would not get the same.

use crate::time::{clock_time, timestamp};
use gst::prelude::*;
use seehear::audio_delay::AudioDelay;
use seehear::correct::SyncConfig;
use seehear::time::{SLOT, SampleRate, TimeDelta, Timestamp};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Slots kept: 10 s, more than any lag.
const KEPT: usize = 256;
/// How much later than a live picture's longest wait for its result the correction is asked for: sources with jitter
/// buffers, an analysis that is behind for a moment.
const SPARE: TimeDelta = TimeDelta::from_ms(1_000);
/// A hole in the sound's time stamps above this is filled; below, it is the jitter of a network source's stamps.
const HOLE: TimeDelta = TimeDelta::from_ms(40);
/// Bytes of a sample.
const F32: usize = 4;

/// What a run does about the offset between picture and sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// It is not told.
    Off,
    /// It is told, and left as it is.
    #[default]
    Measure,
    /// It is told, and what is written or shown is corrected. Live pipelines only.
    Correct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    at: Timestamp,
    /// > 0: the picture is delayed; < 0: the sound.
    applied: TimeDelta,
    /// Steps of the operator so far: between two points that differ in it there is a jump and no slope.
    steps: u32,
}

/// The correction over running time: posted slot by slot by the analysis, read by the streams.
#[derive(Debug)]
pub struct SyncCurve {
    points: Mutex<VecDeque<Point>>,
    lag: TimeDelta,
    /// ns of correction per second of programme at most, where the reader has fallen behind the curve.
    fastest: i64,
}

impl SyncCurve {
    /// An empty curve: no correction. `wait`: how long a live picture may wait for its result.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "50 ms at most")]
    pub fn new(config: &SyncConfig, wait: TimeDelta) -> Self {
        Self {
            points: Mutex::new(VecDeque::with_capacity(KEPT)),
            lag: wait + SPARE,
            fastest: (f64::from(config.acquire_ms_per_s) * 1e6) as i64,
        }
    }

    /// From a slot to the pictures and the sound that go out with its correction, in stream time.
    #[must_use]
    pub fn lag(&self) -> TimeDelta {
        self.lag
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Point>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The correction at the end of a slot. `stepped`: it is taken at once, not gone over to.
    pub fn post(&self, slot_end: Timestamp, applied: TimeDelta, stepped: bool) {
        let mut points = self.lock();
        let steps = points.back().map_or(0, |p| p.steps) + u32::from(stepped);
        if points.back().is_some_and(|p| p.at >= slot_end) {
            // The time line went back: what was decided for the other one does not count here.
            points.clear();
        }
        if points.len() == KEPT {
            points.pop_front();
        }
        points.push_back(Point { at: slot_end, applied, steps });
    }

    /// A new programme: nothing is decided of it.
    pub(crate) fn restart(&self) {
        self.lock().clear();
    }

    /// The correction at a time: between two slots on the straight line, before the first and after the last the nearest.
    fn at(&self, t: Timestamp) -> Point {
        let points = self.lock();
        let none = Point { at: t, applied: TimeDelta::ZERO, steps: 0 };
        let after = points.partition_point(|p| p.at <= t);
        let (Some(a), Some(b)) = (after.checked_sub(1).and_then(|i| points.get(i)), points.get(after)) else {
            return points.front().filter(|p| p.at > t).or(points.back()).copied().unwrap_or(none);
        };
        let length = b.at - a.at;
        if a.steps != b.steps || length > SLOT {
            return *b;
        }
        let part = i128::from((b.applied - a.applied).ns()) * i128::from((t - a.at).ns());
        let part = i64::try_from(part.div_euclid(i128::from(length.ns()))).unwrap_or(0);
        Point { at: t, applied: a.applied + TimeDelta::from_ns(part), steps: a.steps }
    }
}

/// One stream's way along the curve.
#[derive(Debug, Default)]
struct Follower(Option<Point>);

impl Follower {
    /// The correction at `t` of the stream. The curve where that is known; where the analysis was too slow for it, held,
    /// and then caught up with no faster than the correction ever moves.
    fn follow(&mut self, curve: &SyncCurve, t: Timestamp) -> TimeDelta {
        let mut now = Point { at: t, ..curve.at(Timestamp::ZERO + (t - Timestamp::ZERO - curve.lag)) };
        // A stream that went back meets steps that it has taken: they are none to it.
        if let Some(before) = self.0
            && before.steps >= now.steps
        {
            now.steps = before.steps;
            let passed = i128::from((t - before.at).max(TimeDelta::ZERO).ns());
            let most = i64::try_from((i128::from(curve.fastest) * passed).div_euclid(1_000_000_000));
            let most = TimeDelta::from_ns(most.unwrap_or(i64::MAX));
            now.applied = before.applied + (now.applied - before.applied).clamp(-most, most);
        }
        self.0 = Some(now);
        now.applied
    }
}

/// Running time of a time stamp at a pad.
fn running(pad: &gst::Pad, t: gst::ClockTime) -> Option<Timestamp> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(t).map(timestamp)
}

#[derive(Debug, Default)]
struct Pictures {
    follower: Follower,
    /// Running times of the last picture, as it came and as it went.
    last: Option<(Timestamp, Timestamp)>,
}

impl Pictures {
    /// How much later a picture goes; `None`: it must not go, because a step took more delay off than time has passed
    /// since the picture before it.
    fn delay(&mut self, curve: &SyncCurve, t: Timestamp) -> Option<TimeDelta> {
        let delay = self.follower.follow(curve, t).max(TimeDelta::ZERO);
        let goes = t + delay;
        // A source that itself goes back is no business of ours.
        if self.last.is_some_and(|(came, went)| t > came && goes <= went) {
            return None;
        }
        self.last = Some((t, goes));
        Some(delay)
    }
}

/// From now on the pictures that pass `pad`, a source pad, are stamped later by what the curve says. `left_out` counts
/// those that a step of the operator leaves no time for.
pub fn delay_picture(pad: &gst::Pad, curve: &Arc<SyncCurve>, left_out: &Arc<AtomicU64>) {
    let (curve, left_out) = (Arc::clone(curve), Arc::clone(left_out));
    let pictures = Mutex::new(Pictures::default());
    let delay = move |pad: &gst::Pad, pts: Option<gst::ClockTime>| {
        let Some(t) = pts.and_then(|t| running(pad, t)) else { return Some(TimeDelta::ZERO) };
        pictures.lock().unwrap_or_else(PoisonError::into_inner).delay(&curve, t)
    };
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_BOTH;
    pad.add_probe(types, move |pad, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => match delay(pad, buffer.pts()) {
                Some(d) if d > TimeDelta::ZERO => {
                    let b = buffer.make_mut();
                    b.set_pts(b.pts().map(|t| t + clock_time(d)));
                    b.set_dts(b.dts().map(|t| t + clock_time(d)));
                }
                Some(_) => {}
                None => {
                    left_out.fetch_add(1, Ordering::Relaxed);
                    // Taken out here: with Drop the bindings and GStreamer would both let go of the buffer.
                    info.data = None;
                    return gst::PadProbeReturn::Handled;
                }
            },
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                // A sink speaks of the later stamps: whoever stands before them would take its pictures for late.
                gst::EventView::Qos(_) => {
                    info.data = None;
                    return gst::PadProbeReturn::Handled;
                }
                gst::EventView::Gap(gap) => {
                    let (start, length) = gap.get();
                    if let Some(d) = delay(pad, Some(start)) {
                        *event = gst::event::Gap::builder(start + clock_time(d))
                            .duration(length)
                            .seqnum(event.seqnum())
                            .build();
                    }
                }
                _ => {}
            },
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// The sound that passes: its delay line, and where its time stamps have come to.
#[derive(Debug)]
struct Sound {
    line: AudioDelay,
    rate: SampleRate,
    channels: usize,
    follower: Follower,
    /// Where the last buffer ended: running time, and the time stamp for it.
    end: Option<(Timestamp, gst::ClockTime)>,
    samples: Vec<f32>,
    delayed: Vec<f32>,
}

impl Sound {
    fn new(caps: &gst::CapsRef, max_delay: TimeDelta) -> Result<Self, String> {
        let s = caps.structure(0).ok_or("sound of no kind")?;
        let number = |field| s.get::<i32>(field).ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let rate = SampleRate::new(number("rate")).ok_or("sound without a sample rate")?;
        let channels = usize::try_from(number("channels")).unwrap_or(0);
        Ok(Self {
            line: AudioDelay::new(rate, channels, max_delay).map_err(|e| e.to_string())?,
            rate,
            channels,
            follower: Follower::default(),
            end: None,
            samples: Vec::new(),
            delayed: Vec::new(),
        })
    }

    fn length_of(&self, bytes: usize) -> TimeDelta {
        let frames = bytes.checked_div(F32 * self.channels).unwrap_or(0);
        self.rate.time_of(i64::try_from(frames).unwrap_or(0))
    }

    /// So much silence, stamped `from`.
    fn silence(&self, from: gst::ClockTime, length: TimeDelta) -> gst::Buffer {
        let frames = usize::try_from(self.rate.index_at(length)).unwrap_or(0);
        let mut buffer = gst::Buffer::from_mut_slice(vec![0_u8; frames * self.channels * F32]);
        if let Some(b) = buffer.get_mut() {
            b.set_pts(from);
            b.set_duration(clock_time(self.length_of(b.size())));
        }
        buffer
    }

    /// What is in the line at a hole that begins where the last buffer ended: it is to sound in the hole. As a buffer of
    /// silence, which pushes it out.
    fn owed(&self, until: Timestamp) -> Option<gst::Buffer> {
        let (end, stamp) = self.end?;
        let hole = until - end;
        let owed = self.line.delay().min(hole);
        (hole > HOLE && owed > TimeDelta::ZERO).then(|| self.silence(stamp, owed)).filter(|b| b.size() > 0)
    }

    /// Puts the delayed sound in place of what came.
    fn take(&mut self, pad: &gst::Pad, buffer: &mut gst::Buffer, curve: &SyncCurve) -> Result<(), String> {
        let length = self.length_of(buffer.size());
        let stamp = buffer.pts().or(self.end.map(|(_, stamp)| stamp));
        let start = buffer.pts().and_then(|t| running(pad, t)).or(self.end.map(|(t, _)| t));
        // Outside its segment: it is not going to be heard.
        let (Some(start), Some(stamp)) = (start, stamp) else { return Ok(()) };
        self.end = Some((start + length, stamp + clock_time(length)));
        let map = buffer.map_readable().map_err(|e| e.to_string())?;
        self.samples.clear();
        self.samples.extend(map.chunks_exact(F32).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        drop(map);
        self.delayed.resize(self.samples.len(), 0.0);
        let delay = (-self.follower.follow(curve, start + length)).max(TimeDelta::ZERO);
        self.line.push(&self.samples, delay, &mut self.delayed).map_err(|e| e.to_string())?;
        // No delay: not a bit is touched, and nothing is copied.
        if self.samples.iter().zip(&self.delayed).all(|(a, b)| a.to_bits() == b.to_bits()) {
            return Ok(());
        }
        let b = buffer.make_mut();
        // A buffer of silence may now hold sound.
        b.unset_flags(gst::BufferFlags::GAP);
        let mut map = b.map_writable().map_err(|e| e.to_string())?;
        for (bytes, sample) in map.chunks_exact_mut(F32).zip(&self.delayed) {
            bytes.copy_from_slice(&sample.to_le_bytes());
        }
        Ok(())
    }
}

/// The caps that [`delay_sound`] wants at its pad.
#[must_use]
pub fn sound_caps() -> gst::Caps {
    gst::Caps::builder("audio/x-raw").field("format", "F32LE").field("layout", "interleaved").build()
}

/// From now on the sound that passes `pad`, a sink pad that gets [`sound_caps`], is delayed under its time stamps by what
/// the curve says, `max_delay` at most. Before a hole of the time stamps, and at the end of the stream, what is still owed
/// comes as one more buffer. Gap events pass as they are: demuxers announce gaps and then send the sound all the same,
/// so that only the next buffer's stamp tells.
pub fn delay_sound(pad: &gst::Pad, curve: &Arc<SyncCurve>, max_delay: TimeDelta) {
    let curve = Arc::clone(curve);
    let sound: Mutex<Option<Sound>> = Mutex::new(None);
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(types, move |pad, info| {
        // Not held while a buffer is pushed: that one comes by here too.
        let lock = || sound.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let start = buffer.pts().and_then(|t| running(pad, t));
                let owed = lock().as_ref().zip(start).and_then(|(s, start)| s.owed(start));
                send(pad, owed);
                let taken = lock().as_mut().map(|s| s.take(pad, buffer, &curve));
                if let Some(Err(why)) = taken {
                    fail(pad, &why);
                }
            }
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Caps(caps) => {
                    let mut sound = lock();
                    match Sound::new(caps.caps(), max_delay) {
                        // The same once more: the sound goes on.
                        Ok(new) if sound.as_ref().is_some_and(|s| (s.rate, s.channels) == (new.rate, new.channels)) => {
                        }
                        Ok(new) => *sound = Some(new),
                        Err(why) => fail(pad, &why),
                    }
                }
                gst::EventView::FlushStop(_) => {
                    if let Some(sound) = &mut *lock() {
                        sound.line.reset();
                        (sound.follower, sound.end) = (Follower::default(), None);
                    }
                }
                gst::EventView::Eos(_) => {
                    let owed = lock().as_ref().and_then(|s| s.owed(s.end?.0 + s.line.delay().max(HOLE * 2)));
                    send(pad, owed);
                }
                _ => {}
            },
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Puts a buffer in before what is at the pad just now.
fn send(pad: &gst::Pad, buffer: Option<gst::Buffer>) {
    if let Some(buffer) = buffer
        && let Err(e) = pad.chain(buffer)
    {
        // The branch has ended, or fails: what comes next tells.
        gst::debug!(gst::CAT_DEFAULT, obj = pad, "{e}");
    }
}

/// Sound that can't be delayed ends the run.
fn fail(pad: &gst::Pad, why: &str) {
    if let Some(element) = pad.parent_element() {
        gst::element_error!(element, gst::StreamError::Format, ["the sound can't be delayed: {}", why]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: TimeDelta = TimeDelta::from_ms(1_000);

    fn curve() -> SyncCurve {
        SyncCurve::new(&SyncConfig::default(), TimeDelta::ZERO)
    }

    fn us(us: i64) -> TimeDelta {
        TimeDelta::from_ns(us * 1_000)
    }

    fn at(curve: &SyncCurve, ms: i64) -> i64 {
        curve.at(Timestamp::from_ms(ms)).applied.ns().div_euclid(1_000)
    }

    #[test]
    fn the_curve_is_straight_between_slots_and_level_before_and_after() {
        let c = curve();
        assert_eq!(at(&c, 0), 0);
        for (ms, applied) in [(1_000, 0), (1_040, 400), (1_080, 800), (1_120, 800)] {
            c.post(Timestamp::from_ms(ms), us(applied), false);
        }
        for (ms, applied) in [(-5, 0), (1_000, 0), (1_010, 100), (1_040, 400), (1_070, 700), (1_100, 800), (9_000, 800)]
        {
            assert_eq!(at(&c, ms), applied, "{ms} ms");
        }
    }

    #[test]
    fn a_step_is_no_slope_and_a_slot_that_is_missing_none_either() {
        let c = curve();
        c.post(Timestamp::from_ms(1_000), us(0), false);
        c.post(Timestamp::from_ms(1_040), us(300_000), true);
        assert_eq!((at(&c, 1_000), at(&c, 1_001), at(&c, 1_040)), (300_000, 300_000, 300_000));
        c.post(Timestamp::from_ms(5_000), us(300_400), false);
        assert_eq!(at(&c, 2_000), 300_400);
    }

    #[test]
    fn a_time_line_that_goes_back_forgets_the_other_and_the_memory_is_bounded() {
        let c = curve();
        for k in 0..10_000 {
            c.post(Timestamp::from_ms(40 * k), us(k), false);
        }
        let kept = c.lock().len();
        assert_eq!(kept, KEPT);
        assert_eq!(at(&c, 0), 10_000 - 256);
        c.post(Timestamp::from_ms(40), us(7), false);
        assert_eq!((at(&c, 0), at(&c, 300_000)), (7, 7));
    }

    #[test]
    fn a_late_analysis_is_held_and_caught_up_with_no_faster_than_the_correction_moves() {
        let (c, mut f) = (curve(), Follower::default());
        c.post(Timestamp::from_ms(40), us(0), false);
        let mut follow = |ms: i64| f.follow(&c, Timestamp::from_ms(ms) + LAG).ns().div_euclid(1_000);
        assert_eq!((follow(20), follow(400)), (0, 0));
        for k in 2..=25 {
            c.post(Timestamp::from_ms(40 * k), us(400 * (k - 1)), false);
        }
        // It is at 0.4 s where 3.6 ms were due; 10 ms/s are allowed.
        assert_eq!((follow(440), follow(480)), (400, 800));
        assert_eq!((0..40).map(|k| follow(520 + 40 * k)).last(), Some(9_600), "the last that is known");
        c.post(Timestamp::from_ms(1_040), us(-50_000), true);
        assert_eq!(follow(2_000), -50_000, "a step is taken at once");
    }

    #[test]
    fn a_step_back_leaves_pictures_out_and_a_source_that_goes_back_does_not() {
        let (c, mut p) = (curve(), Pictures::default());
        let mut go = |ms: i64| p.delay(&c, Timestamp::from_ms(ms) + LAG).map(|d| (d.ns().div_euclid(1_000_000), ms));
        c.post(Timestamp::from_ms(40), us(200_000), false);
        assert_eq!([go(0), go(40)], [Some((200, 0)), Some((200, 40))]);
        c.post(Timestamp::from_ms(80), us(80_000), true);
        let gone: Vec<_> = (2..8).filter_map(|k| go(40 * k)).collect();
        // 240 ms is where the last went; 80 + 80 and 120 + 80 are before it, 160 + 80 is at it.
        assert_eq!(gone, [(80, 200), (80, 240), (80, 280)]);
        assert_eq!(go(-500), Some((80, -500)));
    }
}
