//! `fintan compare`

mod contenders;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fintan_artifact::{Lock, RunDir, differing_keys, is_free, settings_of};
use fintan_config::{DataSource, Experiment, Image};
use fintan_data::Images;

use self::contenders::{Place, Row, read, slug};
use self::table::{Seen, answer_table, comparison, folder_name};
use super::eval::{count_of_each, evaluate};
use super::report::of_comparison;
use super::train::{check, complete, load_images};
use super::warn_of_lock;
use crate::args::{Compare, Eval, Voice};
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// Trains what is missing, measures everything alike, and says so in one table.
pub(super) fn compare(args: &Compare) -> Result<(), Failure> {
    let rows = read(args)?;
    if let (Some(set), true) = (args.set.iter().find(|set| !set.trim_start().starts_with("data.")), all_there(&rows)) {
        return Err(Failure::input(format!(
            "--set changes configurations; of runs it changes `data.` only, got `{set}`"
        )));
    }
    let out = place(args, &rows)?;
    let opened = device::open(args.on.device)?;
    let mut loaded: Vec<((DataSource, Image), Images)> = Vec::new();
    for run in rows.iter().flat_map(|row| &row.runs) {
        let settings = &run.experiment.settings;
        let key = (settings.data.clone(), settings.image.clone());
        if loaded.iter().all(|(found, _)| *found != key) {
            loaded.push((key, load_images(&run.experiment, &args.voice)?));
        }
    }
    let images_of = |experiment: &Experiment| {
        let settings = &experiment.settings;
        let found = loaded.iter().find(|((data, image), _)| (data, image) == (&settings.data, &settings.image));
        &found.expect("just loaded").1
    };
    for run in rows.iter().flat_map(|row| &row.runs) {
        let images = images_of(&run.experiment);
        count_of_each(args.n, images)?;
        if let Place::Planned { .. } = run.place {
            check(&run.experiment, images, &opened)?;
        }
    }
    // Whatever can be refused has been refused.
    let lock = Lock::exclusive(&out)?;
    warn_of_lock(lock.warning(), &args.voice);
    fits(&out, &rows)?;
    let mut runs = lock_runs(&out, &rows, &args.voice)?;
    warn(&rows, args);
    let total: usize = rows.iter().map(|row| row.runs.len()).sum();
    let longest = rows.iter().map(|row| row.runs.len()).max().unwrap_or(0);
    let mut all = Vec::new();
    // One seed of every row before the next: what is there after a while says the most.
    let order = (0..longest).flat_map(|run| (0..rows.len()).map(move |row| (row, run)));
    for (row, run) in order.filter(|&(row, run)| run < rows[row].runs.len()) {
        let contender = &rows[row].runs[run];
        let root = match &contender.place {
            Place::Planned { .. } => out.join(folder_name(&rows[row], contender.seed())),
            Place::Run(path) => path.clone(),
        };
        announce(&args.voice, &rows[row].name, contender.seed(), [all.len() + 1, total], &root);
        let images = images_of(&contender.experiment);
        if let Place::Planned { written } = &contender.place {
            let found = runs.remove(&root);
            let done = complete(&root, found, written, &contender.experiment, images, &opened, &args.voice)?;
            runs.insert(root.clone(), done);
        }
        let wanted = Eval {
            run: root.clone(),
            on: args.on.clone(),
            voice: args.voice.clone(),
            n: args.n,
            seed: None,
            step: None,
            bn: args.bn,
            metrics: args.metrics.clone(),
            features: None,
            set: Vec::new(),
            classifier_steps: args.classifier_steps,
        };
        let directory = RunDir::open(&root)?;
        let evaluation = evaluate(&wanted, &directory, &contender.experiment, &opened, || Ok(images))?;
        all.push(Seen { row, run, data: images.fingerprint(), evaluation });
    }
    let comparison = comparison(&rows, all, &out);
    comparison.write(&out)?;
    for reason in &comparison.refused {
        if !args.voice.quiet {
            tell!("no {reason}");
        }
    }
    if comparison.data.len() > 1 && !args.voice.quiet {
        tell!(
            "there are {} data sets, each with its own row: compare rows with the one above them",
            comparison.data.len()
        );
    }
    let (file, report) = (out.join("compare.json"), of_comparison(&comparison, &out)?);
    if args.voice.json {
        let said = serde_json::json!({ "event": "compared", "file": file.display().to_string(), "report": report.display().to_string(), "comparison": comparison });
        answer_json(&said);
    } else {
        answer_table(&comparison);
        answer!("{}", report.display());
    }
    Ok(())
}

