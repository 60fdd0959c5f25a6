//! Sound along a curve of time: what is heard at t is heard at t − offset(t).
//!
//! The curve is cut into segments at its steps. Within a segment the output's sample n is the source at position
//! n + offset, read off by a windowed sinc (Kaiser, ±32 samples); where a whole segment has one offset, that is rounded
//! to the sample, so that samples are moved and not computed. At a step the segments are cross-faded within 10 ms, as
//! near to the step as the sound of both reaches: material that would be heard twice gives way, and where there is
//! none each side lends up to 50 ms of what it has beyond the step; what is then still missing is silence.

use super::{FixError, Knot};
use std::f64::consts::PI;
use std::io::{self, Read, Write};

/// Length of a cross-fade, ns.
const FADE_NS: f64 = 10e6;
/// What a segment gives beyond its step to fill a gap, ns.
const LEND_NS: f64 = 50e6;
/// The largest step, ns: so much sound may have to be kept in memory.
const LARGEST_STEP_NS: f64 = 60e9;
/// The largest drift: ten times what any machine's clock was ever off, and not yet another pitch.
const LARGEST_DRIFT: f64 = 0.05;
const NS_PER_S: f64 = 1e9;

/// The corrected time line, piece by piece.
#[derive(Clone, Debug)]
pub(super) struct TimeMap {
    segments: Vec<Segment>,
}

/// A stretch without a step.
#[derive(Clone, Debug)]
struct Segment {
    /// (time in the output, offset), ns; in ascending order of time, and constant beyond the ends.
    points: Vec<(f64, f64)>,
    /// Where the segment fades in and out, middle of the fade, ns in the output.
    begin: f64,
    end: f64,
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ns are 104 days")]
fn ns(t: i64) -> f64 {
    t as f64
}

impl TimeMap {
    /// From knots in ascending order of time.
    pub(super) fn new(knots: &[Knot]) -> Result<Self, FixError> {
        let wrong = |why: String| Err(FixError::Correction { why });
        if knots.is_empty() {
            return wrong("the curve of offsets has no points".into());
        }
        let mut segments = vec![Segment { points: Vec::new(), begin: f64::NEG_INFINITY, end: f64::INFINITY }];
        for (i, knot) in knots.iter().enumerate() {
            let (at, offset) = (ns(knot.at.ns()), ns(knot.offset.ns()));
            if let Some(before) = i.checked_sub(1).map(|i| &knots[i]) {
                let (at0, offset0) = (ns(before.at.ns()), ns(before.offset.ns()));
                let (run, rise) = (at - at0, offset - offset0);
                if run < 0.0 {
                    return wrong(format!("the curve of offsets goes back in time at {}", knot.at));
                }
                let last = segments.last_mut().expect("begins with one");
                if run > 0.0 && rise.abs() > LARGEST_DRIFT * run {
                    return wrong(format!(
                        "from {} to {} the sound would have to run {:.0} % faster or slower: a step, not a drift",
                        before.at,
                        knot.at,
                        100.0 * rise.abs() / run
                    ));
                } else if run <= 0.0 && rise.abs() > LARGEST_STEP_NS {
                    return wrong(format!("the step at {} is longer than a minute", knot.at));
                } else if run <= 0.0 {
                    let (end, begin) = join(at, offset0, offset);
                    last.end = end;
                    segments.push(Segment { points: Vec::new(), begin, end: f64::INFINITY });
                }
            }
            segments.last_mut().expect("begins with one").points.push((at - offset, offset));
        }
        for s in &segments {
            if s.end - s.begin < 2.0 * FADE_NS {
                let at = seehear::time::Timestamp::from_ns(knots[0].at.ns());
                return wrong(format!("two steps of the curve of offsets (which begins at {at}) lie on each other"));
            }
        }
        Ok(Self { segments })
    }
}

/// Where the segment before a step ends and the one after it begins, ns in the output. The step is at `at` in the
/// source, from one offset to the other. The picture's cut stays at `at`, and the join keeps as near to it as the
/// sound of both sides allows.
fn join(at: f64, before: f64, after: f64) -> (f64, f64) {
    let (end, begin) = (at - before, at - after);
    let place = at.clamp(end.min(begin), end.max(begin));
    if begin <= end { (place, place) } else { (place.min(end + LEND_NS), place.max(begin - LEND_NS)) }
}

impl Segment {
    /// The offset at a time of the output, in samples; whole when it is the same everywhere.
    fn offset(&self, at: f64, rate: f64) -> f64 {
        let (first, last) = (self.points[0], *self.points.last().expect("never empty"));
        let constant = self.points.iter().all(|p| (p.1 - first.1).abs() < 1.0);
        if constant {
            return (first.1 * rate / NS_PER_S).round();
        }
        let i = self.points.partition_point(|p| p.0 <= at);
        let offset = if i == 0 {
            first.1
        } else if i == self.points.len() {
            last.1
        } else {
            let (a, b) = (self.points[i - 1], self.points[i]);
            a.1 + (at - a.0) * (b.1 - a.1) / (b.0 - a.0)
        };
        offset * rate / NS_PER_S
    }

