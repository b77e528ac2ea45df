//! Image data sets as batches in [-1, 1]
