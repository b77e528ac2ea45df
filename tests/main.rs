//! Behaviour across crates, through the binary.
//!
//! - [`compare`]: configurations and runs with the same seeds in one table
//! - [`config_errors`]: what a wrong configuration is answered, word for word
//! - [`configs`]: every file in `configs/` is sound, and the pair differs in one setting
//! - [`curvature`]: the Hessian of a task's loss against dense matrices, on every device
//! - [`data`]: what a wrong data set is answered
//! - [`devices`]: ndarray, flex and wgpu train alike
//! - [`evaluation`]: metrics of samples beside the data's own, kept by step
//! - [`export`]: generators for other programs, and back
//! - [`gpu`]: the largest tensor of a GPU, the method of its convolutions, the search for it
//! - [`health`]: what goes wrong with a GAN is said in words
//! - [`includes`]: configurations that build on others
//! - [`kernel_files`]: tiles and kernels in files, what is not finite, shares of the trace
//! - [`kernel_memory`]: kernels within a bound on memory
//! - [`kernels`]: empirical kernels, by every method, from files, of checkpoints
//! - [`locks`]: one writer a folder, tiles that are shared, starts that are refused or killed
//! - [`losses`]: losses of GANs, spectral normalization, schedules
//! - [`moments`]: moments through depth, however cut; of given weights on GPUs
//! - [`observed`]: kernels beside training
//! - [`regimes`]: order and chaos of untrained and trained generators
//! - [`report`]: runs on one page, read by a browser
//! - [`runs`]: run directories: resume, interrupts, nothing overwritten, nothing lost
//! - [`running_statistics`]: batch norms in evaluation mode, with weights from elsewhere
//! - [`samples`]: grids, single images, arrays, interpolations
//! - [`sources`]: every source of data in every place that reads one
//! - [`supervised`]: networks with a task: training against closed forms, runs that go on exactly, kernels of the task
//! - [`terminal`]: full disks, closed pipes, hostile names on stdout and stderr
//! - [`theory`]: infinite width beside published numbers, finite networks and trained losses
//! - [`tuning`]: a knob is solved for, and the tuned configuration written

#![allow(clippy::disallowed_methods, reason = "a test that cannot read its own files may panic with any message")]

mod archives;
mod compare;
mod config_errors;
mod configs;
mod curvature;
mod data;
mod devices;
mod evaluation;
mod export;
mod gpu;
mod health;
mod includes;
mod kernel_files;
mod kernel_memory;
mod kernels;
mod locks;
mod losses;
mod moments;
mod observed;
mod regimes;
mod report;
mod resume;
mod running_statistics;
mod runs;
mod samples;
mod sources;
mod supervised;
mod support;
mod terminal;
mod theory;
mod tuning;
