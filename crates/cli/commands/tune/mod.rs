//! `fintan tune`

mod edit;

use std::path::{Path, PathBuf};

use fintan_artifact::write_whole;
use fintan_config::{
    Activation, Architecture, Init, Layer, Parametrization, Scaling, Settings, Sources, Standard, Subject,
};
use fintan_theory::{Goal, Knob, Regime, Setting, Standing, TuneError, Tuned, condition_bound};
use serde_json::{Value, json};

use self::edit::{Edit, Place};
use crate::args::{KnobChoice, Tune, Which};
use crate::failure::Failure;
use crate::given::{self, configuration};
use crate::voice::{answer, answer_json, tell};

/// Solves for a knob and writes the tuned configuration.
pub(super) fn tune(args: &Tune) -> Result<(), Failure> {
    let (path, overrides) = (&configuration(&args.config.path)?, args.config.overrides());
    let goal = goal(args)?;
    let out =
        args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.tuned.toml", given::name(&args.config.path))));
    let sources = Sources::read(path)?;
    let subject = Subject::of(&sources, &overrides)?;
    if out.exists() {
        return Err(Failure::input(format!("`{}` exists already; another place is given by --out", out.display())));
    }
    let knob = knob(args.knob);
    let network = network(&subject, args.network);
    let inputs = args.inputs as usize;
    let tuned = fintan_theory::tune(network.architecture, &goal, knob)?;
    let states = [State::of(network.architecture, knob, inputs)?, State::of(&tuned.network, knob, inputs)?];

    let mut edit = Edit::new(sources.files().map(|(_, text)| text), &overrides)?;
    if let Some(setting) = &tuned.setting {
        let layers: Vec<Layer> = tuned.network.nodes.iter().map(|node| node.layer.clone()).collect();
        let place = match (network.preset, network.layers) {
            (Some((preset, activation)), _) => Place::Preset(preset, activation),
            (None, old) => Place::Layers(old.unwrap_or_default(), layers),
        };
        edit.set(network.key, setting, network.architecture.parametrization, &place)
            .ok_or_else(|| Failure::input(format!("`{}` could not be found in `{}`", network.key, path.display())))?;
    }
    let written = edit.finish(&comment());
    look_again(&written, &subject, args, &tuned, &goal, knob)?;
    write_whole(&out, written.as_bytes())?;
    let whole = if sources.files().len() > 1 { ", with what it included" } else { "" };
    tell_all(args, &network, &goal, &tuned, &states, &out, whole);
    Ok(())
}

/// The goal that the flags name.
fn goal(args: &Tune) -> Result<Goal, Failure> {
    let unknown = || {
        Failure::input(format!(
            "the goal `{}` is none of r=1.2, regime=chaos, regime=order, regime=edge, scaled=0.1, checkerboard=0.1, condition=2",
            args.goal
        ))
    };
    let (name, value) = args.goal.split_once('=').ok_or_else(unknown)?;
    let (name, value) = (name.trim(), value.trim());
    let regime = [Regime::Chaos, Regime::Order, Regime::Edge].into_iter().find(|regime| regime.word() == value);
    for (flag, given, goals) in [
        ("--between", args.between.is_some(), &["scaled"][..]),
        ("--margin", args.margin.is_some() && regime != Some(Regime::Edge), &["regime"]),
        ("--margin", args.margin.is_some() && regime == Some(Regime::Edge), &[]),
    ] {
        if given && !goals.contains(&name) {
            return Err(Failure::input(format!("`{flag}` does not belong to the goal `{}`", args.goal)));
        }
    }
    if name == "regime" {
        let regime = regime.ok_or_else(unknown)?;
        return Ok(Goal::Regime { regime, margin: args.margin.unwrap_or(0.02) });
    }
    let value: f64 = value.parse().map_err(|_| unknown())?;
    match name {
        "r" => Ok(Goal::R(value)),
        "scaled" => Ok(Goal::Scaled { value, between: args.between.unwrap_or(0.0) }),
        "checkerboard" => Ok(Goal::Checkerboard(value)),
        "condition" => Ok(Goal::Condition { value, inputs: args.inputs as usize }),
        _ => Err(unknown()),
    }
}

fn knob(choice: KnobChoice) -> Knob {
    match choice {
        KnobChoice::Mu => Knob::Mu,
        KnobChoice::Gain => Knob::Gain,
        KnobChoice::Leak => Knob::Leak,
        KnobChoice::Beta => Knob::Beta,
        KnobChoice::Nonlinearity => Knob::Nonlinearity,
    }
}

