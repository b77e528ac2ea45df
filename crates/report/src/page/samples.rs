//! Pictures of samples.

use std::fmt::Write as _;

use super::markup::{escape, png};
use super::run::{Kind, Run};
use super::{PageError, of};

/// Grids of a run that are shown, and of all runs: more would make a page that no phone opens.
const GRIDS: usize = 24;
const GRIDS_OF_ALL: usize = 96;

/// Grids of all GANs at a common step, and the slider that moves it.
pub(super) fn grids(runs: &[Run]) -> Result<String, PageError> {
    let mut figures = String::new();
    let mut steps: Vec<u64> = Vec::new();
    let mut thinned = false;
    let most = (GRIDS_OF_ALL / of(runs, Kind::Gan).count().max(1)).clamp(3, GRIDS);
    for run in of(runs, Kind::Gan) {
        let all = run.files("grids", &["png"])?;
        let step = |path: &std::path::PathBuf| -> Option<u64> {
            path.file_stem()?.to_str()?.strip_prefix("step_")?.parse().ok()
        };
        let all: Vec<_> = all.iter().filter_map(|path| Some((step(path)?, path))).collect();
        let Some(last) = all.len().checked_sub(1) else { continue };
        let shown = all.len().min(most);
        thinned |= shown < all.len();
        // The last one is always among them.
        let places = (0..shown).map(|i| last - (shown - 1 - i) * last / (shown - 1).max(1));
        let name = escape(&run.name);
        let newest = all[last].0;
        let _ = write!(
            figures,
            "<figure data-run=\"{name}\">\n<figcaption>{name}, <span class=\"at\">step {newest}</span></figcaption>\n"
        );
        for (step, path) in places.map(|place| all[place]) {
            let image = png(&fs_err::read(path)?, &format!("samples of {} at step {step}", run.name));
            let hidden = if step == newest { "" } else { " hidden" };
            let _ = writeln!(figures, "{}", image.replacen("<img", &format!("<img data-step=\"{step}\"{hidden}"), 1));
            steps.push(step);
        }
        figures.push_str("</figure>\n");
    }
    if steps.is_empty() {
        return Ok(String::new());
    }
    steps.sort_unstable();
    steps.dedup();
    let last = steps.len() - 1;
    let listed: Vec<String> = steps.iter().map(u64::to_string).collect();
    let mut html = format!(
        "<p class=\"faint\">The same latents at every step, on one fixed scale.{}</p>\n<div class=\"slider\"><label \
         for=\"step\">Training</label><input type=\"range\" id=\"step\" min=\"0\" max=\"{last}\" value=\"{last}\" step=\"1\" \
         data-steps=\"{}\"><output id=\"step-said\" for=\"step\">step {}</output></div>\n",
        if thinned { format!(" Of longer runs {most} grids are shown.") } else { String::new() },
        listed.join(","),
        steps[last]
    );
    let _ = write!(html, "<div class=\"many\">\n{figures}</div>\n");
    Ok(html)
}

/// What `fintan sample` drew: walks between latents, and grids.
pub(super) fn drawn(runs: &[Run]) -> Result<String, PageError> {
    let mut html = String::new();
    for run in runs {
        for path in run.files("samples", &["png"])? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let kind = if name.contains("_slerp") { "walks between pairs of latents" } else { "samples" };
            let caption = format!("{}: {kind}, {name}", run.name);
            let image = png(&fs_err::read(&path)?, &caption);
            let _ =
                writeln!(html, "<figure class=\"strip\"><figcaption>{}</figcaption>{image}</figure>", escape(&caption));
        }
    }
    Ok(html)
}
