//! Active speaker detection: which objects speak, and what the voice is.
//!
//! An object's attention logit is the log-odds that it speaks (calibrated in `attention`, and for a place of its own by a
//! [`Sigmoid`] on top); speaking begins and ends by hysteresis with hold times, so that a syllable does not flicker. The
//! voice is then one of four answers: none, on-screen, off-screen, ambiguous.

use crate::av_object::{AvObject, TrackState};
use crate::reliability::Sigmoid;
use crate::time::TimeDelta;
use crate::tracker::MAX_OBJECTS;
use serde::{Deserialize, Serialize};

/// Parameters of the decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeakingConfig {
    /// Speaking begins when the probability has been at least this …
    pub on_probability: f32,
    /// … for this long, ms.
    pub on_ms: i64,
    /// Speaking ends when the probability has been below this …
    pub off_probability: f32,
    /// … for this long, ms.
    pub off_ms: i64,
    /// An object whose logit is further than this below the strongest one does not begin to speak, and further than
    /// twice this does not go on. Two who really speak at once both agree with the sound about as well.
    pub margin: f32,
    /// A voice that no object has owned for this long is off-screen, ms; until then it is ambiguous.
    pub off_screen_after_ms: i64,
    /// A picture in which nothing has moved for this long shows nobody speaking, and none is asked for, ms.
    pub still_after_ms: i64,
    /// From an object's attention logit to the probability that it speaks (`seehear calibrate speaking`).
    pub calibration: Sigmoid,
}

impl Default for SpeakingConfig {
    fn default() -> Self {
        Self {
            on_probability: 0.35,
            on_ms: 80,
            off_probability: 0.22,
            off_ms: 240,
            margin: 0.5,
            off_screen_after_ms: 600,
            still_after_ms: 1_000,
            calibration: Sigmoid::default(),
        }
    }
}

impl SpeakingConfig {
    /// Has speaking begin at another probability; the one at which it ends keeps its ratio to it.
    pub fn set_threshold(&mut self, on_probability: f32) {
        let ratio = self.off_probability / self.on_probability.max(f32::MIN_POSITIVE);
        self.on_probability = on_probability;
        self.off_probability = (on_probability * ratio).min(on_probability);
    }
}

/// What the sound is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voice {
    /// No voice is heard, or the picture is a still.
    None,
    /// A voice is heard, and at least one object speaks.
    OnScreen,
    /// A voice is heard, and nothing in the moving picture agrees with it.
    OffScreen,
    /// A voice is heard, and whose it is can't be told (yet).
    Ambiguous,
}

/// An object with its decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speaker {
    /// The object.
    pub object: AvObject,
    /// Probability that it speaks now, 0…1.
    pub probability: f32,
    /// The decision, with hysteresis.
    pub speaking: bool,
    /// It speaks or has spoken before: more than a place that once agreed with the sound by chance.
    pub has_spoken: bool,
}

#[derive(Clone, Copy, Debug)]
struct Memory {
    id: u32,
    speaking: bool,
    has_spoken: bool,
    /// Slots for which the probability has argued against the present decision.
    against: usize,
}

/// The speaking stage: push the objects of a slot, pull the decisions.
#[derive(Debug)]
pub struct SpeakingDecider {
    config: SpeakingConfig,
    on_slots: usize,
    off_slots: usize,
    off_screen_slots: usize,
    still_slots: usize,
    memory: Vec<Memory>,
    speakers: Vec<Speaker>,
    unowned: usize,
    still: usize,
    voice: Voice,
    ready: bool,
}

impl SpeakingDecider {
    /// With these parameters.
    #[must_use]
    pub fn new(config: &SpeakingConfig) -> Self {
        let slots = |ms| TimeDelta::from_ms(ms).slots_ceil().max(1);
        Self {
            config: config.clone(),
            on_slots: slots(config.on_ms),
            off_slots: slots(config.off_ms),
            off_screen_slots: slots(config.off_screen_after_ms),
            still_slots: slots(config.still_after_ms),
            memory: Vec::with_capacity(MAX_OBJECTS + 1),
            speakers: Vec::with_capacity(MAX_OBJECTS + 1),
            unowned: 0,
            // Until something moves it may be a still, and a still shows nobody speaking.
            still: usize::MAX,
            voice: Voice::None,
            ready: false,
        }
    }

    /// Takes the objects of the next slot, whether a voice is heard in it and whether the picture moved.
    pub fn push(&mut self, objects: &[AvObject], voiced: bool, moved: bool) {
        self.still = if moved { 0 } else { self.still.saturating_add(1) };
        let frozen = self.still >= self.still_slots;
        self.speakers.clear();
        self.memory.retain(|m| objects.iter().any(|o| o.id == m.id));
        let strongest = objects.iter().map(|o| o.logit).fold(f32::MIN, f32::max);
        for object in objects {
            let heard = voiced && !frozen;
            let probability = if heard { self.config.calibration.probability(object.logit) } else { 0.0 };
            let index = self.memory.iter().position(|m| m.id == object.id).unwrap_or_else(|| {
                self.memory.push(Memory { id: object.id, speaking: false, has_spoken: false, against: 0 });
                self.memory.len() - 1
            });
            let m = &mut self.memory[index];
            // As the two thresholds of the probability, the margin is wider for going on than for beginning.
            let behind = strongest - object.logit;
            let (flip, after) = if m.speaking {
                let done = probability < self.config.off_probability || behind > 2.0 * self.config.margin;
                (done, self.off_slots)
            } else {
                let known = object.state == TrackState::Confirmed;
                let clear = probability >= self.config.on_probability && behind <= self.config.margin;
                (known && clear, self.on_slots)
            };
            m.against = if flip { m.against + 1 } else { 0 };
            if m.against >= after {
                m.speaking = !m.speaking;
                m.against = 0;
            }
            // Out of sight, after a cut say: what stands at its place now is somebody else's.
            m.speaking &= object.state != TrackState::Lost;
            m.has_spoken |= m.speaking;
            let (speaking, has_spoken) = (m.speaking, m.has_spoken);
            self.speakers.push(Speaker { object: *object, probability, speaking, has_spoken });
        }
        let owned = self.speakers.iter().any(|s| s.speaking);
        self.unowned = if voiced && !owned { self.unowned.saturating_add(1) } else { 0 };
        self.voice = match (voiced && !frozen, owned) {
            (false, _) => Voice::None,
            (true, true) => Voice::OnScreen,
            (true, false) if self.unowned >= self.off_screen_slots => Voice::OffScreen,
            (true, false) => Voice::Ambiguous,
        };
        self.ready = true;
    }

