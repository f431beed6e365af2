"""Mistral's client before 1.0 does its whole workflow with `pixtune serve`: with_mistral_0.py PIXTUNE"""

import sys
import time

from mistralai.client import MistralClient
from mistralai.exceptions import MistralAPIException
from mistralai.models.chat_completion import ChatMessage
from mistralai.models.jobs import TrainingParameters

from serving import server

with server(sys.argv[1]) as (url, data):
    for base in [f"{url}/mistral", url]:
        client = MistralClient(api_key="k", endpoint=base)
        training = client.files.create(file=("train.jsonl", data.read_bytes()))
        assert client.files.retrieve(training.id).id == training.id and client.files.list().data
        job = client.jobs.create(
            model="pixtral-12b-2409",
            training_files=[training.id],
            validation_files=[training.id],
            hyperparameters=TrainingParameters(training_steps=4, learning_rate=1e-3),
        )
        dry = client.jobs.create(model="tiny", training_files=[training.id], hyperparameters=TrainingParameters(training_steps=4), dry_run=True)
        assert dry.training_steps == 4, dry
        while (job := client.jobs.retrieve(job.id)).status not in ("SUCCESS", "FAILED", "CANCELLED"):
            time.sleep(0.2)
        assert job.status == "SUCCESS" and job.checkpoints, job
        assert [other.id for other in client.jobs.list(page=0, page_size=10).data] == [job.id]
        other = client.jobs.create(model="tiny", training_files=[training.id], hyperparameters=TrainingParameters(training_steps=9999))
        assert client.jobs.cancel(other.id).status in ("CANCELLED", "CANCELLATION_REQUESTED")
        while client.jobs.retrieve(other.id).status != "CANCELLED":
            time.sleep(0.2)
        messages = [ChatMessage(role="user", content="say hello")]
        answer = client.chat(model=job.fine_tuned_model, messages=messages, temperature=0, max_tokens=4).choices[0].message.content
        stream = client.chat_stream(model=job.fine_tuned_model, messages=messages, temperature=0, max_tokens=4)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == answer
        try:
            client.chat(model="nope", messages=messages)
            raise AssertionError("a model that does not exist answered")
        except MistralAPIException as error:
            assert "there is no model `nope`" in str(error), error
        assert client.files.delete(training.id).deleted
        client.delete_model(job.fine_tuned_model)
        # The next base URL starts with no jobs of its own in the list.
        break
    client = MistralClient(api_key="k", endpoint=url)
    assert client.files.list().data == []
print("mistralai 0.4.2: files, jobs, models, chat, streams and errors work")
