//! Dense optical flow: where every pixel of the previous picture lies in this one.
//!
//! Dense inverse search (Kroeger, Timofte, Dai, Van Gool: "Fast Optical Flow using Dense Inverse Search", ECCV 2016):
//! from the coarsest level of a pyramid to the finest one used, patches of 8 × 8 pixels find their match by
//! Gauss–Newton steps whose gradients are the first picture's, so computed once; every pixel then takes the mean of
//! the patches over it, weighted by how well it matches. As in OpenCV's `DISOpticalFlow`, patches also try their
//! neighbours' answers. Unlike there a patch stops when it has converged, a neighbour's answer is tried only where it
//! differs, and the variational refinement is done once, on the finest level (on all of them it gained nothing): the time
//! saved pays for a level twice as fine as that of OpenCV's fast presets. `docs/flow.md` compares.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::integer_division,
    reason = "picture sizes and pixel positions within them"
)]

mod pyramid;
mod refine;
mod search;

use crate::time::TimeDelta;
use pyramid::{Pyramid, double, halved};
use refine::Refine;
use search::Search;
use serde::{Deserialize, Serialize};

/// Side of a patch, pixels of its level.
const PATCH: usize = 8;

/// Parameters of the variational refinement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefineConfig {
    /// Times the robust weights are computed anew; 0 switches the refinement off.
    pub fixed_point_iterations: usize,
    /// Sweeps over the picture for each.
    pub relaxations: usize,
    /// Over-relaxation of a sweep, 1…2.
    pub over_relaxation: f32,
    /// Weight of a smooth field.
    pub smoothness: f32,
    /// Weight of grey values that stay.
    pub grey_constancy: f32,
    /// Weight of gradients that stay.
    pub gradient_constancy: f32,
}

impl Default for RefineConfig {
    fn default() -> Self {
        Self {
            fixed_point_iterations: 2,
            relaxations: 5,
            over_relaxation: 1.7,
            smoothness: 20.0,
            grey_constancy: 5.0,
            gradient_constancy: 10.0,
        }
    }
}

/// Parameters of the flow stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowConfig {
    /// Halvings of the picture on which the search ends; from there the field is enlarged.
    pub finest_level: usize,
    /// Distance of patches, pixels of their level, 1…8.
    pub patch_stride_px: usize,
    /// Most steps of a patch on one level.
    pub iterations: usize,
    /// The variational refinement of the finest level.
    pub refine: RefineConfig,
    /// Whether to compute the flow back too and tell where both agree: see [`Flow::validity`].
    pub check: bool,
    /// How far a pixel may land from its start, there and back, and be valid, pixels of the picture; 1 % of the squared
    /// motion is added to its square.
    pub tolerance_px: f32,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            finest_level: 1,
            patch_stride_px: 4,
            iterations: 8,
            refine: RefineConfig::default(),
            check: false,
            tolerance_px: 1.0,
        }
    }
}

/// What the flow stage refuses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// A picture has the wrong size.
    #[error("flow: a picture of {got} bytes instead of {expected}")]
    Size {
        /// Width × height of the stage.
        expected: usize,
        /// Bytes of the picture.
        got: usize,
    },
}

/// A dense flow field, f32 `[2, height, width]`, pixels of the picture, from one picture to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowField<'a> {
    /// Motion to the right, `[height, width]`.
    pub dx: &'a [f32],
    /// Motion downwards, `[height, width]`.
    pub dy: &'a [f32],
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The flow stage: push grey pictures, read the field between the last two. Everything is allocated in [`Flow::new`].
#[derive(Debug)]
pub struct Flow {
    config: FlowConfig,
    width: usize,
    height: usize,
    finest: usize,
    previous: Pyramid,
    current: Pyramid,
    /// Pictures since the last reset: 0, 1 or 2 (and more).
    pictures: u8,
    /// From the finest level used to the coarsest.
    levels: Vec<Search>,
    refine: Refine,
    /// The fields of the finest level used, there and back, pixels of that level.
    there: [Vec<f32>; 2],
    back: [Vec<f32>; 2],
    /// Fields on the way up from the finest level used.
    enlarged: Vec<Vec<f32>>,
    line: Vec<f32>,
    field: [Vec<f32>; 2],
    field_back: [Vec<f32>; 2],
    valid: Vec<bool>,
}

