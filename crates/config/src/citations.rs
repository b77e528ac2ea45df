//! Publications to cite for a configuration.
//!
//! Each thing (loss, nonlinearity, preset, norm, penalty) names its publications next to its definition. This module has the
//! type, and the publications of the program as a whole.

use crate::experiment::{Experiment, Settings};
use crate::subject::{NetworkExperiment, Subject};
use crate::{Architecture, loss, moments, presets, task};

/// A publication, as an entry of a BibTeX file.
///
/// ```
/// let citation = fintan_config::Citation::new("@book{knuth1984, author = {Knuth, Donald E.}}");
/// assert_eq!(citation.key(), "knuth1984");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Citation {
    bibtex: &'static str,
}

impl Citation {
    /// A publication from its entry: `@kind{key, ...}`.
    #[must_use]
    pub const fn new(bibtex: &'static str) -> Self {
        Self { bibtex }
    }

    /// The whole entry.
    #[must_use]
    pub const fn bibtex(&self) -> &'static str {
        self.bibtex
    }

    /// The key of the entry, between its first brace and the first comma.
    #[must_use]
    pub fn key(&self) -> &'static str {
        let inside = self.bibtex.split_once('{').map_or(self.bibtex, |(_, inside)| inside);
        inside.split_once(',').map_or(inside, |(key, _)| key)
    }
}

impl Subject {
    /// Publications behind everything that the configuration uses; each appears once.
    #[must_use]
    pub fn citations(&self) -> Vec<Citation> {
        let all = match self {
            Self::Gan(gan) => of_gan(gan),
            Self::Network(alone) => of_network(alone),
        };
        let mut once: Vec<Citation> = Vec::new();
        for citation in all {
            if !once.contains(&citation) {
                once.push(citation);
            }
        }
        once
    }
}

fn of_gan(gan: &Experiment) -> Vec<Citation> {
    let Settings { generator, discriminator, loss, .. } = &gan.settings;
    let mut found = [PROGRAM, &[loss::GAN]].concat();
    if generator.dcgan.is_some() || discriminator.dcgan.is_some() {
        found.push(presets::DCGAN);
    }
    found.extend(generator.optimizer.citations());
    found.extend(discriminator.optimizer.citations());
    found.extend(loss.function.properties().citations);
    found.extend(loss.r1.map(|_| loss::PENALTY_AT_REAL_IMAGES));
    found.extend(discriminator.spectral_norm.map(|_| loss::SPECTRAL_NORM));
    found.extend(of_architecture(&gan.generator));
    found.extend(of_architecture(&gan.discriminator));
    found
}

fn of_network(alone: &NetworkExperiment) -> Vec<Citation> {
    let mut found = PROGRAM.to_vec();
    if let Some(experiment) = alone.supervised() {
        found.push(task::KERNEL_REGIME);
        found.extend(experiment.task.optimizer.citations());
    }
    found.extend(alone.settings.moments.as_ref().map(|_| moments::MOMENTS));
    found.extend(of_architecture(&alone.network));
    found
}

fn of_architecture(network: &Architecture) -> Vec<Citation> {
    let layers = network.flat().into_iter().flat_map(|node| node.layer.citations());
    network.parametrization.citations().iter().chain(layers).copied().collect()
}

/// Publications of the program as a whole: tangent kernels, order and chaos, and how finite kernels are computed.
const PROGRAM: &[Citation] = &[NTK, FREEZE_AND_CHAOS, FAST_FINITE_WIDTH];

const NTK: Citation = Citation::new(
    r"@inproceedings{jacot2018ntk,
  author = {Jacot, Arthur and Gabriel, Franck and Hongler, Cl{\'e}ment},
  title = {Neural Tangent Kernel: Convergence and Generalization in Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018},
  eprint = {1806.07572},
  archiveprefix = {arXiv},
}",
);

const FREEZE_AND_CHAOS: Citation = Citation::new(
    r"@inproceedings{jacot2022freeze,
  author = {Jacot, Arthur and Gabriel, Franck and Ged, Fran{\c c}ois and Hongler, Cl{\'e}ment},
  title = {Freeze and Chaos: {NTK} views on {DNN} Normalization, Checkerboard and Boundary Artifacts},
  booktitle = {Mathematical and Scientific Machine Learning},
  series = {Proceedings of Machine Learning Research},
  volume = {190},
  pages = {257--270},
  year = {2022},
  eprint = {1907.05715},
  archiveprefix = {arXiv},
}",
);

const FAST_FINITE_WIDTH: Citation = Citation::new(
    "@inproceedings{novak2022fast,
  author = {Novak, Roman and Sohl-Dickstein, Jascha and Schoenholz, Samuel S.},
  title = {Fast Finite Width Neural Tangent Kernel},
  booktitle = {International Conference on Machine Learning},
  year = {2022},
  eprint = {2206.08720},
  archiveprefix = {arXiv},
}",
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::function::Function;
    use crate::layers;
    use crate::loss::Adversarial;

    /// Every publication that a definition in this crate names.
    fn all() -> Vec<Citation> {
        let functions = Function::ALL.iter().flat_map(|f| f.properties().citations);
        let losses = Adversarial::all();
        let losses = losses.iter().flat_map(|loss| loss.properties().citations);
        let alone = [
            loss::GAN,
            loss::PENALTY_AT_REAL_IMAGES,
            loss::SPECTRAL_NORM,
            presets::DCGAN,
            task::KERNEL_REGIME,
            moments::MOMENTS,
            layers::convolution::CONVOLUTIONS,
            layers::batch_norm::BATCH_NORM,
            layers::layer_norm::LAYER_NORM,
        ];
        PROGRAM.iter().chain(&alone).chain(functions).chain(losses).copied().collect()
    }

    #[test]
    fn entries_are_whole_and_keys_name_one_publication() {
        let mut by_key = BTreeMap::new();
        for citation in all() {
            let (key, text) = (citation.key(), citation.bibtex());
            assert!(!key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric()), "{text}");
            assert!(text.starts_with('@') && text.ends_with("\n}"), "{text}");
            for field in ["author", "title", "year"] {
                assert!(text.contains(&format!("\n  {field} = {{")), "{key} has no {field}");
            }
            assert_eq!(text.contains("eprint"), text.contains("archiveprefix = {arXiv}"), "{key}");
            let braces = |brace| text.matches(brace).count();
            assert_eq!(braces('{'), braces('}'), "{key}");
            assert_eq!(*by_key.entry(key).or_insert(text), text, "two entries under one key");
        }
        assert!(by_key.len() >= 20, "{by_key:?}");
    }

    /// The arXiv version has another title.
    #[test]
    fn order_and_chaos_is_cited_by_its_published_title() {
        let text = FREEZE_AND_CHAOS.bibtex();
        assert!(
            text.contains("Freeze and Chaos: {NTK} views on {DNN} Normalization, Checkerboard and Boundary Artifacts")
        );
        for field in ["volume = {190}", "pages = {257--270}", "year = {2022}", "eprint = {1907.05715}"] {
            assert!(text.contains(field), "{field}");
        }
    }
}
