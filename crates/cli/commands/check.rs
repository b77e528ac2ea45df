//! `fintan check`

use fintan::theory::{Regime, mean_r, regimes};
use fintan::{Architecture, Device, LayerRow, Network, TrainingCost};
use fintan_config::{Held, LossFunction, Subject, SupervisedExperiment, TaskGoal};
use serde_json::{Value, json};

use crate::args::Check;
use crate::failure::Failure;
use crate::given::configuration;
use crate::voice::{answer, answer_json};

/// Shows what a configuration will do.
pub(super) fn check(args: &Check) -> Result<(), Failure> {
    let mut loader = Network::open(configuration(&args.config.path)?).bound(args.on.device.bound(Held::Training));
    for change in args.config.overrides() {
        loader = loader.set(&change);
    }
    let mut network = loader.load()?;
    if matches!(network.subject(), Subject::Network(alone) if alone.supervised().is_none()) {
        alone(&network, args);
        return Ok(());
    }
    network = network.on(Device::open(args.on.device)?);
    let Some(cost) = network.training_cost()? else { return Ok(()) };
    match network.subject() {
        Subject::Gan(_) => gan(&network, &cost, args),
        Subject::Network(alone) => {
            if let Some(experiment) = alone.supervised() {
                task(&network, &experiment, &cost, args);
            }
            Ok(())
        }
    }
}

fn gan(generator: &Network, cost: &TrainingCost, args: &Check) -> Result<(), Failure> {
    let discriminator = generator.clone().discriminator()?;
    let samples = args.samples.map_or_else(|| generator.quick_sample_count(args.seeds), |samples| samples as usize);
    let untrained = generator.untrained_measures(args.seeds, samples)?;
    let [g, d] = [generator, &discriminator].map(Network::architecture);
    let tables = [generator.layer_rows(), discriminator.layer_rows()];
    if args.voice.json {
        answer_json(&json!({
            "generator": rows_json(&tables[0]), "discriminator": rows_json(&tables[1]),
            "regimes": { "generator": overall(g), "discriminator": overall(d) },
            "device": generator.device().name, "seconds_per_step": cost.seconds_per_step,
            "timed_batch": cost.timed_batch, "memory_bytes": cost.memory_bytes, "untrained": untrained,
        }));
        return Ok(());
    }
    answer_table("generator", g, &tables[0]);
    answer_table("discriminator", d, &tables[1]);
    answer_cost(&generator.device().name, cost);
    answer!();
    answer!(
        "untrained generator, {samples} samples, mean over {} seeds (a property of the start, not a promise)",
        args.seeds
    );
    answer!("  correlation between samples      {:.2}   1: one image for all latents", untrained.correlation);
    answer!("  energy at period 2 (Nyquist)     {:.2}   checkerboard", untrained.nyquist);
    answer!("  variance explained by phase mod 2 / mod 8   {:.2} / {:.2}", untrained.phase2, untrained.phase8);
    answer!("  variance of the border / interior {:.2}   1: no border artefact", untrained.border);
    Ok(())
}

/// Shows a network without a task.
fn alone(network: &Network, args: &Check) {
    let (architecture, rows) = (network.architecture(), network.layer_rows());
    if args.voice.json {
        answer_json(&json!({ "network": rows_json(&rows), "regimes": { "network": overall(architecture) } }));
    } else {
        answer_table("network", architecture, &rows);
    }
}

/// Shows a network with a task.
fn task(network: &Network, experiment: &SupervisedExperiment, cost: &TrainingCost, args: &Check) {
    let (architecture, rows, task) = (network.architecture(), network.layer_rows(), experiment.task);
    if args.voice.json {
        answer_json(&json!({
            "network": rows_json(&rows), "data": experiment.data, "task": task,
            "regimes": { "network": overall(architecture) }, "device": network.device().name,
            "seconds_per_step": cost.seconds_per_step, "timed_batch": cost.timed_batch,
            "memory_bytes": cost.memory_bytes,
        }));
        return;
    }
    answer_table("network", architecture, &rows);
    answer!("data: {}", experiment.data.describe());
    answer!("  {} samples to train, {} to test, drawn with seed {}", task.train, task.test, experiment.seed);
    let goal = match task.goal {
        TaskGoal::Classification => "classification",
        TaskGoal::Regression => "regression",
    };
    let loss = match task.loss {
        LossFunction::Squared => "squared loss",
        LossFunction::CrossEntropy => "cross-entropy",
    };
    let classes = task.classes.as_ref().map_or(String::new(), |classes| format!(" of {classes:?}"));
    let batch = if task.batch() == task.train { "all samples".to_owned() } else { format!("{} samples", task.batch()) };
    answer!("task: {goal}{classes} by {} output(s), {loss}, {batch} a step", architecture.output().len());
    answer!();
    answer_cost(&network.device().name, cost);
}

