//! Peaks: local maxima of the attention map, thinned by non-maximum suppression. One definition for all backends.
//!
//! A peak is a cell that no neighbour exceeds, refined below the cell by a parabola through its neighbours; of two
//! peaks nearer than the radius the weaker goes (greedy NMS, as in the reference system, but with a radius in source
//! pixels and Euclidean distance). The extent is the connected region around the peak whose log-odds are little lower
//! and which moves as the peak does.

#![expect(clippy::cast_precision_loss, reason = "cell indices")]

use crate::attention::Attended;
use crate::geometry::{CellPoint, MapGeometry, PxPoint, PxRect};
use crate::time::{TimeDelta, Timestamp};
use serde::{Deserialize, Serialize};

/// More peaks than this in one map are the weakest ones, and noise.
pub const MAX_PEAKS: usize = 16;

/// Log-odds below the peak at which the region around it ends.
const FALL: f32 = 1.5;
/// Difference of motion, cells a slot, at which the region around a peak ends.
const APART: f32 = 0.15;

/// Parameters of the peak stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeakConfig {
    /// Lowest attention logit of a peak.
    pub min_logit: f32,
    /// Two peaks nearer than this share of the picture's height are one.
    pub radius_share: f32,
    /// Places where nobody is looked for (a screen on the wall, say): `[x, y, width, height]`, source pixels.
    pub mask: Vec<[f32; 4]>,
}

impl Default for PeakConfig {
    fn default() -> Self {
        Self { min_logit: -1.0, radius_share: 0.3, mask: Vec::new() }
    }
}

/// A place that agrees with the sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// When: the start of its slot.
    pub start: Timestamp,
    /// Where, on the map.
    pub cell: CellPoint,
    /// Where, in the source picture.
    pub px: PxPoint,
    /// Its attention logit.
    pub logit: f32,
    /// The attended region around it, source pixels; at least one cell, centred where its weight lies.
    pub extent: PxRect,
}

/// The peak stage: push a map, pull its peaks, strongest first.
#[derive(Debug)]
pub struct PeakPicker {
    config: PeakConfig,
    found: Vec<Peak>,
    kept: Vec<Peak>,
    stack: Vec<usize>,
    visited: Vec<bool>,
    ready: bool,
}

impl PeakPicker {
    /// With these parameters, for maps of `cells` cells.
    #[must_use]
    pub fn new(config: &PeakConfig, cells: usize) -> Self {
        Self {
            config: config.clone(),
            found: Vec::with_capacity(cells),
            kept: Vec::with_capacity(MAX_PEAKS),
            stack: Vec::with_capacity(cells * 4),
            visited: vec![false; cells],
            ready: false,
        }
    }

    /// Finds the peaks of a map.
    pub fn push(&mut self, attended: &Attended<'_>) {
        let map = &attended.map;
        let g = map.geometry;
        self.found.clear();
        self.kept.clear();
        for y in 0..g.rows {
            for x in 0..g.cols {
                let logit = map.logits[y * g.cols + x];
                if logit >= self.config.min_logit && is_local_maximum(map.logits, g, x, y) {
                    let cell = refine(map.logits, g, x, y);
                    let px = g.to_px(cell);
                    if self.config.mask.iter().any(|m| covers(m, px)) {
                        continue;
                    }
                    let extent = PxRect { centre: px, w: 0.0, h: 0.0 };
                    self.found.push(Peak { start: map.start, cell, px, logit, extent });
                }
            }
        }
        self.found.sort_unstable_by(|a, b| b.logit.total_cmp(&a.logit));
        let radius = self.config.radius_share * g.height as f32;
        for i in 0..self.found.len() {
            let peak = self.found[i];
            if self.kept.len() < MAX_PEAKS && self.kept.iter().all(|k| k.px.distance(peak.px) >= radius) {
                let extent = self.extent(attended, peak);
                self.kept.push(Peak { extent, ..peak });
            }
        }
        self.ready = true;
    }

