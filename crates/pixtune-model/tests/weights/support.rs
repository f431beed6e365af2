//! A copy of the fixture to break, and files made by hand.

use std::fs;
use std::path::{Path, PathBuf};

use pixtune_model::weights::safetensors::{Layout, SafetensorsFile, TensorSpec, Writer};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny_pixtral").join(name)
}

/// A checkpoint of the fixture in a directory of its own.
pub struct Copy {
    pub directory: tempfile::TempDir,
}

impl Copy {
    pub fn of(name: &str) -> Copy {
        Copy::of_directory(&fixture(name))
    }

    pub fn of_directory(directory: &Path) -> Copy {
        let copy = Copy { directory: tempfile::tempdir().unwrap() };
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path(path.file_name().unwrap().to_str().unwrap())).unwrap();
        }
        copy
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a text in a file; it has to be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "`{from}` is not in {name}");
        fs::write(self.path(name), text.replacen(from, to, 1)).unwrap();
    }

    /// Writes the weights again, each tensor as `change` wants it: the file it goes to, its name, its bytes.
    pub fn rewrite(&self, file: &str, mut change: impl FnMut(Stored) -> Vec<Stored>) {
        let tensors: Vec<Stored> = read(&self.path(file)).into_iter().flat_map(&mut change).collect();
        fs::remove_file(self.path(file)).unwrap();
        let mut files: Vec<String> = tensors.iter().map(|tensor| tensor.file.clone()).collect();
        files.sort();
        files.dedup();
        for file in files {
            write(&self.path(&file), tensors.iter().filter(|tensor| tensor.file == file));
        }
    }
}

/// A tensor with its bytes.
#[derive(Clone)]
pub struct Stored {
    pub file: String,
    pub spec: TensorSpec,
    pub bytes: Vec<u8>,
}

pub fn read(path: &Path) -> Vec<Stored> {
    let file = SafetensorsFile::open(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let stored = |tensor: &pixtune_model::weights::safetensors::TensorInfo| Stored {
        file: name.clone(),
        spec: TensorSpec { name: tensor.name.clone(), dtype: tensor.dtype, shape: tensor.shape.clone() },
        bytes: file.bytes(tensor).unwrap().to_vec(),
    };
    file.header().tensors.iter().map(stored).collect()
}

pub fn write<'t>(path: &Path, tensors: impl Iterator<Item = &'t Stored> + Clone) {
    let specs: Vec<TensorSpec> = tensors.clone().map(|tensor| tensor.spec.clone()).collect();
    let mut writer = Writer::new(fs::File::create(path).unwrap(), &Layout::new(&specs).unwrap()).unwrap();
    tensors.for_each(|tensor| writer.write(&tensor.bytes).unwrap());
    writer.finish().unwrap();
}
