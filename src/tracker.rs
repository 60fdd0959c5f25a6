//! Tracking: peaks of successive slots become [`AvObject`]s with stable ids.
//!
//! Every object is carried along by the flow
//! ([`follow`](crate::motion::CellMotion::follow)); then peaks and objects are assigned to each other so
//! that all of them together fit best (Hungarian), within reach. Peaks left over begin new objects, unless an object is at
//! their place already.
//!
//! ```text
//!             confirm_ms of peaks                 out of sight, or a cut; or silent for
//!            (same look as a lost one:            lost_after_ms and heard for less than
//!             that one is found again)            proven_ms in all
//!  Tentative ────────────────────────▶ Confirmed ──────────────────────────────────────▶ Lost ── forget_after_ms ──▶ gone
//!      │ lost_after_ms                      ▲                                               │
//!      ▼ without a peak                     └───────────────────────────────────────────────┘
//!     gone                                    a peak at its place in the same shot; after a
//!                                             cut, one that also looks as it did
//! ```
//!
//! So people who stop talking stay, as long as they are to be seen. What an object looks like is kept as a coarse patch of
//! the picture around it ([`Patch`]): who comes out from behind something, or back after a cut, is found again by it, even
//! silent.
//!
//! An object's attention logit is read at its place for *its own* offset ([`OffsetBelief`]).

use crate::assign::Assigner;
use crate::attention::Attended;
use crate::av_object::{AvObject, TrackState};
use crate::av_offset::OffsetBelief;
use crate::geometry::{CellPoint, MapGeometry, PxPoint};
use crate::motion::Patch;
use crate::peaks::{MAX_PEAKS, Peak};
use crate::time::TimeDelta;
use serde::{Deserialize, Serialize};

/// Objects kept at most; the longest unheard goes first.
pub const MAX_OBJECTS: usize = 16;
/// What a peak costs that continues no object; one that does costs the square of its distance over the reach, 0…1.
const ALONE: f32 = 1.5;
/// Share of the present look in what an object is remembered by, a slot.
const LOOK_GAIN: f32 = 0.05;

/// Share of the present motion in what an object's velocity is taken for, a slot.
const VELOCITY_GAIN: f32 = 0.15;
/// What is left of its velocity after a slot out of sight: half after half a second.
const COASTING: f32 = 0.95;

/// A lost object is looked for in one slot of so many.
const SEARCH_EVERY: usize = 5;

/// Parameters of the tracker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackerConfig {
    /// A peak continues an object no further away than this share of the picture's height.
    pub reach_share: f32,
    /// A peak begins no object nearer to another than this share of the picture's height.
    pub apart_share: f32,
    /// Lowest attention logit of a peak that begins an object.
    pub begin_logit: f32,
    /// An object is confirmed after peaks of this much time, ms …
    pub confirm_ms: i64,
    /// … that have at least this attention logit.
    pub confirm_logit: f32,
    /// Time without a peak after which a tentative object is gone and one that was hardly ever heard is lost, ms.
    pub lost_after_ms: i64,
    /// An object that was heard for this long in all stays in silence, while it is to be seen, ms.
    pub proven_ms: i64,
    /// Time out of sight after which an object is lost, ms.
    pub hidden_after_ms: i64,
    /// Time after which a lost object's id is given up, ms.
    pub forget_after_ms: i64,
    /// A peak of at least this attention logit moves the object that it continues; a weaker one only keeps it.
    pub move_logit: f32,
    /// Share of a new peak in an object's place and size, 0…1.
    pub smoothing: f32,
    /// How much a place must look like an object for that to be seen there: correlation, −1…1.
    pub visible_likeness: f32,
    /// How much a place must look like a lost object, to be it after a cut: correlation, −1…1.
    pub likeness: f32,
    /// How much an object's own past says of its offset: log-likelihood of a second, relative to the engine's scale; 0:
    /// nothing, every object has the picture's offset.
    pub own_offset: f32,
    /// For how many seconds an object's own past counts at most.
    pub own_offset_s: f32,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            reach_share: 0.2,
            apart_share: 0.2,
            begin_logit: -0.4,
            confirm_ms: 200,
            confirm_logit: -0.4,
            lost_after_ms: 800,
            proven_ms: 1_000,
            hidden_after_ms: 600,
            forget_after_ms: 60_000,
            move_logit: -0.4,
            smoothing: 0.2,
            visible_likeness: 0.65,
            likeness: 0.7,
            own_offset: 0.5,
            own_offset_s: 4.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Track {
    object: AvObject,
    /// Slots with a peak.
    hits: usize,
    /// Slots with a peak strong enough to move it.
    heard: usize,
    /// Slots out of sight.
    hidden: usize,
    /// How it moved of late while it was seen, source pixels a slot: out of sight it goes on so.
    velocity: (f32, f32),
    /// The shot in which it was last seen.
    shot: u32,
    look: Patch,
    belief: OffsetBelief,
    /// The peak of this slot that continues it.
    peak: Option<CellPoint>,
}

