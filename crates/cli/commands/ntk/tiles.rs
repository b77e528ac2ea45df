//! Tiles of a kernel on disk: written whole as they finish, so that a stopped run goes on and processes can share one.
//!
//! ```text
//! KERNEL.npz.tiles/  plan.json  inputs.npz  000000.npz  000001.npz ..
//! ```

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use fintan_artifact::{Array, Draft, Lock, RunError, Values as ArrayValues, is_free, read_arrays, write_npz};
use fintan_ntk::{Block, Entries, Kernel, Plan, Problem, Tile, TileSize, Values};
use serde::{Deserialize, Serialize};

use super::written::About;
use crate::args::{Ntk, Voice};
use crate::failure::Failure;
use crate::voice::tell;

/// What the tiles belong to; a folder without it holds none.
const PLAN: &str = "plan.json";

/// The inputs, which a merged kernel keeps too.
const INPUTS: &str = "inputs.npz";

/// What the tiles of a folder belong to: all that a merge needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Card {
    /// Of the program, the network with its weights, the inputs, the precision and the plan.
    fingerprint: String,
    pub(super) entries: String,
    pub(super) samples: [usize; 2],
    pub(super) parts: Vec<String>,
    pub(super) double: bool,
    pub(super) about: About,
    /// Samples of rows and of columns, then outputs of rows and of columns: first and one after the last.
    tiles: Vec<[[usize; 2]; 4]>,
}

impl Card {
    pub(super) fn new(problem: &Problem, plan: &Plan, device: &str, args: &Ntk) -> Self {
        let mut hash = DefaultHasher::new();
        (env!("CARGO_PKG_VERSION"), device, plan.method.name(), plan.tile.samples, plan.tile.outputs).hash(&mut hash);
        format!("{:?}", problem.network().architecture()).hash(&mut hash);
        for (name, data) in problem.network().to_tensors() {
            (name, data.as_bytes()).hash(&mut hash);
        }
        for x in problem.inputs() {
            let data = Tensor::clone(x).into_data();
            (data.shape().to_vec(), data.as_bytes()).hash(&mut hash);
        }
        format!("{:?} {:?} {}", problem.entries(), problem.outputs(), problem.is_coupled()).hash(&mut hash);
        let ends = |range: &Range<usize>| [range.start, range.end];
        let corners = |Tile { samples: [a, b], outputs: [o, p] }: &Tile| [a, b, o, p].map(ends);
        Self {
            fingerprint: format!("{:016x}", hash.finish()),
            entries: super::word(problem.entries()).into(),
            samples: problem.samples(),
            parts: problem.part_names(),
            double: problem.is_double(),
            about: About::of(problem, args),
            tiles: plan.tiles.iter().map(corners).collect(),
        }
    }

    fn entries(&self) -> Result<Entries, Failure> {
        [Entries::Full, Entries::Traced, Entries::Diagonal]
            .into_iter()
            .find(|&entries| super::word(entries) == self.entries)
            .ok_or_else(|| Failure::input(format!("`{}` is no kind of kernel", self.entries)))
    }

    fn tile(&self, i: usize) -> Tile {
        let [a, b, o, p] = self.tiles[i].map(|[start, end]| start..end);
        Tile { samples: [a, b], outputs: [o, p] }
    }
}

/// A folder of tiles.
pub(super) struct Folder {
    root: PathBuf,
    card: Card,
    /// Shared with all who compute tiles.
    lock: Lock,
}

impl Folder {
    /// Where the tiles of a kernel go.
    pub(super) fn beside(kernel: &Path) -> PathBuf {
        let mut name = kernel.as_os_str().to_owned();
        name.push(".tiles");
        name.into()
    }