/// The network to be tuned, and how it is written.
struct Network<'a> {
    key: &'static str,
    architecture: &'a Architecture,
    preset: Option<(&'static str, Activation)>,
    layers: Option<&'a [Layer]>,
}

fn network(subject: &Subject, which: Which) -> Network<'_> {
    match (subject, which) {
        (Subject::Network(alone), _) => {
            let table = &alone.settings.network;
            let preset = table.fc.as_ref().map(|fc| ("fc", fc.activation));
            Network { key: "network", architecture: &alone.network, preset, layers: table.layers.as_deref() }
        }
        (Subject::Gan(gan), Which::Generator) => {
            let table = &gan.settings.generator;
            let dcgan = table.dcgan.as_ref().map(|dcgan| ("dcgan", dcgan.activation));
            let preset = dcgan.or(table.fc.as_ref().map(|fc| ("fc", fc.activation)));
            Network { key: "generator", architecture: &gan.generator, preset, layers: table.layers.as_deref() }
        }
        (Subject::Gan(gan), Which::Discriminator) => {
            let table = &gan.settings.discriminator;
            let dcgan = table.dcgan.as_ref().map(|dcgan| ("dcgan", dcgan.activation));
            let preset = dcgan.or(table.fc.as_ref().map(|fc| ("fc", fc.activation)));
            Network { key: "discriminator", architecture: &gan.discriminator, preset, layers: table.layers.as_deref() }
        }
    }
}

/// The command as it was given, in one line.
fn comment() -> String {
    let quoted = |arg: String| {
        let plain = |c: char| c.is_alphanumeric() || "-_=./,+:".contains(c);
        let line: String = arg.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if !line.is_empty() && line.chars().all(plain) { line } else { format!("'{line}'") }
    };
    let given: Vec<String> =
        std::env::args_os().skip(1).map(|arg| quoted(arg.to_string_lossy().into_owned())).collect();
    format!("Made by `fintan {}`", given.join(" "))
}

/// Reads what is about to be written: the same configuration but for the knob, with a network that reaches the goal.
fn look_again(
    text: &str,
    before: &Subject,
    args: &Tune,
    tuned: &Tuned,
    goal: &Goal,
    knob: Knob,
) -> Result<(), Failure> {
    let again = Subject::parse("the tuned configuration", text, &[])?;
    let same = match (&again, before) {
        (Subject::Gan(again), Subject::Gan(before)) => {
            without_knob(&again.settings, args.network) == without_knob(&before.settings, args.network)
        }
        (Subject::Network(again), Subject::Network(before)) => again.settings.seed == before.settings.seed,
        _ => false,
    };
    let network = network(&again, args.network).architecture;
    if same && *network == tuned.network && goal.is_reached(network, knob)? {
        return Ok(());
    }
    Err(Failure::input("the configuration could not be edited so that it reads back as it should; nothing was written"))
}

/// The settings with one network's layers and parametrization left out.
fn without_knob(settings: &Settings, which: Which) -> Settings {
    let mut rest = settings.clone();
    match which {
        Which::Generator => {
            let table = &mut rest.generator;
            (table.dcgan, table.fc, table.layers, table.parametrization) =
                (None, None, None, Parametrization::default());
        }
        Which::Discriminator => {
            let table = &mut rest.discriminator;
            (table.dcgan, table.fc, table.layers, table.parametrization) =
                (None, None, None, Parametrization::default());
        }
    }
    rest
}

/// A network before or after.
struct State {
    knob: Setting,
    standing: Standing,
}

impl State {
    fn of(architecture: &Architecture, knob: Knob, inputs: usize) -> Result<Self, TuneError> {
        Ok(Self { knob: knob.of(architecture)?, standing: Standing::of(architecture, inputs)? })
    }

    fn json(&self) -> Value {
        let Standing { r, scaled, condition, inputs, blocks, border } = &self.standing;
        let value = self.knob.number().map_or_else(|| json!(self.knob.to_string()), |x| json!(x));
        let (blocks, refused) = match blocks {
            None => (Value::Null, Value::Null),
            Some(Err(e)) => (Value::Null, json!(e.to_string())),
            Some(Ok(blocks)) => {
                let block = |b: &fintan_theory::Block| json!({"ratio": b.ratio, "multiplicity": b.multiplicity, "share": b.share});
                (blocks.iter().map(block).collect(), Value::Null)
            }
        };
        let mut state = json!({
            "knob": value, "r": r, "regime": self.standing.regime().map(Regime::word), "scaled": scaled,
            "condition": condition, "inputs": inputs, "border": border, "blocks": blocks, "no_blocks": refused,
        });
        // JSON has no infinity.
        if condition.is_infinite() {
            state["condition_above"] = json!(condition_bound(*inputs));
        }
        state
    }
}

