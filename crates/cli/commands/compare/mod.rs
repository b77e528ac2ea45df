//! `fintan compare`

mod table;

use fintan::parts::images_of_each;
use fintan::{ComparisonPlan, Contender, Device, ReportPage, Unlike};
use fintan_artifact::RunDir;

use self::table::answer_table;
use super::eval::Measuring;
use super::settings_of_run::say_edits;
use super::train::{check, complete, load_images};
use super::warn_of_lock;
use crate::args::{Compare, OutputArgs};
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// Trains what is missing, measures all runs with the same metrics, and prints one table.
pub(super) fn compare(args: &Compare) -> Result<(), Failure> {
    let voice = &args.voice;
    let plan = plan(args)?;
    let opened = Device::open(args.on.device)?;
    let data = plan.load(|experiment| load_images(experiment, voice))?;
    for contender in plan.contenders() {
        images_of_each(args.n as usize, data.of(contender))?;
        if contender.config().is_some() {
            check(contender.experiment(), data.of(contender), &opened)?;
        }
    }
    // All checks have been made at this point.
    let mut progress = plan.begin()?;
    progress.lock_warnings().for_each(|warning| warn_of_lock(Some(warning), voice));
    warn(&plan, voice);
    let measuring =
        Measuring { n: args.n, bn: args.bn, metrics: &args.metrics, classifier_steps: args.classifier_steps };
    let total = plan.contenders().count();
    for (i, contender) in plan.in_order().enumerate() {
        announce(voice, contender, [i + 1, total]);
        let images = data.of(contender);
        progress.complete(contender, |config, found| {
            complete(contender.root(), found, config, contender.experiment(), images, &opened, voice)
        })?;
        let wanted = measuring.request(contender.evaluate(), &opened, voice);
        progress.add(contender, images, wanted.prepare()?.measure(images)?);
    }
    let comparison = progress.write()?;
    if !voice.quiet {
        comparison.refused.iter().for_each(|reason| tell!("no {reason}"));
        if comparison.data.len() > 1 {
            let sets = comparison.data.len();
            tell!("there are {sets} data sets, each with its own row: compare rows with the one above them");
        }
    }
    let (file, report) = (plan.out().join("compare.json"), plan.out().join("report.html"));
    ReportPage::of_comparison(comparison.clone(), plan.out()).write(&report)?;
    if voice.json {
        let said = serde_json::json!({ "event": "compared", "file": file.display().to_string(), "report": report.display().to_string(), "comparison": comparison });
        answer_json(&said);
    } else {
        answer_table(&comparison);
        answer!("{}", report.display());
    }
    Ok(())
}

/// The plan of the comparison.
fn plan(args: &Compare) -> Result<ComparisonPlan, Failure> {
    for path in args.paths.iter().filter(|path| path.is_dir()) {
        // What is wrong with a run is said when it is read.
        if let Ok(run) = RunDir::open(path) {
            say_edits(&run).ok();
        }
    }
    let mut wanted =
        fintan::compare(&args.paths).seeds(args.seeds.iter().flat_map(|range| range.seeds())).device(args.on.device);
    if let Some(out) = &args.out {
        wanted = wanted.out(out);
    }
    Ok(args.set.iter().fold(wanted, |wanted, set| wanted.set(set)).plan()?)
}

fn announce(voice: &OutputArgs, contender: &Contender, [i, total]: [usize; 2]) {
    let (name, seed) = (contender.name(), contender.seed());
    if voice.json {
        let run = contender.root().display().to_string();
        answer_json(&serde_json::json!({ "event": "run", "name": name, "seed": seed, "run": run }));
    } else if !voice.quiet {
        tell!("[{i}/{total}]     {name}, seed {seed}");
    }
}

/// Prints in which settings the rows differ although they should agree.
fn warn(plan: &ComparisonPlan, voice: &OutputArgs) {
    if voice.quiet {
        return;
    }
    for unlike in plan.unlike() {
        match unlike {
            Unlike::Seeds { names: [one, other], seeds: [a, b] } => {
                tell!("seeds     {one} has {a:?}, {other} has {b:?}: their latents and data order differ");
            }
            Unlike::Steps { run, step, planned } => {
                tell!("steps     {} has {step} of its {planned} steps", run.display());
            }
            _ => {}
        }
    }
}
