//! Tells the programs the commit that they are built from, for `--version`.
//!
//! MCAST_COMMIT, which a package manager may set, comes first. Else a release build asks the repository whose root this
//! folder is; a debug build does not, or each commit would have everything compiled again. A build without a repository
//! has no commit.

#![expect(clippy::print_stdout, reason = "cargo reads it")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MCAST_COMMIT");
    let given = env::var("MCAST_COMMIT").unwrap_or_default();
    let commit = if let Some(given) = short(&given) {
        given
    } else if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let head = Head::of(&env::var("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default());
        for path in &head.read {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        head.commit.unwrap_or_default()
    } else {
        String::new()
    };
    println!("cargo::rustc-env=MCAST_COMMIT={commit}");
}

/// The commit that a repository has checked out.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// The first digits of the commit; `None` without a repository, or one without a commit.
    pub(crate) commit: Option<String>,
    /// The files and folders that say so, all of them there.
    pub(crate) read: Vec<PathBuf>,
}

impl Head {
    /// Reads the files of git itself: git may not be installed, or may refuse a folder of another user. A repository further
    /// up is not ours: this may be a tarball that was unpacked in it.
    pub(crate) fn of(root: &Path) -> Self {
        let mut read = Vec::new();
        let commit = Self::commit(root, &mut read);
        read.retain(|path| path.exists());
        Self { commit, read }
    }

    fn commit(root: &Path, read: &mut Vec<PathBuf>) -> Option<String> {
        let mut look = |path: PathBuf| {
            let text = fs::read_to_string(&path);
            read.push(path);
            text.ok()
        };
        let git = root.join(".git");
        // A worktree has a file in the place of the folder.
        let own = match fs::read_to_string(&git) {
            Ok(link) => root.join(link.strip_prefix("gitdir:")?.trim()),
            Err(_) => git,
        };
        let head = look(own.join("HEAD"))?;
        let Some(name) = head.strip_prefix("ref:").map(str::trim) else { return short(&head) };
        // Branches belong to all worktrees.
        let shared = match fs::read_to_string(own.join("commondir")) {
            Ok(path) => own.join(path.trim()),
            Err(_) => own,
        };
        if let Some(commit) = look(shared.join(name)) {
            return short(&commit);
        }
        // The next commit makes that file.
        if let Some(folder) = shared.join(name).parent() {
            look(folder.to_owned());
        }
        let packed = look(shared.join("packed-refs"))?;
        packed.lines().find_map(|line| short(line.strip_suffix(name)?.strip_suffix(' ')?))
    }
}

/// The beginning of a commit's hash, or of another name that a package manager gives; `None` if there is nothing usable.
pub(crate) fn short(commit: &str) -> Option<String> {
    let commit = commit.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if commit.is_empty() || !commit.chars().all(is_plain) {
        return None;
    }
    let is_hash = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(commit.chars().take(if is_hash { 8 } else { 64 }).collect())
}
