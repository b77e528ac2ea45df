//! The tree of folders and files in an archive, as unpacking would create it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::LINKS;
use super::walk::{Kind, Named, Target, Tree};
use crate::bounds;
use crate::left_out::{LeftOut, Reason};

/// An entry of an archive at some path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
    Folder,
    /// Index of the member in the archive.
    File(usize),
    /// The target of the link, as written.
    Link(PathBuf),
    Special,
}

/// The folders of an archive; its root has the empty path.
pub(super) struct Contents {
    folders: BTreeMap<PathBuf, BTreeMap<PathBuf, Member>>,
}

impl Default for Contents {
    fn default() -> Self {
        Self { folders: BTreeMap::from([(PathBuf::new(), BTreeMap::new())]) }
    }
}

impl Contents {
    /// Adds a member. A member at the same path is replaced, as unpacking would do.
    pub(super) fn insert(&mut self, name: &str, member: Member, left_out: &mut LeftOut) {
        let path = (name.len() <= bounds::PATH).then(|| within(Path::new(""), Path::new(name))).flatten();
        let Some(path) = path else {
            left_out.push(Reason::Path, PathBuf::from(name.chars().take(100).collect::<String>()));
            return;
        };
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
        self.make(folder);
        let here = self.folders.get_mut(folder).expect("just made");
        if member == Member::Folder {
            self.make(&path);
        } else if let Some(Member::File(_) | Member::Link(_)) = here.insert(name.into(), member) {
            left_out.push(Reason::Repeated, path);
        }
    }

    /// Adds another name (hard link) for a member that was added before.
    pub(super) fn link(&mut self, name: &str, target: &str, left_out: &mut LeftOut) {
        let target = within(Path::new(""), Path::new(target));
        let member = target.and_then(|path| self.member(&path)).cloned();
        // A hard link to nothing becomes a link to nothing.
        self.insert(name, member.unwrap_or(Member::Link(PathBuf::new())), left_out);
    }

    /// Adds a folder and its parents; a non-folder at one of these paths is replaced by a folder.
    fn make(&mut self, folder: &Path) {
        let mut folder = folder;
        let mut known = self.folders.contains_key(folder);
        self.folders.entry(folder.into()).or_default();
        while let (false, Some(above), Some(name)) = (known, folder.parent(), folder.file_name()) {
            known = self.folders.contains_key(above);
            self.folders.entry(above.into()).or_default().insert(name.into(), Member::Folder);
            folder = above;
        }
    }

    fn member(&self, path: &Path) -> Option<&Member> {
        self.folders.get(path.parent()?)?.get(Path::new(path.file_name()?))
    }

    /// Index in the archive of the file at `path`.
    pub(super) fn place(&self, path: &Path) -> Option<usize> {
        match self.member(path)? {
            Member::File(place) => Some(*place),
            Member::Folder | Member::Link(_) | Member::Special => None,
        }
    }

    /// The true path of `path`, with all links on the way resolved.
    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut links = 0;
        let mut rest: Vec<PathBuf> = path.components().rev().map(|c| PathBuf::from(c.as_os_str())).collect();
        let mut at = PathBuf::new();
        while let Some(name) = rest.pop() {
            let next = within(&at, &name)?;
            match self.member(&next) {
                Some(Member::Link(to)) => {
                    links += 1;
                    if links > LINKS || to.is_absolute() || to.as_os_str().is_empty() {
                        return None;
                    }
                    rest.extend(to.components().rev().map(|c| PathBuf::from(c.as_os_str())));
                }
                Some(Member::Folder | Member::File(_) | Member::Special) => at = next,
                // The root has no name.
                None if next.as_os_str().is_empty() => at = next,
                None => return None,
            }
        }
        Some(at)
    }
}

impl Tree for Contents {
    fn list(&self, folder: &Path) -> Result<Vec<Named>, String> {
        let members = self.folders.get(folder).into_iter().flatten();
        let named = members.map(|(name, member)| {
            let kind = match member {
                Member::Folder => Kind::Folder,
                Member::File(_) => Kind::File,
                Member::Link(_) => Kind::Link,
                Member::Special => Kind::Special,
            };
            Named { name: name.clone(), kind }
        });
        Ok(named.collect())
    }

    fn follow(&self, link: &Path) -> Target {
        let Some(path) = self.resolve(link) else { return Target::Nothing };
        match self.member(&path) {
            Some(Member::File(_)) => Target::File(path),
            Some(Member::Special) => Target::Special,
            Some(Member::Folder) => Target::Folder(path),
            None if path.as_os_str().is_empty() => Target::Folder(path),
            Some(Member::Link(_)) | None => Target::Nothing,
        }
    }
}