/// The tracking stage: push the peaks of a slot and its map, pull the objects.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    confirm_slots: usize,
    proven_slots: usize,
    hidden_slots: usize,
    tracks: Vec<Track>,
    objects: Vec<AvObject>,
    assigner: Assigner,
    shot: u32,
    slots: usize,
    next_id: u32,
    ready: bool,
}

impl Tracker {
    /// With these parameters.
    #[must_use]
    pub fn new(config: &TrackerConfig) -> Self {
        let slots = |ms| TimeDelta::from_ms(ms).slots_ceil().max(1);
        Self {
            config: config.clone(),
            confirm_slots: slots(config.confirm_ms),
            proven_slots: slots(config.proven_ms),
            hidden_slots: slots(config.hidden_after_ms),
            tracks: Vec::with_capacity(MAX_OBJECTS + 1),
            objects: Vec::with_capacity(MAX_OBJECTS + 1),
            assigner: Assigner::new(MAX_PEAKS, MAX_OBJECTS + 1),
            shot: 0,
            slots: 0,
            next_id: 1,
            ready: false,
        }
    }

    /// Takes the peaks of the next slot, strongest first; `voiced`: whether a voice is heard in it.
    #[expect(clippy::cast_precision_loss, reason = "picture heights")]
    pub fn push(&mut self, peaks: &[Peak], seen: &Attended<'_>, voiced: bool) {
        let height = seen.map.geometry.height as f32;
        self.shot += u32::from(seen.motion.cut);
        self.carry(seen);
        self.assign(peaks, seen, self.config.reach_share * height);
        for track in &mut self.tracks {
            track.read(seen, voiced, &self.config);
        }
        self.recognise(self.config.reach_share * height);
        self.age(seen);
        self.objects.clear();
        self.objects.extend(self.tracks.iter().map(|t| t.object));
        self.ready = true;
    }

    /// Objects go with the picture; who has been out of sight is found again by their look, unless somebody else is there.
    fn carry(&mut self, seen: &Attended<'_>) {
        self.slots = self.slots.wrapping_add(1);
        let apart = self.config.apart_share * seen.map.geometry.height as f32;
        for i in 0..self.tracks.len() {
            let track = &mut self.tracks[i];
            track.peak = None;
            // Who has been lost for longer is looked for now and then.
            let turn = track.object.state != TrackState::Lost || (self.slots + i).is_multiple_of(SEARCH_EVERY);
            let proven = track.heard >= self.proven_slots && turn;
            if let Some(at) = track.carry(seen, self.shot, &self.config, proven) {
                let px = seen.map.geometry.to_px(at);
                let taken = |t: &Track| {
                    let there = t.shot == self.shot && t.object.state != TrackState::Lost && t.hidden == 0;
                    there && t.object.rect.centre.distance(px) < apart
                };
                if !self.tracks.iter().enumerate().any(|(j, t)| j != i && taken(t)) {
                    self.tracks[i].appear(px, self.shot);
                }
            }
        }
    }

    /// Peaks continue objects, and begin new ones.
    #[expect(clippy::cast_precision_loss, reason = "picture heights")]
    fn assign(&mut self, peaks: &[Peak], seen: &Attended<'_>, reach: f32) {
        let (tracks, shot) = (&self.tracks, self.shot);
        let answer = self.assigner.solve(peaks.len(), tracks.len(), ALONE, |p, t| {
            let near = tracks[t].object.rect.centre.distance(peaks[p].extent.centre) / reach;
            if near <= 1.0 && tracks[t].shot == shot { near * near } else { f32::MAX }
        });
        let mut left = [false; MAX_PEAKS];
        for ((peak, to), left) in peaks.iter().zip(answer).zip(&mut left) {
            match *to {
                Some(t) => self.tracks[t].hear(peak, &self.config, self.confirm_slots),
                None => *left = peak.logit >= self.config.begin_logit,
            }
        }
        let apart = self.config.apart_share * seen.map.geometry.height as f32;
        for (peak, _) in peaks.iter().zip(left).filter(|(_, left)| *left) {
            let here = |t: &Track| t.shot == self.shot && t.object.rect.centre.distance(peak.extent.centre) < apart;
            if !self.tracks.iter().any(here) {
                self.begin(peak, seen);
            }
        }
    }

