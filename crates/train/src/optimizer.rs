//! Burn's optimisers over a network's parameters, each parameter with a rate of its own.
//!
//! The arithmetic is Burn's (`Adam::step`, `Sgd::step`). Burn's own container of states is not used, because it restores
//! states through the default device, which with the wgpu feature is a GPU that may not be there.

use std::collections::BTreeMap;

use burn::optim::momentum::MomentumConfig;
use burn::optim::{Adam, AdamConfig, AdamState, Optimizer as _, RecordState as _, Sgd, SgdConfig, SgdState};
use burn::optim::{StateSink, StateSource};
use burn::tensor::{Tensor, TensorData};
use fintan_config::{Architecture, LayerRates, Optimizer as Settings};
use fintan_net::weights::{Tensors, WeightsError};

/// An optimiser with its state.
#[derive(Clone)]
pub struct Optimizer {
    rule: Rule,
    /// Learning rate of each parameter.
    rates: Vec<f64>,
    states: Vec<Option<State>>,
}

#[derive(Clone)]
enum Rule {
    Adam(Adam),
    Sgd(Sgd),
}

#[derive(Clone)]
enum State {
    Adam(AdamState<2>),
    Sgd(SgdState<2>),
}

/// Learning rates of `{0}.weight`, `{0}.bias`, `{1}.weight`, ..
#[must_use]
pub fn rates(architecture: &Architecture, settings: &Settings, layer_rates: &LayerRates) -> Vec<f64> {
    let layers = architecture.flat().into_iter().filter(|node| node.index.is_some());
    layers
        .flat_map(|node| {
            let (weights, biases) = layer_rates.factors(node);
            [settings.rate() * weights, settings.rate() * biases]
        })
        .collect()
}

impl Optimizer {
    /// An optimiser that has seen no gradient.
    #[must_use]
    pub fn new(settings: &Settings, rates: Vec<f64>) -> Self {
        let rule = match settings {
            Settings::Adam(adam) => Rule::Adam(
                AdamConfig::new()
                    .with_beta_1(adam.beta1 as f32)
                    .with_beta_2(adam.beta2 as f32)
                    .with_epsilon(adam.eps as f32)
                    .build(),
            ),
            Settings::Sgd(sgd) => {
                let momentum = MomentumConfig::new().with_momentum(sgd.momentum).with_dampening(0.0);
                Rule::Sgd(SgdConfig::new().with_momentum((sgd.momentum > 0.0).then_some(momentum)).build())
            }
        };
        let states = vec![None; rates.len()];
        Self { rule, rates, states }
    }

    /// One step down the gradients, at the rates times `factor`.
    ///
    /// # Panics
    /// If there are not as many gradients as rates.
    #[must_use]
    pub fn step(&mut self, parameters: Vec<Tensor<2>>, gradients: Vec<Tensor<2>>, factor: f64) -> Vec<Tensor<2>> {
        assert_eq!((parameters.len(), gradients.len()), (self.rates.len(), self.rates.len()), "one rate a parameter");
        let each = parameters.into_iter().zip(gradients).zip(self.rates.iter().zip(&mut self.states));
        each.map(|((parameter, gradient), (&rate, state))| match &self.rule {
            Rule::Adam(adam) => {
                let before = state.take().and_then(|s| if let State::Adam(s) = s { Some(s) } else { None });
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

    /// The state as named tensors; counters as F64 tensors of one value.
    ///
    /// # Panics
    /// Never: the counters of both optimisers are whole numbers.
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

    /// Whether every moment is a finite number; a gradient that overflows shows here before it shows in the weights.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.to_tensors().values().all(|data| data.iter::<f64>().all(f64::is_finite))
    }

    /// The same optimiser in a state that was stored.
    ///
    /// # Errors
    /// A state of other shapes than the parameters.
    pub fn with_tensors(mut self, tensors: &Tensors, parameters: &[Tensor<2>]) -> Result<Self, WeightsError> {
        let mut counters = BTreeMap::new();
        for (name, data) in tensors {
            if data.shape().to_vec() == [1] {
                let count = data.iter::<f64>().next().unwrap_or_default();
                counters.insert(name.clone(), (count as usize).into());
            }
        }
        let mut source = StateSource::new(counters);
        for (name, data) in tensors.iter().filter(|(_, data)| data.shape().len() == 2) {
            let parameter = name.split('.').next().and_then(|i| parameters.get(i.parse::<usize>().ok()?));
            let expected = parameter.map_or(vec![], |p| p.dims().to_vec());
            if data.shape().to_vec() != expected {
                let found = data.shape().to_vec();
                return Err(WeightsError::Shape { name: name.clone(), expected, found });
            }
            source.insert_tensor(name.clone(), data.clone());
        }
        for (i, (state, parameter)) in self.states.iter_mut().zip(parameters).enumerate() {
            let (prefix, device) = (i.to_string(), parameter.device());
            *state = match self.rule {
                Rule::Adam(_) => AdamState::state_unflatten(&prefix, &mut source, &device).map(State::Adam),
                Rule::Sgd(_) => SgdState::state_unflatten(&prefix, &mut source, &device).map(State::Sgd),
            };
        }
        Ok(self)
    }
}