impl Flow {
    /// For grey pictures of `width` × `height`.
    ///
    /// # Panics
    ///
    /// If a side is zero.
    #[must_use]
    pub fn new(width: usize, height: usize, config: &FlowConfig) -> Self {
        assert!(width > 0 && height > 0, "flow: a picture of {width} × {height} pixels");
        // Every level holds a patch; on the coarsest one is about a quarter of the longer side.
        let fits = |level: usize| halved(width.min(height), level) >= PATCH;
        let finest = (0..=config.finest_level).rev().find(|&l| fits(l)).unwrap_or(0);
        let quarter = |level: usize| halved(width.max(height), level) as f32 >= 2.0_f32.sqrt() * (2 * PATCH) as f32;
        let coarsest =
            (finest + 1..usize::BITS as usize).take_while(|&l| fits(l) && quarter(l)).last().unwrap_or(finest);
        let stride = config.patch_stride_px.clamp(1, PATCH);
        let size = |level: usize| (halved(width, level), halved(height, level));
        let levels = (finest..=coarsest).map(|l| Search::new(size(l).0, size(l).1, stride)).collect();
        let plane = |level: usize| vec![0.0; size(level).0 * size(level).1];
        Self {
            config: config.clone(),
            width,
            height,
            finest,
            previous: Pyramid::new(width, height, finest, coarsest),
            current: Pyramid::new(width, height, finest, coarsest),
            pictures: 0,
            levels,
            refine: Refine::new(size(finest).0, size(finest).1),
            there: [plane(finest), plane(finest)],
            back: [plane(finest), plane(finest)],
            enlarged: (0..finest).map(plane).collect(),
            line: vec![0.0; width + 2],
            field: [plane(0), plane(0)],
            field_back: if config.check { [plane(0), plane(0)] } else { [Vec::new(), Vec::new()] },
            valid: if config.check { vec![false; width * height] } else { Vec::new() },
        }
    }

    /// Takes a picture, packed `[height, width]`, and computes the flow from the one before it.
    ///
    /// # Errors
    ///
    /// When it has another size; it is then not taken.
    pub fn push(&mut self, picture: &[u8]) -> Result<(), FlowError> {
        if picture.len() != self.width * self.height {
            return Err(FlowError::Size { expected: self.width * self.height, got: picture.len() });
        }
        std::mem::swap(&mut self.previous, &mut self.current);
        self.current.fill(picture, self.width);
        self.pictures = (self.pictures + 1).min(2);
        if self.pictures < 2 {
            return Ok(());
        }
        self.solve(false);
        for (from, to) in self.there.iter().zip(&mut self.field) {
            enlarge(from, self.width, self.finest, &mut self.enlarged, &mut self.line, to);
        }
        if self.config.check {
            self.solve(true);
            for (from, to) in self.back.iter().zip(&mut self.field_back) {
                enlarge(from, self.width, self.finest, &mut self.enlarged, &mut self.line, to);
            }
            self.compare();
        }
        Ok(())
    }

