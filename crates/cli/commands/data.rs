//! `fintan data`

use fintan::parts::{class_counts, find_images, preview_png};
use fintan_artifact::write_whole;
use fintan_data::Images;

use crate::args::{DataArgs, DataCommand};
use crate::failure::Failure;
use crate::voice::{answer, answer_json};

/// Loads a data set and prints a description.
pub(super) fn data(command: &DataCommand) -> Result<(), Failure> {
    match command {
        DataCommand::Info(args) => {
            info(args)?;
        }
        DataCommand::Preview(preview) => {
            let images = info(&preview.data)?;
            write_whole(&preview.out, &preview_png(&images, preview.n)?)?;
            if !preview.data.voice.json {
                answer!("preview   {}", preview.out.display());
            }
        }
    }
    Ok(())
}

fn info(args: &DataArgs) -> Result<Images, Failure> {
    let (data, wanted) = find_images(&args.path, args.size, args.channels)?;
    let images = Images::load(&data, &wanted, fintan::free_memory())?;
    let classes = class_counts(&images);
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
