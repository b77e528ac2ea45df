//! Inputs on the sphere with targets from a random polynomial, for tasks that need no file.

use fintan_config::{SupervisedExperiment, TaskGoal, Teacher};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::examples::{Examples, TaskData, class_target, onto_sphere};
use crate::seeds::{Purpose, stream};

pub(crate) fn draw(settings: &Teacher, experiment: &SupervisedExperiment) -> TaskData {
    let SupervisedExperiment { seed, network, task, .. } = *experiment;
    let (n, outputs) = (network.input.len(), network.output().len());
    let functions = if task.goal == TaskGoal::Classification { 1 } else { outputs };
    let function = Function::new(settings, functions, n);
    let set = |count: usize, purpose: Purpose, noise: f64| {
        let (mut rng, mut noises) = (stream(seed, purpose, 0), stream(seed, Purpose::TargetNoise, 0));
        let (mut inputs, mut targets) = (Vec::with_capacity(count * n), Vec::with_capacity(count * outputs));
        for _ in 0..count {
            let x = direction(n, &mut rng);
            let mut y = function.at(&x);
            for v in &mut y {
                *v += noise * Distribution::<f64>::sample(&StandardNormal, &mut noises);
            }
            inputs.extend(x.into_iter().map(|v| v as f32));
            match task.goal {
                TaskGoal::Regression => targets.extend(y.into_iter().map(|v| v as f32)),
                TaskGoal::Classification => targets.extend(class_target(usize::from(y[0] > 0.0), outputs)),
            }
        }
        Examples { inputs, targets, input: network.input, outputs }
    };
    let classes = if task.goal == TaskGoal::Classification { vec![0, 1] } else { Vec::new() };
    let source = format!("built-in teacher (polynomial of degree {}, seed {})", settings.degree, settings.seed);
    TaskData {
        train: set(task.train, Purpose::TrainInputs, settings.noise),
        test: set(task.test, Purpose::TestInputs, 0.0),
        source,
        remarks: Vec::new(),
        classes,
    }
}

/// A random point of the sphere `|x| = √n`.
fn direction(n: usize, rng: &mut ChaCha20Rng) -> Vec<f64> {
    let mut x: Vec<f64> = (0..n).map(|_| StandardNormal.sample(rng)).collect();
    onto_sphere(&mut x);
    x
}

/// The function `y_o = D^-1/2 Σ_d h_d(u_od · x)`.
struct Function {
    /// The unit directions u_od, by output o and degree d.
    directions: Vec<Vec<Vec<f64>>>,
}

impl Function {
    fn new(settings: &Teacher, outputs: usize, n: usize) -> Self {
        let mut rng = stream(settings.seed, Purpose::TeacherFunction, 0);
        let mut unit = || direction(n, &mut rng).into_iter().map(|v| v / (n as f64).sqrt()).collect();
        Self { directions: (0..outputs).map(|_| (0..settings.degree).map(|_| unit()).collect()).collect() }
    }

    fn at(&self, x: &[f64]) -> Vec<f64> {
        let value = |directions: &Vec<Vec<f64>>| {
            let terms = directions.iter().enumerate().map(|(i, u)| {
                let along: f64 = u.iter().zip(x).map(|(a, b)| a * b).sum();
                hermite(i as u32 + 1, along)
            });
            terms.sum::<f64>() / (directions.len() as f64).sqrt()
        };
        self.directions.iter().map(value).collect()
    }
}

/// `h_d(z) = He_d(z) / √d!`, orthonormal for z ~ N(0, 1), by the recurrence `√d h_d = z h_{d-1} - √(d-1) h_{d-2}`.
fn hermite(degree: u32, z: f64) -> f64 {
    let (mut before, mut h) = (0.0, 1.0);
    for d in 1..=degree {
        let d = f64::from(d);
        (before, h) = (h, (z * h - (d - 1.0).sqrt() * before) / d.sqrt());
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::Subject;

    #[test]
    fn hermite_polynomials_are_those_of_the_tables() {
        for z in [-1.3_f64, 0.0, 0.4, 2.0] {
            for (degree, want) in [
                (1, z),
                (2, (z * z - 1.0) / 2.0_f64.sqrt()),
                (3, (z.powi(3) - 3.0 * z) / 6.0_f64.sqrt()),
                (4, (z.powi(4) - 6.0 * z * z + 3.0) / 24.0_f64.sqrt()),
            ] {
                assert!((hermite(degree, z) - want).abs() < 1e-12, "degree {degree} at {z}");
            }
        }
    }

    #[test]
    fn outputs_have_mean_zero_and_variance_one_and_classes_their_signs() {
        let load = |goal: &str, seed: u64, noise: f64| {
            let text = format!(
                "seed = {seed}\n[network]\ninput = 30\nlayers = [{{ dense = {{ out = 1 }} }}]\n[data.teacher]\nnoise = {noise:?}\n\
                 [task.supervised]\ngoal = \"{goal}\"\ntrain = 4000\ntest = 50\noptimizer.sgd.rate = 1.0"
            );
            let Subject::Network(network) = Subject::parse("t", &text, &[]).expect("sound") else {
                panic!("a network")
            };
            TaskData::load(&network.supervised().expect("a task"), None).expect("drawn")
        };
        let clean = load("regression", 0, 0.0);
        let y = &clean.train.targets;
        let mean = y.iter().sum::<f32>() / 4000.0;
        let variance = y.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 4000.0;
        // On the sphere of 30 dimensions h_2 and h_3 have variances 0.91 and 0.75.
        assert!(mean.abs() < 0.06 && (variance - 0.887).abs() < 0.15, "{mean}, {variance}");
        assert!(y.iter().all(|v| v.abs() < 15.0), "no input lies along a direction");
        let signs = load("classification", 0, 0.0);
        assert_eq!(signs.train.inputs, clean.train.inputs);
        assert!(y.iter().zip(&signs.train.targets).all(|(y, t)| y.signum() == *t));
        let noisy = load("regression", 0, 0.5);
        assert_eq!(noisy.test, clean.test);
        let off = noisy.train.targets.iter().zip(y).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / 4000.0;
        assert!((off - 0.25).abs() < 0.03, "{off}");
        assert_ne!(load("regression", 1, 0.0).train.inputs, clean.train.inputs);
    }
}
