//! `fintan check`

mod network;

use std::ops::Range;
use std::time::Instant;

use burn::tensor::Tensor;
use fintan_config::{Architecture, Experiment, Held, Node, Subject};
use fintan_data::Images;
use fintan_metrics::Measures;
use fintan_net::{Mode, Network};
use fintan_theory::{PieceRegime, Regime, mean_r, regimes};
use fintan_train::{Gan, Purpose, rates, sample, stream};
use serde_json::json;

use crate::args::Check;
use crate::device;
use crate::failure::Failure;
use crate::given::configuration;
use crate::voice::{answer, answer_json};

/// Says what a configuration will do.
pub(super) fn check(args: &Check) -> Result<(), Failure> {
    let (path, bound) = (configuration(&args.config.path)?, args.on.device.bound(Held::Training));
    match Subject::load_within(&path, &args.config.overrides(), bound)? {
        Subject::Gan(experiment) => gan(&experiment, args),
        Subject::Network(network) => network::check(&network, args),
    }
}

fn gan(experiment: &Experiment, args: &Check) -> Result<(), Failure> {
    let opened = device::open(args.on.device)?;
    let settings = &experiment.settings;
    let (g, d) = (&settings.generator, &settings.discriminator);
    let tables = [
        table(&experiment.generator, Some(&rates(&experiment.generator, &g.optimizer, &g.layer_rates))),
        table(&experiment.discriminator, Some(&rates(&experiment.discriminator, &d.optimizer, &d.layer_rates))),
    ];
    let (seconds, bytes) = cost(experiment, &opened.placement);
    let untrained = untrained(experiment, args, &opened.placement);
    let steps = settings.train.steps;

    if args.voice.json {
        let answer = json!({
            "generator": tables[0].iter().map(Row::json).collect::<Vec<_>>(),
            "discriminator": tables[1].iter().map(Row::json).collect::<Vec<_>>(),
            "regimes": {
                "generator": overall(&experiment.generator), "discriminator": overall(&experiment.discriminator),
            },
            "device": opened.name, "seconds_per_step": seconds, "memory_bytes": bytes, "untrained": untrained,
        });
        answer_json(&answer);
        return Ok(());
    }
    answer_table("generator", &experiment.generator, &tables[0]);
    answer_table("discriminator", &experiment.discriminator, &tables[1]);
    answer_cost(&opened.name, seconds, bytes, steps);
    answer!();
    answer!(
        "untrained generator, {} samples, mean over {} seeds (a property of the start, not a promise)",
        args.samples,
        args.seeds
    );
    answer!("  correlation between samples      {:.2}   1: one image for all latents", untrained.correlation);
    answer!("  energy at period 2 (Nyquist)     {:.2}   checkerboard", untrained.nyquist);
    answer!("  variance explained by phase mod 2 / mod 8   {:.2} / {:.2}", untrained.phase2, untrained.phase8);
    answer!("  variance of the border / interior {:.2}   1: no border artefact", untrained.border);
    Ok(())
}

