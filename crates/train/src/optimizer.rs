//! Burn's optimisers on the parameters of a network, with one learning rate for each parameter.
//!
//! The arithmetic is Burn's (`Adam::step`, `Sgd::step`); on flex, Adam is one pass over the memory (`adam`). Burn's own container
//! of states is not used, because it restores states through the default device. With the wgpu feature this is a GPU, which may
//! not exist.

use std::collections::BTreeMap;

use burn::optim::momentum::MomentumConfig;
use burn::optim::{Adam, AdamConfig, AdamState, Optimizer as _, RecordState as _, Sgd, SgdConfig, SgdState};
use burn::optim::{StateSink, StateSource};
use burn::tensor::{Tensor, TensorData};
use fintan_config::{Architecture, LayerRates, OptimizerSettings};
use fintan_net::weights::{Tensors, WeightsError, fitting, never_negative};

use crate::adam;

/// An optimiser with its state.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fintan_config::{OptimizerSettings, Sgd};
/// use fintan_train::Optimizer;
///
/// let sgd = OptimizerSettings::Sgd(Sgd { rate: 0.5, momentum: 0.0 });
/// let mut optimizer = Optimizer::new(&sgd, vec![0.5]); // one parameter and its learning rate
/// let tensor = |value: f32| Tensor::<2>::from_data([[value]], &Device::flex());
/// let moved = optimizer.step(vec![tensor(3.0)], vec![tensor(2.0)], 1.0);
/// assert_eq!(moved[0].clone().into_scalar::<f32>(), 3.0 - 0.5 * 2.0);
/// ```
#[derive(Clone)]
pub struct Optimizer {
    rule: Rule,
    /// Learning rate of each parameter.
    rates: Vec<f64>,
    states: Vec<Option<State>>,
}

#[derive(Clone)]
enum Rule {
    Adam(Adam, fintan_config::Adam),
    Sgd(Sgd),
}

#[derive(Clone)]
enum State {
    Adam(AdamState<2>),
    Sgd(SgdState<2>),
}

/// Learning rates of `{0}.weight`, `{0}.bias`, `{1}.weight`, ..
///
/// ```
/// use fintan_config::{Architecture, Layer, LayerRates, OptimizerSettings, Parametrization, Sgd, Shape};
///
/// let network = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// let sgd = OptimizerSettings::Sgd(Sgd { rate: 0.5, momentum: 0.0 });
/// assert_eq!(fintan_train::rates(&network, &sgd, &LayerRates::Sqrt), [0.5, 0.5]); // one position
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[must_use]
pub fn rates(architecture: &Architecture, settings: &OptimizerSettings, layer_rates: &LayerRates) -> Vec<f64> {
    let layers = architecture.flat().into_iter().filter(|node| node.index.is_some());
    layers
        .flat_map(|node| {
            let (weights, biases) = layer_rates.factors(node);
            [settings.rate() * weights, settings.rate() * biases]
        })
        .collect()
}

impl Optimizer {
    /// An optimiser in its initial state.
    #[must_use]
    pub fn new(settings: &OptimizerSettings, rates: Vec<f64>) -> Self {
        let rule = match settings {
            OptimizerSettings::Adam(adam) => Rule::Adam(
                AdamConfig::new()
                    .with_beta_1(adam.beta1 as f32)
                    .with_beta_2(adam.beta2 as f32)
                    .with_epsilon(adam.eps as f32)
                    .build(),
                *adam,
            ),
            OptimizerSettings::Sgd(sgd) => {
                let momentum = MomentumConfig::new().with_momentum(sgd.momentum).with_dampening(0.0);
                Rule::Sgd(SgdConfig::new().with_momentum((sgd.momentum > 0.0).then_some(momentum)).build())
            }
        };
        let states = vec![None; rates.len()];
        Self { rule, rates, states }
    }

