//! `fintan eval`

mod features;
mod measured;

use fintan_artifact::{Evaluation, Metric, MetricBasis, RunDir};
use fintan_config::{Experiment, Held, Subject};
use fintan_data::Images;
use fintan_train::{Halves, draw_latents, generate, real_samples};

use self::features::{Brought, Cache, Extractor, Trained};
use self::measured::{Measured, Sets};
use super::sample::Source;
use super::settings_of_run::subject_of_run;
use super::train::load_images;
use crate::args::{Eval, Voice};
use crate::device::{self, Opened};
use crate::failure::Failure;
use crate::progress::Work;
use crate::voice::{answer, answer_json, tell};

/// Measures a checkpoint.
pub(super) fn eval(args: &Eval) -> Result<(), Failure> {
    let run = RunDir::open(&args.run)?;
    if let Some(other) = args.set.iter().find(|set| !set.trim_start().starts_with("data.")) {
        return Err(Failure::input(format!("--set of `eval` changes `data.` only, got `{other}`")));
    }
    let Subject::Gan(experiment) = subject_of_run(&run, &args.set, args.on.device.bound(Held::Parameters))? else {
        let name = args.run.display();
        return Err(Failure::input(format!("`{name}` is a run of a network with a task; only GANs draw samples")));
    };
    let opened = device::open(args.on.device)?;
    let evaluation = evaluate(args, &run, &experiment, &opened, || load_images(&experiment, &args.voice))?;
    say(&evaluation, &run, &args.voice);
    Ok(())
}

/// Measures a checkpoint of a run, and keeps what was measured in its `metrics.json`.
pub(super) fn evaluate<I: std::borrow::Borrow<Images>>(
    args: &Eval,
    run: &RunDir,
    experiment: &Experiment,
    opened: &Opened,
    images: impl FnOnce() -> Result<I, Failure>,
) -> Result<Evaluation, Failure> {
    // Whatever can be wrong is found before anything takes long.
    run.evaluations()?;
    let source = Source::open(&args.run, args.step, opened)?;
    let output = source.generator.architecture().output();
    let brought = match &args.features {
        Some(path) => Some(Brought::read(path, output, opened)?),
        None => None,
    };
    let images = images()?;
    let images = images.borrow();
    let step = source.step.unwrap_or_default();
    let seed = args.seed.unwrap_or(source.seed);
    let (halves, sets) = sets(args, &source, images, seed, opened)?;
    let is_wanted = |metric: &Metric| args.metrics.iter().any(|choice| choice.metrics().contains(metric));
    let wanted: Vec<Metric> = Metric::ALL.iter().copied().filter(is_wanted).collect();
    let mut measured = Measured { voice: &args.voice, wanted, records: vec![], classes: vec![], refused: vec![] };
    measured.pixels(&sets);
    let record = seen(args, experiment, images, &halves, &sets, brought, opened, &mut measured);

    let Measured { records, classes, refused, .. } = measured;
    if let ([], Some(first)) = (records.as_slice(), refused.first()) {
        return Err(Failure::input(format!("nothing could be measured: {}: {}", first.metric, first.reason)));
    }
    let evaluation = Evaluation {
        step,
        seed,
        data: images.source.clone(),
        batch_norm: source.batch_norm(args.bn).into(),
        device: opened.name.clone(),
        count: sets.samples.len(),
        classifier: record,
        metrics: records,
        classes,
        refused,
    };
    run.add_evaluation(evaluation.clone())?;
    Ok(evaluation)
}

/// Images of each set that is compared, of `wanted` at most: half of the data.
pub(super) fn count_of_each(wanted: u64, images: &Images) -> Result<usize, Failure> {
    let n = (wanted as usize).min(Halves::of(images.len()).reference.len());
    if n < 4 {
        let found = images.len();
        return Err(Failure::input(format!("{} has {found} images; halves of at least 4 are needed", images.source)));
    }
    Ok(n)
}

