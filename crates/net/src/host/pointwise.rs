//! Functions of single values.

use burn::tensor::{Element as _, Tensor};
use rayon::prelude::*;

use super::{HostNumber, HostValues, SMALL, tensor, with_type, with_widest_vectors, written_in_chunks};

/// Number of values that one task computes: enough for a task's own cost not to count.
const CHUNK: usize = 1 << 13;

/// f of every value, with the widest vectors of the processor.
pub(crate) fn mapped<T: HostNumber>(x: &Tensor<4>, f: impl Fn(T) -> T + Sync) -> Tensor<4> {
    let (values, shape) = (HostValues::of(x), x.dims());
    let values = values.slice::<T>();
    let chunk = if values.len() <= SMALL { values.len() } else { CHUNK };
    let y = written_in_chunks(
        values.len(),
        chunk,
        || (),
        #[inline(always)]
        |(), i, y: &mut [T]| y.iter_mut().zip(&values[i * chunk..]).for_each(|(y, &x)| *y = f(x)),
    );
    tensor(y, shape, x)
}

/// f(d, x) of every pair of values, where `d` has rows in front of the batch of `x`. It is computed in the memory of `d` if no
/// other tensor uses that.
pub(crate) fn combined<T: HostNumber>(d: Tensor<4>, x: &Tensor<4>, f: impl Fn(T, T) -> T + Sync) -> Tensor<4> {
    let (device, x) = (x.device(), HostValues::of(x));
    let (x, mut data) = (x.slice::<T>(), d.into_data());
    let values: &mut [T] = data.as_mut_slice().expect("the type was just asked for");
    let part = |d: &mut [T], x: &[T]| {
        with_widest_vectors(
            #[inline(always)]
            || d.iter_mut().zip(x).for_each(|(d, &x)| *d = f(*d, x)),
        );
    };
    if values.len() <= SMALL {
        values.chunks_exact_mut(x.len()).for_each(|row| part(row, x));
    } else {
        values.par_chunks_exact_mut(x.len()).for_each(|row| {
            row.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(d, x)| part(d, x));
        });
    }
    Tensor::from_data(data, (&device, T::dtype()))
}

/// `y · map + bias`, in the memory of `y` if no other tensor uses that.
///
/// # Shapes
/// - `y`: `[rows, h, w, c]`; `map`: `[1, h, w, 1]`; `bias`: `[1, c]`
pub(crate) fn scaled(y: Tensor<4>, map: &Tensor<4>, bias: Option<&Tensor<2>>) -> Tensor<4> {
    with_type!(y.dtype(), T => {
        let (device, [_, h, w, c]) = (y.device(), y.dims());
        let (map, bias, mut data) = (HostValues::of(map), bias.map(HostValues::of), y.into_data());
        let (map, bias) = (map.slice::<T>(), bias.as_ref().map(HostValues::slice::<T>));
        let values: &mut [T] = data.as_mut_slice().expect("the type was just asked for");
        values.par_chunks_exact_mut(h * w * c).for_each(|row| {
            for (y, &factor) in row.chunks_exact_mut(c).zip(map) {
                match bias {
                    Some(bias) => y.iter_mut().zip(bias).for_each(|(y, &bias)| *y = *y * factor + bias),
                    None => {
                        for y in y {
                            *y *= factor;
                        }
                    }
                }
            }
        });
        Tensor::from_data(data, (&device, T::dtype()))
    })
}
