//! Motion: where the picture under every cell of the map lay a slot before, whether it was to be seen there, and cuts.
//!
//! Optical flow between the network's pictures of successive slots, forwards and backwards; a cell's motion is the mean
//! of its pixels that come back to where they were. A cell of which few pixels do, or which does not look like the place
//! it is said to come from, was covered, uncovered, or comes from outside: what was known of it does not hold any more. A **cut** is when that is so of most of the picture that has
//! any texture, and the two pictures do not resemble each other either (normalised correlation of their block means): a
//! fast pan resembles, a flash is followed by the flow.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::integer_division,
    reason = "cells and pixels of small pictures"
)]

use crate::flow::{Flow, FlowConfig, FlowError, FlowField, sample};
use crate::geometry::CellPoint;
use serde::{Deserialize, Serialize};

/// Displacements of a map below this are none, cells: noise of the flow must not wear a still map out.
const LEAST: f32 = 0.05;
/// Standard deviation of grey values from which a cell has texture.
const TEXTURE: f32 = 6.0;
/// Correlation of a textured cell with the place it came from, below which it shows something else.
const SAME: f32 = 0.7;

/// Slots between two cuts at least, half a second: what changes faster flickers, and is followed as well as can be.
const SHORTEST_SHOT: usize = 12;

/// Parameters of the motion stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MotionConfig {
    /// Whether maps and objects are carried along by the flow, and cuts found.
    pub follow: bool,
    /// Share of a cell's pixels that must come back to where they were for the cell to be the same as before.
    pub valid_share: f32,
    /// A cut leaves at most this share of the textured cells valid …
    pub cut_valid_share: f32,
    /// … and less than this correlation between the pictures.
    pub cut_correlation: f32,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self { follow: true, valid_share: 0.6, cut_valid_share: 0.25, cut_correlation: 0.9 }
    }
}

/// How the cells of a map moved over one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct CellMotion {
    /// Where the content of a cell lay in the slot before, relative to the cell, in cells; `[rows, cols]`.
    pub dx: Vec<f32>,
    /// Likewise downwards.
    pub dy: Vec<f32>,
    /// Whether it was to be seen there.
    pub valid: Vec<bool>,
    /// No cell is to be moved ([`CellMotion::shift`]) and everything is valid.
    pub still: bool,
    /// A new shot begins with this slot.
    pub cut: bool,
    /// Grey values of half-cells, `[2·rows, 2·cols]`: what the slot looks like, coarsely.
    pub thumbnail: Vec<f32>,
    /// Cells in a row.
    pub cols: usize,
}

impl CellMotion {
    /// No motion of `cols` × `rows` cells.
    #[must_use]
    pub fn still(cols: usize, rows: usize) -> Self {
        let cells = cols * rows;
        Self {
            dx: vec![0.0; cells],
            dy: vec![0.0; cells],
            valid: vec![true; cells],
            still: true,
            cut: false,
            thumbnail: vec![0.0; 4 * cells],
            cols,
        }
    }

    /// No motion.
    pub fn set_still(&mut self) {
        self.dx.fill(0.0);
        self.dy.fill(0.0);
        self.valid.fill(true);
        self.still = true;
        self.cut = false;
    }

    /// Becomes a copy of `other`, without allocating.
    pub fn copy_from(&mut self, other: &Self) {
        self.dx.copy_from_slice(&other.dx);
        self.dy.copy_from_slice(&other.dy);
        self.valid.copy_from_slice(&other.valid);
        (self.still, self.cut) = (other.still, other.cut);
        self.thumbnail.copy_from_slice(&other.thumbnail);
    }

    /// By how much a map's cell is moved: not at all by what may be noise of the flow. An object, whose place is a number
    /// and does not blur, goes with the least motion: who sways slowly would be left behind.
    #[must_use]
    pub fn shift(&self, cell: usize) -> (f32, f32) {
        let (dx, dy) = (self.dx[cell], self.dy[cell]);
        if dx * dx + dy * dy >= LEAST * LEAST { (dx, dy) } else { (0.0, 0.0) }
    }

