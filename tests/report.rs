//! `fintan report`

use std::path::Path;
use std::process::Command;

use crate::support::{TINY, config, folder, run, succeed};

const TASK: &str = r#"
network = { input = 4, fc = { widths = [16] }, outputs = 1 }
data.teacher = {}
[task.supervised]
goal = "regression"
train = 16
test = 16
steps = 30
optimizer.sgd.rate = 0.1
"#;

const MOMENTS: &str = r#"
[network]
input = [2, 6, 6]
bn_res = { depth = 4, width = 5, kernel = 3, padding = "symmetric", embed_stride = 2 }
[moments]
inputs.spectrum.exponent = 1.0
batch = 6
realisations = 3
"#;

/// A page must not need anything but itself.
fn self_contained(page: &str) {
    for loads in
        ["src=\"http", "href=\"http", "url(", "@import", "<link", "<script src", "src=\"/", "src=\"./", "fetch("]
    {
        assert!(!page.contains(loads), "{loads}");
    }
    let sources: Vec<&str> = page.split("src=\"").skip(1).collect();
    assert!(sources.iter().all(|source| source.starts_with("data:image/png;base64,")));
}

/// A GAN with grids at steps 0, 50 and 100, kernels beside training and apart, a walk, and health that has something to say.
fn trained(folder: &Path) {
    config(folder, &format!("{TINY}\n[observe.ntk]\nevery = 50\nsamples = 4\n"));
    let train = ["train", "tiny.toml", "--device", "flex", "--quiet", "--out"];
    succeed(folder, &[&train[..], &["a"]].concat());
    // <b> must stay text.
    succeed(folder, &[&train[..], &["b <b>", "--set", "generator.dcgan.norm=none", "--seed", "1"]].concat());
    succeed(folder, &["sample", "a", "--interpolate", "slerp", "-n", "2", "--quiet", "--device", "flex"]);
    succeed(folder, &["ntk", "a", "-n", "3", "--quiet", "--device", "flex"]);
    let eval = ["eval", "a", "--metrics", "std,correlation", "-n", "64", "--quiet", "--device", "flex"];
    succeed(folder, &eval);
}

#[test]
fn gans_are_shown_side_by_side() {
    let folder = folder();
    trained(folder.path());
    assert_eq!(succeed(folder.path(), &["report", "a", "b <b>"]), "report.html\n");
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("written");
    self_contained(&page);
    for section in [
        "Samples",
        "Metrics",
        "Differences",
        "Regimes at the start",
        "Training",
        "Health",
        "Interpolations and samples",
        "Kernels",
    ] {
        assert!(page.contains(&format!("<h2>{section}</h2>")), "{section}");
    }
    assert!(!page.contains("b <b>") && page.contains("b &lt;b&gt;"));
    // Grids of each, the last one shown.
    assert_eq!(page.matches("<img data-step=\"50\" hidden").count(), 2);
    assert_eq!(page.matches("<img data-step=\"100\" src").count(), 2);
    let row = |key: &str| {
        page.lines()
            .find(|line| line.replace("<wbr>", "").contains(&format!("<th scope=\"row\">{key}</th>")))
            .expect("a row")
    };
    assert_eq!(row("seed"), "<tr class=\"differs\"><th scope=\"row\">seed</th><td>0</td><td>1</td></tr>");
    assert!(row("generator.dcgan.norm").contains("<td>-</td><td>&quot;none&quot;</td>"));
    assert!(row("train.steps").starts_with("<tr class=\"\">"), "what is the same is folded away");
    assert!(row("data: built-in shapes (256 drawings of 12 kinds, seed 0)").contains("<td>64</td>"));
    for curve in
        ["Loss of the generator", "D(x), and D(G(z)) dashed", "Checkerboard", "Drift since the first", "Spectrum"]
    {
        assert!(page.contains(curve), "{curve}");
    }
    assert!(page.contains("walks between pairs of latents") && page.contains("* behind a batch norm"));
    assert!(page.contains("prefers-color-scheme: dark"));
    // The same runs give the same page.
    succeed(folder.path(), &["report", "a", "b <b>", "--out", "again.html"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("again.html")).expect("written"), page);
}

