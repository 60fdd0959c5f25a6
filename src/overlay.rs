//! The highlight: what is drawn over the picture, as premultiplied BGRA sprites.
//!
//! A speaking object has a thick rounded frame and a badge with its id and sound waves; a silent one has thin corner
//! brackets and a badge with its id alone. Shape and colour both tell, so that either will do. Sprites are drawn anew
//! only when they change; whoever owns the video frame blends them (GStreamer's overlay composition, in `crates/gst`).

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sprites of a few hundred pixels"
)]

use crate::attention::AttentionMap;
use crate::geometry::PxRect;
use tiny_skia::{Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

/// A small picture to be laid over the frame: premultiplied BGRA, rows packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sprite {
    /// `4 · width · height` bytes.
    pub bgra: Vec<u8>,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// How an object is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Its id, in the badge.
    pub id: u32,
    /// Thick and waves, or thin and none.
    pub speaking: bool,
    /// Width of the box, pixels.
    pub width: u32,
    /// Height of the box, pixels.
    pub height: u32,
}

const GREEN: (u8, u8, u8) = (46, 230, 107);
const GREY: (u8, u8, u8) = (214, 222, 230);
const INK: (u8, u8, u8) = (12, 18, 24);

/// Segments of a seven-segment digit: top, upper left, upper right, middle, lower left, lower right, bottom.
const DIGITS: [u8; 10] = [
    0b111_0111, 0b010_0100, 0b101_1101, 0b110_1101, 0b010_1110, 0b110_1011, 0b111_1011, 0b010_0101, 0b111_1111,
    0b110_1111,
];

/// Line width for a picture of `height` rows: the same to the eye at any size.
#[must_use]
pub fn line_width(height: u32) -> f32 {
    (height as f32 / 200.0).max(2.0)
}

/// The box that is drawn for an object: its extent grown to at least 0.16 of the picture's height and kept inside it.
#[must_use]
pub fn drawn_box(rect: PxRect, width: u32, height: u32) -> PxRect {
    let (w, h) = (width as f32, height as f32);
    // A narrow picture has no room for the least size: it is the picture that bounds it.
    let least = 0.16 * h;
    let (bw, bh) = (rect.w.max(least).min(w * 0.9), rect.h.max(least).min(h * 0.9));
    let mut centre = rect.centre;
    centre.x = centre.x.clamp(bw / 2.0, w - bw / 2.0);
    centre.y = centre.y.clamp(bh / 2.0, h - bh / 2.0);
    PxRect { centre, w: bw, h: bh }
}

/// The sprite of a mark, with lines of `line` pixels. `None` for a box of no size.
#[must_use]
pub fn draw_mark(mark: Mark, line: f32) -> Option<Sprite> {
    let mut canvas = Pixmap::new(mark.width, mark.height)?;
    let (w, h) = (mark.width as f32, mark.height as f32);
    let (colour, line) = if mark.speaking { (GREEN, line * 1.5) } else { (GREY, line) };
    let frame = Rect::from_ltrb(line, line, w - line, h - line)?;
    let radius = (w.min(h) * 0.12).max(line);
    let path = if mark.speaking { rounded_rect(frame, radius) } else { brackets(frame, w.min(h) * 0.22, radius) };
    if let Some(path) = path {
        // A dark line under the bright one: seen on any background.
        stroke(&mut canvas, &path, INK, 0.55, line * 1.9);
        stroke(&mut canvas, &path, colour, 1.0, line);
    }
    badge(&mut canvas, mark, colour, line);
    Some(Sprite { bgra: to_bgra(canvas), width: mark.width, height: mark.height })
}

/// Pixels of the heat map's sprite per cell: whoever scales it up may be half a pixel off, and that is then little.
const HEAT_PX: usize = 8;

