//! The inverse search: patches of one level, each moved by Gauss–Newton steps until it lies on its match, and spread
//! from the patches to the pixels.

use super::PATCH;
use super::pyramid::{Level, Plane};

/// A step below this many pixels of its level is the last.
const CONVERGED: f32 = 0.06;

/// A neighbour's answer is tried only where it differs from the patch's own by this many pixels of the level.
const DIFFERENT: f32 = 0.4;

/// Added to the diagonal of a patch's structure tensor: what noise of a grey level or so leaves in it, so that a flat
/// patch stays where it is.
const NOISE: f32 = 4.0;

const N: f32 = (PATCH * PATCH) as f32;

type Block = [[f32; PATCH]; PATCH];

/// A patch of the first picture, prepared: its values, its gradients less their mean (the residual's mean then drops
/// out of every product with them), and the inverse of its structure tensor (xx, xy, yy).
struct Template {
    image: Block,
    dx: Block,
    dy: Block,
    inverse: [f32; 3],
}

/// What a patch meets at some displacement: the mean-normalised sum of squared differences, and the Gauss–Newton step.
struct Met {
    ssd: f32,
    step: [f32; 2],
}

fn sum(a: [f32; PATCH]) -> f32 {
    ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
}

fn block(plane: &Plane, at: usize) -> Block {
    let mut out = Block::default();
    for (r, row) in out.iter_mut().enumerate() {
        row.copy_from_slice(&plane.data[at + r * plane.stride..][..PATCH]);
    }
    out
}

fn less_mean(b: &mut Block) {
    let mut sums = [0.0; PATCH];
    for row in &*b {
        for (s, v) in sums.iter_mut().zip(row) {
            *s += v;
        }
    }
    let mean = sum(sums) / N;
    for row in b {
        for v in row {
            *v -= mean;
        }
    }
}

fn dot(a: &Block, b: &Block) -> f32 {
    let mut sums = [0.0; PATCH];
    for (a, b) in a.iter().zip(b) {
        for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
            *s += a * b;
        }
    }
    sum(sums)
}

impl Template {
    fn new(level: &Level, x: usize, y: usize) -> Self {
        let at = level.image.at(x as isize, y as isize);
        let image = block(&level.image, at);
        let (mut dx, mut dy) = (block(&level.dx, at), block(&level.dy, at));
        less_mean(&mut dx);
        less_mean(&mut dy);
        let (xx, xy, yy) = (dot(&dx, &dx) + NOISE, dot(&dx, &dy), dot(&dy, &dy) + NOISE);
        let scale = 1.0 / (xx * yy - xy * xy);
        Self { image, dx, dy, inverse: [yy * scale, -xy * scale, xx * scale] }
    }

    /// Compares with `other` at (x, y), the patch's corner there; it is kept within reach of the picture.
    fn meet(&self, other: &Plane, x: f32, y: f32) -> Met {
        let (at, fx, fy) = corner(other, x, y);
        let mut top = interpolate(other, at, fx);
        let (mut gx, mut gy, mut total, mut square) = ([0.0; PATCH], [0.0; PATCH], [0.0; PATCH], [0.0; PATCH]);
        for r in 0..PATCH {
            let bottom = interpolate(other, at + (r + 1) * other.stride, fx);
            let (image, dx, dy) = (&self.image[r], &self.dx[r], &self.dy[r]);
            for c in 0..PATCH {
                let d = top[c] + fy * (bottom[c] - top[c]) - image[c];
                gx[c] += d * dx[c];
                gy[c] += d * dy[c];
                total[c] += d;
                square[c] += d * d;
            }
            top = bottom;
        }
        let (gx, gy, total) = (sum(gx), sum(gy), sum(total));
        let [xx, xy, yy] = self.inverse;
        Met { ssd: sum(square) - total * total / N, step: [-(xx * gx + xy * gy), -(xy * gx + yy * gy)] }
    }
}