    /// Where what was at `place` a slot before is now, and whether it is still to be seen.
    #[must_use]
    pub fn follow(&self, place: CellPoint) -> (CellPoint, bool) {
        let rows = self.dx.len() / self.cols;
        let (mut at, mut valid) = (place, true);
        // A cell looks at its block's corner, so a place lies in the block of its whole part. The field says where a block
        // came from: the one that came from `place` is found by stepping back.
        for _ in 0..3 {
            let x = at.x.clamp(0.0, (self.cols - 1) as f32) as usize;
            let y = at.y.clamp(0.0, (rows - 1) as f32) as usize;
            let i = y * self.cols + x;
            valid = self.valid[i];
            at = CellPoint { x: place.x - self.dx[i], y: place.y - self.dy[i] };
        }
        let inside = at.x > -0.5 && at.y > -0.5 && at.x < self.cols as f32 - 0.5 && at.y < rows as f32 - 0.5;
        (at, valid && inside)
    }

    /// What is to be seen around a place.
    #[must_use]
    pub fn patch(&self, place: CellPoint) -> Patch {
        let cols = 2 * self.cols;
        let reach = (PATCH / 2) as f32;
        let mut patch = [0.0; PATCH * PATCH];
        for (i, p) in patch.iter_mut().enumerate() {
            let x = 2.0 * place.x - 0.5 + (i % PATCH) as f32 - reach;
            let y = 2.0 * place.y - 0.5 + (i / PATCH) as f32 - reach;
            *p = sample(&self.thumbnail, cols, x, y);
        }
        Patch(patch)
    }
}

/// Side of a [`Patch`], half-cells: four and a half cells, a head and what is beside it.
const PATCH: usize = 9;

/// What a place looks like: grey values of the half-cells around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patch([f32; PATCH * PATCH]);

impl Patch {
    /// How much two places look alike, whatever the light: Pearson's correlation, −1…1; of plain places 1 with each other, 0
    /// with any other.
    #[must_use]
    pub fn likeness(&self, other: &Self) -> f32 {
        let mut sums = Sums::default();
        self.0.iter().zip(&other.0).for_each(|(a, b)| sums.add(*a, *b));
        match sums.flat() {
            (false, false) => sums.correlation(),
            (one, other) => f32::from(u8::from(one == other)),
        }
    }

    /// Takes on `share` of another's look.
    pub fn blend(&mut self, other: &Self, share: f32) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a += share * (b - *a));
    }
}

/// The motion stage: push the network's pictures, read how the map's cells moved.
#[derive(Debug)]
pub struct MotionEstimator {
    config: MotionConfig,
    flow: Flow,
    width: usize,
    stride: usize,
    cols: usize,
    rows: usize,
    /// The last picture, and the one before it.
    kept: [Vec<u8>; 2],
    /// What was found of each cell.
    found: Vec<Found>,
    /// The thumbnail before the motion's.
    before: Vec<f32>,
    motion: CellMotion,
    since_cut: usize,
    pictures: u8,
}

impl MotionEstimator {
    /// For pictures of `width` × `height`, whose map has one cell for every `stride` × `stride` pixels.
    #[must_use]
    pub fn new(config: &MotionConfig, width: usize, height: usize, stride: usize) -> Self {
        let (cols, rows) = (width / stride, height / stride);
        // A picture made large for small faces need not be followed any finer than the usual one.
        let finest_level = 1 + (height / 400).min(2);
        let flow = FlowConfig { check: true, finest_level, ..FlowConfig::default() };
        Self {
            config: config.clone(),
            flow: Flow::new(width, height, &flow),
            width,
            stride,
            cols,
            rows,
            kept: [vec![0; width * height], vec![0; width * height]],
            found: vec![Found::default(); cols * rows],
            before: vec![0.0; cols * rows * 4],
            motion: CellMotion::still(cols, rows),
            since_cut: usize::MAX,
            pictures: 0,
        }
    }

