//! Tables of numbers, and what training said in words.

use std::fmt::Write as _;

use fintan_artifact::{ComparedRow, Comparison, EventKind};

use super::markup::{Table, escape, folded, number};
use super::run::{Kind, Run};
use super::{Layer, of};

/// Layers above which a table is folded away.
const FOLDED: usize = 12;

/// Names of metrics as they are read.
fn spoken(metric: &str) -> String {
    let name = match metric {
        "correlation" => "correlation",
        "ms_ssim" => "MS-SSIM",
        "swd" => "sliced Wasserstein",
        "patch_swd" => "the same of patches",
        "nyquist" => "energy at period 2",
        "phase2" => "phase mod 2",
        "phase8" => "phase mod 8",
        "fid" => "FID",
        "kid" => "KID",
        "class_divergence" => "class divergence",
        other => other,
    };
    escape(name)
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// The table of a comparison: the data's own row, then the mean and spread of each configuration.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let Comparison { metrics, data, rows, refused } = comparison;
    let mut html = String::new();
    for (i, set) in data.iter().enumerate() {
        let head = std::iter::once(String::new()).chain(metrics.iter().map(|m| spoken(m)));
        let mut table = Table { head: head.collect(), ..Table::default() };
        let values = set.values.iter().map(|value| cell(*value));
        table.rows.push(("data", std::iter::once("data".to_owned()).chain(values).collect()));
        let mut runs = 0;
        for row in rows.iter().filter(|row| row.data == i) {
            runs = runs.max(row.runs.len());
            let cells = row.mean.iter().zip(&row.spread).map(|(mean, spread)| match (mean, spread) {
                (Some(mean), Some(spread)) => format!("{} ± {}", number(*mean), number_short(*spread)),
                (mean, _) => cell(*mean),
            });
            table.rows.push(("", std::iter::once(escape(&row.name)).chain(cells).collect()));
        }
        let spread = if runs > 1 { ", mean and standard deviation over seeds" } else { "" };
        let _ = write!(
            html,
            "<p class=\"faint\">{}: {} images of each set{spread}. The data's row is its held-out half: the nearer to it, the \
             better.</p>\n{}",
            escape(&set.source),
            set.count,
            table.html()
        );
    }
    html.push_str("<ul>\n");
    for ComparedRow { name, differences, runs, .. } in rows {
        let seeds: Vec<String> = runs.iter().map(|run| run.seed.to_string()).collect();
        let shown: Vec<String> = differences.iter().take(8).map(|d| escape(d)).collect();
        let _ = writeln!(
            html,
            "<li><b>{}</b>, seed {}{}{}</li>",
            escape(name),
            seeds.join(", "),
            if shown.is_empty() { "" } else { ": " },
            shown.join("; ")
        );
    }
    html.push_str("</ul>\n");
    for reason in refused {
        let _ = writeln!(html, "<p class=\"faint\">No {}</p>", escape(reason));
    }
    html
}

/// A deviation: two digits are all it has.
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

/// Metrics of each run beside the data's own.
pub(super) fn metrics(runs: &[Run]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for record in of(runs, Kind::Gan).flat_map(|run| &run.evaluation).flat_map(|evaluation| &evaluation.metrics) {
        if !names.contains(&record.metric.as_str()) {
            names.push(&record.metric);
        }
    }
    let mut html = String::new();
    if !names.is_empty() {
        let head = ["", "step", "images"].map(str::to_owned).into_iter().chain(names.iter().map(|m| spoken(m)));
        let mut table = Table { head: head.collect(), ..Table::default() };
        let mut sets: Vec<(&str, usize)> = Vec::new();
        let mut sources: Vec<String> = Vec::new();
        for (run, evaluation) in of(runs, Kind::Gan).filter_map(|run| Some((run, run.evaluation.as_ref()?))) {
            // The data's row stands before the first run on it.
            let set = (evaluation.data.as_str(), evaluation.count);
            if !sets.contains(&set) {
                sets.push(set);
                let values = names.iter().map(|name| cell(evaluation.metric(name).map(|record| record.data)));
                let first = [escape(&format!("data: {}", set.0)), String::new(), set.1.to_string()];
                table.rows.push(("data", first.into_iter().chain(values).collect()));
            }
            let values = names.iter().map(|name| cell(evaluation.metric(name).map(|record| record.samples)));
            let first = [escape(&run.name), evaluation.step.to_string(), evaluation.count.to_string()];
            table.rows.push(("", first.into_iter().chain(values).collect()));
            for record in &evaluation.metrics {
                let said =
                    format!("{}: {} {}, {}", spoken(&record.metric), record.count, record.of, escape(&record.source));
                if !sources.contains(&said) {
                    sources.push(said);
                }
            }
        }
        html.push_str(&table.html());
        html.push_str(&folded(
            "What stands behind the numbers",
            &format!("<ul>\n<li>{}</li>\n</ul>\n", sources.join("</li>\n<li>")),
        ));
    }
    let head = ["", "step", "correlation", "the data's", "std / the data's", "energy at period 2 / the data's"];
    let mut table = Table { head: head.map(str::to_owned).to_vec(), ..Table::default() };
    for run in of(runs, Kind::Gan).filter(|run| run.metrics["std_ratio"].is_f64()) {
        let of = |value: &serde_json::Value| cell(value.as_f64());
        let m = &run.metrics;
        let values =
            [&m["step"], &m["samples"]["correlation"], &m["data"]["correlation"], &m["std_ratio"], &m["nyquist_ratio"]];
        table.rows.push(("", std::iter::once(escape(&run.name)).chain(values.map(of)).collect()));
    }
    if names.is_empty() && !table.rows.is_empty() {
        html.push_str("<p class=\"faint\">As training measured at its end, on 1024 samples; <code>fintan eval</code> measures more.</p>\n");
        html.push_str(&table.html());
    }
    html + &scores(runs)
}

