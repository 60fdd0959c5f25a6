//! Speaker framing: where a camera operator would point, cropped out of the whole picture.
//!
//! ```text
//! observe (who speaks, a slot at a time) ─ shot: wide, one, two ─ target ─ critically damped motion ─▶ pose (a picture at a time)
//! ```
//!
//! - **Shots.** Everybody (wide) until somebody has spoken for `switch_after`; then that one. Somebody else who takes over is framed in
//!   place of the first, or beside them (two-up) where the first has spoken within the last seconds too. Wide again when nobody
//!   has spoken for `wide_after`, and at a cut in the source, at once.
//! - **Composition.** The speaker's mouth stands in the middle of the crop's width and at [`MOUTH_AT`] of its height, which puts
//!   the eyes near the upper third. The crop has the output's shape and never leaves the picture. How large a head is, nobody has
//!   measured: the crop is [`FramingConfig::zoom`] times as high as the place that agrees with the sound, over some seconds' mean,
//!   within [`FramingConfig::height_share`].
//! - **Motion.** A dead zone: as long as the speaker stays near their place in the crop, it does not move. Otherwise it goes
//!   to where they are as a critically damped spring does: without overshoot, and with a continuous velocity. Further than
//!   [`FramingConfig::pan_share`] it cuts, as a director would.
//!
//! Causal: a pose depends on what was observed before it alone, and not on how often poses are asked for.

use crate::geometry::{PxPoint, PxRect};
use crate::time::{SLOT, TimeDelta, Timestamp};

/// Where the mouth stands in a crop, from its top, share of its height. Eyes are a sixth of it further up: on the third.
pub const MOUTH_AT: f32 = 0.5;
/// Share of a new extent in an object's mean, each slot: two seconds.
const NEW_EXTENT: f32 = 0.02;
/// A crop's height changes for a change of more than this share of it.
const SIZE_DEAD_ZONE: f32 = 0.15;
/// Objects that are remembered; more than a picture ever holds.
const PEOPLE: usize = 64;

/// How framing behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FramingConfig {
    /// Height of a speaker's crop over that of the object.
    pub zoom: f32,
    /// Least and largest height of a speaker's crop, share of the picture's; 0.1…1. Less than a third looks soft at 1080p.
    pub height_share: [f32; 2],
    /// How far the speaker may go from their place before the crop follows, share of the crop's width and height.
    pub dead_zone: f32,
    /// Natural frequency of the motion, 1/s: it is settled (2 %) after 5.8 over this.
    pub stiffness: f32,
    /// Ways up to this share of the picture's width are panned; longer ones are cut.
    pub pan_share: f32,
    /// Who speaks for so long is framed.
    pub switch_after: TimeDelta,
    /// No shot is shorter.
    pub shortest_shot: TimeDelta,
    /// Who has spoken a second within so long is still in the conversation: two of them are framed side by side.
    pub together: TimeDelta,
    /// The whole picture after so long without a speaker.
    pub wide_after: TimeDelta,
}

impl Default for FramingConfig {
    fn default() -> Self {
        Self {
            zoom: 2.8,
            height_share: [0.35, 0.8],
            dead_zone: 0.1,
            stiffness: 4.0,
            pan_share: 0.35,
            switch_after: TimeDelta::from_ms(1_000),
            shortest_shot: TimeDelta::from_ms(2_000),
            together: TimeDelta::from_ms(6_000),
            wide_after: TimeDelta::from_ms(4_000),
        }
    }
}

/// Somebody in one slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subject {
    /// The object's id.
    pub id: u32,
    /// Its centre, pixels of the source.
    pub at: PxPoint,
    /// Its height, pixels.
    pub extent: f32,
    /// Whether it speaks.
    pub speaking: bool,
}

/// What is shown: crops of the source, pixels; two stand side by side, left and right half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pose {
    /// One crop fills the output.
    One(PxRect),
    /// Two crops, each half as wide as the output.
    Two([PxRect; 2]),
}

