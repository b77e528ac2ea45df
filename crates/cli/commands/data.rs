//! `fintan data`

use std::path::Path;

use fintan_artifact::{RunDir, write_whole};
use fintan_config::{Cifar, DataSource, Files, Fit, Idx, Image, Npy, Npz, Reader, Subject};
use fintan_data::{Images, Order, holds_batches, looks_like_tar};
use fintan_report::grid_png;

use crate::args::{DataArgs, DataCommand};
use crate::failure::Failure;
use crate::voice::{answer, answer_json};

/// Loads a data set and says what it is.
pub(super) fn data(command: &DataCommand) -> Result<(), Failure> {
    match command {
        DataCommand::Info(args) => {
            info(args)?;
        }
        DataCommand::Preview(preview) => {
            let images = info(&preview.data)?;
            let shown = Order::new(0, images.len(), 0).take(preview.n.clamp(1, images.len()));
            let values: Vec<f32> =
                shown.iter().flat_map(|&i| images.bytes(i)).map(|&b| f32::from(b) / 127.5 - 1.0).collect();
            let columns = (shown.len() as f64).sqrt().ceil() as usize;
            write_whole(&preview.out, &grid_png(&values, images.size, images.channels, columns)?)?;
            if !preview.data.voice.json {
                answer!("preview   {}", preview.out.display());
            }
        }
    }
    Ok(())
}

fn info(args: &DataArgs) -> Result<Images, Failure> {
    let (data, wanted) = find(args)?;
    let images = Images::load(&data, &wanted, fintan::free_memory())?;
    let classes = images.labels.as_ref().map(|labels| {
        let mut counts = vec![0_usize; labels.iter().max().map_or(0, |&m| usize::from(m) + 1)];
        for &label in labels {
            counts[usize::from(label)] += 1;
        }
        counts
    });
    if args.voice.json {
        let unreadable: Vec<String> = images.unreadable.iter().map(|(path, _)| path.display().to_string()).collect();
        let left_out: Vec<serde_json::Value> = images
            .left_out
            .groups()
            .map(|(reason, paths)| serde_json::json!({ "why": reason.words(), "files": paths }))
            .collect();
        let answer = serde_json::json!({
            "source": images.source, "images": images.len(), "size": images.size, "channels": images.channels,
            "class_counts": classes, "class_names": images.classes, "unreadable": unreadable,
            "left_out": left_out, "notes": images.notes,
        });
        answer_json(&answer);
        return Ok(images);
    }
    answer!("source    {}", images.source);
    answer!("images    {}, brought to {}x{}, {} channel(s)", images.len(), images.size, images.size, images.channels);
    if let Some(counts) = classes {
        let each: Vec<String> =
            counts.iter().enumerate().map(|(i, n)| format!("{}: {n}", images.class_name(i as u8))).collect();
        answer!("classes   {}", each.join(", "));
    }
    for (path, why) in &images.unreadable {
        answer!("unread    {}: {why}", path.display());
    }
    for line in images.left_out.lines() {
        answer!("left out  {line}");
    }
    for note in &images.notes {
        answer!("note      {note}");
    }
    Ok(images)
}

/// What kind of data lies at a path.
fn find(args: &DataArgs) -> Result<(DataSource, Image), Failure> {
    if !args.path.exists() {
        return Err(Failure::input(format!("`{}` does not exist", args.path.display())));
    }
    // A run directory has pictures in it, but is asked for the data that it was trained on.
    let path = RunDir::open(&args.path).map_or_else(|_| args.path.clone(), |run| run.resolved_config());
    if path.extension().is_some_and(|e| e == "toml") {
        return match Subject::load(&path, &[])? {
            Subject::Gan(experiment) => Ok((experiment.settings.data, experiment.settings.image)),
            Subject::Network(network) => {
                let path = path.display();
                let Some(data) = network.settings.data else {
                    return Err(Failure::input(format!("`{path}` has no images as data")));
                };
                let refused = || Failure::input(format!("`{path}`: {}", Reader::Images.refusal(data.kind())));
                let image = data.image(network.network.input).ok_or_else(refused)?;
                Ok((data, image))
            }
        };
    }
    if ![1, 3].contains(&args.channels) || !(1..=4096).contains(&args.size) {
        return Err(Failure::input("--channels must be 1 or 3, --size in 1 to 4096"));
    }
    let image = Image { size: args.size, channels: args.channels, fit: Fit::Resize, background: 255, flip: false };
    let is = |extension: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension));
    let data = if path.is_dir() && holds_batches(&path) || is("bin") {
        // The names of CIFAR-100's fine labels tell its records from those of CIFAR-10.
        let labels = if path.join("fine_label_names.txt").is_file() { 2 } else { 1 };
        DataSource::Cifar(Cifar { files: vec![path], labels })
    } else if path.is_dir() {
        DataSource::Folder(Files { path })
    } else if is("tar") || is("tgz") || is_packed_tar(&path) || looks_like_tar(&path).map_err(Failure::input)? {
        DataSource::Tar(Files { path })
    } else if is("zip") {
        DataSource::Zip(Files { path })
    } else if is("npy") {
        DataSource::Npy(Npy { path, labels: None, range: None })
    } else if is("npz") {
        DataSource::Npz(Npz { path, name: None, labels: None, range: None })
    } else {
        DataSource::Idx(Idx { images: path, labels: None })
    };
    Ok((data, image))
}

/// Whether a file is called `.tar` and then something, such as `.tar.gz`.
fn is_packed_tar(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| Path::new(stem).extension().is_some_and(|e| e.eq_ignore_ascii_case("tar")))
}
