#!/usr/bin/env python3
"""mistral-common and tiktoken on the texts and conversations: prints `name<TAB>what<TAB>number`. `talks.jsonl` is encoded with the
tokenizers of all versions, which `tests/peers/tokens.py` makes."""

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import mistral_common
from mistral_common.protocol.instruct.messages import FinetuningMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests/peers"))
warnings.filterwarnings("ignore")
TEKKEN = Path(mistral_common.__file__).parent / "data/tekken_240911.json"


def best(work, rounds=4):
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main():
    start = time.process_time()
    tokenizer = MistralTokenizer.from_file(str(TEKKEN), mode=ValidationMode.finetuning)
    print(f"mistral-common\tload (ms)\t{1e3 * (time.process_time() - start):.1f}")
    tekken = tokenizer.instruct_tokenizer.tokenizer
    for path in map(Path, sys.argv[1:]):
        if path.name == "talks.jsonl":
            versions(path)
            continue
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            def chats():
                return sum(
                    len(tokenizer.encode_chat_completion(ChatCompletionRequest[FinetuningMessage].model_validate(json.loads(line))).tokens)
                    for line in lines
                )
            print(f"mistral-common\tconversations (ids)\t{chats()}")
            print(f"mistral-common\tconversations, ids and pixels (1/s)\t{len(lines) / best(chats):.0f}")
            continue
        text = path.read_text(encoding="utf-8")
        megabytes = len(text.encode()) / 1e6
        for name, encode in [
            ("mistral-common", lambda text: tekken.encode(text, bos=False, eos=False)),
            ("tiktoken (Python)", tekken._model.encode_ordinary),
        ]:
            print(f"{name}\t{path.stem} (ids)\t{len(encode(text))}")
            print(f"{name}\t{path.stem} (MB/s)\t{megabytes / best(lambda: encode(text)):.1f}")


def versions(path):
    from tokens import MODELS, tokenizer_file

    lines = path.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as directory:
        files = {"v3": TEKKEN} | {version: tokenizer_file(version, directory) for version in MODELS}
        for version, file in files.items():
            tokenizer = MistralTokenizer.from_file(str(file), mode=ValidationMode.finetuning)

            def talks():
                requests = (ChatCompletionRequest[FinetuningMessage].model_validate(json.loads(line)) for line in lines)
                return sum(len(tokenizer.encode_chat_completion(request).tokens) for request in requests)

            print(f"mistral-common\ttalks, {version} (ids)\t{talks()}")
            print(f"mistral-common\ttalks, {version} (MB/s)\t{path.stat().st_size / 1e6 / best(talks, 2):.1f}")


if __name__ == "__main__":
    main()
