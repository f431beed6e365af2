"""Open reports in Chromium: no network requests, no console messages, no horizontal scrolling on a phone, sufficient contrast
and text size, and complete keyboard control.

    report.py PIXTUNE [--program chromium] [--screenshots DIRECTORY]     write reports and open them
    report.py --page FILE                                                open an existing page, such as a training report
"""

import argparse
import base64
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zlib

from chromium import Chromium

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/visual-qa"

# The charts in the report of the example, by name.
CHARTS = {
    "tokens", "parts", "sides", "image-tokens", "sizes", "formats", "gallery", "score-image-dark", "score-image-light",
    "score-image-low-information", "score-image-blurry", "score-image-too-small", "score-image-shrunk", "near", "forms",
    "characters", "answers", "prompts", "languages", "scripts", "split", "samples", "verdict",
}

# Visible text nodes, with their size in pixels and their contrast to the background (WCAG 2.2, 1.4.3).
TEXTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((value, at) => value * top[3] + below[at] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => {
    const linear = [r, g, b].map((value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const found = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest("title, script, style, .skip")) continue;
    const style = getComputedStyle(element);
    const back = behind(element), front = over(rgba(style.color), back);
    const [low, high] = [light(back), light(front)].sort((a, b) => a - b);
    const name = element.tagName.toLowerCase() + (element.className ? "." + element.className : "");
    const key = `${name} ${style.color} ${back.map(Math.round)}`;
    if (!found.has(key)) found.set(key, { key, text: node.data.trim().slice(0, 30), size: parseFloat(style.fontSize),
      weight: Number(style.fontWeight), contrast: (high + 0.05) / (low + 0.05) });
  }
  return [...found.values()];
})()"""

# The element that has the focus, and whether it is visible.
FOCUS = """(() => {
  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
  return { tag: at.tagName, id: at.id, name: at.className, text: (at.textContent || "").trim().slice(0, 40),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight, top: box.top };
})()"""


class Checks:
    def __init__(self):
        self.done, self.failed = 0, []

    def __call__(self, holds, what, found=""):
        self.done += 1
        if not holds:
            self.failed.append(f"{what}: {found}" if found != "" else what)
            print(f"FAILED {self.failed[-1]}", flush=True)


def png(width, height, row):
    """An image as PNG bytes; `row` returns three bytes for each pixel."""
    rows = b"".join(b"\0" + row(y) for y in range(height))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def line(prompt, answer):
    return json.dumps({"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}) + "\n"


def datasets(directory):
    """Small datasets with special cases: empty, one sample, hostile text, near-duplicates, images only."""
    (directory / "empty.jsonl").write_text("")
    (directory / "one.jsonl").write_text(line("What is it?", "A cat."))
    hostile = "</script><script>document.title='x'</script><img src=http://127.0.0.1:9/x onerror=console.error(1)>\u202e" + "W" * 400
    (directory / "hostile.jsonl").write_text("".join(line(f"{hostile} {n}", hostile) for n in range(30)) + "{\n[]\n" + hostile + "\n")
    words = lambda seed, count: " ".join(random.Random(seed).choices("the bill shows a total of many small & large things".split(), k=count))
    near_duplicates = directory / "near-duplicates"
    near_duplicates.mkdir()
    validation = "".join(line(f"{n}: {words(n, 60)}?", words(n + 500, 40) + " at last") for n in range(4))
    (near_duplicates / "validation.jsonl").write_text(validation)
    near = [line(f"{n}: {words(n, 60)}?", f"{words(n + 500, 40)} {more}") for n in range(12) for more in ("in all", "altogether <b>")]
    (near_duplicates / "train.jsonl").write_text("".join(near))
    images = directory / "images"
    images.mkdir()
    noise = random.Random(1)
    (images / "flat.png").write_bytes(png(40, 40, lambda y: b"\0" * 120))
    (images / "dot.png").write_bytes(png(1, 1, lambda y: b"\xff\0\0"))
    (images / "noise.png").write_bytes(png(90, 60, lambda y: noise.randbytes(270)))
    (images / ("long-name-" * 20 + ".png")).write_bytes(png(300, 4, lambda y: bytes(range(225)) * 4))
    (images / "broken.png").write_bytes(b"no PNG")
    return ["empty.jsonl", "one.jsonl", "hostile.jsonl", "near-duplicates", "images"]


def inspect(browser, check, url, name, screenshots):
    """Both themes and both widths: no console messages, no requests, no horizontal scrolling, readable text."""
    for dark in (False, True):
        for width in (1280, 390):
            at = f"{name}, {width} px, {'dark' if dark else 'light'}"
            browser.open(url, width, 900, dark)
            browser.value("document.querySelectorAll('img').forEach((img) => { img.loading = 'eager'; })")
            broken = browser.value(
                "Promise.all([...document.images].map((img) => img.decode().then(() => 0, () => 1))).then((all) => all.filter(Boolean).length)")
            check(broken == 0, f"{at}: images that do not decode", broken)
            check(not browser.complaints, f"{at}: the console", browser.complaints)
            outside = [url_ for url_ in browser.requests if not url_.startswith(("data:", "file:"))]
            files = [url_ for url_ in browser.requests if url_.startswith("file:")]
            check(not outside and len(files) == 1, f"{at}: requests", outside + files[1:])
            wide = browser.value("document.documentElement.scrollWidth")
            check(wide <= width, f"{at}: scrolls horizontally", wide)
            browser.value("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
            wide = browser.value("document.documentElement.scrollWidth")
            check(wide <= width, f"{at}: scrolls horizontally with all details open", wide)
            for text in browser.value(TEXTS):
                large = text["size"] >= 24 or (text["size"] >= 18.66 and text["weight"] >= 700)
                check(text["contrast"] >= (3 if large else 4.5), f"{at}: contrast", text)
                check(text["size"] >= 11.5, f"{at}: small text", text)
            if screenshots:
                browser.size(width, min(browser.value("document.documentElement.scrollHeight"), 16000))
                browser.screenshot(screenshots / f"{name}-{width}-{'dark' if dark else 'light'}.png")


def charts(browser, check, url, expected):
    browser.open(url)
    drawn = browser.value(
        "[...document.querySelectorAll('[data-chart]')].map((chart) => [chart.dataset.chart, chart.getBoundingClientRect().height])")
    check(expected <= {name for name, _ in drawn}, "charts are missing", expected - {name for name, _ in drawn})
    check(all(height > 20 for _, height in drawn), "charts without height", drawn)
    empty = browser.value("[...document.querySelectorAll('figure.chart svg')].filter((svg) => !svg.querySelector('rect, .curve')).length")
    check(empty == 0, "charts without a bar or a curve", empty)
    clash = browser.value("""[...document.querySelectorAll('figure.chart')].flatMap((chart) => {
      const boxes = [...chart.querySelectorAll('.x span')].filter((span) => span.checkVisibility()).map((span) => span.getBoundingClientRect());
      return boxes.slice(1).filter((box, at) => box.left < boxes[at].right).map(() => chart.dataset.chart);
    })""")
    check(not clash, "overlapping labels", clash)
    limit = browser.value("document.querySelector('[data-chart=sides] b.limit')?.textContent")
    check(limit == "the model sees up to 1,024", "the limit of image sides is drawn", limit)
    # The bar of images that are exactly as large as the limit ends at it.
    ends = browser.value("""(() => {
      const chart = document.querySelector('[data-chart=sides]'), line = chart.querySelector('i.limit').getBoundingClientRect().left;
      return [...chart.querySelectorAll('rect')].filter((bar) => bar.textContent.includes('to 1,024 pixels')).map((bar) => bar.getBoundingClientRect().right <= line + 2);
    })()""")
    check(ends == [True], "a bar ends at the limit", ends)
    note = browser.value("document.querySelector('[data-chart=tokens] ~ .far')?.textContent")
    check((note or "").startswith("context 131,072 tokens"), "a limit far away is a note", note)
    titles = browser.value("[...document.querySelectorAll('figure.chart')].every((chart) => chart.querySelector('.yt').textContent && chart.querySelector('.xt').textContent)")
    check(titles, "every axis has a title")


def keyboard(browser, check, url):
    """The whole page with the Tab key, then dialog, grid, tabs and theme."""
    browser.open(url)
    focus = lambda: browser.value(FOCUS)
    browser.press("Tab")
    check(focus()["name"] == "skip" and focus()["seen"], "the first stop skips to the content", focus())
    browser.press("Enter")
    browser.press("Tab")
    check(browser.value("document.getElementById('main').contains(document.activeElement)"), "the skip link leads into main", focus())
    browser.open(url)
    stops, dark = [], None
    for _ in range(400):
        browser.press("Tab")
        at = focus()
        if at["tag"] == "BODY":
            break
        stops.append(at)
        check(at["ring"], "the focus ring is visible", at)
        check(at["seen"], "the focused element is in view", at)
        if at["id"] == "theme" and dark is None:
            before = browser.value("getComputedStyle(document.body).backgroundColor")
            browser.press("Enter")
            browser.becomes(f"getComputedStyle(document.body).backgroundColor !== '{before}'", True)
            dark = browser.value("getComputedStyle(document.body).backgroundColor")
            check(dark != before, "Enter on the theme button changes it", dark)
            browser.press("Enter")
    names = {stop["name"] or stop["tag"] for stop in stops}
    check(len(stops) < 400, "the Tab key comes to an end", len(stops))
    check({"pic", "SUMMARY", "skip"} <= names, "images and details can be reached", names)
    grids = browser.value("[...document.querySelectorAll('.grid')].filter((grid) => grid.checkVisibility()).length")
    pairs = browser.value("document.querySelectorAll('.pair button.pic, .texts button.pic').length")
    pics = sum(stop["name"] == "pic" for stop in stops)
    check(pics == grids + pairs, "a grid is one stop", (pics, grids, pairs))

    # The effect of a key is visible after a moment.
    def state(expression, expected, what):
        found = browser.becomes(expression, expected)
        check(found == expected, what, (found, expected))

    # A summary opens with Enter.
    browser.value("document.querySelector('summary').focus()")
    browser.press("Enter")
    state("document.querySelector('details').open", True, "Enter opens a summary")

    # The grid by arrows, the dialog by Enter, arrows inside, Escape back.
    grid = "[...document.querySelectorAll('[data-chart=gallery] button.pic')]"
    index = f"{grid}.indexOf(document.activeElement)"
    browser.value(f"{grid}[0].focus()")
    browser.press("ArrowRight")
    state(index, 1, "the arrow goes to the next image")
    browser.press("ArrowDown")
    row = browser.value(f"{grid}.filter((pic) => pic.offsetTop === {grid}[0].offsetTop).length")
    state(index, 1 + row, "the arrow down goes to the next row")
    browser.press("End")
    state(f"{index} - {grid}.length", -1, "End goes to the last")
    browser.press("Home")
    state(index, 0, "Home goes to the first")
    browser.press("Enter")
    state("document.getElementById('view').open", True, "Enter opens the image")
    state("document.getElementById('view').contains(document.activeElement)", True, "the focus is in the dialog")
    lines = browser.value("document.querySelector('#view svg path').getAttribute('d').match(/M/g).length")
    sides = browser.value(f"Number({grid}[0].dataset.columns) + Number({grid}[0].dataset.rows) + 2")
    check(lines == sides, "the patches are drawn", (lines, sides))
    shape = browser.value("""(() => { const img = document.querySelector('#view img'), box = img.getBoundingClientRect();
      return Math.abs(box.width / box.height / (img.naturalWidth / img.naturalHeight) - 1); })()""")
    check(shape < 0.02, "the large image keeps its shape", shape)
    for _ in range(4):
        browser.press("Tab")
        check(browser.value("document.getElementById('view').contains(document.activeElement) || document.activeElement === document.body"),
              "the focus stays in the dialog")
    about = browser.value("document.querySelector('#view p').textContent")
    browser.press("ArrowRight")
    changed = f"document.querySelector('#view p').textContent !== {json.dumps(about)}"
    state(changed, True, "the arrow shows the next image")
    browser.press("Escape")
    state("document.getElementById('view').open", False, "Escape closes")
    state(index, 1, "the focus returns to the image shown last")
    browser.value(f"{grid}[0].click()")
    browser.value("document.querySelector('#view [aria-label=close]').click()")
    state(index, 0, "closing by the button returns the focus too")

    # Samples: arrows, Home and End, J and K; one panel at a time.
    tabs = "[...document.querySelectorAll('.list button')]"
    chosen = f"{tabs}.findIndex((tab) => tab.getAttribute('aria-selected') === 'true')"
    browser.value(f"{tabs}[0].focus()")
    for key, expected in [("ArrowDown", 1), ("ArrowRight", 2), ("ArrowUp", 1), ("End", browser.value(f"{tabs}.length - 1")), ("Home", 0), ("j", 1), ("k", 0)]:
        browser.press(key)
        state(chosen, expected, f"{key} chooses a sample")
        check(focus()["tag"] == "BUTTON" and focus()["ring"], f"{key} moves the focus along", focus())
    shown = browser.value("[...document.querySelectorAll('.sample')].filter((sample) => sample.checkVisibility()).length")
    check(shown == 1, "one sample is open", shown)
    check(browser.value("document.querySelector('.sample.open mark') !== null"), "trained tokens are marked")
    browser.press("g")
    hidden = "[...document.querySelectorAll('.sample.open .patched svg')].every((svg) => !svg.checkVisibility())"
    state(hidden, True, "G hides the patches")


def links(browser, check, url):
    """Findings lead to their samples and back; filters, search and copying."""
    browser.open(url)
    lost = browser.value("[...document.querySelectorAll('a[href^=\"#\"]')].map((link) => link.hash.slice(1)).filter((id) => !document.getElementById(id))")
    check(not lost, "links that lead nowhere", lost)
    browser.value("document.querySelector('.finding .locations a').click()")
    open_ = "document.querySelector('.sample.open')"
    shown = browser.value("document.querySelector('.finding .locations a').hash.slice(1)")
    check(browser.becomes(f"{open_}.id", shown) == shown, "a place opens its sample")
    finding = browser.value("document.querySelector('.finding:has(.locations a)').id")
    check(finding in browser.value(f"[...{open_}.querySelectorAll('a.tag')].map((tag) => tag.hash.slice(1))"), "the sample leads back", finding)
    browser.value(f"{open_}.querySelector('a.tag[href=\"#{finding}\"]').click()")
    check(browser.becomes(f"document.getElementById('{finding}').classList.contains('flash')", True), "the finding stands out")
    count = "[...document.querySelectorAll('.list button')].filter((tab) => !tab.hidden).length"
    every = browser.value(count)
    browser.value("document.querySelector('a[data-problem]').click()")
    some = browser.value(count)
    check(0 < some < every, "a finding selects its samples", (some, every))
    search = "(() => { const text = document.getElementById('text'); text.value = %s; text.dispatchEvent(new Event('input')); })()"
    browser.value("(() => { const all = document.getElementById('problem-filter'); all.value = ''; all.dispatchEvent(new Event('change')); })()")
    browser.value(search % "'TICKET'")
    some = browser.value(count)
    check(0 < some < every, "a text selects samples", (some, every))
    browser.value(search % "'nothing has this'")
    check(browser.value("document.getElementById('hits').textContent") == "no sample", "nothing fits")
    browser.value(search % "''")
    check(browser.value(count) == every, "all samples are back")
    browser.value("document.querySelector('[data-chart=gallery] button.pic').click()")
    terms = browser.value("[...document.querySelectorAll('#view dt')].map((term) => term.textContent)")
    check(terms == ["source", "prompt", "response"], "an image opens with source, prompt and response", terms)
    browser.press("Escape")
    copied = browser.value("(() => { document.querySelector('.copy').click(); return document.querySelector('.command code').textContent; })()")
    check(copied.startswith("pixtune "), "the first action has a command", copied)
    check(browser.becomes("document.querySelector('.copy').textContent", "copied") == "copied", "a command is copied")


def check_reports(run, browser, check, directory, screenshots):
    """Write a report of each dataset and open it."""
    run("prepare", str(EXAMPLE / "dataset.csv"), "--out", "example", "--validation", "0.2")
    for given in ["example", *datasets(directory)]:
        run("report", given, "--out", "report.html", "--force", codes=(0, 1))
        url = (directory / "report.html").as_uri()
        inspect(browser, check, url, given.removesuffix(".jsonl"), screenshots)
        if given == "example":
            charts(browser, check, url, CHARTS)
            keyboard(browser, check, url)
            links(browser, check, url)
            if screenshots:
                for width, dark in [(1280, False), (390, True)]:
                    browser.open(url, width, 900, dark)
                    browser.value("document.querySelectorAll('[data-chart=gallery] button.pic')[3].click()")
                    browser.wait("document.querySelector('#view img').complete")
                    browser.screenshot(screenshots / f"dialog-{width}.png")
        if given == "near-duplicates":
            shown = browser.value("[...document.querySelectorAll('[data-chart=near-texts] .texts')].map((group) => [group.children.length, group.querySelectorAll('mark').length > 0])")
            check(shown[:1] == [[3, True]] and len(shown) == 8, "near-duplicate texts are side by side with their differences marked", shown)
            check("4 more groups" in browser.value("document.querySelector('[data-chart=near-texts]').textContent"), "groups that are not listed are counted")
        if given == "hostile.jsonl":
            check(browser.value("document.title") == "hostile.jsonl", "text of the dataset does not run as a script", browser.value("document.title"))


def evaluation(directory):
    """Write samples with images, and answers of two models: right, loose, wrong, hostile, missing, and long."""
    image = "data:image/png;base64," + base64.b64encode(png(64, 48, lambda y: bytes([y * 5 % 256, 90, 140]) * 64)).decode()
    hostile = "<script>document.title='run'</script>"
    samples, tuned, base = [], [], []
    for number in range(60):
        prompt = f"What is the value of bar {number}?" if number else hostile
        content = [{"type": "image_url", "image_url": image}, {"type": "text", "text": prompt}]
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": str(number % 4)}]
        samples.append({"messages": messages})
        forms = [str(number % 4), f"I read it.\nFinal Answer: {number % 4}", f"it is {number % 4}.", "none", "x " * 3000, hostile]
        if number != 7:
            tuned.append({"line": number + 1, "answer": forms[number % 6]})
        base.append({"line": number + 1, "answer": forms[(number + 3) % 6]})
    for name, rows in [("samples", samples), ("tuned", tuned), ("base", base)]:
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def check_evaluation(run, browser, check, directory, screenshots):
    """Evaluate two files of answers and open the page."""
    evaluation(directory)
    run("evaluate", "samples.jsonl", "--predictions", "tuned.jsonl", "--compare", "predictions=base.jsonl", "--metric", "relaxed",
        "--out", "evaluation", codes=(1,))
    url = (directory / "evaluation/report.html").as_uri()
    inspect(browser, check, url, "evaluation", screenshots)
    check(browser.value("document.title").startswith("Evaluation of"), "an answer does not run as a script", browser.value("document.title"))
    for kind in browser.value("[...document.querySelectorAll('[data-filter]')].map((button) => button.dataset.filter)"):
        browser.value(f"document.querySelector('[data-filter=\"{kind}\"]').click()")
        results = "[...document.querySelectorAll('.result')]"
        shown = browser.value(f"{results}.filter((result) => result.checkVisibility()).map((result) => result.dataset.kinds.split(' '))")
        check(shown and all(not kind or kind in kinds for kinds in shown), f"the filter `{kind}` shows its samples", shown)
    browser.value("document.querySelector('.result button.pic').click()")
    check(browser.becomes("document.getElementById('view').open", True), "an image opens")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pixtune", nargs="?", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--page", type=pathlib.Path)
    parser.add_argument("--program", default="chromium")
    parser.add_argument("--screenshots", type=pathlib.Path)
    args = parser.parse_args()
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)
    if not args.pixtune and not args.page:
        parser.error("PIXTUNE or --page")
    check = Checks()
    with tempfile.TemporaryDirectory() as name, Chromium(args.program) as browser:
        directory = pathlib.Path(name)
        if args.page:
            inspect(browser, check, args.page.resolve().as_uri(), args.page.stem, args.screenshots)
            check(browser.value("document.querySelector('figure.chart svg .curve') !== null"), "a curve is drawn")

        def run(*arguments, codes=(0,)):
            done = subprocess.run([args.pixtune, *arguments, "--quiet"], cwd=directory, capture_output=True, text=True)
            if done.returncode not in codes:
                sys.exit(f"pixtune {' '.join(arguments)}: {done.returncode}\n{done.stderr}")

        if args.pixtune:
            check_evaluation(run, browser, check, directory, args.screenshots)
            check_reports(run, browser, check, directory, args.screenshots)
    if check.failed:
        sys.exit(f"{len(check.failed)} of {check.done} checks failed")
    print(f"{check.done} checks hold")


if __name__ == "__main__":
    main()
