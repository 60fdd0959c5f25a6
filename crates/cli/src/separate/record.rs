//! The first pass: who is where in every slot, and what their mouths do, written to a temporary file for the second.
//!
//! An object is found some moments after it began to speak, and its first words would be lost. So the pictures of the last
//! [`LOOK_BACK`] slots are kept, as the network saw them, and whoever is new is given what was to be seen at its place before,
//! as far back as the shot goes or until somebody else was there.

use gstseehear::run::{Control, Observer, SlotTiming};
use seehear::av_object::TrackState;
use seehear::events::Header;
use seehear::geometry::{MapGeometry, PxPoint, PxRect};
use seehear::session::Report;
use seehear::time::{SLOT, TimeDelta, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// Slots that whoever is new is looked for in the past: 5 s.
const LOOK_BACK: usize = 125;
/// The same for who was lost and is there again: 0.5 s; before that something else stood there.
const LOOK_BACK_AGAIN: usize = 12;
/// Another object nearer than this share of the picture's height was at the place itself.
const SAME_PLACE: f32 = 0.1;
/// Two objects that are mostly nearer to each other than this share of the picture's height are one person: so near none begins
/// beside another, and two faces are further apart.
const ONE_PERSON: f32 = 0.15;
/// From this confidence on the measured offset tells which picture belongs to a sound.
const SURE: f32 = 0.99;
/// A trajectory has a point where the object has moved by this share of the picture's height, or after five seconds.
const MOVED: f32 = 0.02;
const STOOD: TimeDelta = TimeDelta::from_ms(5_000);

/// From … to, running time.
pub(crate) type Stretch = (Timestamp, Timestamp);

/// What is known of an object when the first pass is over.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) visible: Vec<Stretch>,
    pub(crate) speaking: Vec<Stretch>,
    pub(crate) trajectory: Vec<(Timestamp, PxRect)>,
    /// Where it was when it last spoke.
    pub(crate) place: PxRect,
    confirmed: bool,
}

impl Life {
    /// Whether it gets a track: it was confirmed, and it spoke.
    pub(crate) fn speaks(&self) -> bool {
        self.confirmed && !self.speaking.is_empty()
    }

    /// For how long it spoke.
    pub(crate) fn spoken(&self) -> TimeDelta {
        self.speaking.iter().fold(TimeDelta::ZERO, |sum, (from, to)| sum + (*to - *from))
    }
}

/// Stretches of two together, in order.
pub(crate) fn union(a: &[Stretch], b: &[Stretch]) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = a.iter().chain(b).copied().collect();
    all.sort();
    let mut out: Vec<Stretch> = Vec::new();
    for (from, to) in all {
        match out.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => out.push((from, to)),
        }
    }
    out
}

fn extend(stretches: &mut Vec<Stretch>, start: Timestamp) {
    match stretches.last_mut() {
        Some((_, end)) if *end == start => *end = start + SLOT,
        _ => stretches.push((start, start + SLOT)),
    }
}

/// An object in a slot.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: u32,
    speaking: bool,
    centre: PxPoint,
}

/// A slot that may still be told of somebody.
#[derive(Debug, Default)]
struct Waiting {
    start: Timestamp,
    /// How late the sound is.
    offset: TimeDelta,
    cut: bool,
    entries: Vec<Entry>,
    /// `[entries, dim]`.
    embeddings: Vec<f32>,
    /// The map `[dim, cells]`, in steps of 1/127: enough for unit vectors.
    map: Vec<i8>,
}

/// Takes the reports of the first pass.
pub(crate) struct Recorder {
    out: BufWriter<File>,
    dim: usize,
    waiting: VecDeque<Waiting>,
    /// Those who were there in the last slot.
    there: Vec<u32>,
    offset: TimeDelta,
    pub(crate) lives: BTreeMap<u32, Life>,
    /// For how many slots two objects (the lower id first) were both to be seen, and how many of them near each other.
    together: BTreeMap<(u32, u32), (u32, u32)>,
    pub(crate) first: Option<Timestamp>,
    pub(crate) size: (u32, u32),
    until: Option<f64>,
    control: Arc<Control>,
}

