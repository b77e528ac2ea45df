//! Layers in their places: shapes worked out, settings checked.

use crate::architecture::{ArchitectureError, Node};
use crate::layer::{BatchNorm, Convolution, Layer, Pad, PadMode, Pair, Shape};
use crate::nonlinearity::Activation;
use crate::parametrization::{Init, Parametrization};

/// Most values of a sample, and most weights of a layer: what is counted from them fits into 64 bits.
const LARGEST: u128 = 1 << 44;

/// Largest number of rows or columns, and largest setting that counts them.
const LONGEST: usize = 1 << 24;

/// Works out the shapes of `layers` from `shape` on; `path` is where they are written.
pub(crate) fn place(
    mut shape: Shape,
    layers: &[Layer],
    path: &str,
    parametrization: Parametrization,
    next_index: &mut usize,
) -> Result<Vec<Node>, ArchitectureError> {
    let mut nodes = Vec::with_capacity(layers.len());
    for (i, layer) in layers.iter().enumerate() {
        let at = format!("{path}[{i}].{}", layer.name());
        let fail = |key: &str, message: String, help: Option<&str>| ArchitectureError {
            key: if key.is_empty() { at.clone() } else { format!("{at}.{key}") },
            message,
            help: help.map(Into::into),
        };
        let holds_parameters = match layer {
            Layer::Dense(_) | Layer::Conv(_) | Layer::Deconv(_) => true,
            Layer::BatchNorm(norm) => norm.affine,
            Layer::LayerNorm(norm) => norm.affine,
            _ => false,
        };
        measurable(layer, &fail)?;
        let index = holds_parameters.then(|| {
            *next_index += 1;
            *next_index - 1
        });
        let (mut branch, mut shortcut) = (Vec::new(), Vec::new());
        let output = match layer {
            Layer::Dense(dense) => {
                positive(dense.out, "out", &fail)?;
                check_init(dense.init, parametrization, &fail)?;
                if !shape.is_vector() {
                    let message = format!("`dense` needs a vector, but an image of {shape} arrives");
                    return Err(fail("", message, Some("put `flatten = {}` or `global_average_pool = {}` before it")));
                }
                Shape::vector(dense.out)
            }
            Layer::Conv(c) | Layer::Deconv(c) => {
                let transposed = matches!(layer, Layer::Deconv(_));
                positive(c.out, "out", &fail)?;
                check_init(c.init, parametrization, &fail)?;
                let [height, width] = [0, 1].map(|axis| {
                    let len = if axis == 0 { shape.height } else { shape.width };
                    window(c, axis, len, transposed, &fail)
                });
                Shape::image(c.out, height?, width?)
            }
            Layer::Pad(pad) => padded(pad, shape, &fail)?,
            Layer::Upsample(up) => {
                let Pair([rows, columns]) = up.factor;
                positive(rows.min(columns), "factor", &fail)?;
                Shape::image(shape.channels, shape.height * rows, shape.width * columns)
            }
            Layer::Activation(activation) => {
                check_activation(activation, &fail)?;
                shape
            }
            Layer::BatchNorm(BatchNorm { eps, momentum, .. }) => {
                if !(*eps >= 0.0 && eps.is_finite()) {
                    return Err(fail("eps", format!("`eps` must be at least 0, got {eps}"), None));
                }
                if !(*momentum > 0.0 && *momentum <= 1.0) {
                    return Err(fail("momentum", format!("`momentum` must be in (0, 1], got {momentum}"), None));
                }
                shape
            }
            Layer::LayerNorm(norm) => {
                positive_number(norm.eps, "eps", &fail)?;
                shape
            }
            Layer::Reshape(to) => {
                if to.len() != shape.len() || to.is_empty() {
                    let message = format!("`reshape` to {to} needs {} values, but {} arrive", to.len(), shape.len());
                    return Err(fail("", message, None));
                }
                *to
            }
            Layer::Flatten(_) => Shape::vector(shape.len()),
            Layer::GlobalAveragePool(_) => Shape::vector(shape.channels),
            Layer::Residual(block) => {
                positive_number(block.scale, "scale", &fail)?;
                branch = place(shape, &block.layers, &format!("{at}.layers"), parametrization, next_index)?;
                shortcut = place(shape, &block.shortcut, &format!("{at}.shortcut"), parametrization, next_index)?;
                let [through, around] =
                    [&branch, &shortcut].map(|nodes| nodes.last().map_or(shape, |n: &Node| n.output));
                if through != around {
                    let message = format!("the branch ends with {through}, the shortcut with {around}: they are added");
                    return Err(fail(
                        "",
                        message,
                        Some("make the shapes equal, for instance with a `conv` of kernel 1 in `shortcut`"),
                    ));
                }
                through
            }
        };
        let taps = match layer {
            Layer::Conv(c) | Layer::Deconv(c) => product([c.kernel.0[0], c.kernel.0[1], c.out]),
            Layer::Dense(dense) => dense.out as u128,
            Layer::Pad(_)
            | Layer::Upsample(_)
            | Layer::Activation(_)
            | Layer::BatchNorm(_)
            | Layer::LayerNorm(_)
            | Layer::Reshape(_)
            | Layer::Flatten(_)
            | Layer::GlobalAveragePool(_)
            | Layer::Residual(_) => 0,
        };
        let weights = taps.saturating_mul(shape.channels as u128);
        if weights > LARGEST {
            let message = format!("`{}` has {weights} weights; at most {LARGEST} can be counted", layer.name());
            return Err(fail("", message, None));
        }
        check_shape(output).map_err(|message| fail("", format!("`{}` gives {message}", layer.name()), None))?;
        nodes.push(Node { layer: layer.clone(), input: shape, output, index, branch, shortcut });
        shape = output;
    }
    Ok(nodes)
}

