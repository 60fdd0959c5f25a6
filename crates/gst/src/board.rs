//! The board: results by time, written by the analysis, read by the overlay.
//!
//! A bounded ring of the last slots. The overlay asks for the slot of a picture's time and may wait for it; whoever is
//! done first says so, so that neither waits for a thread that has gone.

use seehear::asd::Speaker;
use seehear::overlay::{Mark, Sprite, draw_heat, drawn_box};
use seehear::session::Report;
use seehear::time::{SLOT, Timestamp};
use seehear::tracker::MAX_OBJECTS;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Slots kept: ten seconds, more than any queue before the overlay holds.
const KEPT: usize = 250;
/// Arrivals that are remembered: more pictures than ever wait.
const ARRIVALS: usize = 256;

/// What is drawn for one object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// How.
    pub mark: Mark,
    /// Left edge, pixels.
    pub x: i32,
    /// Top edge, pixels.
    pub y: i32,
    /// Probability that it speaks, 0…1.
    pub score: f32,
}

/// What is drawn in one slot.
#[derive(Clone, Debug)]
pub struct Slide {
    /// When the slot begins.
    pub start: Timestamp,
    /// A new shot of the source begins with it.
    pub cut: bool,
    /// The objects, at most [`MAX_OBJECTS`].
    pub drawn: Vec<Drawn>,
    /// The heat map; empty unless asked for.
    pub heat: Sprite,
}

impl Slide {
    fn empty() -> Self {
        Self {
            start: Timestamp::ZERO,
            cut: false,
            drawn: Vec::with_capacity(MAX_OBJECTS + 1),
            heat: Sprite { bgra: Vec::new(), width: 0, height: 0 },
        }
    }
}

impl Default for Slide {
    fn default() -> Self {
        Self::empty()
    }
}

#[derive(Debug)]
struct State {
    slides: VecDeque<Slide>,
    done: bool,
    /// Nothing will be told of pictures until then.
    given_up: Option<Timestamp>,
    /// When the last pictures came to the analysis.
    arrivals: VecDeque<(Timestamp, Instant)>,
}

/// The board.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
    marks: AtomicBool,
    heat: AtomicBool,
}

/// What the overlay found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The slot of the picture itself.
    Own,
    /// An older slot: the picture's own result was not there in time.
    Older,
    /// Nothing yet.
    Nothing,
}

impl Board {
    /// An empty board; `heat`: keep heat maps too.
    #[must_use]
    pub fn new(heat: bool) -> Self {
        let slides = (0..KEPT).map(|_| Slide::empty()).collect();
        let arrivals = VecDeque::with_capacity(ARRIVALS);
        let state = State { slides, done: false, given_up: None, arrivals };
        let (marks, heat) = (AtomicBool::new(true), AtomicBool::new(heat));
        let board = Self { state: Mutex::new(state), changed: Condvar::new(), marks, heat };
        board.lock().slides.clear();
        board
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the objects are drawn; pictures wait for their results in any case.
    pub fn show_marks(&self, show: bool) {
        self.marks.store(show, Ordering::Relaxed);
    }

    /// Whether heat maps are drawn, from the next report on.
    pub fn show_heat(&self, show: bool) {
        self.heat.store(show, Ordering::Relaxed);
    }

    /// As last said to [`Board::show_marks`].
    pub fn marks_shown(&self) -> bool {
        self.marks.load(Ordering::Relaxed)
    }

    /// Puts a report on the board.
    pub fn post(&self, report: &Report<'_>) {
        let mut state = self.lock();
        let mut slide = if state.slides.len() >= KEPT { state.slides.pop_front() } else { None }.unwrap_or_default();
        slide.start = report.start;
        slide.cut = report.seen.cut;
        slide.drawn.clear();
        let g = report.map.geometry;
        slide.drawn.extend(report.speakers.iter().filter(|s| is_shown(s)).map(|s| {
            let rect = drawn_box(s.object.rect, g.width, g.height);
            let (x0, y0, ..) = rect.edges();
            let mark = Mark { id: s.object.id, speaking: s.speaking, width: even(rect.w), height: even(rect.h) };
            Drawn { mark, x: round(x0), y: round(y0), score: s.probability }
        }));
        if self.heat.load(Ordering::Relaxed) {
            draw_heat(&report.map, &mut slide.heat);
        } else {
            slide.heat.bgra.clear();
        }
        state.slides.push_back(slide);
        drop(state);
        self.changed.notify_all();
    }

    /// No more reports will come.
    pub fn finish(&self) {
        self.lock().done = true;
        self.changed.notify_all();
    }

    /// A new programme: what is there is forgotten, and reports will come again.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.slides.clear();
        state.done = false;
    }

    /// Of the pictures up to `t` none will be told of, though reports of later ones will come.
    pub fn give_up_to(&self, t: Timestamp) {
        let mut state = self.lock();
        state.given_up = state.given_up.max(Some(t));
        drop(state);
        self.changed.notify_all();
    }

    /// The picture of `t` has come to the analysis.
    pub fn arrived(&self, t: Timestamp) {
        let mut state = self.lock();
        if state.arrivals.len() == ARRIVALS {
            state.arrivals.pop_front();
        }
        state.arrivals.push_back((t, Instant::now()));
    }