/// What is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shot {
    Wide,
    One(u32),
    Two(u32, u32),
}

#[derive(Clone, Copy, Debug)]
struct Person {
    id: u32,
    at: PxPoint,
    /// Mean height.
    extent: f32,
    /// Since when it has spoken, without a pause.
    since: Option<Timestamp>,
    /// When it last had spoken for a second.
    proven: Option<Timestamp>,
    seen: Timestamp,
}

/// One number in critically damped motion.
#[derive(Clone, Copy, Debug)]
struct Spring {
    x: f32,
    v: f32,
}

impl Spring {
    fn at(x: f32) -> Self {
        Self { x, v: 0.0 }
    }

    /// `dt` seconds on towards `target`: the exact solution of x'' = −2ω x' − ω² (x − target), so that steps of any length agree.
    fn step(&mut self, target: f32, omega: f32, dt: f32) {
        let y = self.x - target;
        let b = self.v + omega * y;
        let decay = (-omega * dt).exp();
        self.x = target + (y + b * dt) * decay;
        self.v = (self.v - omega * b * dt) * decay;
    }
}

/// One crop in motion: centre and height.
#[derive(Clone, Copy, Debug)]
struct Camera {
    now: [Spring; 3],
    target: [f32; 3],
}

impl Camera {
    fn on(target: [f32; 3]) -> Self {
        Self { now: target.map(Spring::at), target }
    }

    fn step(&mut self, omega: f32, dt: f32) {
        for (spring, target) in self.now.iter_mut().zip(self.target) {
            spring.step(target, omega, dt);
        }
    }
}

/// The framing of one source.
#[derive(Debug)]
pub struct Framing {
    config: FramingConfig,
    /// Width and height of the source, pixels.
    size: [f32; 2],
    /// Width over height of the output, in the source's pixels.
    aspect: f32,
    people: Vec<Person>,
    shot: Shot,
    since: Timestamp,
    last_speech: Option<Timestamp>,
    cameras: [Camera; 2],
    at: Option<Timestamp>,
}

impl Framing {
    /// For a source of `width` × `height` pixels and an output of the shape `aspect` (width over height, in the source's pixels: what is
    /// seen as 16:9 out of pixels twice as wide as high is 8:9 here).
    #[must_use]
    pub fn new(config: FramingConfig, width: u32, height: u32, aspect: f32) -> Self {
        let size = [width as f32, height as f32];
        let wide = Camera::on([size[0] / 2.0, size[1] / 2.0, widest(size, aspect)]);
        Self {
            config,
            size,
            aspect,
            people: Vec::with_capacity(PEOPLE),
            shot: Shot::Wide,
            since: Timestamp::ZERO,
            last_speech: None,
            cameras: [wide; 2],
            at: None,
        }
    }

    /// Takes the slot that begins at `start`. `cut`: a new shot of the source begins with it.
    pub fn observe(&mut self, start: Timestamp, cut: bool, subjects: impl IntoIterator<Item = Subject>) {
        self.advance(start);
        if cut {
            self.people.clear();
            self.last_speech = None;
            self.change(Shot::Wide, start, true);
        }
        for s in subjects {
            self.meet(s, start);
        }
        for p in &mut self.people {
            if p.seen < start {
                p.since = None;
            }
        }
        let keep = self.config.together;
        self.people.retain(|p| start - p.seen <= keep);
        let next = self.choose(start);
        if next != self.shot && (start - self.since >= self.config.shortest_shot || self.shot == Shot::Wide) {
            self.change(next, start, false);
        }
        self.follow();
    }

