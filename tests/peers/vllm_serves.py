"""vLLM computes what `pixtune adapter check` reports, and answers what `pixtune generate` answers with the directories and the
start commands of `pixtune deploy`.

    vllm_serves.py PIXTUNE OUT [--write]

1. For both formats, with and without `--enable-tower-connector-lora`: adapters of five target sets in four dialects, and adapters
   with unusual names, ranks, scalings and tensors. The verdicts of `adapter check` state which modules the server applies, so they
   decide a model: the base of transformers plus exactly those changes. vLLM's log-probabilities over the whole vocabulary have to
   be those of that model; where a verdict is `rejected`, vLLM has to refuse the adapter.
2. The directories of `deploy` are served by the printed commands, and asked with an image. Only with release 0.32: there is no wheel for
   CPUs of 0.33, whose Python code does 1 with the kernels of 0.32.

The table and the number in docs/serving.md have to be what was measured; `--write` writes them. OUT/table.json has every run.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request

os.environ |= {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING", "TOKENIZERS_PARALLELISM": "false",
}

import numpy as np

import serving
from serving import FIXTURE, GREEDY, IMG, ROOT, TOLERANCE, expanded, picture, prompts, tool

# The release that docs/serving.md shows, whose start commands are run.
SHOWN = "0.32"
# Adapters that `adapter check` refuses to judge (exit code 2), and vLLM loads: pixtune is stricter.
STRICTER = {"extra-tensor"}
# Sides that are no multiples of 16: every server resizes this image in its own way. One more token row and column than fit.
RESIZED = ([1, 3, IMG, 150, 250, 4, 350], [(100, 50)])


# ---------------------------------------------------------------- what vLLM computes


def serve(directory, server, tower, listed, out):
    """In a process of its own: loads every adapter and writes log-probabilities, or why it is refused."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    more = dict(tokenizer_mode="mistral", config_format="mistral", load_format="mistral") if server == "vllm-mistral" else {}
    if tower:
        more["enable_tower_connector_lora"] = True
    llm = LLM(
        model=str(directory), dtype="float32", max_model_len=1024, max_num_seqs=4, enforce_eager=True, max_logprobs=-1, seed=0,
        limit_mm_per_prompt={"image": 4}, enable_prefix_caching=False, enable_lora=True, max_lora_rank=16, max_loras=1, **more,
    )
    results = {}

    def run(tag, request, asked=prompts()):
        for name, (ids, sizes) in asked.items():
            given = {"prompt_token_ids": expanded(ids, sizes) if server == "vllm-mistral" else ids}
            if sizes:
                given["multi_modal_data"] = {"image": [picture(size, seed) for seed, size in enumerate(sizes)]}
            params = SamplingParams(temperature=0, max_tokens=GREEDY, prompt_logprobs=-1, logprobs=-1, ignore_eos=True, detokenize=False)
            [answer] = llm.generate([given], params, lora_request=request, use_tqdm=False)
            assert list(answer.prompt_token_ids) == expanded(ids, sizes), f"{name}: vLLM expands images differently"
            rows = list(answer.prompt_logprobs[1:]) + list(answer.outputs[0].logprobs)
            values = np.full((len(rows), 400), -np.inf, np.float32)
            for index, row in enumerate(rows):
                for token, entry in row.items():
                    if token < 400:
                        values[index, token] = entry.logprob
            results[f"{tag}|{name}"] = values
            results[f"{tag}|{name}|tokens"] = np.array(answer.outputs[0].token_ids)

    run("base", None)
    run("resized", None, {"image": RESIZED})
    for index, (name, path) in enumerate(json.loads(pathlib.Path(listed).read_text()).items()):
        try:
            request = LoRARequest(name.replace(" ", "-"), index + 1, path)
            llm.llm_engine.add_lora(request)
            run(name, request)
        except Exception as error:
            results[f"{name}|refused"] = np.array(f"{type(error).__name__}: {error}"[:300])
    np.savez(out, **results)
    # vLLM's threads would keep the process alive.
    os._exit(0)


def release():
    import vllm

    return ".".join(vllm.__version__.split(".")[:2])