/// Refuses a shape whose values cannot be counted.
pub(crate) fn check_shape(shape: Shape) -> Result<(), String> {
    let values = product([shape.channels, shape.height, shape.width]);
    let side = shape.height.max(shape.width);
    if values == 0 {
        return Err(format!("a map of {}x{}x{}: it holds no value", shape.channels, shape.height, shape.width));
    }
    if values > LARGEST {
        return Err(format!("{shape} = {values} values a sample; at most {LARGEST} can be counted"));
    }
    if side > LONGEST {
        return Err(format!("a map of {shape}; at most {LONGEST} rows and columns are allowed"));
    }
    Ok(())
}

fn product(factors: [usize; 3]) -> u128 {
    factors.iter().fold(1, |all: u128, &n| all.saturating_mul(n as u128))
}

/// Refuses settings so large that the size of a map could not be worked out from them.
fn measurable(layer: &Layer, fail: Fail) -> Result<(), ArchitectureError> {
    let pairs: Vec<(&str, Pair)> = match layer {
        Layer::Conv(c) | Layer::Deconv(c) => vec![
            ("kernel", c.kernel),
            ("stride", c.stride),
            ("padding", c.padding),
            ("output_padding", c.output_padding),
        ],
        Layer::Pad(pad) => vec![("before", pad.before), ("after", pad.after)],
        Layer::Upsample(up) => vec![("factor", up.factor)],
        Layer::Reshape(to) => {
            return check_shape(*to).map_err(|message| fail("", format!("`reshape` to {message}"), None));
        }
        Layer::Dense(_)
        | Layer::Activation(_)
        | Layer::BatchNorm(_)
        | Layer::LayerNorm(_)
        | Layer::Flatten(_)
        | Layer::GlobalAveragePool(_)
        | Layer::Residual(_) => return Ok(()),
    };
    for (key, Pair(sides)) in pairs {
        for n in sides {
            if n > LONGEST {
                return Err(fail(key, format!("`{key}` must be at most {LONGEST}, got {n}"), None));
            }
        }
    }
    Ok(())
}

type Fail<'a> = &'a dyn Fn(&str, String, Option<&str>) -> ArchitectureError;

fn positive(n: usize, key: &str, fail: Fail) -> Result<(), ArchitectureError> {
    if n == 0 { Err(fail(key, format!("`{key}` must be at least 1, got 0"), None)) } else { Ok(()) }
}

fn positive_number(x: f64, key: &str, fail: Fail) -> Result<(), ArchitectureError> {
    if x > 0.0 && x.is_finite() {
        Ok(())
    } else {
        Err(fail(key, format!("`{key}` must be greater than 0, got {x}"), None))
    }
}

