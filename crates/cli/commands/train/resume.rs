//! How a run goes on: `fintan resume`, and runs of a comparison.
//!
//! One write of `env.json` decides on it ([`Environment`]); what follows (removals, `config.resolved.toml`, training, what
//! training leaves at its end) can be killed anywhere, and the next resume finishes it.

use fintan_artifact::{Change, Environment, Rewind, RunDir, RunError, differing_keys, settings_of};
use fintan_config::{Experiment, Held, MemoryBound, Subject};
use fintan_data::Images;
use fintan_train::{DataFingerprint, Gan, Supervised, read_data};

use super::{gan, supervised};
use crate::args::{Resume, Voice};
use crate::commands::settings_of_run::say_edits;
use crate::commands::warn_of_lock;
use crate::device::{self, Opened};
use crate::failure::Failure;
use crate::given::make_absolute;
use crate::voice::tell;

/// Goes on with a run.
pub(in crate::commands) fn resume(args: &Resume) -> Result<(), Failure> {
    let run = RunDir::open_locked(&args.run)?;
    warn_of_lock(run.lock_warning(), &args.voice);
    let mut record = Record::read(&run, args.on.device.bound(Held::Training))?;
    let trained = record.subject(&[])?;
    let from = record.start(&trained, args.from)?;
    let subject = record.changed(&trained, from, args)?;
    say_edits(&run, &record.was, true);
    let last = steps_of(&subject);
    let opened = device::open(args.on.device)?;
    let voice = &args.voice;
    match &subject {
        Subject::Gan(experiment) => {
            let images = gan::load_images(experiment, voice)?;
            let print = DataFingerprint::of_images(&images);
            record.check_data(from, (&print, "images"), args.data_changed, voice)?;
            let gan = gan_at(&run, from, experiment, (&images, print), &opened)?;
            gan::check_kept(&run, experiment, &opened)?;
            record.settle(from, &subject)?;
            if from == Some(last) && gan::is_finished(&run, last)? {
                say_done(last, voice);
                return Ok(());
            }
            gan::play(gan, experiment, &images, &run, &opened, voice)
        }
        Subject::Network(network) => {
            let experiment = supervised::task_of(network, &args.run.display().to_string())?;
            let data = supervised::load(&experiment, voice)?;
            let print = DataFingerprint::of_task(&data);
            record.check_data(from, (&print, "samples"), args.data_changed, voice)?;
            let trainee = match from {
                Some(step) => {
                    let mut trainee =
                        Supervised::from_checkpoint(&run.checkpoint(step), &experiment, &opened.placement)?;
                    agrees(&run, step, trainee.step)?;
                    trainee.data = Some(print);
                    trainee
                }
                None => Supervised::new(&experiment, &opened.placement),
            };
            supervised::check_kept(&run, network.settings.observe.ntk, &data, &opened)?;
            record.settle(from, &subject)?;
            if from == Some(last) && supervised::is_finished(&run, last)? {
                say_done(last, voice);
                return Ok(());
            }
            supervised::play(trainee, &experiment, network.settings.observe.ntk, &data, &run, &opened, voice)
        }
    }
}

/// Brings a GAN of a comparison to its last step, from wherever it stopped. A run that is done is left as it is. What is
/// there must be of this very configuration.
pub(super) fn finish(
    run: &RunDir,
    experiment: &Experiment,
    images: &Images,
    opened: &Opened,
    voice: &Voice,
) -> Result<(), Failure> {
    let mut record = Record::read(run, opened.bound(Held::Training))?;
    let steps = experiment.settings.train.steps;
    let from = run.checkpoints()?.last().copied();
    say_edits(run, &record.was, true);
    let print = DataFingerprint::of_images(images);
    record.check_data(from, (&print, "images"), false, voice)?;
    if from.is_some_and(|step| step >= steps) && gan::is_finished(run, steps)? && record.is_settled() {
        return Ok(());
    }
    let gan = gan_at(run, from, experiment, (images, print), opened)?;
    gan::check_kept(run, experiment, opened)?;
    record.settle(from, &Subject::Gan(Box::new(experiment.clone())))?;
    gan::fit(gan, experiment, images, run, opened, voice).map(drop)
}

fn say_done(step: u64, voice: &Voice) {
    if !voice.quiet {
        tell!("all {step} steps are done already; --steps +N adds more");
    }
}

