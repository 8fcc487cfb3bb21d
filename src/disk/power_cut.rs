//! A file system that loses what was not synced, and fails when it is told to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::folders::Folders;
use super::{Disk, FileMode};

/// Where the file system is mounted.
pub(crate) const ROOT: &str = "/dumps";

/// What there may be: every path, with its content if it is a file.
pub(crate) type World = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A disk. Files and directories are known by number, as inodes are; 0 is the directory that is mounted.
#[derive(Clone, Debug)]
pub(crate) struct Frail(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    /// Steps that were asked for so far.
    steps: u32,
    /// This step and all after it do nothing: the power is off.
    off_at: Option<u32>,
    /// These steps fail.
    fails: Option<(RangeInclusive<u32>, io::ErrorKind)>,
    /// It knows files without a name.
    knows_unnamed: bool,
    nodes: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    File {
        bytes: Vec<u8>,
        synced: usize,
    },
    Directory {
        /// What was done to names, in order: given to a node, or taken away.
        changes: Vec<(String, Option<usize>)>,
        synced: usize,
    },
}

impl Node {
    const DIRECTORY: Self = Self::Directory { changes: Vec::new(), synced: 0 };
}

impl State {
    /// The names in a directory after so many changes.
    fn names(&self, directory: usize, changes: usize) -> BTreeMap<String, usize> {
        let mut names = BTreeMap::new();
        if let Node::Directory { changes: all, .. } = &self.nodes[directory] {
            for (name, node) in &all[..changes] {
                match node {
                    Some(node) => _ = names.insert(name.clone(), *node),
                    None => _ = names.remove(name),
                }
            }
        }
        names
    }

    fn changes(&self, directory: usize) -> std::ops::RangeInclusive<usize> {
        match &self.nodes[directory] {
            Node::Directory { changes, synced } => *synced..=changes.len(),
            Node::File { .. } => 0..=0,
        }
    }

