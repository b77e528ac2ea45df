//! Configurations side by side.

use std::fmt::Write as _;

use fintan_artifact::{Settings, differing_keys};

use super::markup::{Table, escape, folded};
use super::of;
use super::run::{Kind, Run};

/// What differs, highlighted; what is the same, folded away. Runs of one kind are held side by side.
pub(super) fn section(runs: &[Run]) -> String {
    let mut html = String::new();
    for (kind, name) in [(Kind::Gan, "GANs"), (Kind::Supervised, "Networks with a task"), (Kind::Moments, "Moments")] {
        let alike: Vec<&Run> = of(runs, kind).collect();
        if alike.is_empty() {
            continue;
        }
        if alike.len() < runs.len() {
            let _ = writeln!(html, "<h3>{name}</h3>");
        }
        html.push_str(&side_by_side(&alike));
    }
    let mut machines = String::new();
    for run in runs.iter().filter(|run| run.environment.is_object()) {
        let _ = writeln!(
            machines,
            "<h3>{}</h3><pre>{}</pre>",
            escape(&run.name),
            escape(&format!("{:#}", run.environment))
        );
    }
    if !machines.is_empty() {
        html.push_str(&folded("Programs and machines", &machines));
    }
    html
}

/// Runs of one kind; those that differ in the seed alone share a column.
fn side_by_side(runs: &[&Run]) -> String {
    let all: Vec<&Settings> = runs.iter().map(|run| &run.settings).collect();
    let differing = differing_keys(&all);
    let mut columns: Vec<(&Run, Settings, Vec<&str>)> = Vec::new();
    for run in runs {
        let mut settings = run.settings.clone();
        let _ = settings.remove("seed");
        let seed = run.settings.get("seed").map_or("-", String::as_str);
        match columns.iter_mut().find(|(_, found, _)| *found == settings) {
            Some((.., seeds)) => seeds.push(seed),
            None => columns.push((run, settings, vec![seed])),
        }
    }
    let mut html = String::new();
    if differing.is_empty() && runs.len() > 1 {
        html.push_str("<p>All settings are the same.</p>\n");
    } else if runs.len() > 1 {
        let mut table = Table { class: "settings", ..Table::default() };
        let names = columns.iter().map(|(run, _, seeds)| escape(if seeds.len() > 1 { &run.group } else { &run.name }));
        table.head = std::iter::once(String::new()).chain(names).collect();
        for key in &differing {
            let cells = columns.iter().map(|(_, settings, seeds)| {
                if key == "seed" {
                    return escape(&seeds.join(", "));
                }
                settings.get(key).map_or_else(|| "-".to_owned(), |value| escape(value))
            });
            table.rows.push(("differs", std::iter::once(breakable(key)).chain(cells).collect()));
        }
        html.push_str(&table.html());
    }
    let mut same = Table { class: "settings", head: vec![String::new(), "value".into()], ..Table::default() };
    for (key, value) in all[0].iter().filter(|(key, _)| !differing.contains(key)) {
        same.rows.push(("", vec![breakable(key), escape(value)]));
    }
    html + &folded(if runs.len() > 1 { "What all have in common" } else { "All settings" }, &same.html())
}

/// A key that a narrow screen breaks at its dots.
fn breakable(key: &str) -> String {
    escape(key).replace('.', ".<wbr>")
}