/// The GAN of a checkpoint, or as it is before the first step.
fn gan_at(
    run: &RunDir,
    from: Option<u64>,
    experiment: &Experiment,
    (images, print): (&Images, DataFingerprint),
    opened: &Opened,
) -> Result<Gan, Failure> {
    let Some(step) = from else { return Ok(Gan::new(experiment, images.len(), &opened.placement)) };
    let mut gan = Gan::from_checkpoint(&run.checkpoint(step), experiment, images.len(), &opened.placement)?;
    agrees(run, step, gan.step)?;
    // What was checked, or accepted.
    gan.data = Some(print);
    Ok(gan)
}

/// Refuses a checkpoint that lies in the folder of another.
fn agrees(run: &RunDir, step: u64, found: u64) -> Result<(), Failure> {
    if found == step {
        return Ok(());
    }
    let state = run.checkpoint(step).join("state.json");
    Err(Failure::input(format!("`{}` is of step {found}, and its folder of step {step}", state.display())))
}

/// The step at which training ends, and its key.
fn steps_of(subject: &Subject) -> u64 {
    match subject {
        Subject::Gan(experiment) => experiment.settings.train.steps,
        Subject::Network(network) => network.supervised().map_or(0, |experiment| experiment.task.steps),
    }
}

/// What a run says of itself.
struct Record<'a> {
    run: &'a RunDir,
    /// `env.json` as it was read.
    was: Environment,
    /// `env.json` as it is to be written.
    is: Environment,
    /// The settings that the run was trained with last.
    settings: String,
    memory: MemoryBound,
}

impl<'a> Record<'a> {
    fn read(run: &'a RunDir, memory: MemoryBound) -> Result<Self, Failure> {
        let was = run.environment()?;
        let mut is = was.clone();
        let settings = run.configuration()?;
        if is.config.is_none() {
            is.config = fs_err::read_to_string(run.root().join("config.toml")).ok();
        }
        is.settings = Some(settings.clone());
        Ok(Self { run, was, is, settings, memory })
    }

    /// What the run is of, with overrides.
    fn subject(&self, overrides: &[String]) -> Result<Subject, Failure> {
        let name = self.run.resolved_config().display().to_string();
        Ok(Subject::parse_within(&name, &self.settings, overrides, self.memory)?)
    }

    /// Whether nothing is left to do of an earlier resume.
    fn is_settled(&self) -> bool {
        self.was.rewind.is_none()
    }

    /// The checkpoint to go on from; none: the run begins anew.
    fn start(&self, trained: &Subject, wanted: Option<u64>) -> Result<Option<u64>, Failure> {
        let run = self.run;
        if wanted.is_some() {
            return Ok(Some(run.find_checkpoint(wanted)?));
        }
        if let Some(&newest) = run.checkpoints()?.last() {
            return Ok(Some(newest));
        }
        if self.was.rewind == Some(Rewind { to: None }) {
            return Ok(None);
        }
        // Killed or failed before its first checkpoint; a run whose checkpoints were taken away holds more than that.
        let first = match trained {
            Subject::Gan(experiment) => experiment.settings.train.checkpoint_every.min(experiment.settings.train.steps),
            Subject::Network(_) => 0,
        };
        let logged = run.logged_to()?.unwrap_or(0);
        if run.had_checkpoints()? || logged > first {
            return Err(Failure::Input(miette::miette!(
                help = "put the folder `checkpoints` back, or begin another run with `fintan train`",
                "{}; there were some: training went on to step {logged}",
                RunError::NoCheckpoint(run.root().into())
            )));
        }
        Ok(None)
    }

