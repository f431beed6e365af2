"""The dashboard of `pixtune serve` in Chromium: every page at both widths and in both themes without console messages, requests to
other hosts, horizontal scrolling or unreadable text; hostile names and prompts stay text; a job is created and watched to its end.

    dashboard.py PIXTUNE [--program chromium]
"""

import argparse
import json
import pathlib
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "peers/clients"))
from chromium import Chromium
from report import TEXTS, Checks
from serving import server

HOSTILE = "</p><script>document.title='x'</script><img src=x onerror=document.title='x'>"


def upload(url, name, content):
    body = (f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n').encode() + content + b"\r\n--b--\r\n"
    request = urllib.request.Request(f"{url}/openai/v1/files", body, {"Content-Type": "multipart/form-data; boundary=b"})
    return json.load(urllib.request.urlopen(request))["id"]


def post(url, path, body):
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def wait_for(browser, check, expression, what):
    for _ in range(300):
        if browser.value(expression):
            return
        time.sleep(0.1)
    check(False, what, browser.value("document.body.innerText")[-400:])


def pages(browser, check, url, job, file, model):
    ready = "document.querySelector('main h1') !== null"
    for page in ["jobs", f"jobs/{job}", "files", f"files/{file}", "models", f"chat/{model}", "system"]:
        for dark in (False, True):
            for width in (1280, 390):
                at = f"{page.split('/')[0]}, {width} px, {'dark' if dark else 'light'}"
                browser.open("about:blank", width, 900, dark)
                browser.open(f"{url}/#{page}", width, 900, dark)
                wait_for(browser, check, ready, f"{at}: no page")
                check(not browser.complaints, f"{at}: the console", browser.complaints)
                outside = [other for other in browser.requests if not other.startswith((url, "data:", "about:"))]
                check(not outside, f"{at}: requests", outside)
                wide = browser.value("document.documentElement.scrollWidth")
                check(wide <= width, f"{at}: scrolls horizontally", wide)
                for text in browser.value(TEXTS):
                    check(text["contrast"] >= 4.5, f"{at}: contrast of `{text['text']}`", text["contrast"])
                    check(text["size"] >= 12, f"{at}: size of `{text['text']}`", text["size"])
                check(browser.value("document.title") == "pixtune", f"{at}: a script of a user ran")


def reports(browser, check, url, job, file):
    """The report about data is in the page, that of a run opens by itself: with their styles and scripts, and no key."""
    # Not from another page of the dashboard, which is shown until this one is there.
    browser.open("about:blank", 1280, 900, False)
    browser.open(f"{url}/#files/{file}", 1280, 900, False)
    button = "[...document.querySelectorAll('button')].find((button) => button.textContent === 'Show the report')"
    wait_for(browser, check, f"{button} !== undefined", "the page of a file")
    browser.value(f"{button}.click()")
    wait_for(browser, check, "document.querySelector('iframe.report') !== null", "the report about a file")
    time.sleep(2)
    check(not browser.complaints, "the console of the page with a report", browser.complaints)
    for kind, id in (("files", file), ("jobs", job)):
        address = json.load(urllib.request.urlopen(f"{url}/v1/pixtune/{kind}/{id}/report/url"))["url"]
        browser.open(address, 1280, 900, False)
        wait_for(browser, check, "document.querySelector('h1') !== null", f"the report of {kind}")
        check(not browser.complaints, f"the console of the report of {kind}", browser.complaints)
        check(browser.value("document.styleSheets.length") > 0, f"the report of {kind} has no styles", address)
        check(browser.value("window.origin") == "null", f"the report of {kind} runs apart from the dashboard", address)


def create(browser, check, url):
    """A job from the form to its end, without the mouse."""
    browser.open(f"{url}/#jobs", 1280, 900, False)
    wait_for(browser, check, "document.querySelector('form.panel') !== null", "the form of a job")
    browser.value("document.querySelector('[name=suffix]').value = 'by-hand'")
    browser.value("document.querySelector('[name=n_epochs]').value = '2'")
    browser.value("document.querySelector('form.panel button').focus()")
    browser.value("document.querySelector('form.panel').requestSubmit()")
    wait_for(browser, check, "location.hash.startsWith('#jobs/')", "the page of the new job")
    wait_for(browser, check, "document.querySelector('.succeeded') !== null", "the job succeeds on its page")
    wait_for(browser, check, "document.querySelectorAll('svg polyline.train').length === 1", "the curve of the loss")
    wait_for(browser, check, "document.body.innerText.includes('The job has successfully completed')", "the last event is shown")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pixtune")
    parser.add_argument("--program", default="chromium")
    args = parser.parse_args()
    check = Checks()
    with server(args.pixtune) as (url, data):
        sample = {"messages": [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]}
        hostile = upload(url, "<img src=x onerror=alert(1)>.jsonl", (json.dumps(sample) + "\n{}\n").encode() + data.read_bytes())
        plain = upload(url, "train.jsonl", data.read_bytes())
        job = post(url, "/openai/v1/fine_tuning/jobs", {"model": "tiny", "training_file": plain, "metadata": {"a": HOSTILE}})
        post(url, "/openai/v1/fine_tuning/jobs", {"model": "tiny", "training_file": hostile})
        while (state := json.load(urllib.request.urlopen(f"{url}/openai/v1/fine_tuning/jobs/{job['id']}")))["status"] != "succeeded":
            assert state["status"] in ("queued", "running"), state
            time.sleep(0.2)
        with Chromium(args.program) as browser:
            pages(browser, check, url, job["id"], hostile, state["fine_tuned_model"])
            reports(browser, check, url, job["id"], plain)
            create(browser, check, url)
    print(f"dashboard: {check.done} checks, {len(check.failed)} failed")
    sys.exit(bool(check.failed))


main()
