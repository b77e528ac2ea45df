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
    let inside = ["data:image/png;base64,", "data:image/svg+xml,"];
    assert!(sources.iter().all(|source| inside.iter().any(|start| source.starts_with(start))));
    // The browser is told so too.
    assert!(page.contains("content=\"default-src 'none'; img-src data:; style-src 'sha256-"));
    assert!(!page.contains("unsafe-") && !page.contains("<svg") && !page.contains(" style=\""));
    assert_eq!(page.matches("<script").count(), 1);
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

/// Texts that run a script where they become markup; each would change the title.
const SCRIPTS: [&str; 5] = [
    "<script>document.title='executed'</script>",
    "\"><img src=x onerror=\"document.title='executed'\">",
    "' onmouseover='x'></style></title></textarea></script><svg onload=\"document.title='executed'\">",
    "<iframe srcdoc=\"<script>parent.document.title='executed'</script>\"></iframe>",
    "]]>--><details open ontoggle=document.title='executed'>",
];

/// All of them in one.
fn scripts() -> String {
    SCRIPTS.concat()
}

/// Every text in a JSON value becomes scripts, but those under `kept`; a name is added to each table.
fn spoil(value: &mut serde_json::Value, kept: &[&str], open: bool) {
    use serde_json::Value;
    match value {
        Value::String(text) => *text = scripts(),
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, kept, open)),
        Value::Object(table) => {
            for (key, item) in table.iter_mut() {
                if !kept.contains(&key.as_str()) {
                    spoil(item, kept, open);
                }
            }
            if open {
                table.insert(scripts(), Value::String(scripts()));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn rewrite(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut value = serde_json::from_slice(&text).expect("JSON");
    change(&mut value);
    std::fs::write(path, value.to_string()).expect("written");
}

/// A drawing that does all that a drawing can.
const DRAWING: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="parent.document.title='executed'">
<script>parent.document.title='executed';document.title='executed'</script><image href="x" onerror="document.title='executed'"/>
<foreignObject><img xmlns="http://www.w3.org/1999/xhtml" src="x" onerror="parent.document.title='executed'"/></foreignObject></svg>"#;

/// The page shows all of it as text, and nothing of it ran.
fn runs_nothing(folder: &Path, page: &Path) {
    let text = std::fs::read_to_string(page).expect("written");
    self_contained(&text);
    for script in SCRIPTS {
        assert!(!text.contains(script), "{}: {script}", page.display());
    }
    let Some(dom) = in_browser(folder, page, "") else { return };
    assert!(!dom.contains("<title>executed"), "{}", page.display());
    let begun = |tag: &str| dom.matches(&format!("<{tag}")).count();
    for tag in ["iframe", "svg", "object", "embed", "base", "link", "form"] {
        assert_eq!(begun(tag), 0, "{tag}");
    }
    assert_eq!(begun("script"), 1);
    // In tags; as text, `<` and quotes are escaped.
    for handler in [" onerror=\"", " onload=\"", " ontoggle=", " onmouseover=\""] {
        let inside = dom.split('<').filter_map(|tag| tag.split('>').next()).any(|tag| {
            let outside_quotes: String = tag.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
            outside_quotes.contains(handler.trim_end_matches('"'))
        });
        assert!(!inside, "{handler}");
    }
}

#[test]
#[cfg(unix)]
fn a_run_from_someone_else_runs_nothing() {
    let folder = folder();
    let root = folder.path();
    // A name can hold no slash.
    let evil = scripts().replace('/', "-");
    let short = evil.chars().take(80).collect::<String>();
    let names = [format!("a{short}"), format!("b{short}"), format!("c{short}")];
    let [gan, task, moments] = [0, 1, 2].map(|i| root.join(&names[i]));
    config(root, &format!("{}\n[observe.ntk]\nevery = 2\nsamples = 4\n", TINY.replace("steps = 100", "steps = 4")));
    succeed(root, &["train", "tiny.toml", "--out", &names[0], "--device", "flex", "--quiet"]);
    succeed(root, &["eval", &names[0], "--metrics", "std,correlation", "-n", "16", "--quiet", "--device", "flex"]);
    config(root, &TASK.replace("steps = 30", "steps = 2"));
    succeed(root, &["train", "tiny.toml", "--out", &names[1], "--device", "flex", "--quiet"]);
    config(root, MOMENTS);
    succeed(root, &["moments", "tiny.toml", "--out", &names[2], "--device", "flex", "--quiet"]);

    // Each field of each file that a page reads.
    rewrite(&gan.join("metrics.json"), |metrics| spoil(metrics, &[], false));
    for run in [&gan, &task, &moments] {
        rewrite(&run.join("env.json"), |environment| spoil(environment, &[], true));
        let resolved = run.join("config.resolved.toml");
        let text = std::fs::read_to_string(&resolved).expect("read");
        let cut = |table: &str| text.find(table).map(|at| (text[..at].to_owned(), text[at..].to_owned()));
        if let Some((before, after)) = cut("[data.shapes]") {
            let rest = after[1..].find("\n[").map_or("", |end| &after[end + 1..]);
            let quoted = scripts().replace('\\', "").replace('"', "\\\"");
            std::fs::write(&resolved, format!("{before}[data.folder]\npath = \"{quoted}\"\n{rest}")).expect("written");
        }
        std::fs::create_dir_all(run.join("samples")).expect("made");
        for place in ["", "ntk", "flow", "samples", "grids"] {
            std::fs::create_dir_all(run.join(place)).expect("made");
            for (name, bytes) in
                [(format!("{short}.svg"), DRAWING), ("x.svg".into(), DRAWING), (format!("{short}.png"), DRAWING)]
            {
                std::fs::write(run.join(place).join(name), bytes).expect("written");
            }
        }
    }
    // A picture that is a drawing, one that never ends, and a file of someone else.
    std::fs::write(gan.join("grids/step_000003.png"), "junk").expect("written");
    std::fs::write(root.join("secret.png"), "a secret").expect("written");
    std::os::unix::fs::symlink(root.join("secret.png"), gan.join("samples/secret.png")).expect("linked");
    std::os::unix::fs::symlink("/dev/zero", gan.join("samples/endless.png")).expect("linked");
    let log = std::fs::read_to_string(gan.join("log.jsonl")).expect("read");
    let event = serde_json::json!({ "step": 4, "event": "collapse", "message": scripts() });
    std::fs::write(gan.join("log.jsonl"), format!("{log}{event}\n")).expect("written");
    let observed = gan.join("ntk/observed.jsonl");
    let lines: Vec<String> = std::fs::read_to_string(&observed)
        .expect("read")
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line[scripts()] = scripts().into();
            line["alignment"] = scripts().into();
            line.to_string()
        })
        .collect();
    std::fs::write(&observed, lines.join("\n") + "\n").expect("written");
    let report = std::fs::read_to_string(moments.join("report.md")).expect("read");
    let table = format!("| {0} | {0} |\n| --- | --- |\n| {0} | {0} |\n", scripts().replace('|', ""));
    let more = format!("{0}\n\n# {0}\n\n![{0}]({0})\n\n```html\n{0}\n```\n{table}", scripts());
    std::fs::write(moments.join("report.md"), format!("{report}\n{more}")).expect("written");
    let comparison = root.join(format!("d{short}"));
    std::fs::create_dir(&comparison).expect("made");
    let said = serde_json::json!({
        "metrics": ["std", scripts()],
        "data": [{ "source": scripts(), "count": 16, "values": [1.0, 2.0] }],
        "rows": [{
            "name": scripts(), "data": 0, "differences": [scripts(), scripts()], "mean": [0.5, 0.5], "spread": [0.1, null],
            "runs": [{ "run": gan.display().to_string(), "seed": 0, "step": 4, "values": [0.5, 0.5] }],
        }],
        "refused": [scripts()],
    });
    std::fs::write(comparison.join("compare.json"), said.to_string()).expect("written");

    for (name, run) in [("gan", &gan), ("task", &task), ("moments", &moments), ("comparison", &comparison)] {
        let page = root.join(format!("{name}.html"));
        let (code, stdout, stderr) = run_report(root, run, &page);
        assert_eq!(code, 0, "{name}: {stdout}{stderr}");
        runs_nothing(root, &page);
    }
    let page = std::fs::read_to_string(root.join("gan.html")).expect("written");
    assert!(page.contains("&lt;script&gt;document.title='executed'&lt;/script&gt;"), "names are shown");
    assert!(page.contains("step_000003.png is neither a PNG nor an SVG file and is not shown"));
    assert!(!page.contains("secret") && !page.contains("endless"), "what is not of the run is not on its page");
}

