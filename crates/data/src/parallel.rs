//! Processes many images in parallel.

/// Applies `one` to each item on all processors; the results are in the order of the items.
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, one: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(1);
    let mut items = items.into_iter();
    let one = &one;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let some: Vec<T> = items.by_ref().take(share).collect();
                scope.spawn(move || some.into_iter().map(one).collect::<Vec<R>>())
            })
            .collect();
        let done = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        done.flat_map(|worker| worker.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn items_keep_their_order() {
        for count in [0, 1, 7, 1000] {
            let squares: Vec<usize> = (0..count).map(|i| i * i).collect();
            assert_eq!(super::map((0..count).collect(), |i: usize| i * i), squares);
        }
    }
}
