//! Time and memory against sizes, one at a time, beside what shapes say.
//!
//! Exponents are slopes of a straight line through the last points of a log-log plot, by least squares. "Limit" is the exponent
//! for large sizes; "counted" is the slope of multiply-adds and bytes that follow from the shapes, over the same points, where
//! smaller terms still count.

use fintan_report::{Axes, Curve, Mark, Stands, curves_svg};
use serde_json::{Value, json};

use super::kernels::{discriminator, fc, generator};
use super::process::{measured, median_of, own};
use super::steps::Work;
use super::train_step;

/// Points through which the line goes.
const LAST: usize = 3;

/// Seconds after which a process is stopped.
const LIMIT: u64 = 180;

/// What grows.
struct Growth {
    name: &'static str,
    /// Exponents for large sizes: of operations and of bytes.
    limit: [f64; 2],
    points: Vec<(usize, Run)>,
}

/// What is measured at a point.
enum Run {
    Kernel(Value),
    /// Sizes of a training step.
    Step([usize; 4]),
}

/// A point: CPU seconds and peak bytes beside those of a tiny process, and their counts.
struct Point {
    size: f64,
    measured: [f64; 2],
    counted: [f64; 2],
}

/// Prints the table, and draws it.
pub(crate) fn measure(picture: Option<&str>) {
    let tiny = [Run::Kernel(kernel(&fc(8, 1, 1), &json!([784]), "traced", 2)), Run::Step([2, 8, 16, 2])];
    let [kernel_base, step_base] = tiny.map(|run| run.point(1, [0.0; 2]).expect("a tiny run"));
    println!(
        "Fits through the last {LAST} points. Memory: the peak of the process, drawing of weights included, less that of a tiny one ({:.0} MB, {:.0} MB \
         training).\n",
        kernel_base.measured[1] / 1e6,
        step_base.measured[1] / 1e6
    );
    println!(
        "| what grows | sizes | CPU s | time: limit | counted | measured | MB | memory: limit | counted | measured |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    let mut panels = Vec::new();
    for Growth { name, limit, points } in growths() {
        let mut found = Vec::new();
        for (size, run) in points {
            let base = if matches!(run, Run::Kernel(_)) { &kernel_base } else { &step_base };
            match run.point(size, [base.measured[1], base.counted[1]]) {
                Ok(point) => found.push(point),
                Err(why) => eprintln!("{name} = {size}: {why}"),
            }
        }
        let column = |i: usize, digits: usize, unit: f64| {
            let shown: Vec<String> = found.iter().map(|p| format!("{:.digits$}", p.measured[i] / unit)).collect();
            shown.join(", ")
        };
        let sizes: Vec<String> = found.iter().map(|p| p.size.to_string()).collect();
        let fits = [0, 1].map(|i| [exponent(&found, |p| p.counted[i]), exponent(&found, |p| p.measured[i])]);
        println!(
            "| {name} | {} | {} | {} | {:.2} | {:.2} | {} | {} | {:.2} | {:.2} |",
            sizes.join(", "),
            column(0, 4, 1.0),
            limit[0],
            fits[0][0],
            fits[0][1],
            column(1, 1, 1e6),
            limit[1],
            fits[1][0],
            fits[1][1]
        );
        panels.push(panel(name, fits, &found));
    }
    if let Some(path) = picture {
        fs_err::write(path, page(&panels)).expect("the picture is written");
        println!("\nThe picture: {path}");
    }
}

fn kernel(net: &[Value], input: &Value, entries: &str, n: usize) -> Value {
    json!({ "net": net, "input": input, "kernel": entries, "n": n, "beta": 0.1 })
}

fn growths() -> Vec<Growth> {
    let (vector, latent) = (json!([784]), json!([64]));
    let growth = |name, limit, sizes: &[usize], run: &dyn Fn(usize) -> Run| Growth {
        name,
        limit,
        points: sizes.iter().map(|&size| (size, run(size))).collect(),
    };
    vec![
        growth("kernel: samples N (FC 3x512, 10 outputs, traced)", [2.0, 2.0], &[128, 256, 512, 1024, 2048], &|n| {
            Run::Kernel(kernel(&fc(512, 3, 10), &vector, "traced", n))
        }),
        growth("kernel: outputs O (FC 3x512, N = 16, full)", [2.0, 2.0], &[16, 32, 64, 128, 256], &|outputs| {
            Run::Kernel(kernel(&fc(512, 3, outputs), &vector, "full", 16))
        }),
        growth(
            "kernel: width (FC, 3 layers, one output, N = 64)",
            [2.0, 2.0],
            &[256, 512, 1024, 2048, 4096],
            &|width| Run::Kernel(kernel(&fc(width, 3, 1), &vector, "traced", 64)),
        ),
        growth("kernel: depth (FC, width 256, one output, N = 128)", [1.0, 1.0], &[8, 16, 32, 64, 128], &|depth| {
            Run::Kernel(kernel(&fc(256, depth, 1), &vector, "traced", 128))
        }),
        growth("kernel: rows of the image (discriminator, N = 16)", [2.0, 2.0], &[16, 32, 64, 128], &|rows| {
            Run::Kernel(kernel(&discriminator(rows), &json!([1, rows, rows]), "traced", 16))
        }),
        growth("kernel: rows of the image (generator, N = 4, traced)", [2.0, 2.0], &[16, 32, 64, 128], &|rows| {
            Run::Kernel(kernel(&generator(rows / 8), &latent, "traced", 4))
        }),
        growth("kernel: rows of the image (generator, N = 1, pixels)", [4.0, 4.0], &[16, 32, 64, 96], &|rows| {
            Run::Kernel(kernel(&generator(rows / 8), &latent, "full", 1))
        }),
        growth("step: batch (DCGAN 128 channels, 32x32)", [1.0, 1.0], &[16, 32, 64, 128, 256], &|batch| {
            Run::Step([batch, 128, 32, 4])
        }),
        growth("step: width (DCGAN, batch 32, 32x32)", [2.0, 2.0], &[32, 64, 128, 256, 512], &|width| {
            Run::Step([32, width, 32, 4])
        }),
        growth("step: rows of the image (DCGAN 64 channels, batch 32)", [2.0, 2.0], &[16, 32, 64, 128], &|rows| {
            Run::Step([32, 64, rows, rows / 8])
        }),
    ]
}

impl Run {
    /// Measures in a process of its own, on all processors. `base` is what is subtracted from the bytes, measured and counted.
    fn point(&self, size: usize, base: [f64; 2]) -> Result<Point, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let number = |result: &Value, key: &str| result[key].as_f64().ok_or_else(|| format!("no `{key}`"));
        let (cpu, peak, counted) = match self {
            Self::Kernel(case) => {
                let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
                let path = folder.path().join("case.json");
                fs_err::write(&path, case.to_string()).map_err(|e| e.to_string())?;
                let path = path.to_str().ok_or("a path that is not Unicode")?;
                let command = own(&["--case", path, "--repeats", "9", "--seconds", "5"]);
                let result = measured(&command, threads, LIMIT)?;
                let counted = [number(&result, "multiply_adds")?, number(&result, "planned_bytes")?];
                (median_of(&result, "cpu_s"), number(&result, "peak_bytes")?, counted)
            }
            Self::Step(sizes) => {
                let written = sizes.map(|n| n.to_string());
                let [batch, channels, size, least] = written.each_ref().map(String::as_str);
                let command = own(&["--one", "flex", "none", "7", batch, channels, size, least]);
                let result = measured(&command, threads, LIMIT)?;
                let work = Work::of_step(&train_step::experiment("none", *sizes));
                let counted = [work.operations, work.held];
                (1e-3 * number(&result, "cpu_ms")?, number(&result, "peak_bytes")?, counted)
            }
        };
        let [operations, bytes] = counted;
        Ok(Point { size: size as f64, measured: [cpu, peak - base[0]], counted: [operations, bytes - base[1]] })
    }
}

