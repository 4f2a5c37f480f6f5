#!/usr/bin/env python3
"""The playground in a headless Chromium, driven over the DevTools protocol's pipe.

    page.py double PAGE-DIRECTORY   every behaviour, against tests/vm/page_server.py
    page.py real URL                real programs, against capsid api
    page.py token URL               against capsid api --tokens, which knows the token in PAGE_TOKEN
    page.py screenshot URL FILE     the picture of README.md, against the same

Pictures of what is looked at go to TMPDIR.

DevTools protocol: https://chromedevtools.github.io/devtools-protocol/; with --remote-debugging-pipe its messages are
JSON that ends with a NUL, read from descriptor 3 and written to 4 (Chromium, content/browser/devtools/devtools_pipe_handler.cc)."""
import base64, fcntl, json, os, select, signal, subprocess, sys, tempfile, time, urllib.request

WAIT = int(os.environ.get("PAGE_WAIT", "120"))  # seconds that anything may take; only a failure takes so long
failures = 0


def expect(what, got, wanted):
    global failures
    if got == wanted:
        print("ok: %s" % what, flush=True)
    else:
        failures += 1
        print("FAILED: %s: got %r, wanted %r" % (what, got, wanted), flush=True)


class Browser:
    def __init__(self, directory):
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (*os.pipe(), *os.pipe())]
        os.closerange(3, 10)
        os.dup2(ends[0], 3)
        os.dup2(ends[3], 4)
        self.to, self.source = ends[1], ends[2]
        # Its own sandbox needs a user other than root; the pages are ours, on loopback.
        self.process = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir=%s/profile" % directory, "--no-first-run",
             "--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad", "--disable-crash-reporter", "--disable-component-update",
             "--disable-background-networking", "--no-proxy-server", "--force-color-profile=srgb", "--lang=en-GB", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(directory + "/chromium.log", "w"), pass_fds=(3, 4),
            env={**os.environ, "HOME": directory, "LANGUAGE": "en", "TZ": "UTC"})
        os.closerange(3, 5)
        os.close(ends[0]), os.close(ends[3])
        self.buffer, self.number, self.session, self.complaints = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def read(self, deadline):
        while b"\0" not in self.buffer:
            if not select.select([self.source], [], [], max(0, deadline - time.monotonic()))[0]:
                raise SystemExit("Error: Chromium said nothing for %d s" % WAIT)
            data = os.read(self.source, 65536)
            if not data:
                raise SystemExit("Error: Chromium has ended, status %s; see chromium.log" % self.process.wait())
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(message)
        kind, more = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(more["exceptionDetails"])[:400])
        elif kind == "Runtime.consoleAPICalled" and more["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(more["args"]))
        elif kind == "Log.entryAdded" and more["entry"]["level"] in ("error", "warning"):
            self.complaints.append("%s: %s %s" % (more["entry"]["source"], more["entry"]["text"], more["entry"].get("url", "")))
        return message

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + WAIT
        while True:
            answer = self.read(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit("Error: %s: %s" % (method, answer["error"]))
                return answer["result"]

    def js(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise SystemExit("Error: %s: %s" % (expression, answer["exceptionDetails"]))
        return answer["result"].get("value")

    def until(self, what, expression):
        """Waits for something to become true; a failure says what was there instead."""
        deadline = time.monotonic() + WAIT
        while not self.js(expression):
            if time.monotonic() > deadline:
                return expect(what, self.js("document.body.innerText"), expression)
            time.sleep(0.02)
        expect(what, True, True)

    def key(self, key, modifiers=0):
        """modifiers: 2 Ctrl, 8 Shift. A character is its own key."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowDown": 40, "Backspace": 8, "a": 65}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        event = {"key": key, "code": key if len(key) > 1 else "", "modifiers": modifiers, "windowsVirtualKeyCode": codes.get(key, 0)}
        if text and not modifiers & 2:
            event["text"] = text
        if key == "a" and modifiers == 2:
            event["commands"] = ["selectAll"]
        self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in event.items() if k not in ("text", "commands")})

    def type(self, text):
        for c in text:
            self.key("Enter" if c == "\n" else c)

    def program(self, text):
        """Types a program in place of what is in the editor."""
        self.js("document.getElementById('code').focus()")
        self.key("a", 2)
        self.type(text)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("the page has loaded its languages", "document.readyState === 'complete' && !document.querySelector('#run')?.disabled")

    def view(self, width, height, scheme="light"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
        finally:
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()

    # ---- the page's parts ----

    def text(self, element):
        return self.js("document.getElementById(%s).innerText" % json.dumps(element))

    def value(self, element):
        return self.js("document.getElementById(%s).value" % json.dumps(element))

    def facts(self):
        return self.js("Object.fromEntries([...document.querySelectorAll('#facts:not([hidden]) div')].map((d) => "
                       "[d.querySelector('dt').textContent, d.querySelector('dd').textContent]))")

    def output(self):
        return self.js("[...document.querySelectorAll('#output > div')].map((d) => [d.className, d.textContent])")

    def output_of(self, channel):
        return "".join(text for kind, text in self.output() if kind == channel)

    def run(self, what="the run has ended"):
        self.key("Enter", 2)
        self.until(what, "document.getElementById('cancel').disabled && document.getElementById('status').textContent[0] !== 'R'")

    def focused(self):
        return self.js("document.activeElement.id || document.activeElement.tagName.toLowerCase()")

    def quiet(self, what):
        expect("%s: no complaint in the console" % what, self.complaints, [])
        self.complaints.clear()


# The least contrast of any text with its ground, WCAG 2.1, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio; names where.
CONTRAST = """(() => {
    const parse = (c) => c.match(/[\\d.]+/g).map(Number);
    const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    let least = [21, ''];
    for (const e of document.body.querySelectorAll('*')) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.matches('textarea, input, select');
        if (!own || !e.getClientRects().length) continue;
        let ground = e;
        while (ground && (parse(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
        if (!ground) return [0, e.outerHTML];
        const [a, b] = [light(parse(getComputedStyle(e).color)), light(parse(getComputedStyle(ground).backgroundColor))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < least[0]) least = [ratio, e.outerHTML.slice(0, 120)];
    }
    return least;
})()"""


def check_looks(b, what):
    """In both schemes, wide and on the narrowest phone."""
    grounds = set()
    for scheme in ("light", "dark"):
        for width in (1200, 320):
            b.view(width, 800, scheme)
            ratio, where = b.js(CONTRAST)
            expect("%s, %s, %d px: contrast of at least 4.5 (%.1f at %s)" % (what, scheme, width, ratio, where), ratio >= 4.5, True)
            expect("%s, %s, %d px: nothing is wider than the page" % (what, scheme, width),
                   b.js("[document.documentElement.scrollWidth, ...[...document.querySelectorAll('body *')].filter((e) => e.getClientRects().length)"
                        ".map((e) => e.getBoundingClientRect().right)].filter((x) => x > %d)" % width), [])
            b.screenshot("%s/%s-%s-%d.png" % (os.environ["TMPDIR"], what, scheme, width))
        grounds.add(b.js("getComputedStyle(document.body).backgroundColor"))
    expect("%s: two schemes" % what, len(grounds), 2)
    b.view(1200, 800)


def post(url):
    urllib.request.urlopen(urllib.request.Request(url, data=b"{}")).read()


def check_run(b, url):
    """Output arrives while the program runs, and then the result."""
    b.program("wait")
    b.key("Enter", 2)
    b.until("output arrives", "document.getElementById('output').textContent.includes('first')")
    expect("while the program runs", (b.text("status"), b.js("document.getElementById('cancel').disabled")), ("Running Python…", False))
    b.key("Enter", 2)  # no second run meanwhile
    post(url + "/test/release")
    b.until("the run has ended", "document.getElementById('cancel').disabled")
    expect("all of the output", b.output(), [["stdout", "first\nsecond\n"]])
    facts = b.facts()
    expect("the result", [facts.get(k) for k in ("Exit code", "End", "Load", "Exec")], ["0", "ended by itself", "209ms", "45ms"])
    expect("the result is announced", b.js("document.querySelector('[aria-live=polite]').textContent"),
           "Finished: exit code 0, ended by itself, load 209ms, exec 45ms.")
    seen = json.load(urllib.request.urlopen(url + "/test/log"))
    expect("one request", [(r["request"], r["token"]) for r in seen], [({"language": "python", "code": "wait", "timeout": 30}, None)])


def check_output(b):
    b.program("mixed")
    b.run()
    expect("output is text, with signs for control characters", b.output(), [
        ["stdout", "<b id=injected>bold</b>\n^[[31mred^[[0m^G <U+202E>back\nline\nnext \u20ac!\n"], ["stderr", "trouble\n"], ["stdout", "after\n"]])
    expect("nothing of it is markup", b.js("document.getElementById('injected')"), None)
    expect("standard error is named", b.js("getComputedStyle(document.querySelector('#output .stderr'), '::before').content"), '"stderr"')
    expect("another exit code", b.facts().get("Exit code"), "3")
    b.program("flood")
    b.run()
    expect("a flood is cut", [len(t) for _, t in b.output()][:1], [256 * 1024])
    expect("and the cut is told", b.output()[-1], ["note", "%d further characters are not shown." % (40 * 65536 - 256 * 1024)])
    b.program("silent")
    b.run()
    expect("no output", b.output(), [["note", "Nothing was printed."]])
    b.program("compiler")
    b.run()
    facts = b.facts()
    expect("a compiler's words", (b.output(), facts.get("Phase"), facts.get("Compile")), ([["stderr", "expected ;\n"]], "compile", "374ms"))
    b.program("endless")
    b.run()
    facts = b.facts()
    expect("over its time", (facts.get("End"), facts.get("Note")), ("over its time limit", "Execution timeout exceeded (2s)"))
    b.program("flicker")
    b.run()
    expect("so are many changes", len(b.output()), 501)


def check_cancel(b, url):
    for how in ("Escape", "button"):
        b.program("wait")
        b.key("Enter", 2)
        b.until("%s: it runs" % how, "document.getElementById('output').textContent.includes('first')")
        b.key("Escape") if how == "Escape" else b.js("document.getElementById('cancel').click()")
        b.until("%s: cancelled" % how, "document.getElementById('status').textContent === 'Cancelled.'")
        deadline = time.monotonic() + WAIT
        while not json.load(urllib.request.urlopen(url + "/test/log"))[-1]["gone"] and time.monotonic() < deadline:
            time.sleep(0.02)
        expect("%s: the server has lost its client" % how, json.load(urllib.request.urlopen(url + "/test/log"))[-1]["gone"], True)
        expect("%s: no error" % how, b.js("document.getElementById('error').hidden"), True)


def choose(b, name):
    b.js("(() => { const s = document.getElementById('language'); s.value = %s; s.dispatchEvent(new Event('change')); })()" % json.dumps(name))


def check_languages(b):
    b.js("document.getElementById('example').click()")
    expect("the example", b.value("code"), 'print("hello", 6*7)\n')
    choose(b, "sh")
    expect("another language brings its example", b.value("code"), "echo hello $((6*7))\n")
    b.program("echo typed")
    choose(b, "bare")
    expect("a language without one", (b.value("code"), b.js("document.getElementById('example').disabled")), ("", True))
    expect("nor an image", b.js("document.getElementById('not-installed').hidden"), False)
    b.program("echo")
    b.run()
    expect("after a run there is one", b.js("document.getElementById('not-installed').hidden"), True)
    choose(b, "sh")
    expect("what was typed is kept", b.value("code"), "echo typed")
    b.js("document.getElementById('stdin').value = 'some input'")
    b.js("document.getElementById('code').focus()")
    b.run()
    choose(b, "python")
    b.js("document.getElementById('stdin').value = ''")
    b.js("document.querySelector('#runs button').click()")
    expect("a recent run brings its program back", [b.value(e) for e in ("language", "code", "stdin")], ["sh", "echo typed", "some input"])
    expect("a recent run says how it went", [w in b.js("document.querySelector('#runs button').textContent")
           for w in ("POSIX shell", "exit 0", "ended by itself", "load 209ms", "exec 45ms")], [True] * 5)
    b.js("document.getElementById('stdin').value = ''")
    choose(b, "python")


def check_errors(b):
    b.quiet("what works")
    for program, words in (
            ("busy", "all VMs are busy (E010). Try again in 7 s. Trace: tr-9"),
            ("large", "the program is too large (E005). Trace: tr-9"),
            ("fails", "the guest does not answer (E006). Trace: tr-1"),
            ("cut", "The connection ended before the program did; what it printed so far is below.")):
        b.program(program)
        b.run()
        expect("%s: in words" % program, (b.text("error"), b.text("status")), (words, "No result."))
    expect("cut: what was printed is kept", b.output(), [["stdout", "so far\n"]])
    b.js("document.getElementById('timeout').value = '0'")
    b.program("echo")
    b.key("Enter", 2)
    expect("a bad time limit", b.text("error"), "The time limit is a whole number of seconds, 1 or more.")
    b.js("document.getElementById('timeout').value = '30'")


def check_token(b, url):
    expect("no token is asked for", b.js("document.getElementById('token-form').hidden"), True)
    b.program("token")
    b.run()
    expect("without a token", (b.text("error"), b.focused()), ("a token is missing or unknown (E003). Trace: tr-9", "token"))
    check_looks(b, "token")
    for token in ("wrong", "right"):
        b.js("document.getElementById('token').focus()")
        b.type(token + "\n")
        b.js("document.getElementById('code').focus()")
        b.run("%s token: the run has ended" % token)
        expect("%s token" % token, (b.js("document.getElementById('error').hidden"), b.js("sessionStorage.getItem('capsid-token')")),
               (token == "right", "right" if token == "right" else None))
    post(url + "/test/lock")
    b.js("sessionStorage.clear()")
    b.call("Page.navigate", url=url)
    b.until("a server that is locked altogether: a token is asked for", "document.activeElement?.id === 'token'")
    expect("and why", b.text("error"), "a token is missing or unknown (E003). Trace: tr-9")
    b.type("right\n")
    b.until("with the token, languages are there", "!document.getElementById('run').disabled")
    expect("and the focus", (b.focused(), b.js("document.getElementById('error').hidden")), ("code", True))
    expect("the token is nowhere else", b.js("[localStorage.length, document.cookie, document.body.innerText.includes('right')]"), [0, "", False])


def check_keyboard(b, url):
    """The whole page with nothing but keys."""
    b.open(url)
    order = []
    for _ in range(6):
        b.key("Tab")
        order.append(b.focused())
        if order[-1] == "code":
            b.key("Escape")
    expect("order of the Tab key", order, ["language", "example", "code", "summary", "run", "output"])
    b.js("document.getElementById('language').focus()")
    b.type("po")
    expect("letters choose a language", (b.value("language"), b.value("code")), ("sh", "echo hello $((6*7))\n"))
    b.type("python")
    b.js("document.getElementById('code').focus()")
    expect("the focus can be seen", b.js("(({outlineWidth, outlineStyle}) => [parseFloat(outlineWidth) >= 2, outlineStyle])"
                                        "(getComputedStyle(document.activeElement))"), [True, "solid"])
    b.key("a", 2)
    b.key("Tab")
    b.type("x")
    expect("Tab indents", (b.focused(), b.value("code")), ("code", "    x"))
    b.key("Tab", 8)
    expect("Shift and Tab goes back", b.focused(), "example")
    b.program("wait")
    b.js("document.getElementById('run').focus()")
    b.key("Enter")
    b.until("Enter on the button runs", "document.getElementById('output').textContent.includes('first')")
    expect("the focus moves to what can be pressed", b.focused(), "cancel")
    b.js("document.getElementById('code').focus()")
    b.key("Tab")
    expect("while a program runs, Tab leaves the editor", (b.focused(), b.value("code")), ("summary", "wait"))
    b.js("document.getElementById('cancel').focus()")
    b.key("Enter")
    b.until("Enter on the button cancels", "document.getElementById('status').textContent === 'Cancelled.'")
    expect("and back", b.focused(), "run")


def check_page(b):
    expect("every control has a name", b.js("[...document.querySelectorAll('input, select, textarea')].filter((e) => !e.labels.length).map((e) => e.id)"), [])
    expect("nothing moves", b.js("[...document.querySelectorAll('*')].map((e) => getComputedStyle(e)).filter((s) => "
                                 "s.transitionDuration !== '0s' || s.animationName !== 'none' || s.scrollBehavior !== 'auto').length"), 0)
    expect("no inline script or style", b.js("document.querySelectorAll('style, [style], script:not([src])').length"), 0)
    expect("nothing comes from elsewhere", b.js("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith(location.origin)).length"), 0)


def check_double(b, url, stop):
    b.open(url)
    b.until("the server's state", "document.getElementById('server').textContent === "
            "'Server: ok · version 0.0.0 · 1 of 4 workers busy · 0 of 64 places in the queue taken · pool: 3 ready, 1 in use'")
    check_page(b)
    check_run(b, url)
    check_output(b)
    check_cancel(b, url)
    check_languages(b)
    check_keyboard(b, url)
    b.program("mixed")
    b.run()
    check_looks(b, "page")
    check_errors(b)
    check_token(b, url)
    stop()
    b.program("echo")
    b.run()
    expect("server gone: in words", b.text("error"), "The server does not answer. Is it still running, and is the network up?")
    b.until("server gone: its state", "document.getElementById('server').textContent === 'Server: not reachable'")
    check_looks(b, "error")
    expect("only requests failed", [c for c in b.complaints if not c.startswith("network: Failed to load resource")], [])


STREAM = "import sys, time\nprint('first', flush=True)\ntime.sleep(5)\nprint('second')\nprint('trouble', file=sys.stderr)\nsys.exit(3)"
# Whether the program still ran when its first output was on the page.
WATCH = """new MutationObserver((_, o) => { window.early = !document.getElementById('cancel').disabled; o.disconnect(); })
    .observe(document.getElementById('output'), {childList: true, subtree: true, characterData: true})"""


def check_real(b, url):
    b.open(url)
    b.until("the server's state", "document.getElementById('server').textContent.startsWith('Server: ok · version ')")
    check_page(b)
    example = b.value("code")
    expect("the example of Python", example.strip() != "", True)
    choose(b, "sh")
    expect("another language brings its example", b.value("code").strip() not in ("", example.strip()), True)
    choose(b, "python")
    b.js("document.getElementById('code').focus()")
    b.run("the example has run")
    expect("the example's output", b.output(), [["stdout", "hello 42\n"]])
    b.program(STREAM)
    b.js("document.getElementById('output').replaceChildren()")
    b.js(WATCH)
    b.run()
    expect("output arrives while the program runs", b.js("window.early"), True)
    # Which of the two channels is read first at the end is the guest's affair.
    expect("output", [b.output_of(c) for c in ("stdout", "stderr")], ["first\nsecond\n", "trouble\n"])
    facts = b.facts()
    expect("exit code and end", (facts.get("Exit code"), facts.get("End")), ("3", "ended by itself"))
    expect("times", [facts.get(k, "").endswith("ms") for k in ("Load", "Exec")], [True, True])
    b.program("import time\nprint('first', flush=True)\ntime.sleep(600)")
    b.js("document.getElementById('timeout').value = '300'")
    b.key("Enter", 2)
    b.until("it runs", "document.getElementById('output').textContent.includes('first')")
    b.key("Escape")
    b.until("cancelled", "document.getElementById('status').textContent === 'Cancelled.'")
    b.js("document.getElementById('timeout').value = '2'")
    b.key("Enter", 2)
    b.until("over its time", "document.getElementById('facts').textContent.includes('over its time limit')")
    check_looks(b, "real")
    b.quiet("the real server")


def check_real_token(b, url):
    b.call("Page.navigate", url=url)
    b.until("a token is asked for", "document.activeElement?.id === 'token'")
    expect("and why", "(E003). Trace: tr-" in b.text("error"), True)
    b.type(os.environ["PAGE_TOKEN"] + "\n")
    b.until("with the token, languages are there", "!document.getElementById('run').disabled")
    b.js("document.getElementById('code').focus()")
    b.run("the example has run")
    expect("the example's output", b.output(), [["stdout", "hello 42\n"]])


def take_screenshot(b, url, path):
    b.view(1200, 840)
    b.open(url)
    for program in ("print(sum(range(100)))", "import sys\nfor n in range(4):\n\bprint('line', n, flush=True)\nprint('a warning', file=sys.stderr)"):
        b.program(program.replace("\n\b", "\n    "))
        b.run()
    b.js("document.activeElement.blur()")
    b.screenshot(path)
    expect("the picture is under 150 KB", os.path.getsize(path) < 150000, True)


def with_double(b, directory):
    server = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "page_server.py"), directory],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop():
        server.stdin.close()  # it ends
        server.wait()

    try:
        check_double(b, "http://127.0.0.1:" + server.stdout.readline().strip(), stop)
    finally:
        stop()


def main():
    mode, argument = sys.argv[1:3]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        browser = Browser(directory)
        try:
            browser.view(1200, 800)
            if mode == "double":
                with_double(browser, argument)
            elif mode == "real":
                check_real(browser, argument)
            elif mode == "token":
                check_real_token(browser, argument)
            elif mode == "screenshot":
                take_screenshot(browser, argument, sys.argv[3])
            else:
                raise SystemExit("Error: page.py double, real, token or screenshot, not " + mode)
        finally:
            browser.close()
    if failures:
        print("%d failures" % failures)
    sys.exit(1 if failures else 0)


main()
