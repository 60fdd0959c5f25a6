//! Tracking: peaks of successive slots become [`AvObject`]s with stable ids.
//!
//! A nearest-neighbour tracker: the nearest pairs of peak and object belong together, as far as they are within reach;
//! peaks left over begin new objects. Objects wait in one state machine:
//!
//! ```text
//!            confirm_ms of peaks                lost_after_ms without a peak
//! Tentative ────────────────────▶ Confirmed ───────────────────────────────▶ Lost ── forget_after_ms ──▶ gone
//!     │ no peak for a while                ◀──────────────────────────────────┘
//!     ▼                                              a peak at its place
//!    gone
//! ```
//!
//! An object that falls silent has no peak and stays where it was last heard: nothing carries it along yet.

use crate::attention::AttentionMap;
use crate::av_object::{AvObject, TrackState};
use crate::geometry::{PxPoint, PxRect};
use crate::peaks::{MAX_PEAKS, Peak};
use crate::time::TimeDelta;
use serde::{Deserialize, Serialize};

/// Objects kept at most; the longest unheard goes first.
pub const MAX_OBJECTS: usize = 16;

/// Parameters of the tracker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackerConfig {
    /// A peak continues an object no further away than this share of the picture's height.
    pub reach_share: f32,
    /// An object is confirmed after peaks of this much time, ms.
    pub confirm_ms: i64,
    /// Time without a peak after which a confirmed object is lost, ms (a tentative one is gone).
    pub lost_after_ms: i64,
    /// Time without a peak after which a lost object's id is given up, ms.
    pub forget_after_ms: i64,
    /// A peak of at least this attention logit moves the object that it continues; a weaker one only keeps it.
    pub move_logit: f32,
    /// Share of a new peak in an object's place and size, 0…1.
    pub smoothing: f32,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            reach_share: 0.3,
            confirm_ms: 200,
            lost_after_ms: 800,
            forget_after_ms: 60_000,
            smoothing: 0.2,
            move_logit: 0.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Track {
    object: AvObject,
    hits: usize,
    taken: bool,
}

/// The tracking stage: push the peaks of a slot and its map, pull the objects.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    confirm_slots: usize,
    tracks: Vec<Track>,
    objects: Vec<AvObject>,
    /// Peaks of this slot that no track has taken yet.
    left: Vec<Peak>,
    next_id: u32,
    ready: bool,
}

impl Tracker {
    /// With these parameters.
    #[must_use]
    pub fn new(config: &TrackerConfig) -> Self {
        Self {
            config: config.clone(),
            confirm_slots: TimeDelta::from_ms(config.confirm_ms).slots_ceil().max(1),
            tracks: Vec::with_capacity(MAX_OBJECTS + 1),
            objects: Vec::with_capacity(MAX_OBJECTS + 1),
            left: Vec::with_capacity(MAX_PEAKS),
            next_id: 1,
            ready: false,
        }
    }

    /// Takes the peaks of the next slot, strongest first.
    #[expect(clippy::cast_precision_loss, reason = "picture heights")]
    pub fn push(&mut self, peaks: &[Peak], map: &AttentionMap<'_>) {
        let now = map.start;
        let reach = self.config.reach_share * map.geometry.height as f32;
        for track in &mut self.tracks {
            track.taken = false;
            track.object.logit = logit_at(map, track.object.rect.centre);
        }
        // The nearest pair first, whatever its strength: a stronger peak beside a face must not take its id.
        self.left.clear();
        self.left.extend_from_slice(peaks);
        while let Some((p, t)) = self.nearest_pair(reach) {
            let peak = self.left.swap_remove(p);
            self.continue_track(t, &peak);
        }
        for p in 0..self.left.len() {
            let peak = self.left[p];
            self.begin(&peak);
        }
        let lost = TimeDelta::from_ms(self.config.lost_after_ms);
        let forget = TimeDelta::from_ms(self.config.forget_after_ms);
        self.tracks.retain_mut(|t| {
            let age = now - t.object.last_peak;
            if age > lost && t.object.state == TrackState::Confirmed {
                t.object.state = TrackState::Lost;
            }
            age <= if t.object.state == TrackState::Tentative { lost } else { forget }
        });
        self.objects.clear();
        self.objects.extend(self.tracks.iter().map(|t| t.object));
        self.ready = true;
    }

