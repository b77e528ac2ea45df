//! New memory that all processors write.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{HostNumber, with_widest_vectors};

/// A vector of `len` values. `write` receives chunks of zeros, in parallel: their number in order, and a state that `start` makes
/// for some chunks.
///
/// Each task clears its own chunk just before it writes it, so the chunk stays in the cache.
///
/// # Measured
/// A training step (`cargo bench --bench train_step -- --one flex none 20`) spent 3.3 % of its time clearing whole vectors, all
/// of it on one thread while the others waited.
pub(crate) fn written_in_chunks<T: HostNumber, S>(
    len: usize,
    chunk: usize,
    start: impl Fn() -> S + Sync + Send,
    write: impl Fn(&mut S, usize, &mut [T]) + Sync,
) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    let write_part = |state: &mut S, (i, part): (usize, &mut [MaybeUninit<T>])| {
        part.fill(MaybeUninit::new(T::default()));
        #[expect(
            unsafe_code,
            reason = "there is no other way to clear a vector on several threads; the gain is written above"
        )]
        // SAFETY: every value of the part was just written.
        let part = unsafe { part.assume_init_mut() };
        with_widest_vectors(
            #[inline(always)]
            || write(state, i, part),
        );
    };
    let parts = &mut values.spare_capacity_mut()[..len];
    if len <= chunk {
        write_part(&mut start(), (0, parts));
    } else {
        parts.par_chunks_mut(chunk.max(1)).enumerate().for_each_init(start, write_part);
    }
    #[expect(
        unsafe_code,
        reason = "only the length is unknown to a vector that was written in parts; the gain is written above"
    )]
    // SAFETY: the parts cover the first `len` values, and each was written.
    unsafe {
        values.set_len(len);
    }
    values
}
