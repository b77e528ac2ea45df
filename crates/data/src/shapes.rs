//! The built-in data set: twelve kinds of shapes with continuously varying position, size, angle, stroke and shade.
//!
//! Each shape is a signed distance, anti-aliased over one pixel, so a drawing looks the same at any size. An image depends
//! only on the seed of the set and on its own index.

use fintan_config::{Image, Shapes};
use rand::{RngExt, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::bounds::Room;
use crate::error::DataError;
use crate::images::Images;
use crate::parallel;

/// Names of the classes, in the order of their labels.
pub const CLASSES: [&str; 12] =
    ["disc", "ring", "square", "frame", "triangle", "star", "plus", "crescent", "bar", "chevron", "arc", "tee"];

pub(crate) fn load(shapes: &Shapes, wanted: &Image, room: Room) -> Result<Images, DataError> {
    room.admit("`data.shapes`", shapes.count, wanted)?;
    Ok(draw(shapes, wanted))
}

fn draw(shapes: &Shapes, wanted: &Image) -> Images {
    let drawn = parallel::map((0..shapes.count).collect(), |i| {
        let mut rng = ChaCha8Rng::seed_from_u64(shapes.seed);
        rng.set_stream(i as u64);
        let class = rng.random_range(0..CLASSES.len());
        let drawing = Drawing {
            class,
            centre: [rng.random_range(-0.22..0.22), rng.random_range(-0.22..0.22)],
            radius: rng.random_range(0.42..0.68),
            angle: rng.random_range(-0.45..0.45),
            stroke: rng.random_range(0.16..0.3),
            ink: colour(rng.random_range(0.0..1.0), rng.random_range(0.35..0.9), rng.random_range(0.75..1.0)),
            paper: colour(rng.random_range(0.0..1.0), rng.random_range(0.2..0.6), rng.random_range(0.0..0.12)),
        };
        let mut pixels = Vec::with_capacity(wanted.size * wanted.size * wanted.channels);
        drawing.paint(wanted, &mut pixels);
        (class as u8, pixels)
    });
    let (labels, pixels): (Vec<u8>, Vec<Vec<u8>>) = drawn.into_iter().unzip();
    let pixels = pixels.concat();
    let source =
        format!("built-in shapes ({} drawings of {} kinds, seed {})", shapes.count, CLASSES.len(), shapes.seed);
    let mut images = Images::new(wanted, pixels, Some(labels), source);
    images.classes = Some(CLASSES.map(String::from).to_vec());
    images
}

/// One shape in coordinates from -1 to 1.
struct Drawing {
    class: usize,
    centre: [f64; 2],
    radius: f64,
    angle: f64,
    /// Width of strokes, in radii.
    stroke: f64,
    ink: [f64; 3],
    paper: [f64; 3],
}

impl Drawing {
    fn paint(&self, wanted: &Image, pixels: &mut Vec<u8>) {
        let size = wanted.size as f64;
        let (sin, cos) = self.angle.sin_cos();
        for row in 0..wanted.size {
            for column in 0..wanted.size {
                let at = |i: usize, centre: f64| (2.0 * (i as f64 + 0.5) / size - 1.0 - centre) / self.radius;
                let (x, y) = (at(column, self.centre[0]), at(row, self.centre[1]));
                let distance = distance(self.class, [cos * x + sin * y, cos * y - sin * x], self.stroke);
                // A pixel is 2 / size wide; its coverage falls from 1 to 0 across the outline.
                let coverage = (0.5 - distance * self.radius * size / 2.0).clamp(0.0, 1.0);
                let colour = [0, 1, 2].map(|c| self.paper[c] + coverage * (self.ink[c] - self.paper[c]));
                let byte = |v: f64| (255.0 * v.clamp(0.0, 1.0)).round() as u8;
                match wanted.channels {
                    // The value of the colour instead of its luma: grey drawings keep the full range of shades.
                    1 => pixels.push(byte(colour.into_iter().fold(0.0, f64::max))),
                    _ => pixels.extend(colour.map(byte)),
                }
            }
        }
    }
}

/// Signed distance to the outline of a shape of radius 1; negative inside.
fn distance(class: usize, [x, y]: [f64; 2], stroke: f64) -> f64 {
    let half = stroke / 2.0;
    let length = x.hypot(y);
    let segment = |a: [f64; 2], b: [f64; 2]| capsule([x, y], a, b) - half;
    match CLASSES[class] {
        "disc" => length - 0.9,
        "ring" => (length - 0.8).abs() - half,
        "square" => square([x, y], 0.75),
        "frame" => square([x, y], 0.72).abs() - half,
        "triangle" => polygon([x, y], 3, 1.0, 1.0),
        "star" => polygon([x, y], 5, 1.05, 0.45),
        "plus" => segment([-0.85, 0.0], [0.85, 0.0]).min(segment([0.0, -0.85], [0.0, 0.85])),
        "crescent" => (length - 0.95).max(0.72 - (x - 0.45).hypot(y + 0.1)),
        "bar" => segment([-0.9, 0.0], [0.9, 0.0]),
        "chevron" => segment([-0.8, 0.45], [0.0, -0.5]).min(segment([0.0, -0.5], [0.8, 0.45])),
        "arc" => {
            // Half a ring; the ends are round.
            if x > 0.0 { x.hypot(y.abs() - 0.8) - half } else { (length - 0.8).abs() - half }
        }
        _ => segment([-0.8, -0.7], [0.8, -0.7]).min(segment([0.0, -0.7], [0.0, 0.85])),
    }
}

fn capsule([x, y]: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let (along, from) = ([b[0] - a[0], b[1] - a[1]], [x - a[0], y - a[1]]);
    let t = ((from[0] * along[0] + from[1] * along[1]) / (along[0].powi(2) + along[1].powi(2))).clamp(0.0, 1.0);
    (from[0] - t * along[0]).hypot(from[1] - t * along[1])
}

fn square([x, y]: [f64; 2], half: f64) -> f64 {
    let (dx, dy) = (x.abs() - half, y.abs() - half);
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0)
}