/// Prints the layers of a network with their regimes.
fn answer_table(name: &str, architecture: &Architecture, rows: &[LayerRow]) {
    let rated = rows.iter().any(|row| row.rates.is_some());
    answer!(
        "{name}: {} parameters, {} -> {}",
        architecture.parameter_count(),
        architecture.input,
        architecture.output()
    );
    let heads = if rated { ["rate W", "rate b"] } else { [""; 2] };
    let head = format!(
        "  {:>3}  {:12} {:>12} {:>10} {:>8}  {:>6} {:5}  {:>9} {:>9}",
        "", "layer", "output", "parameters", "fan-in", "r", "", heads[0], heads[1]
    );
    answer!("{}", head.trim_end());
    for row in rows {
        let index = match &row.block {
            Some(block) if block.len() > 1 => format!("{}-{}", block.start, block.end - 1),
            Some(_) | None => row.index.to_string(),
        };
        let layer = if row.is_inside { format!("  {}", row.layer) } else { row.layer.to_owned() };
        let fan_in = row.fan_in.map_or(String::new(), |f| format!("{f:.0}"));
        let (r, word) = row.r.map_or((String::new(), ""), |r| (format!("{r:.3}"), Regime::of(r).word()));
        let star = if row.behind_batch_norm { "*" } else { " " };
        let rates = row.rates.map_or(String::new(), |[w, b]| format!("  {w:>9.2e} {b:>9.2e}"));
        let line = format!(
            "  {index:>3}  {layer:12} {:>12} {:>10} {fan_in:>8}  {r:>6}{star}{word:5}{rates}",
            row.output, row.parameters
        );
        answer!("{}", line.trim_end());
    }
    let word = mean_r(&regimes(architecture)).map_or(String::new(), |r| {
        format!("  at the start, by infinite-width theory: {} (mean r {r:.3})", Regime::of(r).word())
    });
    answer!("{word}");
    if rows.iter().any(|row| row.behind_batch_norm) {
        answer!("  * behind a batch norm, which recentres over the batch: r does not see that");
    }
    answer!();
}

fn answer_cost(device: &str, cost: &TrainingCost) {
    answer!("cost on {device}");
    answer!(
        "  {:.0} ms a step, {} steps in about {:.1} min, about {:.0} MB",
        cost.milliseconds_per_step(),
        cost.steps,
        cost.minutes(),
        cost.megabytes()
    );
    if cost.timed_batch < cost.batch {
        answer!("  (a step with {} of {} samples was timed; the time is in proportion)", cost.timed_batch, cost.batch);
    }
}

fn rows_json(rows: &[LayerRow]) -> Vec<Value> {
    let of = |row: &LayerRow| {
        let mut json = json!({
            "index": row.index, "layer": row.layer, "output": row.output, "parameters": row.parameters,
            "fan_in": row.fan_in, "r": row.r, "regime": row.r.map(|r| Regime::of(r).word()),
            "behind_batch_norm": row.behind_batch_norm,
            "rates": row.rates.map(|[weight, bias]| json!({ "weight": weight, "bias": bias })),
        });
        if let Some(block) = &row.block {
            json["indices"] = json!([block.start, block.end]);
        }
        json
    };
    rows.iter().map(of).collect()
}

/// The regime of a whole network, as JSON.
fn overall(architecture: &Architecture) -> Value {
    let r = mean_r(&regimes(architecture));
    json!({ "r": r, "regime": r.map(|r| Regime::of(r).word()) })
}
