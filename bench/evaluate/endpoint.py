"""Asks a local endpoint the same questions with `pixtune evaluate` and with OpenAI's asynchronous client, 64 at a time.

    endpoint.py PIXTUNE PYTHON DIRECTORY REQUESTS ROUNDS      PYTHON is that of an environment with `openai`

The endpoint answers each request after 50 ms. A client can therefore have 1,280 answers per second at most.
"""

import asyncio
import base64
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import zlib

LATENCY, CONCURRENCY = 0.05, 64
ANSWER = json.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Final Answer: 6"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


class Endpoint(asyncio.Protocol):
    """Reads requests with a length, and answers them all alike: as little work as possible beside the clients."""

    def connection_made(self, transport):
        self.transport, self.received = transport, bytearray()

    def data_received(self, data):
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        if head < 0:
            return
        lengths = [line for line in self.received[:head].lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if len(self.received) >= head + 4 + int(lengths[0].split(b":")[1]):
            self.received.clear()
            asyncio.get_running_loop().call_later(LATENCY, self.transport.write, RESPONSE)


async def serve():
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def png(side):
    """A gray image."""
    def chunk(name, data):
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    header = side.to_bytes(4) + side.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    rows = b"".join(b"\0" + bytes((x * y) % 251 for x in range(side)) for y in range(side))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def generate(path, count):
    url = "data:image/png;base64," + base64.b64encode(png(128)).decode()
    with path.open("w") as file:
        for number in range(count):
            content = [{"type": "text", "text": f"Question {number}: how many bars?"}, {"type": "image_url", "image_url": {"url": url}}]
            messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "6"}]
            file.write(json.dumps({"messages": messages}) + "\n")


async def ask(base, path, out):
    """What people write: one client, a semaphore, a task per sample."""
    import openai

    client = openai.AsyncOpenAI(base_url=base, api_key="none")
    semaphore = asyncio.Semaphore(CONCURRENCY)

    async def one(line):
        async with semaphore:
            messages = json.loads(line)["messages"][:-1]
            answer = await client.chat.completions.create(model="model", messages=messages, temperature=0, max_tokens=16)
            return answer.choices[0].message.content

    with open(path) as file:
        answers = await asyncio.gather(*(one(line) for line in file))
    with open(out, "w") as file:
        file.writelines(json.dumps({"answer": answer}) + "\n" for answer in answers)
    assert set(answers) == {"Final Answer: 6"}


def run(command):
    """Seconds by the clock and of CPU time, and peak memory in MB."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    program, python, directory, count, rounds = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    directory.mkdir(parents=True, exist_ok=True)
    data, out = directory / "questions.jsonl", directory / "answers"
    generate(data, count)
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    base = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    commands = {
        "**pixtune** `evaluate`": [program, "evaluate", str(data), "--endpoint", base, "--served-model", "model", "--out", str(out), "--force",
                                   "--metric", "relaxed", "--concurrency", str(CONCURRENCY), "--max-tokens", "16", "--quiet"],
        "openai, asynchronous": [python, __file__, "ask", base, str(data), str(directory / "answers.jsonl")],
    }
    measured = {name: [] for name in commands}
    try:
        for _ in range(rounds):
            for name, command in commands.items():
                shutil.rmtree(out, ignore_errors=True)
                measured[name].append(run(command))
    finally:
        server.kill()
    print(f"{count} requests, {CONCURRENCY} at a time, answered after {LATENCY * 1000:.0f} ms, from start to exit\n")
    print("| | requests per second | CPU ms per request | peak memory |\n|---|---:|---:|---:|")
    for name, runs in measured.items():
        wall, cpu, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"| {name} | {count / wall:.0f} | {1000 * cpu / count:.2f} | {memory:.0f} MB |")


if sys.argv[1] == "serve":
    asyncio.run(serve())
elif sys.argv[1] == "ask":
    asyncio.run(ask(*sys.argv[2:]))
else:
    main()