    /// Another stream of pictures comes: none of it is given up.
    pub fn forget_given_up(&self) {
        self.lock().given_up = None;
    }

    /// Every slot that begins after `after` and not after `t`, in order; none is waited for.
    pub fn each_between(&self, after: Option<Timestamp>, t: Timestamp, visit: impl FnMut(&Slide)) {
        let state = self.lock();
        state.slides.iter().filter(|s| Some(s.start) > after && s.start <= t).for_each(visit);
    }

    /// Copies what is to be drawn at `t` to `into`, waiting for its own slot at most `patience`, and at most `analysis` from when the
    /// picture came to the analysis: its time stamp may be well ahead of the clock (a transport stream's is), and more of
    /// them than there is room for would wait where results do not come.
    pub fn read(&self, t: Timestamp, patience: Duration, analysis: Duration, into: &mut Slide) -> Found {
        let mut deadline = Instant::now() + patience;
        let mut state = self.lock();
        if let Some((_, at)) = state.arrivals.iter().rev().find(|(pts, _)| *pts == t) {
            deadline = deadline.min(*at + analysis);
        }
        loop {
            let reached = state.slides.back().is_some_and(|s| t - s.start < SLOT);
            let now = Instant::now();
            if reached || state.done || state.given_up >= Some(t) || now >= deadline {
                break;
            }
            state = self.changed.wait_timeout(state, deadline - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        // From the newest back: a picture asks for one of the last few.
        let Some(slide) = state.slides.iter().rev().find(|s| s.start <= t) else { return Found::Nothing };
        into.start = slide.start;
        into.drawn.clone_from(&slide.drawn);
        into.heat.clone_from(&slide.heat);
        if t - slide.start < SLOT || state.done { Found::Own } else { Found::Older }
    }
}

/// Who speaks, and who has spoken and is still there. Lost objects keep their id, but nobody may be there; an object
/// that never spoke may be chance.
fn is_shown(s: &Speaker) -> bool {
    s.speaking || (s.has_spoken && s.object.state == seehear::av_object::TrackState::Confirmed)
}

#[expect(clippy::cast_possible_truncation, reason = "pixels")]
fn round(x: f32) -> i32 {
    x.round() as i32
}

/// Even sizes change the sprite less often, and suit subsampled chroma.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]
fn even(x: f32) -> u32 {
    ((x / 8.0).round() as u32) * 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use seehear::asd::Voice;
    use seehear::attention::AttentionMap;
    use seehear::geometry::MapGeometry;
    use std::sync::Arc;

    fn post(board: &Board, ms: i64) {
        let geometry = MapGeometry { cols: 2, rows: 1, width: 320, height: 160 };
        let start = Timestamp::from_ms(ms);
        let map = AttentionMap { start, logits: &[0.0, 3.0], geometry };
        board.post(&Report {
            start,
            speakers: &[],
            voice: Voice::None,
            offset: None,
            correction: None,
            map,
            seen: seehear::session::Seen { embeddings: &[], cut: false },
            stretch: None,
        });
    }

    #[test]
    fn a_picture_gets_its_own_slot_or_the_one_before() {
        let board = Board::new(true);
        let mut slide = Slide::default();
        let mut read = |ms| {
            (board.read(Timestamp::from_ms(ms), Duration::ZERO, Duration::ZERO, &mut slide), slide.start.as_ms_f64())
        };
        assert_eq!(read(0).0, Found::Nothing);
        for k in 0..1000 {
            post(&board, k * 40);
        }
        assert_eq!(read(39_960), (Found::Own, 39_960.0));
        assert_eq!(read(39_000 + 7), (Found::Own, 39_000.0));
        assert_eq!(read(40_010), (Found::Older, 39_960.0));
        assert_eq!(read(0).0, Found::Nothing, "long forgotten");
    }

    #[test]
    fn what_is_given_up_is_not_waited_for() {
        let board = Board::new(false);
        let mut slide = Slide::default();
        board.give_up_to(Timestamp::from_ms(100));
        board.give_up_to(Timestamp::from_ms(60));
        board.restart();
        let long = Duration::from_secs(60);
        assert_eq!(board.read(Timestamp::from_ms(100), long, long, &mut slide), Found::Nothing);
        post(&board, 120);
        assert_eq!(board.read(Timestamp::from_ms(140), long, long, &mut slide), Found::Own);
        board.forget_given_up();
        assert_eq!(board.read(Timestamp::from_ms(200), Duration::ZERO, Duration::ZERO, &mut slide), Found::Older);
        assert_eq!(board.lock().given_up, None);
    }

    #[test]
    fn waiting_ends_with_the_result_or_with_the_analysis() {
        for end in [false, true] {
            let board = Arc::new(Board::new(false));
            let other = Arc::clone(&board);
            let thread = std::thread::spawn(move || {
                let mut slide = Slide::default();
                other.read(Timestamp::from_ms(50), Duration::from_secs(60), Duration::from_secs(60), &mut slide)
            });
            post(&board, 0);
            if end {
                board.finish();
            } else {
                post(&board, 40);
            }
            assert_eq!(thread.join().unwrap(), Found::Own);
        }
    }
}
