"""The program in the package behaves as the program: output, exit codes, signals, pipes, and the processes that it starts."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import unittest
import urllib.request

import pixtune
from harness import EXAMPLE, MESSY, PROGRAM, ROOT, Case

PACKAGE = [sys.executable, "-P", "-m", "pixtune"]


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)


class Program(Case):
    def test_output_and_exit_codes_are_the_same(self):
        for words, code in (
            (["--version"], 0),
            (["--help"], 0),
            (["help", "prepare"], 0),
            ([], 2),
            (["prepare", MESSY, "--out", "{}", "--color", "never"], 1),
            (["prepare", MESSY, "--out", "{}", "--exit-zero"], 0),
            (["tokens", "--image", "1024x768"], 0),
            (["tokens", "missing.jsonl"], 2),
            (["check", MESSY, "--colour"], 2),
            (["completions", "bash"], 0),
        ):
            found = []
            for name, program in (("program", [PROGRAM]), ("package", PACKAGE)):
                out = self.path / name / "out"
                out.parent.mkdir(exist_ok=True)
                ended = run([*program, *(str(word).format(out) for word in words)])
                own = str(out.parent)
                found.append((ended.returncode, ended.stdout.replace(own, ""), ended.stderr.replace(own, "")))
                subprocess.run(["rm", "-rf", out], check=True)
            self.assertEqual(found[0][0], code, found)
            self.assertEqual(found[0], found[1])

    def test_a_directory_of_the_same_name_is_not_the_package(self):
        (self.path / "pixtune").mkdir()
        (self.path / "pixtune/__init__.py").write_text("raise SystemExit(77)")
        self.assertEqual(run([*PACKAGE, "--version"], cwd=self.path).stdout, f"pixtune {pixtune.__version__}\n")

    def test_a_closed_pipe_is_not_an_error(self):
        for program in (PACKAGE, [PROGRAM]):
            words = " ".join(f"'{word}'" for word in program)
            ended = run(["bash", "-c", f"set -o pipefail; {words} rules | head -1"])
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
            ended = run(["bash", "-c", f"{words} rules > /dev/full"])
            self.assertEqual(ended.returncode, 2)
            self.assertIn("No space left", ended.stderr)

    def test_ctrl_c_ends_it_as_the_program(self):
        rows = self.path / "rows.csv"
        with rows.open("w") as out:
            out.write("prompt,completion\n")
            out.writelines(f"question {index},answer {index}\n" for index in range(3_000_000))
        for signum in (signal.SIGINT, signal.SIGTERM):
            found = []
            for name, program in (("program", [PROGRAM]), ("package", PACKAGE)):
                child = subprocess.Popen(
                    [*program, "prepare", str(rows), "--out", str(self.path / "out"), "--no-measure"],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
                deadline = time.monotonic() + 60
                while not any(self.path.glob(".out*")) and not any(self.path.glob("out.*")) and child.poll() is None:
                    self.assertLess(time.monotonic(), deadline, "nothing was written")
                    time.sleep(0.01)
                child.send_signal(signum)
                _, printed = child.communicate(timeout=60)
                found.append((child.returncode, printed.splitlines()[-1:]))
                for left in [*self.path.glob(".out*"), *self.path.glob("out*")]:
                    subprocess.run(["rm", "-rf", left], check=True)
            self.assertEqual(found[0], found[1])
            self.assertEqual(found[0][0], 128 + signum)

    def test_ctrl_c_before_any_handler_ends_it_as_the_program(self):
        # `tokens` waits for standard input and installs no handler: the signal itself ends the process.
        for program in ([PROGRAM], PACKAGE):
            child = subprocess.Popen([*program, "tokens", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            # System call 0 is `read`, here of standard input, on x86-64.
            while not any(task.read_text().startswith("0 0x0 ") for task in pathlib.Path(f"/proc/{child.pid}/task").glob("*/syscall")):
                self.assertIsNone(child.poll())
                time.sleep(0.01)
            child.send_signal(signal.SIGINT)
            _, printed = child.communicate(timeout=60)
            self.assertEqual((child.returncode, printed), (-signal.SIGINT, b""))

    def test_serve_trains_with_the_package(self):
        model = self.path / "tiny"
        model.mkdir()
        for file in [*(ROOT / "fixtures/tiny_pixtral/hf_bf16").iterdir(), ROOT / "fixtures/tiny_tekken/tekken.json"]:
            shutil.copy(file, model)
        data = self.path / "toy.jsonl"
        talk = {"messages": [{"role": "user", "content": "say"}, {"role": "assistant", "content": "yes"}]}
        data.write_text((json.dumps(talk) + "\n") * 4)
        # Jobs find the package also where another directory has its name.
        (self.path / "pixtune").mkdir()
        (self.path / "pixtune/__init__.py").write_text("raise SystemExit(77)")
        server = subprocess.Popen(
            [*PACKAGE, "serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--models", f"tiny={model}"],
            stderr=subprocess.PIPE, text=True, cwd=self.path,
        )
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.kill)
        address = next(line for line in server.stderr if "listening on" in line).split()[-1]
        self.assertEqual(urllib.request.urlopen(f"{address}/healthz").status, 200)
        words = ["--model", "tiny", "--training-file", str(data), "--steps", "2", "--watch"]
        trained = run([*PACKAGE, "jobs", "create", *words, "--base-url", f"{address}/mistral"], cwd=self.path)
        self.assertEqual(trained.returncode, 0, trained.stdout + trained.stderr)
        server.send_signal(signal.SIGINT)
        self.assertEqual(server.wait(timeout=60), 0)


if __name__ == "__main__":
    unittest.main()
