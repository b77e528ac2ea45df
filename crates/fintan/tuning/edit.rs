//! Changes a few keys of a user's TOML file and leaves the rest as it is.

use fintan_config::{Activation, EXCLUSIVE, Layer, Parametrization, override_line};
use fintan_theory::Setting;
use serde_json::json;
use toml_edit::{DocumentMut, Item, TableLike, Value};

use super::TuningError;
use crate::error::Error;

/// The place in a configuration that gives the nonlinearities of a network.
pub(super) enum Place<'a> {
    /// A preset, with its new activation.
    Preset(&'static str, Activation),
    /// A list of layers: the present layers and the new ones.
    Layers(&'a [Layer], Vec<Layer>),
}

/// A configuration document that is being edited.
pub(super) struct Edit {
    document: DocumentMut,
}

impl Edit {
    /// Parses a configuration text and the texts that it includes, and merges them with overrides. `texts` begins with the text
    /// itself.
    pub(super) fn new<'a>(
        texts: impl DoubleEndedIterator<Item = &'a str>,
        overrides: &[String],
    ) -> Result<Self, Error> {
        let parse = |text: &str| {
            text.parse::<DocumentMut>().map_err(|e| {
                let why: Vec<&str> = e.message().lines().collect();
                TuningError::Toml(why.join("; "))
            })
        };
        let mut document: Option<DocumentMut> = None;
        for text in texts.rev() {
            let mut above = parse(text)?;
            match &mut document {
                None => document = Some(above),
                Some(below) => {
                    // `below` already contains the included settings.
                    above.remove("include");
                    lay(below.as_table_mut(), above.as_table());
                }
            }
        }
        let mut document = document.unwrap_or_default();
        for given in overrides {
            let line = parse(&override_line(given)?)?;
            lay(document.as_table_mut(), line.as_table());
        }
        Ok(Self { document })
    }

    /// Writes the settings of a knob into the network under `key`.
    pub(super) fn set(
        &mut self,
        key: &str,
        setting: &Setting,
        parametrization: Parametrization,
        place: &Place,
    ) -> Option<()> {
        let network = self.document.get_mut(key)?.as_table_like_mut()?;
        if let Setting::Beta(beta) = setting {
            let kind = match parametrization {
                Parametrization::Standard(_) => return None,
                Parametrization::Ntk(_) => "ntk",
                Parametrization::Graph(_) => "graph",
            };
            put(table(table(network, "parametrization")?, kind)?, "beta", (*beta).into());
            if let Some(Value::InlineTable(inner)) = table(network, "parametrization")?.get_mut(kind)?.as_value_mut() {
                inner.fmt();
            }
            if let Some(Item::Value(outer)) = network.get_mut("parametrization") {
                drop_comment(outer.decor_mut());
            }
            return Some(());
        }
        match place {
            Place::Preset(preset, old) => set_activation(table(network, preset)?, *old, setting.on(*old)),
            Place::Layers(old, new) => set_layers(network.get_mut("layers")?, old, new),
        }
    }

    /// The text of the document.
    pub(super) fn finish(self) -> String {
        self.document.to_string()
    }
}

fn table<'a>(within: &'a mut dyn TableLike, key: &str) -> Option<&'a mut dyn TableLike> {
    within.get_mut(key)?.as_table_like_mut()
}

fn set_layers(list: &mut Item, old: &[Layer], new: &[Layer]) -> Option<()> {
    for (i, (old, new)) in old.iter().zip(new).enumerate() {
        if old == new {
            continue;
        }
        let element: &mut dyn TableLike = match list {
            Item::ArrayOfTables(tables) => tables.get_mut(i)?,
            Item::Value(Value::Array(array)) => array.get_mut(i)?.as_inline_table_mut()?,
            Item::None | Item::Value(_) | Item::Table(_) => return None,
        };
        match (old, new) {
            (Layer::Activation(old), Layer::Activation(new)) => set_activation(element, *old, *new)?,
            (Layer::Residual(old), Layer::Residual(new)) => {
                let block = table(element, "residual")?;
                for (key, old, new) in
                    [("layers", &old.layers, &new.layers), ("shortcut", &old.shortcut, &new.shortcut)]
                {
                    if old != new {
                        set_layers(block.get_mut(key)?, old, new)?;
                    }
                }
            }
            _ => return None,
        }
    }
    Some(())
}