/// A regular polygon, or a star whose inner corners lie at `inner`.
fn polygon([x, y]: [f64; 2], corners: usize, outer: f64, inner: f64) -> f64 {
    use std::f64::consts::PI;
    let sector = PI / corners as f64;
    // Fold into half a sector: the outer corner is at angle 0, the inner one (or the middle of a side) at `sector`.
    let angle = x.atan2(-y).rem_euclid(2.0 * sector);
    let angle = angle.min(2.0 * sector - angle);
    let length = x.hypot(y);
    let at = [length * angle.cos(), length * angle.sin()];
    let inner = if inner < outer { inner } else { outer * sector.cos() };
    let (a, b) = ([outer, 0.0], [inner * sector.cos(), inner * sector.sin()]);
    let outside = (b[0] - a[0]) * (at[1] - a[1]) - (b[1] - a[1]) * (at[0] - a[0]);
    capsule(at, a, b) * if outside < 0.0 { 1.0 } else { -1.0 }
}

/// RGB in [0, 1] from hue, saturation and value.
fn colour(hue: f64, saturation: f64, value: f64) -> [f64; 3] {
    [0.0, 2.0, 4.0].map(|offset| {
        let k = (hue * 6.0 - offset).rem_euclid(6.0);
        value * (1.0 - saturation * (1.0 - (2.0 - (k - 3.0).abs()).clamp(-1.0, 1.0)).clamp(0.0, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::Fit;

    fn wanted(size: usize, channels: usize) -> Image {
        Image { size, channels, fit: Fit::Resize, background: 0, flip: false }
    }

    #[test]
    fn one_seed_gives_one_set_and_images_do_not_depend_on_their_number() {
        let few = draw(&Shapes { count: 5, seed: 1 }, &wanted(16, 3));
        let many = draw(&Shapes { count: 9, seed: 1 }, &wanted(16, 3));
        let other = draw(&Shapes { count: 5, seed: 2 }, &wanted(16, 3));
        for i in 0..5 {
            assert_eq!(few.bytes(i), many.bytes(i));
            assert_ne!(few.bytes(i), other.bytes(i));
        }
    }

    /// Classes differ more from one another than drawings of one class do. Measured at equal settings, the easy case.
    #[test]
    fn classes_are_distinct() {
        let drawn: Vec<Vec<u8>> = (0..CLASSES.len())
            .map(|class| {
                let mut pixels = Vec::new();
                let (ink, paper) = ([1.0; 3], [0.0; 3]);
                Drawing { class, centre: [0.0; 2], radius: 0.6, angle: 0.1, stroke: 0.26, ink, paper }
                    .paint(&wanted(32, 1), &mut pixels);
                pixels
            })
            .collect();
        for (i, a) in drawn.iter().enumerate() {
            let inked = a.iter().filter(|&&p| p > 128).count();
            assert!((40..700).contains(&inked), "{} covers {inked} of 1024 pixels", CLASSES[i]);
            for (j, b) in drawn.iter().enumerate().skip(i + 1) {
                let differing = a.iter().zip(b).filter(|(x, y)| x.abs_diff(**y) > 128).count();
                assert!(differing > 30, "{} and {} differ in {differing} pixels", CLASSES[i], CLASSES[j]);
            }
        }
    }
}