    /// The connected cells around `peak` whose logit is at most [`FALL`] lower, which move with it, and are no further away
    /// than another peak would be: as wide and as high as their bounding box, and centred where their weight lies. A
    /// network sees a mouth from all cells around it, often best from one beside it: of all of them the middle is steadier
    /// than the peak (standard deviation 0.2 cells for 0.4).
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a peak lies on its map")]
    fn extent(&mut self, attended: &Attended<'_>, peak: Peak) -> PxRect {
        let (map, m) = (&attended.map, attended.motion);
        let g = map.geometry;
        let (px, py) = (peak.cell.x.round().max(0.0) as usize, peak.cell.y.round().max(0.0) as usize);
        let (px, py) = (px.min(g.cols - 1), py.min(g.rows - 1));
        let (mut x0, mut x1, mut y0, mut y1) = (px, px, py, py);
        let reach = self.config.radius_share * g.height as f32;
        let near = |x: usize, y: usize| {
            let (dx, dy) = (x.abs_diff(px) as f32 * g.cell_w(), y.abs_diff(py) as f32 * g.cell_h());
            dx.hypot(dy) <= reach
        };
        let own = py * g.cols + px;
        let (mut weight, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
        let coherent = |j: usize| (m.dx[j] - m.dx[own]).hypot(m.dy[j] - m.dy[own]) < APART;
        self.visited.fill(false);
        self.stack.clear();
        self.stack.push(py * g.cols + px);
        self.visited[py * g.cols + px] = true;
        while let Some(i) = self.stack.pop() {
            let (x, y) = (i % g.cols, i.div_euclid(g.cols));
            (x0, x1, y0, y1) = (x0.min(x), x1.max(x), y0.min(y), y1.max(y));
            let w = (map.logits[i] - peak.logit).exp();
            (weight, sum_x, sum_y) = (weight + w, sum_x + w * x as f32, sum_y + w * y as f32);
            let mut visit = |j: usize| {
                let (x, y) = (j % g.cols, j.div_euclid(g.cols));
                if !self.visited[j] && map.logits[j] >= peak.logit - FALL && near(x, y) && coherent(j) {
                    self.visited[j] = true;
                    self.stack.push(j);
                }
            };
            if x > 0 {
                visit(i - 1);
            }
            if x + 1 < g.cols {
                visit(i + 1);
            }
            if y > 0 {
                visit(i - g.cols);
            }
            if y + 1 < g.rows {
                visit(i + g.cols);
            }
        }
        let centre = g.to_px(CellPoint { x: sum_x / weight, y: sum_y / weight });
        PxRect { centre, w: (x1 - x0 + 1) as f32 * g.cell_w(), h: (y1 - y0 + 1) as f32 * g.cell_h() }
    }

    /// The peaks of the last map pushed, strongest first.
    pub fn pull(&mut self) -> Option<&[Peak]> {
        std::mem::take(&mut self.ready).then_some(&self.kept[..])
    }

    /// None: a map's peaks are its own.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// Forgets the last map.
    pub fn reset(&mut self) {
        self.kept.clear();
        self.ready = false;
    }
}

/// No neighbour is higher; of equal neighbours the first in reading order is the maximum.
fn covers(&[x, y, w, h]: &[f32; 4], p: PxPoint) -> bool {
    (x..x + w).contains(&p.x) && (y..y + h).contains(&p.y)
}

fn is_local_maximum(logits: &[f32], g: MapGeometry, x: usize, y: usize) -> bool {
    let own = logits[y * g.cols + x];
    for ny in y.saturating_sub(1)..(y + 2).min(g.rows) {
        for nx in x.saturating_sub(1)..(x + 2).min(g.cols) {
            let other = logits[ny * g.cols + nx];
            let earlier = (ny, nx) < (y, x);
            if other > own || (earlier && other >= own) {
                return false;
            }
        }
    }
    true
}

/// The vertex of the parabola through three values at −1, 0, 1, where the middle one is the highest: −½…½.
pub(crate) fn vertex(before: f32, at: f32, after: f32) -> f32 {
    let curvature = before - 2.0 * at + after;
    if curvature < 0.0 { (0.5 * (before - after) / curvature).clamp(-0.5, 0.5) } else { 0.0 }
}

fn refine(logits: &[f32], g: MapGeometry, x: usize, y: usize) -> CellPoint {
    let at = |x: usize, y: usize| logits[y * g.cols + x];
    let dx = if x > 0 && x + 1 < g.cols { vertex(at(x - 1, y), at(x, y), at(x + 1, y)) } else { 0.0 };
    let dy = if y > 0 && y + 1 < g.rows { vertex(at(x, y - 1), at(x, y), at(x, y + 1)) } else { 0.0 };
    CellPoint { x: x as f32 + dx, y: y as f32 + dy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{AttentionMap, Scores};
    use crate::motion::CellMotion;

    const G: MapGeometry = MapGeometry { cols: 20, rows: 10, width: 2000, height: 1000 };

    fn peaks(logits: &[f32]) -> Vec<Peak> {
        let mut p = PeakPicker::new(&PeakConfig { min_logit: 0.5, ..PeakConfig::default() }, G.cells());
        let (scores, motion) = (Scores::none(G.cells()), CellMotion::still(G.cols, G.rows));
        let map = AttentionMap { start: Timestamp::ZERO, logits, geometry: G };
        p.push(&Attended { map, scores: &scores, motion: &motion, embeddings: &[] });
        p.pull().unwrap().to_vec()
    }

    fn bump(logits: &mut [f32], cx: f32, cy: f32, height: f32, width: f32) {
        for y in 0..G.rows {
            for x in 0..G.cols {
                let d = (x as f32 - cx).powi(2) + (y as f32 - cy).powi(2);
                let v = height * (-d / (2.0 * width * width)).exp();
                let l = &mut logits[y * G.cols + x];
                *l = l.max(v);
            }
        }
    }

    #[test]
    fn an_empty_map_has_none() {
        assert!(peaks(&vec![0.0; G.cells()]).is_empty());
    }

    #[test]
    fn a_bump_is_found_between_the_cells() {
        let mut l = vec![0.0; G.cells()];
        bump(&mut l, 6.3, 4.2, 3.0, 1.5);
        let p = peaks(&l);
        assert_eq!(p.len(), 1);
        assert!((p[0].cell.x - 6.3).abs() < 0.1 && (p[0].cell.y - 4.2).abs() < 0.1, "{:?}", p[0].cell);
        // Half height of a Gaussian of σ = 1.5 cells lies 1.77 cells out: 4 cells of 100 px are above it.
        assert!((300.0..=500.0).contains(&p[0].extent.w), "{:?}", p[0].extent);
    }

    #[test]
    fn of_two_near_peaks_the_stronger_stays_and_far_ones_both() {
        let mut l = vec![0.0; G.cells()];
        bump(&mut l, 5.0, 5.0, 2.0, 0.6);
        bump(&mut l, 7.0, 5.0, 3.0, 0.6);
        bump(&mut l, 15.0, 5.0, 1.0, 0.6);
        let xs: Vec<f32> = peaks(&l).iter().map(|p| p.cell.x.round()).collect();
        assert_eq!(xs, [7.0, 15.0]);
    }

    #[test]
    fn a_plateau_is_one_peak_and_the_border_counts() {
        let p = peaks(&vec![1.0; G.cells()]);
        assert_eq!(p.len(), 1);
        assert_eq!(p[0].cell, CellPoint { x: 0.0, y: 0.0 });
        // No larger than the distance at which there could be another peak: the eleven cells at most three away.
        let PxRect { centre, w, h } = p[0].extent;
        assert_eq!((w, h), (400.0, 400.0));
        let middle = 100.0 * 12.0 / 11.0;
        assert!((centre.x - middle).abs() < 0.01 && (centre.y - middle).abs() < 0.01, "{centre:?}");
    }
}
