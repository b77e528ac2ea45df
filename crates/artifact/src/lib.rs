//! What a stage writes and a report reads: run directories, curves, manifests
