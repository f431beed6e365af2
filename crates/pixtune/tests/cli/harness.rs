//! A directory of its own for every test, and the program run in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pixtune_core::json::{self, Value};

/// A directory that goes away with the test.
pub struct Case {
    directory: tempfile::TempDir,
}

/// What a run came to.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl Case {
    /// An empty directory.
    pub fn new() -> Case {
        Case { directory: tempfile::tempdir().unwrap() }
    }

    /// A directory with one table in it, beside a few images.
    pub fn table(text: impl AsRef<[u8]>) -> Case {
        let case = Case::new();
        case.write("data.csv", text);
        case.images();
        case
    }

    /// Adds `a.png`, `b.jpg`, `c.png`, `d.webp` and `big.png`, which is larger than the model sees.
    pub fn images(&self) {
        for (name, fixture) in [
            ("a.png", "grad_64x48.png"),
            ("b.jpg", "gray_200x120.jpg"),
            ("c.png", "noise_32x32.png"),
            ("d.webp", "photo_300x200.webp"),
            ("big.png", "grad_1200x800.png"),
        ] {
            self.fixture(name, fixture);
        }
    }

    /// Copies an image from `fixtures/images`.
    pub fn fixture(&self, name: &str, fixture: &str) {
        let bytes = fs::read(root().join("fixtures/images").join(fixture)).unwrap();
        self.write(name, bytes);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The command, to be run in the directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pixtune"));
        command.current_dir(self.directory.path()).args(args).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        finish(self.command(args))
    }

    /// Runs a line of shell in the directory.
    pub fn shell(&self, line: &str) -> Run {
        let mut command = Command::new("sh");
        command.current_dir(self.directory.path()).args(["-c", line]).stdin(Stdio::null());
        finish(command)
    }

    /// Runs `prepare data.csv --out out` with more arguments.
    pub fn prepare(&self, more: &[&str]) -> Run {
        self.run(&[&["prepare", "data.csv", "--out", "out"], more].concat())
    }

    /// Every file of the output, by name.
    pub fn output(&self) -> BTreeMap<String, Vec<u8>> {
        read_directory(&self.path("out"))
    }

    /// The lines of a JSON Lines file.
    pub fn lines(&self, name: &str) -> Vec<Value<'static>> {
        self.read(name).lines().map(|line| json::parse(line).unwrap().value.into_owned()).collect()
    }

    /// The rules of `out/rejected.jsonl`, in order.
    pub fn rejected(&self) -> Vec<String> {
        self.lines("out/rejected.jsonl").iter().map(|line| text(line, "/rule")).collect()
    }
}

/// Every file of a directory, by name.
pub fn read_directory(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let file =
        |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
    entries.map(|entry| file(entry.unwrap().path())).collect()
}

pub fn finish(mut command: Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// The run ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Run {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard error tells this.
    #[track_caller]
    pub fn prints(self, text: &str) -> Run {
        assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        self
    }
}

/// The value at a JSON pointer.
pub fn at<'v>(value: &'v Value<'static>, pointer: &str) -> &'v Value<'static> {
    pointer.split('/').skip(1).fold(value, |value, step| match value {
        Value::Array(values) => &values[step.parse::<usize>().unwrap()],
        other => other.get(step).unwrap_or_else(|| panic!("no {step} in {other}")),
    })
}

/// The text at a JSON pointer.
pub fn text(value: &Value<'static>, pointer: &str) -> String {
    at(value, pointer).as_str().unwrap_or_else(|| panic!("{pointer} is no string")).to_owned()
}

/// A PNG with whole chunks that declares a size and holds no pixels.
pub fn png_header(width: u32, height: u32) -> Vec<u8> {
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [&size[..], &[8, 6, 0, 0, 0]].concat();
    let chunks = [(b"IHDR", &header[..]), (b"IDAT", &[0; 3]), (b"IEND", &[])];
    let chunks = chunks.into_iter().flat_map(|(name, data)| chunk(name, data));
    b"\x89PNG\r\n\x1a\n".iter().copied().chain(chunks).collect()
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [name, data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &named, &crc32(&named).to_be_bytes()].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 * (crc & 1)))
    })
}