#[test]
fn tasks_and_moments_have_pages_too() {
    let folder = folder();
    for (name, text) in [("task", TASK), ("moments", MOMENTS)] {
        config(folder.path(), text);
        let command = if name == "task" { "train" } else { "moments" };
        succeed(folder.path(), &[command, "tiny.toml", "--out", name, "--device", "flex", "--quiet"]);
    }
    succeed(folder.path(), &["flow", "task", "--device", "flex", "--quiet"]);
    assert_eq!(succeed(folder.path(), &["report", "task"]), "task/report.html\n");
    succeed(folder.path(), &["report", "task", "moments", "--out", "both.html"]);
    let page = std::fs::read_to_string(folder.path().join("both.html")).expect("written");
    self_contained(&page);
    assert!(page.contains("Loss in training, and on test samples dashed") && page.contains("<h2>Predictions</h2>"));
    // The table of moments as it stands in the run.
    let report = std::fs::read_to_string(folder.path().join("moments/report.md")).expect("written");
    let row = report.lines().rfind(|line| line.starts_with("| 4 |")).expect("the last layer");
    for cell in row.trim_matches('|').split('|').map(str::trim) {
        assert!(page.contains(&format!(">{cell}</t")), "{cell}");
    }
    assert!(page.contains("Normalized sensitivity") && page.contains("r_eff(dx)"));
}

#[test]
fn what_is_no_run_has_no_page() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 5"));
    succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    let refused = |args: &[&str]| {
        let (code, stdout, stderr) = run(folder.path(), &[&["report"], args].concat());
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ")
    };
    assert!(refused(&["."]).contains("`.` is no run directory"));
    assert!(refused(&["a", "./a"]).contains("`./a` is named twice"));
    assert!(refused(&["a", "--out", "page.pdf"]).contains("must end with .html, got `page.pdf`"));
    std::fs::write(folder.path().join("a/log.jsonl"), "nonsense\n{}\n").expect("spoilt");
    assert!(refused(&["a"]).contains("log.jsonl` is damaged: line 1"));
    assert!(!folder.path().join("a/report.html").exists());
}

/// The page as a browser has it after `fragment` was followed; none where there is no browser and none is asked for.
fn in_browser(folder: &Path, page: &Path, fragment: &str) -> Option<String> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let started = names.iter().find_map(|name| {
        let mut command = Command::new(name);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom"]);
        command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        command.arg(format!("file://{}{fragment}", page.display())).output().ok()
    });
    let Some(output) = started else {
        assert!(std::env::var_os("FINTAN_REQUIRE_CHROMIUM").is_none(), "chromium is required and not there");
        eprintln!("skipped: there is no chromium on this machine");
        return None;
    };
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn the_slider_moves_in_a_browser() {
    let folder = folder();
    config(folder.path(), TINY);
    succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    succeed(folder.path(), &["report", "a"]);
    let page = folder.path().join("a/report.html");
    for (fragment, shown, hidden) in [("", 100, 50), ("#step=50", 50, 100), ("#step=77", 50, 100), ("#step=3", 0, 50)] {
        let Some(dom) = in_browser(folder.path(), &page, fragment) else { return };
        let image = |step: u64| {
            let found = dom.split("<img").find(|image| image.contains(&format!("data-step=\"{step}\"")));
            found
                .unwrap_or_else(|| panic!("no grid of step {step}: {dom}"))
                .split('>')
                .next()
                .expect("a tag")
                .to_owned()
        };
        assert!(!image(shown).contains(" hidden"), "{fragment}");
        assert!(image(hidden).contains(" hidden"), "{fragment}");
        assert!(dom.contains(&format!("<output id=\"step-said\" for=\"step\">step {shown}</output>")), "{fragment}");
        assert!(dom.contains(&format!("<span class=\"at\">step {shown}</span>")), "{fragment}");
    }
}
