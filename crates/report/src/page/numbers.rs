//! Tables of numbers, and the messages of training.

use fintan_artifact::{ComparedData, ComparedRow, Comparison, EventKind, Metric};
use maud::{Markup, html};

use super::markup::{Table, folded, number, text};
use super::run::{Kind, Run};
use super::{LayerRegime, of};

/// Number of layers above which a table is collapsed.
const FOLDED: usize = 12;

/// The label of a metric; for a metric that this version does not know, its name.
fn label(metric: &str) -> Markup {
    text(Metric::from_name(metric).map_or(metric, |metric| metric.label()))
}

fn cell(value: Option<f64>) -> Markup {
    value.map_or_else(|| text("-"), |value| text(number(value)))
}

/// A table cell with a count.
fn count(n: impl maud::Render) -> Markup {
    html! { (n) }
}

/// The table of a comparison: first a row for the data, then mean and spread of each configuration.
pub(super) fn comparison(comparison: &Comparison) -> Markup {
    let Comparison { data, rows, refused, metrics: _ } = comparison;
    html! {
        @for (i, set) in data.iter().enumerate() { (of_data(comparison, i, set)) }
        ul {
            "\n"
            @for ComparedRow { name, differences, runs, .. } in rows {
                li {
                    b { (text(name)) } ", seed " (runs.iter().map(|run| run.seed.to_string()).collect::<Vec<_>>().join(", "))
                    @for (i, difference) in differences.iter().take(8).enumerate() {
                        @if i == 0 { ": " } @else { "; " }
                        (text(difference))
                    }
                }
                "\n"
            }
        }
        "\n"
        @for reason in refused { p.faint { "No " (text(reason)) } "\n" }
    }
}

/// The rows of one data set.
fn of_data(comparison: &Comparison, i: usize, set: &ComparedData) -> Markup {
    let Comparison { metrics, rows, .. } = comparison;
    let head = std::iter::once(Markup::default()).chain(metrics.iter().map(|m| label(m)));
    let mut table = Table { head: head.collect(), ..Table::default() };
    let values = set.values.iter().map(|value| cell(*value));
    table.rows.push(("data", std::iter::once(text("data")).chain(values).collect()));
    let mut runs = 0;
    for row in rows.iter().filter(|row| row.data == i) {
        runs = runs.max(row.runs.len());
        let cells = row.mean.iter().zip(&row.spread).map(|(mean, spread)| match (mean, spread) {
            (Some(mean), Some(spread)) => text(format!("{} ± {}", number(*mean), number_short(*spread))),
            (mean, _) => cell(*mean),
        });
        table.rows.push(("", std::iter::once(text(&row.name)).chain(cells).collect()));
    }
    let spread = if runs > 1 { ", mean and standard deviation over seeds" } else { "" };
    html! {
        p.faint {
            (text(&set.source)) ": " (set.count) " images of each set" (spread)
            ". The data's row is its held-out half: the nearer to it, the better."
        }
        "\n" (table.html())
    }
}

/// A deviation with two digits, which is its precision.
fn number_short(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    if (1e-4..1e4).contains(&x.abs()) {
        format!("{x:.*}", (1.0 - x.abs().log10().floor()).clamp(0.0, 6.0) as usize)
    } else {
        format!("{x:.1e}")
    }
}

