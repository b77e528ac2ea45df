//! `fintan moments`

use std::ops::Range;

use fintan::{Device, MeasuredMoments, MomentsEvent};
use fintan_config::Held;
use fintan_moments::EarlyStop;
use serde_json::json;

use crate::args::{MergeMoments, Moments, MomentsCommand, MomentsSubcommand, OutputArgs};
use crate::failure::Failure;
use crate::given::no_run;
use crate::progress::Work;
use crate::voice::{answer, answer_json, tell};

pub(super) fn command(args: &MomentsCommand) -> Result<(), Failure> {
    match &args.command {
        Some(MomentsSubcommand::Merge(args)) => merge(args),
        None => measure(&args.measure),
    }
}

/// Measures realisations and writes them to a run directory.
fn measure(args: &Moments) -> Result<(), Failure> {
    let path = args.path.as_ref().expect("clap asks for it");
    no_run(path, |run, resolved| {
        format!(
            "`fintan moments {resolved} --resume --out {run}` goes on with one of moments, and `fintan report {run}` shows it"
        )
    })?;
    let mut overrides = args.set.clone();
    overrides.extend(args.seed.map(|seed| format!("seed={seed}")));
    let moments = fintan::Moments::within(path, &overrides, args.on.device.bound(Held::Layer))?;
    let range = range(args.range.as_deref(), moments.count())?;
    let mut told = Told::new(&args.voice);
    let moments = moments.device(Device::open(args.on.device)?).range(range).on_event(|event| told.event(event));
    let measured = match (&args.out, args.resume) {
        (Some(out), true) => moments.resume(out)?,
        (out, _) => moments.run(out.as_deref())?,
    };
    say(&measured, &args.voice);
    Ok(())
}

/// Merges parts of a measurement.
fn merge(args: &MergeMoments) -> Result<(), Failure> {
    let mut told = Told::new(&args.voice);
    let device = Device::open(args.on.device)?;
    say(&fintan::merge_moments(&args.runs, &args.out, device, |event| told.event(event))?, &args.voice);
    Ok(())
}

/// The range `A..B`, or all realisations.
fn range(text: Option<&str>, all: u64) -> Result<Range<u64>, Failure> {
    let Some(text) = text else { return Ok(0..all) };
    let ends = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match ends {
        Some((a, b)) if a < b && b <= all => Ok(a..b),
        _ => Err(Failure::input(format!(
            "--range must be A..B with A < B <= {all} (`moments.realisations`), got `{text}`"
        ))),
    }
}

/// Shows the progress of a measurement.
struct Told<'a> {
    voice: &'a OutputArgs,
    work: Option<Work>,
}

impl<'a> Told<'a> {
    fn new(voice: &'a OutputArgs) -> Self {
        Self { voice, work: None }
    }

    fn event(&mut self, event: &MomentsEvent) {
        match *event {
            MomentsEvent::Realisations { done, all } => self.progress("realisations", done, all),
            MomentsEvent::Kernels { done, all } => self.progress("kernels", done, all),
            MomentsEvent::NoDataForKernels => tell!("the data set is not at hand: no tangent kernels"),
            _ if self.voice.quiet => {}
            MomentsEvent::DeadLayers(expected) => {
                tell!("expect about {expected:.2} dead layers a realisation: depth times 2^-width");
            }
            MomentsEvent::Unlocked(ref warning) => tell!("warning   {warning}"),
            MomentsEvent::NoCurves(ref reason) => tell!("no curves of infinite width: {reason}"),
            MomentsEvent::NoLivingNetwork => tell!("no realisation lived: no kernels"),
            _ => {}
        }
    }

    fn progress(&mut self, name: &str, done: usize, all: usize) {
        if done == 0 {
            self.work = Some(Work::new(self.voice, name, all));
        } else if let Some(work) = &self.work {
            work.tick(1);
        }
        if done == all {
            self.work = None;
        }
    }
}

/// Prints the results.
fn say(measured: &MeasuredMoments, voice: &OutputArgs) {
    let root = measured.root().expect("written");
    let (all, dead) = (measured.realisations().len(), measured.deaths().count());
    if voice.json {
        answer_json(&json!({
            "run": root.display().to_string(), "realisations": all, "dead": dead, "fits": measured.fits(),
            "theory": measured.theory().constants_json(),
        }));
        return;
    }
    if !voice.quiet {
        if let Some(EarlyStop { depth, reason }) = measured.deaths().min_by_key(|dead| dead.depth) {
            tell!("{dead} of {all} realisations died, the earliest at layer {depth}: {reason}");
        }
        for line in measured.headline() {
            tell!("{line}");
        }
    }
    answer!("{}", root.join("report.md").display());
}