def compare(pixtune, work, reference, adapters):
    listed = work / "adapters.json"
    listed.write_text(json.dumps({name: str(path) for name, path in adapters.items()}))
    table, failures, resized = [], [], {}
    for server, directory in (("vllm-hf", work / "hf"), ("vllm-mistral", work / "mistral")):
        for tower in (False, True):
            began, out = time.time(), work / f"{server}-{tower}.npz"
            log = work / f"{server}-{tower}.log"
            command = [sys.executable, __file__, "--serve", str(directory), server, str(int(tower)), str(listed), str(out)]
            with log.open("w") as file:
                code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
            assert out.exists(), f"vLLM ended with {code}:\n{log.read_text()[-4000:]}"
            found = np.load(out)
            check_base(found, reference, server)
            resized[server] = found["resized|image"]
            rows = [judge(pixtune, found, reference, server, tower, name, path, directory) for name, path in adapters.items()]
            table += rows
            failures += [row for row in rows if row["problem"]]
            print(f"{server}{' --enable-tower-connector-lora' if tower else ''}: {len(rows)} adapters, "
                  f"log-probabilities within {max(row['error'] for row in rows):.1e}, {time.time() - began:.0f} s", flush=True)
    for row in failures:
        print(f"{row['server']} tower={row['tower']} {row['adapter']}: {row['problem']}")
    assert not failures, f"{len(failures)} verdicts are wrong"
    rows = len(expanded(*RESIZED))
    effect = float(np.abs(resized["vllm-hf"][:rows] - resized["vllm-mistral"][:rows]).max())
    print(f"an image of {RESIZED[1][0]} pixels: log-probabilities of the two formats differ by {effect:.2f}")
    assert effect > TOLERANCE, "both formats resize alike: docs/serving.md states that they do not"
    return table, effect


def distance(found, tag, expected):
    """The largest difference of log-probabilities, and whether all greedy tokens are the same."""
    worst, same = 0.0, True
    for name, (values, tokens) in expected.items():
        rows = len(found[f"{tag}|{name}"]) - GREEDY + 1
        worst = max(worst, float(np.abs(found[f"{tag}|{name}"][:rows] - values[:rows]).max()))
        same &= found[f"{tag}|{name}|tokens"].tolist() == tokens
    return worst, same


def check_base(found, reference, server):
    worst, same = distance(found, "base", reference.log_probabilities({}))
    assert worst < TOLERANCE and same, f"{server} without an adapter: log-probabilities differ by {worst}"


def judge(pixtune, found, reference, server, tower, name, path, base):
    command = [pixtune, "adapter", "check", path, "--base", base, "--server", f"{server}@{release()}", "--format", "json"]
    run = subprocess.run(command + ["--enable-tower-connector-lora"] * tower, capture_output=True, text=True)
    row = {"server": server, "tower": tower, "adapter": name, "verdicts": {}, "error": 0.0, "problem": None}
    refused = str(found[f"{name}|refused"]) if f"{name}|refused" in found.files else None
    if run.returncode == 2:
        row["verdicts"] = {"refused by pixtune": 1}
        if name not in STRICTER:
            row["problem"] = f"`adapter check` fails: {run.stderr.strip()}"
        return row
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    verdicts = [line for line in lines if "module" in line]
    for line in verdicts:
        row["verdicts"][line["verdict"]] = row["verdicts"].get(line["verdict"], 0) + 1
    if "rejected" in row["verdicts"]:
        if refused is None:
            row["problem"] = "`adapter check` reports that vLLM rejects it, and vLLM loads it"
        return row
    if refused is not None:
        row["problem"] = f"vLLM refuses it ({refused}), and the verdicts are {row['verdicts']}"
        return row
    changes = reference.changes(path, verdicts, server)
    row["error"], same = distance(found, name, reference.log_probabilities(changes))
    if row["error"] > TOLERANCE or not same:
        row["problem"] = f"log-probabilities differ by {row['error']:.1e} from what the verdicts {row['verdicts']} state"
    return row


# ---------------------------------------------------------------- what the start commands serve


