//! What happens during an evaluation, and who is told.

use std::sync::{Mutex, PoisonError};

use fintan_artifact::RunError;

/// An event during an evaluation.
///
/// ```
/// let event = fintan::EvaluationEvent::Work { what: "samples", done: 64, total: 128 };
/// assert!(matches!(event, fintan::EvaluationEvent::Work { done: 64, .. }));
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum EvaluationEvent<'a> {
    /// A piece of work begins (`done` is 0) or makes progress. Within a piece of work `done` never decreases.
    Work {
        /// The name of the items: `samples`, `features`.
        what: &'static str,
        /// Number of finished items.
        done: usize,
        /// Total number of items.
        total: usize,
    },
    /// The sets have fewer images than requested, because half of the data has fewer.
    FewerImages {
        /// Images of each set.
        count: usize,
        /// The requested number.
        wanted: usize,
    },
    /// Features or a classifier could not be cached for the next evaluation. The results are not affected.
    NotKept {
        /// The reason.
        reason: &'a RunError,
    },
}

pub(super) type OnEvent<'a> = dyn FnMut(EvaluationEvent<'_>) + Send + 'a;

/// Who is told of events, from any thread.
#[derive(Clone, Copy)]
pub(super) struct Listener<'a>(pub(super) &'a (dyn Fn(EvaluationEvent<'_>) + Sync));

impl<'a> Listener<'a> {
    pub(super) fn tell(self, event: EvaluationEvent<'_>) {
        (self.0)(event);
    }

    /// Begins a piece of work. The closure that it returns takes the number of newly finished items.
    pub(super) fn work(self, what: &'static str, total: usize) -> impl Fn(usize) + Sync + 'a {
        self.tell(EvaluationEvent::Work { what, done: 0, total });
        let done = Mutex::new(0);
        move |more| {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            *done += more;
            self.tell(EvaluationEvent::Work { what, done: *done, total });
        }
    }
}