/// The sets that are compared.
fn sets(args: &Eval, source: &Source, images: &Images, seed: u64, opened: &Opened) -> Result<(Halves, Sets), Failure> {
    let halves = Halves::of(images.len());
    let n = count_of_each(args.n, images)?;
    if n < args.n as usize && !args.voice.quiet {
        tell!("samples   {n} of each set rather than {}: half of the data", args.n);
    }
    let latents = draw_latents(seed, n, source.generator.architecture().input.len(), None);
    let samples = {
        let work = Work::new(&args.voice, "samples", n);
        generate(&source.generator, &latents, args.bn.mode(), &opened.placement.device, &|more| work.tick(more))
    };
    if samples.values.iter().any(|v| !v.is_finite()) {
        return Err(Failure::Failed(miette::miette!("the generator gives values that are not finite")));
    }
    let [reference, held_out] = [&halves.reference, &halves.held_out].map(|half| real_samples(images, &half[..n]));
    Ok((halves, Sets { reference, held_out, samples }))
}

/// What networks see in the sets; the record of the classifier, where one was needed.
fn seen(
    args: &Eval,
    experiment: &Experiment,
    images: &Images,
    halves: &Halves,
    sets: &Sets,
    brought: Option<Brought>,
    opened: &Opened,
    measured: &mut Measured,
) -> Option<fintan_artifact::ClassifierRecord> {
    let wants_distances = measured.wants_any(MetricBasis::Features);
    let wants_classes = measured.wants_any(MetricBasis::Classes);
    let cache = Cache::beside(&args.run, &args.voice);
    let halves_of = [&sets.reference, &sets.held_out];
    let mut from_classifier = wants_distances;
    if let (Some(brought), true) = (brought, wants_distances) {
        let extractor = Extractor::Brought(brought);
        let data = extractor.see_data(halves_of, images, opened, &cache);
        let samples = extractor.see(&sets.samples, opened, &args.voice);
        measured.features(&extractor, &data, &samples);
        from_classifier = false;
    }
    if !from_classifier && !wants_classes {
        return None;
    }
    let trained = match Trained::of(images, halves, args.classifier_steps, opened, &cache) {
        Ok(trained) => trained,
        Err(e) => {
            let hint = if images.labels.is_none() { experiment.settings.data.how_to_label() } else { "" };
            let stop = if hint.is_empty() { "" } else { "; " };
            let reason = format!("{e}, so no classifier can be trained on it{stop}{hint}");
            for metric in measured.wanted.clone() {
                let needs_it = match metric.basis() {
                    MetricBasis::Pixels => false,
                    MetricBasis::Features => from_classifier,
                    MetricBasis::Classes => true,
                };
                if needs_it {
                    measured.refuse(metric, &reason);
                }
            }
            return None;
        }
    };
    let (record, labels, shares) =
        (trained.record.clone(), trained.classifier.labels.clone(), trained.classifier.shares.clone());
    let extractor = Extractor::Trained(trained);
    let data = extractor.see_data(halves_of, images, opened, &cache);
    let samples = extractor.see(&sets.samples, opened, &args.voice);
    if from_classifier {
        measured.features(&extractor, &data, &samples);
    }
    if wants_classes {
        let names: Vec<String> = labels.iter().map(|&label| images.class_name(label)).collect();
        let source = extractor.name(record.features);
        measured.modes(&source, &shares, &names, [&data[1].1, &samples.1]);
    }
    Some(record)
}

fn say(evaluation: &Evaluation, run: &RunDir, voice: &Voice) {
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
    // Metrics that one reason keeps away are named together.
    let mut reasons: Vec<&str> = evaluation.refused.iter().map(|refused| refused.reason.as_str()).collect();
    reasons.dedup();
    for reason in reasons {
        let of_it = evaluation.refused.iter().filter(|refused| refused.reason == reason);
        let names: Vec<&str> = of_it.map(|refused| refused.metric.as_str()).collect();
        tell!("no {}: {reason}", names.join(", "));
    }
    answer!("{}", run.metrics().display());
}

/// Four digits; of counts, all.
pub(super) fn short(x: f64) -> String {
    if x.fract() == 0.0 {
        return format!("{x:.0}");
    }
    if (1e-3..1e5).contains(&x.abs()) {
        format!("{x:.*}", (3.0 - x.abs().log10().floor()).clamp(0.0, 6.0) as usize)
    } else {
        format!("{x:.3e}")
    }
}