    /// A new object that looks like one lost before a cut is that one.
    fn recognise(&mut self, reach: f32) {
        for new in 0..self.tracks.len() {
            let track = self.tracks[new];
            if track.object.state != TrackState::Confirmed || track.hits != self.confirm_slots {
                continue;
            }
            let like = |old: &Track| {
                let near = old.object.rect.centre.distance(track.object.rect.centre) <= reach;
                (near && old.shot < self.shot).then(|| old.look.likeness(&track.look))
            };
            let best = (0..self.tracks.len())
                .filter_map(|i| like(&self.tracks[i]).map(|l| (i, l)))
                .filter(|(_, l)| *l >= self.config.likeness)
                .max_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((old, _)) = best {
                let known = self.tracks[old];
                let object = AvObject { id: known.object.id, ..track.object };
                self.tracks[new] = Track { object, heard: known.heard, belief: known.belief, ..track };
                self.tracks.remove(old);
                return;
            }
        }
    }

    /// Who is out of sight is lost; who has been lost for long is gone.
    fn age(&mut self, seen: &Attended<'_>) {
        let lost = TimeDelta::from_ms(self.config.lost_after_ms);
        let forget = TimeDelta::from_ms(self.config.forget_after_ms);
        let (shot, proven, hidden) = (self.shot, self.proven_slots, self.hidden_slots);
        self.tracks.retain_mut(|t| {
            let silent = seen.map.start - t.object.last_peak;
            let unseen = t.shot != shot || t.hidden >= hidden;
            let fades = unseen || (silent > lost && t.heard < proven);
            if fades && t.object.state == TrackState::Confirmed {
                t.object.state = TrackState::Lost;
            }
            match t.object.state {
                TrackState::Tentative => silent <= lost && !unseen,
                TrackState::Confirmed => true,
                TrackState::Lost => silent <= forget,
            }
        });
    }

    fn begin(&mut self, peak: &Peak, seen: &Attended<'_>) {
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
        let rect = peak.extent;
        let state = if self.confirm_slots <= 1 { TrackState::Confirmed } else { TrackState::Tentative };
        let object = AvObject { id: self.next_id, rect, logit: peak.logit, state, last_peak: peak.start };
        self.next_id += 1;
        self.tracks.push(Track {
            object,
            hits: usize::from(peak.logit >= self.config.confirm_logit),
            heard: 0,
            hidden: 0,
            velocity: (0.0, 0.0),
            shot: self.shot,
            look: seen.motion.patch(seen.map.geometry.to_cell(rect.centre)),
            belief: OffsetBelief::new(seen.scores.log_prior()),
            peak: Some(peak.cell),
        });
    }

    /// The objects after the last slot pushed, in the order of their ids but for those found again.
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

impl Track {
    /// Goes with the picture while it is to be seen, and looks for itself when it is not.
    fn carry(&mut self, seen: &Attended<'_>, shot: u32, config: &TrackerConfig, proven: bool) -> Option<CellPoint> {
        let place = seen.map.geometry.to_cell(self.object.rect.centre);
        let same_shot = self.shot == shot;
        if same_shot && self.object.state != TrackState::Lost {
            let (there, followed) = seen.motion.follow(place);
            // What passes in front of it would carry it off: it goes only with what looks like it.
            let look = seen.motion.patch(there);
            let alike = self.look.likeness(&look);
            if followed && alike >= config.visible_likeness {
                let (from, to) = (self.object.rect.centre, seen.map.geometry.to_px(there));
                self.velocity.0 += VELOCITY_GAIN * (to.x - from.x - self.velocity.0);
                self.velocity.1 += VELOCITY_GAIN * (to.y - from.y - self.velocity.1);
                self.object.rect.centre = to;
                self.hidden = 0;
                if alike >= config.likeness {
                    self.look.blend(&look, LOOK_GAIN);
                }
                return None;
            }
            if self.look.likeness(&seen.motion.patch(place)) >= config.visible_likeness {
                self.hidden = 0;
                return None;
            }
            self.hidden += 1;
            self.coast(seen.map.geometry);
        }
        let reach = if same_shot { config.reach_share * seen.map.geometry.rows as f32 } else { 1.0 };
        if proven { self.find(seen, place, reach, config.likeness) } else { None }
    }