fn all_there(rows: &[Row]) -> bool {
    rows.iter().flat_map(|row| &row.runs).all(|run| matches!(run.place, Place::Run(_)))
}

fn announce(voice: &Voice, name: &str, seed: u64, [i, total]: [usize; 2], root: &Path) {
    if voice.json {
        answer_json(
            &serde_json::json!({ "event": "run", "name": name, "seed": seed, "run": root.display().to_string() }),
        );
    } else if !voice.quiet {
        tell!("[{i}/{total}]     {name}, seed {seed}");
    }
}

/// Says where rows are not alike in what they share by default.
fn warn(rows: &[Row], args: &Compare) {
    if args.voice.quiet {
        return;
    }
    let seeds = |row: &Row| {
        let mut seeds: Vec<u64> = row.runs.iter().map(contenders::Contender::seed).collect();
        seeds.sort_unstable();
        seeds
    };
    if let Some(other) = rows.iter().find(|row| seeds(row) != seeds(&rows[0])) {
        let (a, b) = (seeds(&rows[0]), seeds(other));
        tell!("seeds     {} has {a:?}, {} has {b:?}: their latents and data order differ", rows[0].name, other.name);
    }
    for run in rows.iter().flat_map(|row| &row.runs) {
        if let Place::Run(path) = &run.place {
            let reached = RunDir::open(path).and_then(|run| run.find_checkpoint(None));
            let planned = run.experiment.settings.train.steps;
            if let Ok(step) = reached.as_ref()
                && *step < planned
            {
                tell!("steps     {} has {step} of its {planned} steps", path.display());
            }
        }
    }
}

/// The runs of a comparison that are there; nobody else trains them meanwhile.
fn lock_runs(out: &Path, rows: &[Row], voice: &Voice) -> Result<BTreeMap<PathBuf, RunDir>, Failure> {
    let mut runs = BTreeMap::new();
    for (row, run) in rows.iter().flat_map(|row| row.runs.iter().map(move |run| (row, run))) {
        let root = out.join(folder_name(row, run.seed()));
        if matches!(run.place, Place::Planned { .. }) && !is_free(&root)? {
            let run = RunDir::open_locked(&root)?;
            warn_of_lock(run.lock_warning(), voice);
            runs.insert(root, run);
        }
    }
    Ok(runs)
}

/// Where the comparison goes: a new folder, or one whose runs are of these configurations. Nothing is written yet.
fn place(args: &Compare, rows: &[Row]) -> Result<PathBuf, Failure> {
    if let Some(out) = &args.out {
        fits(out, rows)?;
        return Ok(out.clone());
    }
    let name = if let [one] = &args.paths[..] {
        slug(&one.file_stem().unwrap_or_default().to_string_lossy())
    } else {
        let names: Vec<String> = rows.iter().take(4).map(|row| slug(&row.name)).collect();
        format!("compare_{}", names.join("_"))
    };
    let mut number = 1_u32;
    loop {
        let numbered = if number == 1 { name.clone() } else { format!("{name}-{number}") };
        let out = Path::new("runs").join(numbered);
        if fits(&out, rows).is_ok() {
            return Ok(out);
        }
        number += 1;
    }
}

/// Whether a folder is free, or holds this comparison or a part of it.
fn fits(out: &Path, rows: &[Row]) -> Result<(), Failure> {
    if is_free(out)? {
        return Ok(());
    }
    let mut known = out.join("compare.json").is_file();
    for row in rows {
        for run in row.runs.iter().filter(|run| matches!(run.place, Place::Planned { .. })) {
            let root = out.join(folder_name(row, run.seed()));
            if is_free(&root)? {
                continue;
            }
            let found = RunDir::open(&root)?;
            known = true;
            let (found, wanted) =
                (found.settings()?, settings_of(&run.experiment.settings.to_toml()).map_err(Failure::input)?);
            if let Some(key) = differing_keys(&[&found, &wanted]).first() {
                let [found, wanted] = [found, wanted].map(|s| s.get(key).cloned().unwrap_or_else(|| "nothing".into()));
                return Err(Failure::Input(miette::miette!(
                    help = "name another folder with --out",
                    "`{}` was trained with {key} = {found}, and {} is to have {wanted}",
                    root.display(),
                    row.name
                )));
            }
        }
    }
    if known {
        Ok(())
    } else {
        Err(Failure::input(format!("`{}` exists already and holds no comparison; name another folder", out.display())))
    }
}
