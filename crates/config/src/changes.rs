//! Which settings may change in a run that has begun.

use crate::subject::Subject;

/// Keys of a GAN, with all below them.
const GAN: [&str; 18] = [
    "train.steps",
    "train.log_every",
    "train.grid_every",
    "train.grid",
    "train.checkpoint_every",
    "train.keep",
    "train.on_collapse",
    "generator.optimizer.adam.rate",
    "generator.optimizer.sgd.rate",
    "generator.schedule",
    "generator.layer_rates",
    "discriminator.optimizer.adam.rate",
    "discriminator.optimizer.sgd.rate",
    "discriminator.schedule",
    "discriminator.layer_rates",
    "observe.ntk.every",
    "observe.ntk.keep",
    "observe.ntk.pixels",
];

/// Keys of a network with a task, with all below them.
const NETWORK: [&str; 11] = [
    "task.supervised.steps",
    "task.supervised.log_every",
    "task.supervised.checkpoint_every",
    "task.supervised.keep",
    "task.supervised.optimizer.adam.rate",
    "task.supervised.optimizer.sgd.rate",
    "task.supervised.schedule",
    "task.supervised.layer_rates",
    "observe.ntk.every",
    "observe.ntk.keep",
    "observe.ntk.pixels",
];

/// Keys of file paths. Files may move as long as their contents stay the same.
const PLACES: [&str; 9] = [
    "data.idx.images",
    "data.idx.labels",
    "data.cifar.files",
    "data.folder.path",
    "data.tar.path",
    "data.zip.path",
    "data.npy.path",
    "data.npy.labels",
    "data.npz.path",
];

impl Subject {
    /// Keys that may change in a run that has begun, each with all keys below it: rates, schedules, steps, how often
    /// something is logged, drawn or kept, and the paths of the data. Networks, loss, batches and seed may not change,
    /// because optimisers, the order of the data and random numbers depend on them.
    pub fn changeable(&self) -> impl Iterator<Item = &'static str> {
        let own: &[&str] = match self {
            Self::Gan(_) => &GAN,
            Self::Network(_) => &NETWORK,
        };
        own.iter().chain(&PLACES).copied()
    }

    /// Whether `key` (a dotted path in [`Subject::to_toml`]) may change in a run that has begun. The probes of a kernel may
    /// be set if the run had none (`was_set` is false). After that they are fixed, because kernels on different probes
    /// cannot be compared.
    #[must_use]
    pub fn may_change(&self, key: &str, was_set: bool) -> bool {
        if key == "observe.ntk.samples" {
            return !was_set;
        }
        let is_below =
            |allowed: &str| key.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.changeable().any(is_below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_cadences_may_change_and_what_they_apply_to_may_not() {
        let text = "[data.shapes]\n[generator]\noptimizer.adam.rate = 1e-3\nfc.widths = [4]\n\
                    [discriminator]\noptimizer.adam.rate = 1e-3\nfc.widths = [4]\n";
        let gan = Subject::parse("test", text, &[]).expect("sound");
        let text = "network = { input = 3, fc = { widths = [4] }, outputs = 1 }\n[data.teacher]\n\
                    [task.supervised]\ngoal = \"regression\"\noptimizer.sgd.rate = 1.0\n";
        let network = Subject::parse("test", text, &[]).expect("sound");
        for key in ["train.steps", "generator.schedule.decay.cosine.to", "generator.layer_rates", "data.folder.path"] {
            assert!(gan.may_change(key, true), "{key}");
        }
        for key in ["seed", "train.batch", "train.steps_", "generator.fc.widths", "data.shapes.count", "image.size"] {
            assert!(!gan.may_change(key, true), "{key}");
        }
        assert!(
            network.may_change("task.supervised.optimizer.sgd.rate", true) && !network.may_change("train.steps", true)
        );
        assert!(
            !network.may_change("task.supervised.batch", true) && !network.may_change("task.supervised.train", true)
        );
        assert!(gan.may_change("observe.ntk.samples", false) && !gan.may_change("observe.ntk.samples", true));
        // Every name in the lists must be an existing setting.
        let keys = |subject: &Subject| subject.to_toml().parse::<toml::Table>().expect("TOML");
        for (subject, table) in [(&gan, keys(&gan)), (&network, keys(&network))] {
            for key in subject.changeable().filter(|key| !key.starts_with("data.") && !key.starts_with("observe.")) {
                if key.contains(".sgd.") != matches!(subject, Subject::Network(_)) && key.contains(".rate") {
                    continue;
                }
                let mut at = Some(&table);
                for part in key.split('.') {
                    let value = at.and_then(|table| table.get(part));
                    assert!(value.is_some(), "{key}");
                    at = value.and_then(toml::Value::as_table);
                }
            }
        }
    }
}
