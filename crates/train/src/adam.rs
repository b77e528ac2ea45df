//! Adam on the CPU: one pass over a parameter, its gradient and its moments, on all processors. Burn's operations take a dozen
//! passes on one processor; the arithmetic, and so every byte, is the same.

use burn::optim::{AdamState, AdaptiveMomentumState};
use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_config::Adam;
use fintan_net::{HostNumber, HostValues};
use pulp::Arch;
use rayon::prelude::*;

/// Number of values that one task changes.
const CHUNK: usize = 1 << 13;

/// The factors of one step, in the type of the values.
struct Factors<T> {
    keep: [T; 2],
    add: [T; 2],
    eps: T,
    correction: T,
    rate: T,
}

/// Whether this loop can be used for a parameter.
pub(crate) fn serves(parameter: &Tensor<2>) -> bool {
    parameter.device() == Device::flex() && matches!(parameter.dtype(), DType::F32 | DType::F64)
}

/// One step of Adam (Kingma and Ba 2015): with `m ← β₁ m + (1 - β₁) g` and `v ← β₂ v + (1 - β₂) g²`,
/// `θ ← θ - η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε √(1 - β₂ᵗ))`.
pub(crate) fn step(
    adam: &Adam,
    rate: f64,
    parameter: &Tensor<2>,
    gradient: &Tensor<2>,
    state: Option<AdamState<2>>,
) -> (Tensor<2>, AdamState<2>) {
    if parameter.dtype() == DType::F64 {
        typed::<f64>(adam, rate, parameter, gradient, state)
    } else {
        typed::<f32>(adam, rate, parameter, gradient, state)
    }
}

fn typed<T: HostNumber>(
    adam: &Adam,
    rate: f64,
    parameter: &Tensor<2>,
    gradient: &Tensor<2>,
    state: Option<AdamState<2>>,
) -> (Tensor<2>, AdamState<2>) {
    let (shape, device) = (parameter.dims(), parameter.device());
    let count = shape.iter().product();
    let zeros = || TensorData::new(vec![T::of(0.0); count], shape);
    let (time, first, second) = match state {
        Some(AdamState { momentum: AdaptiveMomentumState { time, moment_1, moment_2, .. } }) => {
            (time + 1, moment_1.into_data(), moment_2.into_data())
        }
        None => (1, zeros(), zeros()),
    };
    let (mut first, mut second, mut moved) = (first, second, zeros());
    let factors = Factors::<T>::new(adam, rate, time);
    let (old, gradient) = (HostValues::of(parameter), HostValues::of(gradient));
    let change = |new: &mut [T], [old, gradient]: [&[T]; 2], [m, v]: [&mut [T]; 2]| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let moments = m.iter_mut().zip(v);
                for ((new, (&old, &gradient)), (m, v)) in new.iter_mut().zip(old.iter().zip(gradient)).zip(moments) {
                    *m = *m * factors.keep[0] + gradient * factors.add[0];
                    *v = *v * factors.keep[1] + gradient * gradient * factors.add[1];
                    *new = old - *m * factors.correction / (v.square_root() + factors.eps) * factors.rate;
                }
            },
        );
    };
    let (old, gradient) = (old.slice::<T>(), gradient.slice::<T>());
    let (new, m, v) = (values_of::<T>(&mut moved), values_of::<T>(&mut first), values_of::<T>(&mut second));
    if count <= CHUNK {
        change(new, [old, gradient], [m, v]);
    } else {
        let values = new.par_chunks_mut(CHUNK).zip(old.par_chunks(CHUNK)).zip(gradient.par_chunks(CHUNK));
        let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
        values.zip(moments).for_each(|(((new, old), gradient), (m, v))| change(new, [old, gradient], [m, v]));
    }
    let [moved, moment_1, moment_2] = [moved, first, second].map(|data| Tensor::from_data(data, (&device, T::dtype())));
    (moved, AdamState::new(AdaptiveMomentumState::new(time, moment_1, moment_2)))
}

fn values_of<T: HostNumber>(data: &mut TensorData) -> &mut [T] {
    data.as_mut_slice().expect("the type was just asked for")
}

impl<T: HostNumber> Factors<T> {
    /// Constants are rounded to `f32` first, as Burn does.
    fn new(adam: &Adam, rate: f64, time: usize) -> Self {
        let [beta1, beta2, eps] = [adam.beta1, adam.beta2, adam.eps].map(|value| value as f32);
        let root = (1.0 - beta2.powi(time as i32)).sqrt();
        let of = |value: f32| T::of(f64::from(value));
        Self {
            keep: [beta1, beta2].map(of),
            add: [1.0 - beta1, 1.0 - beta2].map(of),
            eps: of(eps * root),
            correction: of(root / (1.0 - beta1.powi(time as i32))),
            rate: T::of(rate),
        }
    }
}
