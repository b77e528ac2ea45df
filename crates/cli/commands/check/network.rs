//! What training a network by itself will do.

use std::time::Instant;

use burn::tensor::Tensor;
use fintan_config::{DataSource, Goal, LossFunction, NetworkExperiment, SupervisedExperiment, Teacher};
use fintan_data::TaskData;
use fintan_net::Placement;
use fintan_train::{Supervised, rates};
use serde_json::json;

use super::{Row, answer_cost, answer_table, bytes, overall, table};
use crate::args::Check;
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, answer_json};

/// Regime of each layer; with a task, its lines and its cost.
pub(super) fn check(network: &NetworkExperiment, args: &Check) -> Result<(), Failure> {
    let architecture = &network.network;
    let Some(experiment) = network.supervised() else {
        let rows = table(architecture, None);
        if args.voice.json {
            let rows: Vec<_> = rows.iter().map(Row::json).collect();
            answer_json(&json!({ "network": rows, "regimes": { "network": overall(architecture) } }));
        } else {
            answer_table("network", architecture, &rows);
        }
        return Ok(());
    };
    let task = experiment.task;
    let rows = table(architecture, Some(&rates(architecture, &task.optimizer, &task.layer_rates)));
    let opened = device::open(args.on.device)?;
    let (seconds, bytes) = (cost(&experiment, &opened.placement)?, bytes(architecture, task.batch()));
    if args.voice.json {
        let answer = json!({
            "network": rows.iter().map(Row::json).collect::<Vec<_>>(), "data": experiment.data, "task": task,
            "regimes": { "network": overall(architecture) },
            "device": opened.name, "seconds_per_step": seconds, "memory_bytes": bytes,
        });
        answer_json(&answer);
        return Ok(());
    }
    answer_table("network", architecture, &rows);
    answer!("data: {}", experiment.data.describe());
    answer!("  {} samples to train, {} to test, drawn with seed {}", task.train, task.test, experiment.seed);
    let goal = match task.goal {
        Goal::Classification => "classification",
        Goal::Regression => "regression",
    };
    let loss = match task.loss {
        LossFunction::Squared => "squared loss",
        LossFunction::CrossEntropy => "cross-entropy",
    };
    let classes = task.classes.as_ref().map_or(String::new(), |classes| format!(" of {classes:?}"));
    let batch = if task.batch() == task.train { "all samples".to_owned() } else { format!("{} samples", task.batch()) };
    answer!("task: {goal}{classes} by {} output(s), {loss}, {batch} a step", architecture.output().len());
    answer!();
    answer_cost(&opened.name, seconds, bytes, task.steps);
    Ok(())
}

/// Seconds a step, timed on drawn samples: the data set is not opened.
fn cost(experiment: &SupervisedExperiment, placement: &Placement) -> Result<f64, Failure> {
    let drawn = DataSource::Teacher(Teacher::default());
    let task = fintan_config::Supervised { test: 1, ..experiment.task.clone() };
    let experiment = SupervisedExperiment { task: &task, data: &drawn, ..*experiment };
    let train = TaskData::load(&experiment, fintan::free_memory())?.train;
    let (device, dtype) = (&placement.device, placement.dtype);
    let (inputs, targets) = (train.batch(0..train.len(), device, dtype), train.targets(device, dtype));
    let mut trainee = Supervised::new(&experiment, placement);
    // The first step pays for compiled kernels and the optimiser's state; the second is like all others.
    let mut seconds = 0.0;
    for _ in 0..2 {
        let start = Instant::now();
        trainee.advance(&inputs, &targets);
        // Reading the last parameter waits for the device.
        let _ = trainee.network.parameters().pop().map(Tensor::into_data);
        seconds = start.elapsed().as_secs_f64();
    }
    Ok(seconds)
}
