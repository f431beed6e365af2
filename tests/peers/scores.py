"""Random answers scored by the published metric code, as a file of the layout of fixtures/score/metric_vectors.jsonl.gz.

    scores.py OUT [ROWS]
    PIXTUNE_METRIC_VECTORS=OUT cargo test -p pixtune-core --test score scores_match

lm-eval's `tasks/chartqa` has mistral-evals' relaxed correctness, lmms-eval has its own, ANLS and VQA accuracy. Both packages
load whole frameworks when they are imported, so that only the files and functions with the metrics are run.
"""

import ast
import importlib.metadata
import json
import random
import sys


def source(package, path):
    """The text of a file of an installed package."""
    return importlib.metadata.distribution(package).locate_file(path).read_text()


def module(package, path, without=""):
    text = source(package, path)
    assert without in text, (path, "no longer has what is left out of it")
    names = {}
    exec(compile(text.replace(without, ""), path, "exec"), names)
    return names


def functions(package, path, *wanted):
    """Functions of a module, without their decorators and without the module's imports."""
    tree = ast.parse(source(package, path))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    assert len(found) == len(wanted), (path, wanted)
    for node in found:
        node.decorator_list = []
    names = {}
    exec(compile(ast.Module(found, []), path, "exec"), names)
    return [names[name] for name in wanted]


# lm-eval changed one thing of mistral-evals: it strips punctuation from the end of an answer that is no number.
STRIPPING = """            while prediction and prediction[-1] in string.punctuation:
                prediction = prediction[:-1]
"""
CHARTQA = module("lm-eval", "lm_eval/tasks/chartqa/utils.py", STRIPPING)
EXPLICIT = CHARTQA["ExplicitPromptRelaxedCorrectness"]()
METRICS = {
    "relaxed_correctness": CHARTQA["RelaxedCorrectness"]().score,
    "explicit_prompt_relaxed_correctness": EXPLICIT.score,
    "anywhere_in_answer_relaxed_correctness": CHARTQA["AnywhereInAnswerRelaxedCorrectness"]().score,
}
(RELAXED,) = functions("lmms-eval", "lmms_eval/tasks/chartqa/utils.py", "relaxed_correctness")
_, ANLS = functions("lmms-eval", "lmms_eval/api/metrics.py", "levenshtein_distance", "anls")
PROCESSOR = module("lmms-eval", "lmms_eval/tasks/_task_utils/vqa_eval_metric.py")["EvalAIAnswerProcessor"]
(VQA,) = functions("lmms-eval", "lmms_eval/tasks/vqav2/utils.py", "vqav2_process_results")
VQA.__globals__.update(EvalAIAnswerProcessor=PROCESSOR, statistics=__import__("statistics"))
METRICS["relaxed_correctness_lmms"] = lambda answer, references: float(max(RELAXED(answer, ref) for ref in references))
METRICS["anls_official"] = lambda answer, references: float(ANLS(references, [answer])["anls"])


def vqa(answer, references):
    answers = [{"answer": reference, "answer_id": index} for index, reference in enumerate(references)]
    return float(VQA({"answers": answers, "question_id": 0}, [answer])["exact_match"])


METRICS["vqa_lmms"] = vqa

WORDS = [
    "cat", "the cat", "A", "b", "Yes", "no", "New York", "dont", "it's", "two", "10", "none", "Ford.", "u.s.a.", "İstanbul", "ΣΑΣ", "straße",
    "n/a", "inf", "nan", "infinity", "½", "²", "٣٤", "Ⅷ", "ⓐ", "", " ", "\u00a0", "\u001c", "\u0085", "\t", "\n", "\n\n", "'", '"', '"x"', "''",
    "%", "5%", "$5", "€", "1,000", "1,,0", "1_0", "1e3", "1E-5", "-0", "0.0", ".5", "5.", "00", "007", "1e400", "0x1", "-4.5", "+3", "1234567.25",
    "is", "was", "are", "answer", "Answer:", "final answer:", "FINAL ANSWER:", "Answer**:**", "**answer**:", "*", "**", "_", "[", "]", "(B)", ":", ".",
    "..", ",", ";", "?", "!", "-", "/", "\\", "`", "@", "=", "+", "<", ">", "{", "}", "#", "~", "^", "&",
]


def number(rng):
    value = rng.choice([rng.randint(-50, 50), rng.random() * 10 ** rng.randint(-6, 8), rng.randint(0, 10**9)])
    forms = ["{}", "{:.1f}", "{:.2f}", "{:,}", "${:,}", "{}%", "{:e}", "{:g}"]
    return rng.choice(forms).format(value)


def phrase(rng, longest):
    pieces = [number(rng) if rng.random() < 0.25 else rng.choice(WORDS) for _ in range(rng.randint(0, longest))]
    return rng.choice(["", " ", " ", "\n"]).join(pieces)


def near(rng, text):
    """The text with a small change, so that scores are not all 0."""
    change = rng.randrange(6)
    if change == 0:
        return text.upper()
    if change == 1:
        return text + rng.choice(WORDS)
    if change == 2 and text:
        at = rng.randrange(len(text))
        return text[:at] + text[at + 1 :]
    if change == 3:
        return "so it is " + text + "."
    if change == 4:
        return "Final Answer: " + text
    return text


def row(rng, index):
    references = [phrase(rng, 3) for _ in range(rng.choice([1, 1, 2, 3, 10]))]
    if rng.random() < 0.3:
        references = [rng.choice(references) for _ in range(10)]
    prediction = near(rng, rng.choice(references)) if rng.random() < 0.7 else phrase(rng, 8)
    scores = {}
    for name, metric in METRICS.items():
        try:
            scores[name] = {"score": float(metric(prediction, list(references)))}
        except Exception as error:  # What the code raises is part of what it does.
            scores[name] = {"error": type(error).__name__}
    parsed = EXPLICIT._get_final_answer(prediction)
    return {"id": index, "prediction": prediction, "references": references, "scores": scores, "parsed_answer": parsed}


def main():
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    rng = random.Random(20261128)
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        for index in range(rows):
            out.write(json.dumps(row(rng, index)) + "\n")
    print(f"{rows} random answers, {len(METRICS)} metrics each")


if __name__ == "__main__":
    main()