def started(command, port, log):
    """The server of a printed command. The wheel for CPUs has no `vllm` program, and its module takes the same options."""
    words = shlex.split(command)
    assert words[:2] == ["vllm", "serve"], command
    module = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", words[2], *words[3:]]
    # Only what a small machine needs is added, and f32 to compare exact answers.
    module += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "1024", "--max-num-seqs", "4", "--dtype", "float32", "--enforce-eager"]
    process = subprocess.Popen(module, stdout=log.open("w"), stderr=subprocess.STDOUT)
    # 40 s on an idle machine.
    for _ in range(900):
        assert process.poll() is None, f"`{command}` ended:\n{log.read_text()[-4000:]}"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            return process
        except OSError:
            time.sleep(1)
    process.kill()
    raise AssertionError(f"`{command}` does not answer:\n{log.read_text()[-4000:]}")


def chat(pixtune, work):
    expected = serving.tuned(pixtune, work, work / "hf")
    rows = []
    for index, (target, more, model) in enumerate((
        ("vllm", ["--adapter", "merge"], work / "hf"), ("vllm", ["--adapter", "beside"], work / "hf"),
        ("vllm-mistral", ["--adapter", "merge"], work / "hf"), ("vllm-mistral", ["--adapter", "beside"], work / "mistral"),
    )):
        out = work / f"served-{index}"
        report = json.loads(tool(pixtune, "deploy", model, work / "run", "--for", target, *more, "--out", out, "--base", work / "native", "--format", "json", "--quiet"))
        [command] = report["start"]
        began = time.time()
        process = started(command, 18431 + index, work / f"served-{index}.log")
        try:
            answer = serving.ask(18431 + index, out.name)
        finally:
            process.terminate()
            process.wait(60)
        assert answer == expected, f"`{command}` answers {answer!r}, and `pixtune generate` {expected!r}"
        shown = command.replace(str(work) + "/", "")
        print(f"`{shown}`: {answer!r}, as `pixtune generate`, {time.time() - began:.0f} s", flush=True)
        rows.append({"command": shown, "answer": answer})
    return rows


# ---------------------------------------------------------------- the page


def page_table(rows):
    """What became of the unusual adapters, which are those without a dialect in their names."""
    columns = [(server, tower) for server in ("vllm-hf", "vllm-mistral") for tower in (False, True)]
    names = [f"`{server}`{' with the flag' if tower else ''}" for server, tower in columns]
    lines = [f"| adapter | {' | '.join(names)} |", "|---" * (len(columns) + 1) + "|"]
    found = {(row["adapter"], row["server"], row["tower"]): row["verdicts"] for row in rows}
    for adapter in dict.fromkeys(row["adapter"] for row in rows if " as " not in row["adapter"]):
        cells = []
        for server, tower in columns:
            verdicts = found[adapter, server, tower]
            counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
            cells.append(next(iter(verdicts)) if len(verdicts) == 1 else counted)
        lines.append(f"| {adapter.replace('-', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def check_page(rows, effect, write):
    path = ROOT / "docs/serving.md"
    page = path.read_text()
    start, end = "<!-- measured with vLLM -->\n", "<!-- end -->"
    before, rest = page.split(start)
    written = f"{before}{start}\n{page_table(rows)}\n{end}{rest.split(end, 1)[1]}"
    written = re.sub(r"(<!-- resized -->)[ 0-9.]*", rf"\1 {effect:.1f} ", written)
    if write:
        path.write_text(written)
    assert written == path.read_text(), "docs/serving.md is not what was measured: run this script with --write"


def main():
    pixtune, work = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
    work.mkdir(parents=True)
    shutil.copytree(FIXTURE / "native_bf16", work / "native")
    shutil.copy(ROOT / "fixtures/tiny_tekken/tekken.json", work / "native")
    for target, name in (("vllm", "hf"), ("vllm-mistral", "mistral")):
        tool(pixtune, "deploy", work / "native", "--for", target, "--dtype", "f32", "--out", work / name, "--quiet")
    import vllm

    print(f"vLLM {vllm.__version__}", flush=True)
    is_shown = release() == SHOWN
    answers = chat(pixtune, work) if is_shown else []
    adapters = serving.matrix(pixtune, work) | serving.edges(work)
    table, effect = compare(pixtune, work, serving.Reference(work / "hf"), adapters)
    measured = {"vllm": vllm.__version__, "resized": effect, "adapters": table, "answers": answers}
    (work / "table.json").write_text(json.dumps(measured, indent=1))
    if is_shown:
        check_page(table, effect, "--write" in sys.argv)


if sys.argv[1] == "--serve":
    serve(pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "1", sys.argv[5], sys.argv[6])
else:
    main()