    /// Out of sight it goes on as it went, slower and slower, and stays in the picture.
    fn coast(&mut self, geometry: MapGeometry) {
        let centre = &mut self.object.rect.centre;
        centre.x = (centre.x + self.velocity.0).clamp(0.0, geometry.width as f32);
        centre.y = (centre.y + self.velocity.1).clamp(0.0, geometry.height as f32);
        self.velocity.0 *= COASTING;
        self.velocity.1 *= COASTING;
    }

    /// The place within `reach` cells that looks most like it, if any does.
    fn find(&self, seen: &Attended<'_>, place: CellPoint, reach: f32, likeness: f32) -> Option<CellPoint> {
        #[expect(clippy::cast_possible_truncation, reason = "a share of the picture, cells")]
        let steps = (2.0 * reach).floor() as i16;
        let mut best = (likeness, None);
        for dy in -steps..=steps {
            for dx in -steps..=steps {
                let at = CellPoint { x: place.x + 0.5 * f32::from(dx), y: place.y + 0.5 * f32::from(dy) };
                let alike = self.look.likeness(&seen.motion.patch(at));
                if seen.map.geometry.contains(at) && alike >= best.0 {
                    best = (alike, Some(at));
                }
            }
        }
        best.1
    }

    /// It was found there again.
    fn appear(&mut self, px: PxPoint, shot: u32) {
        self.object.rect.centre = px;
        self.object.state = TrackState::Confirmed;
        (self.shot, self.hidden) = (shot, 0);
    }

    /// A peak stands for it.
    fn hear(&mut self, peak: &Peak, config: &TrackerConfig, confirm_slots: usize) {
        let o = &mut self.object;
        // A weak peak keeps an object, a strong one moves it: chance agreement beside a silent face is not to drag it off.
        if peak.logit >= config.move_logit {
            let k = config.smoothing;
            o.rect.centre.x += k * (peak.extent.centre.x - o.rect.centre.x);
            o.rect.centre.y += k * (peak.extent.centre.y - o.rect.centre.y);
            o.rect.w += k * (peak.extent.w - o.rect.w);
            o.rect.h += k * (peak.extent.h - o.rect.h);
            self.heard += 1;
        }
        o.logit = peak.logit;
        o.last_peak = peak.start;
        self.hits += usize::from(peak.logit >= config.confirm_logit);
        self.hidden = 0;
        self.peak = Some(peak.cell);
        if self.hits >= confirm_slots || o.state == TrackState::Lost {
            o.state = TrackState::Confirmed;
        }
    }