/// The heat map: warm where the picture agrees with the sound, interpolated between the cells' centres; to be scaled
/// over the frame.
pub fn draw_heat(map: &AttentionMap<'_>, into: &mut Sprite) {
    let (cols, rows) = (map.geometry.cols, map.geometry.rows);
    into.width = (cols * HEAT_PX) as u32;
    into.height = (rows * HEAT_PX) as u32;
    into.bgra.clear();
    for y in 0..rows * HEAT_PX {
        let (y0, y1, fy) = between(y, rows);
        for x in 0..cols * HEAT_PX {
            let (x0, x1, fx) = between(x, cols);
            let line = |y: usize| map.logits[y * cols + x0] * (1.0 - fx) + map.logits[y * cols + x1] * fx;
            let logit = line(y0) * (1.0 - fy) + line(y1) * fy;
            // 0: can't tell, nothing; ln 31 ≈ 3.4 is the most that 31 offsets can say.
            let heat = (logit / 2.5).clamp(0.0, 1.0);
            let alpha = 0.75 * heat;
            let (r, g, b) = (1.0, 0.9 * heat, 0.1);
            let byte = |x: f32| (x * alpha * 255.0).round() as u8;
            into.bgra.extend_from_slice(&[byte(b), byte(g), byte(r), (alpha * 255.0).round() as u8]);
        }
    }
}

/// The two cells whose centres lie around a sprite's pixel, and how far it is on the way to the second.
fn between(px: usize, cells: usize) -> (usize, usize, f32) {
    let at = ((px as f32 + 0.5) / HEAT_PX as f32 - 0.5).clamp(0.0, cells as f32 - 1.0);
    let first = at as usize;
    (first, (first + 1).min(cells - 1), at - first as f32)
}

fn paint((r, g, b): (u8, u8, u8), alpha: f32) -> Paint<'static> {
    let mut p = Paint { anti_alias: true, ..Paint::default() };
    let mut c = Color::from_rgba8(r, g, b, 255);
    c.set_alpha(alpha);
    p.set_color(c);
    p
}

fn stroke(canvas: &mut Pixmap, path: &Path, colour: (u8, u8, u8), alpha: f32, width: f32) {
    let pen = Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
    canvas.stroke_path(path, &paint(colour, alpha), &pen, Transform::identity(), None);
}

fn rounded_rect(r: Rect, radius: f32) -> Option<Path> {
    let mut p = PathBuilder::new();
    let k = radius.min(r.width() / 2.0).min(r.height() / 2.0);
    p.move_to(r.left() + k, r.top());
    p.line_to(r.right() - k, r.top());
    p.quad_to(r.right(), r.top(), r.right(), r.top() + k);
    p.line_to(r.right(), r.bottom() - k);
    p.quad_to(r.right(), r.bottom(), r.right() - k, r.bottom());
    p.line_to(r.left() + k, r.bottom());
    p.quad_to(r.left(), r.bottom(), r.left(), r.bottom() - k);
    p.line_to(r.left(), r.top() + k);
    p.quad_to(r.left(), r.top(), r.left() + k, r.top());
    p.close();
    p.finish()
}

fn brackets(r: Rect, arm: f32, radius: f32) -> Option<Path> {
    let mut p = PathBuilder::new();
    let k = radius.min(arm * 0.8);
    for (x, sx) in [(r.left(), 1.0), (r.right(), -1.0)] {
        for (y, sy) in [(r.top(), 1.0), (r.bottom(), -1.0)] {
            p.move_to(x, y + sy * arm);
            p.line_to(x, y + sy * k);
            p.quad_to(x, y, x + sx * k, y);
            p.line_to(x + sx * arm, y);
        }
    }
    p.finish()
}

/// A filled tag at the top left: the id, and sound waves if it speaks.
fn badge(canvas: &mut Pixmap, mark: Mark, colour: (u8, u8, u8), line: f32) {
    let digits = mark.id.to_string();
    let size = line * 5.0;
    let pad = line * 1.5;
    let waves = if mark.speaking { size * 1.1 } else { 0.0 };
    let width = pad * 2.0 + digits.len() as f32 * size * 0.75 + waves;
    let at = line * 2.2;
    let Some(tag) = Rect::from_xywh(at, at, width, size + pad * 1.4) else { return };
    if let Some(path) = rounded_rect(tag, line * 1.5) {
        canvas.fill_path(&path, &paint(INK, 0.75), FillRule::Winding, Transform::identity(), None);
    }
    let mut x = tag.left() + pad;
    let y = tag.top() + pad * 0.7;
    let mut p = PathBuilder::new();
    for d in digits.bytes() {
        digit(&mut p, usize::from(d - b'0'), x, y, size * 0.5, size);
        x += size * 0.75;
    }
    if mark.speaking {
        let (cx, cy) = (x + size * 0.05, y + size / 2.0);
        for ring in 1..=3_u8 {
            let r = size * 0.2 * f32::from(ring);
            p.move_to(cx + r * 0.75, cy - r * 0.75);
            p.quad_to(cx + r * 1.35, cy, cx + r * 0.75, cy + r * 0.75);
        }
    }
    if let Some(path) = p.finish() {
        stroke(canvas, &path, colour, 1.0, line * 0.8);
    }
}

