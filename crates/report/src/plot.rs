//! Plots of curves as SVG and PNG.

use std::io::Cursor;

use fintan_artifact::visible;
use image::{ImageFormat, RgbImage};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::raster::Raster;

/// Size of a plot in pixels: width and height.
const SIZE: (u32, u32) = (720, 440);

/// One curve.
///
/// ```
/// use fintan_report::{Axes, Curve, Mark, curves_svg};
///
/// let curve = |name: &str| Curve { name: name.into(), points: vec![(1.0, 2.0), (2.0, 1.0)], mark: Mark::Dots };
/// let svg = curves_svg(&Axes::default(), &[curve("train"), curve("test")])?;
/// assert!(svg.contains("train") && svg.contains("test")); // the legend
/// # Ok::<(), fintan_report::PlotError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name in the legend; consecutive curves with the same name share a colour and an entry.
    pub name: String,
    /// Its points. Points that are not finite, or not positive on a logarithmic axis, are not drawn.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub mark: Mark,
}

/// How a curve is drawn.
///
/// ```
/// use fintan_report::{Axes, Curve, Mark, curves_svg};
///
/// let circles = |mark| -> Result<usize, fintan_report::PlotError> {
///     let curve = Curve { name: "loss".into(), points: vec![(1.0, 2.0), (2.0, 1.0)], mark };
///     Ok(curves_svg(&Axes::default(), &[curve])?.matches("<circle").count())
/// };
/// assert!(circles(Mark::Dots)? >= 2 && circles(Mark::Line)? == 0);
/// # Ok::<(), fintan_report::PlotError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A line.
    Line,
    /// A dashed line.
    Dashed,
    /// A thin, pale line: the edge of a band.
    Faint,
    /// Dots.
    Dots,
}

/// The axes of a plot.
///
/// ```
/// use fintan_report::{Axes, Stands};
///
/// let axes = Axes { title: "Losses".into(), log_y: true, ..Axes::default() };
/// assert_eq!((axes.log_x, axes.stands), (false, Stands::Alone));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Axes {
    /// Title above the plot.
    pub title: String,
    /// Label below the horizontal axis.
    pub x: String,
    /// Label beside the vertical axis.
    pub y: String,
    /// Whether the horizontal axis is logarithmic.
    pub log_x: bool,
    /// Whether the vertical axis is logarithmic.
    pub log_y: bool,
    /// Whether both axes start at 0.
    pub from_zero: bool,
    /// The place of the plot.
    pub stands: Stands,
}

/// The place of a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stands {
    /// A plot on its own, with a legend.
    #[default]
    Alone,
    /// One of several plots on a page: smaller, and without a legend, because the page has one. Colours are those of the
    /// page's legend, even if other curves have no points.
    OnPage,
}

/// Colours that most people can distinguish (Okabe and Ito 2008).
pub(crate) const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];

