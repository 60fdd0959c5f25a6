//! Variational refinement of a field: the flow that keeps grey values and their gradients (robustly) and is
//! smooth but for edges, by a few fixed-point steps of red-black successive over-relaxation.
//!
//! After Brox et al. 2004 with the normalised terms of Zimmer et al. 2011, as OpenCV's `VariationalRefinement`;
//! we solve for the flow itself instead of its increment, and normalise the constraints once instead of per step.
//! Pixels are stored by colour of the checkerboard, so that every update runs over contiguous memory.

use super::RefineConfig;
use super::pyramid::Plane;

/// Keeps square roots away from zero, squared grey levels or pixels.
const EPSILON: f32 = 1e-6;
/// Keeps the normalisation of a constraint away from zero, squared grey levels per pixel.
const ZETA: f32 = 0.01;

/// A plane by colour: pixel (x, y) is number x / 2 of row y of colour (x + y) mod 2. One pixel of padding all around.
type Halves = [Vec<f32>; 2];

/// One linearised constraint a·u + b·v + c = 0 per pixel.
#[derive(Debug)]
struct Constraint {
    a: Halves,
    b: Halves,
    c: Halves,
}

/// The buffers of one level.
#[derive(Debug)]
pub(super) struct Refine {
    width: usize,
    height: usize,
    /// Pixels of a colour in a row (the last may lie outside), and with padding.
    half: usize,
    stride: usize,
    /// Mean of the first and the warped second picture, and their difference.
    mean: Plane,
    difference: Plane,
    /// Grey value, horizontal and vertical gradient stay.
    constraints: [Constraint; 3],
    u: Halves,
    v: Halves,
    /// Stiffness between a pixel and its right and its lower neighbour.
    right: Halves,
    down: Halves,
    /// Per pixel: 1 / diagonal for u and v, the coupling, and the right sides.
    inverse_u: Halves,
    inverse_v: Halves,
    coupling: Halves,
    side_u: Halves,
    side_v: Halves,
    /// One row of constraint coefficients, and of places to read from.
    line: [Vec<f32>; 9],
    at: Vec<u32>,
}

/// The weight that makes a least-squares term of `square` act as its root: outliers count less.
fn robust(weight: f32, square: f32) -> f32 {
    weight / (square + EPSILON).sqrt()
}

