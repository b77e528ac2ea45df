//! `conv` and `deconv`: a linear map of windows, and its adjoint.

use serde::{Deserialize, Serialize};

use super::{Definition, Parameters, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::citations::Citation;
use crate::parametrization::Init;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape, one_pair, zero_pair};

/// The tangent kernel of convolutional networks.
pub(crate) const CONVOLUTIONS: Citation = Citation::new(
    "@inproceedings{arora2019exact,
  author = {Arora, Sanjeev and Du, Simon S. and Hu, Wei and Li, Zhiyuan and Salakhutdinov, Ruslan and Wang, Ruosong},
  title = {On Exact Computation with an Infinitely Wide Neural Net},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
  eprint = {1904.11955},
  archiveprefix = {arXiv},
}",
);

/// A convolution or transposed convolution.
///
/// Size of the output in each dimension: convolution `⌊(h + 2 padding - kernel) / stride⌋ + 1`, transposed convolution
/// `(h - 1) stride - 2 padding + kernel + output_padding`.
///
/// ```
/// use fintan_config::{Architecture, Parametrization, Shape};
///
/// let layers = [toml::from_str("deconv = { out = 2, kernel = 4, stride = 2, padding = 1 }")?];
/// let network = Architecture::new(Shape::image(3, 4, 4), &layers, Parametrization::default())?;
/// assert_eq!(network.output(), Shape::image(2, 8, 8)); // (4 - 1) · 2 - 2 + 4
/// assert_eq!(network.nodes[0].fan_in(), Some(3.0 * 16.0 / 4.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Number of output channels.
    pub out: usize,
    /// Kernel size.
    pub kernel: Pair,
    /// Stride; for a transposed convolution, the up-sampling factor.
    #[serde(default = "one_pair")]
    pub stride: Pair,
    /// Zero padding; for a transposed convolution, the frame that is cut off.
    #[serde(default = "zero_pair")]
    pub padding: Pair,
    /// Rows and columns added at the far end of a transposed convolution's output.
    #[serde(default = "zero_pair")]
    pub output_padding: Pair,
    /// How its weights are drawn, if not by the network's `parametrization.standard.init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
}

/// The definition of `conv`.
pub(super) struct Conv<'a>(pub(super) &'a Convolution);

/// The definition of `deconv`.
pub(super) struct Deconv<'a>(pub(super) &'a Convolution);

impl Definition for Conv<'_> {
    fn properties(&self) -> Properties {
        Properties::LINEAR
    }

    fn citations(&self) -> &'static [Citation] {
        &[CONVOLUTIONS]
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        self.0.sizes()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        self.0.place(place, convolved)
    }

    fn parameters(&self, input: Shape, output: Shape) -> Parameters {
        let [rows, columns] = self.0.kernel.0;
        self.0.parameters(input, (input.channels * rows * columns) as f64, output.positions())
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::Conv(*self.0)
    }
}

impl Definition for Deconv<'_> {
    fn properties(&self) -> Properties {
        Properties::LINEAR
    }

    fn citations(&self) -> &'static [Citation] {
        &[]
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        self.0.sizes()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        self.0.place(place, transposed)
    }

    /// The fan-in is channels times kernel / stride along each axis (a mean if the stride does not divide the kernel). It is
    /// smaller if the map is so small that no position has that many parents.
    fn parameters(&self, input: Shape, output: Shape) -> Parameters {
        let most = self.0.parents(input, output).map(|axis| axis.into_iter().max().unwrap_or(0) as f64);
        let taps = [0, 1].map(|axis| (self.0.kernel.0[axis] as f64 / self.0.stride.0[axis] as f64).min(most[axis]));
        self.0.parameters(input, input.channels as f64 * taps[0] * taps[1], input.positions())
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::Deconv(*self.0)
    }
}

impl Convolution {
    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        vec![
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("padding", self.padding),
            ("output_padding", self.output_padding),
        ]
    }

    fn place(
        &self,
        place: &mut Place,
        length: impl Fn(&Axis, &Place) -> Result<usize, ArchitectureError>,
    ) -> Result<Placed, ArchitectureError> {
        place.at_least_one("out", self.out)?;
        place.check_init(self.init)?;
        let [height, width] =
            [("rows", place.input.height, 0), ("columns", place.input.width, 1)].map(|(side, len, axis)| {
                let [kernel, stride, padding, extra] =
                    [self.kernel, self.stride, self.padding, self.output_padding].map(|pair| pair.0[axis]);
                place.at_least_one("kernel", kernel)?;
                place.at_least_one("stride", stride)?;
                if padding >= kernel {
                    let message = format!("`padding` must be smaller than the kernel ({kernel}), got {padding}");
                    return Err(place.error("padding", message));
                }
                length(&Axis { side, len, kernel, stride, padding, extra }, place)
            });
        let shape = Shape::image(self.out, height?, width?);
        place.count_weights([self.kernel.0[0], self.kernel.0[1], self.out])?;
        Ok(shape.into())
    }

    fn parameters(&self, input: Shape, fan_in: f64, sites: usize) -> Parameters {
        let weights = input.channels * self.out * self.kernel.0[0] * self.kernel.0[1];
        Parameters::Linear { weights, biases: self.out, fan_in, sites, init: self.init }
    }

    /// The number of input positions that reach each output row and column of a transposed convolution: the parents of the
    /// position graph. An output position (p, q) has `rows[p] · columns[q]` parents.
    pub(crate) fn parents(&self, input: Shape, output: Shape) -> [Vec<usize>; 2] {
        let sizes = [(input.height, output.height), (input.width, output.width)];
        [0, 1].map(|axis| {
            let (len_in, len_out) = sizes[axis];
            let (k, s, pad) = (self.kernel.0[axis], self.stride.0[axis], self.padding.0[axis]);
            // Input row q reaches the output rows q s - pad to q s - pad + k - 1.
            (0..len_out)
                .map(|p| {
                    let first = (p + pad + 1).saturating_sub(k).div_ceil(s);
                    ((p + pad) / s + 1).min(len_in).saturating_sub(first)
                })
                .collect()
        })
    }
}

/// A convolution along one axis of a map.
struct Axis {
    side: &'static str,
    len: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    extra: usize,
}

/// The output length of a convolution.
fn convolved(axis: &Axis, place: &Place) -> Result<usize, ArchitectureError> {
    let Axis { side, len, kernel, stride, padding, extra } = *axis;
    if extra > 0 {
        return Err(place.error("output_padding", "`output_padding` belongs to `deconv`".into()));
    }
    let padded = len + 2 * padding;
    if kernel > padded {
        let message = format!("the kernel ({kernel}) is larger than its map ({len} {side}, {padded} with padding)");
        return Err(place.error("kernel", message));
    }
    Ok((padded - kernel) / stride + 1)
}

/// The output length of a transposed convolution.
fn transposed(axis: &Axis, place: &Place) -> Result<usize, ArchitectureError> {
    let Axis { side, len, kernel, stride, padding, extra } = *axis;
    if extra >= stride {
        let message = format!("`output_padding` must be smaller than the stride ({stride}), got {extra}");
        return Err(place.error("output_padding", message));
    }
    let grown = (len - 1) * stride + kernel + extra;
    grown.checked_sub(2 * padding).filter(|&n| n > 0).ok_or_else(|| {
        place.error("padding", format!("`padding` {padding} cuts all {grown} {side} of the output away"))
    })
}
