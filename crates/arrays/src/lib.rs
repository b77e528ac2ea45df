//! Reads and writes NumPy's array files: `.npy` with one array, `.npz` with several named arrays.
//!
//! [`ArrayFile`] reads only the arrays that are asked for. The header (lengths, types, orders) is checked against the size
//! of the file before memory is allocated.

mod array;
mod element;
mod error;
mod header;
mod literal;
mod read;
mod write;

pub use array::{Array, ArrayValues};
pub use element::Element;
pub use error::ArrayError;
pub use read::{ArrayFile, StoredArray};
pub use write::write_npz;