impl Refine {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let half = width.div_ceil(2);
        let stride = half + 2;
        let plane = vec![0.0; stride * (height + 2)];
        let halves = || [plane.clone(), plane.clone()];
        let constraint = || Constraint { a: halves(), b: halves(), c: halves() };
        Self {
            width,
            height,
            half,
            stride,
            mean: Plane::new(width, height),
            difference: Plane::new(width, height),
            constraints: [constraint(), constraint(), constraint()],
            u: halves(),
            v: halves(),
            right: halves(),
            down: halves(),
            inverse_u: halves(),
            inverse_v: halves(),
            coupling: halves(),
            side_u: halves(),
            side_v: halves(),
            line: std::array::from_fn(|_| vec![0.0; 2 * half]),
            at: vec![0; width],
        }
    }

    /// Refines `field`, (dx, dy) of `[height, width]` each, pixels of the level.
    pub(super) fn run(&mut self, config: &RefineConfig, from: &Plane, to: &Plane, field: &mut [Vec<f32>; 2]) {
        self.warp(from, to, field);
        self.linearise(field);
        for _ in 0..config.fixed_point_iterations {
            self.stiffness(config.smoothness);
            self.coefficients(config);
            for _ in 0..config.relaxations {
                self.relax(0, config.over_relaxation);
                self.relax(1, config.over_relaxation);
            }
        }
        let (own, half) = (self.width, self.half);
        for (halves, field) in [&self.u, &self.v].into_iter().zip(field) {
            for (y, row) in field.chunks_exact_mut(own).enumerate() {
                let at = (y + 1) * self.stride + 1;
                // Even columns have colour y mod 2.
                let (even, odd) = (&halves[y & 1][at..at + half], &halves[1 - (y & 1)][at..at + half]);
                for ((pair, e), o) in row.chunks_exact_mut(2).zip(even).zip(odd) {
                    pair[0] = *e;
                    pair[1] = *o;
                }
                if let [last] = row.chunks_exact_mut(2).into_remainder() {
                    *last = even[half - 1];
                }
            }
        }
    }

    fn warp(&mut self, from: &Plane, to: &Plane, field: &[Vec<f32>; 2]) {
        let w = self.width;
        for y in 0..self.height {
            let own = y * w..(y + 1) * w;
            let [fx, fy, ..] = self.line.each_mut().map(|l| &mut l[..w]);
            let at = &mut self.at[..w];
            // Two loops: this one is done several pixels at a time.
            for (x, (u, v)) in field[0][own.clone()].iter().zip(&field[1][own]).enumerate() {
                (at[x], fx[x], fy[x]) = to.place(x as f32 + u, y as f32 + v);
            }
            let out = self.mean.row_mut(y).iter_mut().zip(self.difference.row_mut(y));
            let places = at.iter().zip(fx.iter().zip(&*fy));
            for (((mean, difference), &f), (&at, (fx, fy))) in out.zip(from.row(y)).zip(places) {
                let warped = to.between(at as usize, *fx, *fy);
                *mean = 0.5 * (f + warped);
                *difference = warped - f;
            }
        }
        self.mean.pad();
        self.difference.pad();
    }

    /// The constraints around the present field, normalised by their gradient, and the field, by colour.
    fn linearise(&mut self, field: &[Vec<f32>; 2]) {
        let (w, stride) = (self.width, self.mean.stride);
        for y in 0..self.height {
            let at = self.mean.at(0, y as isize);
            // A row of a padded plane, shifted.
            let (mean, difference) = (&self.mean.data, &self.difference.data);
            let m = |dx: usize, dy: usize| &mean[at + dy * stride + dx - 2 * stride - 2..][..w];
            let d = |dx: usize, dy: usize| &difference[at + dy * stride + dx - 2 * stride - 2..][..w];
            let (m0, m_left, m_right, m_up, m_down) = (m(2, 2), m(1, 2), m(3, 2), m(2, 1), m(2, 3));
            let (m_left2, m_right2, m_up2, m_down2) = (m(0, 2), m(4, 2), m(2, 0), m(2, 4));
            let (m_ul, m_ur, m_dl, m_dr) = (m(1, 1), m(3, 1), m(1, 3), m(3, 3));
            let (d0, d_left, d_right, d_up, d_down) = (d(2, 2), d(1, 2), d(3, 2), d(2, 1), d(2, 3));
            let u = &field[0][y * w..(y + 1) * w];
            let v = &field[1][y * w..(y + 1) * w];
            let [a0, b0, c0, a1, b1, c1, a2, b2, c2] = self.line.each_mut().map(|l| &mut l[..w]);
            for x in 0..w {
                let (dx, dy) = (0.5 * (m_right[x] - m_left[x]), 0.5 * (m_down[x] - m_up[x]));
                let n = 1.0 / (dx * dx + dy * dy + ZETA).sqrt();
                a0[x] = n * dx;
                b0[x] = n * dy;
                c0[x] = n * (d0[x] - dx * u[x] - dy * v[x]);
                let xx = 0.25 * (m_right2[x] - 2.0 * m0[x] + m_left2[x]);
                let yy = 0.25 * (m_down2[x] - 2.0 * m0[x] + m_up2[x]);
                let xy = 0.25 * (m_dr[x] - m_dl[x] - m_ur[x] + m_ul[x]);
                let n = 1.0 / (xx * xx + xy * xy + ZETA).sqrt();
                a1[x] = n * xx;
                b1[x] = n * xy;
                c1[x] = n * (0.5 * (d_right[x] - d_left[x]) - xx * u[x] - xy * v[x]);
                let n = 1.0 / (yy * yy + xy * xy + ZETA).sqrt();
                a2[x] = n * xy;
                b2[x] = n * yy;
                c2[x] = n * (0.5 * (d_down[x] - d_up[x]) - xy * u[x] - yy * v[x]);
            }
            let to = (y + 1) * self.stride + 1;
            let mut lines = self.line.iter();
            for c in &mut self.constraints {
                for (halves, line) in [&mut c.a, &mut c.b, &mut c.c].into_iter().zip(&mut lines) {
                    split(halves, y, to, &line[..w]);
                }
            }
            split(&mut self.u, y, to, u);
            split(&mut self.v, y, to, v);
        }
    }

    /// How firmly each pixel's vector is tied to its right and lower neighbours': less, the more they differ.
    fn stiffness(&mut self, smoothness: f32) {
        for y in 0..self.height {
            for colour in 0..2 {
                let (shift, n) = ((colour + y) & 1, self.half);
                let (at, below) = ((y + 1) * self.stride + 1, (y + 2) * self.stride + 1);
                let (u, v) = (&self.u[colour][at..at + n], &self.v[colour][at..at + n]);
                let (other_u, other_v) = (&self.u[1 - colour], &self.v[1 - colour]);
                let (u_right, v_right) = (&other_u[at + shift..at + shift + n], &other_v[at + shift..at + shift + n]);
                let (u_down, v_down) = (&other_u[below..below + n], &other_v[below..below + n]);
                let right = &mut self.right[colour][at..at + n];
                let down = &mut self.down[colour][at..at + n];
                for i in 0..n {
                    let (ux, vx) = (u_right[i] - u[i], v_right[i] - v[i]);
                    let (uy, vy) = (u_down[i] - u[i], v_down[i] - v[i]);
                    right[i] = robust(smoothness, ux * ux + uy * uy + vx * vx + vy * vy);
                    down[i] = right[i];
                }
                // Nothing lies beyond the edges. The pixels 2i + shift end at width − 1.
                if (self.width - 1 + shift) & 1 == 0 {
                    right[(self.width - 1 - shift) >> 1] = 0.0;
                }
                if y + 1 == self.height {
                    down.fill(0.0);
                }
                if (self.width & 1) == 1 && shift == 1 {
                    right[n - 1] = 0.0;
                    down[n - 1] = 0.0;
                }
            }
        }
    }

    /// The linear system at the present field: data terms with their robust weights, and the diagonal.
    fn coefficients(&mut self, config: &RefineConfig) {
        for y in 0..self.height {
            for colour in 0..2 {
                let (shift, n) = ((colour + y) & 1, self.half);
                let (at, above) = ((y + 1) * self.stride + 1, y * self.stride + 1);
                let own = at..at + n;
                let (u, v) = (&self.u[colour][own.clone()], &self.v[colour][own.clone()]);
                let [grey, dx, dy] = self
                    .constraints
                    .each_ref()
                    .map(|c| [&c.a[colour][own.clone()], &c.b[colour][own.clone()], &c.c[colour][own.clone()]]);
                let (right, down) = (&self.right[colour][own.clone()], &self.down[colour][own.clone()]);
                let left = &self.right[1 - colour][at + shift - 1..at + shift - 1 + n];
                let up = &self.down[1 - colour][above..above + n];
                let inverse_u = &mut self.inverse_u[colour][own.clone()];
                let inverse_v = &mut self.inverse_v[colour][own.clone()];
                let coupling = &mut self.coupling[colour][own.clone()];
                let side_u = &mut self.side_u[colour][own.clone()];
                let side_v = &mut self.side_v[colour][own];
                for i in 0..n {
                    let (u, v) = (u[i], v[i]);
                    let [a0, b0, c0] = grey.map(|s| s[i]);
                    let [a1, b1, c1] = dx.map(|s| s[i]);
                    let [a2, b2, c2] = dy.map(|s| s[i]);
                    let (r0, r1, r2) = (a0 * u + b0 * v + c0, a1 * u + b1 * v + c1, a2 * u + b2 * v + c2);
                    let w = robust(config.grey_constancy, r0 * r0);
                    let g = robust(config.gradient_constancy, r1 * r1 + r2 * r2);
                    let ties = right[i] + left[i] + down[i] + up[i] + 1e-6;
                    let diagonal_u = w * a0 * a0 + g * (a1 * a1 + a2 * a2) + ties;
                    let diagonal_v = w * b0 * b0 + g * (b1 * b1 + b2 * b2) + ties;
                    let both = 1.0 / (diagonal_u * diagonal_v);
                    inverse_u[i] = diagonal_v * both;
                    inverse_v[i] = diagonal_u * both;
                    coupling[i] = w * a0 * b0 + g * (a1 * b1 + a2 * b2);
                    side_u[i] = -(w * a0 * c0 + g * (a1 * c1 + a2 * c2));
                    side_v[i] = -(w * b0 * c0 + g * (b1 * c1 + b2 * c2));
                }
            }
        }
    }

    /// One sweep over the pixels of a colour; their neighbours are all of the other.
    fn relax(&mut self, colour: usize, omega: f32) {
        let n = self.half;
        let (u_first, u_second) = self.u.split_at_mut(1);
        let (v_first, v_second) = self.v.split_at_mut(1);
        let (own_u, other_u, own_v, other_v) = if colour == 0 {
            (&mut u_first[0], &u_second[0], &mut v_first[0], &v_second[0])
        } else {
            (&mut u_second[0], &u_first[0], &mut v_second[0], &v_first[0])
        };
        for y in 0..self.height {
            let shift = (colour + y) & 1;
            let at = (y + 1) * self.stride + 1;
            let (above, below) = (at - self.stride, at + self.stride);
            let (left, own) = (at + shift - 1, at..at + n);
            let near = |other| {
                let from = |first: usize| -> &[f32] { &(other as &Vec<f32>)[first..first + n] };
                [from(left), from(left + 1), from(above), from(below)]
            };
            let ties = [
                &self.right[1 - colour][left..left + n],
                &self.right[colour][own.clone()],
                &self.down[1 - colour][above..above + n],
                &self.down[colour][own.clone()],
            ];
            let system = [&self.inverse_u, &self.inverse_v, &self.coupling, &self.side_u, &self.side_v]
                .map(|halves| &halves[colour][own.clone()]);
            let (u, v) = (&mut own_u[own.clone()], &mut own_v[own.clone()]);
            relax_row(u, v, near(other_u), near(other_v), ties, system, omega);
        }
    }
}