fn tell_all(args: &Tune, network: &Network, goal: &Goal, tuned: &Tuned, states: &[State; 2], out: &Path, whole: &str) {
    if args.voice.json {
        let answer = json!({
            "network": network.key, "goal": goal.to_string(), "knob": knob(args.knob).name(),
            "was_reached": tuned.setting.is_none(), "before": states[0].json(), "after": states[1].json(),
            "written": out.display().to_string(),
        });
        answer_json(&answer);
    } else {
        table(args, network, goal, states);
        answer!();
        if tuned.setting.is_some() {
            answer!("written to {}{whole}", out.display());
        } else {
            answer!("the goal was reached as it is; written unchanged to {}{whole}", out.display());
        }
    }
    if !args.voice.quiet {
        notes(network.architecture, tuned);
    }
}

fn table(args: &Tune, network: &Network, goal: &Goal, [before, after]: &[State; 2]) {
    let row = |name: &str, of: &dyn Fn(&State) -> String| answer!("  {name:38} {:>18} {:>18}", of(before), of(after));
    answer!("{}: {goal} by {}", network.key, knob(args.knob).name());
    answer!("  {:38} {:>18} {:>18}", "", "before", "after");
    row(knob(args.knob).name(), &|s| s.knob.to_string());
    let or_none = |x: Option<f64>, digits: usize| x.map_or("-".into(), |x| format!("{x:.digits$}"));
    row("r, geometric mean over the depth", &|s| or_none(s.standing.r, 3));
    row("regime", &|s| s.standing.regime().map_or("-", Regime::word).into());
    row("scaled kernel of orthogonal inputs", &|s| format!("{:.4}", s.standing.scaled));
    row(&format!("condition number, {} inputs", args.inputs), &|s| match s.standing.condition {
        c if c < 1e6 => format!("{c:.3}"),
        c if c.is_infinite() => format!("above {:.1e}", condition_bound(s.standing.inputs)),
        c => format!("{c:.3e}"),
    });
    if before.standing.border.is_some() {
        row("variance of the border / interior", &|s| or_none(s.standing.border, 3));
    }
    match (&before.standing.blocks, &after.standing.blocks) {
        (Some(Ok(old)), Some(Ok(new))) => {
            answer!("  eigenspaces over positions, away from borders: λ/λ_min and share of the trace");
            for (k, (old, new)) in old.iter().zip(new).enumerate() {
                let name = match k {
                    0 => "constant image".to_owned(),
                    _ => format!("patterns, {} of level {k}", old.multiplicity),
                };
                let cell = |b: &fintan_theory::Block| format!("{:.2}  {:.4}", b.ratio, b.share);
                answer!("    {name:36} {:>18} {:>18}", cell(old), cell(new));
            }
        }
        (Some(Err(e)), _) | (_, Some(Err(e))) => answer!("  no eigenspaces: {e}"),
        _ => {}
    }
}

/// What may surprise.
fn notes(before: &Architecture, tuned: &Tuned) {
    let raw = before.flat().iter().zip(tuned.network.flat()).any(|(old, new)| {
        old.layer != new.layer && matches!(&old.layer, Layer::Activation(a) if a.scaling == Scaling::Raw)
    });
    let scales = matches!(tuned.setting, Some(Setting::Mu(_) | Setting::Nonlinearity(..)));
    if let Parametrization::Standard(Standard { init, .. }) = before.parametrization
        && init != Init::Lecun
        && scales
    {
        tell!("note: scaled nonlinearities keep variances with `init = \"lecun\"`; this network has another init");
    }
    if raw && matches!(tuned.setting, Some(Setting::Gain(_))) {
        tell!("note: a gain under raw scaling changes the variances of all layers too");
    }
}

impl From<TuneError> for Failure {
    fn from(e: TuneError) -> Self {
        match e {
            TuneError::Limit(e) => e.into(),
            TuneError::Spectrum { .. }
            | TuneError::OneLayer
            | TuneError::OneInput
            | TuneError::Goal { .. }
            | TuneError::Knob { .. }
            | TuneError::Unreachable { .. } => Self::input(e),
        }
    }
}
