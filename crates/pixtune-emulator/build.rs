//! Compiles the emulator and the kernels of `pixtune-cuda` for the CPU, with a C++ compiler.

#![allow(clippy::panic, reason = "a build script stops with a message")]

use std::path::{Path, PathBuf};

const KERNELS: &str = "../pixtune-cuda/kernels";
/// A directory with the same kernels in C++ by way of PTX: see `tests/ptx`.
const TRANSLATED: &str = "PIXTUNE_TRANSLATED_KERNELS";

/// The files of a directory that end so, in order.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) => panic!("{}: {error}", directory.display()),
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|own| own == ending)).collect();
    files.sort();
    files
}

fn main() {
    println!("cargo:rerun-if-changed={KERNELS}");
    println!("cargo:rerun-if-changed=emulator");
    println!("cargo:rerun-if-env-changed={TRANSLATED}");
    let kernels = match std::env::var_os(TRANSLATED) {
        Some(directory) => files(Path::new(&directory), "cpp"),
        None => files(Path::new(KERNELS), "cu"),
    };
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .debug(false)
        .warnings(false)
        .define("EMULATED", None)
        .define("HEAD_16", None)
        .define("HEAD_64", None)
        .define("HEAD_128", None)
        .include("emulator")
        .include(KERNELS)
        // The rounding of every operation is that of its source, as in the kernels that need it.
        .flag("-ffp-contract=off")
        .flag_if_supported("-fsanitize=bounds,alignment,shift")
        .flag_if_supported("-fsanitize-undefined-trap-on-error")
        // The files end in `.cu`.
        .flag("-xc++")
        .files(kernels)
        .file("emulator/faults.cu")
        .files(files(Path::new("emulator"), "cpp"))
        // Kernels register themselves: nothing refers to them.
        .link_lib_modifier("+whole-archive");
    if let Err(error) = build.try_compile("pixtune_emulator") {
        panic!(
            "the tests of the CUDA kernels need a C++ compiler, such as g++ (the program itself does not): {error}"
        );
    }
}
