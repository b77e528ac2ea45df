//! Pictures of samples.

use fintan_artifact::visible;
use maud::{Markup, html};

use super::markup::text;
use super::run::{Kind, Run, picture};
use super::{PageError, of};

/// Largest number of grids shown, for one run and for all runs together. A page with more would be too large for a phone.
const GRIDS: usize = 24;
const GRIDS_OF_ALL: usize = 96;

/// Grids of all GANs at a common step, with a slider for the step.
pub(super) fn grids(runs: &[Run]) -> Result<Markup, PageError> {
    let mut figures: Vec<Markup> = Vec::new();
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
        // The last grid is always included.
        let places = (0..shown).map(|i| last - (shown - 1 - i) * last / (shown - 1).max(1));
        let newest = all[last].0;
        let mut images: Vec<Markup> = Vec::new();
        for (step, path) in places.map(|place| all[place]) {
            let alt = format!("samples of {} at step {step}", run.name);
            images.push(match picture(path)? {
                Ok(picture) => html! {
                    img data-step=(step) hidden[step != newest] src=(picture.address()) alt=(visible(&alt));
                },
                Err(why) => why,
            });
            steps.push(step);
        }
        figures.push(html! {
            figure data-run=(run.name) {
                "\n" figcaption { (text(&run.name)) ", " span.at { "step " (newest) } } "\n"
                @for image in images { (image) "\n" }
            }
            "\n"
        });
    }
    if steps.is_empty() {
        return Ok(Markup::default());
    }
    steps.sort_unstable();
    steps.dedup();
    let last = steps.len() - 1;
    let listed: Vec<String> = steps.iter().map(u64::to_string).collect();
    Ok(html! {
        p.faint {
            "The same latents at every step, on one fixed scale."
            @if thinned { " Of longer runs " (most) " grids are shown." }
        }
        "\n"
        div.slider {
            label for="step" { "Training" }
            input type="range" id="step" min="0" max=(last) value=(last) step="1" data-steps=(listed.join(","));
            output id="step-said" for="step" { "step " (steps[last]) }
        }
        "\n"
        div.many { "\n" @for figure in figures { (figure) } }
        "\n"
    })
}

/// The output of `fintan sample`: walks between latents, and grids.
pub(super) fn drawn(runs: &[Run]) -> Result<Markup, PageError> {
    let mut figures: Vec<Markup> = Vec::new();
    for run in runs {
        for path in run.files("samples", &["png"])? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let kind = if name.contains("_slerp") { "walks between pairs of latents" } else { "samples" };
            let caption = format!("{}: {kind}, {name}", run.name);
            let image = picture(&path)?.map_or_else(|why| why, |picture| picture.html(&caption));
            figures.push(html! { figure.strip { figcaption { (text(caption)) } (image) } "\n" });
        }
    }
    Ok(html! { @for figure in figures { (figure) } })
}
