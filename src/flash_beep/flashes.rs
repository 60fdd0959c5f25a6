//! Which cells of the picture flash as the pattern does, and when each flash began.
//!
//! **Which cells.** A cell's luma from some moment on is compared with what it was before and is after a flash; the sum
//! of that over all flashes of the pattern, laid at every place of the recording, stands far out of chance at one
//! place, and for those cells alone that the screen covers. A screen may be small, a camera may shake: a cell of which
//! a tenth flashes is enough.
//!
//! **When.** A flash is the middle of its light: what the camera makes of brightness (gamma, a white that is clipped)
//! bends its rise and its fall alike, and leaves the middle where it is. A camera that exposes each picture for the
//! whole of its time shows by how much of the light the first picture has got when the flash began. One that exposes
//! for a part of it does not see the rest, and its flashes seem late by half of that part in the mean. So the exposure
//! and the camera's gamma are fitted together with the moment, to all pictures around all flashes: flashes meet pictures
//! in many phases.

use super::{CELLS, FLASH, LEAST, Line, median};

/// What was found of the pattern.
#[derive(Debug)]
pub(super) struct Flashes {
    /// Where the pattern begins, ms.
    pub(super) shift_ms: f64,
    /// In order.
    pub(super) events: Vec<Flash>,
    /// Median distance of the pictures, ms.
    pub(super) interval_ms: f64,
    /// As [`super::Measurement::undecided`].
    pub(super) undecided_ms: f64,
    /// How many cells flash.
    pub(super) cells: usize,
}

/// One flash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flash {
    /// Which of the pattern.
    pub(super) number: usize,
    /// When it began, ms.
    pub(super) at_ms: f64,
}

/// Step of the search for the pattern, ms.
const GRID_MS: f64 = 10.0;
/// Steps of a flash.
const FLASH_STEPS: usize = 13;
/// How far the sum over the flashes must stand out of chance, standard deviations; the largest of 100 000 places by
/// chance is 4.5.
const SIGNIFICANT: f64 = 7.0;
/// So many flashes must lie in the recording.
const LEAST_SEEN: f64 = LEAST as f64;
/// What a cell flashes by at least, levels of 255.
const VISIBLE: f64 = 1.0;
/// Contrast of a flash that counts, of the others'.
const CONTRAST: f64 = 0.4;

