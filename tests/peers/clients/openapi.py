"""The description of the API is a valid OpenAPI document, and answers of the server match it: openapi.py PIXTUNE"""

import json
import sys
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from serving import server


def ask(url, body=None, kind="application/json"):
    request = urllib.request.Request(url, body, {"content-type": kind} if body else {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def upload(url, data):
    fields = b'--cut\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    file = b'--cut\r\ncontent-disposition: form-data; name="file"; filename="train.jsonl"\r\n\r\n' + data.read_bytes()
    return ask(f"{url}/files", fields + file + b"\r\n--cut--\r\n", "multipart/form-data; boundary=cut")


with server(sys.argv[1]) as (url, data):
    _, document = ask(f"{url}/openapi.json")
    validate(document)
    compared = set()

    def matches(path, method, answered):
        status, answer = answered
        responses = document["paths"][path][method]["responses"]
        schema = responses.get(str(status), responses["default"])["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(answer)
        compared.add((path, method, status))
        return answer

    for base in [url + prefix["url"] for prefix in document["servers"]]:
        file = matches("/files", "post", upload(base, data))["id"]
        job = {"model": "tiny", "training_file": file} if "mistral" not in base else {"model": "tiny", "training_files": [file]}
        started = matches("/fine_tuning/jobs", "post", ask(f"{base}/fine_tuning/jobs", json.dumps(job).encode()))["id"]
        filled = {"/files/{id}": file, "/files/{id}/url": file, "/models/{id}": "tiny"}
        filled |= {f"/fine_tuning/jobs/{{id}}{part}": started for part in ("", "/events", "/checkpoints")}
        for path in ["/files", "/fine_tuning/jobs", "/models", "/batches", "/batch/jobs", *filled]:
            identifier = filled.get(path, "")
            matches(path, "get", ask(base + path.replace("{id}", identifier)))
            if identifier:
                matches(path, "get", ask(base + path.replace("{id}", "nope")))
        chat = {"model": "tiny", "messages": [{"role": "user", "content": "what is it"}], "max_tokens": 2}
        matches("/chat/completions", "post", ask(f"{base}/chat/completions", json.dumps(chat).encode()))
        matches("/chat/completions", "post", ask(f"{base}/chat/completions", b"{}"))
        ask(f"{base}/fine_tuning/jobs/{started}/cancel", b"{}")
    operations = sum(len(item) for item in document["paths"].values())
    print(f"openapi.json: valid, {operations} operations; answers of {len(compared)} operations and statuses match it")
