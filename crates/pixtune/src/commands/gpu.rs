//! The GPU to plan for.

use pixtune_core::plan::{GPUS, Gpu};
use pixtune_core::spelling::nearest;
use pixtune_io::prepare::parse_bytes;

use crate::args::TrainingArgs;
use crate::error::Error;

/// The GPU that the arguments name or describe.
pub(super) fn gpu(args: &TrainingArgs) -> Result<Gpu, Error> {
    match &args.vram {
        Some(size) => Ok(Gpu::of_memory(memory(size)?)),
        None => match &sizes(&args.gpu)[..] {
            sizes @ [_, _, ..] => Err(Error::argument(format!(
                "`{}` exists with different memory sizes; choose {}",
                args.gpu,
                sizes.join(" or ")
            ))),
            _ => Gpu::find(&args.gpu).ok_or_else(|| unknown(&args.gpu)),
        },
    }
}

/// The GPUs of this name with any memory size, if no GPU has exactly this name.
fn sizes(name: &str) -> Vec<&'static str> {
    if Gpu::find(name).is_some() {
        return Vec::new();
    }
    let start = format!("{}-", name.to_ascii_lowercase());
    GPUS.iter().map(|gpu| gpu.id).filter(|id| id.starts_with(&start)).collect()
}

/// Memory of a GPU in bytes; a number without a unit is in gigabytes, as GPUs are sold.
fn memory(size: &str) -> Result<u64, Error> {
    let bytes = match size.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        true => parse_bytes(&format!("{}GB", size.trim())),
        false => parse_bytes(size),
    };
    match bytes {
        Ok(bytes) if bytes >= 1_000_000_000 => Ok(bytes),
        Ok(_) => {
            Err(Error::argument(format!("`{size}` is less memory than any GPU has; write `24GB` or `16GiB`")))
        }
        Err(_) => Err(Error::argument(format!("`{size}` is not a size; write `24GB` or `16GiB`"))),
    }
}

/// Other GPUs need only their memory.
fn unknown(name: &str) -> Error {
    let known: Vec<&str> = GPUS.iter().map(|gpu| gpu.id).collect();
    let near = nearest(name, known.iter().copied());
    let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Error::argument(format!(
        "`{name}` is not a GPU of the list: {}{near}\n  hint: give the memory of another GPU instead: `--vram 32GB`",
        known.join(", ")
    ))
}
