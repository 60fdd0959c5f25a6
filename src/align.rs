//! Alignment: pictures of any frame rate and sound in any chunks become one [`AvWindow`] per 40 ms slot.
//!
//! The picture of a slot is the one on the screen at the slot's middle, chosen by time stamp alone: 23.976, 25, 30, 60
//! fps and variable frame rates need no case of their own. A picture that stays is held; sound that is missing is
//! silence and marked. When both streams jump (an edit list, a restarted camera, a broken time stamp) the grid is
//! anchored anew and the window says so.

use crate::audio::{AudioCounters, AudioRing, AudioWindow};
use crate::frame::Frame;
use crate::time::{SLOT, SampleRate, SlotGrid, TimeDelta, Timestamp};
use std::collections::VecDeque;

/// Samples of 16 kHz sound in a slot.
pub const SLOT_SAMPLES: usize = 640;
/// [`SLOT_SAMPLES`] on the signed index line.
const SLOT_STEP: i64 = 640;
/// A picture older than this with no sound beside it is not held: the programme has jumped.
const JUMP: TimeDelta = TimeDelta::from_ms(2_000);
/// Sound held at most: enough for any muxer's interleaving that the queues before us let through.
const RING_SAMPLES: usize = 16_000 * 4;

/// One slot of picture and sound.
#[derive(Debug)]
pub struct AvWindow<'a, P> {
    /// When the slot begins, running time. Picture and sound below both stand for `start … start + 40 ms`.
    pub start: Timestamp,
    /// The picture on the screen at the slot's middle.
    pub picture: &'a P,
    /// How much older than the slot the picture is, from the middle of one to the middle of the other: where frames fall
    /// on the slots. A picture stands for the 40 ms from its time stamp on, or for its duration if that is less. What is
    /// seen is late by this, so an offset measured on the slots is too low by as much.
    pub picture_lag: TimeDelta,
    /// True if the previous window showed the very same frame.
    pub repeated: bool,
    /// The slot's sound, 16 kHz mono.
    pub samples: &'a [f32; SLOT_SAMPLES],
    /// True if some of the sound was lost and is silence here.
    pub sound_lost: bool,
    /// True if this window does not continue the one before: what was learnt from the past no longer holds.
    pub discont: bool,
}

/// What alignment did with its input, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlignCounters {
    /// Windows given out.
    pub slots: u64,
    /// Windows that showed the same frame again (source below 25 fps, or a gap).
    pub repeated: u64,
    /// Frames that no slot needed (source above 25 fps).
    pub unused: u64,
    /// Frames dropped because their time stamp was not after the one before.
    pub late: u64,
    /// Times that the grid was anchored anew.
    pub jumps: u64,
    /// The sound's own account.
    pub audio: AudioCounters,
}

/// Which stream the next window waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// A frame is needed.
    pub video: bool,
    /// Sound is needed.
    pub audio: bool,
}

/// The alignment stage. Push frames and sound as they come (each stream in its own order), pull windows.
#[derive(Debug)]
pub struct Aligner<P> {
    grid: Option<SlotGrid>,
    next: i64,
    held: Option<Frame<P>>,
    held_used: bool,
    pending: VecDeque<Frame<P>>,
    ring: AudioRing,
    /// Sound that begins further ahead than the ring reaches; laid down when the grid gets there.
    staged: Vec<f32>,
    staged_start: Timestamp,
    samples: Box<[f32; SLOT_SAMPLES]>,
    video_ended: bool,
    audio_ended: bool,
    discont: bool,
    max_lead: Option<TimeDelta>,
    counters: AlignCounters,
}

impl<P> Aligner<P> {
    /// `max_lead`: how far one stream may run ahead before the other counts as missing (its last picture is held, its
    /// sound is silence). Live sources need it; a file waits.
    #[must_use]
    pub fn new(max_lead: Option<TimeDelta>) -> Self {
        Self {
            grid: None,
            next: 0,
            held: None,
            held_used: false,
            pending: VecDeque::with_capacity(64),
            ring: AudioRing::new(Timestamp::ZERO, RING_SAMPLES),
            staged: Vec::with_capacity(RING_SAMPLES),
            staged_start: Timestamp::ZERO,
            samples: Box::new([0.0; SLOT_SAMPLES]),
            video_ended: false,
            audio_ended: false,
            discont: true,
            max_lead,
            counters: AlignCounters::default(),
        }
    }

