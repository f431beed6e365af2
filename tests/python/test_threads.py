"""Long calls give up Python's lock, and end at Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import pixtune
from harness import EXAMPLE, Case, lines

INTERRUPTED = """
import os, signal, sys, threading, pixtune

# A shell that starts a test in the background has it ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupt(*_):
    global interrupt
    interrupt = lambda *_: None
    os.kill(os.getpid(), signal.SIGINT)

try:
    {call}
except KeyboardInterrupt:
    print("interrupted")
else:
    print("done")
"""


class Threads(Case):
    def while_running(self, call):
        """How often another thread of Python ran while a call did, and the result of the call."""
        done, ran = threading.Event(), 0
        result = []
        thread = threading.Thread(target=lambda: (result.append(call()), done.set()))
        thread.start()
        while not done.wait(0.0005):
            ran += 1
        thread.join()
        return ran, result[0]

    def test_calls_give_up_the_lock(self):
        prepared = self.prepared()
        samples = lines((prepared / "train.jsonl").read_text()) * 20
        image = next(iter(EXAMPLE.parent.rglob("*.jpg"))).read_bytes()
        for name, call in (
            ("prepare", lambda: pixtune.prepare(EXAMPLE, self.path / "again")),
            ("check", lambda: pixtune.check([prepared / "train.jsonl"] * 5, verify="full")),
            ("pixels", lambda: pixtune.pixels([image] * 60)),
        ):
            ran, _ = self.while_running(call)
            # Were the lock held, the other thread would run once or twice.
            self.assertGreater(ran, 20, name)
        ran, batch = self.while_running(lambda: pixtune.tokens(samples))
        self.assertEqual(len(batch), len(samples))
        self.assertGreater(ran, 5, "tokens")

    def test_calls_from_several_threads(self):
        found = []
        threads = [threading.Thread(target=lambda: found.append(pixtune.image_grid(640, 480).tokens)) for _ in range(8)]
        threads += [threading.Thread(target=lambda: found.append(len(pixtune.Encoder().texts(["a b c"])))) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        self.assertEqual(len(found), 16)

    def test_ctrl_c_raises(self):
        prepared = self.prepared() / "train.jsonl"
        rows = self.path / "rows.csv"
        with rows.open("w") as out:
            out.write("prompt,completion\n")
            out.writelines(f"question {index},answer {index}\n" for index in range(300_000))
        out = self.path / "out"
        for call in (
            f"pixtune.prepare({str(rows)!r}, {str(out)!r}, measure=False, progress=interrupt)",
            f"pixtune.check([{str(prepared)!r}] * 500, verify='full', progress=interrupt)",
            f"pixtune.tokens([{{'messages': [{{'role': 'user', 'content': 'a b c ' * 50000}}, {{'role': 'assistant', 'content': 'd'}}]}}] * 500, progress=interrupt)",
        ):
            start = time.monotonic()
            ended = subprocess.run(
                [sys.executable, "-c", INTERRUPTED.format(call=call)], capture_output=True, text=True, timeout=300
            )
            self.assertEqual((ended.returncode, ended.stdout), (0, "interrupted\n"), (call, ended.stderr))
            self.assertLess(time.monotonic() - start, 100)
        self.assertFalse(out.exists())
        # What was finished is used.
        self.assertEqual(pixtune.prepare(rows, out, measure=False, resume=True).rows, 300_000)


if __name__ == "__main__":
    unittest.main()