    /// The flow from the picture before the last to the last; `None` until two were pushed.
    #[must_use]
    pub fn field(&self) -> Option<FlowField<'_>> {
        (self.pictures == 2).then(|| self.as_field(&self.field))
    }

    /// The flow from the last picture back to the one before it, with [`FlowConfig::check`]: what a map of the picture
    /// before is warped with.
    #[must_use]
    pub fn field_back(&self) -> Option<FlowField<'_>> {
        (self.pictures == 2 && self.config.check).then(|| self.as_field(&self.field_back))
    }

    /// Which pixels of the last picture come from where the field back says, `[height, width]`, with
    /// [`FlowConfig::check`]: the field there leads from that place to them. Not those that were uncovered, came into the
    /// picture, or were matched wrongly.
    #[must_use]
    pub fn validity(&self) -> Option<&[bool]> {
        (self.pictures == 2 && self.config.check).then_some(&self.valid)
    }

    /// None: a field is there as soon as its second picture is.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// Forgets the last picture, as at a cut.
    pub fn reset(&mut self) {
        self.pictures = 0;
    }

    fn as_field<'a>(&self, [dx, dy]: &'a [Vec<f32>; 2]) -> FlowField<'a> {
        FlowField { dx, dy, width: self.width, height: self.height }
    }

    /// The flow on the finest level used, from the coarsest level down.
    fn solve(&mut self, back: bool) {
        let (from, to) = if back { (&self.current, &self.previous) } else { (&self.previous, &self.current) };
        for k in (0..self.levels.len()).rev() {
            let (finer, coarser) = self.levels.split_at_mut(k + 1);
            let level = self.finest + k;
            finer[k].run(from.level(level), to.level(level), coarser.first(), self.config.iterations);
        }
        let out = if back { &mut self.back } else { &mut self.there };
        for (out, field) in out.iter_mut().zip(&self.levels[0].field) {
            out.copy_from_slice(field);
        }
        if self.config.refine.fixed_point_iterations > 0 {
            let (from, to) = (from.level(self.finest), to.level(self.finest));
            self.refine.run(&self.config.refine, &from.image, &to.image, out);
        }
    }

    /// Forward-backward consistency of the last picture's pixels, on the finest level used (Sundaram, Brox, Keutzer
    /// 2010, eq. 5).
    fn compare(&mut self) {
        let (w, h) = (halved(self.width, self.finest), halved(self.height, self.finest));
        let tolerance = self.config.tolerance_px / (1_usize << self.finest) as f32;
        for y in 0..h {
            for x in 0..w {
                let (u, v) = (self.back[0][y * w + x], self.back[1][y * w + x]);
                let (fx, fy) = (x as f32 + u, y as f32 + v);
                let inside = fx >= -0.5 && fy >= -0.5 && fx <= w as f32 - 0.5 && fy <= h as f32 - 0.5;
                let [fu, fv] = self.there.each_ref().map(|plane| sample(plane, w, fx, fy));
                let apart = (u + fu).powi(2) + (v + fv).powi(2);
                let valid = inside && apart <= tolerance * tolerance + 0.01 * (u * u + v * v + fu * fu + fv * fv);
                let (x0, y0) = (x << self.finest, y << self.finest);
                let x1 = ((x + 1) << self.finest).min(self.width);
                for row in y0..((y + 1) << self.finest).min(self.height) {
                    self.valid[row * self.width + x0..row * self.width + x1].fill(valid);
                }
            }
        }
    }
}

/// Doubles one component of a field from level `finest` to the picture's size.
fn enlarge(from: &[f32], width: usize, finest: usize, between: &mut [Vec<f32>], line: &mut [f32], out: &mut [f32]) {
    if finest == 0 {
        out.copy_from_slice(from);
        return;
    }
    for level in (1..finest).rev() {
        let (finer, coarser) = between.split_at_mut(level + 1);
        let source = coarser.first().map_or(from, |c| c);
        double(source, halved(width, level + 1), &mut finer[level], halved(width, level), line);
    }
    double(between.get(1).map_or(from, |b| b), halved(width, 1), out, width, line);
}

