//! Tiles of a kernel on disk. Each tile is written as soon as it is done, so that a stopped computation can continue and
//! processes can share one.
//!
//! ```text
//! KERNEL.npz.tiles/  plan.json  inputs.npz  000000.npz  000001.npz ..
//! ```

use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use fintan_artifact::{Array, ArrayValues, Draft, Lock, RunError, is_free, read_arrays, write_npz};
use fintan_data::fingerprint;
use fintan_ntk::{
    Block, Entries, KernelParts, KernelPlan, KernelRequest, KernelShape, KernelValues, Overflow, Tile, TileSize, Tiles,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TileProgress;
use super::stored::{KernelMetadata, entries_name, input_arrays, values_array};
use crate::error::Error;

/// The manifest of the tiles. A folder without it holds no tiles.
const PLAN: &str = "plan.json";

/// The inputs, which a merged kernel stores too.
const INPUTS: &str = "inputs.npz";

/// The kernel that the tiles of a folder belong to, with everything that a merge needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TileManifest {
    /// A fingerprint of the program, the network with its weights, the inputs, the precision and the plan.
    fingerprint: String,
    #[serde(serialize_with = "write_entries", deserialize_with = "read_entries")]
    entries: Entries,
    samples: [usize; 2],
    parts: Vec<String>,
    double: bool,
    about: KernelMetadata,
    /// For each tile the ranges (start, end) of rows' samples, columns' samples, rows' outputs and columns' outputs.
    tiles: Vec<[[usize; 2]; 4]>,
}

impl TileManifest {
    fn new(problem: &KernelRequest, plan: &KernelPlan, device: &str, metadata: &KernelMetadata) -> Self {
        let (version, method, TileSize { samples, outputs }) =
            (env!("CARGO_PKG_VERSION"), plan.method.name(), plan.tile);
        let said = format!(
            "{version} {device} {method} {samples} {outputs} {:?} {:?} {:?} {}",
            problem.network().architecture(),
            problem.entries(),
            problem.outputs(),
            problem.is_coupled()
        );
        // The shape comes before the bytes, so that different kernels cannot give the same sequence of bytes.
        let named = problem.network().to_tensors().into_iter();
        let given = problem.inputs().map(|x| ("inputs".to_owned(), Tensor::clone(x).into_data()));
        let tensors: Vec<(String, TensorData)> =
            named.chain(given).map(|(name, data)| (format!("{name} {:?}", data.shape()), data)).collect();
        let mut bytes: Vec<&[u8]> = vec![said.as_bytes()];
        bytes.extend(tensors.iter().flat_map(|(said, data)| [said.as_bytes(), data.as_bytes()]));
        Self {
            fingerprint: format!("{:016x}", fingerprint(&bytes)),
            entries: problem.entries(),
            samples: problem.samples(),
            parts: problem.part_names(),
            double: problem.is_double(),
            about: metadata.clone(),
            tiles: plan.tiles.iter().map(corners).collect(),
        }
    }

    fn tile(&self, i: usize) -> Tile {
        let [a, b, o, p] = self.tiles[i].map(|[start, end]| start..end);
        Tile { samples: [a, b], outputs: [o, p] }
    }