impl Recorder {
    /// Writes to `path`; stops the run after `until` seconds.
    pub(crate) fn create(path: &Path, dim: usize, until: Option<f64>, control: Arc<Control>) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::with_capacity(1 << 16, File::create(path)?),
            dim,
            waiting: VecDeque::with_capacity(LOOK_BACK),
            there: Vec::new(),
            offset: TimeDelta::ZERO,
            lives: BTreeMap::new(),
            together: BTreeMap::new(),
            first: None,
            size: (0, 0),
            until,
            control,
        })
    }

    /// Writes what waits.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        while let Some(slot) = self.waiting.pop_front() {
            write(&mut self.out, &slot)?;
        }
        self.out.flush()
    }

    #[expect(clippy::cast_possible_truncation, reason = "unit vectors in steps of 1/127")]
    fn remember(&mut self, report: &Report<'_>) -> io::Result<()> {
        let mut slot = Waiting::default();
        if self.waiting.len() == LOOK_BACK
            && let Some(oldest) = self.waiting.pop_front()
        {
            write(&mut self.out, &oldest)?;
            slot = oldest; // its memory is used again
        }
        slot.entries.clear();
        slot.embeddings.clear();
        slot.map.clear();
        (slot.start, slot.offset, slot.cut) = (report.start, self.offset, report.seen.cut);
        slot.map.extend(report.seen.embeddings.iter().map(|v| (v * 127.0).round() as i8));
        for s in report.speakers.iter().filter(|s| s.object.state != TrackState::Lost) {
            let centre = s.object.rect.centre;
            let n = slot.embeddings.len();
            slot.embeddings.resize(n + self.dim, 0.0);
            report.seen.embedding_into(&report.map.geometry, centre, &mut slot.embeddings[n..]);
            slot.entries.push(Entry { id: s.object.id, speaking: s.speaking, centre });
        }
        self.waiting.push_back(slot);
        Ok(())
    }

    /// Whether two ids are one person.
    pub(crate) fn one_person(&self, a: u32, b: u32) -> bool {
        self.together.get(&(a.min(b), a.max(b))).is_some_and(|(both, near)| 2 * near > *both)
    }

    #[expect(clippy::cast_precision_loss, reason = "picture heights")]
    fn meet(&mut self, geometry: &MapGeometry) {
        let near = ONE_PERSON * geometry.height as f32;
        let Some(slot) = self.waiting.back() else { return };
        for (i, a) in slot.entries.iter().enumerate() {
            for b in &slot.entries[..i] {
                let pair = self.together.entry((a.id.min(b.id), a.id.max(b.id))).or_default();
                pair.0 += 1;
                pair.1 += u32::from(a.centre.distance(b.centre) < near);
            }
        }
    }

    /// Whoever was not there a slot ago is looked for in the past.
    #[expect(clippy::cast_precision_loss, reason = "picture heights")]
    fn look_back(&mut self, geometry: &MapGeometry) {
        let apart = SAME_PLACE * geometry.height as f32;
        let Some(mut k) = self.waiting.len().checked_sub(1) else { return };
        let now = std::mem::take(&mut self.waiting[k].entries);
        for e in now.iter().filter(|e| !self.there.contains(&e.id)) {
            let new = self.lives.get(&e.id).is_none_or(|l| l.visible.len() <= 1);
            let cell = geometry.nearest(e.centre);
            k = self.waiting.len() - 1;
            for _ in 0..if new { LOOK_BACK } else { LOOK_BACK_AGAIN } {
                let (later, cut) = (self.waiting[k].start, self.waiting[k].cut);
                let Some(before) = k.checked_sub(1) else { break };
                k = before;
                let slot = &mut self.waiting[k];
                let taken = |o: &Entry| o.id == e.id || o.centre.distance(e.centre) < apart;
                if cut || later - slot.start != SLOT || slot.entries.iter().any(taken) {
                    break;
                }
                if slot.map.len() != self.dim * geometry.cells() {
                    break;
                }
                let vector = slot.map[cell..].iter().step_by(geometry.cells());
                slot.embeddings.extend(vector.map(|v| f32::from(*v) / 127.0));
                slot.entries.push(Entry { speaking: false, ..*e });
            }
        }
        self.there.clear();
        self.there.extend(now.iter().map(|e| e.id));
        if let Some(last) = self.waiting.back_mut() {
            last.entries = now;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "picture heights")]
    fn live(&mut self, report: &Report<'_>) {
        let moved = MOVED * report.map.geometry.height as f32;
        for s in report.speakers.iter().filter(|s| s.object.state != TrackState::Lost) {
            let (life, rect) = (self.lives.entry(s.object.id).or_default(), s.object.rect);
            extend(&mut life.visible, report.start);
            if life.speaking.is_empty() || s.speaking {
                life.place = rect;
            }
            if s.speaking {
                extend(&mut life.speaking, report.start);
            }
            life.confirmed |= s.object.state == TrackState::Confirmed;
            let new = life
                .trajectory
                .last()
                .is_none_or(|(at, last)| report.start - *at >= STOOD || last.centre.distance(rect.centre) > moved);
            if new {
                life.trajectory.push((report.start, rect));
            }
        }
    }
}