    fn meet(&mut self, s: Subject, start: Timestamp) {
        let i = match self.people.iter().position(|p| p.id == s.id) {
            Some(i) => i,
            None if self.people.len() < PEOPLE => {
                self.people.push(Person {
                    id: s.id,
                    at: s.at,
                    extent: s.extent,
                    since: None,
                    proven: None,
                    seen: start,
                });
                self.people.len() - 1
            }
            None => return,
        };
        let p = &mut self.people[i];
        (p.at, p.seen) = (s.at, start);
        p.extent += NEW_EXTENT * (s.extent - p.extent);
        p.since = if s.speaking { p.since.or(Some(start)) } else { None };
        if s.speaking {
            self.last_speech = Some(start);
        }
        if p.since.is_some_and(|t| start + SLOT - t >= self.config.switch_after) {
            p.proven = Some(start);
        }
    }

    /// Who should be seen now.
    fn choose(&self, now: Timestamp) -> Shot {
        if self.last_speech.is_none_or(|t| now - t > self.config.wide_after) {
            return Shot::Wide;
        }
        // In the conversation, the latest first.
        let recent = |p: &&Person| p.proven.is_some_and(|t| now - t <= self.config.together);
        let latest = |than: Option<u32>| {
            self.people
                .iter()
                .filter(recent)
                .filter(|p| Some(p.id) != than)
                .max_by_key(|p| (p.proven, p.since.is_some()))
        };
        let Some(first) = latest(None) else { return self.shot };
        match latest(Some(first.id)) {
            None => Shot::One(first.id),
            Some(second) if first.at.x <= second.at.x => Shot::Two(first.id, second.id),
            Some(second) => Shot::Two(second.id, first.id),
        }
    }

    fn change(&mut self, shot: Shot, now: Timestamp, cut: bool) {
        let before = std::mem::replace(&mut self.shot, shot);
        self.since = now;
        let targets = self.wanted();
        for (camera, target) in self.cameras.iter_mut().zip(targets) {
            let far = (camera.now[0].x - target[0]).abs() > self.config.pan_share * self.size[0];
            let wide = [before, shot].contains(&Shot::Wide);
            let two = [before, shot].iter().any(|s| matches!(s, Shot::Two(..)));
            if cut || two || (far && !wide) {
                *camera = Camera::on(target);
            } else {
                camera.target = target;
            }
        }
    }

    /// Targets follow who leaves the dead zone.
    fn follow(&mut self) {
        let targets = self.wanted();
        for (camera, target) in self.cameras.iter_mut().zip(targets) {
            let h = camera.target[2];
            let aspect = if matches!(self.shot, Shot::Two(..)) { self.aspect / 2.0 } else { self.aspect };
            let room = [self.config.dead_zone * h * aspect, self.config.dead_zone * h];
            let resized = (target[2] - h).abs() > SIZE_DEAD_ZONE * h;
            if resized || (0..2).any(|i| (target[i] - camera.target[i]).abs() > room[i]) {
                camera.target = target;
            }
        }
    }

    /// Centre and height of each crop, were there no dead zone.
    fn wanted(&self) -> [[f32; 3]; 2] {
        let of = |id: u32, aspect: f32| {
            self.people.iter().find(|p| p.id == id).map(|p| {
                let [least, most] = self.config.height_share.map(|share| share * self.size[1]);
                let h = (self.config.zoom * p.extent).clamp(least, most).min(widest(self.size, aspect));
                let centre = [p.at.x, p.at.y + (0.5 - MOUTH_AT) * h];
                let half = [h * aspect / 2.0, h / 2.0];
                let inside = |i: usize| centre[i].clamp(half[i], (self.size[i] - half[i]).max(half[i]));
                [inside(0), inside(1), h]
            })
        };
        let wide = [self.size[0] / 2.0, self.size[1] / 2.0, widest(self.size, self.aspect)];
        let [a, b] = match self.shot {
            Shot::Wide => [Some(wide); 2],
            Shot::One(id) => [of(id, self.aspect); 2],
            Shot::Two(left, right) => [of(left, self.aspect / 2.0), of(right, self.aspect / 2.0)],
        };
        // Who has gone is still looked at where they were.
        [a.unwrap_or(self.cameras[0].target), b.unwrap_or(self.cameras[1].target)]
    }

