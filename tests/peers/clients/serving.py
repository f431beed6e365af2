"""Start `pixtune serve` with the tiny model, for scripts that run a client against it."""

import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def server(program, *options):
    """The base URL of a server, and the path of its training data."""
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "tiny").mkdir()
        for name in ["config.json", "model.safetensors"]:
            shutil.copy(ROOT / "fixtures/tiny_pixtral/hf_bf16" / name, directory / "tiny")
        shutil.copy(ROOT / "fixtures/tiny_tekken/tekken.json", directory / "tiny")
        data = directory / "train.jsonl"
        subprocess.run([sys.executable, ROOT / "tests/peers/toy_data.py", data], check=True)
        command = [pathlib.Path(program).resolve(), "serve", "--data-dir", directory / "data", "--listen", "127.0.0.1:0"]
        command += ["--models", f"tiny={directory}/tiny", "--alias", "pixtral-12b-2409=tiny", *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        first = process.stderr.readline().strip()
        assert first.startswith("listening on "), first + process.stderr.read()
        lines = []
        threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True).start()
        try:
            yield first.removeprefix("listening on "), data
        except BaseException:
            print("".join(lines[-40:]), file=sys.stderr)
            raise
        finally:
            process.terminate()
            assert process.wait(60) == 0, "the server does not end well"
