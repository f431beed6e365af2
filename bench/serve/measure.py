"""Load on `pixtune serve`: measure.py PIXTUNE [--gigabytes N]"""

import argparse
import asyncio
import json
import os
import pathlib
import resource
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/peers/clients"))
from serving import server

CONNECTIONS = 1000
FILES = 10_000


def memory(url):
    """The memory of the server in MB: now, and at most so far."""
    port = int(url.rsplit(":", 1)[1])
    for process in pathlib.Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if len(words) > 1 and words[1] == b"serve" and listens(process, port):
                lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
                return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024, cpu(process)
        except OSError:
            pass
    raise SystemExit("no server")


def cpu(process):
    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def listens(process, port):
    inodes = {line.split()[9] for line in (process / "net/tcp").read_text().splitlines()[1:] if line.split()[1].endswith(f":{port:04X}")}
    return any(os.readlink(link)[8:-1] in inodes for link in (process / "fd").iterdir() if os.readlink(link).startswith("socket:"))


def post(url, path, body):
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


async def health(host, port, seconds):
    """Milliseconds of health checks, one after the other on new connections."""
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await reader.read()
        writer.close()
        times.append((time.perf_counter() - start) * 1000)
        await asyncio.sleep(0.005)
    return sorted(times)


async def open_all(host, port, request):
    streams = []
    for _ in range(CONNECTIONS):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        streams.append((reader, writer))
    return streams


async def connections(url, job):
    host, port = url.removeprefix("http://").split(":")
    stream = f"GET /v1/fine_tuning/jobs/{job}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    streams = await open_all(host, port, stream)
    for reader, _ in streams:
        assert b"200 OK" in await reader.readline()
    times = await health(host, port, 5)
    now, _, _ = memory(url)
    print(f"{CONNECTIONS} event streams: {now:.0f} MB, health check p50 {times[len(times) // 2]:.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms")
    for _, writer in streams:
        writer.close()
    start = time.monotonic()
    slow = await open_all(host, port, b"GET /healthz HTTP/1.1\r\nHost: loc")
    times = await health(host, port, 5)
    await asyncio.gather(*(reader.read() for reader, _ in slow))
    print(f"{CONNECTIONS} slow connections: closed after {time.monotonic() - start:.1f} s, health check p99 {times[len(times) * 99 // 100]:.2f} ms")


def upload(url, data, gigabytes):
    """A large file from a generator, so that the client's memory stays flat."""
    content = data.read_bytes()
    block = content * max(1, (8 << 20) // len(content))
    blocks = int(gigabytes * 1e9 / len(block))
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="large.jsonl"\r\n\r\n'
    tail = b"\r\n--b--\r\n"

    def body():
        yield head
        for _ in range(blocks):
            yield block
        yield tail

    length = len(head) + blocks * len(block) + len(tail)
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(length)}
    before, _, cpu_before = memory(url)
    start = time.monotonic()
    file = json.load(urllib.request.urlopen(urllib.request.Request(f"{url}/openai/v1/files", body(), headers)))
    seconds = time.monotonic() - start
    _, most, cpu_after = memory(url)
    print(f"upload of {length / 1e9:.2f} GB, {file['num_lines']} samples checked: {seconds:.1f} s, {length / seconds / 1e6:.0f} MB/s, "
          f"{cpu_after - cpu_before:.1f} CPU s, {before:.0f} MB before, {most:.0f} MB at most")


def listing(url, data):
    sample = data.read_text().splitlines()[3]
    for number in range(FILES):
        body = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{number}.jsonl"\r\n\r\n{sample}\n\r\n--b--\r\n'.encode()
        urllib.request.urlopen(urllib.request.Request(f"{url}/openai/v1/files", body, {"Content-Type": "multipart/form-data; boundary=b"})).read()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        listed = json.load(urllib.request.urlopen(f"{url}/openai/v1/files?limit={FILES}"))
        times.append((time.perf_counter() - start) * 1000)
    print(f"list of {len(listed['data'])} files: {min(times):.0f} ms with reading its JSON in Python")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pixtune")
    parser.add_argument("--gigabytes", type=float, default=5)
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))
    with server(args.pixtune) as (url, data):
        file = json.load(urllib.request.urlopen(urllib.request.Request(
            f"{url}/openai/v1/files",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + data.read_bytes() + b"\r\n--b--\r\n",
            {"Content-Type": "multipart/form-data; boundary=b"})))
        body = {"model": "tiny", "training_file": file["id"], "hyperparameters": {"n_epochs": 1_000_000}}
        job = post(url, "/openai/v1/fine_tuning/jobs", body)
        time.sleep(3)
        print(f"memory at rest: {memory(url)[0]:.0f} MB")
        asyncio.run(connections(url, job["id"]))
        post(url, f"/openai/v1/fine_tuning/jobs/{job['id']}/cancel", {})
        time.sleep(6)
        listing(url, data)
        upload(url, data, args.gigabytes)


main()