/// The index of the patch whose corner is at (x, y), and the fractions of a pixel it lies beyond it.
#[inline]
fn corner(plane: &Plane, x: f32, y: f32) -> (usize, f32, f32) {
    // From a corner further out, so that cutting the fraction off rounds down (`floor` is a call without SSE 4.1).
    let out = PATCH as f32;
    let x = (x + out).clamp(1.0, plane.width as f32 - 1.0 + out);
    let y = (y + out).clamp(1.0, plane.height as f32 - 1.0 + out);
    let (ix, iy) = (x as i32, y as i32);
    let at = plane.at(ix as isize - PATCH as isize, iy as isize - PATCH as isize);
    (at, x - ix as f32, y - iy as f32)
}

fn interpolate(plane: &Plane, at: usize, fx: f32) -> [f32; PATCH] {
    let row = &plane.data[at..at + PATCH + 1];
    std::array::from_fn(|c| row[c] + fx * (row[c + 1] - row[c]))
}

fn add(to: &mut [f32], what: [f32; PATCH]) {
    for (t, w) in to.iter_mut().zip(what) {
        *t += w;
    }
}

/// The grid of patches of one level, and the dense field made of them.
#[derive(Debug)]
pub(super) struct Search {
    width: usize,
    height: usize,
    cols: usize,
    rows: usize,
    stride: usize,
    /// Each patch's displacement, pixels of the level.
    patches: Vec<[f32; 2]>,
    ssd: Vec<f32>,
    /// Sums of weights and of weighted displacements; wider than the level where patches hang over its edge.
    weight: Vec<f32>,
    sum: [Vec<f32>; 2],
    sum_width: usize,
    /// The dense field (dx, dy), each `[height, width]`, pixels of the level.
    pub(super) field: [Vec<f32>; 2],
}

impl Search {
    pub(super) fn new(width: usize, height: usize, stride: usize) -> Self {
        let count = |n: usize| n.saturating_sub(PATCH).div_ceil(stride) + 1;
        let (cols, rows) = (count(width), count(height));
        let sum_width = ((cols - 1) * stride + PATCH).max(width);
        let sum = vec![0.0; sum_width * ((rows - 1) * stride + PATCH).max(height)];
        let zero = vec![0.0; width * height];
        Self {
            width,
            height,
            cols,
            rows,
            stride,
            patches: vec![[0.0; 2]; cols * rows],
            ssd: vec![0.0; cols * rows],
            weight: sum.clone(),
            sum: [sum.clone(), sum],
            sum_width,
            field: [zero.clone(), zero],
        }
    }

    /// Finds the level's dense field, beginning from the coarser level's (or from rest).
    pub(super) fn run(&mut self, from: &Level, to: &Level, coarser: Option<&Self>, iterations: usize) {
        self.begin(coarser);
        for row in 0..self.rows {
            for col in 0..self.cols {
                let k = row * self.cols + col;
                let template = Template::new(from, col * self.stride, row * self.stride);
                let left = (col > 0).then(|| self.patches[k - 1]);
                let above = (row > 0).then(|| self.patches[k - self.cols]);
                self.ssd[k] = f32::INFINITY;
                self.settle(k, &template, &to.image, [Some(self.patches[k]), left, above], iterations);
            }
        }
        // Backwards, answers travel the other way; a patch whose neighbours agree with it is done.
        for row in (0..self.rows).rev() {
            for col in (0..self.cols).rev() {
                let k = row * self.cols + col;
                let own = self.patches[k];
                let differs = |p: [f32; 2]| (p[0] - own[0]).abs() + (p[1] - own[1]).abs() > DIFFERENT;
                let right = (col + 1 < self.cols).then(|| self.patches[k + 1]).filter(|&p| differs(p));
                let below = (row + 1 < self.rows).then(|| self.patches[k + self.cols]).filter(|&p| differs(p));
                if right.is_some() || below.is_some() {
                    let template = Template::new(from, col * self.stride, row * self.stride);
                    self.settle(k, &template, &to.image, [right, below, None], iterations);
                }
            }
        }
        self.spread(from, to);
    }