fn run_report(folder: &Path, shown: &Path, page: &Path) -> (i32, String, String) {
    let [shown, page] = [shown, page].map(|path| path.to_str().expect("UTF-8"));
    run(folder, &["report", shown, "--out", page])
}

/// What the tests above rely on: without escapes the browser runs all this, and the policy alone stops it.
#[test]
fn the_policy_stops_what_would_run() {
    let folder = folder();
    config(folder.path(), &TASK.replace("steps = 30", "steps = 1"));
    succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    succeed(folder.path(), &["report", "a"]);
    let page = std::fs::read_to_string(folder.path().join("a/report.html")).expect("written");
    let start = page.find("<meta http-equiv=\"Content-Security-Policy\"").expect("a policy");
    let end = start + page[start..].find('>').expect("a tag") + 1;
    let title = |head: &str, script: &str| -> Option<bool> {
        let spoilt = format!("{head}{}", page[end..].replacen("<main>", &format!("<main>{script}"), 1));
        let path = folder.path().join("spoilt.html");
        std::fs::write(&path, spoilt).expect("written");
        Some(in_browser(folder.path(), &path, "")?.contains("<title>executed"))
    };
    for script in SCRIPTS.iter().chain([&DRAWING]) {
        let Some(executed) = title(&page[..start], script) else { return };
        assert!(executed, "without a policy: {script}");
    }
    let all = [DRAWING, SCRIPTS[0], SCRIPTS[1], SCRIPTS[4], SCRIPTS[3], SCRIPTS[2]].concat();
    assert_eq!(title(&page[..end], &all), Some(false));
}
