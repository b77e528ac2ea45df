//! Configurations side by side.

use std::fmt::Write as _;

use fintan_artifact::{Settings, differing_keys};

use super::markup::{Table, escape, folded};
use super::run::Run;

/// What differs, highlighted; what is the same, folded away.
pub(super) fn section(runs: &[Run]) -> String {
    let all: Vec<&Settings> = runs.iter().map(|run| &run.settings).collect();
    let differing = differing_keys(&all);
    let mut html = String::new();
    if runs.len() > 1 && differing.is_empty() {
        html.push_str("<p>All settings are the same.</p>\n");
    } else if runs.len() > 1 {
        let mut table = Table { class: "settings", ..Table::default() };
        table.head = std::iter::once(String::new()).chain(runs.iter().map(|run| escape(&run.name))).collect();
        for key in &differing {
            let value = |run: &Run| run.settings.get(key).map_or_else(|| "-".to_owned(), |value| escape(value));
            let cells = runs.iter().map(|run| format!("<span>{}</span>", value(run)));
            table.rows.push(("", std::iter::once(escape(key)).chain(cells).collect()));
        }
        html.push_str(&table.html().replace("<td>", "<td class=\"differs\">"));
    }
    let mut same = Table { class: "settings", head: vec![String::new(), "value".into()], ..Table::default() };
    if let Some(first) = runs.first() {
        for (key, value) in first.settings.iter().filter(|(key, _)| !differing.contains(key)) {
            same.rows.push(("", vec![escape(key), escape(value)]));
        }
    }
    let said = if runs.len() > 1 { "What all have in common" } else { "All settings" };
    html.push_str(&folded(said, &same.html()));
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