    /// Takes the next slot's picture, packed `[height, width]`; `moved`: whether it differs from the one before.
    ///
    /// # Errors
    /// When it has another size.
    pub fn push(&mut self, picture: &[u8], moved: bool) -> Result<(), FlowError> {
        self.since_cut = self.since_cut.saturating_add(1);
        // Where nothing moves, the last picture that did is compared with the next that does.
        if !self.config.follow || (self.pictures > 0 && !moved) {
            self.motion.set_still();
            return Ok(());
        }
        self.flow.push(picture)?;
        self.kept.swap(0, 1);
        self.kept[0].copy_from_slice(picture);
        std::mem::swap(&mut self.before, &mut self.motion.thumbnail);
        block_means(picture, self.width, self.stride / 2, &mut self.motion.thumbnail);
        self.pictures = (self.pictures + 1).min(2);
        if self.pictures < 2 {
            self.motion.set_still();
            return Ok(());
        }
        let (Some(back), Some(validity)) = (self.flow.field_back(), self.flow.validity()) else {
            self.motion.set_still();
            return Ok(());
        };
        let (mut textured, mut known) = (0_u32, 0_u32);
        for (i, cell) in self.found.iter_mut().enumerate() {
            let (x, y) = (i % self.cols * self.stride, i / self.cols * self.stride);
            let block = Block { x, y, side: self.stride };
            let (u, v, share) = block.motion(back, validity);
            let (deviation, likeness) = block.compare(&self.kept[0], &self.kept[1], back);
            let has_texture = deviation >= TEXTURE;
            let valid = share >= self.config.valid_share && (likeness >= SAME || !has_texture);
            *cell = Found { dx: u, dy: v, weight: share, valid };
            textured += u32::from(has_texture);
            known += u32::from(has_texture && valid);
        }
        self.smooth();
        let lost = known as f32 <= self.config.cut_valid_share * textured as f32 && textured > 0;
        let mut sums = Sums::default();
        self.motion.thumbnail.iter().zip(&self.before).for_each(|(a, b)| sums.add(*a, *b));
        let alike = sums.correlation();
        let due = self.since_cut >= SHORTEST_SHOT;
        self.motion.cut = due && lost && alike < self.config.cut_correlation;
        if self.motion.cut {
            self.since_cut = 0;
        }
        Ok(())
    }

    /// A cell moves as the square of three around it does: a head, not its lips. It is the same as before unless most of
    /// that square is not.
    fn smooth(&mut self) {
        let (cols, rows) = (self.cols, self.rows);
        let scale = 1.0 / self.stride as f32;
        self.motion.still = true;
        for y in 0..rows {
            for x in 0..cols {
                let (mut dx, mut dy, mut weight, mut valid, mut n) = (0.0, 0.0, 0.0, 0_u32, 0_u32);
                for j in y.saturating_sub(1)..(y + 2).min(rows) {
                    for cell in &self.found[j * cols + x.saturating_sub(1)..j * cols + (x + 2).min(cols)] {
                        let w = if cell.valid { cell.weight } else { 0.0 };
                        dx += w * cell.dx;
                        dy += w * cell.dy;
                        weight += w;
                        valid += u32::from(cell.valid);
                        n += 1;
                    }
                }
                let i = y * cols + x;
                let norm = scale / f32::max(weight, f32::MIN_POSITIVE);
                let (dx, dy) = (dx * norm, dy * norm);
                let same = 2 * valid >= n;
                (self.motion.dx[i], self.motion.dy[i]) = if same { (dx, dy) } else { (0.0, 0.0) };
                self.motion.valid[i] = same;
                self.motion.still &= same && self.motion.shift(i) == (0.0, 0.0);
            }
        }
    }

    /// How the cells moved to the last picture from the one before.
    #[must_use]
    pub fn pull(&self) -> &CellMotion {
        &self.motion
    }

    /// Begins a new stream of pictures.
    pub fn reset(&mut self) {
        self.flow.reset();
        self.since_cut = usize::MAX;
        self.pictures = 0;
        self.motion.set_still();
    }
}

/// The motion of a cell by itself.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// Pixels.
    dx: f32,
    dy: f32,
    /// Share of valid pixels.
    weight: f32,
    valid: bool,
}

/// The pixels under a cell.
#[derive(Clone, Copy)]
struct Block {
    x: usize,
    y: usize,
    side: usize,
}