    /// The subject with what `--set` and `--steps` change, which is noted.
    fn changed(&mut self, trained: &Subject, from: Option<u64>, args: &Resume) -> Result<Subject, Failure> {
        let step = from.unwrap_or(0);
        let mut overrides = args.set.clone();
        if let Some(text) = &args.steps {
            let steps = wanted_steps(text, step, steps_of(trained))?;
            overrides.push(match trained {
                Subject::Gan(_) => format!("train.steps={steps}"),
                Subject::Network(_) => format!("task.supervised.steps={steps}"),
            });
        }
        let mut subject = if overrides.is_empty() { trained.clone() } else { self.subject(&overrides)? };
        make_absolute(&mut subject)?;
        let [old, new] = [trained, &subject].map(|subject| settings_of(&subject.to_toml()).map_err(Failure::input));
        let (old, new) = (old?, new?);
        for key in differing_keys(&[&old, &new]) {
            let (was, is) = (old.get(&key), new.get(&key));
            if !subject.may_change(&key, was.is_some()) {
                let was = was.map_or_else(|| "without it".into(), |was| format!("with {was}"));
                let allowed: Vec<&str> = subject.changeable().collect();
                let help = format!("another value needs another run; what may change in one is {}", allowed.join(", "));
                return Err(Failure::Input(miette::miette!(
                    help = help,
                    "`{key}` cannot change in a run that has begun: it was trained {was}"
                )));
            }
            self.is.changes.push(Change::of_setting(step, key, was, is));
        }
        let last = steps_of(&subject);
        if last < step {
            return Err(Failure::Input(miette::miette!(
                help = "--steps N moves the end, --from STEP goes back",
                "the run is to end at step {last}, before the checkpoint of step {step}"
            )));
        }
        Ok(subject)
    }

    /// Refuses other data than those of the checkpoint, unless they were accepted. `of` says what is counted.
    fn check_data(
        &mut self,
        from: Option<u64>,
        (now, of): (&DataFingerprint, &str),
        accept: bool,
        voice: &Voice,
    ) -> Result<(), Failure> {
        let Some(step) = from else { return Ok(()) };
        let Some(known) = read_data(&self.run.checkpoint(step))? else {
            if !voice.quiet {
                tell!("          the checkpoint of step {step} has no fingerprint of its data: they may be others");
            }
            return Ok(());
        };
        let words = |data: &DataFingerprint| format!("{} {of}, fingerprint {}", data.count, data.fingerprint);
        let (known, now) = (words(&known), words(now));
        // Others may have taken their place since.
        let last = self.is.changes.iter().rfind(|change| change.key == DATA && change.step >= step);
        let last = last.map_or_else(|| known.clone(), |change| change.new.as_str().unwrap_or_default().to_owned());
        if last == now {
            return Ok(());
        }
        if known != now && !accept {
            return Err(Failure::Input(miette::miette!(
                help = "put the data back; or `fintan resume --data-changed` goes on with these, and notes it in `env.json`",
                "the data are not those that `{}` was trained on: then {last}, now {now}",
                self.run.root().display()
            )));
        }
        self.is.changes.push(Change { step, key: DATA.into(), old: last.into(), new: now.into() });
        Ok(())
    }

    /// Decides that the run goes on from a checkpoint with these settings, and removes what came later.
    fn settle(&mut self, from: Option<u64>, subject: &Subject) -> Result<(), Failure> {
        let (run, text) = (self.run, subject.to_toml());
        self.is.settings = Some(text.clone());
        // A damaged log is found before anything is changed.
        let undoing = run.undoing(from)?;
        let written = fs_err::read_to_string(run.resolved_config()).ok();
        self.is.rewind = None;
        if !undoing.is_empty() || self.is != self.was || written.as_ref() != Some(&text) {
            self.is.rewind = Some(Rewind { to: from });
            run.write_environment(&self.is)?;
            undoing.iter().try_for_each(|undo| run.undo(undo))?;
            run.write("config.resolved.toml", text.as_bytes())?;
            self.is.rewind = None;
            run.write_environment(&self.is)?;
        }
        Ok(run.prune(keep_of(subject))?)
    }
}

/// The key of a change of the data.
const DATA: &str = "data";

fn keep_of(subject: &Subject) -> usize {
    match subject {
        Subject::Gan(experiment) => experiment.settings.train.keep,
        Subject::Network(network) => network.supervised().map_or(usize::MAX, |experiment| experiment.task.keep),
    }
}

/// The last step that `--steps` asks for, of a run at `step` that was meant to have `planned`.
fn wanted_steps(text: &str, step: u64, planned: u64) -> Result<u64, Failure> {
    let wrong = || Failure::input(format!("--steps must be a number of steps, or +N for N more, got `{text}`"));
    let steps = match text.strip_prefix('+') {
        Some(more) => planned.saturating_add(more.parse().map_err(|_| wrong())?),
        None => text.parse().map_err(|_| wrong())?,
    };
    if steps < step {
        return Err(Failure::input(format!("--steps {text} ends at {steps}, before the checkpoint of step {step}")));
    }
    Ok(steps)
}