/// The colour of the i-th name, in CSS notation.
pub(crate) fn colour(i: usize) -> String {
    let RGBColor(r, g, b) = COLOURS[i % COLOURS.len()];
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// An SVG of curves on common axes, 720 by 440 pixels; a small plot has 480 by 320.
///
/// ```
/// use fintan_report::{Axes, Curve, Mark, curves_svg};
///
/// let curve = Curve { name: "loss".into(), points: vec![(1.0, 2.0), (2.0, 1.0)], mark: Mark::Line };
/// let svg = curves_svg(&Axes { x: "step".into(), log_y: true, ..Axes::default() }, &[curve])?;
/// assert!(svg.starts_with("<svg") && svg.contains("step"));
/// # Ok::<(), fintan_report::PlotError>(())
/// ```
///
/// # Errors
/// A drawing that the plotting library refuses.
pub fn curves_svg(axes: &Axes, curves: &[Curve]) -> Result<String, PlotError> {
    let mut svg = String::new();
    let size = if on_page(axes) { (480, 320) } else { SIZE };
    plot(&SVGBackend::with_string(&mut svg, size).into_drawing_area(), axes, curves)?;
    Ok(svg)
}

/// A PNG of curves. Letters are capitals; characters other than letters, digits, points and minus signs are drawn as frames.
///
/// # Errors
/// The errors of [`curves_svg`].
pub fn curves_png(axes: &Axes, curves: &[Curve]) -> Result<Vec<u8>, PlotError> {
    let (mut picture, mut png) = (RgbImage::new(SIZE.0, SIZE.1), Cursor::new(Vec::new()));
    plot(&Raster(&mut picture).into_drawing_area(), axes, curves)?;
    picture.write_to(&mut png, ImageFormat::Png).map_err(refused)?;
    Ok(png.into_inner())
}

fn plot<B: DrawingBackend>(area: &DrawingArea<B, Shift>, axes: &Axes, curves: &[Curve]) -> Result<(), PlotError>
where
    B::ErrorType: 'static,
{
    // Larger values, from curves that diverge, are dropped, because the computation of margins would overflow.
    let shown = |&(x, y): &(f64, f64)| {
        x.abs() < 1e150 && y.abs() < 1e150 && (!axes.log_x || x > 0.0) && (!axes.log_y || y > 0.0)
    };
    let curves: Vec<Curve> = curves
        .iter()
        .map(|curve| Curve {
            // Control characters, which names of files may contain, are not allowed in XML.
            name: visible(&curve.name).into_owned(),
            points: curve.points.iter().copied().filter(shown).collect(),
            ..*curve
        })
        .filter(|curve| on_page(axes) || !curve.points.is_empty())
        .collect();
    let ends = |log: bool, get: fn(&(f64, f64)) -> f64| -> (f64, f64) {
        let all = curves.iter().flat_map(|curve| &curve.points).map(get);
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        match (low <= high, log) {
            (false, true) => (1.0, 10.0),
            (false, false) => (0.0, 1.0),
            // The axis is extended to whole decades if there would be too few ticks.
            (true, true) if high / low < 30.0 => {
                (10.0_f64.powf(low.log10().floor()), 10.0_f64.powf((1.001 * high).log10().ceil()))
            }
            (true, true) => (low / (high / low).powf(0.04), high * (high / low).powf(0.04)),
            (true, false) => {
                let low = if axes.from_zero { low.min(0.0) } else { low };
                let room = if high > low { 0.04 * (high - low) } else { 0.5 };
                (if axes.from_zero { low } else { low - room }, high + room)
            }
        }
    };
    let (x, y) = (ends(axes.log_x, |p| p.0), ends(axes.log_y, |p| p.1));
    let (x, y) = (x.0..x.1, y.0..y.1);
    area.fill(&WHITE).map_err(refused)?;
    match (axes.log_x, axes.log_y) {
        (false, false) => draw(area, axes, &curves, x, y)?,
        (true, false) => draw(area, axes, &curves, x.log_scale(), y)?,
        (false, true) => draw(area, axes, &curves, x, y.log_scale())?,
        (true, true) => draw(area, axes, &curves, x.log_scale(), y.log_scale())?,
    }
    area.present().map_err(refused)
}

fn on_page(axes: &Axes) -> bool {
    axes.stands == Stands::OnPage
}

/// The error for a plot that could not be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plot could not be drawn: {0}")]
pub struct PlotError(String);

fn refused(e: impl std::fmt::Display) -> PlotError {
    PlotError(e.to_string())
}

fn draw<B, X, Y>(area: &DrawingArea<B, Shift>, axes: &Axes, curves: &[Curve], x: X, y: Y) -> Result<(), PlotError>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(&axes.title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(if axes.y.is_empty() { 48 } else { 64 })
        .build_cartesian_2d(x, y)
        .map_err(refused)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(&axes.x)
        .y_desc(&axes.y)
        .x_label_formatter(&|v| label(*v, axes.log_x))
        .y_label_formatter(&|v| label(*v, axes.log_y))
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(refused)?;
    let mut colour = 0;
    for (i, curve) in curves.iter().enumerate() {
        let repeated = i > 0 && curves[i - 1].name == curve.name;
        if i > 0 && !repeated {
            colour += 1;
        }
        let style = ShapeStyle::from(COLOURS[colour % COLOURS.len()]).stroke_width(2);
        let points = curve.points.iter().copied();
        let series = match curve.mark {
            Mark::Line => chart.draw_series(LineSeries::new(points, style)),
            Mark::Faint => {
                let pale = ShapeStyle::from(COLOURS[colour % COLOURS.len()].mix(0.45)).stroke_width(1);
                chart.draw_series(LineSeries::new(points, pale))
            }
            Mark::Dashed => chart.draw_series(DashedLineSeries::new(points, 6, 4, style)),
            Mark::Dots => chart.draw_series(points.map(|point| Circle::new(point, 3, style.filled()))),
        };
        let series = series.map_err(refused)?;
        if !repeated && !on_page(axes) && !curve.name.is_empty() {
            series
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style.stroke_width(3)));
        }
    }
    if !on_page(axes) && curves.iter().any(|curve| !curve.name.is_empty()) {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(200, 200, 200))
            .label_font(("sans-serif", 13))
            .draw()
            .map_err(refused)?;
    }
    Ok(())
}