    fn advance(&mut self, to: Timestamp) {
        let Some(at) = self.at else {
            self.at = Some(to);
            return;
        };
        if to <= at {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "seconds between two pictures")]
        let dt = (to - at).as_s_f64() as f32;
        self.cameras.iter_mut().for_each(|c| c.step(self.config.stiffness, dt));
        self.at = Some(to);
    }

    /// What is shown at `t`, which is not before what was observed and asked for last.
    pub fn pose(&mut self, t: Timestamp) -> Pose {
        self.advance(t);
        match self.shot {
            Shot::Two(..) => Pose::Two(self.cameras.map(|c| self.crop(&c, self.aspect / 2.0))),
            _ => Pose::One(self.crop(&self.cameras[0], self.aspect)),
        }
    }

    /// The camera's crop, inside the picture: on its way from one place at the edge to another it may be a little outside.
    fn crop(&self, camera: &Camera, aspect: f32) -> PxRect {
        let h = camera.now[2].x.clamp(1.0, widest(self.size, aspect));
        let w = h * aspect;
        let centre = |i: usize, extent: f32| {
            let half = extent / 2.0;
            camera.now[i].x.clamp(half, (self.size[i] - half).max(half))
        };
        PxRect { centre: PxPoint { x: centre(0, w), y: centre(1, h) }, w, h }
    }
}

