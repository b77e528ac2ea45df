//! Pictures of kernels.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

use crate::grid::GridError;
use crate::plot::{Axes, Curve, Mark, PlotError, curves_png, curves_svg};

/// Largest number of pixels on a side; a larger heat map shows means of blocks of entries.
const SIDE: usize = 1024;

/// A PNG of a matrix: blue below zero, white at zero, red above. The largest absolute value has the full colour.
///
/// A large matrix is divided into blocks of equal size, and the mean of each is shown. A small matrix is enlarged by a whole
/// factor.
///
/// `row(i, to)` writes row i to `to`, so that a large matrix is not copied. Rows are requested in order.
///
/// ```
/// let png = fintan_report::heat_map_png(2, 2, &mut |i, row| row[i] = 1.0)?; // the identity
/// let picture = image::load_from_memory(&png)?.into_rgb8();
/// assert_eq!(picture.get_pixel(picture.width() - 1, 0).0, [255; 3]); // white stands for zero
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A matrix without entries, or a failed encoding.
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

/// A colour between blue (-1), white (0) and red (1).
fn diverging(share: f64) -> image::Rgb<u8> {
    let end = if share < 0.0 { [33.0, 102.0, 172.0] } else { [178.0, 24.0, 43.0] };
    image::Rgb(end.map(|c: f64| (255.0 + (c - 255.0) * share.abs().min(1.0)).round() as u8))
}

/// An SVG plot of eigenvalues against their rank, both on logarithmic scales.
///
/// Eigenvalues more than twelve decades below the largest are rounding errors and are not drawn.
///
/// ```
/// let svg = fintan_report::spectrum_svg(&[4.0, 2.0, 1.0])?;
/// assert!(svg.starts_with("<svg"));
/// # Ok::<(), fintan_report::PlotError>(())
/// ```
///
/// # Errors
/// The errors of [`curves_svg`].
pub fn spectrum_svg(values: &[f64]) -> Result<String, PlotError> {
    let (axes, curve) = spectrum(values);
    curves_svg(&axes, &[curve])
}

/// The spectrum of a kernel as a PNG.
///
/// # Errors
/// The errors of [`curves_png`].
pub fn spectrum_png(values: &[f64]) -> Result<Vec<u8>, PlotError> {
    let (axes, curve) = spectrum(values);
    curves_png(&axes, &[curve])
}

fn spectrum(values: &[f64]) -> (Axes, Curve) {
    let least = 1e-12 * values.first().copied().unwrap_or(1.0);
    let ranked = (1..).map(f64::from).zip(values.iter().copied());
    let points = ranked.filter(|&(_, value)| value > least).collect();
    let axes = Axes {
        title: "Spectrum".into(),
        x: "rank".into(),
        y: "eigenvalue".into(),
        log_x: true,
        log_y: true,
        ..Axes::default()
    };
    (axes, Curve { name: String::new(), points, mark: Mark::Dots })
}
