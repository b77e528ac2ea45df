//! Measures a batch and its noise while they pass through the layers.

use std::ops::ControlFlow;

use burn::tensor::{DType, Tensor};
use fintan_config::MomentTensor;

use crate::inputs::Batch;
use crate::measure::{ChannelMoments, by_channel, mean_cosine, over_channels, ranks};
use crate::realisation::{MomentsPlan, Wanted};
use crate::record::{EarlyStop, PointMoments, Realisation, Record};

/// The state of a measurement between two layers.
pub(crate) struct Propagation<'a> {
    plan: &'a MomentsPlan<'a>,
    inputs: usize,
    log_input: f64,
    /// The signal tensor is the signal times 2^-bits, and the noise tensor is the noise times 2^-bits, with their own bits.
    signal_bits: i32,
    noise_bits: i32,
    records: Vec<Option<Record>>,
    /// The index l of the layer.
    pub(crate) depth: usize,
    /// The layer and the reason, if the measurement stopped early.
    pub(crate) dead: Option<EarlyStop>,
}

/// The values of a tensor on the host.
enum Host {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

fn host(x: &Tensor<4>) -> Host {
    let data = x.to_data();
    if data.dtype() == DType::F64 {
        return Host::F64(data.try_to_vec().expect("the type was just asked for"));
    }
    Host::F32(data.convert::<f32>().try_to_vec().expect("the type was just made"))
}

impl<'a> Propagation<'a> {
    /// The state before the first layer.
    pub(crate) fn new(plan: &'a MomentsPlan<'a>, batch: &Batch) -> Self {
        Self {
            plan,
            inputs: batch.count,
            // log of μ₂(dx⁰) / μ₂(x⁰). The variance of the noise is known from its construction.
            log_input: batch.live.ln() - batch.mu2.ln(),
            signal_bits: 0,
            noise_bits: 0,
            records: vec![None; plan.points.len()],
            depth: 0,
            dead: None,
        }
    }

    /// Measures at the points after the layer with this path.
    pub(crate) fn measure(&mut self, path: &[usize], x: &Tensor<4>, dx: &Tensor<4>) {
        let Some(places) = self.plan.at.get(path).filter(|_| self.dead.is_none()) else { return };
        let channels = x.dims()[3];
        let ranks = places.iter().any(|&at| self.plan.points[at].ranks);
        let found = match (host(x), host(dx)) {
            (Host::F32(x), Host::F32(dx)) => self.values(&x, &dx, channels, ranks, f64::from(f32::EPSILON)),
            (Host::F64(x), Host::F64(dx)) => self.values(&x, &dx, channels, ranks, f64::EPSILON),
            _ => unreachable!("signal and noise have one type"),
        };
        match found {
            Ok(found) => {
                for &at in places {
                    let Wanted { point, ranks } = &self.plan.points[at];
                    let mut record = Record { depth: point.depth, loc: point.loc.clone(), ..found.clone() };
                    if !ranks {
                        record = Record {
                            reff_signal: None,
                            reff_noise: None,
                            pr_signal: None,
                            pr_noise: None,
                            cosine: None,
                            ..record
                        };
                    }
                    self.records[at] = Some(record);
                }
            }
            Err(reason) => self.dead = Some(EarlyStop { depth: self.depth, reason }),
        }
    }

    /// The records, in the order of the points.
    pub(crate) fn finish(self, number: u64) -> Realisation {
        Realisation { number, dead: self.dead, records: self.records.into_iter().flatten().collect() }
    }

    fn values<T: Copy + Into<f64>>(
        &self,
        x: &[T],
        dx: &[T],
        channels: usize,
        with_ranks: bool,
        epsilon: f64,
    ) -> Result<Record, String> {
        let (signal, noise) = (by_channel(x, channels), by_channel(dx, channels));
        let total = over_channels(&signal);
        let all = self.joined(&total, over_channels(&noise).nu2);
        if !(all.log_mu2.is_finite() && all.log_mu2_noise.is_finite()) {
            return Err(Self::reason(total.nu2, total.mu2, over_channels(&noise).nu2));
        }
        // The inputs are equal up to rounding.
        if total.mu2 < (4.0 * epsilon).powi(2) * total.nu2 {
            return Err("the inputs no longer differ by more than rounding".into());
        }
        let of = |which: MomentTensor, values: &[T]| {
            (with_ranks && self.plan.settings.ranks.contains(&which)).then(|| ranks(values, channels)).flatten()
        };
        let (r, dr) = (of(MomentTensor::Signal, x), of(MomentTensor::Noise, dx));
        let channels = if self.plan.settings.per_channel {
            signal.iter().zip(&noise).map(|(x, dx)| self.joined(x, dx.nu2)).collect()
        } else {
            Vec::new()
        };
        Ok(Record {
            depth: 0,
            loc: String::new(),
            all,
            reff_signal: r.map(|r| r.effective),
            reff_noise: dr.map(|r| r.effective),
            pr_signal: r.map(|r| r.participation),
            pr_noise: dr.map(|r| r.participation),
            cosine: with_ranks.then(|| mean_cosine(x, self.inputs)).flatten(),
            channels,
        })
    }

    fn joined(&self, signal: &ChannelMoments, noise: f64) -> PointMoments {
        let log = |bits: i32| 2.0 * f64::from(bits) * std::f64::consts::LN_2;
        let log_mu2 = signal.mu2.ln() + log(self.signal_bits);
        let log_mu2_noise = noise.ln() + log(self.noise_bits);
        PointMoments {
            nu1: signal.nu1,
            nu1_abs: signal.nu1_abs,
            nu2: signal.nu2,
            mu2: signal.mu2,
            mu4: signal.mu4,
            bits: self.signal_bits,
            log_nu2: signal.nu2.ln() + log(self.signal_bits),
            log_mu2,
            log_mu2_noise,
            log_sensitivity: 0.5 * (log_mu2_noise - log_mu2 - self.log_input),
        }
    }

    fn reason(nu2: f64, mu2: f64, noise: f64) -> String {
        let what = |name: &str, value: f64| {
            if value == 0.0 { format!("the {name} is 0: a dead layer") } else { format!("the {name} is not finite") }
        };
        if !nu2.is_finite() || nu2 == 0.0 {
            what("signal", nu2)
        } else if mu2 == 0.0 {
            "all inputs have become equal".into()
        } else {
            what("noise", noise)
        }
    }

    /// Rescales the noise, and the signal of a homogeneous network, to a mean square near 1. Factors are powers of two, so that
    /// nothing is rounded.
    pub(crate) fn rescale(&mut self, x: &mut Tensor<4>, dx: &mut Tensor<4>) -> ControlFlow<()> {
        let power = |t: &Tensor<4>| -> f64 { t.clone().square().mean().into_scalar::<f64>() };
        let noise = power(dx);
        let signal = if self.plan.homogeneous { power(x) } else { 1.0 };
        if !(noise > 0.0 && noise.is_finite() && signal > 0.0 && signal.is_finite()) {
            self.dead = Some(EarlyStop { depth: self.depth, reason: Self::reason(signal, 1.0, noise) });
            return ControlFlow::Break(());
        }
        for (t, power, bits) in [(dx, noise, &mut self.noise_bits), (x, signal, &mut self.signal_bits)] {
            let steps = (0.5 * power.log2()).round() as i32;
            // Within a factor of 16 the next layer cannot overflow.
            if steps.abs() >= 4 {
                *t = t.clone().mul_scalar(2.0_f64.powi(-steps));
                *bits += steps;
            }
        }
        ControlFlow::Continue(())
    }
}