    /// The decisions of the last slot pushed.
    pub fn pull(&mut self) -> Option<(&[Speaker], Voice)> {
        std::mem::take(&mut self.ready).then_some((&self.speakers[..], self.voice))
    }

    /// [`SpeakingConfig::set_threshold`], from the next slot on.
    pub fn set_threshold(&mut self, on_probability: f32) {
        self.config.set_threshold(on_probability);
    }

    /// None: hold times delay a change of the answer, not the answer.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// Forgets who spoke.
    pub fn reset(&mut self) {
        self.memory.clear();
        self.speakers.clear();
        self.unowned = 0;
        self.still = usize::MAX;
        self.ready = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PxRect;
    use crate::time::Timestamp;

    fn object(id: u32, logit: f32) -> AvObject {
        AvObject { id, rect: PxRect::default(), logit, state: TrackState::Confirmed, last_peak: Timestamp::ZERO }
    }

    fn decider() -> SpeakingDecider {
        let config = SpeakingConfig { on_ms: 120, off_ms: 200, off_screen_after_ms: 400, ..SpeakingConfig::default() };
        SpeakingDecider::new(&config)
    }

    fn run(d: &mut SpeakingDecider, logits: &[f32], voiced: bool, moved: bool) -> (Vec<bool>, Voice) {
        let objects: Vec<_> = logits.iter().zip(1..).map(|(&l, id)| object(id, l)).collect();
        d.push(&objects, voiced, moved);
        let (speakers, voice) = d.pull().unwrap();
        (speakers.iter().map(|s| s.speaking).collect(), voice)
    }

    #[test]
    fn speaking_begins_after_on_ms_ends_after_off_ms_and_does_not_flicker() {
        let mut d = decider();
        let mut flips = 0;
        let mut was = false;
        let script = [(3.0, 2), (-3.0, 2), (3.0, 10), (-3.0, 4), (3.0, 5), (-3.0, 20)];
        let mut on_slots = 0;
        for (logit, slots) in script {
            for _ in 0..slots {
                let (s, _) = run(&mut d, &[logit], true, true);
                flips += usize::from(s[0] != was);
                was = s[0];
                on_slots += usize::from(s[0]);
            }
        }
        // Two slots are too short to begin, four to end; on at the 3rd of 10, off at the 5th of the last 20.
        assert_eq!((flips, on_slots), (2, 8 + 4 + 5 + 4));
    }

    #[test]
    fn the_four_answers() {
        let mut d = decider();
        assert_eq!(run(&mut d, &[-3.0], false, true).1, Voice::None);
        for slot in 1..=20 {
            let want = if slot < 10 { Voice::Ambiguous } else { Voice::OffScreen };
            assert_eq!(run(&mut d, &[-3.0], true, true).1, want, "slot {slot}");
        }
        for _ in 0..5 {
            run(&mut d, &[3.0, 3.0], true, true);
        }
        assert_eq!(run(&mut d, &[3.0, 3.0], true, true), (vec![true, true], Voice::OnScreen), "overlap: both speak");
    }

    #[test]
    fn a_still_picture_with_a_voice_is_none() {
        let mut d = decider();
        let mut last = Voice::Ambiguous;
        for _ in 0..60 {
            last = run(&mut d, &[3.0], true, false).1;
        }
        assert_eq!(last, Voice::None);
        assert_eq!(run(&mut d, &[3.0], true, false).0, [false]);
    }

    #[test]
    fn another_threshold_holds_from_the_next_slot_on() {
        let mut d = decider();
        let probability = d.config.calibration.probability(0.5);
        let ratio = d.config.off_probability / d.config.on_probability;
        d.set_threshold(probability + 0.1);
        assert!((d.config.off_probability / d.config.on_probability - ratio).abs() < 1e-6);
        for _ in 0..20 {
            assert_eq!(run(&mut d, &[0.5], true, true).0, [false]);
        }
        d.set_threshold(probability - 0.1);
        let said: Vec<bool> = (0..20).map(|_| run(&mut d, &[0.5], true, true).0[0]).collect();
        assert!(!said[0] && said[19]);
    }

    #[test]
    fn who_is_lost_stops_at_once() {
        let mut d = decider();
        for _ in 0..20 {
            run(&mut d, &[5.0], true, true);
        }
        d.push(&[AvObject { state: TrackState::Lost, ..object(1, 5.0) }], true, true);
        assert!(!d.pull().unwrap().0[0].speaking);
    }

    #[test]
    fn a_tentative_object_does_not_speak() {
        let mut d = decider();
        for _ in 0..20 {
            d.push(&[AvObject { state: TrackState::Tentative, ..object(1, 5.0) }], true, true);
            assert!(!d.pull().unwrap().0[0].speaking);
        }
    }
}