    /// How much of the segment is heard, 0 … 1; two that meet add up to 1.
    fn weight(&self, at: f64) -> f64 {
        let ramp = |x: f64| 0.5 - 0.5 * (PI * (x / FADE_NS + 0.5).clamp(0.0, 1.0)).cos();
        ramp(at - self.begin) * ramp(self.end - at)
    }

    /// The time at which it is first heard, and that after which it is not.
    fn heard(&self) -> (f64, f64) {
        (self.begin - 0.5 * FADE_NS, self.end + 0.5 * FADE_NS)
    }
}

/// Half the length of the interpolation filter, samples.
const HALF: usize = 32;
const TAPS: usize = 2 * HALF;
/// Positions between two samples that are tabulated; between those it is interpolated (error below −110 dB).
const PHASES: usize = 1024;
const KAISER_BETA: f64 = 9.0;

/// A windowed sinc.
struct Sinc {
    /// [PHASES + 1][TAPS]; tap k of phase f weighs sample floor + k − HALF + 1.
    table: Vec<f64>,
}

impl Sinc {
    fn new() -> Self {
        let bessel = |x: f64| {
            let (mut sum, mut term) = (1.0, 1.0);
            for k in 1..40 {
                term *= (x / (2.0 * f64::from(k))).powi(2);
                sum += term;
            }
            sum
        };
        let half = count(HALF);
        let mut table = Vec::with_capacity((PHASES + 1) * TAPS);
        for phase in 0..=PHASES {
            for tap in 0..TAPS {
                let x = count(tap) - half + 1.0 - count(phase) / count(PHASES);
                let sinc = if x.abs() < 1e-12 { 1.0 } else { (PI * x).sin() / (PI * x) };
                let window = bessel(KAISER_BETA * (1.0 - (x / half).powi(2)).max(0.0).sqrt()) / bessel(KAISER_BETA);
                table.push(sinc * window);
            }
        }
        Self { table }
    }

    /// Fills the taps for a position between two samples, 0 … 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 … PHASES")]
    fn taps(&self, fraction: f64, taps: &mut [f64; TAPS]) {
        let place = fraction * count(PHASES);
        let phase = (place.floor() as usize).min(PHASES - 1);
        let part = place - count(phase);
        let row = |p: usize| &self.table[p * TAPS..(p + 1) * TAPS];
        for ((tap, a), b) in taps.iter_mut().zip(row(phase)).zip(row(phase + 1)) {
            *tap = a + part * (b - a);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "indices and sample counts are far below 2^53")]
fn count(n: usize) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
fn position(n: i64) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, reason = "sample counts are far below 2^53")]
fn whole(x: f64) -> i64 {
    x.floor() as i64
}

/// The part of the source that is still needed: interleaved f64, silence before the first and after the last frame.
struct Source<'a> {
    stream: &'a mut dyn Read,
    channels: usize,
    /// Index of the first frame kept.
    base: i64,
    samples: Vec<f64>,
    bytes: Vec<u8>,
    /// Bytes of `bytes` that are a piece of a sample yet.
    left: usize,
    ended: bool,
}

impl Source<'_> {
    /// The index after the last frame read.
    fn end(&self) -> i64 {
        self.base + i64::try_from(self.samples.len().div_euclid(self.channels)).expect("memory is smaller than 2^63")
    }

    /// Reads until `frame` is there, or the end.
    fn read_to(&mut self, frame: i64) -> io::Result<()> {
        const SAMPLE: usize = size_of::<f64>();
        while !self.ended && self.end() <= frame {
            let n = match self.stream.read(&mut self.bytes[self.left..]) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            self.ended = n == 0;
            let filled = self.left + n;
            let (samples, rest) = self.bytes[..filled].as_chunks::<SAMPLE>();
            self.samples.extend(samples.iter().map(|&b| f64::from_le_bytes(b)));
            self.left = rest.len();
            self.bytes.copy_within(filled - self.left..filled, 0);
        }
        Ok(())
    }

    /// Lets go of what lies before `frame`.
    fn forget(&mut self, frame: i64) {
        let n = usize::try_from(frame.min(self.end()) - self.base).unwrap_or(0);
        // Moving the rest down costs as much as it holds: only when it is the smaller half.
        if 2 * n * self.channels > self.samples.len() {
            self.samples.drain(..n * self.channels);
            self.base += i64::try_from(n).expect("fits, it came from an i64");
        }
    }

    fn frame(&self, index: i64) -> Option<&[f64]> {
        let i = usize::try_from(index - self.base).ok()? * self.channels;
        self.samples.get(i..i + self.channels)
    }

    /// Adds the sound at a position, in samples, to one frame of the output.
    fn add(&self, at: f64, weight: f64, sinc: &Sinc, taps: &mut [f64; TAPS], out: &mut [f64]) {
        let floor = whole(at);
        let fraction = at - position(floor);
        if fraction < 1e-9 {
            for (o, s) in out.iter_mut().zip(self.frame(floor).unwrap_or(&[])) {
                *o += weight * s;
            }
            return;
        }
        sinc.taps(fraction, taps);
        for (index, tap) in (floor + 1 - HALF_I64..).zip(taps.iter()) {
            for (o, s) in out.iter_mut().zip(self.frame(index).unwrap_or(&[])) {
                *o += weight * tap * s;
            }
        }
    }
}