/// The pattern with these onsets in pictures with their times, all ms; `None` where it is not there.
pub(super) fn find(frames: &[(f64, &[u8; CELLS])], onsets: &[f64]) -> Option<Flashes> {
    let interval_ms = median(frames.windows(2).map(|f| f[1].0 - f[0].0));
    let steps = index((frames.last()?.0 - frames.first()?.0) / GRID_MS) + 1;
    if steps < 3 * FLASH_STEPS {
        return None;
    }
    let responses: Vec<(usize, Response)> =
        (0..CELLS).filter_map(|c| Some((c, Response::of(frames, c, steps)?))).collect();
    let (mut best, mut at) = (0.0, 0);
    for (_, r) in &responses {
        let (score, place) = r.best(onsets);
        if score > best {
            (best, at) = (score, place);
        }
    }
    if best < SIGNIFICANT {
        return None;
    }
    // The same place, to a step, for all cells that flash.
    let weights: Vec<(usize, f64)> = responses
        .iter()
        .filter_map(|(c, r)| {
            let (score, amplitude) =
                (at - 1..=at + 1).map(|p| r.score(onsets, p)).max_by(|a, b| a.0.total_cmp(&b.0))?;
            (score >= 0.5 * best && amplitude >= VISIBLE).then_some((*c, amplitude))
        })
        .collect();
    let whole: f64 = weights.iter().map(|w| w.1).sum();
    if weights.is_empty() {
        return None;
    }
    let light: Vec<(f64, f64)> = frames
        .iter()
        .map(|(t, cells)| (*t, weights.iter().map(|(c, w)| w * f64::from(cells[*c])).sum::<f64>() / whole))
        .collect();
    let shift_ms = signed(at) * GRID_MS + frames[0].0;
    let seen = events(&light, onsets, shift_ms, interval_ms);
    if seen.len() < LEAST {
        return None;
    }
    let fit = Fit::to(&seen);
    let events = seen.iter().map(|e| Flash { number: e.number, at_ms: e.onset + e.middle - fit.late }).collect();
    Some(Flashes { shift_ms, events, interval_ms, undecided_ms: fit.undecided, cells: weights.len() })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a step of the grid; below 0 is 0")]
fn index(x: f64) -> usize {
    x.max(0.0) as usize
}

#[expect(clippy::cast_precision_loss, reason = "steps of a recording")]
fn signed(x: i64) -> f64 {
    x as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a step of the grid")]
fn step_of(ms: f64) -> i64 {
    (ms / GRID_MS).round() as i64
}

/// How a cell looks like a flash that begins there, at every step: levels of 255.
struct Response {
    values: Vec<f32>,
    rms: f64,
}

impl Response {
    /// `None` for a cell that never changes.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "luma; a count of steps")]
    fn of(frames: &[(f64, &[u8; CELLS])], cell: usize, steps: usize) -> Option<Self> {
        // Integral of the luma that is shown, so that a mean is one difference.
        let mut integral = Vec::with_capacity(steps + 1);
        let (mut sum, mut k) = (0.0, 0);
        integral.push(0.0);
        for i in 0..steps {
            let t = frames[0].0 + i as f64 * GRID_MS;
            while k + 1 < frames.len() && frames[k + 1].0 <= t {
                k += 1;
            }
            sum += f64::from(frames[k].1[cell]);
            integral.push(sum);
        }
        let n = FLASH_STEPS;
        let mean = |from: usize| (integral[from + n] - integral[from]) / n as f64;
        let mut values = vec![0.0_f32; steps];
        for (i, v) in values.iter_mut().enumerate().take(steps + 1 - 2 * n).skip(n) {
            *v = (mean(i) - 0.5 * (mean(i - n) + mean(i + n))) as f32;
        }
        let rms = |v: &[f32]| (v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / v.len() as f64).sqrt();
        let first = rms(&values);
        if first < 1e-3 {
            return None;
        }
        // A lamp that is switched on is one event, not a hundred.
        let most = (4.0 * first) as f32;
        values.iter_mut().for_each(|v| *v = v.clamp(-most, most));
        let rms = rms(&values);
        Some(Self { values, rms })
    }

    /// With the pattern laid at step `place`: how far the sum stands out of chance, and the mean response.
    fn score(&self, onsets: &[f64], place: i64) -> (f64, f64) {
        let (mut n, mut sum) = (0.0, 0.0);
        for s in onsets {
            if let Some(v) = usize::try_from(place + step_of(*s)).ok().and_then(|i| self.values.get(i)) {
                (n, sum) = (n + 1.0, sum + f64::from(*v));
            }
        }
        if n < LEAST_SEEN { (0.0, 0.0) } else { (sum / (n.sqrt() * self.rms), sum / n) }
    }

    fn best(&self, onsets: &[f64]) -> (f64, i64) {
        let last = step_of(onsets.last().copied().unwrap_or(0.0));
        let end = i64::try_from(self.values.len()).unwrap_or(i64::MAX);
        let scored = (-last..end).map(|p| (self.score(onsets, p).0, p));
        scored.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0))
    }
}

/// A picture near a flash.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When it begins, ms after the pattern says that the flash did.
    t: f64,
    /// How long it is shown.
    length: f64,
    /// Its light, 0 (black) … 1 (white).
    light: f64,
}

/// A flash with its pictures.
#[derive(Debug)]
struct Event {
    number: usize,
    /// When the pattern says that it began, ms.
    onset: f64,
    seen: Vec<Seen>,
    /// When its light says that it began, after `onset`, if every picture is exposed for all of its time.
    middle: f64,
}

