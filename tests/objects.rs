//! What tracking makes of perfect embeddings: people who move, cross, are covered and are cut away from, with every cell's
//! vector known. An upper bound for any engine, and the test that ids stay with people.
//!
//! `cargo test --test objects -- --nocapture` prints the figures of each scene.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a test"
)]

use seehear::asd::{SpeakingConfig, SpeakingDecider};
use seehear::assign::Assigner;
use seehear::attention::{Attention, AttentionConfig};
use seehear::av_object::TrackState;
use seehear::geometry::{MapGeometry, PxPoint};
use seehear::motion::{MotionConfig, MotionEstimator};
use seehear::net::ScoreSpec;
use seehear::peaks::{PeakConfig, PeakPicker};
use seehear::time::Timestamp;
use seehear::tracker::{Tracker, TrackerConfig};
use std::collections::BTreeMap;

const W: usize = 336;
const H: usize = 192;
const STRIDE: usize = 16;
const SCALE: f32 = 4.0;
const G: MapGeometry = MapGeometry { cols: W / STRIDE, rows: H / STRIDE, width: 1344, height: 768 };
const DIM: usize = 128;
/// Half the height of a head, network pixels.
const HEAD: f32 = 26.0;
/// The default engine's way of reading scores.
const SCORE: ScoreSpec =
    ScoreSpec { scale: 88.4, zero_ms: 0.0, spread_ms: 120.0, sure: 0.1, nothing: 0.04, slope: 0.99, bias: -2.32 };

