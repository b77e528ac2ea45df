//! What happens during an evaluation, and who is told.

use std::sync::{Mutex, PoisonError};

use fintan_artifact::RunError;

/// What happens during an evaluation.
///
/// ```
/// let event = fintan::EvaluationEvent::Work { what: "samples", done: 64, total: 128 };
/// assert!(matches!(event, fintan::EvaluationEvent::Work { done: 64, .. }));
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum EvaluationEvent<'a> {
    /// A piece of work begins, with `done` of 0, or goes on. `done` never falls while it does.
    Work {
        /// What is counted, in a word or two: `samples`, `features`.
        what: &'static str,
        /// Items done.
        done: usize,
        /// All items.
        total: usize,
    },
    /// Fewer images are compared than were asked for: half of the data are fewer.
    FewerImages {
        /// Images of each set.
        count: usize,
        /// What was asked for.
        wanted: usize,
    },
    /// Features or a classifier could not be kept for the next evaluation. The results are not affected.
    NotKept {
        /// Why.
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

    /// Begins a piece of work; what is given back is told how many more items are done.
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
