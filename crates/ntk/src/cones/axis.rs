//! Windows along one axis; every spatial computation is a product of two axes.

use super::geometry::{Geometry, LayerKind};

/// Positions `start .. start + len` of an infinite axis. Some of them may lie outside the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: isize,
    pub(super) len: usize,
}

impl Interval {
    pub(super) const EMPTY: Self = Self { start: 0, len: 0 };

    pub(super) fn end(self) -> isize {
        self.start + self.len as isize
    }

    /// The part of the interval on a map of `size` positions.
    pub(super) fn clip(self, size: usize) -> std::ops::Range<usize> {
        let start = self.start.clamp(0, size as isize) as usize;
        start..(self.end().clamp(0, size as isize) as usize).max(start)
    }
}

/// One axis of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    kind: LayerKind,
    kernel: usize,
    stride: isize,
    padding: isize,
    /// Number of positions of the layer's input.
    pub(super) input: usize,
}

impl Axis {
    pub(super) fn new(layer: &Geometry, axis: usize) -> Self {
        Self {
            kind: layer.kind,
            kernel: layer.kernel[axis],
            stride: layer.stride[axis] as isize,
            padding: layer.padding[axis] as isize,
            input: layer.input[axis],
        }
    }

    /// The smallest interval that contains all inputs read by the interval `outputs`.
    pub(super) fn window(self, outputs: Interval) -> Interval {
        if outputs.len == 0 {
            return Interval::EMPTY;
        }
        let (s, p, k) = (self.stride, self.padding, self.kernel as isize);
        let (start, last) = match self.kind {
            // The divisions round up and down, also for negative numbers.
            LayerKind::Deconv => (-(k - 1 - p - outputs.start).div_euclid(s), (outputs.end() - 1 + p).div_euclid(s)),
            LayerKind::Conv => (s * outputs.start - p, s * (outputs.end() - 1) - p + k - 1),
        };
        if last < start { Interval::EMPTY } else { Interval { start, len: (last - start + 1) as usize } }
    }

    /// The tap that connects an output and an input; `None` if there is none.
    pub(super) fn tap(self, output: isize, input: isize) -> Option<usize> {
        let tap = match self.kind {
            LayerKind::Deconv => output + self.padding - self.stride * input,
            LayerKind::Conv => input + self.padding - self.stride * output,
        };
        usize::try_from(tap).ok().filter(|&tap| tap < self.kernel)
    }

    /// Taps that can reach an output, in order; they are the same for all outputs of a residue class.
    pub(super) fn taps(self, output: usize) -> Vec<usize> {
        let reaches = |tap: &usize| match self.kind {
            LayerKind::Deconv => (output as isize + self.padding - *tap as isize).rem_euclid(self.stride) == 0,
            LayerKind::Conv => true,
        };
        (0..self.kernel).filter(reaches).collect()
    }

    /// The input that one of [`Self::taps`] connects to an output; `None` if it is off the map.
    pub(super) fn source(self, output: usize, tap: usize) -> Option<usize> {
        let (u, k) = (output as isize, tap as isize);
        let q = match self.kind {
            LayerKind::Deconv => (u + self.padding - k).div_euclid(self.stride),
            LayerKind::Conv => self.stride * u + k - self.padding,
        };
        usize::try_from(q).ok().filter(|&q| q < self.input)
    }

    /// Shift of the inputs when an output moves by `shift`, a multiple of the modulus, with the tap fixed.
    pub(super) fn input_shift(self, shift: isize) -> isize {
        match self.kind {
            LayerKind::Deconv => shift / self.stride,
            LayerKind::Conv => shift * self.stride,
        }
    }

    /// Relative position of an input window and the output window that reads it: equal offsets and lengths mean equal taps.
    pub(super) fn offset(self, outputs: Interval, inputs: Interval) -> isize {
        match self.kind {
            _ if inputs.len == 0 => 0,
            LayerKind::Deconv => self.stride * inputs.start - outputs.start,
            LayerKind::Conv => 0,
        }
    }

    /// The outputs of a window that read one input, with the tap of the first; outputs are counted from the start of the
    /// window.
    pub(super) fn readers(self, outputs: Interval, input: isize) -> Option<Readers> {
        let tap = |j: usize| self.tap(outputs.start + j as isize, input);
        let start = (0..outputs.len).find(|&j| tap(j).is_some())?;
        let len = (start..outputs.len).take_while(|&j| tap(j).is_some()).count();
        Some(Readers { start, len, tap: tap(start)?, step: self.tap_step() })
    }

    /// Change of the tap from one output to the next, for a fixed input.
    fn tap_step(self) -> isize {
        match self.kind {
            LayerKind::Deconv => 1,
            LayerKind::Conv => -self.stride,
        }
    }
}

/// Neighbouring outputs that read the same input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readers {
    pub(super) start: usize,
    pub(super) len: usize,
    /// Tap of the first output.
    pub(super) tap: usize,
    step: isize,
}

impl Readers {
    /// Tap of output number `i`.
    pub(super) fn tap_of(self, i: usize) -> usize {
        (self.tap as isize + i as isize * self.step) as usize
    }
}

/// Cones along one axis of a chain, for every position of the last map.
#[derive(Debug, Clone)]
pub(super) struct AxisCones {
    /// `[position][level]`.
    pub(super) windows: Vec<Vec<Interval>>,
    /// Class of each position: cones of the same class have the same shape and, below the last layer, the same taps.
    pub(super) class: Vec<usize>,
}

impl AxisCones {
    pub(super) fn new(layers: &[Geometry], axis: usize) -> Self {
        let positions = layers[layers.len() - 1].output[axis];
        let (mut windows, mut class, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for position in 0..positions {
            let mut cone = vec![Interval::EMPTY; layers.len() + 1];
            cone[layers.len()] = Interval { start: position as isize, len: 1 };
            let mut key = Vec::new();
            for (level, layer) in layers.iter().enumerate().rev() {
                let axis = Axis::new(layer, axis);
                cone[level] = axis.window(cone[level + 1]);
                // Taps of the last layer are looked up for each pixel, so they may differ within a class.
                let top = level + 1 == layers.len();
                key.push((cone[level].len, if top { 0 } else { axis.offset(cone[level + 1], cone[level]) }));
            }
            class.push(keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            }));
            windows.push(cone);
        }
        Self { windows, class }
    }
}