impl Block {
    /// The mean backward motion of the valid pixels, and their share.
    fn motion(self, back: FlowField<'_>, validity: &[bool]) -> (f32, f32, f32) {
        let (mut dx, mut dy, mut valid) = (0.0, 0.0, 0.0);
        for y in self.y..self.y + self.side {
            let row = y * back.width + self.x..y * back.width + self.x + self.side;
            let moved = back.dx[row.clone()].iter().zip(&back.dy[row.clone()]).zip(&validity[row]);
            for ((u, v), _) in moved.filter(|(_, valid)| **valid) {
                dx += u;
                dy += v;
                valid += 1.0;
            }
        }
        let n = f32::max(valid, 1.0);
        (dx / n, dy / n, valid / (self.side * self.side) as f32)
    }

    /// Standard deviation of the grey values, and their correlation with those they come from in the picture `before`;
    /// of every second pixel of every second row.
    fn compare(self, now: &[u8], before: &[u8], back: FlowField<'_>) -> (f32, f32) {
        let (w, h) = (back.width, back.height);
        let mut sums = Sums::default();
        for y in (self.y..self.y + self.side).step_by(2) {
            for x in (self.x..self.x + self.side).step_by(2) {
                let i = y * w + x;
                let px = (x as f32 + back.dx[i] + 0.5).clamp(0.0, (w - 1) as f32) as usize;
                let py = (y as f32 + back.dy[i] + 0.5).clamp(0.0, (h - 1) as f32) as usize;
                sums.add(f32::from(now[i]), f32::from(before[py * w + px]));
            }
        }
        (sums.deviation(), sums.correlation())
    }
}

/// Moments of pairs of values.
#[derive(Clone, Copy, Default)]
struct Sums {
    n: f32,
    a: f32,
    b: f32,
    aa: f32,
    bb: f32,
    ab: f32,
}

impl Sums {
    fn add(&mut self, a: f32, b: f32) {
        self.n += 1.0;
        self.a += a;
        self.b += b;
        self.aa += a * a;
        self.bb += b * b;
        self.ab += a * b;
    }

    /// Standard deviation of the first values.
    fn deviation(self) -> f32 {
        ((self.aa - self.a * self.a / self.n) / self.n).max(0.0).sqrt()
    }

    /// Whether the values of each side hardly differ.
    fn flat(self) -> (bool, bool) {
        let [a, b] = [self.aa - self.a * self.a / self.n, self.bb - self.b * self.b / self.n];
        (a < self.n, b < self.n)
    }

    /// Pearson's correlation; 1 where the values of one side hardly differ, as in a fade to black, which is no cut.
    fn correlation(self) -> f32 {
        let [aa, bb, ab] = [
            self.aa - self.a * self.a / self.n,
            self.bb - self.b * self.b / self.n,
            self.ab - self.a * self.b / self.n,
        ];
        if self.flat() != (false, false) { 1.0 } else { ab / (aa * bb).sqrt() }
    }
}

