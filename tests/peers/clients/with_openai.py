"""OpenAI's client from 1.0 on does its whole workflow with `pixtune serve`: with_openai.py PIXTUNE"""

import base64
import http.server
import json
import subprocess
import sys
import threading
import time

import openai
from serving import ROOT, server

IMAGE = "data:image/png;base64," + base64.b64encode((ROOT / "fixtures/images/grad_64x48.png").read_bytes()).decode()
ASK = [{"role": "user", "content": [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": IMAGE}}]}]


def fails(kind, status, work):
    try:
        work()
    except kind as error:
        assert error.status_code == status, error
        # The message is the server's, not only the status.
        assert len(error.message) > 40, error.message
        return error
    raise AssertionError(f"no {kind.__name__}")


def workflow(client, data):
    with open(data, "rb") as stream:
        training = client.files.create(file=stream, purpose="fine-tune")
    assert client.files.wait_for_processing(training.id).status == "processed"
    assert client.files.content(training.id).read() == data.read_bytes()
    assert [file.id for file in client.files.list(purpose="fine-tune")] == [training.id]
    fails(openai.UnprocessableEntityError, 422, lambda: client.files.create(file=("bad.jsonl", b"{}\n"), purpose="fine-tune"))
    fails(openai.NotFoundError, 404, lambda: client.fine_tuning.jobs.create(model="gpt-4o", training_file=training.id))
    fails(openai.NotFoundError, 404, lambda: client.fine_tuning.jobs.create(model="tiny", training_file="file-nope"))

    job = client.fine_tuning.jobs.create(
        model="pixtral-12b-2409",
        training_file=training.id,
        validation_file=training.id,
        suffix="mine",
        seed=3,
        hyperparameters={"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 2.0},
    )
    assert job.status in ("validating_files", "queued", "running") and job.fine_tuned_model is None, job
    while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
    assert job.status == "succeeded", job
    messages = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=4)]
    assert messages[0] == "The job has successfully completed" and messages[-1].startswith("Created fine-tuning job"), messages
    assert len(messages) > 6, "pages of four are followed"
    assert job.id in [other.id for other in client.fine_tuning.jobs.list(limit=1)]
    if hasattr(client.fine_tuning.jobs, "checkpoints"):
        checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
        assert checkpoints[0].metrics.valid_loss > 0 and checkpoints[0].step_number > 0, checkpoints
    csv = base64.b64decode(client.files.content(job.result_files[0]).read()).decode()
    assert csv.startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,"), csv

    model = job.fine_tuned_model
    assert client.models.retrieve(model).id == model and model in [other.id for other in client.models.list()]
    answer = client.chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=8)
    text = answer.choices[0].message.content
    assert text and answer.usage.completion_tokens > 0, answer
    stream = client.chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=8, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text
    two = client.chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=4, n=2, logprobs=True, top_logprobs=2)
    assert len(two.choices) == 2 and two.choices[0].logprobs.content[0].logprob <= 0
    error = fails(openai.NotFoundError, 404, lambda: client.chat.completions.create(model="nope", messages=ASK))
    assert "there is no model `nope`" in error.message, error.message
    fails(openai.UnprocessableEntityError, 422, lambda: client.chat.completions.create(model=model, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}]}]))

    batches(client, model)

    long = client.fine_tuning.jobs.create(model="tiny", training_file=training.id, hyperparameters={"n_epochs": 50})
    if hasattr(client.fine_tuning.jobs, "pause"):
        client.fine_tuning.jobs.pause(long.id)
        client.fine_tuning.jobs.resume(long.id)
    assert client.fine_tuning.jobs.cancel(long.id).status == "cancelled"
    fails(openai.ConflictError, 409, lambda: client.fine_tuning.jobs.cancel(job.id))
    if hasattr(client, "uploads") and hasattr(client.uploads, "upload_file_chunked"):
        upload = client.uploads.upload_file_chunked(file=data, mime_type="application/jsonl", purpose="fine-tune", part_size=4000)
        assert upload.status == "completed" and upload.file.bytes == data.stat().st_size, upload
    assert client.models.delete(model).deleted
    fails(openai.NotFoundError, 404, lambda: client.models.retrieve(model))
    for file in client.files.list():
        if file.purpose == "fine-tune":
            while True:
                try:
                    client.files.delete(file.id)
                    break
                except openai.ConflictError:
                    time.sleep(0.2)


