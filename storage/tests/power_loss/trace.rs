//! What a process did to the files below a directory, as strace saw it. It knows nothing of what is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The calls that change files, make changes durable, or speak.
const CALLS: &str = "openat,creat,write,pwrite64,ftruncate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync";

/// A file keeps its number whatever it is called.
pub type FileNumber = usize;

#[derive(Debug, Clone)]
pub enum What {
    Create {
        path: PathBuf,
        file: FileNumber,
    },
    Directory {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        file: FileNumber,
    },
    Unlink {
        path: PathBuf,
        file: FileNumber,
    },
    RenameDirectory {
        from: PathBuf,
        to: PathBuf,
    },
    RemoveDirectory {
        path: PathBuf,
    },
    Write {
        file: FileNumber,
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: FileNumber,
        length: u64,
    },
    SyncFile {
        file: FileNumber,
    },
    SyncDirectory {
        path: PathBuf,
    },
    /// A line for the parent, which begins with `> `.
    Say {
        line: String,
    },
}

/// A call that succeeded. Its places count the lines of the trace.
#[derive(Debug, Clone)]
pub struct Call {
    pub issued: usize,
    pub done: usize,
    /// From here on it outlives the power: a sync that began after it was done has returned.
    pub durable: usize,
    pub what: What,
}

/// strace around `program`.
pub fn strace(output: &Path, program: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-xx", "-s", "16777216", "-e"]).arg(format!("trace={CALLS}"));
    command.arg("-o").arg(output).arg(program);
    command
}

pub fn is_installed() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// All calls on what is below `root`, which itself is there and durable.
pub fn read(text: &str, root: &Path) -> Vec<Call> {
    let mut reader = Reader {
        root: root.to_owned(),
        names: BTreeMap::new(),
        directories: BTreeSet::from([root.to_owned()]),
        positions: BTreeMap::new(),
        files: 0,
        calls: Vec::new(),
    };
    let mut unfinished: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (line, text) in text.lines().enumerate() {
        let (process, rest) = text.split_once(' ').unwrap_or_default();
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, (line, begun));
        } else if let Some((_, ended)) =
            rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            let (issued, begun) = unfinished.remove(process).expect("what is resumed was begun");
            reader.take(issued, line, &format!("{begun}{ended}"));
        } else {
            reader.take(line, line, rest);
        }
    }
    mark_durable(&mut reader.calls);
    reader.calls
}

struct Reader {
    root: PathBuf,
    /// What is called how, without any loss.
    names: BTreeMap<PathBuf, FileNumber>,
    directories: BTreeSet<PathBuf>,
    /// Where the next `write` through a descriptor goes.
    positions: BTreeMap<String, u64>,
    files: FileNumber,
    calls: Vec<Call>,
}

impl Reader {
    fn take(&mut self, issued: usize, done: usize, text: &str) {
        let Some((name, rest)) = text.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let arguments: Vec<&str> = arguments.trim_end().trim_end_matches(')').split(", ").collect();
        for what in self.what(name, &arguments, result) {
            self.calls.push(Call { issued, done, durable: usize::MAX, what });
        }
    }

    fn what(&mut self, name: &str, arguments: &[&str], result: &str) -> Vec<What> {
        match (name, arguments) {
            ("openat", [_, path, flags, ..]) => self.open(&string_path(path), flags, result),
            ("write", [descriptor, bytes, ..]) => self.write(descriptor, unescape(bytes)),
            ("pwrite64", [descriptor, bytes, _, offset]) => {
                let offset = offset.parse().expect("an offset");
                let write = |file| What::Write { file, offset, bytes: unescape(bytes) };
                self.file(descriptor).map(write).into_iter().collect()
            }
            ("ftruncate", [descriptor, length]) => {
                let length = length.parse().expect("a length");
                self.file(descriptor).map(|file| What::Truncate { file, length }).into_iter().collect()
            }
            ("rename", [from, to]) => self.rename(string_path(from), string_path(to)),
            ("unlink", [path]) => self.unlink(string_path(path)),
            ("unlinkat", [at, path, flags]) => {
                let path = descriptor_path(at).join(string_path(path));
                if *flags == "0" { self.unlink(path) } else { self.remove_directory(path) }
            }
            ("rmdir", [path]) => self.remove_directory(string_path(path)),
            ("mkdir", [path, _]) => self.directory(string_path(path)),
            ("fsync" | "fdatasync", [descriptor]) => self.sync(descriptor),
            _ => panic!("{name} is not understood: {arguments:?}"),
        }
    }

    fn open(&mut self, path: &Path, flags: &str, result: &str) -> Vec<What> {
        let mut done = Vec::new();
        if !path.starts_with(&self.root) {
            return done;
        }
        if flags.contains("O_CREAT") && !self.names.contains_key(path) {
            let file = self.files;
            self.files += 1;
            self.names.insert(path.to_owned(), file);
            done.push(What::Create { path: path.to_owned(), file });
        } else if let Some(file) = self.names.get(path).filter(|_| flags.contains("O_TRUNC")) {
            done.push(What::Truncate { file: *file, length: 0 });
        }
        assert!(!flags.contains("O_APPEND"), "nothing of ours is opened so: {}", path.display());
        self.positions.insert(result.to_owned(), 0);
        done
    }

