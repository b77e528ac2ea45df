//! Image data sets as batches in [-1, 1].
//!
//! A set is decoded once, to bytes in memory ([`Images`]), and walked through in an order that depends on a seed alone
//! ([`Order`]). Batches are channels last, `[batch, rows, columns, channels]`, as networks take them.

mod cifar;
mod error;
mod files;
mod fit;
mod idx;
mod images;
mod order;
mod shapes;

pub use error::DataError;
pub use images::Images;
pub use order::Order;
pub use shapes::CLASSES;