/// The layers of a network with their regimes.
fn answer_table(name: &str, architecture: &Architecture, rows: &[Row]) {
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

fn answer_cost(device: &str, seconds: f64, bytes: usize, steps: u64) {
    answer!("cost on {device}");
    let minutes = seconds * steps as f64 / 60.0;
    answer!(
        "  {:.0} ms a step, {steps} steps in about {minutes:.1} min, about {:.0} MB",
        1e3 * seconds,
        bytes as f64 / 1e6
    );
}

/// A layer with parameters, or a residual block.
struct Row {
    index: usize,
    /// Of a residual block, the indices inside; its layers follow.
    block: Option<Range<usize>>,
    /// Whether it stands inside one.
    is_inside: bool,
    layer: &'static str,
    output: String,
    parameters: usize,
    fan_in: Option<f64>,
    r: Option<f64>,
    behind_batch_norm: bool,
    /// Learning rates of weights and biases, where it is to be trained.
    rates: Option<[f64; 2]>,
}

impl Row {
    fn json(&self) -> serde_json::Value {
        let mut row = json!({
            "index": self.index, "layer": self.layer, "output": self.output, "parameters": self.parameters,
            "fan_in": self.fan_in, "r": self.r, "regime": self.r.map(|r| Regime::of(r).word()),
            "behind_batch_norm": self.behind_batch_norm,
            "rates": self.rates.map(|[weight, bias]| json!({ "weight": weight, "bias": bias })),
        });
        if let Some(block) = &self.block {
            row["indices"] = json!([block.start, block.end]);
        }
        row
    }
}

fn table(architecture: &Architecture, rates: Option<&[f64]>) -> Vec<Row> {
    let regimes = regimes(architecture);
    let mut rows = Vec::new();
    for node in &architecture.nodes {
        fill(node, false, &regimes, rates, &mut rows);
    }
    rows
}

/// The rows of a layer: of a residual block its own first.
fn fill(node: &Node, is_inside: bool, regimes: &[PieceRegime], rates: Option<&[f64]>, rows: &mut Vec<Row>) {
    let inner: Vec<&Node> = node.branch.iter().chain(&node.shortcut).collect();
    let mut own = Row {
        index: 0,
        block: None,
        is_inside,
        layer: node.layer.name(),
        output: node.output.to_string(),
        parameters: node.weight_count() + node.bias_count(),
        fan_in: node.fan_in(),
        r: None,
        behind_batch_norm: false,
        rates: None,
    };
    if let Some(index) = node.index {
        let piece = regimes.iter().find(|piece| !piece.is_block && piece.indices.start == index);
        own.index = index;
        own.r = piece.and_then(|piece| piece.r);
        own.behind_batch_norm = piece.is_some_and(|piece| piece.behind_batch_norm);
        own.rates = rates.map(|rates| [rates[2 * index], rates[2 * index + 1]]);
        rows.push(own);
    } else if !inner.is_empty() {
        let mut inside = Vec::new();
        for node in inner {
            fill(node, true, regimes, rates, &mut inside);
        }
        // Norms with parameters may come first: a block is known by any of its layers.
        if let Some(first) = inside.iter().map(|row| row.index).min() {
            let piece = regimes.iter().find(|piece| piece.is_block && piece.indices.contains(&first));
            let last = inside.iter().map(|row| row.index).max().unwrap_or(first);
            own.index = first;
            own.block = Some(first..last + 1);
            own.parameters = inside.iter().filter(|row| row.block.is_none()).map(|row| row.parameters).sum();
            own.r = piece.and_then(|piece| piece.r);
            own.behind_batch_norm = piece.is_some_and(|piece| piece.behind_batch_norm);
            rows.push(own);
            rows.append(&mut inside);
        }
    }
}

/// The regime of a whole network, as JSON.
fn overall(architecture: &Architecture) -> serde_json::Value {
    let r = mean_r(&regimes(architecture));
    json!({ "r": r, "regime": r.map(|r| Regime::of(r).word()) })
}

/// Seconds a step, timed on drawn images, and bytes, counted.
fn cost(experiment: &Experiment, placement: &fintan_net::Placement) -> (f64, usize) {
    let settings = &experiment.settings;
    let shapes = fintan_config::Shapes { count: 2 * settings.train.batch, seed: 0 };
    let images = Images::load(&fintan_config::DataSource::Shapes(shapes), &settings.image, None)
        .expect("shapes are always drawn");
    let mut gan = Gan::new(experiment, images.len(), placement);
    // The first step pays for compiled kernels and the optimiser's state; the second is like all others.
    let mut seconds = 0.0;
    for _ in 0..2 {
        let start = Instant::now();
        let outcome = gan.advance(&images);
        let read: Vec<f32> = [outcome.d_loss, outcome.g_loss].map(|loss| loss.into_scalar::<f32>()).to_vec();
        let last = gan.generator.parameters().pop().map(Tensor::into_data);
        assert!(read.len() == 2 && last.is_some());
        seconds = start.elapsed().as_secs_f64();
    }
    let batch = settings.train.batch;
    (seconds, bytes(&experiment.generator, batch) + bytes(&experiment.discriminator, 2 * batch))
}

/// Bytes that a training step of a network holds, counted.
fn bytes(architecture: &Architecture, batch: usize) -> usize {
    let nodes = architecture.flat();
    let maps: usize = nodes.iter().map(|node| node.output.len()).sum();
    let patches = nodes.iter().map(|node| match node.fan_in() {
        Some(_) if !node.output.is_vector() => node.weight_count() / node.output.channels.max(1) * node.weight_sites(),
        _ => 0,
    });
    // Weights, gradient and two moments; every map of the tape; the largest patch matrix of one layer.
    4 * (4 * architecture.parameter_count() + batch * (maps + patches.max().unwrap_or(0)))
}

/// Mean measures of generators nobody trained, before the nonlinearity of the image.
fn untrained(experiment: &Experiment, args: &Check, placement: &fintan_net::Placement) -> Measures {
    // Squashing hides what the layers did.
    let before = experiment.generator.before_output();
    let all: Vec<Measures> = (0..args.seeds)
        .map(|k| {
            let seed = experiment.settings.seed + k;
            let network = Network::init(&before, &mut stream(seed, Purpose::Generator, 0), placement);
            sample(&network, seed, args.samples as usize, Mode::Train, &placement.device).measure()
        })
        .collect();
    let mean = |get: fn(&Measures) -> f64| all.iter().map(get).sum::<f64>() / all.len() as f64;
    Measures {
        samples: args.samples as usize,
        correlation: mean(|m| m.correlation),
        std: mean(|m| m.std),
        nyquist: mean(|m| m.nyquist),
        phase2: mean(|m| m.phase2),
        phase8: mean(|m| m.phase8),
        border: mean(|m| m.border),
    }
}