fn digit(p: &mut PathBuilder, d: usize, x: f32, y: f32, w: f32, h: f32) {
    let m = h / 2.0;
    let segments = [
        ((0.0, 0.0), (w, 0.0)),
        ((0.0, 0.0), (0.0, m)),
        ((w, 0.0), (w, m)),
        ((0.0, m), (w, m)),
        ((0.0, m), (0.0, h)),
        ((w, m), (w, h)),
        ((0.0, h), (w, h)),
    ];
    for (i, (a, b)) in segments.into_iter().enumerate() {
        if DIGITS[d] >> i & 1 == 1 {
            p.move_to(x + a.0, y + a.1);
            p.line_to(x + b.0, y + b.1);
        }
    }
}

fn to_bgra(canvas: Pixmap) -> Vec<u8> {
    let mut data = canvas.take();
    for px in data.chunks_exact_mut(4) {
        px.swap(0, 2);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{MapGeometry, PxPoint};
    use crate::time::Timestamp;

    fn coverage(s: &Sprite) -> f32 {
        let opaque = s.bgra.chunks_exact(4).filter(|p| p[3] > 128).count();
        opaque as f32 / (s.width * s.height) as f32
    }

    #[test]
    fn shape_alone_tells_who_speaks() {
        let mark = |speaking| draw_mark(Mark { id: 7, speaking, width: 200, height: 240 }, 3.0).unwrap();
        let (loud, quiet) = (mark(true), mark(false));
        // Half-way along the top edge there is a line for a speaker and a gap between brackets for others.
        let alpha = |s: &Sprite| (0..12).map(|y| s.bgra[(y * s.width as usize + 100) * 4 + 3]).max().unwrap();
        assert!(alpha(&loud) > 200);
        assert_eq!(alpha(&quiet), 0);
        assert!(coverage(&loud) > coverage(&quiet));
        assert_eq!(loud.bgra[(120 * 200 + 100) * 4 + 3], 0, "the face is left free");
    }

    #[test]
    fn ids_look_different() {
        let mark = |id| draw_mark(Mark { id, speaking: false, width: 200, height: 200 }, 3.0).unwrap();
        for a in 0..10 {
            for b in 0..a {
                assert_ne!(mark(a), mark(b), "{a} {b}");
            }
        }
    }

    #[test]
    fn boxes_stay_inside_and_are_never_too_small_to_see() {
        let tiny = PxRect { centre: PxPoint { x: -50.0, y: 2000.0 }, w: 1.0, h: 1.0 };
        let (x0, y0, x1, y1) = drawn_box(tiny, 1280, 720).edges();
        assert!(x0 >= 0.0 && y0 >= 0.0 && x1 <= 1280.0 && y1 <= 720.0 && x1 - x0 > 100.0);
        let (x0, _, x1, _) = drawn_box(tiny, 32, 720).edges();
        assert!(x0 >= 0.0 && x1 <= 32.0, "a column has no room for the least size");
    }

    #[test]
    fn heat_is_clear_where_nothing_agrees() {
        let mut s = Sprite { bgra: Vec::new(), width: 0, height: 0 };
        let geometry = MapGeometry { cols: 2, rows: 1, width: 64, height: 32 };
        draw_heat(&AttentionMap { start: Timestamp::ZERO, logits: &[-1.0, 3.0], geometry }, &mut s);
        let alpha = |x: usize| s.bgra[4 * x + 3];
        assert_eq!((s.width, s.height), (16, 8));
        assert_eq!((alpha(0), alpha(4), alpha(15)), (0, 0, 191));
        assert!(alpha(8) > 40 && alpha(8) < 150, "half-way between the centres: {}", alpha(8));
    }
}
