//! Compiles kernels with NVRTC.

use std::ffi::{CString, c_char};

use cudarc::nvrtc::{result as nvrtc, sys};

use crate::error::GpuError;
use crate::source::{HEADERS, Module};

/// A compiled module.
#[derive(Debug)]
pub(super) struct Compiled {
    /// Code for one architecture.
    pub(super) cubin: Vec<u8>,
    /// What the compiler reports.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests read the registers and spills from it"))]
    pub(super) log: String,
}

/// The version of NVRTC.
pub(super) fn version() -> Result<(i32, i32), GpuError> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: it writes two numbers.
    let result = unsafe { sys::nvrtcVersion(&mut major, &mut minor) }.result();
    called("nvrtcVersion", result)?;
    Ok((major, minor))
}

fn called<T>(call: &'static str, result: Result<T, nvrtc::NvrtcError>) -> Result<T, GpuError> {
    result.map_err(|error| GpuError::Call { call, message: format!("{:?}", error.0) })
}

/// The options that a module is compiled with.
pub(super) fn options(module: &Module, architecture: &str) -> Vec<String> {
    let defines = module.defines.iter().map(|define| format!("--define-macro={define}"));
    [format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned()]
        .into_iter()
        .chain(defines)
        .collect()
}

/// Compiles a module for an architecture such as `sm_90`.
pub(super) fn compile(module: &Module, architecture: &str, more: &[&str]) -> Result<Compiled, GpuError> {
    let program = Program::new(module)?;
    let mut options = options(module, architecture);
    options.extend(more.iter().map(|option| (*option).to_owned()));
    // SAFETY: the program exists.
    let compiled = unsafe { nvrtc::compile_program(program.0, &options) };
    let log = program.log();
    if compiled.is_err() {
        return Err(GpuError::Compile { module: module.name, log });
    }
    let mut bytes = 0;
    // SAFETY: the program was compiled to a cubin, because the architecture is a real one, and the buffer has its size.
    let cubin = unsafe {
        called("nvrtcGetCUBINSize", sys::nvrtcGetCUBINSize(program.0, &mut bytes).result())?;
        let mut cubin = vec![0u8; bytes];
        called("nvrtcGetCUBIN", sys::nvrtcGetCUBIN(program.0, cubin.as_mut_ptr().cast()).result())?;
        cubin
    };
    Ok(Compiled { cubin, log })
}

/// A program of NVRTC, destroyed when it is dropped.
struct Program(sys::nvrtcProgram);

impl Program {
    fn new(module: &Module) -> Result<Program, GpuError> {
        let text = |text: &str| {
            CString::new(text)
                .map_err(|error| GpuError::Compile { module: module.name, log: error.to_string() })
        };
        let (source, name) = (text(module.text)?, text(&format!("{}.cu", module.name))?);
        let headers = HEADERS.iter().map(|(_, header)| text(header)).collect::<Result<Vec<_>, _>>()?;
        let names = HEADERS.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>, _>>()?;
        let pointers =
            |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<*const c_char>>();
        let (headers, names) = (pointers(&headers), pointers(&names));
        let mut program = std::ptr::null_mut();
        // SAFETY: all texts end with a zero and live until the call returns, which copies them.
        let created = unsafe {
            let (count, headers, names) = (headers.len() as i32, headers.as_ptr(), names.as_ptr());
            sys::nvrtcCreateProgram(&mut program, source.as_ptr(), name.as_ptr(), count, headers, names)
        };
        called("nvrtcCreateProgram", created.result())?;
        Ok(Program(program))
    }

    fn log(&self) -> String {
        // SAFETY: the program exists.
        let log = unsafe { nvrtc::get_program_log(self.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program exists, and is not used again. A failure leaks it.
        let _ = unsafe { nvrtc::destroy_program(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::source::MODULES;

    /// The compute capabilities of the A100, the L4 and RTX 40, the H100, the B200 and the RTX 50.
    const ARCHITECTURES: [&str; 5] = ["sm_80", "sm_89", "sm_90", "sm_100", "sm_120"];

    /// Registers per thread that the launch bounds of a kernel allow, of 65,536 per multiprocessor.
    fn limit(kernel: &str) -> u32 {
        match kernel {
            "cross_entropy" => 64,
            name if name.starts_with("rms_norm") || name == "inverse_rms" => 128,
            _ => 255,
        }
    }

    /// Bytes per thread that a kernel may spill. Heads of 16 are those of small test models; the forward pass on sm_100 waits for
    /// tiles that are chosen on hardware.
    fn allowed_spill(architecture: &str, kernel: &str) -> u32 {
        match (architecture, kernel) {
            ("sm_100", "attention_128") => 40,
            ("sm_120", "attention_backward_queries_16") => 4,
            _ => 0,
        }
    }

    /// Registers and spilled bytes of each kernel, from the report of ptxas.
    fn usage(log: &str) -> BTreeMap<String, (u32, u32)> {
        let number = |line: &str, after: &str| {
            let text = line.split(after).next().unwrap().rsplit([' ', ',']).find(|word| !word.is_empty());
            text.unwrap().parse().unwrap()
        };
        let (mut kernel, mut spilled) = (String::new(), 0);
        let mut all = BTreeMap::new();
        for line in log.lines() {
            if let Some(name) = line.split("entry function '").nth(1) {
                kernel = name.split('\'').next().unwrap().to_owned();
            } else if line.contains("bytes spill stores") {
                spilled = number(line, " bytes spill stores");
            } else if let Some(rest) = line.split("Used ").nth(1) {
                all.insert(kernel.clone(), (rest.split(' ').next().unwrap().parse().unwrap(), spilled));
            }
        }
        all
    }

    /// Needs NVRTC: it runs where `PIXTUNE_NVRTC` is set, as in `.ci/run`.
    #[test]
    fn kernels_compile_for_every_architecture() {
        if std::env::var_os("PIXTUNE_NVRTC").is_none() {
            return;
        }
        for module in &MODULES {
            for architecture in ARCHITECTURES {
                let compiled = compile(module, architecture, &["--ptxas-options=-v"]).unwrap();
                assert_eq!(compiled.cubin[..4], *b"\x7fELF");
                let usage = usage(&compiled.log);
                for kernel in module.kernels {
                    let (registers, spilled) = usage[*kernel];
                    let allowed = allowed_spill(architecture, kernel);
                    assert!(spilled <= allowed, "{architecture}: {kernel} spills {spilled} bytes");
                    assert!(registers <= limit(kernel), "{architecture}: {kernel} has {registers} registers");
                }
                assert_eq!(usage.len(), module.kernels.len(), "{}", module.name);
                assert!(!compiled.log.contains("warning"), "{architecture}: {}", compiled.log);
            }
        }
    }

    #[test]
    fn the_report_of_ptxas_is_read() {
        let log = "ptxas info    : Compiling entry function 'norm' for 'sm_80'
ptxas info    : Function properties for norm
    0 bytes stack frame, 24 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 63 registers, used 1 barriers, 404 bytes cmem[0]";
        assert_eq!(usage(log), BTreeMap::from([("norm".to_owned(), (63, 24))]));
    }
}
