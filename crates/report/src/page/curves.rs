//! The content of logs as curves on common axes.

use fintan_artifact::{LogLine, SupervisedLine};
use maud::{Markup, html};

use super::markup::{Picture, text};
use super::run::{Kind, Run};
use super::{PageError, of};
use crate::plot::{Axes, COLOURS, Curve, Mark, Stands, colour, curves_svg};

/// Reads a quantity from a log line.
type Get<L> = fn(&L) -> Option<f64>;

/// A plot: title, whether the scale is logarithmic, and the quantities that are drawn for each run; the second one is
/// dashed.
type Plot<'a, L> = (&'a str, bool, &'a [Get<L>]);

const GAN: [Plot<LogLine>; 7] = [
    ("Loss of the discriminator", false, &[|l| Some(l.d_loss)]),
    ("Loss of the generator", false, &[|l| Some(l.g_loss)]),
    ("D(x), and D(G(z)) dashed", false, &[|l| Some(l.d_real), |l| Some(l.d_fake)]),
    ("Diversity: std over the data's", false, &[|l| Some(l.std_ratio)]),
    ("Correlation between samples", false, &[|l| Some(l.correlation)]),
    ("Checkerboard: energy at period 2 over the data's", true, &[|l| Some(l.nyquist_ratio)]),
    ("Penalty on the discriminator's slope", false, &[|l| l.d_penalty]),
];

const SUPERVISED: [Plot<SupervisedLine>; 2] = [
    ("Loss in training, and on test samples dashed", true, &[|l| Some(l.train_loss), |l| Some(l.test_loss)]),
    ("Right in training, and on test samples dashed", false, &[|l| l.train_accuracy, |l| l.test_accuracy]),
];

/// Curves of all trainings.
pub(super) fn section(runs: &[Run]) -> Result<Markup, PageError> {
    let gans = plots(&of(runs, Kind::Gan).map(|run| (run, &run.lines[..])).collect::<Vec<_>>(), &GAN, |l| l.step)?;
    let tasks: Vec<_> = of(runs, Kind::Supervised).map(|run| (run, &run.losses[..])).collect();
    let tasks = plots(&tasks, &SUPERVISED, |l| l.step)?;
    Ok(html! { (gans) (tasks) })
}

/// Plots of several runs; runs of one group have the same colour.
pub(super) fn plots<L>(
    runs: &[(&Run, &[L])],
    wanted: &[Plot<L>],
    step: impl Fn(&L) -> u64,
) -> Result<Markup, PageError> {
    let groups = groups(runs.iter().map(|(run, _)| run.group.as_str()));
    let mut figures: Vec<Markup> = Vec::new();
    for (title, log_y, gets) in wanted {
        let mut curves = Vec::new();
        for (run, lines) in runs {
            for (k, get) in gets.iter().enumerate() {
                let points: Vec<(f64, f64)> =
                    lines.iter().filter_map(|line| Some((step(line) as f64, get(line)?))).collect();
                let mark = if k == 0 { Mark::Line } else { Mark::Dashed };
                curves.push(Curve { name: run.group.clone(), points, mark });
            }
        }
        if curves.iter().all(|curve| curve.points.is_empty()) {
            continue;
        }
        let plot = Picture::Svg(curves_svg(&plain(title, *log_y), &curves)?);
        figures.push(html! { figure { (plot.html(title)) } "\n" });
    }
    if figures.is_empty() {
        return Ok(Markup::default());
    }
    Ok(html! { (key(&groups)) div.many { "\n" @for figure in figures { (figure) } } "\n" })
}

fn plain(title: &str, log_y: bool) -> Axes {
    Axes { title: title.into(), x: "step".into(), log_y, stands: Stands::OnPage, ..Axes::default() }
}

/// The distinct names, in order of first appearance.
fn groups<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut groups: Vec<&str> = all.collect();
    groups.dedup();
    groups
}

/// The legend of the colours. Colours are CSS classes, because the page's policy allows only its own style sheet.
fn key(groups: &[&str]) -> Markup {
    html! {
        ul.key {
            @for (i, group) in groups.iter().enumerate() {
                li { i class=(format!("ink c{}", i % COLOURS.len())) {} (text(group)) }
            }
        }
        "\n"
    }
}

/// The style of the legend.
pub(super) fn style() -> String {
    (0..COLOURS.len()).fold(String::new(), |style, i| style + &format!(".c{i} {{ background: {}; }}\n", colour(i)))
}