impl Observer for Recorder {
    fn header(&mut self, header: &Header) -> io::Result<()> {
        self.size = (header.width, header.height);
        Ok(())
    }

    fn report(&mut self, report: &Report<'_>, _: SlotTiming) -> io::Result<()> {
        if self.until.is_some_and(|s| (report.start - Timestamp::ZERO).as_s_f64() >= s) {
            self.control.stop();
            return Ok(());
        }
        self.first.get_or_insert(report.start);
        if let Some(o) = report.offset.filter(|o| o.confidence >= SURE) {
            self.offset = o.offset;
        }
        self.remember(report)?;
        self.live(report);
        self.meet(&report.map.geometry);
        self.look_back(&report.map.geometry);
        Ok(())
    }
}

fn write(out: &mut impl Write, slot: &Waiting) -> io::Result<()> {
    out.write_all(&slot.start.ns().to_le_bytes())?;
    out.write_all(&slot.offset.ns().to_le_bytes())?;
    out.write_all(&u32::try_from(slot.entries.len()).unwrap_or(0).to_le_bytes())?;
    for e in &slot.entries {
        out.write_all(&e.id.to_le_bytes())?;
        out.write_all(&[u8::from(e.speaking)])?;
    }
    slot.embeddings.iter().try_for_each(|v| out.write_all(&v.to_le_bytes()))
}

/// A slot of the first pass.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) start: Timestamp,
    pub(crate) offset: TimeDelta,
    /// Ids, and whether they speak.
    pub(crate) objects: Vec<(u32, bool)>,
    /// `[objects, dim]`.
    pub(crate) embeddings: Vec<f32>,
}

/// Reads the slots of a time, and those around it.
pub(crate) struct Player {
    from: BufReader<File>,
    dim: usize,
    slots: VecDeque<Slot>,
    /// Which of them is the present one.
    at: usize,
    ended: bool,
}

/// Slots that are kept before the present one, 200 ms, and read after it, 320 ms: a highlight begins some moments after the voice.
const BEFORE: usize = 5;
const AFTER: usize = 8;

impl Player {
    pub(crate) fn open(path: &Path, dim: usize) -> io::Result<Self> {
        let from = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut this = Self { from, dim, slots: VecDeque::new(), at: 0, ended: false };
        this.fill()?;
        Ok(this)
    }

