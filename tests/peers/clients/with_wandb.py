"""Weights & Biases' own synchronization reads a job of `pixtune serve`, as it reads OpenAI's: with_wandb.py PIXTUNE

Without a network: the run is W&B's offline run, and what needs the service (whether the run is known, inputs by reference) is replaced.
"""

import os
import sys
import tempfile
import time

directory = tempfile.mkdtemp()
os.environ |= {"WANDB_MODE": "offline", "WANDB_DIR": directory, "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}

import openai
import wandb
from serving import server
from wandb.integration.openai.fine_tuning import WandbLogger


def trained(client, data):
    file = client.files.create(file=data.open("rb"), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file.id, hyperparameters={"n_epochs": 2}, suffix="wb")
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job
    return job


def main():
    with server(sys.argv[1]) as (url, data):
        client = openai.OpenAI(base_url=f"{url}/openai/v1", api_key="k")
        job = trained(client, data)
        logged = []
        run = wandb.init(project="pixtune", id=job.id)
        log = run.log
        run.log = lambda metrics, step=None, **more: (logged.append((step, dict(metrics))), log(metrics, step=step, **more))
        inputs, ended, finish = [], {}, run.finish
        run.finish = lambda: (ended.update(dict(run.summary), config=dict(run.config)), finish())
        run.use_artifact = lambda artifact, **more: inputs.append(artifact)
        # It asks the service whether the run is known, which needs a login.
        WandbLogger._logged_in = True
        WandbLogger._get_wandb_run = classmethod(lambda cls, path: None)
        WandbLogger._get_wandb_artifact = classmethod(lambda cls, path: None)
        done = WandbLogger.sync(fine_tune_job_id=job.id, openai_client=client, project="pixtune")
        assert "completed successfully" in done, done
        steps = [step for step, metrics in logged if "train_loss" in metrics]
        assert steps and steps == sorted(set(steps)), logged
        assert (ended["fine_tuned_model"], ended["status"]) == (job.fine_tuned_model, "succeeded"), ended
        assert ended["config"]["fine_tuned_model"] == job.fine_tuned_model, ended
        assert [artifact.type for artifact in inputs] == ["training_files"] and inputs[0].manifest.entries, inputs
        print(f"wandb {wandb.__version__}: {len(steps)} steps of {job.id} are logged, with its configuration and data")


main()
