//! `fintan tune`

use std::path::{Path, PathBuf};

use fintan::theory::{PatternSpace, condition_bound};
use fintan::{Architecture, Knob, KnobState, Layer, Parametrization, Regime, Scaling, Setting, Standing, TuneGoal};
use fintan::{TunableFile, Tuned, TunedFile};
use fintan_artifact::write_whole;
use fintan_config::{Init, Standard};
use serde_json::{Value, json};

use crate::args::{KnobChoice, Tune, Which};
use crate::failure::Failure;
use crate::given::{self, configuration};
use crate::voice::{answer, answer_json, tell};

/// Tunes a knob and writes the tuned configuration.
pub(super) fn tune(args: &Tune) -> Result<(), Failure> {
    let path = configuration(&args.config.path)?;
    let goal = goal(args)?;
    let out =
        args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.tuned.toml", given::name(&args.config.path))));
    let mut file = TunableFile::load(path, &args.config.overrides())?;
    if out.exists() {
        return Err(Failure::input(format!("`{}` exists already; another place is given by --out", out.display())));
    }
    if args.network == Which::Discriminator && file.is_of_gan() {
        file = file.discriminator()?;
    }
    let tuned = file.tune(&goal, knob(args.knob), args.inputs as usize)?;
    write_whole(&out, format!("# {}\n{}", comment(), tuned.text).as_bytes())?;
    say(args, &file, &goal, &tuned, &out);
    if !args.voice.quiet {
        notes(file.architecture(), &tuned.tuned);
    }
    Ok(())
}

/// The goal in the arguments.
fn goal(args: &Tune) -> Result<TuneGoal, Failure> {
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
        return Ok(TuneGoal::Regime { regime, margin: args.margin.unwrap_or(0.02) });
    }
    let value: f64 = value.parse().map_err(|_| unknown())?;
    match name {
        "r" => Ok(TuneGoal::R(value)),
        "scaled" => Ok(TuneGoal::Scaled { value, between: args.between.unwrap_or(0.0) }),
        "checkerboard" => Ok(TuneGoal::Checkerboard(value)),
        "condition" => Ok(TuneGoal::Condition { value, inputs: args.inputs as usize }),
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

/// The command line of this call, on one line.
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

/// The state of a network before or after tuning, as JSON.
fn state_json(state: &KnobState) -> Value {
    let Standing { r, scaled, condition, inputs, blocks, border } = &state.standing;
    let value = state.knob.number().map_or_else(|| json!(state.knob.to_string()), |x| json!(x));
    let (blocks, refused) = match blocks {
        None => (Value::Null, Value::Null),
        Some(Err(e)) => (Value::Null, json!(e.to_string())),
        Some(Ok(blocks)) => {
            let block = |b: &PatternSpace| json!({"ratio": b.ratio, "multiplicity": b.multiplicity, "share": b.share});
            (blocks.iter().map(block).collect(), Value::Null)
        }
    };
    let mut state = json!({
        "knob": value, "r": r, "regime": state.standing.regime().map(Regime::word), "scaled": scaled,
        "condition": condition, "inputs": inputs, "border": border, "blocks": blocks, "no_blocks": refused,
    });
    // JSON cannot represent infinity.
    if condition.is_infinite() {
        state["condition_above"] = json!(condition_bound(*inputs));
    }
    state
}

/// Prints the tuned network before and after.
fn say(args: &Tune, file: &TunableFile, goal: &TuneGoal, tuned: &TunedFile, out: &Path) {
    let (network, was_reached) = (file.role().name(), tuned.tuned.setting.is_none());
    if args.voice.json {
        answer_json(&json!({
            "network": network, "goal": goal.to_string(), "knob": knob(args.knob).name(), "was_reached": was_reached,
            "before": state_json(&tuned.before), "after": state_json(&tuned.after), "written": out.display().to_string(),
        }));
        return;
    }
    table(args, network, goal, tuned);
    answer!();
    let whole = if file.includes_others() { ", with what it included" } else { "" };
    if was_reached {
        answer!("the goal was reached as it is; written unchanged to {}{whole}", out.display());
    } else {
        answer!("written to {}{whole}", out.display());
    }
}

fn table(args: &Tune, network: &str, goal: &TuneGoal, TunedFile { before, after, .. }: &TunedFile) {
    let row =
        |name: &str, of: &dyn Fn(&KnobState) -> String| answer!("  {name:38} {:>18} {:>18}", of(before), of(after));
    answer!("{}: {goal} by {}", network, knob(args.knob).name());
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
                let cell = |b: &PatternSpace| format!("{:.2}  {:.4}", b.ratio, b.share);
                answer!("    {name:36} {:>18} {:>18}", cell(old), cell(new));
            }
        }
        (Some(Err(e)), _) | (_, Some(Err(e))) => answer!("  no eigenspaces: {e}"),
        _ => {}
    }
}

/// Prints notes about results that may be unexpected.
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
