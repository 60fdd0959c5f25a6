//! Dense optical flow: where every pixel of the previous picture lies in this one.
//!
//! Dense inverse search (Kroeger, Timofte, Dai, Van Gool: "Fast Optical Flow using Dense Inverse Search", ECCV 2016):
//! from the coarsest level of a pyramid to the finest one used, patches of 8 × 8 pixels find their match by
//! Gauss–Newton steps whose gradients are the first picture's, so computed once; every pixel then takes the mean of
//! the patches over it, weighted by how well it matches. As in OpenCV's `DISOpticalFlow`, patches also try their
//! neighbours' answers, and a short variational refinement may follow on each level. Unlike there a patch stops when it
//! has converged, and a neighbour's answer is tried only where it differs: the time goes where the motion is.

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
            fixed_point_iterations: 3,
            relaxations: 5,
            over_relaxation: 1.6,
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
    /// The variational refinement on each level.
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
    levels: Vec<(Search, Refine)>,
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
        // The finest level must hold a patch or so, and on the coarsest a patch is a quarter of the longer side.
        let fits = |level: usize| halved(width.min(height), level) >= PATCH;
        let finest = (0..=config.finest_level).rev().find(|&l| fits(l)).unwrap_or(0);
        let quarter = |level: usize| halved(width.max(height), level) as f32 >= 2.0_f32.sqrt() * (2 * PATCH) as f32;
        let coarsest = (finest + 1..usize::BITS as usize).take_while(|&l| fits(l) && quarter(l)).last().unwrap_or(finest);
        let stride = config.patch_stride_px.clamp(1, PATCH);
        let size = |level: usize| (halved(width, level), halved(height, level));
        let levels = (finest..=coarsest)
            .map(|l| (Search::new(size(l).0, size(l).1, stride), Refine::new(size(l).0, size(l).1)))
            .collect();
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
        solve(&mut self.levels, &self.config, self.finest, &self.previous, &self.current, &mut self.there);
        for (from, to) in self.there.iter().zip(&mut self.field) {
            enlarge(from, self.width, self.finest, &mut self.enlarged, &mut self.line, to);
        }
        if self.config.check {
            solve(&mut self.levels, &self.config, self.finest, &self.current, &self.previous, &mut self.back);
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

    /// Which pixels of the picture before the last come back to where they were, `[height, width]`, with
    /// [`FlowConfig::check`]: not those that are covered, leave the picture, or were matched wrongly.
    #[must_use]
    pub fn validity(&self) -> Option<&[bool]> {
        (self.pictures == 2 && self.config.check).then_some(&self.valid)
    }

    /// Forgets the last picture, as at a cut.
    pub fn reset(&mut self) {
        self.pictures = 0;
    }

    fn as_field<'a>(&self, [dx, dy]: &'a [Vec<f32>; 2]) -> FlowField<'a> {
        FlowField { dx, dy, width: self.width, height: self.height }
    }

    /// Forward-backward consistency, on the finest level used.
    fn compare(&mut self) {
        let (w, h) = (halved(self.width, self.finest), halved(self.height, self.finest));
        let tolerance = self.config.tolerance_px / (1_usize << self.finest) as f32;
        for y in 0..h {
            for x in 0..w {
                let (u, v) = (self.there[0][y * w + x], self.there[1][y * w + x]);
                let (tx, ty) = (x as f32 + u, y as f32 + v);
                let inside = tx >= -0.5 && ty >= -0.5 && tx <= w as f32 - 0.5 && ty <= h as f32 - 0.5;
                let [bu, bv] = self.back.each_ref().map(|plane| sample(plane, w, h, tx, ty));
                let apart = (u + bu).powi(2) + (v + bv).powi(2);
                let valid = inside && apart <= tolerance * tolerance + 0.01 * (u * u + v * v + bu * bu + bv * bv);
                let (x0, y0) = (x << self.finest, y << self.finest);
                let x1 = ((x + 1) << self.finest).min(self.width);
                for row in y0..((y + 1) << self.finest).min(self.height) {
                    self.valid[row * self.width + x0..row * self.width + x1].fill(valid);
                }
            }
        }
    }
}

/// The flow between two pictures on the finest level used, from the coarsest level down.
fn solve(
    levels: &mut [(Search, Refine)],
    config: &FlowConfig,
    finest: usize,
    from: &Pyramid,
    to: &Pyramid,
    out: &mut [Vec<f32>; 2],
) {
    for k in (0..levels.len()).rev() {
        let (from, to) = (from.level(finest + k), to.level(finest + k));
        let (own, coarser) = levels.split_at_mut(k + 1);
        let (search, refine) = &mut own[k];
        search.run(from, to, coarser.first().map(|c| &c.0), config.iterations);
        if config.refine.fixed_point_iterations > 0 {
            refine.run(&config.refine, &from.image, &to.image, &mut search.field);
        }
    }
    for (out, field) in out.iter_mut().zip(&levels[0].0.field) {
        out.copy_from_slice(field);
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

/// A packed plane at (x, y), linear between pixels, the border's outside.
fn sample(plane: &[f32], w: usize, h: usize, x: f32, y: f32) -> f32 {
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
