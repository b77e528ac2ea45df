//! Families of networks: the block of layers that a network repeats, with any number of repetitions.
//!
//! The effect of depth on a network is studied in a family of networks. The block is the shortest repeated run of hidden
//! layers among those that cover most of the network. If no run is repeated, all hidden layers form the block. Under the
//! `ntk` and `graph` parametrizations the limit does not depend on widths, so layers that differ only in width count as
//! equal.

use std::collections::HashMap;

use fintan_config::{Architecture, ArchitectureError, Layer, Parametrization, Scaling, Shape, Transform};

use crate::bulk::{Bulk, Rule};
use crate::depth::Law;
use crate::limit::{Growing, LimitError, Relation};
use crate::mean_field::{MeanField, critical_line_of_block};
use crate::wide::Wide;

/// A family of networks: the layers `head`, then the block any number of times, then the layers `tail`.
///
/// ```
/// use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// use fintan_theory::Family;
///
/// let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// let hidden = [Layer::Dense(8.into()), relu];
/// let layers = [&hidden[..], &hidden, &hidden, &[Layer::Dense(1.into())]].concat();
/// let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// let family = Family::of(&network)?.expect("hidden layers");
/// assert_eq!((family.repeats(), family.member(10)?.nodes.len()), (3, 2 * 10 + 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Family {
    /// The network itself, without its output nonlinearity.
    network: Architecture,
    head: Vec<Layer>,
    /// The blocks of the network; they differ at most in their widths.
    blocks: Vec<Vec<Layer>>,
    tail: Vec<Layer>,
    /// The last block, away from borders, from one pre-activation to the next.
    rules: Vec<Rule>,
    /// Variance of the pre-activations after the first block, for inputs of unit variance.
    start: Wide,
    /// Whether all its layers are dense with the same variances, with one and the same nonlinearity in between.
    is_plain: bool,
}

/// Relations of pairs of inputs in the members of a family.
///
/// ```
/// # use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// # let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// # let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// # let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// use fintan_theory::Family;
///
/// // `network` has one block, dense and standardized ReLU.
/// let sweep = Family::of(&network)?.expect("hidden layers").sweep(&[0.5, 1.0], 3)?.expect("inputs");
/// assert_eq!((sweep.repeats, sweep.layers), (vec![1, 2, 3], vec![2, 3, 4]));
/// assert_eq!((sweep.relations.len(), sweep.relations[0].len()), (2, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Number of blocks of each member.
    pub repeats: Vec<usize>,
    /// Number of linear layers of each member.
    pub layers: Vec<usize>,
    /// The relation of each pair of inputs in each member: `relations[pair][member]`.
    pub relations: Vec<Vec<Relation>>,
}

/// Largest total number of positions, or of pairs of positions, for all members of a sweep.
const ENTRIES: usize = 1 << 16;

impl Family {
    /// The family of a network; `None` if the network has no hidden layers.
    ///
    /// # Errors
    /// A network without a limit.
    pub fn of(architecture: &Architecture) -> Result<Option<Self>, LimitError> {
        let architecture = architecture.before_output();
        crate::limit::NetworkLimit::of_outputs(&architecture)?;
        let layers: Vec<Layer> = architecture.nodes.iter().map(|node| node.layer.clone()).collect();
        let Some(last) = layers.iter().rposition(is_piece) else { return Ok(None) };
        let end = if layers[last].residual().is_some() { last + 1 } else { last };
        let first = architecture.nodes.iter().take_while(|node| node.transform() == Transform::Reshape).count();
        let scaled = !matches!(architecture.parametrization, Parametrization::Standard(_));
        let hidden = &layers[first.min(end)..end];
        let Some((begin, period, count)) = repeated(hidden, scaled) else { return Ok(None) };
        let begin = first + begin;
        let behind = begin + period * count;
        let blocks: Vec<Vec<Layer>> = layers[begin..behind].chunks(period).map(<[Layer]>::to_vec).collect();

        let rules: Vec<Rule> =
            architecture.nodes.iter().map(|node| Rule::of(node, architecture.parametrization)).collect();
        let piece = blocks[0].iter().rposition(is_piece).unwrap_or(period - 1) + 1;
        let start = Bulk::of(Wide::new(1.0)).through(&rules[..begin + piece])?.q;
        let mut block = rules[behind - period..behind].to_vec();
        block.rotate_left(piece % period);
        Ok(Some(Self {
            head: layers[..begin].to_vec(),
            tail: layers[behind..].to_vec(),
            blocks,
            rules: block,
            start,
            is_plain: scaled && is_plain(&layers),
            network: architecture,
        }))
    }

