//! Image data sets as batches in [-1, 1], and inputs with targets.
//!
//! A data set is decoded once, to bytes in memory ([`Images`]), and visited in an order that depends only on a seed
//! ([`Order`]). Batches are channels last, `[batch, rows, columns, channels]`, the layout of networks. The samples of a
//! supervised task are on the host ([`TaskData`]); they are a subset of such a set, or drawn at random.

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