/// Moves a row of one colour towards what its neighbours (left, right, above, below) and constraints ask for. A
/// function of its own so that the compiler knows that nothing else is written.
fn relax_row(
    u: &mut [f32],
    v: &mut [f32],
    near_u: [&[f32]; 4],
    near_v: [&[f32]; 4],
    ties: [&[f32]; 4],
    system: [&[f32]; 5],
    omega: f32,
) {
    let n = u.len();
    let v = &mut v[..n];
    let near_u = near_u.map(|s| &s[..n]);
    let near_v = near_v.map(|s| &s[..n]);
    let [left, right, up, down] = ties.map(|s| &s[..n]);
    let [inverse_u, inverse_v, coupling, side_u, side_v] = system.map(|s| &s[..n]);
    for i in 0..n {
        let pull = |near: [&[f32]; 4]| {
            left[i] * near[0][i] + right[i] * near[1][i] + up[i] * near[2][i] + down[i] * near[3][i]
        };
        let new_u = u[i] + omega * ((side_u[i] - coupling[i] * v[i] + pull(near_u)) * inverse_u[i] - u[i]);
        u[i] = new_u;
        v[i] += omega * ((side_v[i] - coupling[i] * new_u + pull(near_v)) * inverse_v[i] - v[i]);
    }
}

/// Sorts a row into its colours.
fn split(halves: &mut Halves, y: usize, at: usize, row: &[f32]) {
    let [first, second] = halves;
    let (even, odd) = if y & 1 == 0 { (first, second) } else { (second, first) };
    for ((pair, e), o) in row.chunks_exact(2).zip(&mut even[at..]).zip(&mut odd[at..]) {
        *e = pair[0];
        *o = pair[1];
    }
    if let [last] = row.chunks_exact(2).remainder() {
        even[at + (row.len() >> 1)] = *last;
    }
}
