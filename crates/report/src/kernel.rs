//! Pictures of kernels.

use std::fmt::Write as _;
use std::io::Cursor;

use image::{ImageFormat, RgbImage};

use crate::grid::GridError;

/// Pixels a side above which a heat map shows means of blocks of entries.
const SIDE: usize = 1024;

/// A PNG of a matrix: blue below zero, white at zero, red above, the largest absolute value saturated.
///
/// A large matrix is shown in blocks of equal size, each by its mean; a small one is enlarged by a whole factor.
///
/// `row(i, to)` puts row i into `to`, so that no second copy of a large matrix is made; rows are asked for in order.
///
/// # Errors
/// A matrix without entries, and a failed encoding.
pub fn heat_map_png(rows: usize, columns: usize, row: &mut dyn FnMut(usize, &mut [f64])) -> Result<Vec<u8>, GridError> {
    if rows * columns == 0 {
        return Err(GridError::Shape { found: 0, size: rows, channels: columns });
    }
    let block = rows.max(columns).div_ceil(SIDE);
    let (height, width) = (rows.div_ceil(block), columns.div_ceil(block));
    let mut means = vec![0.0; height * width];
    let mut entries = vec![0.0; columns];
    for (y, means) in means.chunks_mut(width).enumerate() {
        let cells = y * block..rows.min((y + 1) * block);
        let count = cells.len();
        for i in cells {
            row(i, &mut entries);
            for (mean, cells) in means.iter_mut().zip(entries.chunks(block)) {
                for entry in cells {
                    *mean += entry;
                }
            }
        }
        for (mean, cells) in means.iter_mut().zip(entries.chunks(block)) {
            *mean /= (count * cells.len()) as f64;
        }
    }
    let largest = means.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let zoom = (512 / height.max(width)).clamp(1, 32);
    let mut picture = RgbImage::new((width * zoom) as u32, (height * zoom) as u32);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        *pixel = diverging(means[y as usize / zoom * width + x as usize / zoom] / largest);
    }
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// Between blue (-1), white (0) and red (1).
fn diverging(share: f64) -> image::Rgb<u8> {
    let end = if share < 0.0 { [33.0, 102.0, 172.0] } else { [178.0, 24.0, 43.0] };
    image::Rgb(end.map(|c: f64| (255.0 + (c - 255.0) * share.abs().min(1.0)).round() as u8))
}

/// An SVG plot of eigenvalues against their rank, both on logarithmic scales.
///
/// Eigenvalues that rounding left at or below zero are not drawn.
#[must_use]
pub fn spectrum_svg(values: &[f64]) -> String {
    const FRAME: [f64; 4] = [70.0, 620.0, 20.0, 340.0];
    let [left, right, top, bottom] = FRAME;
    let drawn: Vec<(f64, f64)> =
        (1..).zip(values).filter(|(_, v)| **v > 0.0).map(|(rank, v)| (f64::from(rank), *v)).collect();
    let mut svg = String::from(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" font-family="sans-serif" font-size="13" fill="#222"><rect width="640" height="400" fill="#fff"/>"##,
    );
    let last = drawn.last().map_or(1.0, |(rank, _)| *rank).max(2.0).log10();
    let exponents = drawn.iter().map(|(_, v)| v.log10());
    let high = exponents.clone().fold(f64::NEG_INFINITY, f64::max).ceil();
    // Twelve decades: what lies below is the rounding of the largest.
    let low = exponents.fold(f64::INFINITY, f64::min).floor().max(high - 12.0).min(high - 1.0);
    let x = |rank: f64| left + rank.log10() / last * (right - left);
    let y = |value: f64| bottom - (value.log10() - low) / (high - low) * (bottom - top);
    if drawn.is_empty() {
        svg.push_str(r#"<text x="320" y="200" text-anchor="middle">no positive eigenvalue</text></svg>"#);
        return svg;
    }
    let decades = (high - low) as i32;
    for decade in (0..=decades).step_by(1 + decades as usize / 8) {
        let (value, at) = (low as i32 + decade, bottom - f64::from(decade) / f64::from(decades) * (bottom - top));
        let _ = write!(
            svg,
            r##"<path d="M{left} {at:.1}H{right}" stroke="#ddd"/><text x="{:.0}" y="{:.1}" text-anchor="end">1e{value}</text>"##,
            left - 6.0,
            at + 4.0
        );
    }
    let mut rank = 1.0_f64;
    while rank.log10() <= last + 1e-9 {
        let at = x(rank);
        let _ = write!(
            svg,
            r##"<path d="M{at:.1} {top}V{bottom}" stroke="#ddd"/><text x="{at:.1}" y="{:.0}" text-anchor="middle">{rank}</text>"##,
            bottom + 18.0
        );
        rank *= 10.0;
    }
    for (rank, value) in drawn.iter().filter(|(_, v)| v.log10() >= low) {
        let _ = write!(svg, r##"<circle cx="{:.1}" cy="{:.1}" r="2.5" fill="#2166ac"/>"##, x(*rank), y(*value));
    }
    svg.push_str(r#"<text x="345" y="385" text-anchor="middle">rank</text><text transform="translate(16 180) rotate(-90)" text-anchor="middle">eigenvalue</text></svg>"#);
    svg
}
