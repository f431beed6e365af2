"""CPU-seconds of json.loads and of mistral-common's validation on files: rivals.py FILE..."""
import json
import sys
import time

from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import MistralRequestValidatorV3, ValidationMode

validator = MistralRequestValidatorV3(mode=ValidationMode.finetuning)


def loads(line):
    json.loads(line)


def validates(line):
    validator.validate_request(ChatCompletionRequest.model_validate({"model": "x", **json.loads(line)}))


for path in sys.argv[1:]:
    for name, work in [("json.loads", loads), ("mistral-common validation", validates)]:
        start, done, refused = time.process_time(), 0, 0
        with open(path, "rb") as lines:
            for line in lines:
                done += len(line)
                try:
                    work(line)
                except Exception:
                    refused += 1
        seconds = time.process_time() - start
        print(f"{path}  {name}: {seconds:.2f} CPU-s, {done / seconds / 1e6:.0f} MB per CPU-s, {refused} refused")