const HALF_I64: i64 = 32;
/// Frames that are computed at a time.
const BLOCK: i64 = 4096;

/// Reads interleaved little-endian f64 at `rate` with `channels`, the first frame at time zero, and writes the same
/// along `map`, from time zero to where the last sound is heard. Gives the number of frames read. Memory: what the
/// largest step spans, and some blocks. `go_on` is asked after every block.
///
/// # Errors
/// Of the streams; [`io::ErrorKind::Interrupted`] when `go_on` said no.
pub(super) fn warp(
    map: &TimeMap,
    rate: u32,
    channels: usize,
    source: &mut dyn Read,
    sink: &mut dyn Write,
    go_on: &dyn Fn() -> bool,
) -> io::Result<i64> {
    let rate = f64::from(rate);
    let time = |n: i64| position(n) * NS_PER_S / rate;
    let sinc = Sinc::new();
    let mut taps = [0.0; TAPS];
    let mut source = Source {
        stream: source,
        channels,
        base: 0,
        samples: Vec::new(),
        bytes: vec![0; 1 << 16],
        left: 0,
        ended: false,
    };
    let frames = usize::try_from(BLOCK).expect("4096");
    let mut out = vec![0.0; frames * channels];
    let mut bytes = Vec::with_capacity(out.len() * size_of::<f64>());
    for first in (0_i64..).step_by(frames) {
        let last = first + BLOCK - 1;
        // What this block reads, and what the ones after it will.
        let (mut need, mut keep) = (i64::MIN, i64::MAX);
        for s in &map.segments {
            let (from, to) = s.heard();
            if to < time(first) {
                continue;
            }
            let at = from.max(time(first));
            keep = keep.min(whole((at / NS_PER_S * rate) + s.offset(at, rate)) - HALF_I64);
            if from <= time(last) {
                need = need.max(whole(position(last) + s.offset(time(last), rate)) + HALF_I64 + 1);
            }
        }
        source.forget(keep);
        source.read_to(need)?;
        out.fill(0.0);
        for s in &map.segments {
            let (from, to) = s.heard();
            if from > time(last) || to < time(first) {
                continue;
            }
            for (n, frame) in (first..).zip(out.chunks_exact_mut(channels)) {
                let weight = s.weight(time(n));
                if weight > 0.0 {
                    source.add(position(n) + s.offset(time(n), rate), weight, &sinc, &mut taps, frame);
                }
            }
        }
        let until = if source.ended { map.last_frame(source.end(), rate).min(last) } else { last };
        bytes.clear();
        let n = usize::try_from(until + 1 - first).unwrap_or(0) * channels;
        bytes.extend(out[..n].iter().flat_map(|x| x.to_le_bytes()));
        sink.write_all(&bytes)?;
        if until < last {
            break;
        }
        if !go_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    sink.flush()?;
    Ok(source.end())
}

impl TimeMap {
    /// The last frame of the output in which a source of `frames` frames is heard.
    fn last_frame(&self, frames: i64, rate: f64) -> i64 {
        let source_end = position(frames) * NS_PER_S / rate;
        let heard = self.segments.iter().filter_map(|s| {
            // The time at which the source's end is heard: offsets change slowly, two rounds find it.
            let mut at = source_end - s.offset(source_end, rate) * NS_PER_S / rate;
            for _ in 0..8 {
                at = source_end - s.offset(at, rate) * NS_PER_S / rate;
            }
            let end = at.min(s.heard().1);
            (end > s.heard().0).then_some(end)
        });
        whole((heard.fold(0.0, f64::max) * rate / NS_PER_S).round()) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seehear::time::{TimeDelta, Timestamp};

    fn map(knots: &[(i64, i64)]) -> TimeMap {
        let knots: Vec<Knot> = knots
            .iter()
            .map(|&(at, offset)| Knot { at: Timestamp::from_ms(at), offset: TimeDelta::from_ms(offset) })
            .collect();
        TimeMap::new(&knots).unwrap()
    }

    fn through(map: &TimeMap, rate: u32, channels: usize, samples: &[f64]) -> Vec<f64> {
        let bytes: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut out = Vec::new();
        warp(map, rate, channels, &mut bytes.as_slice(), &mut out, &|| true).unwrap();
        out.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect()
    }

    fn sine(hz: f64, rate: u32, seconds: usize) -> Vec<f64> {
        (0..seconds * rate as usize).map(|n| (2.0 * PI * hz * count(n) / f64::from(rate)).sin()).collect()
    }

    #[test]
    fn one_offset_moves_samples_and_computes_none() {
        let source: Vec<f64> = (0..2 * 20_000).map(|n| f64::from(n) * 1e-5).collect();
        let late = through(&map(&[(0, 100)]), 8000, 2, &source);
        assert_eq!(late, source[2 * 800..]);
        let early = through(&map(&[(0, -100)]), 8000, 2, &source);
        assert!(early[..2 * 800].iter().all(|&x| x == 0.0));
        assert_eq!(early[2 * 800..], source);
    }

    #[test]
    fn a_drift_is_followed_to_a_thousandth_of_a_sample() {
        // From 0 to 100 ms late within 10 s, at 997 Hz.
        let rate = 48_000;
        let out = through(&map(&[(0, 0), (10_000, 100)]), rate, 1, &sine(997.0, rate, 10));
        let length = 9.9 * f64::from(rate);
        assert!((count(out.len()) - length).abs() <= 1.0, "{} samples", out.len());
        for (n, is) in out.iter().enumerate().skip(1000).take(out.len() - 2000) {
            let t = count(n) / f64::from(rate) / (1.0 - 0.01);
            let should = (2.0 * PI * 997.0 * t).sin();
            assert!((is - should).abs() < 3e-5, "sample {n}: {is} for {should}");
        }
    }

    #[test]
    fn steps_do_not_click_and_land_where_they_should() {
        let rate = 48_000;
        let source = sine(440.0, rate, 10);
        let steepest = 2.0 * PI * 440.0 / f64::from(rate);
        for knots in [
            [(0, 0), (5000, 0), (5000, 100), (9000, 100)],
            [(0, 100), (5000, 100), (5000, 0), (9000, 0)],
            [(0, -40), (5000, -40), (5000, 30), (9000, 30)],
            [(0, 200), (5000, 200), (5000, -200), (9000, -200)],
        ] {
            let out = through(&map(&knots), rate, 1, &source);
            let largest = out.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f64::max);
            // A fade of 10 ms adds π/2 per 10 ms at most.
            assert!(largest < steepest + PI / 480.0, "{knots:?}: {largest} against {steepest}");
            for (at_s, offset_ms) in [(2_i64, knots[0].1), (8, knots[3].1)] {
                for n in at_s * 48_000..at_s * 48_000 + 100 {
                    let from = usize::try_from(n + offset_ms * 48).unwrap();
                    assert!((out[usize::try_from(n).unwrap()] - source[from]).abs() < 1e-12, "{knots:?}");
                }
            }
        }
    }

    #[test]
    fn a_gap_is_silent_beyond_what_is_lent() {
        // 400 ms are missing around 5 s.
        let out = through(&map(&[(0, 200), (5000, 200), (5000, -200)]), 1000, 1, &vec![1.0; 10_000]);
        let silent: Vec<usize> = (0..out.len()).filter(|&n| out[n] == 0.0).collect();
        assert_eq!((silent[0], silent.len()), (4855, 291), "{silent:?}");
    }

    #[test]
    fn curves_that_cannot_be() {
        let new = |knots: &[(i64, i64)]| {
            let knots: Vec<Knot> = knots
                .iter()
                .map(|&(at, o)| Knot { at: Timestamp::from_ms(at), offset: TimeDelta::from_ms(o) })
                .collect();
            TimeMap::new(&knots).unwrap_err().to_string()
        };
        assert!(new(&[]).contains("no points"));
        assert!(new(&[(1000, 0), (0, 0)]).contains("back in time at 0:00:00.000"));
        assert!(new(&[(0, 0), (1000, 500)]).contains("50 % faster"));
        assert!(new(&[(0, 0), (0, 61_000)]).contains("longer than a minute"));
        assert!(new(&[(0, 0), (0, 10), (5, 10), (5, 0)]).contains("on each other"));
    }
}