    /// Number of blocks in the network.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.blocks.len()
    }

    /// The member of the family with `repeats` blocks.
    ///
    /// # Errors
    /// Layers that do not fit, for instance if the block halves an image more often than the size of the image allows.
    pub fn member(&self, repeats: usize) -> Result<Architecture, ArchitectureError> {
        let block = |k: usize| &self.blocks[k.min(self.blocks.len() - 1)];
        let middle = (0..repeats).flat_map(block);
        let layers: Vec<Layer> = self.head.iter().chain(middle).chain(&self.tail).cloned().collect();
        Architecture::new(self.network.input, &layers, self.network.parametrization)
    }

    /// Number of values that are computed for one input: positions of all maps, or pairs of positions if the network pools.
    #[must_use]
    pub fn entries(&self) -> usize {
        entries(&self.network)
    }

    /// Names of the layers before the block, in the block, and after it.
    #[must_use]
    pub fn names(&self) -> [Vec<String>; 3] {
        [&self.head, &self.blocks[0], &self.tail].map(|layers| layers.iter().map(name).collect())
    }

    /// A description of the family.
    #[must_use]
    pub fn words(&self) -> String {
        let list = |layers: &[String]| match layers {
            short if short.len() <= 6 => short.join(", "),
            long => format!("{}, .. {} layers", long[..3].join(", "), long.len()),
        };
        let [head, block, tail] = self.names();
        let besides = |word: &str, layers: &[String]| {
            if layers.is_empty() { String::new() } else { format!(" {word} {}", list(layers)) }
        };
        format!("({}) repeated{}{}", list(&block), besides("behind", &head), besides("before", &tail))
    }

    /// The fixed point of the block; `None` if variances grow or vanish and correlations depend on them.
    ///
    /// # Errors
    /// A quadrature that does not converge.
    pub fn mean_field(&self) -> Result<Option<MeanField>, LimitError> {
        MeanField::of_block(&self.rules, self.start)
    }

    /// The law of ϑ as a function of the number of blocks.
    #[must_use]
    pub fn law(&self, at: &MeanField) -> Law {
        Law::of_block(&self.rules, at, self.is_plain)
    }

    /// Whether a block consists of one linear layer and the layers before it, so that blocks and layers can be counted
    /// alike.
    #[must_use]
    pub fn counts_layers(&self) -> bool {
        self.rules.iter().filter(|rule| matches!(rule, Rule::Linear { .. } | Rule::Residual { .. })).count() == 1
            && !self.rules.iter().any(|rule| matches!(rule, Rule::Residual { .. }))
    }

    /// Variances of weights and biases, if all linear layers of the block have the same; otherwise `None`.
    #[must_use]
    pub fn variances(&self) -> Option<(f64, f64)> {
        let all: Vec<(f64, f64)> = self.rules.iter().flat_map(Rule::variances).collect();
        all.first().copied().filter(|first| all.iter().all(|other| other == first))
    }

    /// For each variance of biases, the variance of weights at which the block is critical (between order and chaos).
    ///
    /// # Errors
    /// A quadrature that does not converge.
    pub fn critical_line(&self, biases: &[f64]) -> Result<Vec<Option<f64>>, LimitError> {
        critical_line_of_block(&self.rules, biases)
    }

    /// Relations of pairs of inputs with |x|² = |y|² = n at the given angles, in the members with 1, 2, .. blocks, up to
    /// `most` but at least the network's own number. There are fewer members if layers do not fit or maps become too large.
    /// The result is `None` if inputs are single numbers, because these are all parallel.
    ///
    /// # Errors
    /// A quadrature that does not converge, or kernels that are not numbers.
    pub fn sweep(&self, angles: &[f64], most: usize) -> Result<Option<Sweep>, LimitError> {
        let own = self.repeats();
        let mut members = Vec::new();
        let mut held = 0;
        for repeats in 1..=most.max(own) {
            let Ok(member) = self.member(repeats) else {
                // Small numbers of blocks may not fit although larger numbers do.
                if repeats < own {
                    members.clear();
                    continue;
                }
                break;
            };
            held += largest(&member);
            if repeats > own && held > ENTRIES {
                break;
            }
            members.push((repeats, member));
        }
        let first = members.first().map_or(1, |(repeats, _)| *repeats);
        let block = self.blocks[0].len();
        let (repeats, members): (Vec<usize>, Vec<Architecture>) = members.into_iter().unzip();
        let growing = Growing { members: &members, head: self.head.len(), block, first: first * block };
        let Some(relations) = growing.relations(angles)? else { return Ok(None) };
        let layers = members.iter().map(|m| m.flat().iter().filter(|node| node.fan_in().is_some()).count()).collect();
        Ok(Some(Sweep { repeats, layers, relations }))
    }
}

