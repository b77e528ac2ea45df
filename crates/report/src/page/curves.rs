//! What logs say, on common axes.

use std::fmt::Write as _;

use fintan_artifact::{LogLine, SupervisedLine};

use super::markup::{escape, svg};
use super::run::{Kind, Run};
use super::{PageError, of};
use crate::plot::{Axes, Curve, Mark, Stands, colour, curves_svg};

/// A quantity of a line.
type Get<L> = fn(&L) -> Option<f64>;

/// A plot: title, whether it is logarithmic, and what it draws of each run, dashed what comes second.
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
pub(super) fn section(runs: &[Run]) -> Result<String, PageError> {
    let mut html = String::new();
    html.push_str(&plots(&of(runs, Kind::Gan).map(|run| (run, &run.lines[..])).collect::<Vec<_>>(), &GAN, |l| l.step)?);
    let tasks: Vec<_> = of(runs, Kind::Supervised).map(|run| (run, &run.losses[..])).collect();
    html.push_str(&plots(&tasks, &SUPERVISED, |l| l.step)?);
    Ok(html)
}

/// Plots of several runs, runs of one group in one colour.
pub(super) fn plots<L>(
    runs: &[(&Run, &[L])],
    wanted: &[Plot<L>],
    step: impl Fn(&L) -> u64,
) -> Result<String, PageError> {
    let groups = groups(runs.iter().map(|(run, _)| run.group.as_str()));
    let mut html = String::new();
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
        let plot = curves_svg(&plain(title, *log_y), &curves)?;
        let _ = writeln!(html, "<figure>{}</figure>", svg(&plot));
    }
    if html.is_empty() {
        return Ok(html);
    }
    Ok(format!("{}<div class=\"many\">\n{html}</div>\n", key(&groups)))
}

fn plain(title: &str, log_y: bool) -> Axes {
    Axes { title: title.into(), x: "step".into(), log_y, stands: Stands::OnPage, ..Axes::default() }
}

/// Names in their order, each once.
fn groups<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut groups: Vec<&str> = all.collect();
    groups.dedup();
    groups
}

/// Which colour is whose.
fn key(groups: &[&str]) -> String {
    let mut html = "<ul class=\"key\">".to_owned();
    for (i, group) in groups.iter().enumerate() {
        let _ = write!(html, "<li><i class=\"ink\" style=\"background:{}\"></i>{}</li>", colour(i), escape(group));
    }
    html + "</ul>\n"
}