    /// One step against the gradients, with the learning rates multiplied by `factor`.
    ///
    /// # Panics
    /// If the number of gradients and the number of rates differ.
    #[must_use]
    pub fn step(&mut self, parameters: Vec<Tensor<2>>, gradients: Vec<Tensor<2>>, factor: f64) -> Vec<Tensor<2>> {
        assert_eq!((parameters.len(), gradients.len()), (self.rates.len(), self.rates.len()), "one rate a parameter");
        let each = parameters.into_iter().zip(gradients).zip(self.rates.iter().zip(&mut self.states));
        each.map(|((parameter, gradient), (&rate, state))| match &self.rule {
            Rule::Adam(adam, settings) => {
                let before = state.take().and_then(|s| if let State::Adam(s) = s { Some(s) } else { None });
                if adam::serves(&parameter) {
                    let (parameter, after) = adam::step(settings, rate * factor, &parameter, &gradient, before);
                    *state = Some(State::Adam(after));
                    return parameter;
                }
                let (parameter, after) = adam.step(rate * factor, parameter, gradient, before);
                *state = after.map(State::Adam);
                parameter
            }
            Rule::Sgd(sgd) => {
                let before = state.take().and_then(|s| if let State::Sgd(s) = s { Some(s) } else { None });
                let (parameter, after) = sgd.step(rate * factor, parameter, gradient, before);
                *state = after.map(State::Sgd);
                parameter
            }
        })
        .collect()
    }

    /// The state as named tensors; a counter is an F64 tensor with one value.
    ///
    /// # Panics
    /// Never, because the counters of both optimisers are whole numbers.
    #[must_use]
    pub fn to_tensors(&self) -> Tensors {
        let mut sink = StateSink::default();
        for (i, state) in self.states.iter().enumerate() {
            match state {
                Some(State::Adam(state)) => state.state_flatten(&i.to_string(), &mut sink),
                Some(State::Sgd(state)) => state.state_flatten(&i.to_string(), &mut sink),
                None => {}
            }
        }
        let counters = sink.scalars.into_iter().map(|(name, value)| {
            let count = u64::try_from(value).expect("counters are whole numbers");
            (name, TensorData::new(vec![count as f64], [1]))
        });
        sink.tensors.into_iter().chain(counters).collect()
    }