/// Number of positions of each map, or of pairs of positions if the network pools.
fn each_map(network: &Architecture) -> Vec<usize> {
    let nodes = network.flat();
    let pools = nodes.iter().any(|node| node.layer.properties().averages_positions);
    nodes.iter().map(|node| node.output.positions().pow(if pools { 2 } else { 1 })).collect()
}

fn entries(network: &Architecture) -> usize {
    each_map(network).iter().sum()
}

fn largest(network: &Architecture) -> usize {
    each_map(network).into_iter().max().unwrap_or(1)
}

/// Whether the layer contributes a factor to r.
fn is_piece(layer: &Layer) -> bool {
    layer.properties().is_linear || layer.residual().is_some()
}

fn is_plain(layers: &[Layer]) -> bool {
    let mut activation = None;
    layers.iter().all(|layer| match layer.activation() {
        Some(sigma) => *activation.get_or_insert(*sigma) == *sigma,
        None => matches!(layer, Layer::Dense(_)),
    })
}

fn name(layer: &Layer) -> String {
    if let Some(activation) = layer.activation() {
        let function = activation.function.name();
        return match activation.scaling {
            Scaling::Raw => function.into(),
            Scaling::Standardized => format!("standardized {function}"),
            Scaling::Normalized => format!("normalized {function}"),
            Scaling::Partial => format!("partial {function}"),
        };
    }
    if let Some(block) = layer.residual() {
        let inside: Vec<String> = block.layers.iter().map(name).collect();
        return format!("residual of {}", inside.join(", "));
    }
    layer.name().into()
}

/// Start, length and number of the repeated blocks; all layers as one block if nothing is repeated. `None` without a linear
/// layer.
fn repeated(layers: &[Layer], scaled: bool) -> Option<(usize, usize, usize)> {
    if !layers.iter().any(is_piece) {
        return None;
    }
    let mut kinds: HashMap<String, usize> = HashMap::new();
    let kinds: Vec<usize> = layers
        .iter()
        .map(|layer| {
            let mut layer = layer.clone();
            if scaled {
                // Widths are ignored.
                layer.set_outputs(1);
            }
            let next = kinds.len();
            *kinds.entry(format!("{layer:?}")).or_insert(next)
        })
        .collect();
    let n = kinds.len();
    let mut best: Option<(usize, usize, usize)> = None;
    for period in 1..=n / 2 {
        // Number of consecutive layers, from here on, that equal the layer one period later.
        let mut run = 0;
        let mut found: Option<(usize, usize, usize)> = None;
        for begin in (0..n - period).rev() {
            run = if kinds[begin] == kinds[begin + period] { run + 1 } else { 0 };
            let count = run / period + 1;
            // If several are equal, the first is taken.
            if count > 1 && found.is_none_or(|(_, _, most)| count >= most) {
                found = Some((begin, period, count));
            }
        }
        let Some((begin, _, count)) = found else { continue };
        let covers = layers[begin..begin + period].iter().any(is_piece);
        if covers && best.is_none_or(|(_, shorter, most)| period * count > shorter * most) {
            best = Some((begin, period, count));
        }
    }
    best.or(Some((0, n, 1)))
}