    fn write(&mut self, descriptor: &str, bytes: Vec<u8>) -> Vec<What> {
        if let Some(file) = self.file(descriptor) {
            let position = self.positions.get_mut(descriptor).expect("it was opened");
            let offset = *position;
            *position += bytes.len() as u64;
            return vec![What::Write { file, offset, bytes }];
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines = text.lines().filter_map(|line| line.strip_prefix("> "));
        lines.map(|line| What::Say { line: line.to_owned() }).collect()
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf) -> Vec<What> {
        if self.directories.contains(&from) {
            let moved =
                |path: PathBuf| path.strip_prefix(&from).map(|rest| to.join(rest)).unwrap_or(path.clone());
            self.directories = std::mem::take(&mut self.directories).into_iter().map(moved).collect();
            let names = std::mem::take(&mut self.names).into_iter();
            self.names = names.map(|(path, file)| (moved(path), file)).collect();
            return vec![What::RenameDirectory { from, to }];
        }
        let Some(file) = self.names.remove(&from) else { return Vec::new() };
        self.names.insert(to.clone(), file);
        vec![What::Rename { from, to, file }]
    }

    fn unlink(&mut self, path: PathBuf) -> Vec<What> {
        let Some(file) = self.names.remove(&path) else { return Vec::new() };
        vec![What::Unlink { path, file }]
    }

    fn remove_directory(&mut self, path: PathBuf) -> Vec<What> {
        if self.directories.remove(&path) { vec![What::RemoveDirectory { path }] } else { Vec::new() }
    }

    fn directory(&mut self, path: PathBuf) -> Vec<What> {
        if !path.starts_with(&self.root) {
            return Vec::new();
        }
        self.directories.insert(path.clone());
        vec![What::Directory { path }]
    }

    fn sync(&mut self, descriptor: &str) -> Vec<What> {
        let path = descriptor_path(descriptor);
        if self.directories.contains(&path) {
            return vec![What::SyncDirectory { path }];
        }
        self.file(descriptor).map(|file| What::SyncFile { file }).into_iter().collect()
    }

    fn file(&self, descriptor: &str) -> Option<FileNumber> {
        self.names.get(&descriptor_path(descriptor)).copied()
    }
}

/// What a sync covers: the content of a file, or the names in a directory. `None` for what changes nothing.
fn target(what: &What) -> Option<Result<FileNumber, &Path>> {
    match what {
        What::Write { file, .. } | What::Truncate { file, .. } => Some(Ok(*file)),
        What::Create { path, .. }
        | What::Directory { path }
        | What::RemoveDirectory { path }
        | What::Unlink { path, .. } => Some(Err(path.parent().expect("below the root"))),
        What::Rename { to, .. } | What::RenameDirectory { to, .. } => {
            Some(Err(to.parent().expect("below the root")))
        }
        What::SyncFile { .. } | What::SyncDirectory { .. } | What::Say { .. } => None,
    }
}

fn mark_durable(calls: &mut [Call]) {
    let syncs: Vec<(Result<FileNumber, PathBuf>, usize, usize)> = calls
        .iter()
        .filter_map(|call| match &call.what {
            What::SyncFile { file } => Some((Ok(*file), call.issued, call.done)),
            What::SyncDirectory { path } => Some((Err(path.clone()), call.issued, call.done)),
            _ => None,
        })
        .collect();
    for call in calls {
        let Some(target) = target(&call.what) else { continue };
        // Later syncs are later in the list, as far as it matters.
        let first = syncs.partition_point(|(_, issued, _)| *issued <= call.done);
        let covers = |(synced, issued, _): &&(Result<FileNumber, PathBuf>, usize, usize)| {
            *issued > call.done && synced.as_ref().map_err(PathBuf::as_path).copied() == target
        };
        call.durable = syncs[first..].iter().find(covers).map_or(usize::MAX, |(_, _, done)| *done);
    }
}

fn string_path(text: &str) -> PathBuf {
    PathBuf::from(String::from_utf8(unescape(text)).expect("a path of text"))
}

/// The path in `7<\x2f…>`.
fn descriptor_path(text: &str) -> PathBuf {
    let inside = text.split_once('<').map_or("", |(_, rest)| rest.trim_end_matches('>'));
    string_path(inside)
}

/// The bytes of `"\x2f…"`.
fn unescape(text: &str) -> Vec<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).expect("a hexadecimal digit") as u8;
    let digits = text.trim_matches('"').as_bytes();
    assert!(!text.ends_with("..."), "strace has cut it");
    digits.chunks_exact(4).map(|escaped| digit(escaped[2]) << 4 | digit(escaped[3])).collect()
}