    /// Whether every moment is finite. A gradient that overflows is visible in the moments before it is visible in the
    /// weights.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.to_tensors().values().all(|data| data.iter::<f64>().all(f64::is_finite))
    }

    /// This optimiser with a state that was stored after `steps` steps.
    ///
    /// # Errors
    /// [`WeightsError`]: a tensor that is missing or unknown, has another shape than its parameter or values that are not
    /// finite, a negative mean of squares, or a counter that is not a whole number.
    pub fn with_tensors(
        mut self,
        tensors: &Tensors,
        parameters: &[Tensor<2>],
        steps: u64,
    ) -> Result<Self, WeightsError> {
        // A step that moves nothing gives the names and shapes of a state, as Burn defines them.
        let mut moved = Self { states: vec![None; self.rates.len()], ..self.clone() };
        let still = parameters.iter().map(Tensor::zeros_like).collect();
        let _ = moved.step(parameters.to_vec(), still, 0.0);
        let expected = moved.to_tensors();
        if let Some(name) = tensors.keys().find(|name| !expected.contains_key(*name)) {
            let last = expected.keys().next_back().cloned().unwrap_or_default();
            return Err(WeightsError::Extra { name: name.clone(), expected: expected.len(), last });
        }
        if tensors.is_empty() && steps == 0 {
            return Ok(self);
        }
        let (mut counters, mut moments) = (BTreeMap::new(), Vec::new());
        for (name, like) in &expected {
            let shape = like.shape().to_vec();
            let data = fitting(tensors, name, &shape, like.dtype())?;
            if shape.len() == 1 {
                let count = data.iter::<f64>().next().unwrap_or(f64::NAN);
                if !(count >= 1.0 && count.fract() == 0.0) {
                    return Err(WeightsError::Count { name: name.clone(), value: count });
                }
                counters.insert(name.clone(), (count as usize).into());
                continue;
            }
            if name.ends_with("moment_2") {
                never_negative(name, &data)?;
            }
            let (bytes, _, dtype) = data.into_parts();
            moments.push((name.clone(), TensorData::from_bytes(bytes, shape, dtype)));
        }
        let mut source = StateSource::new(counters);
        for (name, data) in moments {
            source.insert_tensor(name, data);
        }
        for (i, (state, parameter)) in self.states.iter_mut().zip(parameters).enumerate() {
            let (prefix, device) = (i.to_string(), parameter.device());
            *state = match self.rule {
                Rule::Adam(..) => AdamState::state_unflatten(&prefix, &mut source, &device).map(State::Adam),
                Rule::Sgd(_) => SgdState::state_unflatten(&prefix, &mut source, &device).map(State::Sgd),
            };
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};
    use fintan_config::{Adam, Sgd};

    use super::*;

    fn parameters() -> Vec<Tensor<2>> {
        let data = |shape: [usize; 2]| TensorData::new(vec![0.5_f32; shape[0] * shape[1]], shape);
        [[2, 3], [1, 3]].map(|shape| Tensor::from_data(data(shape), &Device::flex())).into()
    }

    #[test]
    fn adam_in_one_loop_gives_the_bytes_of_burns_adam() {
        let settings = Adam { rate: 1e-3, beta1: 0.5, beta2: 0.999, eps: 1e-8 };
        let Rule::Adam(burn, _) = Optimizer::new(&OptimizerSettings::Adam(settings), vec![]).rule else {
            unreachable!()
        };
        for dtype in [DType::F32, DType::F64] {
            let values = |factor: f64| -> Tensor<2> {
                let values: Vec<f64> = (0..77).map(|i| factor * f64::from(i * 7919 % 201 - 100)).collect();
                Tensor::from_data(TensorData::new(values, [7, 11]).convert_dtype(dtype), (&Device::flex(), dtype))
            };
            let (mut ours, mut theirs, mut state, mut their_state) = (values(0.03), values(0.03), None, None);
            for step in 1..7 {
                let gradient = values(1e-3 * f64::from(step));
                let (moved, after) = adam::step(&settings, 1e-3, &ours, &gradient, state.take());
                (ours, state) = (moved, Some(after));
                (theirs, their_state) = burn.step(1e-3, theirs, gradient, their_state.take());
                assert_eq!(ours.to_data(), theirs.to_data(), "{dtype:?}, step {step}");
            }
        }
    }

    /// In an earlier version a missing or truncated state was taken for an initial state.
    #[test]
    fn a_stored_state_goes_on_and_what_is_missing_of_it_is_named() {
        let adam = OptimizerSettings::Adam(Adam { rate: 0.1, beta1: 0.5, beta2: 0.99, eps: 1e-8 });
        let mut moved = Optimizer::new(&adam, vec![0.1; 2]);
        let _ = moved.step(parameters(), parameters(), 1.0);
        let stored = moved.to_tensors();
        let read =
            |tensors: &Tensors, steps| Optimizer::new(&adam, vec![0.1; 2]).with_tensors(tensors, &parameters(), steps);
        assert_eq!(read(&stored, 1).expect("fits").to_tensors(), stored);
        assert!(read(&Tensors::new(), 0).expect("nothing was done").to_tensors().is_empty());
        let said = |change: &dyn Fn(&mut Tensors)| {
            let mut tensors = stored.clone();
            change(&mut tensors);
            read(&tensors, 1).err().expect("refused").to_string()
        };
        let number = |value: f64| TensorData::new(vec![value], [1]);
        let row = |value: f32| TensorData::new(vec![0.1, value, 0.1], [1, 3]);
        assert!(said(&Tensors::clear).starts_with("tensor `0.momentum.moment_1` of shape [2, 3] is missing"));
        assert!(said(&|t| t.retain(|name, _| !name.starts_with("1."))).starts_with("tensor `1.momentum.moment_1`"));
        assert!(said(&|t| drop(t.remove("1.momentum.time"))).starts_with("tensor `1.momentum.time`"));
        assert!(said(&|t| drop(t.insert("2.momentum.time".into(), number(1.0)))).contains("`2.momentum.time`"));
        for value in [-3.0, 0.5, f64::INFINITY] {
            assert!(said(&|t| drop(t.insert("0.momentum.time".into(), number(value)))).contains("`0.momentum.time`"));
        }
        for value in [f32::NAN, -1.0] {
            let told = said(&|t| drop(t.insert("1.momentum.moment_2".into(), row(value))));
            assert!(told.starts_with("tensor `1.momentum.moment_2` holds"), "{told}");
        }
        let plain = OptimizerSettings::Sgd(Sgd { rate: 0.1, momentum: 0.0 });
        let still = Optimizer::new(&plain, vec![0.1; 2]).with_tensors(&Tensors::new(), &parameters(), 9);
        assert!(still.expect("plain descent has no state").to_tensors().is_empty());
    }
}