/// `path` relative to the folder `from` of an archive; `None` if it leads out of the archive. An absolute path starts at the
/// root of the archive.
fn within(from: &Path, path: &Path) -> Option<PathBuf> {
    let mut within = from.to_owned();
    for component in path.components() {
        match component {
            Component::Normal(name) => within.push(name),
            Component::ParentDir => {
                if !within.pop() {
                    return None;
                }
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::walk::walk;

    fn contents(members: &[(&str, Member)]) -> (Contents, LeftOut) {
        let (mut contents, mut left_out) = (Contents::default(), LeftOut::default());
        for (name, member) in members {
            contents.insert(name, member.clone(), &mut left_out);
        }
        (contents, left_out)
    }

    fn link(to: &str) -> Member {
        Member::Link(to.into())
    }

    #[test]
    fn links_are_followed_within_the_archive_and_no_further() {
        let (contents, _) = contents(&[
            ("blobs/7f3a", Member::File(0)),
            ("cats/1.png", link("../blobs/7f3a")),
            ("cats/2.png", link("../../blobs/7f3a")),
            ("cats/3.png", link("/blobs/7f3a")),
            ("cats/4.png", link("4.png")),
            ("cats/5.png", link("nowhere.png")),
            ("dogs", link("cats")),
            ("more/up", link("..")),
            ("pipe.png", Member::Special),
            ("x/6.png", link("../dogs/1.png")),
        ]);
        assert_eq!(contents.follow(Path::new("cats/1.png")), Target::File("blobs/7f3a".into()));
        for nothing in ["cats/2.png", "cats/3.png", "cats/4.png", "cats/5.png"] {
            assert_eq!(contents.follow(Path::new(nothing)), Target::Nothing, "{nothing}");
        }
        assert_eq!(contents.follow(Path::new("dogs")), Target::Folder("cats".into()));
        assert_eq!(contents.follow(Path::new("x/6.png")), Target::File("blobs/7f3a".into()));
        assert_eq!(contents.follow(Path::new("more/up")), Target::Folder(PathBuf::new()));
        let found = walk(&contents, Path::new(""), Path::new(""));
        assert_eq!(found.pictures, [(PathBuf::from("cats/1.png"), PathBuf::from("blobs/7f3a"))]);
        let lines = found.left_out.lines();
        for said in ["2 there already under another path: `dogs`, `x/6.png`", "4 linked to nothing: `cats/2.png`"] {
            assert!(lines.iter().any(|line| line.starts_with(said)), "{lines:?}");
        }
        assert!(lines.iter().any(|line| line == "1 linked to a folder that holds the data set: `more/up`"));
    }

    #[test]
    fn folders_without_members_of_their_own_are_made_at_any_depth() {
        let (contents, _) = contents(&[("a/b/c/1.png", Member::File(0)), ("a/b/d/e/2.png", Member::File(1))]);
        let found = walk(&contents, Path::new(""), Path::new(""));
        let mut shown: Vec<String> = found.pictures.iter().map(|(shown, _)| shown.display().to_string()).collect();
        shown.sort();
        assert_eq!(shown, ["a/b/c/1.png", "a/b/d/e/2.png"]);
    }

    #[test]
    fn paths_are_normal_and_stay_within() {
        let deep = "a/".repeat(5000) + "1.png";
        let (contents, left_out) = contents(&[
            ("./a//1.png", Member::File(0)),
            ("/b/2.png", Member::File(1)),
            ("../../c.png", Member::File(2)),
            (&deep, Member::File(3)),
            ("a/1.png", Member::File(4)),
            ("d/e", Member::File(5)),
            ("d/e/f.png", Member::File(6)),
        ]);
        assert_eq!(contents.place(Path::new("a/1.png")), Some(4));
        assert_eq!(contents.place(Path::new("b/2.png")), Some(1));
        assert_eq!(contents.place(Path::new("d/e/f.png")), Some(6));
        let found = walk(&contents, Path::new(""), Path::new(""));
        let shown: Vec<String> = found.pictures.iter().map(|(shown, _)| shown.display().to_string()).collect();
        assert_eq!(shown.len(), 3, "{shown:?}");
        let lines = left_out.lines();
        assert_eq!(lines[0], "1 there already under another path: `a/1.png`");
        assert!(lines[1].starts_with("2 with a path that leads out of the archive or is too long: `../../c.png`"));
    }
}