    /// Takes a frame. Frames are in order of time; one that is not is dropped and counted, unless it is more than
    /// two seconds back, which is a jump.
    pub fn push_frame(&mut self, frame: Frame<P>) {
        let last = self.pending.back().or(self.held.as_ref()).map(|f| f.pts);
        match last {
            None if self.grid.is_none() => self.anchor(frame.pts),
            Some(t) if t - frame.pts > JUMP => {
                self.held = None;
                self.pending.clear();
                self.counters.jumps += 1;
                self.anchor(frame.pts);
            }
            Some(t) if frame.pts <= t => {
                self.counters.late += 1;
                return;
            }
            _ => {}
        }
        if let Some(lead) = self.max_lead
            && let Some(grid) = self.grid
            && frame.pts - grid.origin > lead
        {
            let due = SampleRate::ANALYSIS.index_at(frame.pts - grid.origin - lead);
            if self.staged.is_empty() && due > self.ring.end() && self.ring.room() > 0 {
                let room = i64::try_from(self.ring.room()).unwrap_or(0);
                self.ring.silence_until(due.min(self.ring.end() + room));
            }
        }
        self.pending.push_back(frame);
    }

    fn anchor(&mut self, origin: Timestamp) {
        self.grid = Some(SlotGrid { origin });
        self.next = 0;
        self.discont = true;
        self.ring.restart(origin);
        if !self.staged.is_empty() {
            self.lay_staged();
        }
    }

    /// Takes sound.
    pub fn push_audio(&mut self, window: AudioWindow<'_>) {
        let Some(grid) = self.grid else {
            // No picture yet, so no grid yet. The last moments are kept: they may belong to the first slots.
            self.stage(window);
            return;
        };
        if !self.staged.is_empty() {
            self.stage(window);
            return;
        }
        let ahead = SampleRate::ANALYSIS.index_at(window.start - grid.origin) - self.ring.end();
        let room = i64::try_from(self.ring.room()).unwrap_or(i64::MAX);
        let jump = SampleRate::ANALYSIS.index_at(JUMP);
        if ahead > jump || (self.max_lead.is_none() && ahead > room) {
            self.stage(window);
        } else if ahead < -jump {
            self.counters.jumps += 1;
            self.ring.restart(grid.origin);
            self.ring.silence_until(self.next * SLOT_STEP);
            self.ring.push(window);
        } else {
            self.ring.push(window);
        }
    }

    /// Sound that begins later than the ring reaches (or before there is a grid) waits here, contiguous.
    fn stage(&mut self, window: AudioWindow<'_>) {
        let end = self.staged_start + SampleRate::ANALYSIS.time_of(i64::try_from(self.staged.len()).unwrap_or(0));
        if self.staged.is_empty() || (window.start - end).abs() > crate::audio::GAP {
            self.staged.clear();
            self.staged_start = window.start;
        }
        self.staged.extend_from_slice(window.samples);
        let excess = self.staged.len().saturating_sub(RING_SAMPLES);
        if excess > 0 {
            self.staged.drain(..excess);
            self.staged_start = self.staged_start + SampleRate::ANALYSIS.time_of(i64::try_from(excess).unwrap_or(0));
        }
    }

    fn lay_staged(&mut self) {
        self.ring.push(AudioWindow { start: self.staged_start, samples: &self.staged, discont: true });
        self.staged.clear();
    }

    /// Says that there is no sound up to `until` (a gap event of the source).
    pub fn audio_silent_until(&mut self, until: Timestamp) {
        if let Some(grid) = self.grid
            && self.staged.is_empty()
        {
            let to = SampleRate::ANALYSIS.index_at(until - grid.origin);
            let room = i64::try_from(self.ring.room()).unwrap_or(0);
            self.ring.silence_until(to.min(self.ring.end() + room));
        }
    }

    /// No more frames will come: the last one is held to the end of the sound.
    pub fn end_video(&mut self) {
        self.video_ended = true;
    }

    /// No more sound will come: the rest is silence.
    pub fn end_audio(&mut self) {
        self.audio_ended = true;
    }

    /// What the next window waits for; neither when one is ready to pull.
    #[must_use]
    pub fn want(&self) -> Want {
        let Some(grid) = self.grid else {
            return Want { video: !self.video_ended, audio: false };
        };
        Want {
            video: !self.video_ended && !self.picture_known(grid),
            audio: !self.audio_ended && self.staged.is_empty() && self.ring.end() < (self.next + 1) * SLOT_STEP,
        }
    }

