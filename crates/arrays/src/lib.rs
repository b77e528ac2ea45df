//! Arrays as NumPy writes them: `.npy`, and `.npz` with a name for each.
//!
//! [`ArrayFile`] reads the arrays that are asked for and no others. What a file says of itself (lengths, types, orders) is
//! checked against its bytes before memory is taken for it.

mod array;
mod element;
mod error;
mod header;
mod literal;
mod read;
mod write;

pub use array::{Array, Values};
pub use element::Element;
pub use error::ArrayError;
pub use read::{ArrayFile, StoredArray};
pub use write::write_npz;
