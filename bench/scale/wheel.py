#!/usr/bin/env python3
"""Speed of `pixtune.tokens` over an Arrow table: `wheel.py PIXTUNE FILE.jsonl...`.

Prints for each file the conversations per second of the program (with its start, output to /dev/null), of the package (a table of
lines, in memory, to ids, masks and counts), and of mistral-common in Python. Each is the best of several rounds, alternating. CPU
seconds of one thread, and wall-clock seconds of all.
"""

import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import mistral_common
import pixtune
import pyarrow as pa
from mistral_common.protocol.instruct.messages import FinetuningMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

warnings.filterwarnings("ignore")
TEKKEN = Path(mistral_common.__file__).parent / "data/tekken_240911.json"
ROUNDS = 5


def measured(work):
    """CPU seconds, with those of child processes, and wall-clock seconds."""
    before, start = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - before, time.perf_counter() - start


def cpu_seconds():
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main():
    program, *files = sys.argv[1:]
    tokenizer = MistralTokenizer.from_file(str(TEKKEN), mode=ValidationMode.finetuning)
    request = ChatCompletionRequest[FinetuningMessage].model_validate
    for file in files:
        lines = Path(file).read_text().splitlines()
        table = pa.table({"line": lines})
        command = [program, "tokens", file, "--ids"]

        def of_program(*words):
            subprocess.run([*command, *words], stdout=subprocess.DEVNULL, check=True)

        def of_package(threads):
            return pixtune.tokens(table, column="line", threads=threads)

        def of_rival():
            return [tokenizer.encode_chat_completion(request(json.loads(line))).tokens for line in lines]

        ids = of_package(None)
        assert [ids[index].ids.tolist() for index in range(len(lines))] == of_rival(), "other ids"
        times = {}
        for _ in range(ROUNDS):
            for name, work in (
                ("program, one thread", lambda: of_program("--threads", "1")),
                ("package, one thread", lambda: of_package(1)),
                ("program, all threads", of_program),
                ("package, all threads", lambda: of_package(None)),
            ):
                cpu, wall = measured(work)
                seconds = cpu if "one" in name else wall
                times[name] = min(seconds, times.get(name, seconds))
        times["mistral-common"] = min(measured(of_rival)[0] for _ in range(2))
        print(f"{Path(file).name}: {len(lines)} conversations, {int(ids.tokens.sum()):,} ids")
        for name, seconds in times.items():
            print(f"  {name:<22}{len(lines) / seconds:>10.0f} /s")
        print(f"  package to program, one thread  {times['program, one thread'] / times['package, one thread']:.2f}")
        print(f"  package to program, all threads {times['program, all threads'] / times['package, all threads']:.2f}")
        print(f"  package to mistral-common       {times['mistral-common'] / times['package, one thread']:.1f}")


if __name__ == "__main__":
    main()