    /// Makes the folder, or goes on with one that holds tiles of the same kernel. Of several processes that make it at once
    /// one succeeds, and the others go on with that one's.
    pub(super) fn make(root: PathBuf, card: Card, problem: &Problem) -> Result<Self, Failure> {
        let path = root.join(PLAN);
        let lock = loop {
            if !path.is_file() {
                match Self::begin(&root, &card, problem) {
                    // Another process is quicker, or what lies there are no tiles.
                    Ok(()) | Err(RunError::Exists(_) | RunError::Held { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            let lock = Lock::shared(&root)?;
            if path.is_file() {
                break lock;
            }
            drop(lock);
            // Who was done with the folder has taken it away meanwhile; else it is another's.
            if !is_free(&root)? {
                return Err(Failure::input(format!(
                    "`{}` exists already and holds no tiles (`{PLAN}` is missing); choose another --out",
                    root.display()
                )));
            }
        };
        let found = read_card(&path)?;
        if found != card {
            return Err(Failure::input(format!(
                "`{}` holds tiles of another kernel (fingerprint {}, this one is {}); remove the folder, or choose \
                 another --out",
                root.display(),
                found.fingerprint,
                card.fingerprint
            )));
        }
        Ok(Self { root, card, lock })
    }

    fn begin(root: &Path, card: &Card, problem: &Problem) -> Result<(), RunError> {
        let draft = Draft::at(root)?;
        let inputs = super::written::inputs(problem);
        let named: Vec<(&str, Array)> = ["inputs", "inputs2"].into_iter().zip(inputs).collect();
        write_npz(&draft.path().join(INPUTS), &named)?;
        draft.write(PLAN, &serde_json::to_vec(card).map_err(std::io::Error::other)?)?;
        draft.publish()?;
        Ok(())
    }

    pub(super) fn has(&self, i: usize) -> bool {
        self.file(i).is_file()
    }

    fn file(&self, i: usize) -> PathBuf {
        self.root.join(format!("{i:06}.npz"))
    }

    pub(super) fn write(&self, i: usize, block: &Block) -> Result<(), Failure> {
        let names = self.card.parts.iter().map(String::as_str);
        let arrays: Vec<(&str, Array)> =
            names.zip(block.parts.iter().map(|part| super::written::array(part, &[part.len()]))).collect();
        Ok(write_npz(&self.file(i), &arrays)?)
    }

    pub(super) fn read(&self, i: usize) -> Result<Block, Failure> {
        read_block(&self.file(i), &self.card)
    }

    /// Takes the folder away once its kernel is written, unless another process still computes tiles there.
    pub(super) fn remove(self, voice: &Voice) -> Result<(), Failure> {
        if !self.lock.remove_folder()? && !voice.quiet {
            tell!("`{}` stays: another process may still write there", self.root.display());
        }
        Ok(())
    }
}

/// The size of the tiles that lie beside a kernel's place, if any do. The first tile is a largest one.
pub(super) fn size_beside(kernel: &Path) -> TileSize {
    let card = read_card(&Folder::beside(kernel).join(PLAN)).ok();
    let Some([a, b, o, _]) = card.and_then(|card| card.tiles.first().copied()) else { return TileSize::default() };
    let len = |[start, end]: [usize; 2]| end - start;
    TileSize { samples: Some(len(a).max(len(b))), outputs: Some(len(o)) }
}

/// Puts the tiles of several folders together.
pub(super) fn merge(folders: &[PathBuf]) -> Result<(Kernel, Card, Vec<Array<'static>>), Failure> {
    let mut cards = Vec::new();
    for folder in folders {
        cards.push(read_card(&folder.join(PLAN))?);
    }
    let card = cards[0].clone();
    for (folder, other) in folders.iter().zip(&cards).skip(1) {
        if *other != card {
            return Err(Failure::input(format!(
                "`{}` holds tiles of another kernel than `{}`: fingerprint {} against {}",
                folder.display(),
                folders[0].display(),
                other.fingerprint,
                card.fingerprint
            )));
        }
    }
    let found: Vec<Option<PathBuf>> = (0..card.tiles.len())
        .map(|i| folders.iter().map(|folder| folder.join(format!("{i:06}.npz"))).find(|path| path.is_file()))
        .collect();
    let missing: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_none()).collect();
    if let Some(first) = missing.first() {
        return Err(Failure::input(format!(
            "{} of {} tiles are missing, the first is tile {first}; compute it with --tiles {first}..{}",
            missing.len(),
            found.len(),
            first + 1
        )));
    }
    let mut kernel = Kernel::zeros(card.entries()?, card.samples, card.about.outputs.len(), &card.parts, card.double);
    for (i, path) in found.into_iter().flatten().enumerate() {
        kernel.insert(&card.tile(i), &read_block(&path, &card)?, card.about.symmetric);
    }
    let inputs = read_arrays(&folders[0].join(INPUTS))?.into_iter().map(|(_, array)| array).collect();
    Ok((kernel, card, inputs))
}

fn read_card(path: &Path) -> Result<Card, Failure> {
    let text = fs_err::read(path).map_err(Failure::input)?;
    serde_json::from_slice(&text)
        .map_err(|e| Failure::input(format!("`{}` is damaged, or of another version of fintan: {e}", path.display())))
}

fn read_block(path: &Path, card: &Card) -> Result<Block, Failure> {
    let arrays = read_arrays(path)?;
    let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    if names != card.parts {
        return Err(Failure::input(format!("`{}` holds the parts {names:?}, not {:?}", path.display(), card.parts)));
    }
    let parts = arrays.into_iter().map(|(_, array)| match array.values {
        ArrayValues::F32(values) => Values::F32(values.into_owned()),
        ArrayValues::F64(values) => Values::F64(values.into_owned()),
        ArrayValues::I64(values) => Values::F64(values.iter().map(|&v| v as f64).collect()),
    });
    Ok(Block { parts: parts.collect() })
}

/// `a..b`, tiles of a plan.
pub(super) fn range(text: &str, count: usize) -> Result<Range<usize>, Failure> {
    let parsed = text.split_once("..").and_then(|(a, b)| Some(a.trim().parse().ok()?..b.trim().parse().ok()?));
    parsed.filter(|range: &Range<usize>| range.start < range.end && range.end <= count).ok_or_else(|| {
        Failure::input(format!("--tiles must be A..B within 0..{count}, the tiles of this plan, got `{text}`"))
    })
}