/// The flashes of the pattern that are to be seen.
fn events(light: &[(f64, f64)], onsets: &[f64], shift: f64, interval: f64) -> Vec<Event> {
    let flash = FLASH.as_ms_f64();
    let mut found = Vec::new();
    for (number, s) in onsets.iter().enumerate() {
        let onset = shift + s;
        let (from, to) = (onset - flash - interval, onset + 2.0 * flash + interval);
        let first = light.partition_point(|f| f.0 < from);
        let last = light.partition_point(|f| f.0 < to);
        // Without pictures on both sides, or with a hole in them, nothing can be told.
        let holes = light[first.saturating_sub(1)..(last + 1).min(light.len())].windows(2);
        let hole = holes.map(|w| w[1].0 - w[0].0).fold(0.0, f64::max);
        if first == 0 || last >= light.len() || hole > (2.5 * interval).max(105.0) {
            continue;
        }
        let near = &light[first..last];
        let dark = |f: &&(f64, f64)| {
            let t = f.0 - onset;
            t < -interval - 30.0 || t > flash + interval + 30.0
        };
        let low = median(near.iter().filter(dark).map(|f| f.1));
        if near.iter().filter(dark).count() < 2 {
            continue;
        }
        let mut bright: Vec<f64> = near.iter().filter(|f| !dark(f)).map(|f| f.1).collect();
        bright.sort_unstable_by(|a, b| b.total_cmp(a));
        // The mean of two is steadier than the largest, where there are two whole ones.
        let high = match bright.as_slice() {
            [a, b, ..] if interval < 50.0 => 0.5 * (a + b),
            [a, ..] => *a,
            [] => continue,
        };
        let span = high - low;
        if span < VISIBLE {
            continue;
        }
        let seen: Vec<Seen> = (first..last)
            .map(|i| Seen {
                t: light[i].0 - onset,
                length: light[i + 1].0 - light[i].0,
                light: ((light[i].1 - low) / span).clamp(-0.2, 1.2),
            })
            .collect();
        let lit = seen.iter().filter(|f| f.light > 0.1);
        let (mut sum, mut moment) = (0.0, 0.0);
        for f in lit {
            sum += f.light * f.length;
            moment += f.light * f.length * (f.t + 0.5 * f.length);
        }
        found.push((span, Event { number, onset, seen, middle: moment / sum - 0.5 * flash }));
    }
    let usual = median(found.iter().map(|(span, _)| *span));
    found.into_iter().filter(|(span, _)| *span >= CONTRAST * usual).map(|(_, e)| e).collect()
}

/// The moment and the exposure that fit the pictures around all flashes best.
struct Fit {
    /// By how much the middles of the light are later than the flashes, in the mean, ms.
    late: f64,
    undecided: f64,
}

impl Fit {
    fn to(events: &[Event]) -> Self {
        // Clocks that run apart: a line through the middles, without those that were half covered.
        let points: Vec<(f64, f64)> = events.iter().map(|e| (e.onset, e.middle)).collect();
        let usual = median(points.iter().map(|p| p.1));
        let longest = quantile(events.iter().flat_map(|e| e.seen.iter().map(|f| f.length)), 0.9);
        let near: Vec<(f64, f64)> = points.iter().copied().filter(|p| (p.1 - usual).abs() <= longest + 10.0).collect();
        let line = Line::through(if near.len() < 3 { &points } else { &near });
        // What the middles say, and what clocks do: a camera nearly in step makes a slope of its own.
        let mut slopes = around(line.slope, 2.0 * line.slope_error, line.slope_error);
        slopes.extend(around(0.0, 1e-4, 5e-5));
        let coarse = Search {
            at: around(0.0, longest, 1.0),
            exposure: (1..=12).map(|k| longest * f64::from(k) / 12.0).collect(),
            gamma: vec![1.0, 0.7, 0.5, 0.35, 0.2],
            slope: slopes,
        };
        let tried = coarse.costs(events, &line, longest);
        let best = tried.iter().min_by(|a, b| a.preferred.total_cmp(&b.preferred)).copied().unwrap_or_default();
        let fine = Search {
            at: around(best.at, 1.2, 0.1),
            exposure: around(best.exposure, longest / 12.0, longest / 60.0)
                .into_iter()
                .filter(|e| *e > 0.01 * longest && *e <= longest)
                .collect(),
            gamma: vec![0.8 * best.gamma, 0.9 * best.gamma, best.gamma, (1.1 * best.gamma).min(1.0)],
            slope: vec![best.slope],
        };
        let refined = fine.costs(events, &line, longest);
        let best = refined.iter().min_by(|a, b| a.preferred.total_cmp(&b.preferred)).copied().unwrap_or(best);
        // All exposures that fit as well, each at its own best moment: by the noise that the best leaves, and by what a
        // camera's curve may differ from a power (3 % of white at either edge).
        let pictures: usize = events.iter().map(|e| e.seen.len()).sum();
        let noise = (best.cost / f64::from(u32::try_from(pictures).unwrap_or(u32::MAX))).max(1e-4);
        let edges = 2.0 * f64::from(u32::try_from(events.len()).unwrap_or(u32::MAX));
        let enough = 1.05 * best.cost + 4.0 * noise + edges * 1e-3;
        let (mut undecided, mut cheapest): (f64, Vec<Tried>) = (0.0, Vec::new());
        for t in &tried {
            let key = (t.exposure, t.slope);
            if cheapest.last().is_none_or(|c: &Tried| (c.exposure, c.slope) != key) {
                cheapest.push(*t);
            } else if let Some(last) = cheapest.last_mut().filter(|c| c.cost > t.cost) {
                *last = *t;
            }
        }
        // A step of the search costs less than this.
        for near in cheapest.iter().filter(|c| c.cost <= enough + edges * 1e-2) {
            let profile = Search {
                at: around(near.at, 1.0, 0.1),
                exposure: vec![near.exposure],
                gamma: coarse.gamma.clone(),
                slope: vec![near.slope],
            };
            let as_good = profile.costs(events, &line, longest).into_iter().filter(|t| t.cost <= enough);
            undecided = as_good.map(|t| (t.at - best.at).abs()).fold(undecided, f64::max);
        }
        // A step of the search is no doubt.
        Self { late: -best.at, undecided: if undecided <= 1.5 { 0.0 } else { undecided } }
    }
}

