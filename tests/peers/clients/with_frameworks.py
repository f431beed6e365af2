"""LiteLLM, LangChain and LlamaIndex reach `pixtune serve` through their own code: with_frameworks.py PIXTUNE"""

import base64
import contextlib
import importlib.metadata
import importlib.util
import io
import os
import sys
import time
import types

# Prices are built in; they are not to be fetched.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}

import litellm
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_mistralai import ChatMistralAI
from langchain_openai import ChatOpenAI
from serving import ROOT, server

# The package's own `__init__` imports PyTorch and Cohere for other engines.
package = types.ModuleType("llama_index.finetuning")
package.__path__ = importlib.util.find_spec("llama_index.finetuning").submodule_search_locations
sys.modules["llama_index.finetuning"] = package
from llama_index.finetuning.openai.base import OpenAIFinetuneEngine

IMAGE = "data:image/png;base64," + base64.b64encode((ROOT / "fixtures/images/grad_64x48.png").read_bytes()).decode()
PARTS = [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": IMAGE}}]


def with_litellm(url, data):
    """Files and jobs as LiteLLM's proxy asks for them, then chats through both of its providers."""
    openai = {"custom_llm_provider": "openai", "api_base": f"{url}/openai/v1", "api_key": "k"}
    file = litellm.create_file(file=data.open("rb"), purpose="fine-tune", **openai)
    assert file.id in [other.id for other in litellm.file_list(**openai)], file
    job = litellm.create_fine_tuning_job(model="tiny", training_file=file.id, hyperparameters={"n_epochs": 1}, suffix="lite", **openai)
    while (job := litellm.retrieve_fine_tuning_job(fine_tuning_job_id=job.id, **openai)).status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
    assert job.status == "succeeded", job
    assert job.id in [other.id for other in litellm.list_fine_tuning_jobs(limit=5, **openai)]
    ask = {"messages": [{"role": "user", "content": PARTS}], "max_tokens": 6, "temperature": 0, "api_key": "k"}
    texts = set()
    for provider, base in (("openai", f"{url}/openai/v1"), ("mistral", f"{url}/mistral/v1"), ("hosted_vllm", f"{url}/v1")):
        answer = litellm.completion(model=f"{provider}/{job.fine_tuned_model}", api_base=base, **ask)
        assert answer.usage.completion_tokens > 0, answer
        stream = litellm.completion(model=f"{provider}/{job.fine_tuned_model}", api_base=base, stream=True, **ask)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert streamed == answer.choices[0].message.content, (provider, streamed)
        texts.add(streamed)
    assert len(texts) == 1, texts
    try:
        litellm.completion(model="openai/nope", api_base=f"{url}/openai/v1", **ask)
    except litellm.NotFoundError as error:
        assert "there is no model `nope`" in str(error), error
    else:
        raise AssertionError("an unknown model is answered")
    return job.fine_tuned_model, texts.pop()


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return city


def with_langchain(url, model, expected):
    openai = ChatOpenAI(model=model, base_url=f"{url}/openai/v1", api_key="k", temperature=0, max_tokens=6)
    mistral = ChatMistralAI(model=model, base_url=f"{url}/mistral/v1", api_key="k", temperature=0, max_tokens=6)
    for chat in (openai, mistral):
        answer = chat.invoke([HumanMessage(content=PARTS)])
        assert answer.content == expected and answer.usage_metadata["output_tokens"] > 0, (answer, expected)
        assert "".join(chunk.content for chunk in chat.stream([HumanMessage(content=PARTS)])) == expected
        both = chat.batch([[HumanMessage(content=PARTS)], [HumanMessage(content="say hello")]])
        assert both[0].content == expected and len(both) == 2
        # The tiny model calls nothing; the request with tools has to be understood.
        chat.bind_tools([weather]).invoke("say hello")


def with_llama_index(url, data):
    """Its engine takes the URL from the environment of the openai client."""
    os.environ |= {"OPENAI_BASE_URL": f"{url}/openai/v1", "OPENAI_API_KEY": "k"}
    engine = OpenAIFinetuneEngine("tiny", str(data), validate_json=False)
    engine.finetune()
    while (status := engine.get_current_job().status) not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
    assert status == "succeeded", engine.get_current_job()
    assert engine.get_finetuned_model(temperature=0).model.startswith("ft:"), engine.get_current_job()


with server(sys.argv[1]) as (url, data):
    # LiteLLM prints advice about providers.
    with contextlib.redirect_stdout(io.StringIO()):
        model, text = with_litellm(url, data)
    with_langchain(url, model, text)
    with_llama_index(url, data)
versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("litellm", "langchain-openai", "langchain-mistralai", "llama-index-finetuning"))
print(f"{versions}: files, jobs, chats with images, streams, batches, tools and errors work")