    /// Checks that the tiles have the samples and outputs of this kernel, and are cut like the first one. The error names the
    /// difference.
    fn check(&self) -> Result<(), String> {
        let (entries, samples, outputs) = (self.entries, self.samples, self.about.outputs.len());
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn write_entries<S: Serializer>(entries: &Entries, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(entries_name(*entries))
}

fn read_entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = [Entries::Full, Entries::Traced, Entries::Diagonal];
    let found = known.into_iter().find(|&entries| entries_name(entries) == name);
    found.ok_or_else(|| D::Error::custom(format!("`entries` must be full, traced or diagonal, got {name:?}")))
}

/// The ranges (start, end) of rows' samples, columns' samples, rows' outputs and columns' outputs.
fn corners(Tile { samples: [a, b], outputs: [o, p] }: &Tile) -> [[usize; 2]; 4] {
    [a, b, o, p].map(|range: &Range<usize>| [range.start, range.end])
}

/// Why the tiles of a kernel cannot be used.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let error = fintan::Kernel::merge(&[folder.path()]).unwrap_err();
/// assert!(matches!(error, fintan::Error::Io(_)), "{error}");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TilesError {
    /// The folder exists and holds no tiles.
    #[error("`{}` exists already and holds no tiles (`{PLAN}` is missing)", .0.display())]
    NotTiles(PathBuf),
    /// The folder holds tiles of another kernel than the requested one.
    #[error("`{}` holds tiles of another kernel (fingerprint {found}, this one is {wanted})", folder.display())]
    OtherKernel {
        /// The folder.
        folder: PathBuf,
        /// The fingerprint of its tiles.
        found: String,
        /// The fingerprint of the requested kernel.
        wanted: String,
    },
    /// Folders hold tiles of different kernels.
    #[error(
        "`{}` holds tiles of another kernel than `{}`: fingerprint {found} against {wanted}",
        folder.display(), first.display()
    )]
    Different {
        /// The folder.
        folder: PathBuf,
        /// An earlier folder.
        first: PathBuf,
        /// The fingerprint of its tiles.
        found: String,
        /// The fingerprint of the tiles in the earlier folder.
        wanted: String,
    },
    /// Some tiles are not computed yet.
    #[error("{missing} of {all} tiles are missing, the first is tile {first}")]
    Missing {
        /// The number of missing tiles.
        missing: usize,
        /// The number of all tiles.
        all: usize,
        /// The number of the first missing tile, counted from 0.
        first: usize,
    },
    /// The folders, or a plan, contain no tile.
    #[error("there are no tiles")]
    Empty,
    /// A plan cannot be read.
    #[error("`{}` is damaged, or of another version of fintan: {message}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file of a tile or of inputs cannot be used.
    #[error("`{}`: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// A folder with the tiles of a kernel. Several processes may share it; [`PreparedKernel::tiles`](super::PreparedKernel::tiles)
/// makes it.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let net = fintan::Network::parse("[network]\ninput = 4\nlayers = [{ dense = { out = 3 } }]")?;
/// let whole = fintan::Kernel::of(&net).inputs(fintan::Inputs::drawn(4)).compute()?;
/// let request = fintan::Kernel::of(&net).inputs(fintan::Inputs::drawn(4)).tile_samples(2).prepare()?;
/// let plan = request.plan()?;
/// assert_eq!(plan.tiles.len(), 3);
/// let store = request.tiles(&plan, folder.path().join("k.tiles"))?;
/// // One process computes two of the tiles, another the rest.
/// store.compute(0..2, |_| ())?;
/// assert_eq!(store.kernel(|_| ())?.values(), whole.values());
/// store.remove()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TileStore<'p> {
    root: PathBuf,
    manifest: TileManifest,
    problem: &'p KernelRequest,
    plan: &'p KernelPlan,
    /// A lock that is shared by all processes that compute tiles.
    lock: Lock,
}

impl<'p> TileStore<'p> {
    /// The folder of the tiles of a kernel file.
    ///
    /// ```
    /// assert_eq!(fintan::TileStore::beside("k.npz".as_ref()), std::path::Path::new("k.npz.tiles"));
    /// ```
    #[must_use]
    pub fn beside(kernel: &Path) -> PathBuf {
        let mut name = kernel.as_os_str().to_owned();
        name.push(".tiles");
        name.into()
    }

    /// The size of the tiles in a folder, if there are any. The first tile has the largest size.
    #[must_use]
    pub fn tile_size(folder: &Path) -> TileSize {
        let manifest = read_manifest(&folder.join(PLAN)).ok();
        let Some([a, b, o, _]) = manifest.and_then(|manifest| manifest.tiles.first().copied()) else {
            return TileSize::default();
        };
        let len = |[start, end]: [usize; 2]| end.saturating_sub(start);
        TileSize { samples: Some(len(a).max(len(b))), outputs: Some(len(o)) }
    }