/// `reach` either way of `x`, in steps.
fn around(x: f64, reach: f64, step: f64) -> Vec<f64> {
    let n = if step > 0.0 { index(reach / step) } else { 0 };
    let n = i32::try_from(n).unwrap_or(0);
    (-n..=n).map(|k| x + f64::from(k) * step).collect()
}

fn quantile(values: impl Iterator<Item = f64>, q: f64) -> f64 {
    let mut v: Vec<f64> = values.collect();
    v.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a count of pictures")]
    let at = index(q * v.len() as f64);
    v.get(at.min(v.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Steps of light in which gamma is told.
const LIGHTS: usize = 255;

/// Share of the exposure in which a flash that begins at `begin` is lit, 0…1.
fn lit(f: &Seen, begin: f64, exposure: f64) -> f64 {
    let open = exposure.min(f.length);
    (((f.t + open).min(begin + FLASH.as_ms_f64()) - f.t.max(begin)) / open).clamp(0.0, 1.0)
}

/// What is tried.
struct Search {
    /// When the flashes began, ms after the line through the middles.
    at: Vec<f64>,
    /// Of a picture, ms.
    exposure: Vec<f64>,
    /// Luma is this power of the light.
    gamma: Vec<f64>,
    /// Of the line.
    slope: Vec<f64>,
}

/// One that was tried.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    at: f64,
    exposure: f64,
    gamma: f64,
    slope: f64,
    cost: f64,
    /// With what is preferred where several fit: the longest exposure, which a file that no camera made has, and the latest
    /// moment, that of its first lit picture.
    preferred: f64,
}

impl Search {
    #[expect(clippy::cast_precision_loss, reason = "a number of flashes, of steps of light")]
    fn costs(&self, events: &[Event], line: &Line, longest: f64) -> Vec<Tried> {
        let tables: Vec<(f64, Vec<f64>)> = self
            .gamma
            .iter()
            .map(|&g| (g, (0..=LIGHTS).map(|i| (i as f64 / LIGHTS as f64).powf(g)).collect()))
            .collect();
        let mut tried = Vec::new();
        for &slope in &self.slope {
            let line = Line { slope, ..*line };
            for &exposure in &self.exposure {
                for &at in &self.at {
                    let mut costs = vec![0.0; tables.len()];
                    for e in events {
                        let begin = line.at(e.onset) + at;
                        for f in &e.seen {
                            let light = index(LIGHTS as f64 * lit(f, begin, exposure) + 0.5);
                            for (cost, (_, table)) in costs.iter_mut().zip(&tables) {
                                let error = f.light - table[light.min(LIGHTS)];
                                // What covers a screen is no light, and weighs no more than this.
                                *cost += (error * error).min(0.25);
                            }
                        }
                    }
                    for (cost, (gamma, _)) in costs.into_iter().zip(&tables) {
                        let short = 1.0 - exposure / longest;
                        let odd = short * short + 0.1 * (1.0 - gamma + (slope / 1e-4).abs() - at / longest);
                        let preferred = cost + 1e-3 * events.len() as f64 * odd;
                        tried.push(Tried { at, exposure, gamma: *gamma, slope, cost, preferred });
                    }
                }
            }
        }
        tried
    }
}