/// An initialisation of a layer's own.
fn check_init(init: Option<Init>, parametrization: Parametrization, fail: Fail) -> Result<(), ArchitectureError> {
    let Some(init) = init else { return Ok(()) };
    if !matches!(parametrization, Parametrization::Standard(_)) {
        let message = "`init` of a layer belongs to the `standard` parametrization";
        return Err(fail("init", message.into(), Some("under `ntk` and `graph` every weight is drawn from N(0, 1)")));
    }
    init.check().map_err(|(name, message)| fail(&format!("init.{name}"), message, None))
}

/// Shape of a padded map.
fn padded(pad: &Pad, shape: Shape, fail: Fail) -> Result<Shape, ArchitectureError> {
    if pad.mode != PadMode::Zero {
        for (key, Pair(frame)) in [("before", pad.before), ("after", pad.after)] {
            for (axis, len) in [shape.height, shape.width].into_iter().enumerate() {
                if frame[axis] > len {
                    let side = ["rows", "columns"][axis];
                    let message = format!("`{key}` must be at most the map ({len} {side}), got {}", frame[axis]);
                    return Err(fail(key, message, Some("only `mode = \"zero\"` pads further than the map is large")));
                }
            }
        }
    }
    let [height, width] = [0, 1].map(|axis| pad.before.0[axis] + pad.after.0[axis]);
    Ok(Shape::image(shape.channels, shape.height + height, shape.width + width))
}

/// Output length of a convolution along one axis.
fn window(c: &Convolution, axis: usize, len: usize, transposed: bool, fail: Fail) -> Result<usize, ArchitectureError> {
    let [kernel, stride, padding, extra] = [c.kernel, c.stride, c.padding, c.output_padding].map(|pair| pair.0[axis]);
    let side = ["rows", "columns"][axis];
    positive(kernel, "kernel", fail)?;
    positive(stride, "stride", fail)?;
    if padding >= kernel {
        return Err(fail(
            "padding",
            format!("`padding` must be smaller than the kernel ({kernel}), got {padding}"),
            None,
        ));
    }
    if transposed {
        if extra >= stride {
            let message = format!("`output_padding` must be smaller than the stride ({stride}), got {extra}");
            return Err(fail("output_padding", message, None));
        }
        let grown = (len - 1) * stride + kernel + extra;
        return grown.checked_sub(2 * padding).filter(|&n| n > 0).ok_or_else(|| {
            fail("padding", format!("`padding` {padding} cuts all {grown} {side} of the output away"), None)
        });
    }
    if extra > 0 {
        return Err(fail("output_padding", "`output_padding` belongs to `deconv`".into(), None));
    }
    let padded = len + 2 * padding;
    if kernel > padded {
        let message = format!("the kernel ({kernel}) is larger than its map ({len} {side}, {padded} with padding)");
        return Err(fail("kernel", message, None));
    }
    Ok((padded - kernel) / stride + 1)
}

fn check_activation(activation: &Activation, fail: Fail) -> Result<(), ArchitectureError> {
    use crate::function::Function;
    use crate::nonlinearity::Scaling;
    let Activation { function, scaling, gain, slope, mu } = *activation;
    positive_number(gain, "gain", fail)?;
    if slope.is_some() && !function.takes_slope() {
        let takers = Function::ALL.iter().filter(|f| f.takes_slope()).map(|f| format!("`{}`", f.name()));
        return Err(fail("slope", format!("`slope` belongs to {}", takers.collect::<Vec<_>>().join(" and ")), None));
    }
    if let Some(slope) = slope.filter(|s| !s.is_finite()) {
        return Err(fail("slope", format!("`slope` must be a number, got {slope}"), None));
    }
    match (scaling, mu) {
        (Scaling::Partial, None) => Err(fail(
            "scaling",
            "`partial` scaling needs `mu`, the value it subtracts".into(),
            Some("for instance mu = 0.2"),
        )),
        (Scaling::Partial, Some(mu)) if !mu.is_finite() => {
            Err(fail("mu", format!("`mu` must be a number, got {mu}"), None))
        }
        (Scaling::Partial, Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => Err(fail("mu", "`mu` belongs to `scaling = \"partial\"`".into(), None)),
    }
}
