//! Selects the picture files of a folder or an archive, with the same rules for both.
//!
//! - Hidden entries are left out: names with a leading dot, and files of operating systems (`__MACOSX`, `Thumbs.db`, ..).
//! - A file is taken once. Real files come before links, and links are followed in the order of their paths.
//! - A folder is entered once, and never through a link to a folder above it.
//! - Only files are ever opened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::left_out::{LeftOut, Reason};

/// The kind of an entry in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
    Link,
    /// A pipe, a device or a socket.
    Special,
}

/// The target of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Folder(PathBuf),
    File(PathBuf),
    Special,
    /// The link points to nothing or is part of an endless chain of links.
    Nothing,
    /// The target cannot be examined, with the reason.
    Unreadable(String),
}

/// An entry of a folder, with its name.
pub(super) struct Named {
    pub(super) name: PathBuf,
    pub(super) kind: Kind,
}

/// A tree of folders and files in which every entry has one true path.
pub(super) trait Tree {
    /// The entries of a folder.
    fn list(&self, folder: &Path) -> Result<Vec<Named>, String>;

    /// Resolves a link to the true path of its target.
    fn follow(&self, link: &Path) -> Target;
}

/// The result of a walk.
#[derive(Default)]
pub(super) struct Found {
    /// For each picture, the path that is shown and the true path.
    pub(super) pictures: Vec<(PathBuf, PathBuf)>,
    pub(super) left_out: LeftOut,
    /// Entries that could not be examined, with the reason.
    pub(super) unreadable: Vec<(PathBuf, String)>,
}

struct Walk<'a, T> {
    tree: &'a T,
    root: &'a Path,
    found: Found,
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Links that have not been followed yet: shown path and true path.
    links: BTreeSet<(PathBuf, PathBuf)>,
}

/// Walks the tree below the true path `root`, which messages show as `shown`.
pub(super) fn walk(tree: &impl Tree, root: &Path, shown: &Path) -> Found {
    let mut walk = Walk {
        tree,
        root,
        found: Found::default(),
        files: BTreeSet::new(),
        folders: BTreeSet::new(),
        links: BTreeSet::new(),
    };
    walk.enter(shown.to_owned(), root.to_owned());
    while let Some((shown, link)) = walk.links.pop_first() {
        walk.link(shown, &link);
    }
    walk.found
}

impl<T: Tree> Walk<'_, T> {
    /// Collects the files in a folder and its subfolders; links are kept for later.
    fn enter(&mut self, shown: PathBuf, folder: PathBuf) {
        let mut folders = vec![(shown, folder)];
        while let Some((shown, folder)) = folders.pop() {
            if !self.folders.insert(folder.clone()) {
                continue;
            }
            let named = match self.tree.list(&folder) {
                Ok(named) => named,
                Err(why) => {
                    self.found.unreadable.push((shown, why));
                    continue;
                }
            };
            for Named { name, kind } in named {
                let (shown, path) = (shown.join(&name), folder.join(&name));
                if is_hidden(&name) {
                    self.found.left_out.push(Reason::Hidden, shown);
                    continue;
                }
                match kind {
                    Kind::Folder => folders.push((shown, path)),
                    Kind::File => self.file(shown, path),
                    Kind::Link => {
                        self.links.insert((shown, path));
                    }
                    Kind::Special => self.found.left_out.push(Reason::Special, shown),
                }
            }
        }
    }

    fn file(&mut self, shown: PathBuf, path: PathBuf) {
        match reason_of(&shown) {
            Some(reason) => self.found.left_out.push(reason, shown),
            None if !self.files.insert(path.clone()) => self.found.left_out.push(Reason::Repeated, shown),
            None => self.found.pictures.push((shown, path)),
        }
    }

    fn link(&mut self, shown: PathBuf, link: &Path) {
        match self.tree.follow(link) {
            // The target contains the root: following it would add files that were not asked for, and this folder again.
            Target::Folder(path) if self.root.starts_with(&path) => self.found.left_out.push(Reason::Above, shown),
            Target::Folder(path) if self.folders.contains(&path) => {
                self.found.left_out.push(Reason::Repeated, shown);
            }
            Target::Folder(path) => self.enter(shown, path),
            Target::File(path) => self.file(shown, path),
            Target::Special => self.found.left_out.push(Reason::Special, shown),
            Target::Nothing => self.found.left_out.push(Reason::Dangling, shown),
            Target::Unreadable(why) => self.found.unreadable.push((shown, why)),
        }
    }
}

/// Whether a name is hidden, or belongs to a file that operating systems create in folders and archives.
fn is_hidden(name: &Path) -> bool {
    let name = name.to_string_lossy();
    let left = ["__MACOSX", "Thumbs.db", "ehthumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN", "lost+found"];
    name.starts_with('.') || left.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The reason why a file is left out because of its name; `None` if it is a picture.
fn reason_of(path: &Path) -> Option<Reason> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "png" | "jpg" | "jpeg" | "jpe" | "jfif" => None,
        "webp" | "bmp" | "gif" | "tif" | "tiff" | "ppm" | "pgm" | "pbm" | "pnm" | "avif" | "heic" | "heif" | "jxl"
        | "jp2" | "ico" | "tga" | "svg" | "psd" | "dng" | "exr" | "qoi" => Some(Reason::OtherFormat),
        _ => Some(Reason::NoPicture),
    }
}