    /// Reads how well its place agrees with the sound, and learns its offset and its look.
    fn read(&mut self, seen: &Attended<'_>, voiced: bool, config: &TrackerConfig) {
        let place = seen.map.geometry.to_cell(self.object.rect.centre);
        let log_p = self.belief.log_p();
        let (mut cell, mut best) = (0, f32::MIN);
        for i in seen.map.geometry.around(place).chain(self.peak.into_iter().flat_map(|p| seen.map.geometry.around(p)))
        {
            let logit = seen.scores.logit(i, log_p);
            if logit > best {
                (cell, best) = (i, logit);
            }
        }
        self.object.logit = best;
        if voiced && config.own_offset > 0.0 {
            let probability = 1.0 / (1.0 + (-best).exp());
            let weight = config.own_offset * seen.scores.scale();
            let curve = seen.scores.curve(cell);
            self.belief.update(&curve, probability, seen.scores.log_prior(), weight, config.own_offset_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{AttentionMap, Scores};
    use crate::geometry::{MapGeometry, PxRect};
    use crate::motion::CellMotion;
    use crate::time::Timestamp;

    const G: MapGeometry = MapGeometry { cols: 10, rows: 10, width: 1000, height: 1000 };

    fn step_with(t: &mut Tracker, slot: i64, at: &[(f32, f32)], motion: &CellMotion) -> Vec<AvObject> {
        let start = Timestamp::from_ms(slot * 40);
        let logits = [0.0; 100];
        let peaks: Vec<Peak> = at
            .iter()
            .map(|&(x, y)| {
                let px = PxPoint { x, y };
                let extent = PxRect { centre: px, w: 100.0, h: 100.0 };
                Peak { start, cell: G.to_cell(px), px, logit: 2.0, extent }
            })
            .collect();
        let scores = Scores::none(G.cells());
        let map = AttentionMap { start, logits: &logits, geometry: G };
        t.push(&peaks, &Attended { map, scores: &scores, motion, embeddings: &[] }, true);
        t.pull().unwrap().to_vec()
    }

    fn step(t: &mut Tracker, slot: i64, at: &[(f32, f32)]) -> Vec<AvObject> {
        step_with(t, slot, at, &CellMotion::still(G.cols, G.rows))
    }

    /// A picture whose half-cells look differently by `seed`.
    fn shows(seed: usize) -> CellMotion {
        let mut m = CellMotion::still(G.cols, G.rows);
        for (i, p) in m.thumbnail.iter_mut().enumerate() {
            *p = ((i * 7919 + seed * 104_729) % 251) as f32;
        }
        m
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
    fn who_falls_silent_stays_while_seen_and_goes_with_the_picture() {
        let mut t = Tracker::new(&TrackerConfig::default());
        for slot in 0..30 {
            step(&mut t, slot, &[(300.0, 500.0)]);
        }
        let mut pan = CellMotion::still(G.cols, G.rows);
        pan.dx.fill(-0.05);
        pan.still = false;
        for slot in 30..130 {
            let objects = step_with(&mut t, slot, &[], &pan);
            assert_eq!((objects[0].id, objects[0].state), (1, TrackState::Confirmed), "slot {slot}");
        }
        let x = step(&mut t, 130, &[])[0].rect.centre.x;
        assert!((x - 800.0).abs() < 5.0, "{x}");
        // Covered for longer than a moment.
        pan = shows(3);
        pan.valid.fill(false);
        pan.still = false;
        let states: Vec<_> = (131..150).map(|slot| step_with(&mut t, slot, &[], &pan)[0].state).collect();
        assert!(states[..14].iter().all(|s| *s == TrackState::Confirmed), "{states:?}");
        assert_eq!(states[14], TrackState::Lost);
        let found = step(&mut t, 150, &[(810.0, 500.0)]);
        assert_eq!((found[0].id, found[0].state), (1, TrackState::Confirmed), "behind what covered it");
    }

    #[test]
    fn after_a_cut_the_one_who_looks_the_same_is_the_same() {
        let mut t = Tracker::new(&TrackerConfig::default());
        let mut slot = 0;
        let mut ids = Vec::new();
        // Shot and reverse shot, both with the talker in the middle.
        for seed in [1, 2, 1, 2, 1] {
            let mut scene = shows(seed);
            scene.cut = slot > 0;
            for _ in 0..40 {
                let objects = step_with(&mut t, slot, &[(500.0, 500.0)], &scene);
                scene.cut = false;
                slot += 1;
                ids.push(objects.iter().find(|o| o.last_peak == Timestamp::from_ms((slot - 1) * 40)).unwrap().id);
            }
        }
        let at_the_end: Vec<_> = ids.chunks(40).map(|shot| shot[39]).collect();
        assert_eq!(at_the_end, [1, 2, 1, 2, 1]);
    }

    #[test]
    fn two_who_cross_are_assigned_together() {
        let mut t = Tracker::new(&TrackerConfig { smoothing: 0.5, ..TrackerConfig::default() });
        step(&mut t, 0, &[(300.0, 500.0), (600.0, 500.0)]);
        // The peak at 440 is nearest to the first, but the other at 200 can only be the first's.
        let objects = step(&mut t, 1, &[(440.0, 500.0), (200.0, 500.0)]);
        assert_eq!(objects.len(), 2);
        assert!((objects[0].rect.centre.x - 250.0).abs() < 1.0 && (objects[1].rect.centre.x - 520.0).abs() < 1.0);
    }

    #[test]
    fn a_flood_of_peaks_is_bounded() {
        let mut t = Tracker::new(&TrackerConfig { reach_share: 0.01, apart_share: 0.0, ..TrackerConfig::default() });
        for slot in 0..100_u8 {
            let p = (f32::from(slot) * 37.0 % 1000.0, f32::from(slot) * 91.0 % 1000.0);
            assert!(step(&mut t, i64::from(slot), &[p]).len() <= MAX_OBJECTS);
        }
    }
}
