"""`pixtune serve --trainer NAME` trains a job with the trainer itself, which is paused and continues, and its adapter answers.

usage: served.py PIXTUNE MODEL PREPARED trl|llama-factory|axolotl|ms-swift

The server runs the command of the trainer, which is made here from the packages on the module path.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

pixtune, model, prepared = (pathlib.Path(word).resolve() for word in sys.argv[1:4])
trainer = sys.argv[4]
# The program of each, and what its package installs under this name. The command line of Axolotl needs packages for its clouds:
# what it calls is called here.
PROGRAMS = {
    "trl": ("trl", "from trl.cli.main import main\nsys.exit(main())"),
    "llama-factory": ("llamafactory-cli", "from llamafactory.cli import main\nsys.exit(main())"),
    "axolotl": ("axolotl", "from axolotl.cli.train import do_cli\n"
                           "names = [word.removeprefix('--').replace('-', '_') for word in sys.argv[3::2]]\n"
                           "do_cli(sys.argv[2], **dict(zip(names, sys.argv[4::2])))"),
    "ms-swift": ("swift", "from swift.cli.main import cli_main\nsys.exit(cli_main())"),
}


def request(url, path, body=None, kind="application/json"):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    call = urllib.request.Request(url + path, data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(call, timeout=300) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error


def upload(url, path):
    head = '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\n'
    head += f'Content-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    body = head.encode() + path.read_bytes() + b"\r\n--b--\r\n"
    return json.loads(request(url, "/files", body, "multipart/form-data; boundary=b"))["id"]


def follow(url, job, is_reached):
    """Wait until a job has events, or a state, for which this holds."""
    start = time.monotonic()
    while True:
        state = json.loads(request(url, f"/fine_tuning/jobs/{job}"))
        events = json.loads(request(url, f"/fine_tuning/jobs/{job}/events?limit=1000"))["data"]
        messages = [event["message"] for event in reversed(events)]
        if is_reached(state, messages):
            return state, messages, [event["data"] for event in reversed(events) if event["type"] == "metrics"]
        assert state["status"] in ("queued", "running"), state
        assert time.monotonic() - start < 900, messages[-5:]
        time.sleep(0.5)


def workflow(url):
    training, validation = upload(url, prepared / "train.jsonl"), upload(url, prepared / "validation.jsonl")
    hyper = {"n_epochs": 1, "batch_size": 1, "learning_rate_multiplier": 10.0, "lora_rank": 4}
    body = {"model": "tiny", "training_file": training, "validation_file": validation, "hyperparameters": hyper, "seed": 1}
    job = json.loads(request(url, "/fine_tuning/jobs", body))["id"]
    try:
        follow(url, job, lambda _, messages: any(message.startswith("Checkpoint created") for message in messages))
        request(url, f"/fine_tuning/jobs/{job}/pause", b"")
        follow(url, job, lambda state, _: state["status"] == "queued")
        request(url, f"/fine_tuning/jobs/{job}/resume", b"")
        done, messages, metrics = follow(url, job, lambda state, _: state["status"] not in ("queued", "running"))
        assert done["status"] == "succeeded", done
    except AssertionError:
        print(request(url, f"/fine_tuning/jobs/{job}/log")[-6000:], file=sys.stderr)
        raise
    assert any(entry.get("valid_loss", 0) > 0 for entry in metrics), metrics
    # Some evaluate before the first step.
    metrics = [entry for entry in metrics if "train_loss" in entry]
    steps = [entry["step"] for entry in metrics]
    assert steps == list(range(1, len(steps) + 1)) and steps[-1] == metrics[-1]["total_steps"], steps
    assert all(entry["train_loss"] > 0 and entry["grad_norm"] > 0 for entry in metrics), metrics
    assert "Fine-tuning job continues" in messages, messages
    state = json.loads(next(pathlib.Path("data/jobs", job, "export/output").glob("checkpoint-*/trainer_state.json")).read_text())
    logged = {entry["step"]: entry["loss"] for entry in state["log_history"] if "loss" in entry}
    assert all(logged[entry["step"]] == entry["train_loss"] for entry in metrics if entry["step"] in logged), (logged, metrics)
    chat = {"model": done["fine_tuned_model"], "messages": [{"role": "user", "content": "What is it?"}], "max_tokens": 3}
    assert json.loads(request(url, "/chat/completions", chat))["usage"]["completion_tokens"] > 0
    return len(steps), sum(message.startswith("Checkpoint created") for message in messages)


with tempfile.TemporaryDirectory() as directory:
    os.chdir(directory)
    os.mkdir("bin")
    program, script = PROGRAMS[trainer]
    pathlib.Path("bin", program).write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    os.chmod(f"bin/{program}", 0o755)
    environment = os.environ | {"PATH": f"{directory}/bin:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment.setdefault("MODELSCOPE_CACHE", f"{directory}/modelscope")
    command = [pixtune, "serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--models", f"tiny={model}", "--trainer", trainer]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    first = process.stderr.readline().strip()
    assert first.startswith("listening on "), first + process.stderr.read()
    threading.Thread(target=lambda: list(process.stderr), daemon=True).start()
    try:
        steps, checkpoints = workflow(first.removeprefix("listening on ") + "/openai/v1")
    finally:
        process.terminate()
        process.wait(60)
print(f"a job of `serve --trainer {trainer}` ran {steps} steps with {checkpoints} checkpoints, was paused, and its adapter answers")
