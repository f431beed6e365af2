"""OpenAI's client before 1.0 does its whole workflow with `pixtune serve`: with_openai_0.py PIXTUNE"""

import base64
import io
import sys
import time

import openai
from serving import server

with server(sys.argv[1]) as (url, data):
    for base in [f"{url}/openai/v1", f"{url}/v1"]:
        openai.api_base, openai.api_key = base, "k"
        training = openai.File.create(file=open(data, "rb"), purpose="fine-tune")
        assert openai.File.retrieve(training.id).status == "processed"
        assert openai.File.download(training.id) == data.read_bytes()
        try:
            openai.File.create(file=io.BytesIO(b"{}\n"), purpose="fine-tune")
            raise AssertionError("a file without a valid sample was taken")
        except openai.error.OpenAIError as error:
            assert "valid" in str(error), error
        job = openai.FineTuningJob.create(model="tiny", training_file=training.id, hyperparameters={"n_epochs": 2})
        while (job := openai.FineTuningJob.retrieve(job.id)).status not in ("succeeded", "failed", "cancelled"):
            time.sleep(0.2)
        assert job.status == "succeeded", job
        events = openai.FineTuningJob.list_events(id=job.id, limit=3).data
        assert events[0].message == "The job has successfully completed", events
        assert base64.b64decode(openai.File.download(job.result_files[0])).startswith(b"step,train_loss")
        messages = [{"role": "user", "content": "say hello"}]
        answer = openai.ChatCompletion.create(model=job.fine_tuned_model, messages=messages, temperature=0, max_tokens=4)
        stream = openai.ChatCompletion.create(model=job.fine_tuned_model, messages=messages, temperature=0, max_tokens=4, stream=True)
        assert "".join(chunk.choices[0].delta.get("content", "") for chunk in stream) == answer.choices[0].message.content
        assert openai.Model.delete(job.fine_tuned_model).deleted
        try:
            openai.ChatCompletion.create(model="nope", messages=messages)
            raise AssertionError("a model that does not exist answered")
        except openai.error.InvalidRequestError as error:
            assert "there is no model `nope`" in str(error), error
        assert openai.File.delete(training.id).deleted
print(f"openai {openai.version.VERSION}: files, jobs, models, chat, streams and errors work")
