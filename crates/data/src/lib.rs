//! Image data sets as batches in [-1, 1], and inputs with targets.
//!
//! A set is decoded once, to bytes in memory ([`Images`]), and walked through in an order that depends on a seed alone
//! ([`Order`]). Batches are channels last, `[batch, rows, columns, channels]`, as networks take them. A supervised task
//! has its samples on the host ([`TaskData`]), a subset of such a set or drawn.

mod arrays;
mod bounds;
mod cifar;
mod error;
mod examples;
mod files;
mod fit;
mod gzip;
mod idx;
mod images;
mod jpeg;
mod left_out;
mod order;
mod parallel;
mod picture;
mod seeds;
mod shapes;
mod teacher;

pub use cifar::holds_batches;
pub use error::DataError;
pub use examples::{Examples, TaskData};
pub use files::looks_like_tar;
pub use images::{Images, fingerprint, fingerprint_of_values};
pub use left_out::{LeftOut, Reason};
pub use order::Order;
pub use seeds::{Purpose, stream};
pub use shapes::CLASSES;
