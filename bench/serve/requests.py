"""Small requests and an upload, to `pixtune serve` and to the same in FastAPI: requests.py PIXTUNE PYTHON [--seconds N]

PYTHON is that of an environment with bench/serve/rival.txt. The load is one process with 16 connections that stay open. What is
compared is the CPU time of the servers, so that the load and other work on the machine do not decide.
"""

import argparse
import asyncio
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/peers/clients"))
from serving import server

CONNECTIONS = 16
MEGABYTES = 500


def listening(port):
    """The process that listens on a port."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in lines if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"}
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if any(os.readlink(link) in {f"socket:[{inode}]" for inode in inodes} for link in (process / "fd").iterdir()):
                    return process
            except OSError:
                pass
    raise SystemExit(f"nobody listens on {port}")


def usage(process):
    """CPU seconds, and the largest memory in MB."""
    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(lines["VmHWM"].split()[0]) / 1024


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b" 200 " in lines[0], head
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), None)
    if length is not None:
        return await reader.readexactly(length)
    while int((await reader.readuntil(b"\r\n")).strip(), 16):
        await reader.readuntil(b"\r\n")


async def load(port, request, seconds):
    done = 0

    async def connection():
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            writer.write(request)
            await answer(reader)
            done += 1
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return done


def small(port, file):
    head = lambda method, path, more="": f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}".encode()
    part = '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\n\r\n--b--\r\n'
    form = f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(part)}\r\n\r\n{part}"
    return {
        "health check": head("GET", "/healthz", "\r\n"),
        "one file": head("GET", f"/v1/files/{file}", "\r\n"),
        "list of 20 files": head("GET", "/v1/files?limit=20", "\r\n"),
        "upload of 3 bytes": head("POST", "/v1/files", form),
    }


def post_file(url, body, length):
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(length)}
    return json.load(urllib.request.urlopen(urllib.request.Request(f"{url}/v1/files", body, headers)))


def form(content_blocks, blocks, purpose):
    head = f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'.encode()
    tail = b"\r\n--b--\r\n"

    def body():
        yield head
        for _ in range(blocks):
            yield content_blocks
        yield tail

    return body(), len(head) + blocks * len(content_blocks) + len(tail)


def measure(url, sample, seconds):
    port = int(url.rsplit(":", 1)[1])
    process, rows = listening(port), {}
    file = post_file(url, *form(sample, 1, "batch"))["id"]
    for _ in range(30):
        post_file(url, *form(sample, 1, "batch"))
    for name, request in small(port, file).items():
        asyncio.run(load(port, request, 0.5))
        before = usage(process)[0]
        done = asyncio.run(load(port, request, seconds))
        rows[name] = done / max(usage(process)[0] - before, 0.01)
    block = b"x" * (1 << 20)
    before = usage(process)[0]
    post_file(url, *form(block, MEGABYTES, "batch"))
    cpu, memory = usage(process)
    rows[f"MB of an upload of {MEGABYTES} MB"] = MEGABYTES * 1.048576 / max(cpu - before, 0.01)
    return rows, memory


def rival(python, directory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([python, pathlib.Path(__file__).parent / "rival.py", directory, str(port)])
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/healthz")
            return process, url
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the rival does not start")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pixtune")
    parser.add_argument("python")
    parser.add_argument("--seconds", type=float, default=4)
    args = parser.parse_args()
    sample = b'{"a": 1}\n' * 10
    with server(args.pixtune) as (url, _):
        ours, our_memory = measure(url, sample, args.seconds)
    with tempfile.TemporaryDirectory() as directory:
        process, url = rival(args.python, directory)
        try:
            theirs, their_memory = measure(url, sample, args.seconds)
        finally:
            process.terminate()
            process.wait()
    print(f"{'per CPU-second of the server':32} {'pixtune':>10} {'FastAPI':>10} {'ratio':>7}")
    for name, value in ours.items():
        print(f"{name:32} {value:>10.0f} {theirs[name]:>10.0f} {value / theirs[name]:>7.1f}")
    print(f"{'largest memory, MB':32} {our_memory:>10.0f} {their_memory:>10.0f}")


main()