/// The slope of log y over log x through the last points.
fn exponent(points: &[Point], y: impl Fn(&Point) -> f64) -> f64 {
    let last = &points[points.len().saturating_sub(LAST)..];
    let logs: Vec<[f64; 2]> = last.iter().map(|p| [p.size.ln(), y(p).ln()]).collect();
    let mean = |i: usize| logs.iter().map(|v| v[i]).sum::<f64>() / logs.len() as f64;
    let [mx, my] = [mean(0), mean(1)];
    let (above, below) =
        logs.iter().fold((0.0, 0.0), |(above, below), [x, y]| (above + (x - mx) * (y - my), below + (x - mx).powi(2)));
    above / below
}

/// A drawing of one growth: everything relative to the smallest size.
fn panel(name: &str, [time, memory]: [[f64; 2]; 2], points: &[Point]) -> String {
    let Some(first) = points.first() else { return String::new() };
    let mut curves = Vec::new();
    for (i, name) in ["CPU time", "memory"].into_iter().enumerate() {
        let curve = |mark, of: &dyn Fn(&Point) -> f64| Curve {
            name: name.into(),
            points: points.iter().map(|p| (p.size, of(p) / of(first))).collect(),
            mark,
        };
        curves.push(curve(Mark::Dots, &|p| p.measured[i]));
        curves.push(curve(Mark::Dashed, &|p| p.counted[i]));
    }
    let axes = Axes {
        title: name.into(),
        x: format!("time {:.2} ({:.2} counted), memory {:.2} ({:.2})", time[1], time[0], memory[1], memory[0]),
        y: "to the smallest".into(),
        log_x: true,
        log_y: true,
        stands: Stands::OnPage,
        ..Axes::default()
    };
    curves_svg(&axes, &curves).expect("drawn")
}

/// The panels in two columns, with a line that explains them.
fn page(panels: &[String]) -> String {
    let (wide, high, head) = (480, 320, 30);
    let height = head + high * panels.len().div_ceil(2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{height}\" viewBox=\"0 0 {0} {height}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{wide}\" y=\"20\" text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"14\">CPU time (blue) and peak \
         memory (orange) against sizes: dots measured, dashed lines counted from shapes</text>\n",
        2 * wide
    );
    for (i, panel) in panels.iter().enumerate() {
        let place = format!("<svg x=\"{}\" y=\"{}\" ", wide * (i % 2), head + high * (i / 2));
        svg += &panel.replacen("<svg ", &place, 1);
    }
    svg + "</svg>\n"
}