/// Means of blocks of `side` × `side` pixels.
fn block_means(picture: &[u8], width: usize, side: usize, out: &mut [f32]) {
    let cols = width / side;
    for (i, out) in out.iter_mut().enumerate() {
        let (x0, y0) = ((i % cols) * side, (i / cols) * side);
        let rows = picture[y0 * width..].chunks(width).take(side);
        let sum: u32 = rows.map(|row| row[x0..x0 + side].iter().map(|&p| u32::from(p)).sum::<u32>()).sum();
        *out = sum as f32 / (side * side) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: usize = 160;
    const H: usize = 96;

    fn noise(x: i64, y: i64, seed: i64) -> f32 {
        let mut s = (x.wrapping_mul(73_856_093) ^ y.wrapping_mul(19_349_663) ^ seed.wrapping_mul(83_492_791)) as u64;
        s = (s ^ (s >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((s >> 40) & 0xff) as f32
    }

    /// Smooth random texture, known between the pixels.
    fn texture(x: f32, y: f32, seed: i64) -> u8 {
        let (x, y) = (x / 6.0, y / 6.0);
        let (fx, fy) = (x - x.floor(), y - y.floor());
        let at = |i: i64, j: i64| noise(x.floor() as i64 + i, y.floor() as i64 + j, seed);
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let (fx, fy) = (ease(fx), ease(fy));
        let top = at(0, 0) + fx * (at(1, 0) - at(0, 0));
        let low = at(0, 1) + fx * (at(1, 1) - at(0, 1));
        (top + fy * (low - top)) as u8
    }

    fn picture(at: impl Fn(f32, f32) -> (f32, f32, i64)) -> Vec<u8> {
        (0..W * H)
            .map(|i| {
                let (x, y, seed) = at((i % W) as f32, (i / W) as f32);
                texture(x, y, seed)
            })
            .collect()
    }

    fn estimator() -> MotionEstimator {
        MotionEstimator::new(&MotionConfig::default(), W, H, 16)
    }

    #[test]
    fn a_pan_moves_all_cells_and_is_no_cut() {
        let mut m = estimator();
        for k in 0..3 {
            m.push(&picture(|x, y| (x + 4.0 * k as f32, y, 1)), true).unwrap();
        }
        let got = m.pull();
        assert!(!got.cut && !got.still);
        let inner = |i: &usize| (1..9).contains(&(i % 10)) && (1..5).contains(&(i / 10));
        for i in (0..60).filter(inner) {
            // The picture's content came from 4 px further right: a quarter of a cell.
            assert!((got.dx[i] - 0.25).abs() < 0.03 && got.dy[i].abs() < 0.03, "{i}: {} {}", got.dx[i], got.dy[i]);
            assert!(got.valid[i]);
        }
    }

    #[test]
    fn another_picture_is_a_cut_and_a_flash_is_none() {
        let mut m = estimator();
        let first = picture(|x, y| (x, y, 1));
        m.push(&first, true).unwrap();
        m.push(&picture(|x, y| (x, y, 2)), true).unwrap();
        assert!(m.pull().cut);
        m.push(&first, true).unwrap();
        assert!(!m.pull().cut, "a flicker is no cut");
        m.reset();
        m.push(&first, true).unwrap();
        let flash: Vec<u8> = first.iter().map(|&p| p / 2 + 100).collect();
        m.push(&flash, true).unwrap();
        assert!(!m.pull().cut);
    }

    #[test]
    fn what_is_covered_is_not_valid_and_the_rest_is_still() {
        let mut m = estimator();
        m.push(&picture(|x, y| (x, y, 1)), true).unwrap();
        let covered = |x: f32, y: f32| (48.0..96.0).contains(&x) && (32.0..80.0).contains(&y);
        m.push(&picture(|x, y| (x, y, if covered(x, y) { 7 } else { 1 })), true).unwrap();
        let got = m.pull();
        assert!(!got.cut);
        // A flow that bends finds likeness by chance in a third of it.
        let inside = (2..5).flat_map(|row| (3..6).map(move |col| row * 10 + col));
        assert!(inside.filter(|&i| got.valid[i]).count() <= 5, "{:?}", got.valid);
        assert!(got.valid[0] && got.shift(0) == (0.0, 0.0), "outside");
    }

    #[test]
    fn a_place_is_followed_and_known_again() {
        let mut m = estimator();
        let at = |shift: f32, seed: i64| picture(move |x, y| (x + shift, y, seed));
        m.push(&at(0.0, 1), true).unwrap();
        let place = CellPoint { x: 5.0, y: 3.0 };
        let before = m.pull().patch(place);
        m.push(&at(8.0, 1), true).unwrap();
        let (now, seen) = m.pull().follow(place);
        assert!(seen && (now.x - 4.5).abs() < 0.05 && (now.y - 3.0).abs() < 0.05, "{now:?}");
        assert!(m.pull().patch(now).likeness(&before) > 0.9);
        m.push(&at(8.0, 2), true).unwrap();
        assert!(m.pull().patch(now).likeness(&before) < 0.5);
    }

    #[test]
    fn a_still_is_still_and_unmoved_pictures_are_not_computed() {
        let mut m = estimator();
        let first = picture(|x, y| (x, y, 1));
        m.push(&first, true).unwrap();
        m.push(&first, true).unwrap();
        assert!(m.pull().still);
        // Said not to have moved: not looked at.
        m.push(&picture(|x, y| (x, y, 2)), false).unwrap();
        assert!(m.pull().still && !m.pull().cut);
    }
}