    /// The directory that a path is in, and the name that it has there.
    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let path = path.strip_prefix(ROOT).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let directory =
            path.parent().into_iter().flat_map(Path::components).try_fold(0, |directory, part| {
                self.names(directory, *self.changes(directory).end())
                    .get(part.as_os_str().to_str().unwrap())
                    .copied()
            });
        Ok((directory.ok_or(io::ErrorKind::NotFound)?, name))
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        if path == Path::new(ROOT) {
            return Ok(0);
        }
        let (directory, name) = self.place(path)?;
        self.find_in(directory, &name)
    }

    fn find_in(&self, directory: usize, name: &str) -> io::Result<usize> {
        let names = self.names(directory, *self.changes(directory).end());
        names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set(&mut self, path: &Path, node: Option<usize>) -> io::Result<()> {
        let (directory, name) = self.place(path)?;
        self.set_in(directory, &name, node)
    }

    fn set_in(&mut self, directory: usize, name: &str, node: Option<usize>) -> io::Result<()> {
        match &mut self.nodes[directory] {
            Node::Directory { changes, .. } => changes.push((name.to_owned(), node)),
            Node::File { .. } => return Err(io::ErrorKind::NotADirectory.into()),
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (directory, name) = self.place(path)?;
        self.add_in(directory, &name, node)
    }

    fn add_in(&mut self, directory: usize, name: &str, node: Node) -> io::Result<usize> {
        if self.find_in(directory, name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.set_in(directory, name, Some(number))?;
        Ok(number)
    }

    fn sync_names(&mut self, directory: usize) -> io::Result<()> {
        if let Node::Directory { changes, synced } = &mut self.nodes[directory] {
            *synced = changes.len();
        }
        Ok(())
    }

    fn must_be_free(&self, path: &Path) -> io::Result<()> {
        if self.find(path).is_ok() { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(()) }
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        self.set(to, Some(node))?;
        self.set(from, None)
    }

    /// What is there if each directory has so many changes, and of what was not synced so many halves are kept.
    fn world(&self, changes: &[usize], halves: usize) -> World {
        let mut world = World::new();
        let mut directories = vec![(PathBuf::from(ROOT), 0)];
        while let Some((path, directory)) = directories.pop() {
            for (name, node) in self.names(directory, changes[directory]) {
                let path = path.join(name);
                let content = match &self.nodes[node] {
                    Node::File { bytes, synced } => {
                        Some(bytes[..synced + (bytes.len() - synced) * halves / 2].to_vec())
                    }
                    Node::Directory { .. } => {
                        directories.push((path.clone(), node));
                        None
                    }
                };
                world.insert(path, content);
            }
        }
        world
    }
}

impl Frail {
    /// An empty disk.
    pub(crate) fn new(knows_unnamed: bool) -> Self {
        Self(Rc::new(RefCell::new(State {
            steps: 0,
            off_at: None,
            fails: None,
            knows_unnamed,
            nodes: vec![Node::DIRECTORY],
        })))
    }

    /// Forgets the steps so far, and loses the power at this one.
    pub(crate) fn off_at(&self, step: u32) {
        let mut state = self.0.borrow_mut();
        (state.steps, state.off_at) = (0, Some(step));
    }

    /// Forgets the steps so far, and fails at this one.
    pub(crate) fn fails_at(&self, step: u32, kind: io::ErrorKind) {
        let mut state = self.0.borrow_mut();
        (state.steps, state.fails) = (0, Some((step..=step, kind)));
    }

    /// Forgets the steps so far, and fails at this one and all that follow.
    pub(crate) fn fails_from(&self, step: u32, kind: io::ErrorKind) {
        let mut state = self.0.borrow_mut();
        (state.steps, state.fails) = (0, Some((step..=u32::MAX, kind)));
    }

    /// Steps that were asked for so far.
    pub(crate) fn steps(&self) -> u32 {
        self.0.borrow().steps
    }

    /// What is there while the power is on.
    pub(crate) fn now(&self) -> World {
        let state = self.0.borrow();
        let changes: Vec<_> = (0..state.nodes.len()).map(|node| *state.changes(node).end()).collect();
        state.world(&changes, 2)
    }

    /// Everything that may be there after the power has come back: in each directory any number of changes beyond those
    /// that were synced, in order, as a journal has them, whatever has become of those in another; and of what was
    /// written and not synced all, a part, or nothing.
    pub(crate) fn after_power_cut(&self) -> Vec<World> {
        let state = self.0.borrow();
        let mut choices = vec![Vec::new()];
        for node in 0..state.nodes.len() {
            let longer = |choice: &Vec<usize>| {
                let choice = choice.clone();
                state.changes(node).map(move |changes| [choice.as_slice(), &[changes]].concat())
            };
            choices = choices.iter().flat_map(longer).collect();
        }
        let halves = |choice: Vec<usize>| (0..3).map(move |halves| (choice.clone(), halves));
        choices.into_iter().flat_map(halves).map(|(choice, halves)| state.world(&choice, halves)).collect()
    }

    /// Does a step unless the power is off or the step is to fail.
    fn step<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.borrow_mut();
        let step = state.steps;
        state.steps += 1;
        if state.off_at.is_some_and(|off| step >= off) {
            return Err(io::Error::other("no power"));
        }
        match &state.fails {
            Some((steps, kind)) if steps.contains(&step) => Err((*kind).into()),
            _ => act(&mut state),
        }
    }
}

impl Disk for Frail {
    type File = usize;

    fn create_unnamed(&self, _: &Path) -> Option<usize> {
        let mut state = self.0.borrow_mut();
        state.knows_unnamed.then(|| {
            state.nodes.push(Node::File { bytes: Vec::new(), synced: 0 });
            state.nodes.len() - 1
        })
    }

    fn create_new(&self, path: &Path) -> io::Result<usize> {
        self.step(|state| state.add(path, Node::File { bytes: Vec::new(), synced: 0 }))
    }

    fn write_all(&self, file: &usize, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.step(|state| {
            if let Node::File { bytes, .. } = &mut state.nodes[*file] {
                slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            }
            Ok(())
        })
    }

    fn take_after(&self, _: &usize, _: &Path, _: Option<FileMode>) -> io::Result<()> {
        self.step(|_| Ok(()))
    }

    fn set_mode(&self, _: &usize, _: FileMode) -> io::Result<()> {
        self.step(|_| Ok(()))
    }

    fn sync(&self, file: &usize) -> io::Result<()> {
        self.step(|state| {
            if let Node::File { bytes, synced } = &mut state.nodes[*file] {
                *synced = bytes.len();
            }
            Ok(())
        })
    }

    fn link(&self, file: &usize, path: &Path) -> io::Result<()> {
        self.step(|state| {
            state.must_be_free(path)?;
            state.set(path, Some(*file))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| state.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| {
            state.must_be_free(to)?;
            state.rename(from, to)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            state.find(path)?;
            state.set(path, None)
        })
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.step(|state| {
            let directory = state.find(directory)?;
            state.sync_names(directory)
        })
    }

    fn is_append_only(&self, _: &Path) -> bool {
        false
    }
}

impl Folders for Frail {
    type Folder = usize;

    fn open_folder(&self, path: &Path) -> io::Result<usize> {
        self.0.borrow().find(path)
    }

    fn create_folder(&self, at: &usize, name: &str) -> io::Result<usize> {
        self.step(|state| state.add_in(*at, name, Node::DIRECTORY))
    }

    fn rename_folder(&self, at: &usize, from: &str, to: &str) -> io::Result<()> {
        self.step(|state| {
            let node = state.find_in(*at, from)?;
            if state.find_in(*at, to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.set_in(*at, to, Some(node))?;
            state.set_in(*at, from, None)
        })
    }

    fn set_folder_mode(&self, _: &usize, _: FileMode) -> io::Result<()> {
        self.step(|_| Ok(()))
    }

    fn remove_folder(&self, at: &usize, name: &str) -> io::Result<()> {
        self.step(|state| {
            let directory = state.find_in(*at, name)?;
            if !state.names(directory, *state.changes(directory).end()).is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            state.set_in(*at, name, None)
        })
    }

    fn sync_folder(&self, folder: &usize) -> io::Result<()> {
        self.step(|state| state.sync_names(*folder))
    }

    fn create_file(&self, at: &usize, name: &str) -> io::Result<usize> {
        self.step(|state| state.add_in(*at, name, Node::File { bytes: Vec::new(), synced: 0 }))
    }

    fn remove_file(&self, at: &usize, name: &str) -> io::Result<()> {
        self.step(|state| {
            state.find_in(*at, name)?;
            state.set_in(*at, name, None)
        })
    }

    fn lock(&self, _: &usize, _: &usize, _: &str) -> io::Result<bool> {
        Ok(true)
    }

    fn descriptor(&self, _: &usize) -> Option<OwnedFd> {
        None
    }
}
