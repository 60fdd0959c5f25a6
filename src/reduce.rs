//! Area reduction of a luma plane: every target pixel is the mean of the source area under it, fractional edges
//! weighted. Written here because it runs on every slot and must not allocate (`fast_image_resize` computes its
//! coefficients anew on each call); rows are summed in f32 runs that the compiler vectorises.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "picture sizes and bytes"
)]

use crate::frame::LumaPlane;

/// The source pixels under one target pixel: a run that begins at `first`, whose edge weights are `head` and `tail`
/// and whose inner weights are 1; all are scaled to sum to 1 by `norm`.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    len: usize,
    head: f32,
    tail: f32,
    norm: f32,
}

impl Run {
    fn weight(&self, k: usize) -> f32 {
        self.norm
            * if k == 0 {
                self.head
            } else if k + 1 == self.len {
                self.tail
            } else {
                1.0
            }
    }
}

fn runs(from: usize, to: usize) -> Vec<Run> {
    let step = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let (a, b) = (i as f64 * step, ((i + 1) as f64 * step).min(from as f64));
            let first = (a.floor() as usize).min(from - 1);
            let last = ((b.ceil() as usize).max(first + 1) - 1).min(from - 1);
            let len = last - first + 1;
            let (head, tail) = if len == 1 { (1.0, 1.0) } else { (first as f64 + 1.0 - a, b - last as f64) };
            let sum = if len == 1 { 1.0 } else { head + tail + (len - 2) as f64 };
            Run { first, len, head: head as f32, tail: tail as f32, norm: (1.0 / sum) as f32 }
        })
        .collect()
}

/// Reduces (or, nearest-pixel-like, enlarges) planes to one target size.
#[derive(Debug)]
pub struct Reducer {
    target: (usize, usize),
    source: (usize, usize),
    columns: Vec<Run>,
    rows: Vec<Run>,
    row: Vec<f32>,
}

impl Reducer {
    /// For targets of `width` × `height` pixels.
    #[must_use]
    pub fn new(width: usize, height: usize) -> Self {
        Self { target: (width, height), source: (0, 0), columns: Vec::new(), rows: Vec::new(), row: Vec::new() }
    }

    /// Writes the reduced picture, `[height, width]` packed, to `out`. Allocates only when the source's size changes.
    /// A plane whose data is shorter than its size says gives black.
    pub fn reduce(&mut self, plane: LumaPlane<'_>, out: &mut [u8]) {
        let (w, h) = (plane.width as usize, plane.height as usize);
        let complete =
            h > 0 && w > 0 && w <= plane.stride_bytes && plane.data.len() >= plane.stride_bytes * (h - 1) + w;
        if !complete {
            out.fill(0);
            return;
        }
        if self.source != (w, h) {
            self.source = (w, h);
            self.columns = runs(w, self.target.0);
            self.rows = runs(h, self.target.1);
            self.row = vec![0.0; w];
        }
        for (run, line) in self.rows.iter().zip(out.chunks_exact_mut(self.target.0)) {
            self.row.fill(0.0);
            for k in 0..run.len {
                let weight = run.weight(k);
                let at = (run.first + k) * plane.stride_bytes;
                for (sum, &b) in self.row.iter_mut().zip(&plane.data[at..at + w]) {
                    *sum += weight * f32::from(b);
                }
            }
            for (o, run) in line.iter_mut().zip(&self.columns) {
                let under = &self.row[run.first..run.first + run.len];
                let inner: f32 = under.iter().sum();
                let edges =
                    (1.0 - run.head) * under[0] + if run.len > 1 { (1.0 - run.tail) * under[run.len - 1] } else { 0.0 };
                *o = ((inner - edges) * run.norm + 0.5) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: integrate the piecewise constant picture over each target pixel.
    fn by_definition(data: &[u8], (w, h): (usize, usize), stride: usize, (tw, th): (usize, usize)) -> Vec<f64> {
        let overlap = |i: usize, n: usize, tn: usize, k: usize| {
            let (a, b) = (i as f64 * n as f64 / tn as f64, (i + 1) as f64 * n as f64 / tn as f64);
            (b.min(k as f64 + 1.0) - a.max(k as f64)).max(0.0) * tn as f64 / n as f64
        };
        let mut out = Vec::new();
        for y in 0..th {
            for x in 0..tw {
                let mut sum = 0.0;
                for sy in 0..h {
                    for sx in 0..w {
                        sum += overlap(x, w, tw, sx) * overlap(y, h, th, sy) * f64::from(data[sy * stride + sx]);
                    }
                }
                out.push(sum);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn it_is_the_mean_of_the_area(w in 1usize..40, h in 1usize..40, pad in 0usize..5, tw in 1usize..24, th in 1usize..24, seed in 0u64..99) {
            let stride = w + pad;
            let data: Vec<u8> = (0..stride * h).map(|i| ((i as u64 * 2_654_435_761 + seed * 977) >> 7) as u8).collect();
            let plane = LumaPlane { data: &data, width: w as u32, height: h as u32, stride_bytes: stride, full_range: true };
            let mut out = vec![0; tw * th];
            Reducer::new(tw, th).reduce(plane, &mut out);
            for (o, want) in out.iter().zip(by_definition(&data, (w, h), stride, (tw, th))) {
                prop_assert!((f64::from(*o) - want).abs() < 0.52, "{o} {want}");
            }
        }
    }

    #[test]
    fn a_short_plane_is_black_and_no_panic() {
        let plane = LumaPlane { data: &[9; 10], width: 8, height: 8, stride_bytes: 8, full_range: true };
        let mut out = [7; 4];
        Reducer::new(2, 2).reduce(plane, &mut out);
        assert_eq!(out, [0; 4]);
    }
}
