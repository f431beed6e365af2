"""Mistral's client from 1.0 on does its whole workflow with `pixtune serve`: with_mistral.py PIXTUNE"""

import base64
import importlib.metadata
import inspect
import json
import sys
import time

try:
    from mistralai import Mistral
except ImportError:
    from mistralai.client import Mistral

from serving import ROOT, server

VERSION = importlib.metadata.version("mistralai")
IMAGE = "data:image/png;base64," + base64.b64encode((ROOT / "fixtures/images/grad_64x48.png").read_bytes()).decode()
ASK = [{"role": "user", "content": [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": IMAGE}]}]


def fails(text, work):
    try:
        work()
    except Exception as error:
        assert text in str(error) or text in str(getattr(error, "body", "")), f"{type(error).__name__}: {error}"
        return
    raise AssertionError(f"nothing failed with `{text}`")


def jobs(client, data, training):
    files = [{"file_id": training.id, "weight": 1}]
    steps = {"training_steps": 4, "learning_rate": 1e-3}
    dry = client.fine_tuning.jobs.create(model="tiny", training_files=files, hyperparameters=steps, auto_start=False)
    assert dry.status == "VALIDATED", dry
    fails("has not ended", lambda: client.fine_tuning.jobs.create(model="tiny", training_files=files, hyperparameters=steps, auto_start=False))
    client.fine_tuning.jobs.start(job_id=dry.id)
    while (job := client.fine_tuning.jobs.get(job_id=dry.id)).status not in ("SUCCESS", "FAILED", "FAILED_VALIDATION", "CANCELLED"):
        time.sleep(0.2)
    assert job.status == "SUCCESS" and job.checkpoints[0].step_number == 4, job
    assert job.events[0].name and job.trained_tokens > 0, job
    listed = client.fine_tuning.jobs.list(page=0, page_size=5, status="SUCCESS")
    assert listed.data[0].id == job.id and listed.total == len(listed.data), listed
    model = job.fine_tuned_model
    long = client.fine_tuning.jobs.create(
        model="tiny",
        training_files=files,
        validation_files=[training.id],
        hyperparameters={"training_steps": 100000},
        suffix="long",
        auto_start=True,
    )
    assert client.fine_tuning.jobs.cancel(job_id=long.id).status in ("CANCELLED", "CANCELLATION_REQUESTED")
    while client.fine_tuning.jobs.get(job_id=long.id).status != "CANCELLED":
        time.sleep(0.2)
    fails("there is no job", lambda: client.fine_tuning.jobs.get(job_id="nope"))
    client.models.update(model_id=model, name="n")
    assert client.models.archive(model_id=model).archived and not client.models.unarchive(model_id=model).archived
    return model


def batches(client, model):
    """Answer a file of chats, and chats in the request where the client has them."""
    bodies = [{"messages": ASK, "max_tokens": 4}, {"messages": ASK, "temperature": 9}]
    requests = [{"custom_id": f"r{index}", "body": body} for index, body in enumerate(bodies)]
    content = "".join(json.dumps(request) + "\n" for request in requests).encode()
    file = client.files.upload(file={"file_name": "requests.jsonl", "content": content}, purpose="batch")
    batch = client.batch.jobs.create(
        endpoint="/v1/chat/completions", input_files=[file.id], model=model, metadata={"k": "v"}, timeout_hours=1
    )
    while (batch := client.batch.jobs.get(job_id=batch.id)).status in ("QUEUED", "RUNNING"):
        time.sleep(0.2)
    assert (batch.status, batch.succeeded_requests, batch.failed_requests) == ("SUCCESS", 1, 1), batch
    answer = json.loads(client.files.download(file_id=batch.output_file).read())
    assert answer["custom_id"] == "r0" and answer["response"]["body"]["choices"][0]["message"]["content"], answer
    error = json.loads(client.files.download(file_id=batch.error_file).read())
    assert error["custom_id"] == "r1" and error["response"]["status_code"] == 422, error
    assert batch.id in [other.id for other in client.batch.jobs.list(page=0, page_size=5, model=model).data]
    fails("has ended", lambda: client.batch.jobs.cancel(job_id=batch.id))
    parameters = inspect.signature(client.batch.jobs.create).parameters
    if "requests" in parameters:
        inline = client.batch.jobs.create(endpoint="/v1/chat/completions", requests=requests[:1], model=model)
        while (inline := client.batch.jobs.get(job_id=inline.id)).status in ("QUEUED", "RUNNING"):
            time.sleep(0.2)
        assert inline.status == "SUCCESS" and inline.total_requests == 1, inline
    if hasattr(client.batch.jobs, "delete"):
        client.batch.jobs.delete(job_id=batch.id)


with server(sys.argv[1]) as (url, data):
    for base in [f"{url}/mistral", url]:
        client = Mistral(api_key="k", server_url=base)
        content = data.read_bytes()
        training = client.files.upload(file={"file_name": "train.jsonl", "content": content}, purpose="fine-tune")
        assert client.files.retrieve(file_id=training.id).num_lines == 5
        assert client.files.download(file_id=training.id).read() == content
        assert training.id in [file.id for file in client.files.list().data]
        assert client.files.get_signed_url(file_id=training.id).url.startswith(url)
        fails("valid", lambda: client.files.upload(file={"file_name": "bad.jsonl", "content": b"{}\n"}, purpose="fine-tune"))
        model = jobs(client, data, training) if hasattr(client, "fine_tuning") and hasattr(client.fine_tuning, "jobs") else "tiny"
        assert model in [card.id for card in client.models.list().data]
        assert client.models.retrieve(model_id=model).id == model
        answer = client.chat.complete(model=model, messages=ASK, temperature=0, max_tokens=8)
        text = answer.choices[0].message.content
        assert text and answer.usage.completion_tokens > 0, answer
        stream = client.chat.stream(model=model, messages=ASK, temperature=0, max_tokens=8)
        assert "".join(event.data.choices[0].delta.content or "" for event in stream) == text
        fails("there is no model `nope`", lambda: client.chat.complete(model="nope", messages=ASK))
        batches(client, model)
        if model != "tiny":
            assert client.models.delete(model_id=model).deleted
        assert client.files.delete(file_id=training.id).deleted
        fails("there is no file", lambda: client.files.retrieve(file_id=training.id))
print(f"mistralai {VERSION}: files, jobs where it has them, models, chat, streams, batches and errors work")
