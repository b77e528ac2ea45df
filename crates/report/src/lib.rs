//! Shows run directories as pictures and pages.
//!
//! A report reads files and arrays on the host. It computes nothing and uses no device.

mod grid;
mod kernel;
mod page;
mod plot;
mod raster;

pub use grid::{GridError, grid_gif, grid_png, image_png};
pub use kernel::{heat_map_png, spectrum_png, spectrum_svg};
pub use page::{LayerRegime, PageError, Shown, page};
pub use plot::{Axes, Curve, Mark, PlotError, Stands, curves_png, curves_svg};
