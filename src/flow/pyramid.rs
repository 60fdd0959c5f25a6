//! Pictures as the search sees them: padded f32 planes, halved level by level, with their gradients.

use super::PATCH;

/// Pixels that the border is repeated outwards, so that a patch which hangs over it needs no test: a patch's corner
/// may lie `PATCH` − 1 pixels outside, and interpolation reads one more.
const PAD: usize = PATCH + 4;

/// A plane of f32, `[height, width]`, with its border pixels repeated `PAD` times around it.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) stride: usize,
    pub(super) data: Vec<f32>,
}

impl Plane {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let stride = width + 2 * PAD;
        Self { width, height, stride, data: vec![0.0; stride * (height + 2 * PAD)] }
    }

    /// The index of pixel (x, y), which may lie up to `PAD` outside.
    pub(super) fn at(&self, x: isize, y: isize) -> usize {
        (y + PAD as isize) as usize * self.stride + (x + PAD as isize) as usize
    }

    /// Row `y` without its padding.
    pub(super) fn row(&self, y: usize) -> &[f32] {
        let at = (y + PAD) * self.stride + PAD;
        &self.data[at..at + self.width]
    }

    pub(super) fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let at = (y + PAD) * self.stride + PAD;
        &mut self.data[at..at + self.width]
    }

    /// Repeats the border outwards.
    pub(super) fn pad(&mut self) {
        let (inner, stride) = (PAD * self.stride..(PAD + self.height) * self.stride, self.stride);
        for row in self.data[inner].chunks_exact_mut(stride) {
            let (first, last) = (row[PAD], row[PAD + self.width - 1]);
            row[..PAD].fill(first);
            row[PAD + self.width..].fill(last);
        }
        let (top, bottom) = (PAD * stride, (PAD + self.height - 1) * stride);
        for k in 0..PAD {
            self.data.copy_within(top..top + stride, k * stride);
            self.data.copy_within(bottom..bottom + stride, bottom + (k + 1) * stride);
        }
    }

    /// The index of the pixel left above (x, y), and how far beyond it that is; kept within the picture.
    #[inline]
    pub(super) fn place(&self, x: f32, y: f32) -> (u32, f32, f32) {
        // Beside 2²³ an f32 holds whole numbers alone: adding it rounds, without the checks of a cast, so that loops
        // over pixels are vectorised. A whole number may round to its predecessor, with a fraction of 1: as good.
        const WHOLE: f32 = 8_388_608.0;
        const BITS: u32 = WHOLE.to_bits();
        let x = x.clamp(0.0, (self.width - 1) as f32) + PAD as f32;
        let y = y.clamp(0.0, (self.height - 1) as f32) + PAD as f32;
        let (ix, iy) = (x - 0.5 + WHOLE, y - 0.5 + WHOLE);
        let at = (iy.to_bits() - BITS) * self.stride as u32 + (ix.to_bits() - BITS);
        (at, x - (ix - WHOLE), y - (iy - WHOLE))
    }

    /// The value beyond pixel number `at` by these fractions of a pixel.
    #[inline]
    pub(super) fn between(&self, at: usize, fx: f32, fy: f32) -> f32 {
        let (top, bottom) = (&self.data[at..at + 2], &self.data[at + self.stride..at + self.stride + 2]);
        let (a, b) = (top[0] + fx * (top[1] - top[0]), bottom[0] + fx * (bottom[1] - bottom[0]));
        a + fy * (b - a)
    }
}

/// One level of a picture: its grey values, 0…255, and their central differences per pixel.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) image: Plane,
    pub(super) dx: Plane,
    pub(super) dy: Plane,
}

impl Level {
    fn new(width: usize, height: usize) -> Self {
        let plane = Plane::new(width, height);
        Self { dx: plane.clone(), dy: plane.clone(), image: plane }
    }

    fn differentiate(&mut self) {
        let (stride, n) = (self.image.stride, self.image.data.len());
        let image = &self.image.data;
        // The outermost ring stays zero; no patch reaches it.
        for ((d, after), before) in self.dx.data[1..n - 1].iter_mut().zip(&image[2..]).zip(&image[..n - 2]) {
            *d = 0.5 * (after - before);
        }
        let rows = self.dy.data[stride..n - stride].iter_mut();
        for ((d, below), above) in rows.zip(&image[2 * stride..]).zip(&image[..n - 2 * stride]) {
            *d = 0.5 * (below - above);
        }
    }
}

