"""Runs the tests of the CUDA kernels on what NVRTC makes of them: `run.py OUT`.

NVRTC compiles every file of kernels to PTX, `translate.py` translates that to C++ in OUT, and the tests of pixtune-emulator run with
it in place of the kernels' own text. Then NVRTC compiles the kernels for every architecture, in a test of pixtune-cuda. Needs the
package nvidia-cuda-nvrtc, but no GPU and no driver.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import nvidia

from translate import translate

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "crates/pixtune-cuda/kernels"
# The oldest architecture that is supported: its PTX runs on all of them.
OPTIONS = ["--gpu-architecture=compute_80", "--std=c++17", "-DHEAD_16", "-DHEAD_64", "-DHEAD_128"]


def library():
    """The path of NVRTC."""
    return next(path for root in nvidia.__path__ for path in sorted(Path(root).glob("*/lib/libnvrtc.so.*")))


def strings(values):
    return (ctypes.c_char_p * len(values))(*[value.encode() for value in values])


def compile_to_ptx(nvrtc, path):
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    headers = sorted(KERNELS.glob("*.cuh"))
    texts, names = strings([header.read_text() for header in headers]), strings([header.name for header in headers])
    made = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), path.read_text().encode(), path.name.encode(), len(headers), texts, names
    )
    assert made == 0, f"{path.name}: NVRTC returned {made}"
    result = nvrtc.nvrtcCompileProgram(program, len(OPTIONS), strings(OPTIONS))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert result == 0, log.value.decode()
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, ptx)
    return ptx.value.decode()


def test(*arguments, **environment):
    # The whole workspace, whose dependencies are built already: those of one package have other features.
    command = ["cargo", "test", "--quiet", "--locked", "--workspace", *arguments]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True)


def main():
    out = Path(sys.argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    path = library()
    # NVRTC opens this one by its name, which is found once it is loaded.
    for builtins in path.parent.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    nvrtc = ctypes.CDLL(str(path))
    for source in sorted(KERNELS.glob("*.cu")):
        (out / f"{source.stem}.cpp").write_text(translate(compile_to_ptx(nvrtc, source)))
    test("--test", "kernels", "--test", "training", PIXTUNE_TRANSLATED_KERNELS=str(out))
    libraries = f"{path.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    test("--lib", "compile", PIXTUNE_NVRTC="1", LD_LIBRARY_PATH=libraries)


if __name__ == "__main__":
    main()