    fn begin(&mut self, coarser: Option<&Self>) {
        let Some(coarser) = coarser else {
            self.patches.fill([0.0; 2]);
            return;
        };
        for row in 0..self.rows {
            for col in 0..self.cols {
                // The patch's middle, on the coarser level: rounded, its field is smooth at this scale.
                let middle = |k: usize| (k * self.stride + PATCH / 2) >> 1;
                let (x, y) = (middle(col).min(coarser.width - 1), middle(row).min(coarser.height - 1));
                let at = y * coarser.width + x;
                self.patches[row * self.cols + col] = [2.0 * coarser.field[0][at], 2.0 * coarser.field[1][at]];
            }
        }
    }

    /// Descends from the best of the `starts`, if it beats what patch `k` has.
    fn settle(&mut self, k: usize, template: &Template, to: &Plane, starts: [Option<[f32; 2]>; 3], iterations: usize) {
        let (x, y) = ((k % self.cols * self.stride) as f32, (k.div_euclid(self.cols) * self.stride) as f32);
        let mut best: Option<([f32; 2], Met)> = None;
        for (n, start) in starts.iter().enumerate() {
            let Some(p) = *start else { continue };
            let known = |q: &[f32; 2]| (p[0] - q[0]).abs() + (p[1] - q[1]).abs() <= DIFFERENT;
            if starts[..n].iter().flatten().any(known) {
                continue;
            }
            let met = template.meet(to, x + p[0], y + p[1]);
            if met.ssd < best.as_ref().map_or(self.ssd[k], |b| b.1.ssd) {
                best = Some((p, met));
            }
        }
        let Some((start, mut met)) = best else { return };
        let mut p = start;
        for _ in 1..iterations {
            let next = [p[0] + met.step[0], p[1] + met.step[1]];
            if met.step[0].abs() + met.step[1].abs() < CONVERGED {
                p = next;
                break;
            }
            let there = template.meet(to, x + next[0], y + next[1]);
            if there.ssd >= met.ssd {
                break;
            }
            (p, met) = (next, there);
        }
        // A patch that ran further than its own size found something else.
        let ran = (p[0] - start[0]).abs().max((p[1] - start[1]).abs());
        self.patches[k] = if ran > PATCH as f32 { start } else { p };
        self.ssd[k] = met.ssd;
    }

    /// Every pixel's displacement is the mean of the patches' over it, each weighted by how well the pixel matches
    /// there: 1 / max(1, |difference|).
    fn spread(&mut self, from: &Level, to: &Level) {
        self.weight.fill(0.0);
        self.sum[0].fill(0.0);
        self.sum[1].fill(0.0);
        let [sum_x, sum_y] = &mut self.sum;
        for row in 0..self.rows {
            for col in 0..self.cols {
                let [dx, dy] = self.patches[row * self.cols + col];
                let (x, y) = (col * self.stride, row * self.stride);
                let (at, fx, fy) = corner(&to.image, x as f32 + dx, y as f32 + dy);
                let own = from.image.at(x as isize, y as isize);
                let mut top = interpolate(&to.image, at, fx);
                for r in 0..PATCH {
                    let bottom = interpolate(&to.image, at + (r + 1) * to.image.stride, fx);
                    let image = &from.image.data[own + r * from.image.stride..][..PATCH];
                    let into = (y + r) * self.sum_width + x;
                    let mut w = [0.0; PATCH];
                    for c in 0..PATCH {
                        let d = top[c] + fy * (bottom[c] - top[c]) - image[c];
                        w[c] = 1.0 / d.abs().max(1.0);
                    }
                    add(&mut self.weight[into..into + PATCH], w);
                    add(&mut sum_x[into..into + PATCH], w.map(|w| w * dx));
                    add(&mut sum_y[into..into + PATCH], w.map(|w| w * dy));
                    top = bottom;
                }
            }
        }
        for y in 0..self.height {
            let line = y * self.sum_width..y * self.sum_width + self.width;
            let own = y * self.width..(y + 1) * self.width;
            for (field, sum) in self.field.iter_mut().zip([&*sum_x, &*sum_y]) {
                let sums = sum[line.clone()].iter().zip(&self.weight[line.clone()]);
                for (f, (s, w)) in field[own.clone()].iter_mut().zip(sums) {
                    *f = s / w;
                }
            }
        }
    }
}