/// Height of the largest crop of this shape.
fn widest(size: [f32; 2], aspect: f32) -> f32 {
    size[1].min(size[0] / aspect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: (u32, u32) = (1280, 720);
    const SHAPE: f32 = 16.0 / 9.0;

    fn framing() -> Framing {
        Framing::new(FramingConfig::default(), SIZE.0, SIZE.1, SHAPE)
    }

    fn ms(t: i64) -> Timestamp {
        Timestamp::from_ms(t)
    }

    fn somebody(id: u32, x: f32, speaking: bool) -> Subject {
        Subject { id, at: PxPoint { x, y: 360.0 }, extent: 360.0 / 2.8, speaking }
    }

    /// Slots `from…to`, with who is there.
    fn play(f: &mut Framing, slots: std::ops::Range<i64>, who: &[Subject]) -> Vec<Pose> {
        slots
            .map(|k| {
                f.observe(ms(40 * k), false, who.iter().copied());
                f.pose(ms(40 * k))
            })
            .collect()
    }

    fn one(pose: Pose) -> PxRect {
        let Pose::One(rect) = pose else { panic!("two: {pose:?}") };
        rect
    }

    #[test]
    fn wide_until_somebody_has_spoken_for_a_second_and_again_when_nobody_does() {
        let mut f = framing();
        let all = play(&mut f, 0..24, &[somebody(1, 900.0, true)]);
        assert!(all.iter().all(|p| (one(*p).h - 720.0).abs() < 0.01), "a cough is no turn");
        let r = one(play(&mut f, 24..150, &[somebody(1, 900.0, true)])[125]);
        assert!((r.h - 360.0).abs() < 2.0 && (r.centre.x - 900.0).abs() < 3.0, "{r:?}");
        let (_, top, ..) = r.edges();
        assert!(((360.0 - top) / r.h - MOUTH_AT).abs() < 0.01, "{r:?}");
        let r = one(play(&mut f, 150..400, &[somebody(1, 900.0, false)])[249]);
        assert!((r.h - 720.0).abs() < 1.0, "{r:?}");
    }

    #[test]
    fn who_takes_over_comes_beside_and_then_instead() {
        let mut f = framing();
        play(&mut f, 0..100, &[somebody(1, 300.0, true), somebody(2, 1000.0, false)]);
        let two = play(&mut f, 100..150, &[somebody(1, 300.0, false), somebody(2, 1000.0, true)])[49];
        let Pose::Two([l, r]) = two else { panic!("{two:?}") };
        assert!((l.centre.x - 300.0).abs() < 40.0 && (r.centre.x - 1000.0).abs() < 40.0, "{l:?} {r:?}");
        assert!((l.w / l.h - SHAPE / 2.0).abs() < 0.01);
        let r = one(play(&mut f, 150..350, &[somebody(1, 300.0, false), somebody(2, 1000.0, true)])[199]);
        assert!((r.centre.x - 960.0).abs() < 45.0, "{r:?}");
    }

    #[test]
    fn small_movements_are_left_alone_and_large_ones_followed() {
        let mut f = framing();
        let before = one(play(&mut f, 0..200, &[somebody(1, 640.0, true)])[199]);
        let small = play(&mut f, 200..300, &[somebody(1, 680.0, true)]);
        assert!(small.iter().all(|p| (one(*p).centre.x - before.centre.x).abs() < 0.5));
        let large = play(&mut f, 300..450, &[somebody(1, 760.0, true)]);
        let xs: Vec<f32> = large.iter().map(|p| one(*p).centre.x).collect();
        assert!((xs[149] - 760.0).abs() < 1.0, "{}", xs[149]);
        // Critically damped: it never goes back, and never past.
        assert!(xs.windows(2).all(|w| w[1] >= w[0] - 1e-3) && xs.iter().all(|x| *x <= 760.01));
        let settled = xs.iter().position(|x| *x > 757.0).unwrap();
        assert!(settled < 45, "settled after {settled} slots");
    }

    #[test]
    fn a_cut_shows_everything_at_once() {
        let mut f = framing();
        play(&mut f, 0..200, &[somebody(1, 900.0, true)]);
        f.observe(ms(8_000), true, [somebody(7, 200.0, false)]);
        assert!((one(f.pose(ms(8_000))).h - 720.0).abs() < 0.01);
    }

    #[test]
    fn poses_do_not_depend_on_how_often_they_are_asked_for() {
        let who = [somebody(1, 900.0, true)];
        let (mut often, mut seldom) = (framing(), framing());
        for k in 0..150 {
            often.observe(ms(40 * k), false, who);
            seldom.observe(ms(40 * k), false, who);
            for j in 0..8 {
                often.pose(ms(40 * k + 5 * j));
            }
        }
        let (a, b) = (one(often.pose(ms(6_000))), one(seldom.pose(ms(6_000))));
        assert!((a.centre.x - b.centre.x).abs() < 0.05 && (a.h - b.h).abs() < 0.05, "{a:?} {b:?}");
    }

    proptest! {
        #[test]
        fn crops_have_their_shape_stay_inside_and_do_not_jerk(
            seed in prop::collection::vec((0u32..4, -50.0f32..1330.0, -50.0f32..770.0, any::<bool>()), 50..400),
            aspect in 0.4f32..3.0,
        ) {
            let mut f = Framing::new(FramingConfig::default(), SIZE.0, SIZE.1, aspect);
            let mut before: Option<(Shot, PxRect)> = None;
            for (k, (id, x, y, speaking)) in seed.into_iter().enumerate() {
                let t = ms(40 * i64::try_from(k).unwrap());
                f.observe(t, false, [Subject { id, at: PxPoint { x, y }, extent: y.abs() / 3.0, speaking }]);
                let pose = f.pose(t);
                let (rects, shape) = match pose {
                    Pose::One(r) => (vec![r], aspect),
                    Pose::Two(both) => (both.to_vec(), aspect / 2.0),
                };
                for r in &rects {
                    let (x0, y0, x1, y1) = r.edges();
                    prop_assert!(x0 > -0.1 && y0 > -0.1 && x1 < 1280.1 && y1 < 720.1, "{r:?}");
                    prop_assert!((r.w / r.h - shape).abs() < 1e-3 * shape);
                }
                // Within a shot nothing jumps: a spring's speed is at most ω/e of the way a second.
                if let Some((shot, last)) = before
                    && shot == f.shot
                {
                    let limit = 1_400.0 * f.config.stiffness / std::f32::consts::E * 0.04 + 1.0;
                    prop_assert!((rects[0].centre.x - last.centre.x).abs() < limit);
                }
                before = Some((f.shot, rects[0]));
            }
        }
    }
}
