//! Tiles of a kernel on disk: written whole as they finish, so that a stopped run goes on and processes can share one.
//!
//! ```text
//! KERNEL.npz.tiles/  plan.json  inputs.npz  000000.npz  000001.npz ..
//! ```

use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use fintan::KernelMetadata;
use fintan::parts::{entries_name, input_arrays, values_array};
use fintan_artifact::{Array, Draft, Lock, RunError, Values as ArrayValues, is_free, read_arrays, write_npz};
use fintan_data::fingerprint;
use fintan_ntk::{Block, Entries, Kernel, KernelShape, Plan, Problem, Tile, TileSize, Values};
use serde::{Deserialize, Serialize};

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
    pub(super) about: KernelMetadata,
    /// Samples of rows and of columns, then outputs of rows and of columns: first and one after the last.
    tiles: Vec<[[usize; 2]; 4]>,
}

impl Card {
    pub(super) fn new(problem: &Problem, plan: &Plan, device: &str, args: &Ntk) -> Self {
        let (version, method, TileSize { samples, outputs }) =
            (env!("CARGO_PKG_VERSION"), plan.method.name(), plan.tile);
        let said = format!(
            "{version} {device} {method} {samples} {outputs} {:?} {:?} {:?} {}",
            problem.network().architecture(),
            problem.entries(),
            problem.outputs(),
            problem.is_coupled()
        );
        // Shapes stand before bytes, so that no two kernels have the same bytes in a row.
        let named = problem.network().to_tensors().into_iter();
        let given = problem.inputs().map(|x| ("inputs".to_owned(), Tensor::clone(x).into_data()));
        let tensors: Vec<(String, TensorData)> =
            named.chain(given).map(|(name, data)| (format!("{name} {:?}", data.shape()), data)).collect();
        let mut bytes: Vec<&[u8]> = vec![said.as_bytes()];
        bytes.extend(tensors.iter().flat_map(|(said, data)| [said.as_bytes(), data.as_bytes()]));
        Self {
            fingerprint: format!("{:016x}", fingerprint(&bytes)),
            entries: entries_name(problem.entries()).into(),
            samples: problem.samples(),
            parts: problem.part_names(),
            double: problem.is_double(),
            about: KernelMetadata::of(problem, args),
            tiles: plan.tiles.iter().map(corners).collect(),
        }
    }

    fn entries(&self) -> Result<Entries, Failure> {
        [Entries::Full, Entries::Traced, Entries::Diagonal]
            .into_iter()
            .find(|&entries| entries_name(entries) == self.entries)
            .ok_or_else(|| Failure::input(format!("`{}` is no kind of kernel", self.entries)))
    }

    fn tile(&self, i: usize) -> Tile {
        let [a, b, o, p] = self.tiles[i].map(|[start, end]| start..end);
        Tile { samples: [a, b], outputs: [o, p] }
    }

    /// Whether the tiles are those of a kernel of these samples and outputs, cut as the first one is; the error says what is
    /// not so.
    fn check(&self) -> Result<(), String> {
        let (samples, outputs) = (self.samples, self.about.outputs.len());
        let entries = self
            .entries()
            .map_err(|_| format!("`entries` must be full, traced or diagonal, got {:?}", self.entries))?;
        let numbers = entries.shape(samples, outputs).into_iter().try_fold(self.parts.len(), usize::checked_mul);
        if numbers.is_none_or(|n| n == 0 || n > isize::MAX as usize / 8) {
            let parts = self.parts.len();
            return Err(format!("no kernel has {samples:?} samples, {outputs} outputs and {parts} parts"));
        }
        if self.about.symmetric && samples[0] != samples[1] {
            return Err(format!("a symmetric kernel has as many rows as columns, got {samples:?} samples"));
        }
        let [a, b, o, _] = self.tiles.first().copied().unwrap_or_default();
        let len = |[start, end]: [usize; 2]| end.saturating_sub(start);
        let size = TileSize { samples: len(a).max(len(b)), outputs: len(o) };
        let shape = KernelShape { entries, samples, outputs, symmetric: self.about.symmetric };
        let whole = size.samples > 0 && size.outputs > 0 && shape.count(size) == self.tiles.len();
        if !whole || shape.tiles(size).iter().map(corners).ne(self.tiles.iter().copied()) {
            return Err("`tiles` do not cover the kernel".into());
        }
        Ok(())
    }
}

