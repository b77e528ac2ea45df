//! `fintan eval`

use fintan::{Device, EvaluationBuilder, EvaluationEvent, evaluate};
use fintan_artifact::{Evaluation, Metric, RunDir};

use super::settings_of_run::say_edits;
use super::train::load_images;
use crate::args::{BatchNormMode, Eval, MetricChoice, OutputArgs};
use crate::failure::Failure;
use crate::progress::Works;
use crate::voice::{answer, answer_json, tell};
use crate::words::short;

/// Measures a checkpoint.
pub(super) fn eval(args: &Eval) -> Result<(), Failure> {
    let run = RunDir::open(&args.run)?;
    let opened = Device::open(args.on.device)?;
    say_edits(&run)?;
    let mut wanted = Measuring::of(args).request(evaluate(&args.run), &opened, &args.voice);
    if let Some(seed) = args.seed {
        wanted = wanted.seed(seed);
    }
    if let Some(step) = args.step {
        wanted = wanted.step(step);
    }
    if let Some(features) = &args.features {
        wanted = wanted.features(features);
    }
    let prepared = args.set.iter().fold(wanted, |wanted, set| wanted.set(set)).prepare()?;
    let images = load_images(prepared.experiment(), &args.voice)?;
    say(&prepared.measure(&images)?, &run, &args.voice);
    Ok(())
}

/// The options that `eval` and `compare` share.
pub(super) struct Measuring<'a> {
    pub(super) n: u64,
    pub(super) bn: BatchNormMode,
    pub(super) metrics: &'a [MetricChoice],
    pub(super) classifier_steps: u64,
}

impl<'a> Measuring<'a> {
    fn of(args: &'a Eval) -> Self {
        Self { n: args.n, bn: args.bn, metrics: &args.metrics, classifier_steps: args.classifier_steps }
    }

    /// Applies the options to an evaluation, and shows its progress.
    pub(super) fn request<'v>(
        &self,
        evaluation: EvaluationBuilder<'v>,
        opened: &Device,
        voice: &'v OutputArgs,
    ) -> EvaluationBuilder<'v> {
        let metrics: Vec<Metric> = self.metrics.iter().flat_map(|choice| choice.metrics()).copied().collect();
        let mut works = Works::new(voice);
        evaluation
            .device(opened.clone())
            .metrics(metrics)
            .count(self.n as usize)
            .batch_norm(self.bn.statistics())
            .classifier_steps(self.classifier_steps)
            .on_event(move |event| match event {
                EvaluationEvent::Work { what, done, total } => works.show(what, done, total),
                _ if voice.quiet => {}
                EvaluationEvent::FewerImages { count, wanted } => {
                    tell!("samples   {count} of each set rather than {wanted}: half of the data");
                }
                EvaluationEvent::NotKept { reason } => tell!("not kept for the next evaluation: {reason}"),
                _ => {}
            })
    }
}

fn say(evaluation: &Evaluation, run: &RunDir, voice: &OutputArgs) {
    if voice.json {
        answer_json(
            &serde_json::json!({ "run": run.root().display().to_string(), "file": run.metrics().display().to_string(), "evaluation": evaluation }),
        );
        return;
    }
    if !voice.quiet {
        let Evaluation { step, seed, batch_norm, count, .. } = evaluation;
        tell!("step {step}, {count} samples of seed {seed}, batch norm statistics: {batch_norm}");
    }
    answer!("{:18} {:>10} {:>10} {:>7}   {:14} source", "metric", "data", "samples", "ratio", "of");
    for record in &evaluation.metrics {
        let ratio = record.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let of = format!("{} {}", record.count, record.of);
        let [data, samples] = [record.data, record.samples].map(short);
        answer!("{:18} {data:>10} {samples:>10} {ratio:>7}   {of:14} {}", record.metric, record.source);
    }
    if !evaluation.classes.is_empty() {
        let each: Vec<String> = evaluation.classes.iter().map(|c| format!("{} {}", c.class, c.samples)).collect();
        answer!("samples by class: {}", each.join(", "));
    }
    // Metrics that are missing for the same reason are named together.
    let mut reasons: Vec<&str> = evaluation.refused.iter().map(|refused| refused.reason.as_str()).collect();
    reasons.dedup();
    for reason in reasons {
        let of_it = evaluation.refused.iter().filter(|refused| refused.reason == reason);
        let names: Vec<&str> = of_it.map(|refused| refused.metric.as_str()).collect();
        tell!("no {}: {reason}", names.join(", "));
    }
    answer!("{}", run.metrics().display());
}