    fn fill(&mut self) -> io::Result<()> {
        while !self.ended && self.slots.len() <= self.at + AFTER {
            let mut slot = Slot::default();
            if self.at > BEFORE
                && let Some(old) = self.slots.pop_front()
            {
                self.at -= 1;
                slot = old;
            }
            if read(&mut self.from, self.dim, &mut slot)? {
                self.slots.push_back(slot);
            } else {
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Goes on to the slot of what is heard at `t`; `None` where there is none.
    pub(crate) fn seek(&mut self, t: Timestamp) -> io::Result<Option<&Slot>> {
        let seen = |s: &Slot| t - s.offset;
        while self.slots.get(self.at + 1).is_some_and(|next| next.start <= seen(next)) {
            self.at += 1;
            self.fill()?;
        }
        // The first slot begins with the first picture, and the last picture stays for a moment.
        let fits = |s: &&Slot| (s.start..s.start + SLOT * 3).contains(&seen(s));
        Ok(self.slots.get(self.at).filter(fits))
    }

    /// Whether an object speaks now or in the moments around.
    pub(crate) fn highlighted(&self, id: u32) -> bool {
        let around = self.slots.iter().skip(self.at.saturating_sub(BEFORE)).take(BEFORE + 1 + AFTER);
        around.flat_map(|s| &s.objects).any(|(other, speaking)| *other == id && *speaking)
    }
}

fn read(from: &mut impl Read, dim: usize, slot: &mut Slot) -> io::Result<bool> {
    let mut eight = [0; 8];
    match from.read_exact(&mut eight) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    slot.start = Timestamp::from_ns(i64::from_le_bytes(eight));
    from.read_exact(&mut eight)?;
    slot.offset = TimeDelta::from_ns(i64::from_le_bytes(eight));
    let mut four = [0; 4];
    from.read_exact(&mut four)?;
    let n = u32::from_le_bytes(four);
    slot.objects.clear();
    for _ in 0..n {
        let mut speaking = [0];
        from.read_exact(&mut four)?;
        from.read_exact(&mut speaking)?;
        slot.objects.push((u32::from_le_bytes(four), speaking[0] != 0));
    }
    slot.embeddings.clear();
    for _ in 0..slot.objects.len() * dim {
        from.read_exact(&mut four)?;
        slot.embeddings.push(f32::from_le_bytes(four));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_touch_are_one() {
        let ms = |a, b| (Timestamp::from_ms(a), Timestamp::from_ms(b));
        let got = union(&[ms(0, 80), ms(400, 480)], &[ms(40, 120), ms(120, 160), ms(440, 460)]);
        assert_eq!(got, [ms(0, 160), ms(400, 480)]);
        assert_eq!(union(&[], &[]), []);
    }

    #[test]
    fn slots_come_back_as_they_were_written_and_highlights_look_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slots");
        let mut file = File::create(&path).unwrap();
        for k in 0..100_i64 {
            let mut slot =
                Waiting { start: Timestamp::from_ms(40 * k), offset: TimeDelta::from_ms(20), ..Waiting::default() };
            if k != 7 {
                slot.entries.push(Entry { id: 3, speaking: k >= 50, centre: PxPoint { x: 0.0, y: 0.0 } });
                slot.embeddings.extend([0.5, -1.0]);
            }
            write(&mut file, &slot).unwrap();
        }
        let mut player = Player::open(&path, 2).unwrap();
        let mut at = |ms| {
            player.seek(Timestamp::from_ms(ms)).unwrap().map(|s| (s.start, s.objects.clone(), s.embeddings.clone()))
        };
        // The sound is 20 ms late: what is heard before 20 ms was to be seen before the first picture.
        assert_eq!(at(0), None);
        assert_eq!(at(20), Some((Timestamp::ZERO, vec![(3, false)], vec![0.5, -1.0])));
        assert_eq!(at(59), at(20));
        assert_eq!(at(300), Some((Timestamp::from_ms(280), vec![], vec![])));
        assert_eq!(at(1_600).map(|s| s.0), Some(Timestamp::from_ms(1_560)));
        assert!(!player.highlighted(3));
        assert_eq!(player.seek(Timestamp::from_ms(1_700)).unwrap().map(|s| s.start), Some(Timestamp::from_ms(1_680)));
        assert!(player.highlighted(3) && !player.highlighted(4));
        assert!(player.seek(Timestamp::from_ms(9_000)).unwrap().is_none());
    }
}