    /// The peak and the track, both still free, that are nearest to each other and within reach.
    fn nearest_pair(&self, reach: f32) -> Option<(usize, usize)> {
        let mut best = None;
        let mut least = reach;
        for (p, peak) in self.left.iter().enumerate() {
            for (t, track) in self.tracks.iter().enumerate().filter(|(_, t)| !t.taken) {
                let distance = track.object.rect.centre.distance(peak.px);
                if distance <= least {
                    least = distance;
                    best = Some((p, t));
                }
            }
        }
        best
    }

    fn continue_track(&mut self, index: usize, peak: &Peak) {
        let track = &mut self.tracks[index];
        // A weak peak keeps an object, a strong one moves it: chance agreement beside a silent face is not to drag it off.
        if peak.logit >= self.config.move_logit {
            let k = self.config.smoothing;
            let rect = &mut track.object.rect;
            rect.centre.x += k * (peak.px.x - rect.centre.x);
            rect.centre.y += k * (peak.px.y - rect.centre.y);
            rect.w += k * (peak.extent.w - rect.w);
            rect.h += k * (peak.extent.h - rect.h);
        }
        track.object.logit = peak.logit;
        track.object.last_peak = peak.start;
        track.hits += 1;
        track.taken = true;
        if track.hits >= self.confirm_slots || track.object.state == TrackState::Lost {
            track.object.state = TrackState::Confirmed;
        }
    }

    fn begin(&mut self, peak: &Peak) {
        if self.tracks.len() >= MAX_OBJECTS {
            // Tentative before lost before confirmed, and the longest unheard of those.
            let weakest = (0..self.tracks.len()).min_by_key(|&i| {
                let o = &self.tracks[i].object;
                let rank = match o.state {
                    TrackState::Tentative => 0,
                    TrackState::Lost => 1,
                    TrackState::Confirmed => 2,
                };
                (rank, o.last_peak)
            });
            if let Some(i) = weakest {
                self.tracks.remove(i);
            }
        }
        let rect = PxRect { centre: peak.px, ..peak.extent };
        let state = if self.confirm_slots <= 1 { TrackState::Confirmed } else { TrackState::Tentative };
        let object = AvObject { id: self.next_id, rect, logit: peak.logit, state, last_peak: peak.start };
        self.next_id += 1;
        self.tracks.push(Track { object, hits: 1, taken: true });
    }

    /// The objects after the last slot pushed, in the order of their ids.
    pub fn pull(&mut self) -> Option<&[AvObject]> {
        std::mem::take(&mut self.ready).then_some(&self.objects[..])
    }

    /// None: confirmation delays the first sight of an object, not the time of any answer.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// Forgets all objects; ids are not given again.
    pub fn reset(&mut self) {
        self.tracks.clear();
        self.objects.clear();
        self.ready = false;
    }

    /// The next object is number `used + 1`.
    pub fn give_ids_from(&mut self, used: u32) {
        self.next_id = used + 1;
    }

    /// Ids given so far.
    #[must_use]
    pub fn ids_given(&self) -> u32 {
        self.next_id - 1
    }

    /// When a track was last continued by a peak, for tests.
    #[cfg(test)]
    fn last_peak(&self, id: u32) -> Option<crate::time::Timestamp> {
        self.tracks.iter().find(|t| t.object.id == id).map(|t| t.object.last_peak)
    }
}