fn hash(a: u64, b: u64) -> f32 {
    let mut s = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xD1B5_4A32_D192_ED03);
    s = (s ^ (s >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    s = (s ^ (s >> 32)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((s ^ (s >> 31)) >> 40) as f32 / (1 << 24) as f32
}

/// Random texture, 0…255: large shapes with fine detail.
fn texture(x: f32, y: f32, seed: u64) -> f32 {
    0.65 * octave(x / 17.0, y / 17.0, seed) + 0.35 * octave(x / 5.0, y / 5.0, seed + 50)
}

fn octave(x: f32, y: f32, seed: u64) -> f32 {
    let (fx, fy) = (x - x.floor(), y - y.floor());
    let at = |i: i64, j: i64| hash(((x.floor() as i64 + i) as u64) << 20 ^ (y.floor() as i64 + j) as u64, seed);
    let top = at(0, 0) + fx * (at(1, 0) - at(0, 0));
    let low = at(0, 1) + fx * (at(1, 1) - at(0, 1));
    255.0 * (top + fy * (low - top))
}

/// A unit vector of its own.
fn code(seed: u64) -> Vec<f32> {
    let v: Vec<f32> = (0..DIM).map(|d| hash(seed, 77 + d as u64) - 0.5).collect();
    let n = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    v.into_iter().map(|x| x / n).collect()
}

/// Where a person is at `s` seconds, network pixels, and whether in the picture at all.
struct Person {
    home: (f32, f32),
    sway: (f32, f32),
    phase: f32,
}

/// What one scene does.
struct Scene {
    name: &'static str,
    seed: u64,
    seconds: usize,
    people: Vec<Person>,
    /// The first two change places, all the time: a period in seconds.
    crossing: Option<f32>,
    /// A bar sweeps through, all the time: a period in seconds.
    bar: Option<f32>,
    /// The camera cuts to a close-up of the last person and back: a period in seconds.
    cuts: Option<f32>,
    /// The camera pans to and fro, pixels.
    pan: f32,
}

impl Scene {
    fn shot(&self, s: f32) -> u64 {
        self.cuts.map_or(0, |period| (s / period) as u64 % 2)
    }

    fn camera(&self, s: f32) -> f32 {
        self.pan * (0.9 * s).sin()
    }

    /// The middle of each person's head; none where the shot does not show them.
    fn place(&self, i: usize, s: f32) -> Option<(f32, f32)> {
        let p = &self.people[i];
        if self.shot(s) == 1 {
            let last = i + 1 == self.people.len();
            return last.then(|| (0.6 * W as f32 + 4.0 * (s + p.phase).sin(), 0.5 * H as f32));
        }
        let (mut x, y) = p.home;
        if let (Some(period), true) = (self.crossing, i < 2) {
            let (a, b) = (self.people[0].home.0, self.people[1].home.0);
            let way = 0.5 - 0.5 * (std::f32::consts::TAU * s / period).cos();
            x = if i == 0 { a + way * (b - a) } else { b + way * (a - b) };
        }
        Some((x + p.sway.0 * (1.3 * s + p.phase).sin() - self.camera(s), y + p.sway.1 * (0.9 * s + p.phase).cos()))
    }

    fn bar_at(&self, s: f32) -> Option<f32> {
        self.bar.filter(|_| self.shot(s) == 0).map(|period| (s / period).fract() * 1.6 * W as f32 - 0.3 * W as f32)
    }

    fn in_head(&self, i: usize, s: f32, x: f32, y: f32) -> Option<(f32, f32)> {
        let (cx, cy) = self.place(i, s)?;
        let (dx, dy) = (x - cx, y - cy);
        ((dx / (0.75 * HEAD)).powi(2) + (dy / HEAD).powi(2) <= 1.0).then_some((dx, dy))
    }

    fn picture(&self, slot: usize) -> Vec<u8> {
        let s = slot as f32 * 0.04;
        let bar = self.bar_at(s);
        let grey = |x: f32, y: f32| {
            if let Some(at) = bar.filter(|at| (x - at).abs() < 22.0) {
                return texture(x - at + 500.0, y, self.seed + 90);
            }
            for i in 0..self.people.len() {
                if let Some((dx, dy)) = self.in_head(i, s, x, y) {
                    // Lips that move: a dark slit in the lower half of who speaks, and of who only chews.
                    let open = 3.0 * (11.0 * s + i as f32).sin().abs();
                    if dx.abs() < 9.0 && (dy - 10.0).abs() < open {
                        return 20.0;
                    }
                    return texture(dx + 900.0 * (i + 1) as f32, dy, self.seed + 10 + i as u64);
                }
            }
            0.6 * texture(x + self.camera(s), y, self.seed + self.shot(s))
        };
        (0..W * H)
            .map(|i| {
                let noise = 6.0 * (hash(i as u64, slot as u64) - 0.5);
                (grey((i % W) as f32, (i / W) as f32) + noise).clamp(0.0, 255.0) as u8
            })
            .collect()
    }

    /// Who speaks: turns of two to four seconds with half a second between.
    fn speaker(&self, slot: usize) -> Option<usize> {
        let (mut at, mut turn) = (0, 0_u64);
        loop {
            let len = 50 + (hash(turn, self.seed + 5) * 50.0) as usize;
            let who = ((hash(turn, self.seed + 6) * 7.0) as usize + turn as usize) % self.people.len();
            if slot < at + len {
                return (slot >= at).then_some(who);
            }
            at += len + 12;
            if slot < at {
                return None;
            }
            turn += 1;
        }
    }

    /// Whether a person is to be seen: in the shot, in the picture, and neither behind the bar nor behind another.
    fn visible(&self, i: usize, s: f32) -> bool {
        let Some((x, y)) = self.place(i, s) else { return false };
        let inside = (8.0..W as f32 - 8.0).contains(&x);
        let barred = self.bar_at(s).is_some_and(|at| (x - at).abs() < 30.0);
        let behind = (0..i).any(|j| self.place(j, s).is_some_and(|(ox, oy)| (ox - x).hypot(oy - y) < 1.2 * HEAD));
        inside && !barred && !behind
    }
}

#[derive(Debug, Default)]
struct Figures {
    truth: usize,
    missed: usize,
    false_alarms: usize,
    switches: usize,
    /// Slots in which an id stood for a person.
    overlap: BTreeMap<(u32, usize), usize>,
    told: usize,
    pointed: usize,
    right: usize,
    minutes: f32,
}

impl Figures {
    fn mota(&self) -> f32 {
        1.0 - (self.missed + self.false_alarms + self.switches) as f32 / self.truth as f32
    }

    /// Ristani et al. 2016: each person has one id, the assignment that overlaps most.
    fn idf1(&self, people: usize) -> f32 {
        let ids: Vec<u32> =
            self.overlap.keys().map(|k| k.0).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let mut assigner = Assigner::new(people, ids.len().max(1));
        let shared = |p: usize, i: usize| self.overlap.get(&(ids[i], p)).copied().unwrap_or(0);
        let most = 1e5;
        let answer = assigner.solve(people, ids.len(), most, |p, i| most - shared(p, i) as f32).to_vec();
        let both: usize = answer.iter().enumerate().filter_map(|(p, i)| i.map(|i| shared(p, i))).sum();
        2.0 * both as f32 / (self.truth + self.told) as f32
    }
}

fn run(scene: &Scene, motion: &MotionConfig) -> Figures {
    let mut estimator = MotionEstimator::new(motion, W, H, STRIDE);
    let mut attention = Attention::new(&AttentionConfig::default(), &SCORE, G, DIM, 2);
    let mut peaks = PeakPicker::new(&PeakConfig::default(), G.cells());
    let mut tracker = Tracker::new(&TrackerConfig::default());
    let mut decider = SpeakingDecider::new(&SpeakingConfig::default());
    let mut figures = Figures { minutes: scene.seconds as f32 / 60.0, ..Figures::default() };
    let mut last_id: Vec<Option<u32>> = vec![None; scene.people.len()];
    let mut heard = vec![0_usize; scene.people.len()];
    let mut shot = 0;
    let mut map = vec![0.0; DIM * G.cells()];
    for slot in 0..scene.seconds * 25 {
        let s = slot as f32 * 0.04;
        estimator.push(&scene.picture(slot), true).unwrap();
        let speaker = scene.speaker(slot);
        let sound = code(slot as u64 * 1000 + 1);
        for cell in 0..G.cells() {
            let (x, y) = ((cell % G.cols * STRIDE) as f32, (cell / G.cols * STRIDE) as f32);
            // Who is in front is what the cell shows.
            let barred = scene.bar_at(s).is_some_and(|at| (x - at).abs() < 22.0);
            let shown = (0..scene.people.len()).find(|&i| scene.in_head(i, s, x, y).is_some()).filter(|_| !barred);
            let sounds = shown.is_some() && shown == speaker;
            let noise = code((slot * G.cells() + cell) as u64 * 31 + 7);
            // As good as a good engine: half of the vector is the sound's.
            for d in 0..DIM {
                map[d * G.cells() + cell] = if sounds { 0.45 * sound[d] + 0.85 * noise[d] } else { noise[d] };
            }
        }
        attention.push_map(&map);
        let nothing = code(slot as u64 * 1000 + 999);
        attention.push_sound(if speaker.is_some() { &sound } else { &nothing });
        attention.advance(estimator.pull()).unwrap();
        let attended = attention.map(Timestamp::from_ms(slot as i64 * 40), estimator.pull());
        peaks.push(&attended);
        tracker.push(peaks.pull().unwrap(), &attended, speaker.is_some());
        decider.push(tracker.pull().unwrap(), speaker.is_some(), true);
        let (speakers, _) = decider.pull().unwrap();

        // The truth: people to be seen who have spoken in this shot for 0.8 s.
        if scene.shot(s) != shot {
            shot = scene.shot(s);
            heard.fill(0);
        }
        if let Some(who) = speaker.filter(|&w| scene.visible(w, s)) {
            heard[who] += 1;
        }
        let px = |i: usize| scene.place(i, s).map(|(x, y)| PxPoint { x: SCALE * x, y: SCALE * y });
        let there: Vec<usize> = (0..scene.people.len()).filter(|&i| scene.visible(i, s)).collect();
        let told: Vec<_> = speakers.iter().filter(|o| o.object.state == TrackState::Confirmed).collect();
        let mut assigner = Assigner::new(there.len().max(1), told.len().max(1));
        let far = SCALE * 1.3 * HEAD;
        let distance = |p: usize, o: usize| px(there[p]).unwrap().distance(told[o].object.rect.centre);
        let cost = |p: usize, o: usize| if distance(p, o) <= far { distance(p, o) } else { 1e6 };
        let answer = assigner.solve(there.len(), told.len(), far, cost).to_vec();
        let mut used = 0;
        for (p, o) in answer.iter().enumerate() {
            let who = there[p];
            let counts = heard[who] >= 20;
            if let Some(o) = o {
                used += 1;
                let id = told[*o].object.id;
                if counts {
                    figures.truth += 1;
                    figures.told += 1;
                    *figures.overlap.entry((id, who)).or_default() += 1;
                    figures.switches += usize::from(last_id[who].is_some_and(|last| last != id));
                    last_id[who] = Some(id);
                }
            } else if counts {
                figures.truth += 1;
                figures.missed += 1;
            }
        }
        // An object on somebody just hidden is no false alarm: coasting is what it is for.
        let hidden = |o: usize| {
            (0..scene.people.len())
                .any(|i| !there.contains(&i) && px(i).is_some_and(|p| p.distance(told[o].object.rect.centre) <= far))
        };
        let stray = (0..told.len()).filter(|o| !answer.contains(&Some(*o)) && !hidden(*o)).count();
        assert!(used <= told.len());
        figures.false_alarms += stray;
        figures.told += stray;
        if let Some(who) = speaker.filter(|&w| heard[w] >= 20 && scene.visible(w, s)) {
            figures.pointed += 1;
            let top = speakers.iter().filter(|o| o.speaking).max_by(|a, b| a.probability.total_cmp(&b.probability));
            figures.right += usize::from(top.is_some_and(|o| o.object.rect.centre.distance(px(who).unwrap()) <= far));
        }
    }
    figures
}

fn person(x: f32, y: f32, sway: (f32, f32), phase: f32) -> Person {
    Person { home: (x * W as f32, y * H as f32), sway, phase }
}

fn scenes() -> Vec<Scene> {
    let three = || {
        vec![person(0.2, 0.5, (10.0, 4.0), 0.0), person(0.5, 0.5, (14.0, 5.0), 2.0), person(0.82, 0.5, (8.0, 6.0), 4.0)]
    };
    let scene = |name, seed| Scene {
        name,
        seed,
        seconds: 40,
        people: three(),
        crossing: None,
        bar: None,
        cuts: None,
        pan: 0.0,
    };
    vec![
        scene("sway", 100),
        Scene { pan: 40.0, ..scene("pan", 200) },
        Scene { crossing: Some(16.0), ..scene("crossing", 300) },
        Scene { bar: Some(7.0), ..scene("occlusion", 400) },
        Scene { cuts: Some(8.0), ..scene("cuts", 500) },
    ]
}

/// Every scene at once, for the figures asked of all together.
#[test]
fn ids_stay_with_people() {
    let mut total = (0, 0.0_f32);
    for scene in scenes() {
        let f = run(&scene, &MotionConfig::default());
        let (mota, idf1) = (f.mota(), f.idf1(scene.people.len()));
        let pointing = f.right as f32 / f.pointed as f32;
        println!(
            "{:10} MOTA {mota:.3} IDF1 {idf1:.3} pointing {pointing:.3} switches {} missed {} false {} of {}",
            scene.name, f.switches, f.missed, f.false_alarms, f.truth
        );
        assert!(f.truth > 500, "{}: hardly anything to judge", scene.name);
        assert!(pointing > 0.9, "{}: pointing {pointing}", scene.name);
        let (least_mota, least_idf1) = match scene.name {
            // Who is behind another for long is sometimes begun anew.
            "crossing" => (0.85, 0.8),
            _ => (0.9, 0.95),
        };
        assert!(mota > least_mota && idf1 > least_idf1, "{}: MOTA {mota} IDF1 {idf1}", scene.name);
        total = (total.0 + f.switches, total.1 + f.minutes);
    }
    let switches = total.0 as f32 / total.1;
    println!("{switches:.2} id switches a minute");
    assert!(switches <= 1.0, "{switches} id switches a minute");
}