/// Metrics of each run, with those of the data.
pub(super) fn metrics(runs: &[Run]) -> Markup {
    let evaluated: Vec<_> = of(runs, Kind::Gan).filter_map(|run| Some((run, run.evaluation.as_ref()?))).collect();
    let mut names: Vec<&str> = Vec::new();
    for record in evaluated.iter().flat_map(|(_, evaluation)| &evaluation.metrics) {
        if !names.contains(&record.metric.as_str()) {
            names.push(&record.metric);
        }
    }
    let head = ["", "step", "images"].map(text).into_iter().chain(names.iter().map(|m| label(m)));
    let mut table = Table { head: head.collect(), ..Table::default() };
    let mut sets: Vec<(&str, usize)> = Vec::new();
    let mut sources: Vec<(&str, usize, &str, &str)> = Vec::new();
    for &(run, evaluation) in &evaluated {
        // The row of the data comes before the first run on these data.
        let set = (evaluation.data.as_str(), evaluation.count);
        if !sets.contains(&set) {
            sets.push(set);
            let values = names.iter().map(|name| cell(evaluation.metric(name).map(|record| record.data)));
            let first = [text(format!("data: {}", set.0)), Markup::default(), count(set.1)];
            table.rows.push(("data", first.into_iter().chain(values).collect()));
        }
        let values = names.iter().map(|name| cell(evaluation.metric(name).map(|record| record.samples)));
        let first = [text(&run.name), count(evaluation.step), count(evaluation.count)];
        table.rows.push(("", first.into_iter().chain(values).collect()));
        for record in &evaluation.metrics {
            let source = (record.metric.as_str(), record.count, record.of.as_str(), record.source.as_str());
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    let trained = at_the_end(runs);
    html! {
        @if !names.is_empty() {
            (table.html())
            (folded("What stands behind the numbers", &html! {
                ul {
                    "\n"
                    @for (metric, count, of, source) in sources {
                        li { (label(metric)) ": " (count) " " (text(of)) ", " (text(source)) } "\n"
                    }
                }
                "\n"
            }))
        } @else if !trained.rows.is_empty() {
            p.faint { "As training measured at its end, on 1024 samples; " code { "fintan eval" } " measures more." } "\n"
            (trained.html())
        }
        (scores(runs))
    }
}

/// The measures of samples from the end of training.
fn at_the_end(runs: &[Run]) -> Table {
    let head = ["", "step", "correlation", "the data's", "std / the data's", "energy at period 2 / the data's"];
    let mut table = Table { head: head.map(text).to_vec(), ..Table::default() };
    for run in of(runs, Kind::Gan).filter(|run| run.metrics["std_ratio"].is_f64()) {
        let of = |value: &serde_json::Value| cell(value.as_f64());
        let m = &run.metrics;
        let values =
            [&m["step"], &m["samples"]["correlation"], &m["data"]["correlation"], &m["std_ratio"], &m["nyquist_ratio"]];
        table.rows.push(("", std::iter::once(text(&run.name)).chain(values.map(of)).collect()));
    }
    table
}

/// Final losses of networks with a task.
fn scores(runs: &[Run]) -> Markup {
    let head = ["", "step", "loss in training", "loss on test", "right in training", "right on test"];
    let mut table = Table { head: head.map(text).to_vec(), ..Table::default() };
    for (run, line) in of(runs, Kind::Supervised).filter_map(|run| Some((run, run.losses.last()?))) {
        let share =
            |share: Option<f64>| share.map_or_else(|| text("-"), |share| text(format!("{:.1} %", 100.0 * share)));
        table.rows.push((
            "",
            vec![
                text(&run.name),
                count(line.step),
                text(number(line.train_loss)),
                text(number(line.test_loss)),
                share(line.train_accuracy),
                share(line.test_accuracy),
            ],
        ));
    }
    if table.rows.is_empty() { Markup::default() } else { table.html() }
}

/// Characteristic values of layers; configurations with the same values share a column.
pub(super) fn regimes(runs: &[Run]) -> Markup {
    let mut networks: Vec<&str> = Vec::new();
    for layer in runs.iter().flat_map(|run| run.layers) {
        if !networks.contains(&layer.network.as_str()) {
            networks.push(&layer.network);
        }
    }
    if networks.is_empty() {
        return Markup::default();
    }
    let starred = runs.iter().flat_map(|run| run.layers).any(|layer| layer.behind_batch_norm);
    html! {
        p.faint {
            "r at infinite width: below 1 order, above 1 chaos. A property of the start, not a promise."
            @if starred { " * behind a batch norm, which recentres over the batch: r does not see that." }
        }
        "\n"
        @for network in networks { h3 { (text(network)) } "\n" (of_network(runs, network)) "\n" }
    }
}

/// The layers of one network of each run.
fn of_network(runs: &[Run], network: &str) -> Markup {
    let mut columns: Vec<(Vec<&str>, Vec<&LayerRegime>)> = Vec::new();
    for run in runs {
        let layers: Vec<&LayerRegime> = run.layers.iter().filter(|layer| layer.network == network).collect();
        if layers.is_empty() {
            continue;
        }
        match columns.iter_mut().find(|(_, found)| *found == layers) {
            Some((names, _)) if names.contains(&run.group.as_str()) => {}
            Some((names, _)) => names.push(&run.group),
            None => columns.push((vec![&run.group], layers)),
        }
    }
    let longest = columns.iter().map(|(_, layers)| layers.len()).max().unwrap_or(0);
    let mut table = Table::default();
    let names = columns.iter().map(|(names, _)| text(names.join(", ")));
    table.head = std::iter::once(text("layer")).chain(names).collect();
    for i in 0..longest {
        let shown = |layer: &&LayerRegime| {
            let r = layer.r.map_or_else(|| "-".to_owned(), |r| format!("{r:.3}"));
            let star = if layer.behind_batch_norm { "*" } else { "" };
            text(format!("{} {r}{star} {}", layer.layer, layer.regime.as_deref().unwrap_or("")))
        };
        let cells = columns.iter().map(|(_, layers)| layers.get(i).map_or_else(Markup::default, shown));
        table.rows.push(("", std::iter::once(count(i + 1)).chain(cells).collect()));
    }
    if longest > FOLDED { folded(&format!("{longest} layers"), &table.html()) } else { table.html() }
}

/// The messages about the health of training.
pub(super) fn health(runs: &[Run]) -> Markup {
    let said = |run: &Run| -> Vec<(u64, String)> {
        let events = run.events.iter().filter(|event| event.event != EventKind::Ntk);
        events.map(|event| (event.step, event.message.clone())).collect()
    };
    let noticed: Vec<_> = runs.iter().map(|run| (run, said(run))).filter(|(_, said)| !said.is_empty()).collect();
    html! {
        @for (run, said) in &noticed {
            h3 { (text(&run.name)) } "\n"
            ul { "\n" @for (step, message) in said { li { "step " (step) ": " (text(message)) } "\n" } } "\n"
        }
        @if noticed.is_empty() && of(runs, Kind::Gan).next().is_some() {
            p { "Nothing was noticed in training." } "\n"
        }
    }
}
