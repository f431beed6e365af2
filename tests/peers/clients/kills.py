"""Kill `pixtune serve` at random moments of uploads and jobs: no file that was acknowledged is lost, and every job that was
acknowledged is trained once, whatever was killed: kills.py PIXTUNE [--kills N]
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from serving import ROOT

FORM = {"Content-Type": "multipart/form-data; boundary=b"}


class Server:
    """A server of a data directory, which the next server takes over."""

    def __init__(self, program, directory):
        command = [program, "serve", "--data-dir", directory / "data", "--listen", "127.0.0.1:0", "--models", f"tiny={directory}/tiny"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        first = self.process.stderr.readline().strip()
        assert first.startswith("listening on "), first + self.process.stderr.read()
        self.url = first.removeprefix("listening on ")
        threading.Thread(target=lambda: list(self.process.stderr), daemon=True).start()

    def ask(self, path, body=None, headers=None):
        request = urllib.request.Request(f"{self.url}/openai/v1{path}", body, headers or {})
        return urllib.request.urlopen(request, timeout=30).read()

    def upload(self, name, content):
        head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}.jsonl"\r\n\r\n'.encode()
        return json.loads(self.ask("/files", head + content + b"\r\n--b--\r\n", FORM))["id"]

    def create(self, file, seed):
        body = {"model": "tiny", "training_file": file, "hyperparameters": {"n_epochs": 2}, "seed": seed}
        return json.loads(self.ask("/fine_tuning/jobs", json.dumps(body).encode(), {"Content-Type": "application/json"}))["id"]


def work_until_killed(server, chance, number, content, files, jobs):
    """Uploads and creates until the server is gone, at most for a moment."""
    timer = threading.Timer(chance.uniform(0.02, 1.0), server.process.kill)
    timer.start()
    try:
        for count in range(1_000_000):
            file = server.upload(f"{number}-{count}", content)
            files.append(file)
            if count == 0:
                jobs.append(server.create(file, number))
    except (OSError, ValueError):
        pass
    timer.join()
    server.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pixtune")
    parser.add_argument("--kills", type=int, default=100)
    args = parser.parse_args()
    program = pathlib.Path(args.pixtune).resolve()
    chance = random.Random(11)
    files, jobs = [], []
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        (directory / "tiny").mkdir()
        for path in ["tiny_pixtral/hf_bf16/config.json", "tiny_pixtral/hf_bf16/model.safetensors", "tiny_tekken/tekken.json"]:
            shutil.copy(ROOT / "fixtures" / path, directory / "tiny")
        subprocess.run([sys.executable, ROOT / "tests/peers/toy_data.py", directory / "train.jsonl"], check=True)
        content = (directory / "train.jsonl").read_bytes()
        for number in range(args.kills):
            work_until_killed(Server(program, directory), chance, number, content, files, jobs)
        server = Server(program, directory)
        lost = [file for file in files if server.ask(f"/files/{file}/content") != content]
        assert not lost, f"{len(lost)} files are lost"
        wrong = [job for job in jobs if not is_trained_once(server, job)]
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert not wrong, wrong
    assert len(files) > args.kills and len(jobs) > args.kills / 2, (len(files), len(jobs))
    print(f"{args.kills} kills: none of {len(files)} files lost, each of {len(jobs)} jobs trained once")


def is_trained_once(server, job):
    """Waits for the end of a job. Every step is an event, once, and so is the end."""
    end = time.monotonic() + 600
    while (state := json.loads(server.ask(f"/fine_tuning/jobs/{job}")))["status"] in ("queued", "running"):
        assert time.monotonic() < end, state
        time.sleep(0.2)
    events = json.loads(server.ask(f"/fine_tuning/jobs/{job}/events?limit=10000"))["data"]
    steps = [event["data"]["step"] for event in reversed(events) if event["type"] == "metrics"]
    ends = sum(event["message"] == "The job has successfully completed" for event in events)
    is_right = state["status"] == "succeeded" and ends == 1 and steps == list(range(1, len(steps) + 1)) and steps
    if not is_right:
        print(job, state["status"], state["error"], ends, steps, file=sys.stderr)
    return is_right


main()