/// Removes the comment after a value, because it described the old value.
fn drop_comment(decor: &mut toml_edit::Decor) {
    if decor.suffix().and_then(|suffix| suffix.as_str()).is_none_or(|suffix| suffix.contains('#')) {
        decor.set_suffix("");
    }
}

/// Changes the keys of `activation` that differ.
fn set_activation(within: &mut dyn TableLike, old: Activation, new: Activation) -> Option<()> {
    if within.contains_key("activation") {
        let written = table(within, "activation")?;
        if old.function != new.function {
            put(written, "function", new.function.name().into());
        }
        if old.scaling != new.scaling {
            put(written, "scaling", word(&json!(new.scaling)).into_value().ok()?);
        }
        for (key, old, new) in
            [("gain", Some(old.gain), Some(new.gain)), ("slope", old.slope, new.slope), ("mu", old.mu, new.mu)]
        {
            match new {
                Some(value) if old != new => put(written, key, value.into()),
                None => drop(written.remove(key)),
                Some(_) => {}
            }
        }
    } else {
        // The preset used its default. All keys are written, since a key that is left out would get its own default.
        within.insert("activation", Item::Value(Value::InlineTable(toml_edit::InlineTable::new())));
        let fresh = table(within, "activation")?;
        fresh.insert("function", word(&json!(new.function)));
        fresh.insert("scaling", word(&json!(new.scaling)));
        for (key, value) in [("gain", (new.gain != 1.0).then_some(new.gain)), ("slope", new.slope), ("mu", new.mu)] {
            if let Some(value) = value {
                fresh.insert(key, toml_edit::value(value));
            }
        }
    }
    if let Some(Value::InlineTable(inline)) = within.get_mut("activation")?.as_value_mut() {
        inline.fmt();
        drop_comment(inline.decor_mut());
    }
    Some(())
}

/// The name of a value in configurations.
fn word(name: &serde_json::Value) -> Item {
    toml_edit::value(name.as_str().unwrap_or_default())
}

/// Replaces a value at its place with its blanks. Its comment is removed, because it described the old value.
fn put(within: &mut dyn TableLike, key: &str, mut value: Value) {
    match within.get_mut(key) {
        Some(Item::Value(old)) => {
            if let Some(prefix) = old.decor().prefix() {
                value.decor_mut().set_prefix(prefix.clone());
            }
            *old = value;
        }
        Some(other) => *other = Item::Value(value),
        None => drop(within.insert(key, Item::Value(value))),
    }
}