    fn picture_known(&self, grid: SlotGrid) -> bool {
        let centre = grid.centre(self.next);
        // The last frame not after the centre is decided once a later one is here, or once its own duration says so.
        if self.pending.back().is_some_and(|f| f.pts > centre) {
            return true;
        }
        let newest = self.pending.back().or(self.held.as_ref());
        let Some(newest) = newest else { return false };
        if newest.duration.is_some_and(|d| newest.pts + d > centre) {
            return true;
        }
        // A live picture that stalls is held while the sound goes on: not where it has ended, and only our own silence would.
        !self.audio_ended
            && self.max_lead.is_some_and(|lead| {
                grid.origin + SampleRate::ANALYSIS.time_of(self.ring.end()) - newest.pts > lead + SLOT
            })
    }

    /// The next window, or `None` until more has come.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the grid is anchored by the first frame, which is held from then on"
    )]
    pub fn pull(&mut self) -> Option<AvWindow<'_, P>> {
        let mut grid = self.grid?;
        if !self.video_ended && !self.picture_known(grid) {
            return None;
        }
        let mut need = (self.next + 1) * SLOT_STEP;
        if self.ring.end() < need && self.staged.is_empty() && !self.audio_ended {
            return None;
        }
        self.advance_picture(grid);
        if self.ring.end() < need {
            // Sound is known to be missing here. With no picture for long either, the programme has jumped.
            let shown = self.held.as_ref()?.pts;
            if let Some(next) = self.pending.front()
                && next.pts - shown > JUMP
            {
                let pts = next.pts;
                self.counters.jumps += 1;
                self.anchor(pts);
                grid = self.grid?;
                need = SLOT_STEP;
                self.advance_picture(grid);
                if self.ring.end() < need && self.staged.is_empty() && !self.audio_ended {
                    self.next = 0;
                    return None;
                }
            } else if self.finished(grid) {
                return None;
            }
            if !self.staged.is_empty() {
                let at = SampleRate::ANALYSIS.index_at(self.staged_start - grid.origin);
                if at <= need {
                    self.lay_staged();
                }
            }
            self.ring.silence_until(need);
        }
        let from = self.next * SLOT_STEP;
        let sound_lost = self.ring.read(from, &mut self.samples[..])?;
        self.ring.consume(from + SLOT_STEP);
        let repeated = self.held_used;
        let discont = std::mem::take(&mut self.discont);
        self.next += 1;
        self.held_used = true;
        self.counters.slots += 1;
        self.counters.repeated += u64::from(repeated);
        let frame = self.held.as_ref().expect("set by advance_picture");
        let shown = frame.duration.unwrap_or(SLOT).clamp(TimeDelta::ZERO, SLOT);
        let middle = frame.pts + TimeDelta::from_ns(shown.ns().div_euclid(2));
        Some(AvWindow {
            start: grid.start(self.next - 1),
            picture: &frame.picture,
            picture_lag: grid.centre(self.next - 1) - middle,
            repeated,
            samples: &self.samples,
            sound_lost,
            discont,
        })
    }

    /// True once both streams have ended and every slot of the longer one has been given out.
    fn finished(&self, grid: SlotGrid) -> bool {
        let shown_until = self.held.as_ref().map_or(grid.origin, |f| f.pts + f.duration.unwrap_or(SLOT));
        self.video_ended
            && self.audio_ended
            && self.pending.is_empty()
            && self.staged.is_empty()
            && grid.centre(self.next) >= shown_until
    }

    fn advance_picture(&mut self, grid: SlotGrid) {
        let centre = grid.centre(self.next);
        while self.pending.front().is_some_and(|f| f.pts <= centre) || (self.held.is_none() && !self.pending.is_empty())
        {
            if self.held.is_some() && !self.held_used {
                self.counters.unused += 1;
            }
            self.held = self.pending.pop_front();
            self.held_used = false;
        }
    }

    /// From an input's arrival to its window: the window goes out when the slot's sound is complete.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        SLOT
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> AlignCounters {
        AlignCounters { audio: self.ring.counters(), ..self.counters }
    }

    /// Forgets all input and the grid; the counters go on.
    pub fn reset(&mut self) {
        self.grid = None;
        self.held = None;
        self.held_used = false;
        self.pending.clear();
        self.staged.clear();
        self.video_ended = false;
        self.audio_ended = false;
        self.discont = true;
        self.next = 0;
    }
}
