//! A table that compares configurations.

use fintan_artifact::{FlatSettings, differing_keys};
use maud::{Markup, html};

use super::markup::{Table, folded, lines, text};
use super::of;
use super::run::{Kind, Run};

/// The differing settings, highlighted, and the common settings, collapsed. Only runs of the same kind are compared.
pub(super) fn section(runs: &[Run]) -> Markup {
    let kinds = [(Kind::Gan, "GANs"), (Kind::Supervised, "Networks with a task"), (Kind::Moments, "Moments")];
    let machines: Vec<&Run> = runs.iter().filter(|run| run.environment.is_object()).collect();
    html! {
        @for (kind, name) in kinds {
            @let alike: Vec<&Run> = of(runs, kind).collect();
            @if !alike.is_empty() {
                @if alike.len() < runs.len() { h3 { (name) } "\n" }
                (side_by_side(&alike))
            }
        }
        @if !machines.is_empty() {
            (folded("Programs and machines", &html! {
                @for run in machines { h3 { (text(&run.name)) } (lines(&format!("{:#}", run.environment))) "\n" }
            }))
        }
    }
}

/// The table for runs of one kind; runs that differ only in the seed share a column.
fn side_by_side(runs: &[&Run]) -> Markup {
    let all: Vec<&FlatSettings> = runs.iter().map(|run| &run.settings).collect();
    let differing = differing_keys(&all);
    let mut columns: Vec<(&Run, FlatSettings, Vec<&str>)> = Vec::new();
    for run in runs {
        let mut settings = run.settings.clone();
        let _ = settings.remove("seed");
        let seed = run.settings.get("seed").map_or("-", String::as_str);
        match columns.iter_mut().find(|(_, found, _)| *found == settings) {
            Some((.., seeds)) => seeds.push(seed),
            None => columns.push((run, settings, vec![seed])),
        }
    }
    let mut table = Table { class: "settings", ..Table::default() };
    let names = columns.iter().map(|(run, _, seeds)| text(if seeds.len() > 1 { &run.group } else { &run.name }));
    table.head = std::iter::once(Markup::default()).chain(names).collect();
    for key in &differing {
        let cells = columns.iter().map(|(_, settings, seeds)| {
            if key == "seed" {
                return text(seeds.join(", "));
            }
            text(settings.get(key).map_or("-", String::as_str))
        });
        table.rows.push(("differs", std::iter::once(breakable(key)).chain(cells).collect()));
    }
    let mut same = Table { class: "settings", head: vec![Markup::default(), text("value")], ..Table::default() };
    for (key, value) in all[0].iter().filter(|(key, _)| !differing.contains(key)) {
        same.rows.push(("", vec![breakable(key), text(value)]));
    }
    html! {
        @if differing.is_empty() && runs.len() > 1 {
            p { "All settings are the same." } "\n"
        } @else if runs.len() > 1 {
            (table.html())
        }
        (folded(if runs.len() > 1 { "What all have in common" } else { "All settings" }, &same.html()))
    }
}

/// A key that may be broken at its dots on a narrow screen.
fn breakable(key: &str) -> Markup {
    html! { @for (i, part) in key.split('.').enumerate() { @if i > 0 { "." wbr; } (text(part)) } }
}