def batches(client, model):
    chats = [{"model": model, "messages": ASK, "max_tokens": 4}, {"model": "nope", "messages": ASK}]
    requests = [
        {"custom_id": f"r{index}", "method": "POST", "url": "/v1/chat/completions", "body": chat} for index, chat in enumerate(chats)
    ]
    content = "".join(json.dumps(request) + "\n" for request in requests).encode()
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"k": "v"}
    )
    while (batch := client.batches.retrieve(batch.id)).status in ("validating", "in_progress", "finalizing"):
        time.sleep(0.2)
    assert batch.status == "completed" and batch.metadata == {"k": "v"}, batch
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1), batch
    answer = json.loads(client.files.content(batch.output_file_id).read())
    assert answer["custom_id"] == "r0" and answer["response"]["body"]["usage"]["completion_tokens"] > 0, answer
    error = json.loads(client.files.content(batch.error_file_id).read())
    assert error["response"]["status_code"] == 404 and "there is no model `nope`" in error["error"]["message"], error
    assert batch.id in [other.id for other in client.batches.list(limit=1)]
    fails(openai.ConflictError, 409, lambda: client.batches.cancel(batch.id))


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps the webhooks that it gets; the first one is refused, so that it is sent again."""

    got = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.send_response(500 if not self.got else 204)
        self.end_headers()
        self.got.append((body, dict(self.headers)))

    def log_message(self, *_):
        pass


def webhooks(client, secret):
    """The client accepts the signature of every notice, and no other one."""
    kinds = set()
    for body, headers in Receiver.got:
        event = client.webhooks.unwrap(body, headers, secret=secret)
        kinds.add(event.type)
        assert event.data.id, event
    assert {"fine_tuning.job.succeeded", "fine_tuning.job.cancelled", "batch.completed"} <= kinds, kinds
    repeated = [headers["webhook-id"] for _, headers in Receiver.got]
    assert repeated.count(repeated[0]) == 2, "a notice that was refused is sent again"
    try:
        client.webhooks.unwrap(Receiver.got[0][0] + " ", Receiver.got[0][1], secret=secret)
    except openai.InvalidWebhookSignatureError:
        return
    raise AssertionError("another body has the same signature")


with server(sys.argv[1]) as (url, data):
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    hook = [sys.argv[1], "serve", "webhooks", "add", f"http://127.0.0.1:{receiver.server_port}/", "--allow-private"]
    hook += ["--data-dir", data.parent / "data"]
    secret = subprocess.run(hook, check=True, capture_output=True, text=True).stdout.strip()
    # The clients validate answers only if they are asked to.
    for base in [f"{url}/openai/v1", f"{url}/v1/"]:
        workflow(openai.OpenAI(base_url=base, api_key="k", _strict_response_validation=True), data)
    # Of each workflow a job that succeeded, one that was cancelled, and a batch; the first notice comes twice.
    start = time.monotonic()
    while len(Receiver.got) < 7 and time.monotonic() - start < 60:
        time.sleep(0.2)
    webhooks(openai.OpenAI(base_url=url, api_key="k"), secret)
    azure = openai.AzureOpenAI(azure_endpoint=url, api_key="k", api_version="2025-04-01-preview")
    assert azure.files.list().data is not None
    assert azure.chat.completions.create(model="tiny", messages=ASK, max_tokens=2).choices[0].finish_reason == "length"
print(f"openai {openai.__version__}: files, uploads, jobs, checkpoints, models, chat, streams, batches, webhooks and errors work")
