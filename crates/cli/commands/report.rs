//! `fintan report`

use std::path::PathBuf;

use fintan::ReportPage;
use fintan_artifact::RunDir;

use super::settings_of_run::say_edits;
use crate::args::Report;
use crate::failure::Failure;
use crate::voice::{answer, answer_json};

/// Writes the report of runs as one page.
pub(super) fn report(args: &Report) -> Result<(), Failure> {
    let report = ReportPage::of(&args.runs)?;
    let out = args.out.clone().unwrap_or_else(|| match &args.runs[..] {
        [one] => one.join("report.html"),
        _ => PathBuf::from("report.html"),
    });
    if out.extension().is_none_or(|e| e != "html") {
        return Err(Failure::input(format!("--out is a page and must end with .html, got `{}`", out.display())));
    }
    for root in report.runs() {
        say_edits(&RunDir::open(root)?)?;
    }
    report.write(&out)?;
    if args.voice.json {
        let names: Vec<String> = report.runs().iter().map(|root| root.display().to_string()).collect();
        answer_json(&serde_json::json!({ "report": out.display().to_string(), "runs": names }));
    } else {
        answer!("{}", out.display());
    }
    Ok(())
}