    /// Makes the folder, or continues with one that holds tiles of this kernel. If several processes make it at once, one
    /// succeeds and the others use its folder.
    pub(super) fn make(
        root: PathBuf,
        problem: &'p KernelRequest,
        plan: &'p KernelPlan,
        device: &str,
        metadata: &KernelMetadata,
    ) -> Result<Self, Error> {
        let manifest = TileManifest::new(problem, plan, device, metadata);
        let path = root.join(PLAN);
        let lock = loop {
            if !path.is_file() {
                match begin(&root, &manifest, problem) {
                    // Another process was faster, or the folder holds something else. The code below decides which.
                    Ok(()) | Err(RunError::Exists(_) | RunError::Held { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            let lock = Lock::shared(&root)?;
            if path.is_file() {
                break lock;
            }
            drop(lock);
            // Another process may have finished and removed the folder. Otherwise the folder holds something else.
            if !is_free(&root)? {
                return Err(TilesError::NotTiles(root).into());
            }
        };
        let found = read_manifest(&path)?;
        if found != manifest {
            let (found, wanted) = (found.fingerprint, manifest.fingerprint);
            return Err(TilesError::OtherKernel { folder: root, found, wanted }.into());
        }
        Ok(Self { root, manifest, problem, plan, lock })
    }

    /// The path of the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// Computes the missing tiles in this range of numbers, and calls `on_tile` after each.
    ///
    /// # Errors
    /// Fails if the kernel is not finite, or with errors of the file system.
    ///
    /// # Panics
    /// Panics if a number is not that of a tile of the plan.
    pub fn compute(&self, range: Range<usize>, mut on_tile: impl FnMut(TileProgress)) -> Result<(), Error> {
        let (all, mut tiles) = (range.len(), Tiles::new(self.problem, self.plan));
        for (done, i) in (1..).zip(range) {
            let computed = !self.file(i).is_file();
            if computed {
                self.write(i, &self.finite(tiles.block(i))?)?;
            }
            on_tile(TileProgress { done, all, computed });
        }
        Ok(())
    }

    /// The kernel of all tiles. Existing tiles are read, missing ones are computed.
    ///
    /// # Errors
    /// Fails if a tile is damaged, and with the errors of [`Self::compute`].
    pub fn kernel(&self, mut on_tile: impl FnMut(TileProgress)) -> Result<super::Kernel, Error> {
        let (all, mut tiles) = (self.plan.tiles.len(), Tiles::new(self.problem, self.plan));
        let mut kernel = KernelParts::of(self.problem);
        for (i, tile) in self.plan.tiles.iter().enumerate() {
            let computed = !self.file(i).is_file();
            let block =
                if computed { self.finite(tiles.block(i))? } else { read_block(&self.file(i), &self.manifest, i)? };
            if computed {
                self.write(i, &block)?;
            }
            kernel.insert(tile, &block, self.problem.is_symmetric());
            on_tile(TileProgress { done: i + 1, all, computed });
        }
        super::Kernel::finish(kernel, self.manifest.about.clone(), input_arrays(self.problem))
    }

    /// Removes the folder and returns `true`. If another process still computes tiles there, it stays and the result is
    /// `false`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn remove(self) -> Result<bool, Error> {
        Ok(self.lock.remove_folder()?)
    }

    fn file(&self, i: usize) -> PathBuf {
        self.root.join(format!("{i:06}.npz"))
    }

    fn write(&self, i: usize, block: &Block) -> Result<(), RunError> {
        let names = self.manifest.parts.iter().map(String::as_str);
        let arrays: Vec<(&str, Array)> =
            names.zip(block.parts.iter().map(|part| values_array(part, &[part.len()]))).collect();
        write_npz(&self.file(i), &arrays)
    }

    /// Returns the block, or an error if it overflowed. Blocks that are not finite are never stored.
    fn finite(&self, block: Block) -> Result<Block, Error> {
        if block.is_finite() { Ok(block) } else { Err(Error::Overflow(Overflow::of(self.problem, None))) }
    }
}

fn begin(root: &Path, manifest: &TileManifest, problem: &KernelRequest) -> Result<(), RunError> {
    let draft = Draft::at(root)?;
    let named: Vec<(&str, Array)> = ["inputs", "inputs2"].into_iter().zip(input_arrays(problem)).collect();
    write_npz(&draft.path().join(INPUTS), &named)?;
    draft.write(PLAN, &serde_json::to_vec(manifest).map_err(std::io::Error::other)?)?;
    draft.publish()?;
    Ok(())
}

/// Merges the tiles of several folders.
pub(super) fn merge(folders: &[impl AsRef<Path>]) -> Result<super::Kernel, Error> {
    let mut manifests = Vec::new();
    for folder in folders {
        manifests.push(read_manifest(&folder.as_ref().join(PLAN))?);
    }
    let first = folders.first().ok_or(TilesError::Empty)?.as_ref();
    let manifest = manifests[0].clone();
    for (folder, other) in folders.iter().zip(&manifests).skip(1) {
        if *other != manifest {
            return Err(TilesError::Different {
                folder: folder.as_ref().into(),
                first: first.into(),
                found: other.fingerprint.clone(),
                wanted: manifest.fingerprint,
            }
            .into());
        }
    }
    let file = |i: usize| {
        let mut places = folders.iter().map(|folder| folder.as_ref().join(format!("{i:06}.npz")));
        places.find(|path| path.is_file())
    };
    let found: Vec<Option<PathBuf>> = (0..manifest.tiles.len()).map(file).collect();
    let missing: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_none()).collect();
    if let Some(&first) = missing.first() {
        return Err(TilesError::Missing { missing: missing.len(), all: found.len(), first }.into());
    }
    let inputs = read_inputs(&first.join(INPUTS), &manifest)?;
    let (entries, outputs) = (manifest.entries, manifest.about.outputs.len());
    let mut kernel: Option<KernelParts> = None;
    for (i, path) in found.into_iter().flatten().enumerate() {
        let block = read_block(&path, &manifest, i)?;
        // Memory is allocated only after a tile has been read, since a damaged plan may ask for any size.
        let zeros = || KernelParts::zeros(entries, manifest.samples, outputs, &manifest.parts, manifest.double);
        kernel.get_or_insert_with(zeros).insert(&manifest.tile(i), &block, manifest.about.symmetric);
    }
    let kernel = kernel.ok_or(TilesError::Empty)?;
    super::Kernel::finish(kernel, manifest.about, inputs)
}

fn read_manifest(path: &Path) -> Result<TileManifest, Error> {
    let text = fs_err::read(path)?;
    let damaged = |message: String| TilesError::Plan { path: path.into(), message };
    let manifest: TileManifest = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    manifest.check().map_err(damaged)?;
    Ok(manifest)
}

/// Reads the inputs of each side, and checks their number against the plan.
fn read_inputs(path: &Path, manifest: &TileManifest) -> Result<Vec<Array<'static>>, Error> {
    let arrays = read_arrays(path)?;
    let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = if manifest.about.symmetric { &["inputs"][..] } else { &["inputs", "inputs2"] };
    if names != wanted {
        return Err(damaged(path, &format!("it must hold the arrays {wanted:?}, got {names:?}")));
    }
    for ((name, array), n) in arrays.iter().zip(manifest.samples) {
        if array.shape.first() != Some(&n) {
            return Err(damaged(path, &format!("array `{name}` must hold {n} samples, got shape {:?}", array.shape)));
        }
        if !array.to_f64().iter().all(|value| value.is_finite()) {
            return Err(damaged(path, &format!("array `{name}` holds a value that is not finite")));
        }
    }
    Ok(arrays.into_iter().map(|(_, array)| array).collect())
}

fn damaged(path: &Path, message: &str) -> Error {
    TilesError::Damaged { path: path.into(), message: message.into() }.into()
}

/// Reads tile i of a plan. It must hold the parts of the plan, with finite numbers of the right type and count.
fn read_block(path: &Path, manifest: &TileManifest, i: usize) -> Result<Block, Error> {
    let arrays = read_arrays(path)?;
    let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    if names != manifest.parts {
        return Err(damaged(path, &format!("it must hold the parts {:?}, got {names:?}", manifest.parts)));
    }
    let (entries, tile, double) = (manifest.entries, manifest.tile(i), manifest.double);
    let len = entries.block_len(&tile);
    // On the diagonal of samples with themselves, a part of a traced kernel is a sum of squares.
    let squares = manifest.about.symmetric && entries == Entries::Traced && tile.is_diagonal();
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
            (ArrayValues::F32(values), false) => KernelValues::F32(values.into_owned()),
            (ArrayValues::F64(values), true) => KernelValues::F64(values.into_owned()),
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