/// The highest logit in the 3×3 cells around a place.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "cells of a map"
)]
fn logit_at(map: &AttentionMap<'_>, px: PxPoint) -> f32 {
    let g = map.geometry;
    let c = g.to_cell(px);
    let (cx, cy) = (c.x.round() as i64, c.y.round() as i64);
    let mut best = f32::MIN;
    for y in (cy - 1).max(0)..=(cy + 1).min(g.rows as i64 - 1) {
        for x in (cx - 1).max(0)..=(cx + 1).min(g.cols as i64 - 1) {
            best = best.max(map.logits[y as usize * g.cols + x as usize]);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{CellPoint, MapGeometry};
    use crate::time::Timestamp;

    const G: MapGeometry = MapGeometry { cols: 10, rows: 10, width: 1000, height: 1000 };

    fn step(t: &mut Tracker, slot: i64, at: &[(f32, f32)]) -> Vec<AvObject> {
        let start = Timestamp::from_ms(slot * 40);
        let logits = [0.0; 100];
        let peaks: Vec<Peak> = at
            .iter()
            .map(|&(x, y)| {
                let px = PxPoint { x, y };
                let extent = PxRect { centre: px, w: 100.0, h: 100.0 };
                Peak { start, cell: CellPoint::default(), px, logit: 2.0, extent }
            })
            .collect();
        t.push(&peaks, &AttentionMap { start, logits: &logits, geometry: G });
        t.pull().unwrap().to_vec()
    }

    #[test]
    fn turn_taking_keeps_the_ids() {
        let mut t = Tracker::new(&TrackerConfig::default());
        let mut slot = 0;
        for turn in 0..6 {
            let x = if turn % 2 == 0 { 200.0 } else { 800.0 };
            for i in 0..100 {
                let wander = (i as f32 * 0.3).sin() * 30.0;
                let objects = step(&mut t, slot, &[(x + wander, 500.0)]);
                let now = objects.iter().find(|o| o.last_peak == Timestamp::from_ms(slot * 40)).unwrap();
                assert_eq!(now.id, turn % 2 + 1, "turn {turn}");
                slot += 1;
            }
        }
        assert_eq!(t.ids_given(), 2);
    }

    #[test]
    fn the_state_machine() {
        let mut t = Tracker::new(&TrackerConfig { forget_after_ms: 2_000, ..TrackerConfig::default() });
        let state = |o: &[AvObject]| o.first().map(|o| o.state);
        for slot in 0..4 {
            assert_eq!(state(&step(&mut t, slot, &[(100.0, 100.0)])), Some(TrackState::Tentative));
        }
        assert_eq!(state(&step(&mut t, 4, &[(100.0, 100.0)])), Some(TrackState::Confirmed));
        assert_eq!(state(&step(&mut t, 24, &[])), Some(TrackState::Confirmed), "800 ms later, just");
        assert_eq!(state(&step(&mut t, 25, &[])), Some(TrackState::Lost));
        assert_eq!(state(&step(&mut t, 26, &[(110.0, 100.0)])), Some(TrackState::Confirmed), "found again");
        assert_eq!(t.last_peak(1), Some(Timestamp::from_ms(26 * 40)));
        assert_eq!(state(&step(&mut t, 77, &[])), None, "forgotten");
        step(&mut t, 78, &[(500.0, 500.0)]);
        assert_eq!(state(&step(&mut t, 99, &[])), None, "a tentative object goes at once");
        assert_eq!(t.ids_given(), 2);
    }

    #[test]
    fn a_flood_of_peaks_is_bounded() {
        let mut t = Tracker::new(&TrackerConfig { reach_share: 0.01, ..TrackerConfig::default() });
        for slot in 0..100_u8 {
            let p = (f32::from(slot) * 37.0 % 1000.0, f32::from(slot) * 91.0 % 1000.0);
            assert!(step(&mut t, i64::from(slot), &[p]).len() <= MAX_OBJECTS);
        }
    }
}