/// A packed plane with rows of `w` at (x, y), linear between pixels, the border's outside.
pub(crate) fn sample(plane: &[f32], w: usize, x: f32, y: f32) -> f32 {
    let h = plane.len() / w;
    let (x, y) = (x.clamp(0.0, (w - 1) as f32), y.clamp(0.0, (h - 1) as f32));
    let (ix, iy) = (x as usize, y as usize);
    let (fx, fy) = (x - ix as f32, y - iy as f32);
    let (right, below) = (usize::from(ix + 1 < w), usize::from(iy + 1 < h) * w);
    let at = iy * w + ix;
    let (top, bottom) = (
        plane[at] + fx * (plane[at + right] - plane[at]),
        plane[at + below] + fx * (plane[at + below + right] - plane[at + below]),
    );
    top + fy * (bottom - top)
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: usize = 200;
    const H: usize = 136;

    /// Waves of 7 to 45 pixels in all directions: a texture that is known between the pixels too.
    fn texture(x: f32, y: f32) -> f32 {
        let waves = (0..32).map(|k| {
            let (k, turn) = (k as f32, k as f32 * 2.399_963);
            let length = 7.0 + 38.0 * (k * 0.618_034).fract();
            (std::f32::consts::TAU / length * (x * turn.cos() + y * turn.sin()) + 1.7 * k).sin()
        });
        128.0 + 18.0 * waves.sum::<f32>()
    }

    /// The picture whose pixel (x, y) shows the texture's point `at(x, y)`.
    fn picture(w: usize, h: usize, at: impl Fn(f32, f32) -> (f32, f32)) -> Vec<u8> {
        let pixels = (0..w * h).map(|i| at((i % w) as f32, (i / w) as f32));
        pixels.map(|(x, y)| texture(x, y).round().clamp(0.0, 255.0) as u8).collect()
    }

    fn checked() -> FlowConfig {
        FlowConfig { check: true, ..FlowConfig::default() }
    }

    fn between(first: &[u8], second: &[u8], config: &FlowConfig) -> Flow {
        let mut flow = Flow::new(W, H, config);
        flow.push(first).unwrap();
        assert!(flow.field().is_none());
        flow.push(second).unwrap();
        flow
    }

    /// Mean distance to the true field, px, over the pixels whose match is `margin` px within the picture.
    fn error(field: FlowField<'_>, margin: f32, truth: impl Fn(f32, f32) -> (f32, f32)) -> f32 {
        let (mut sum, mut n) = (0.0, 0.0);
        for (i, (dx, dy)) in field.dx.iter().zip(field.dy).enumerate() {
            let (x, y) = ((i % field.width) as f32, (i / field.width) as f32);
            let (u, v) = truth(x, y);
            let inside = |p: f32, size: usize| p >= margin && p <= (size - 1) as f32 - margin;
            if inside(x + u, field.width) && inside(y + v, field.height) {
                sum += (dx - u).hypot(dy - v);
                n += 1.0;
            }
        }
        sum / n
    }

    #[test]
    fn translations_are_found_between_pixels() {
        let first = picture(W, H, |x, y| (x, y));
        for (u, v) in [(0.3, -0.4), (-1.75, 0.5), (3.5, 2.25), (-7.3, 4.6), (11.5, -2.0)] {
            let second = picture(W, H, |x, y| (x - u, y - v));
            for finest_level in 0..3 {
                let flow = between(&first, &second, &FlowConfig { finest_level, ..FlowConfig::default() });
                let e = error(flow.field().unwrap(), 4.0, |_, _| (u, v));
                // On a quarter of the picture the texture's shortest waves are aliased.
                let most = if finest_level < 2 { 0.1 } else { 0.2 };
                assert!(e < most, "({u}, {v}) on level {finest_level}: {e} px off");
            }
        }
    }

    #[test]
    fn the_search_alone_finds_them_too() {
        let first = picture(W, H, |x, y| (x, y));
        let second = picture(W, H, |x, y| (x - 2.6, y + 1.3));
        let refine = RefineConfig { fixed_point_iterations: 0, ..RefineConfig::default() };
        let flow = between(&first, &second, &FlowConfig { refine, ..FlowConfig::default() });
        let e = error(flow.field().unwrap(), 4.0, |_, _| (2.6, -1.3));
        assert!(e < 0.1, "{e} px off");
    }

    #[test]
    fn rotation_and_zoom() {
        let (cx, cy) = (W as f32 / 2.0, H as f32 / 2.0);
        for (degrees, zoom) in [(2.0_f32, 1.0_f32), (-3.0, 1.0), (0.0, 1.04), (0.0, 0.96), (1.0, 1.02)] {
            let (sin, cos) = degrees.to_radians().sin_cos();
            let turn = |x: f32, y: f32, sin: f32, zoom: f32| {
                let (x, y) = (x - cx, y - cy);
                (zoom * (cos * x - sin * y) + cx, zoom * (sin * x + cos * y) + cy)
            };
            let first = picture(W, H, |x, y| (x, y));
            let second = picture(W, H, |x, y| turn(x, y, -sin, 1.0 / zoom));
            let flow = between(&first, &second, &FlowConfig::default());
            let e = error(flow.field().unwrap(), 4.0, |x, y| {
                let (tx, ty) = turn(x, y, sin, zoom);
                (tx - x, ty - y)
            });
            assert!(e < 0.15, "{degrees}°, ×{zoom}: {e} px off");
        }
    }

    #[test]
    fn a_still_and_flat_pictures_do_not_move() {
        let still = picture(W, H, |x, y| (x, y));
        for (first, second) in
            [(&still, &still), (&vec![80; W * H], &vec![80; W * H]), (&vec![0; W * H], &vec![255; W * H])]
        {
            let flow = between(first, second, &checked());
            let field = flow.field().unwrap();
            let most = field
                .dx
                .iter()
                .chain(field.dy)
                .fold(0.0_f32, |m, v| if v.is_nan() { f32::NAN } else { m.max(v.abs()) });
            assert!(most < 1e-3, "{most}");
            assert!(flow.validity().unwrap().iter().all(|v| *v));
        }
    }

    #[test]
    fn any_size_and_any_content() {
        for (w, h) in [(1, 1), (2, 9), (7, 5), (8, 8), (9, 300), (33, 17), (61, 47), (101, 16)] {
            for finest_level in 0..4 {
                let mut flow = Flow::new(w, h, &FlowConfig { finest_level, ..checked() });
                for k in 0..3_u32 {
                    let noise = (0..w * h).map(|i| ((i as u32 + 977 * k).wrapping_mul(2_654_435_761) >> 24) as u8);
                    flow.push(&noise.collect::<Vec<u8>>()).unwrap();
                }
                let (there, back) = (flow.field().unwrap(), flow.field_back().unwrap());
                assert_eq!((there.dx.len(), there.dy.len(), back.dx.len()), (w * h, w * h, w * h));
                assert!([there.dx, there.dy, back.dx, back.dy].concat().iter().all(|v| v.is_finite()), "{w} × {h}");
            }
        }
    }

    #[test]
    fn odd_sizes_are_as_exact() {
        let (w, h) = (157, 93);
        let mut flow = Flow::new(w, h, &FlowConfig::default());
        flow.push(&picture(w, h, |x, y| (x, y))).unwrap();
        flow.push(&picture(w, h, |x, y| (x - 2.4, y + 1.6))).unwrap();
        let e = error(flow.field().unwrap(), 4.0, |_, _| (2.4, -1.6));
        assert!(e < 0.1, "{e} px off");
    }

    #[test]
    fn what_is_uncovered_is_not_valid() {
        // A square of another texture moves 10 px to the right over a background that stands still.
        let square = |left: f32| {
            move |x: f32, y: f32| {
                let inside = x >= left && x < left + 60.0 && (40.0..100.0).contains(&y);
                if inside { (x - left + 1000.0, y + 500.0) } else { (x, y) }
            }
        };
        let flow = between(&picture(W, H, square(60.0)), &picture(W, H, square(70.0)), &checked());
        let valid = flow.validity().unwrap();
        let share = |x: std::ops::Range<usize>, y: std::ops::Range<usize>| {
            let n = x.len() * y.len();
            y.flat_map(|y| x.clone().map(move |x| valid[y * W + x])).filter(|v| *v).count() as f32 / n as f32
        };
        // The background left of the square is uncovered; the square and the far background are not.
        let (uncovered, moved, still) = (share(61..69, 50..90), share(80..120, 50..90), share(150..195, 5..130));
        assert!(uncovered < 0.3 && moved > 0.95 && still > 0.95, "{uncovered} {moved} {still}");
        let back = flow.field_back().unwrap();
        assert!((back.dx[70 * W + 100] + 10.0).abs() < 0.2, "{}", back.dx[70 * W + 100]);
    }

    #[test]
    fn it_depends_on_the_two_pictures_alone() {
        let pictures: Vec<_> = (0..3).map(|k| picture(W, H, |x, y| (x - 1.5 * k as f32, y + k as f32))).collect();
        let fresh = between(&pictures[1], &pictures[2], &checked());
        let mut stream = between(&pictures[0], &pictures[1], &checked());
        stream.push(&pictures[2]).unwrap();
        assert_eq!(stream.field(), fresh.field());
        assert_eq!((stream.field_back(), stream.validity()), (fresh.field_back(), fresh.validity()));
        stream.reset();
        assert!(stream.field().is_none() && stream.validity().is_none());
        stream.push(&pictures[1]).unwrap();
        stream.push(&pictures[2]).unwrap();
        assert_eq!(stream.field(), fresh.field());
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        let mut flow = Flow::new(W, H, &FlowConfig::default());
        assert_eq!(flow.push(&[0; 10]), Err(FlowError::Size { expected: W * H, got: 10 }));
        assert!(flow.field().is_none() && flow.validity().is_none());
    }
}
