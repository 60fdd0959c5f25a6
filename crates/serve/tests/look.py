#!/usr/bin/env python3
"""Looks at the dashboard in headless Chromium: screenshots, and checks of what can be seen.

    look.py DEMO OUT [--events FILE --video FILE]

DEMO is the built example `demo`. Needs chromium; no Python packages: Chromium is spoken to over a pipe.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PORT = 18731
URL = f"http://127.0.0.1:{PORT}/"


class Browser:
    """Chromium, by its DevTools protocol over file descriptors 3 and 4."""

    def __init__(self) -> None:
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_r, to_w = os.pipe()
        from_r, from_w = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars",
                 f"--user-data-dir={self.profile.name}", "--no-first-run", "about:blank"]

        def wire() -> None:
            # To high numbers first: 3 and 4 may be taken by the pipes themselves.
            high_r, high_w = os.dup2(to_r, 63), os.dup2(from_w, 64)
            os.dup2(high_r, 3)
            os.dup2(high_w, 4)

        self.process = subprocess.Popen(["chromium", *flags], preexec_fn=wire, close_fds=False,
                                        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(to_r)
        os.close(from_w)
        self.out, self.inp, self.rest, self.number = to_w, from_r, b"", 0
        self.logged: list[str] = []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            if answer.get("method") == "Log.entryAdded":
                entry = answer["params"]["entry"]
                self.logged.append(f"{entry['text']} {entry.get('url', '')}")
            if answer.get("method") == "Runtime.exceptionThrown":
                self.logged.append(json.dumps(answer["params"]["exceptionDetails"])[:400])

    def receive(self):
        while b"\0" not in self.rest:
            more = os.read(self.inp, 1 << 20)
            if not more:
                raise RuntimeError("chromium has ended")
            self.rest += more
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def open(self, url: str, width: int, height: int, **media) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": k.replace("_", "-"), "value": v} for k, v in media.items()])
        self.call("Page.navigate", url=url)

    def js(self, expression: str):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, expression: str, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # While a page is loading, its names are not there yet.
            if self.js(f"(() => {{ try {{ return {expression} }} catch {{ return false }} }})()"):
                return
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {expression}")

    def key(self, name: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def shot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        print(path)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()


def main() -> None:
    program, out, *replay = sys.argv[1:]
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)

    def demo(*extra: str) -> subprocess.Popen:
        return subprocess.Popen([program, "--http", str(PORT), *extra], stderr=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def end(process: subprocess.Popen) -> str:
        process.terminate()
        return process.communicate()[0].decode()

    run = demo(*replay)
    browser = Browser()
    try:
        time.sleep(0.5)
        browser.open(URL, 1920, 1080)
        browser.until("document.getElementById('link-text').textContent === 'Live'")
        browser.until("shown !== null && drawFrame !== null")
        # A picture and its objects belong to one slot.
        browser.until("Math.abs(shown.t_ms - drawFrame.t_ms) <= 40")
        browser.until("document.getElementById('offset-text').textContent.endsWith('ms')", 30)
        slots = browser.js("state.frame.t_ms")
        browser.until(f"state.frame.t_ms > {slots} + 1000")
        browser.until("spark.length >= 2")
        time.sleep(14)
        browser.shot(out / "wall.png")
        assert browser.js("document.documentElement.scrollHeight <= innerHeight"), "fits on the wall without scrolling"
        assert "password" not in browser.js("document.body.textContent"), "the source's password is not shown"

        # By keyboard alone: every control is reached, in order, and a change comes back from the program.
        browser.js("document.activeElement.blur()")
        reached = []
        for _ in range(20):
            browser.key("Tab", 9)
            reached.append(browser.js("document.activeElement.id || document.activeElement.name || document.activeElement.className || document.activeElement.tagName"))
        for control in ("skip", "span", "SUMMARY", "s-threshold", "s-sync", "s-overlay", "s-heatmap", "s-step", "p-frames", "p-full"):
            assert control in reached, f"{control} can't be reached: {reached}"
        browser.js("document.getElementById('s-threshold').focus()")
        browser.key("ArrowRight", 39)
        browser.until("Math.abs(state.settings.threshold - 0.51) < 1e-6")
        browser.js("document.getElementById('s-heatmap').focus()")
        browser.call("Input.dispatchKeyEvent", type="keyDown", key=" ", code="Space", windowsVirtualKeyCode=32, text=" ")
        browser.call("Input.dispatchKeyEvent", type="keyUp", key=" ", code="Space", windowsVirtualKeyCode=32)
        browser.until("state.settings.heatmap === true")
        browser.shot(out / "keyboard.png")

        # What a screen reader gets.
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
        tree = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n.get("ignored")]
        for role, part in [("heading", "Speaking now"), ("meter", "A/V offset"), ("slider", "Threshold"), ("status", ""),
                           ("image", "The last"), ("button", "Correct offset"), ("radio", "1 min"), ("checkbox", "Announce")]:
            assert any(r == role and part in name for r, name in tree), f"no {role} “{part}”: {tree}"
        unnamed = [r for r, name in tree if r in ("button", "slider", "checkbox", "radio", "combobox", "meter", "image") and not name]
        assert not unnamed, f"without a name: {unnamed}"
        browser.until("/speaking|off screen/i.test(document.getElementById('say').textContent)", 40)

        # The program goes and comes again.
        asked = end(run)
        if "Threshold(0.51)" not in asked or "Heatmap(true)" not in asked:
            raise AssertionError(f"the program was asked for: {asked}")
        browser.until("document.getElementById('link-text').textContent === 'Connection lost'")
        time.sleep(0.6)
        browser.shot(out / "lost.png")
        run = demo("--trouble", *replay)
        browser.until("document.getElementById('link-text').textContent === 'Live'", 20)
        browser.until("!document.getElementById('banner').hidden", 10)
        browser.until("state.offset && state.offset.bt1359 === 'unacceptable'")
        time.sleep(3)
        browser.shot(out / "trouble.png")

        browser.open(URL, 1280, 720)
        browser.until("shown !== null && spark.length > 2")
        browser.shot(out / "720p.png")
        browser.open(URL, 3840, 2160)
        browser.until("shown !== null && spark.length > 2")
        browser.shot(out / "4k.png")
        browser.open(URL, 412, 1700, prefers_reduced_motion="reduce")
        browser.until("shown !== null && spark.length > 2")
        assert browser.js("document.documentElement.scrollWidth <= innerWidth"), "fits on a telephone"
        browser.shot(out / "narrow.png")
        browser.open(URL + "?view=overlay", 1280, 720)
        browser.until("drawFrame !== null")
        browser.call("Emulation.setDefaultBackgroundColorOverride", color={"r": 0, "g": 0, "b": 0, "a": 0})
        time.sleep(0.3)
        browser.shot(out / "overlay.png")
        unexpected = [e for e in browser.logged if "ERR_CONNECTION_REFUSED" not in e and "/ws" not in e and "503" not in e]
        assert not unexpected, f"the browser complains: {unexpected}"
        print("all as it should be")
    finally:
        browser.close()
        end(run)


if __name__ == "__main__":
    main()
