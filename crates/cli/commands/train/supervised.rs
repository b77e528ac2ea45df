//! Supervised training of a network.

use burn::tensor::Tensor;
use fintan::parts::{task_data_file, write_scores, write_task_data};
use fintan_artifact::RunDir;
use fintan_config::{NetworkExperiment, ObserveNtk, SupervisedExperiment};
use fintan_data::TaskData;
use fintan_net::Network;
use fintan_train::{Observers, Supervised};

use super::kernel::{Kernels, check_probe, kept};
use super::recorder::{Begun, Left};
use crate::args::Voice;
use crate::device::Opened;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// The task of a network, which is called `name`.
pub(crate) fn task_of<'a>(network: &'a NetworkExperiment, name: &str) -> Result<SupervisedExperiment<'a>, Failure> {
    network.supervised().ok_or_else(|| {
        Failure::Input(miette::miette!(
            help = "[task.supervised] says what a network is trained for, and [data.teacher], for instance, on what",
            "`{name}` describes a network without a task"
        ))
    })
}

pub(super) fn load(experiment: &SupervisedExperiment, voice: &Voice) -> Result<TaskData, Failure> {
    let data = TaskData::load(experiment, fintan::free_memory())?;
    if !voice.quiet {
        let classes: Vec<String> = data.classes.iter().map(u8::to_string).collect();
        let classes = if classes.is_empty() { String::new() } else { format!(", classes {}", classes.join(", ")) };
        tell!("data      {}: {} to train, {} to test{classes}", data.source, data.train.len(), data.test.len());
        for remark in &data.remarks {
            tell!("          {remark}");
        }
    }
    Ok(data)
}

/// What can be refused about a training is refused before anything is written.
pub(super) fn check(
    trainee: &Supervised,
    observed: Option<ObserveNtk>,
    data: &TaskData,
    opened: &Opened,
) -> Result<(), Failure> {
    observed.map_or(Ok(()), |wanted| check_probe(&trainee.network, &probe(wanted, data, opened)))
}

/// What kernels are measured on beside training.
fn probe(wanted: ObserveNtk, data: &TaskData, opened: &Opened) -> Tensor<4> {
    data.train.batch(0..wanted.samples, &opened.placement.device, opened.placement.dtype)
}

/// Refuses what the run keeps beside its checkpoints and cannot be read, before the run is changed.
pub(super) fn check_kept(
    run: &RunDir,
    observed: Option<ObserveNtk>,
    data: &TaskData,
    opened: &Opened,
) -> Result<(), Failure> {
    observed.map_or(Ok(()), |wanted| kept(run, wanted, &probe(wanted, data, opened)).map(drop))
}

/// Whether everything is there that training leaves at its last step.
pub(super) fn is_finished(run: &RunDir, last: u64) -> Result<bool, Failure> {
    Ok(run.summary_step()? == Some(last) && task_data_file(run.root()).is_file())
}

/// Trains to the end and writes `data.npz` before, `metrics.json` after; of a run that is at its end, what is missing there.
pub(super) fn play(
    mut trainee: Supervised,
    experiment: &SupervisedExperiment,
    observed: Option<ObserveNtk>,
    data: &TaskData,
    run: &RunDir,
    opened: &Opened,
    voice: &Voice,
) -> Result<(), Failure> {
    if !voice.quiet {
        tell!("network   {} parameters", experiment.network.parameter_count());
    }
    if !task_data_file(run.root()).is_file() {
        write_task_data(&Supervised::new(experiment, &opened.placement), data, run.root())?;
    }
    let (steps, keep) = (experiment.task.steps, experiment.task.keep);
    let begun = Begun { run, opened, voice, start: trainee.step, steps, keep, columns: 1 };
    begun.record(|recorder| {
        let kernels = observed.map(|wanted| {
            Kernels::new(run, wanted, probe(wanted, data, opened), network_of, &trainee, recorder.progress())
        });
        let mut kernels = kernels.transpose()?;
        let mut observers = Observers(vec![recorder]);
        if let Some(kernels) = &mut kernels {
            observers.0.push(kernels);
        }
        trainee.train(data, &mut observers).map(Left::By).map_err(|e| begun.failed(e))
    })?;

    let (metrics, [train, test]) = write_scores(&trainee, data, run)?;
    if voice.json {
        answer_json(
            &serde_json::json!({ "event": "done", "run": run.root().display().to_string(), "metrics": metrics }),
        );
        return Ok(());
    }
    for (name, score) in [("train", train), ("test", test)] {
        let right = score.accuracy.map_or(String::new(), |a| format!(", {:.1} % right", 100.0 * a));
        answer!("{name:5}  loss {:.3e}{right}", score.loss);
    }
    answer!("{}", run.root().display());
    Ok(())
}

fn network_of(trainee: &Supervised) -> &Network {
    &trainee.network
}
