"""Headless Chromium, driven over its debugging pipe by the standard library alone."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
FLAGS += ("--no-first-run", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars")
TROUBLE = {"Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed"}


class Page:
    """One tab. ``call`` sends a command of the DevTools protocol; ``trouble`` holds what the console was told."""

    def __init__(self, send, receive):
        self.send, self.receive, self.number, self.session, self.trouble, self.seen = send, receive, 0, {}, [], set()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        self.send({"id": self.number, "method": method, "params": parameters} | self.session)
        while (answer := self._next()).get("id") != self.number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self):
        message = self.receive()
        self.seen.add(message.get("method"))
        if message.get("method") in TROUBLE:
            self.trouble.append(message["params"])
        return message

    def open(self, url, width, height=900, dark=False):
        """Load ``url`` in a window of so many CSS pixels, as a reader with that colour scheme meets it."""
        self.trouble.clear()
        self.seen.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="", features=scheme)
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self.seen:
            self._next()

    def evaluate(self, script):
        """Value of a JavaScript expression, a promise awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"].get("description"))
        return result["result"].get("value")


@contextmanager
def chromium(profile):
    """A ``Page`` of a Chromium whose profile is the folder ``profile``; it ends with the block."""
    (read_end, commands), (answers, write_end) = os.pipe(), os.pipe()

    def connect():  # in the child: Chromium reads commands from 3 and writes answers to 4
        kept = os.dup(read_end), os.dup(write_end)
        os.dup2(kept[0], 3), os.dup2(kept[1], 4)

    call = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(call, preexec_fn=connect, close_fds=False, **quiet)
    os.close(read_end), os.close(write_end)
    with os.fdopen(commands, "wb", 0) as out, os.fdopen(answers, "rb") as back:

        def receive():
            text = bytearray()
            while (byte := back.read(1)) != b"\0":
                if not byte:
                    raise RuntimeError("Chromium has ended")
                text += byte
            return json.loads(text)

        try:
            yield Page(lambda message: out.write(json.dumps(message).encode() + b"\0"), receive)
        finally:
            process.terminate()
            process.wait()