/// Losses of networks with a task at the end.
fn scores(runs: &[Run]) -> String {
    let head = ["", "step", "loss in training", "loss on test", "right in training", "right on test"];
    let mut table = Table { head: head.map(str::to_owned).to_vec(), ..Table::default() };
    for (run, line) in of(runs, Kind::Supervised).filter_map(|run| Some((run, run.losses.last()?))) {
        let share =
            |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        table.rows.push((
            "",
            vec![
                escape(&run.name),
                line.step.to_string(),
                number(line.train_loss),
                number(line.test_loss),
                share(line.train_accuracy),
                share(line.test_accuracy),
            ],
        ));
    }
    if table.rows.is_empty() { String::new() } else { table.html() }
}

/// Characteristic values of layers, configurations with the same ones in one column.
pub(super) fn regimes(runs: &[Run]) -> String {
    let mut html = String::new();
    let mut networks: Vec<&str> = Vec::new();
    for layer in runs.iter().flat_map(|run| run.layers) {
        if !networks.contains(&layer.network.as_str()) {
            networks.push(&layer.network);
        }
    }
    for network in networks {
        let mut columns: Vec<(Vec<&str>, Vec<&Layer>)> = Vec::new();
        for run in runs {
            let layers: Vec<&Layer> = run.layers.iter().filter(|layer| layer.network == network).collect();
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
        let names = columns.iter().map(|(names, _)| escape(&names.join(", ")));
        table.head = std::iter::once("layer".to_owned()).chain(names).collect();
        for i in 0..longest {
            let shown = |layer: &&Layer| {
                let r = layer.r.map_or_else(|| "-".to_owned(), |r| format!("{r:.3}"));
                let star = if layer.behind_batch_norm { "*" } else { "" };
                format!("{} {r}{star} {}", escape(&layer.layer), layer.regime.as_deref().unwrap_or(""))
            };
            let cells = columns.iter().map(|(_, layers)| layers.get(i).map_or_else(String::new, shown));
            table.rows.push(("", std::iter::once((i + 1).to_string()).chain(cells).collect()));
        }
        let table = if longest > FOLDED { folded(&format!("{longest} layers"), &table.html()) } else { table.html() };
        let _ = writeln!(html, "<h3>{}</h3>\n{table}", escape(network));
    }
    if html.is_empty() {
        return html;
    }
    let starred = runs.iter().flat_map(|run| run.layers).any(|layer| layer.behind_batch_norm);
    format!(
        "<p class=\"faint\">r at infinite width: below 1 order, above 1 chaos. A property of the start, not a promise.{}</p>\n{html}",
        if starred { " * behind a batch norm, which recentres over the batch: r does not see that." } else { "" }
    )
}

/// What training noticed, in words.
pub(super) fn health(runs: &[Run]) -> String {
    let mut html = String::new();
    for run in runs {
        let said: Vec<_> = run.events.iter().filter(|event| event.event != EventKind::Ntk).collect();
        if said.is_empty() {
            continue;
        }
        let _ = writeln!(html, "<h3>{}</h3>\n<ul>", escape(&run.name));
        for event in said {
            let _ = writeln!(html, "<li>step {}: {}</li>", event.step, escape(&event.message));
        }
        html.push_str("</ul>\n");
    }
    if html.is_empty() && of(runs, Kind::Gan).next().is_some() {
        return "<p>Nothing was noticed in training.</p>\n".into();
    }
    html
}