/// Samples of rows and of columns, then outputs of rows and of columns: first and one after the last.
fn corners(Tile { samples: [a, b], outputs: [o, p] }: &Tile) -> [[usize; 2]; 4] {
    [a, b, o, p].map(|range: &Range<usize>| [range.start, range.end])
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
        let inputs = input_arrays(problem);
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
            names.zip(block.parts.iter().map(|part| values_array(part, &[part.len()]))).collect();
        Ok(write_npz(&self.file(i), &arrays)?)
    }

    pub(super) fn read(&self, i: usize) -> Result<Block, Failure> {
        read_block(&self.file(i), &self.card, i)
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
    let len = |[start, end]: [usize; 2]| end.saturating_sub(start);
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
    let inputs = read_inputs(&folders[0].join(INPUTS), &card)?;
    let (entries, outputs) = (card.entries()?, card.about.outputs.len());
    let mut kernel: Option<Kernel> = None;
    for (i, path) in found.into_iter().flatten().enumerate() {
        let block = read_block(&path, &card, i)?;
        // Not before a tile was there: a damaged plan may ask for any size.
        let zeros = || Kernel::zeros(entries, card.samples, outputs, &card.parts, card.double);
        kernel.get_or_insert_with(zeros).insert(&card.tile(i), &block, card.about.symmetric);
    }
    let kernel = kernel.ok_or_else(|| Failure::input("there are no tiles"))?;
    Ok((kernel, card, inputs))
}

fn read_card(path: &Path) -> Result<Card, Failure> {
    let text = fs_err::read(path).map_err(Failure::input)?;
    let damaged =
        |e: String| Failure::input(format!("`{}` is damaged, or of another version of fintan: {e}", path.display()));
    let card: Card = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    card.check().map_err(damaged)?;
    Ok(card)
}

/// Inputs of either side, which must be as many as the plan says.
fn read_inputs(path: &Path, card: &Card) -> Result<Vec<Array<'static>>, Failure> {
    let arrays = read_arrays(path)?;
    let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = if card.about.symmetric { &["inputs"][..] } else { &["inputs", "inputs2"] };
    if names != wanted {
        return Err(damaged(path, &format!("it must hold the arrays {wanted:?}, got {names:?}")));
    }
    for ((name, array), n) in arrays.iter().zip(card.samples) {
        if array.shape.first() != Some(&n) {
            return Err(damaged(path, &format!("array `{name}` must hold {n} samples, got shape {:?}", array.shape)));
        }
        if !array.to_f64().iter().all(|value| value.is_finite()) {
            return Err(damaged(path, &format!("array `{name}` holds a value that is not finite")));
        }
    }
    Ok(arrays.into_iter().map(|(_, array)| array).collect())
}

fn damaged(path: &Path, message: &str) -> Failure {
    Failure::Input(miette::miette!(
        help = "it is damaged, or was changed; take it away, and it is computed again",
        "`{}`: {message}",
        path.display()
    ))
}

/// Tile i of a plan: the plan's parts, each as many finite numbers of the plan's type as the tile has.
fn read_block(path: &Path, card: &Card, i: usize) -> Result<Block, Failure> {
    let arrays = read_arrays(path)?;
    let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    if names != card.parts {
        return Err(damaged(path, &format!("it must hold the parts {:?}, got {names:?}", card.parts)));
    }
    let (entries, tile, double) = (card.entries()?, card.tile(i), card.double);
    let len = entries.block_len(&tile);
    // Samples with themselves: a part of a trace is a sum of squares there.
    let squares = card.about.symmetric && entries == Entries::Traced && tile.is_diagonal();
    let n = tile.samples[0].len();
    let part = |(name, array): (String, Array<'static>)| {
        let wrong = |what: &str| damaged(path, &format!("array `{name}` of tile {i} {what}"));
        if array.shape != [len] {
            return Err(wrong(&format!("must have shape {:?}, got {:?}", [len], array.shape)));
        }
        let kind = match &array.values {
            ArrayValues::F32(_) => "float32",
            ArrayValues::F64(_) => "float64",
            ArrayValues::I64(_) => "int64",
        };
        let values = match (array.values, double) {
            (ArrayValues::F32(values), false) => Values::F32(values.into_owned()),
            (ArrayValues::F64(values), true) => Values::F64(values.into_owned()),
            (ArrayValues::F32(_) | ArrayValues::F64(_) | ArrayValues::I64(_), _) => {
                return Err(wrong(&format!("must be {}, got {kind}", if double { "float64" } else { "float32" })));
            }
        };
        if !values.is_finite() {
            return Err(wrong("holds a value that is not finite"));
        }
        if squares && (0..n).any(|k| values.at(k * n + k) < 0.0) {
            return Err(wrong("holds a value below 0 on the diagonal of the kernel"));
        }
        Ok(values)
    };
    Ok(Block { parts: arrays.into_iter().map(part).collect::<Result<_, _>>()? })
}

/// `a..b`, tiles of a plan.
pub(super) fn range(text: &str, count: usize) -> Result<Range<usize>, Failure> {
    let parsed = text.split_once("..").and_then(|(a, b)| Some(a.trim().parse().ok()?..b.trim().parse().ok()?));
    parsed.filter(|range: &Range<usize>| range.start < range.end && range.end <= count).ok_or_else(|| {
        Failure::input(format!("--tiles must be A..B within 0..{count}, the tiles of this plan, got `{text}`"))
    })
}
