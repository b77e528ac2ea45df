//! Every table beside other programs, in one run: the machine, the training step, the empirical kernel.
//!
//! ```text
//! cargo bench --bench all                              the tables of benches/RESULTS.md, as Markdown; some ten minutes
//! cargo bench --bench all -- steps|kernels             the machine, and one of the tables
//!     [--threads 1,2] [--cases NAME,..]                by default 1 and all; cases of the kernel, by the names in kernels.rs
//! cargo bench --bench all -- growth [PICTURE.svg]      time and memory against sizes
//! cargo bench --bench all -- steady [STEPS]            memory of a long run
//! ```
//!
//! Other programs are those that `python3` (or `$PYTHON`) can import; CONTRIBUTING.md says how to install them. Each
//! measurement has a process of its own, on as many processors as it has threads. CPU times are those of all threads; wall
//! times of a shared machine are upper bounds.

#![expect(clippy::duplicate_mod, reason = "benches/ntk.rs and benches/train_step.rs are programs by themselves too")]

mod growth;
mod kernels;
mod machine;
#[path = "../ntk.rs"]
mod ntk;
mod process;
mod steady;
mod steps;
#[path = "../train_step.rs"]
mod train_step;

use std::fmt;

use self::machine::Machine;
use self::process::python_says;

/// The peers' side of the kernel and of the rates.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers.py");

/// PyTorch's side of the training step.
const TORCH_STEP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/train_step_torch.py");

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().expect("a number");
    match args[..] {
        // What the driver starts.
        ["product", rows] => machine::product(number(rows)),
        ["copy", bytes, threads] => machine::copy(number(bytes), number(threads)),
        ["--case", ..] => ntk::main(),
        ["--one", ..] => train_step::main(),
        ["growth"] => growth::measure(None),
        ["growth", picture] => growth::measure(Some(picture)),
        ["steady"] => steady::run(10_000, None),
        ["steady", steps] => steady::run(number(steps), None),
        ["steady", steps, config] => steady::run(number(steps), Some(config)),
        _ => tables(&args),
    }
}

fn tables(args: &[&str]) {
    let option = |name: &str| args.iter().position(|a| *a == name).and_then(|i| args.get(i + 1));
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads: Vec<usize> = option("--threads")
        .map_or_else(|| vec![1, all], |list| list.split(',').map(|n| n.parse().expect("numbers of threads")).collect());
    threads.dedup();
    let cases: Option<Vec<&str>> = option("--cases").map(|list| list.split(',').collect());
    let peers = Peers::find();
    let machine = Machine::measure(&threads, &peers);
    let only = args.first().copied().unwrap_or_default();
    if only != "kernels" {
        steps::table(&threads, &machine, &peers);
    }
    if only != "steps" {
        kernels::table(&threads, cases.as_deref(), &machine, &peers);
    }
    println!("Load at the end: {}.", machine::load());
}

/// Other programs: a version, or why it cannot be imported.
struct Peers {
    torch: Result<String, String>,
    neural_tangents: Result<String, String>,
}

impl Peers {
    fn find() -> Self {
        Self {
            torch: python_says("import torch; print(torch.__version__)"),
            neural_tangents: python_says(
                "import jax, neural_tangents as nt; print(nt.__version__, 'with jax', jax.__version__)",
            ),
        }
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, found)) in
            [("PyTorch", &self.torch), ("neural-tangents", &self.neural_tangents)].into_iter().enumerate()
        {
            f.write_str(if i > 0 { "; " } else { "" })?;
            match found {
                Ok(version) => write!(f, "{name} {version}")?,
                Err(why) => write!(f, "{name} is left out ({why})")?,
            }
        }
        Ok(())
    }
}

/// Milliseconds with two or three digits.
fn ms(value: f64) -> String {
    format!("{value:.*}", usize::from(value < 9.95))
}

/// A ratio with three digits.
fn times(ratio: f64) -> String {
    format!("{ratio:.*}", if ratio < 9.995 { 2 } else { 0 })
}