/// Merges tables over tables, in the way in which overrides are merged when a configuration is read.
fn lay(into: &mut dyn TableLike, from: &dyn TableLike) {
    for (key, item) in from.iter() {
        let Ok(value) = item.clone().into_value() else { continue };
        if let (Some(theirs), Some(ours)) = (item.as_table_like(), table(into, key)) {
            let another = theirs.iter().all(|(name, _)| !ours.contains_key(name));
            if !(EXCLUSIVE.contains(&key) && another) {
                lay(ours, theirs);
                if let Some(Item::Value(Value::InlineTable(inline))) = into.get_mut(key) {
                    inline.fmt();
                    drop_comment(inline.decor_mut());
                }
                continue;
            }
        }
        put(into, key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::{Function, Scaling, Settings, Subject};

    const GAN: &str = r#"# mine
data.shapes.count = 8
[generator]
parametrization = { ntk = {} }   # β = 0.1
optimizer.adam.rate = 1e-3
layers = [
    { dense = { out = 32 } }, # wide
    { activation = { function = "relu" } },
    { residual = { layers = [{ activation = { function = "relu", scaling = "standardized" } }, { dense = { out = 32 } }] } },
    { dense = { out = 1024 } },
    { reshape = { channels = 1, height = 32, width = 32 } },
    { activation = { function = "tanh" } }, # the image
]

[discriminator]
optimizer.sgd.rate = 0.1
[discriminator.dcgan]
channels = 8   # few
[train]
steps = 3
"#;

    fn settings(text: &str, overrides: &[String]) -> Settings {
        match Subject::parse("test", text, overrides) {
            Ok(Subject::Gan(gan)) => gan.settings,
            other => panic!("{other:?}\n{text}"),
        }
    }

    #[test]
    fn overrides_are_laid_as_the_reader_lays_them() {
        for overrides in [
            &["data.idx.images=no-such-file"][..],
            &["train.steps=7", "image.size=32", "seed=3"],
            &["discriminator.optimizer.adam.rate=0.2", "discriminator.dcgan.norm.layer.eps=0.1"],
            &["generator.parametrization.graph.beta=0.5", "discriminator.dcgan.activation.function=tanh"],
            &["train={steps=9, batch=4}", "data.shapes.seed=5"],
        ] {
            let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
            let edit = Edit::new([GAN].into_iter(), &overrides).unwrap_or_else(|e| panic!("{e:?}"));
            let text = edit.finish();
            assert_eq!(settings(&text, &[]), settings(GAN, &overrides), "{text}");
            assert!(text.contains("# few") && text.contains("# wide"), "{text}");
        }
    }

    #[test]
    fn only_what_changes_is_touched() {
        let own = settings(GAN, &[]);
        let preset = own.discriminator.dcgan.as_ref().expect("a preset").activation;
        let mut edit = Edit::new([GAN].into_iter(), &[]).unwrap_or_else(|e| panic!("{e:?}"));
        let gain = Setting::Gain(2.0);
        edit.set("discriminator", &gain, own.discriminator.parametrization, &Place::Preset("dcgan", preset))
            .expect("is there");
        let beta = Setting::Beta(0.25);
        let layers = own.generator.layers.as_deref().expect("a list");
        edit.set("generator", &beta, own.generator.parametrization, &Place::Layers(layers, layers.to_vec()))
            .expect("is there");
        let mut new = layers.to_vec();
        for (i, layer) in new.iter_mut().enumerate() {
            if let Layer::Activation(a) = layer
                && i < 5
            {
                *a = Setting::Mu(0.2).on(*a);
            } else if let Layer::Residual(block) = layer {
                block.layers[0] = Layer::Activation(
                    Setting::Nonlinearity(Function::Erf, Scaling::Normalized).on(Activation::raw(Function::Relu)),
                );
            }
        }
        edit.set("generator", &Setting::Mu(0.2), own.generator.parametrization, &Place::Layers(layers, new.clone()))
            .expect("is there");
        let text = edit.finish();
        let again = settings(&text, &[]);
        assert_eq!(again.generator.layers, Some(new));
        assert_eq!(again.generator.parametrization.beta(), Some(0.25));
        assert_eq!(again.discriminator.dcgan.expect("a preset").activation, Activation { gain: 2.0, ..preset });
        let changed: Vec<&str> = text.lines().filter(|line| !GAN.contains(line)).collect();
        assert_eq!(
            changed,
            [
                "parametrization = { ntk = { beta = 0.25 } }",
                "    { activation = { function = \"relu\", scaling = \"partial\", mu = 0.2 } },",
                "    { residual = { layers = [{ activation = { function = \"erf\", scaling = \"normalized\" } }, { dense = { out = 32 } }] } },",
                "activation = { function = \"leaky_relu\", scaling = \"raw\", gain = 2.0, slope = 0.2 }",
            ],
            "{text}"
        );
    }
}