/// Two inputs with |x|² = |y|² = n and x·y = c n. x is nonzero on every other channel, in the same way at each position.
/// With a single channel it is nonzero on every other column (or row), so that windows with even strides see the same
/// correlation. `None` if inputs are single values.
///
/// ```
/// use fintan_config::Shape;
///
/// let [x, y] = fintan_theory::correlated_inputs(Shape::vector(4), 0.5).expect("more than one value");
/// let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
/// assert!((dot(&x, &x) - 4.0).abs() < 1e-12 && (dot(&x, &y) - 0.5 * 4.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn correlated_inputs(shape: Shape, c: f64) -> Option<[Vec<f64>; 2]> {
    let Shape { channels, height, width } = shape;
    let first = |i: usize| {
        let along = match (channels, width) {
            (1, 1) => i,
            (1, _) => i % width,
            _ => i / (height * width),
        };
        along % 2 == 0
    };
    let n = shape.len();
    let ours = (0..n).filter(|&i| first(i)).count();
    if ours == n {
        return None;
    }
    let (on, off) = ((n as f64 / ours as f64).sqrt(), (n as f64 / (n - ours) as f64).sqrt());
    let rest = (1.0 - c * c).max(0.0).sqrt() * off;
    let of = |at_first: f64, elsewhere: f64| (0..n).map(|i| if first(i) { at_first } else { elsewhere }).collect();
    Some([of(on, 0.0), of(c * on, rest)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::{Activation, Beta, Function, Residual};

    fn of(layers: &[Layer]) -> Family {
        let ntk = Parametrization::Ntk(Beta { beta: 0.1 });
        let network = Architecture::new(Shape::vector(6), layers, ntk).expect("sound");
        Family::of(&network).expect("a limit").expect("a block")
    }

    #[test]
    fn the_block_is_what_the_network_repeats() {
        let wide = || Layer::Dense(8.into());
        let sigma = |scaling| Layer::Activation(Activation::raw(Function::Relu).with_scaling(scaling));
        let (raw, normalized) = (|| sigma(Scaling::Raw), || sigma(Scaling::Normalized));
        let last = || Layer::Dense(1.into());
        let residual = Layer::Residual(Residual { layers: vec![raw(), wide()], shortcut: Vec::new(), scale: 1.0 });
        let [n, r] = [vec![wide(), normalized()], vec![wide(), raw()]];
        for (layers, head, block, repeats, tail) in [
            (vec![wide(), raw(), Layer::Dense(4.into()), raw(), last()], 0, 2, 2, 1),
            ([r.clone(), n.clone(), n.clone(), n.clone(), vec![last()]].concat(), 2, 2, 3, 1),
            ([n.clone(), r.clone(), n.clone(), r.clone(), vec![last()]].concat(), 0, 4, 2, 1),
            ([r.clone(), vec![last()]].concat(), 0, 2, 1, 1),
            ([r.clone(), n.clone(), vec![last()]].concat(), 0, 4, 1, 1),
            (vec![wide(), residual.clone(), residual.clone(), residual, last()], 1, 1, 3, 1),
        ] {
            let family = of(&layers);
            let [a, b, c] = family.names().map(|names| names.len());
            assert_eq!((a, b, family.repeats(), c), (head, block, repeats, tail), "{}", family.words());
            let again = family.member(repeats).expect("the network itself");
            assert_eq!(again.nodes.iter().map(|node| node.layer.clone()).collect::<Vec<_>>(), layers);
        }
        assert!(
            of(&[r, n.clone(), n, vec![last()]].concat())
                .words()
                .starts_with("(dense, normalized relu) repeated behind dense, relu before")
        );
    }
}