/// The label of a tick. On a logarithmic axis, where ticks are dense, only 1, 2 and 5 times powers of ten have a label.
fn label(v: f64, log: bool) -> String {
    let digit = v / 10.0_f64.powf(v.log10().floor());
    if log && ![1.0, 2.0, 5.0, 10.0].iter().any(|shown| (digit - shown).abs() < 1e-6) {
        return String::new();
    }
    if v == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&v.abs()) {
        let text = format!("{v:.4}");
        text.trim_end_matches('0').trim_end_matches('.').into()
    } else {
        format!("{v:.0e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_do_not_crowd() {
        let labels = [0.0, 0.25, 3.0, -12.5, 2e6].map(|v| label(v, false));
        assert_eq!(labels, ["0", "0.25", "3", "-12.5", "2e6"]);
        let labels = [0.1, 0.2, 0.3, 500.0, 900.0, 1000.0, 1e-7].map(|v| label(v, true));
        assert_eq!(labels, ["0.1", "0.2", "", "500", "", "1000", "1e-7"]);
    }

    #[test]
    fn plots_hold_their_curves_and_leave_out_what_has_no_place() {
        let curve = |name: &str, mark| Curve {
            name: name.into(),
            points: vec![(1.0, 0.1), (10.0, f64::NAN), (100.0, -1.0), (1000.0, 0.5)],
            mark,
        };
        let curves = [curve("order", Mark::Line), curve("chaos", Mark::Dashed), curve("chaos", Mark::Dots)];
        for (log_x, log_y) in [(false, false), (true, false), (false, true), (true, true)] {
            let axes =
                Axes { title: "a < b".into(), x: "depth".into(), y: "kernel".into(), log_x, log_y, ..Axes::default() };
            let svg = curves_svg(&axes, &curves).expect("drawn");
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(svg.contains("a &lt; b") && svg.contains("depth") && svg.contains("order"));
            assert!(!svg.contains("NaN"));
            assert_eq!(svg.matches("<circle").count(), if log_y { 2 } else { 3 }, "log {log_x} {log_y}");
        }
        assert!(curves_svg(&Axes::default(), &[]).expect("an empty frame").contains("</svg>"));
    }

    #[test]
    fn a_png_shows_its_curve_and_its_labels() {
        let axes = Axes { x: "rank".into(), log_x: true, log_y: true, ..Axes::default() };
        let picture = |points: &[(f64, f64)], axes: &Axes| {
            let curve = Curve { name: String::new(), points: points.to_vec(), mark: Mark::Dots };
            let png = curves_png(axes, &[curve]).expect("drawn");
            image::load_from_memory(&png).expect("a PNG").to_rgb8()
        };
        let count = |picture: &RgbImage, colour: [u8; 3]| picture.pixels().filter(|pixel| pixel.0 == colour).count();
        let blue = [COLOURS[0].0, COLOURS[0].1, COLOURS[0].2];
        let [one, two] = [&[(1.0, 10.0)][..], &[(1.0, 10.0), (100.0, 0.1)]].map(|points| picture(points, &axes));
        assert_eq!(one.dimensions(), SIZE);
        assert!(count(&one, blue) > 20 && count(&two, blue) == 2 * count(&one, blue));
        // The label of the horizontal axis is below everything else.
        let below = |picture: &RgbImage| {
            let dark = |(_, y, pixel): &(u32, u32, &image::Rgb<u8>)| *y > SIZE.1 - 26 && pixel.0[0] < 128;
            picture.enumerate_pixels().filter(dark).count()
        };
        let nameless = picture(&[(1.0, 10.0)], &Axes { x: String::new(), ..axes.clone() });
        assert_eq!((below(&one) > 50, below(&nameless)), (true, 0));
    }
}
