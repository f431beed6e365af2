"""Control a headless Chromium through its debugging pipe. Messages are JSON and end with a zero byte, on file descriptors 3 (to
the browser) and 4 (from it). Only Python's standard library is needed."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--remote-debugging-pipe", "--hide-scrollbars",
]
SECONDS = 60
KEYS = {
    "Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), "Space": (32, " "), "End": (35, ""), "Home": (36, ""),
    "ArrowLeft": (37, ""), "ArrowUp": (38, ""), "ArrowRight": (39, ""), "ArrowDown": (40, ""),
}


class Chromium:
    """A browser with one page. It records console messages and network requests."""

    def __init__(self, program="chromium"):
        self.profile = tempfile.mkdtemp(prefix="pixtune-chromium-")
        to_read, self.to_browser = os.pipe()
        self.from_browser, from_write = os.pipe()

        def assign_descriptors():
            # dup2 onto the same descriptor would leave it close-on-exec, so move it away first.
            spare_read, spare_write = os.dup(to_read), os.dup(from_write)
            moved_read, moved_write = 60, 61
            os.dup2(spare_read, moved_read)
            os.dup2(spare_write, moved_write)
            os.dup2(moved_read, 3)
            os.dup2(moved_write, 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=assign_descriptors, start_new_session=True,
        )
        os.close(to_read)
        os.close(from_write)
        self.number, self.session, self.waiting = 0, None, b""
        self.complaints, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(10)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _message(self, until):
        while b"\0" not in self.waiting:
            ready, _, _ = select.select([self.from_browser], [], [], max(0, until - time.monotonic()))
            if not ready:
                return None
            got = os.read(self.from_browser, 1 << 20)
            if not got:
                raise RuntimeError("Chromium has ended")
            self.waiting += got
        text, self.waiting = self.waiting.split(b"\0", 1)
        message = json.loads(text)
        self._event(message.get("method"), message.get("params", {}))
        return message

    def _event(self, method, about):
        if method == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([value.get("value") for value in about["args"]]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])

    def call(self, method, **params):
        """Calls a method of the protocol and returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self.to_browser, text):]
        until = time.monotonic() + SECONDS
        while True:
            answer = self._message(until)
            if answer is None:
                raise RuntimeError(f"{method}: no answer in {SECONDS} s")
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url, width=1280, height=900, dark=False):
        """Opens a page in a window of this size."""
        self.size(width, height)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ])
        self.complaints, self.requests = [], []
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def value(self, expression):
        """What a JavaScript expression comes to; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, expression):
        """Waits until an expression is true."""
        until = time.monotonic() + SECONDS
        while not self.value(expression):
            if time.monotonic() > until:
                raise RuntimeError(f"never true: {expression}")
            time.sleep(0.02)

    def becomes(self, expression, expected, seconds=5):
        """What an expression comes to, once it is what is expected or some seconds have passed."""
        until = time.monotonic() + seconds
        while (found := self.value(expression)) != expected and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def press(self, key, shift=False):
        """Presses a key as a keyboard would."""
        code, text = KEYS.get(key, (ord(key.upper()[0]), key))
        name = {"Space": " "}.get(key, key)
        about = dict(key=name, code=key if len(key) > 1 else f"Key{key.upper()}", windowsVirtualKeyCode=code, modifiers=8 if shift else 0)
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def screenshot(self, path, whole=False):
        """Saves what is seen, or the whole page, as PNG."""
        image = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(image["data"]))
