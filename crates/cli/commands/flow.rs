//! `fintan flow`

use std::path::PathBuf;

use fintan::{CurvatureSpectrum, Device, LossCurvature, Network, PredictedRun, plot_losses};
use fintan_artifact::{RunDir, write_whole};
use fintan_config::Held;
use serde_json::{Value, json};

use super::settings_of_run::say_edits;
use crate::args::{Flow, OutputArgs};
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};
use crate::words::short;

/// Predicts the losses of finished runs from kernels, and compares them with the actual losses.
pub(super) fn flow(args: &Flow) -> Result<(), Failure> {
    let opened = Device::open(args.on.device)?;
    if let Some(count) = args.hessian {
        return curvature(args, count as usize, &opened);
    }
    if !opened.supports_f64() {
        return Err(fintan::Error::from(fintan::PredictionError::Precision).into());
    }
    let out = match (&args.out, &args.runs[..]) {
        (Some(out), _) => out.clone(),
        (None, [run]) => run.join("flow").join("losses.svg"),
        (None, _) => PathBuf::from("flow.svg"),
    };
    let (mut runs, mut answers) = (Vec::new(), Vec::new());
    for path in &args.runs {
        say_edits(&RunDir::open(path)?)?;
        let predicted = PredictedRun::of(path, &opened)?;
        predicted.write_tables()?;
        answers.push(say(&predicted, &args.voice));
        runs.push(predicted);
    }
    let plot = plot_losses(&runs)?;
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs_err::create_dir_all(parent).map_err(Failure::input)?;
    }
    write_whole(&out, plot.as_bytes())?;
    if args.voice.json {
        answer_json(&json!({ "plot": out.display().to_string(), "runs": answers }));
    } else {
        answer!("{}", out.display());
    }
    Ok(())
}

/// Prints the prediction, and returns it as JSON.
fn say(predicted: &PredictedRun, voice: &OutputArgs) -> Value {
    let (rate, largest, [fast, slow]) = (predicted.rate, predicted.largest_rate(), predicted.e_fold_steps());
    let of_limit = predicted.largest_log_error_of_limit();
    if !voice.quiet && !voice.json {
        tell!("{}", predicted.run.display());
        tell!("  learning rate {rate} of at most {largest:.4} (2N / largest eigenvalue)");
        if let Err(e) = of_limit {
            tell!("  nothing at infinite width: {e}");
        }
        tell!("  e-fold of the error: {fast:.2} steps along the fastest mode, {slow:.0} along the slowest");
        if let Some((line, [train, test])) = predicted.last() {
            tell!("  step {}: training loss {:.4e}, predicted {train:.4e}", line.step, line.train_loss);
            tell!("  step {}: test loss     {:.4e}, predicted {test:.4e}", line.step, line.test_loss);
        }
    }
    json!({
        "run": predicted.run, "largest_rate": largest, "rate": rate, "fastest_mode_steps": fast,
        "slowest_mode_steps": slow, "largest_log_error": predicted.largest_log_error(),
        "largest_log_error_limit": of_limit.ok(),
    })
}

/// Prints eigenvalues and traces of the Hessian of the training loss and of its parts, for each network.
fn curvature(args: &Flow, count: usize, device: &Device) -> Result<(), Failure> {
    let mut answers = Vec::new();
    for path in &args.runs {
        if path.is_dir() {
            say_edits(&RunDir::open(path)?)?;
        }
        let loader = Network::open(path).bound(args.on.device.bound(Held::Training));
        let loader = args.set.iter().fold(loader, |loader, set| loader.set(set));
        let loader = args.step.into_iter().fold(loader, fintan::NetworkLoader::step);
        let network = loader.load()?.on(device.clone());
        let found = LossCurvature::of(&network).eigenvalues(count).double_precision().compute()?;
        let matrices = [
            ("gauss_newton", "Gauss-Newton matrix", &found.gauss_newton),
            ("functional", "functional part", &found.functional),
            ("hessian", "Hessian", &found.hessian),
        ];
        if !args.voice.json {
            let at = network.step().map_or("as drawn".into(), |step| format!("step {step}"));
            let LossCurvature { samples, outputs, parameters, .. } = found;
            let name = path.display();
            let plural = if outputs == 1 { "" } else { "s" };
            answer!("{name}, {at}: {samples} samples of {outputs} output{plural}, {parameters} parameters");
            for (_, name, of) in matrices {
                answer_spectrum(name, of);
            }
        }
        let mut answer = json!({
            "network": path.display().to_string(), "step": network.step(), "samples": found.samples,
            "outputs": found.outputs, "parameters": found.parameters,
        });
        for (key, _, of) in matrices {
            answer[key] = spectrum_json(of);
        }
        answers.push(answer);
    }
    if args.voice.json {
        answer_json(&json!({ "networks": answers }));
    }
    Ok(())
}

fn answer_spectrum(name: &str, of: &CurvatureSpectrum) {
    let list = |values: &[f64]| values.iter().map(|&value| short(value)).collect::<Vec<_>>().join("  ");
    let trace = short(of.trace.value);
    if of.is_trace_exact() {
        answer!("  {name}: trace {trace}");
    } else {
        let (error, draws) = (short(of.trace.standard_error), LossCurvature::TRACE_DRAWS);
        answer!("  {name}: trace {trace} ± {error}, estimated from {draws} random vectors");
    }
    if !of.largest.is_empty() {
        answer!("    largest   {}", list(&of.largest));
    }
    if !of.smallest.is_empty() {
        answer!("    smallest  {}", list(&of.smallest));
    }
}

fn spectrum_json(of: &CurvatureSpectrum) -> Value {
    json!({
        "largest": of.largest, "smallest": of.smallest, "largest_residual": of.largest_residual,
        "trace": of.trace.value, "trace_standard_error": of.trace.standard_error, "trace_is_exact": of.is_trace_exact(),
    })
}
