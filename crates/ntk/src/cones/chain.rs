//! A chain of layers with its weights and the activations of a batch.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use super::geometry::{self, Geometry, GeometryError};
use super::real::Real;

/// A layer `h = scale[u] (W * a)[u] + bias_scale b` with the activations of `N` samples.
#[derive(Debug, Clone)]
pub struct ConeLayer<'a, T: Clone> {
    /// Shape of the layer.
    pub geometry: Geometry,
    /// `[k_h k_w c_big, c_small]`, row `(ky k_w + kx) c_big + c`; `c_big` counts the output channels of a transposed
    /// convolution and the input channels of a convolution.
    pub weights: &'a [T],
    /// `[h_out w_out]`: factor of the weight term at each output position.
    pub scale: Vec<T>,
    /// Factor `beta` of the bias.
    pub bias_scale: f64,
    /// `[N, h_in, w_in, c_in]`: input of the layer.
    pub activations: Cow<'a, [T]>,
    /// `[N, h_out, w_out, c_out]`: derivative of the pointwise functions after this layer, up to the next layer or the
    /// output of the network; `None` if there are none.
    pub derivative: Option<Cow<'a, [T]>>,
}

/// Layers from the input side to the output side, with data of a batch.
#[derive(Debug, Clone)]
pub struct Chain<'a, T: Clone> {
    samples: usize,
    layers: Vec<ConeLayer<'a, T>>,
    derivative: Option<Cow<'a, [T]>>,
}

/// The error for layers that do not form a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainError {
    /// The batch is empty.
    NoSample,
    /// The shapes do not match.
    Geometry(GeometryError),
    /// A slice of a layer (or of the chain's input, for layer 0's `derivative`) has the wrong length.
    Length {
        /// Index of the layer.
        layer: usize,
        /// Name of the slice.
        what: &'static str,
        /// The required length.
        expected: usize,
        /// The actual length.
        found: usize,
    },
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSample => write!(f, "a chain needs a sample"),
            Self::Geometry(error) => error.fmt(f),
            Self::Length { layer, what, expected, found } => {
                write!(f, "{what} of layer {layer}: expected {expected} values, found {found}")
            }
        }
    }
}

impl Error for ChainError {}

impl<'a, T: Real> Chain<'a, T> {
    /// Builds a chain and checks every length. `derivative` is `[N, h, w, c]` at the input of the chain: the derivative of
    /// the pointwise functions between the layers below and the first layer.
    ///
    /// # Errors
    ///
    /// If there is no sample, if the shapes of consecutive layers differ, or if a slice has the wrong length.
    pub fn new(
        samples: usize,
        layers: Vec<ConeLayer<'a, T>>,
        derivative: Option<Cow<'a, [T]>>,
    ) -> Result<Self, ChainError> {
        if samples == 0 {
            return Err(ChainError::NoSample);
        }
        let shapes: Vec<_> = layers.iter().map(|layer| layer.geometry).collect();
        geometry::check(&shapes).map_err(ChainError::Geometry)?;
        let check = |layer: usize, what, found: usize, expected: usize| {
            if found == expected { Ok(()) } else { Err(ChainError::Length { layer, what, expected, found }) }
        };
        for (i, layer) in layers.iter().enumerate() {
            let input = samples * layer.geometry.input.iter().product::<usize>();
            let output = samples * layer.geometry.output.iter().product::<usize>();
            check(i, "weights", layer.weights.len(), layer.geometry.weights())?;
            check(i, "scale", layer.scale.len(), layer.geometry.output[0] * layer.geometry.output[1])?;
            check(i, "activations", layer.activations.len(), input)?;
            if let Some(derivative) = &layer.derivative {
                check(i, "derivative", derivative.len(), output)?;
            }
        }
        if let Some(derivative) = &derivative {
            check(0, "input derivative", derivative.len(), samples * shapes[0].input.iter().product::<usize>())?;
        }
        Ok(Self { samples, layers, derivative })
    }

    /// Number of samples `N`.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The layers, from the input side.
    pub fn layers(&self) -> &[ConeLayer<'a, T>] {
        &self.layers
    }

    /// The derivative by which cotangents are multiplied at a level.
    pub(super) fn derivative(&self, level: usize) -> Option<&[T]> {
        match level.checked_sub(1) {
            None => self.derivative.as_deref(),
            Some(layer) => self.layers[layer].derivative.as_deref(),
        }
    }

    /// The derivative at a level for one sample: `[h, w, c]`.
    pub(super) fn derivative_of(&self, level: usize, sample: usize) -> Option<&[T]> {
        let len = self.map(level).iter().product::<usize>();
        self.derivative(level).map(|values| &values[sample * len..(sample + 1) * len])
    }

    /// Rows, columns and channels of a level.
    pub(super) fn map(&self, level: usize) -> [usize; 3] {
        level.checked_sub(1).map_or(self.layers[0].geometry.input, |layer| self.layers[layer].geometry.output)
    }

    /// Derivative of one selected output at the last level.
    pub(super) fn output_derivative(&self, sample: usize, [y, x]: [usize; 2], channel: usize) -> T {
        let layer = &self.layers[self.layers.len() - 1];
        let [h, w, c] = layer.geometry.output;
        layer.derivative.as_ref().map_or(T::of(1.0), |values| values[((sample * h + y) * w + x) * c + channel])
    }
}

impl<T: Real> ConeLayer<'_, T> {
    /// `a_n[q]`.
    pub(super) fn activation(&self, sample: usize, [y, x]: [usize; 2]) -> &[T] {
        let [h, w, c] = self.geometry.input;
        let at = ((sample * h + y) * w + x) * c;
        &self.activations[at..at + c]
    }

    /// `beta^2`.
    pub(super) fn bias_square(&self) -> f64 {
        self.bias_scale * self.bias_scale
    }
}
