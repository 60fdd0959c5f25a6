//! Places: pixels of the source picture, cells of a map, and the only conversions between them.
//!
//! Points are (x, y) with the origin at the top left of the picture; arrays are indexed `[y, x]`. Pixel coordinates
//! are continuous: the first pixel covers 0 to 1, its centre is 0.5.

#![expect(clippy::cast_precision_loss, reason = "picture sizes are far below 2^24")]

/// A point in pixels of the source picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PxPoint {
    /// Pixels from the left edge.
    pub x: f32,
    /// Pixels from the top edge.
    pub y: f32,
}

impl PxPoint {
    /// Euclidean distance, pixels.
    #[must_use]
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// A point on a map, in cells; (0, 0) is the centre of the first cell and fractions lie between centres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellPoint {
    /// Cells from the centre of the first column.
    pub x: f32,
    /// Cells from the centre of the first row.
    pub y: f32,
}

/// A rectangle in pixels of the source picture, by its centre and size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PxRect {
    /// The centre.
    pub centre: PxPoint,
    /// Width, pixels.
    pub w: f32,
    /// Height, pixels.
    pub h: f32,
}

impl PxRect {
    /// From left, top, right, bottom, pixels.
    #[must_use]
    pub fn from_edges(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Self { centre: PxPoint { x: f32::midpoint(x0, x1), y: f32::midpoint(y0, y1) }, w: x1 - x0, h: y1 - y0 }
    }

    /// Left, top, right, bottom, pixels.
    #[must_use]
    pub fn edges(self) -> (f32, f32, f32, f32) {
        let (hw, hh) = (self.w / 2.0, self.h / 2.0);
        (self.centre.x - hw, self.centre.y - hh, self.centre.x + hw, self.centre.y + hh)
    }
}

/// Intersection over union of two rectangles, 0…1; 0 where both are empty.
#[must_use]
pub fn iou(a: PxRect, b: PxRect) -> f32 {
    let (ax0, ay0, ax1, ay1) = a.edges();
    let (bx0, by0, bx1, by1) = b.edges();
    let w = (ax1.min(bx1) - ax0.max(bx0)).max(0.0);
    let h = (ay1.min(by1) - ay0.max(by0)).max(0.0);
    let both = w * h;
    let any = a.w * a.h + b.w * b.h - both;
    if any > 0.0 { both / any } else { 0.0 }
}

/// How a map of `cols` × `rows` cells lies over a source picture of `width` × `height` pixels: the network's picture
/// covers the whole source, and cell (0, 0) looks at its top left corner: convolutions of stride 2 whose borders are padded evenly
/// see as much before the first pixel of a block as after it, so a cell's middle is where its block begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapGeometry {
    /// Cells in a row.
    pub cols: usize,
    /// Rows of cells.
    pub rows: usize,
    /// Source picture width, pixels.
    pub width: u32,
    /// Source picture height, pixels.
    pub height: u32,
}

impl MapGeometry {
    /// Number of cells.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cols * self.rows
    }

    /// Width of a cell in source pixels.
    #[must_use]
    pub fn cell_w(&self) -> f32 {
        self.width as f32 / self.cols as f32
    }

    /// Height of a cell in source pixels.
    #[must_use]
    pub fn cell_h(&self) -> f32 {
        self.height as f32 / self.rows as f32
    }

    /// The source pixel under a point of the map.
    #[must_use]
    pub fn to_px(&self, c: CellPoint) -> PxPoint {
        PxPoint { x: c.x * self.cell_w(), y: c.y * self.cell_h() }
    }

    /// Whether a point lies on the map.
    #[must_use]
    pub fn contains(&self, c: CellPoint) -> bool {
        let on = |v: f32, n: usize| v >= -0.5 && v <= n as f32 - 0.5;
        on(c.x, self.cols) && on(c.y, self.rows)
    }

    /// The cells around a point of the map: a square of three, or what of it lies in the picture.
    pub fn around(&self, place: CellPoint) -> impl Iterator<Item = usize> + use<> {
        let (cols, rows) = (self.cols, self.rows);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the map")]
        let span = move |at: f32, n: usize| {
            let last = (n - 1) as f32;
            let [low, high] = [at - 1.0, at + 1.0].map(|v| v.round().clamp(0.0, last) as usize);
            low..=high
        };
        span(place.y, rows).flat_map(move |y| span(place.x, cols).map(move |x| y * cols + x))
    }

    /// The cell nearest to a source pixel, as an index into `[rows, cols]`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the map")]
    pub fn nearest(&self, p: PxPoint) -> usize {
        let at = |v: f32, n: usize| v.round().clamp(0.0, (n - 1) as f32) as usize;
        let c = self.to_cell(p);
        at(c.y, self.rows) * self.cols + at(c.x, self.cols)
    }

    /// The point of the map over a source pixel.
    #[must_use]
    pub fn to_cell(&self, p: PxPoint) -> CellPoint {
        CellPoint { x: p.x / self.cell_w(), y: p.y / self.cell_h() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn iou_table() {
        let r = PxRect::from_edges;
        for (a, b, want) in [
            (r(0., 0., 2., 2.), r(1., 1., 3., 3.), 1. / 7.),
            (r(0., 0., 2., 2.), r(0., 0., 2., 2.), 1.),
            (r(0., 0., 1., 1.), r(2., 2., 3., 3.), 0.),
            (r(0., 0., 0., 0.), r(0., 0., 0., 0.), 0.),
        ] {
            assert!((iou(a, b) - want).abs() < 1e-6, "{a:?} {b:?}");
        }
    }

    proptest! {
        #[test]
        fn map_and_frame_round_trip(x in -10f32..2000., y in -10f32..2000., cols in 1usize..80, rows in 1usize..60) {
            let g = MapGeometry { cols, rows, width: 1920, height: 1080 };
            let p = g.to_px(g.to_cell(PxPoint { x, y }));
            prop_assert!((p.x - x).abs() < 0.01 && (p.y - y).abs() < 0.01);
        }
    }

    #[test]
    fn the_first_cell_looks_at_the_corner() {
        let g = MapGeometry { cols: 20, rows: 9, width: 1280, height: 576 };
        assert_eq!(g.to_px(CellPoint::default()), PxPoint { x: 0.0, y: 0.0 });
        assert_eq!(g.to_px(CellPoint { x: 1.0, y: 2.0 }), PxPoint { x: 64.0, y: 128.0 });
    }
}