/// The levels of one picture, each half the size of the one before it (rounded up, so that pixel x of a level always
/// covers pixels 2x and 2x + 1 of the finer one).
#[derive(Debug)]
pub(super) struct Pyramid {
    levels: Vec<Level>,
    /// The halvings of `levels[0]`: 0 or 1.
    first: usize,
    finest: usize,
}

/// `n` pixels after `level` halvings.
pub(super) fn halved(n: usize, level: usize) -> usize {
    n.div_ceil(1 << level)
}

impl Pyramid {
    /// For pictures of `width` × `height`, with gradients from level `finest` to `coarsest`.
    pub(super) fn new(width: usize, height: usize, finest: usize, coarsest: usize) -> Self {
        let first = finest.min(1);
        let levels = (first..=coarsest).map(|l| Level::new(halved(width, l), halved(height, l))).collect();
        Self { levels, first, finest }
    }

    pub(super) fn level(&self, level: usize) -> &Level {
        &self.levels[level - self.first]
    }

    /// Takes a packed grey picture, `[height, width]`.
    pub(super) fn fill(&mut self, picture: &[u8], width: usize) {
        let base = &mut self.levels[0].image;
        for y in 0..base.height {
            let line = &picture[(y << self.first) * width..][..width];
            if self.first == 0 {
                for (o, &p) in base.row_mut(y).iter_mut().zip(line) {
                    *o = f32::from(p);
                }
            } else {
                let below = picture.get((2 * y + 1) * width..(2 * y + 2) * width).unwrap_or(line);
                halve(line, below, base.row_mut(y), f32::from);
            }
        }
        base.pad();
        for k in 1..self.levels.len() {
            let (finer, level) = self.levels.split_at_mut(k);
            let (finer, image) = (&finer[k - 1].image, &mut level[0].image);
            for y in 0..image.height {
                let below = finer.row((2 * y + 1).min(finer.height - 1));
                halve(finer.row(2 * y), below, image.row_mut(y), |p| p);
            }
            image.pad();
        }
        for level in &mut self.levels[self.finest - self.first..] {
            level.differentiate();
        }
    }
}

/// Means of 2 × 2 pixels; an odd last column counts twice.
fn halve<T: Copy>(top: &[T], bottom: &[T], out: &mut [f32], value: impl Fn(T) -> f32) {
    for ((o, a), b) in out.iter_mut().zip(top.chunks_exact(2)).zip(bottom.chunks_exact(2)) {
        *o = 0.25 * (value(a[0]) + value(a[1]) + value(b[0]) + value(b[1]));
    }
    if let ([a], [b], Some(o)) = (top.chunks_exact(2).remainder(), bottom.chunks_exact(2).remainder(), out.last_mut()) {
        *o = 0.5 * (value(*a) + value(*b));
    }
}

/// Doubles a field of vectors' component: `from`, packed `[h, w]`, to `to`, packed `[height, width]` with `w` and `h`
/// the halves of these; linear between pixels, and lengths double with the picture. `line` holds `w` + 2.
pub(super) fn double(from: &[f32], w: usize, to: &mut [f32], width: usize, line: &mut [f32]) {
    let h = from.len().div_euclid(w);
    let line = &mut line[..w + 2];
    for (y, out) in to.chunks_exact_mut(width).enumerate() {
        let near = y >> 1;
        let far = if y & 1 == 0 { near.saturating_sub(1) } else { (near + 1).min(h - 1) };
        // Three quarters and one quarter, times two for the length.
        let (a, b) = (&from[near * w..(near + 1) * w], &from[far * w..(far + 1) * w]);
        for ((l, a), b) in line[1..=w].iter_mut().zip(a).zip(b) {
            *l = 1.5 * a + 0.5 * b;
        }
        line[0] = line[1];
        line[w + 1] = line[w];
        let pairs = out.chunks_exact_mut(2).zip(&line[..w]).zip(&line[1..=w]).zip(&line[2..]);
        for (((pair, before), own), after) in pairs {
            pair[0] = 0.75 * own + 0.25 * before;
            pair[1] = 0.75 * own + 0.25 * after;
        }
        if let [last] = out.chunks_exact_mut(2).into_remainder() {
            *last = 0.75 * line[w] + 0.25 * line[w - 1];
        }
    }
}
