"""The commands as functions do what the program does: the same options, bytes, findings, reports and messages."""

import dataclasses
import inspect
import json
import pickle
import unittest

import pixtune
from harness import EXAMPLE, MESSY, ROOT, Case, lines
from pixtune import _core

# Options of the program that a function has no use for.
PRINTING = {"format", "show-plan", "statistics", "inspect"}
# Options of a run on a cluster, which has a process of its own.
CLUSTER = {"engine", "address", "python", "write-plan"}


def as_printed(finding):
    """A finding as the program prints it as JSON."""
    fields = dataclasses.asdict(finding)
    for optional in ("column", "source"):
        if fields[optional] is None:
            del fields[optional]
        elif optional == "source":
            fields["source"]["images"] = list(fields["source"]["images"])
    return fields


class Commands(Case):
    def test_every_option_is_a_keyword(self):
        commands = {
            "prepare": pixtune.prepare,
            "check": pixtune.check,
            "fix": pixtune.fix,
            "convert": pixtune.convert,
            "adapter check": pixtune.adapter_check,
        }
        for command, function in commands.items():
            keywords = set(inspect.signature(function).parameters) - {"progress", "on_finding"}
            flags = {"no-measure" if name == "measure" else name for name in _core.flags(command)} - PRINTING - CLUSTER
            named = {"no-measure" if name == "measure" else name.rstrip("_").replace("_", "-") for name in keywords}
            positional = {"inputs", "files", "file", "source", "target", "adapter"} - flags
            self.assertEqual(named - positional, flags, command)

    def test_prepare_writes_the_same_bytes(self):
        self.program("prepare", EXAMPLE, "--out", self.path / "program", "--dedup", "near", "--seed", 7, "--quiet")
        made = pixtune.prepare(EXAMPLE, self.path / "function", dedup="near", seed=7, threads=3)
        self.assert_same_files(self.path / "function", self.path / "program")
        self.assertEqual((made.rows, made.train + made.validation + made.rejected), (60, 60))
        self.assertEqual({file.path for file in made.outputs} - {"rejected.jsonl"}, {"train.jsonl", "validation.jsonl"})

    def test_prepare_finds_the_same(self):
        printed, _ = self.program(
            "prepare", MESSY, "--out", self.path / "program", "--format", "json", code=1
        )
        *findings, summary = lines(printed)
        made = pixtune.prepare([MESSY], self.path / "function")
        self.assertEqual([as_printed(finding) for finding in made.findings], findings)
        fields = dataclasses.asdict(made)
        for name, value in summary.items():
            self.assertEqual(list(fields[name]) if name == "outputs" else fields[name], value, name)
        self.assertTrue(any("columns guessed" in note for note in made.notes), made.notes)
        # The text of a finding is what the program prints for people.
        _, shown = self.program("prepare", MESSY, "--out", self.path / "human", code=1)
        self.assertIn(str(made.findings[0]), shown)

    def test_check_finds_the_same(self):
        file = sorted((ROOT / "fixtures/check").glob("*.jsonl"))[0]
        files = sorted((ROOT / "fixtures/check").glob("*.jsonl"))[:40]
        self.assertTrue(file.exists())
        for options in ({}, {"target": "openai", "verify": "full"}):
            words = [f"--{name}={value}" for name, value in options.items()]
            printed, _ = self.program("check", *files, "--format", "json", "--exit-zero", *words)
            found = pixtune.check(files, **options)
            self.assertEqual([as_printed(finding) for finding in found.findings], lines(printed))
            self.assertEqual(found.errors, sum(finding.severity == "error" for finding in found.findings))
            self.assertEqual(found.files, len(files))

    def test_findings_can_be_streamed(self):
        files = sorted((ROOT / "fixtures/check").glob("*.jsonl"))[:10]
        seen = []
        found = pixtune.check(files, on_finding=seen.append)
        self.assertEqual(found.findings, ())
        self.assertEqual(tuple(seen), pixtune.check(files).findings)

    def test_fix_writes_the_same_bytes(self):
        file = self.path / "rows.jsonl"
        row = {"messages": [{"role": "user", "content": "a", "name": None}, {"role": "assistant", "content": "b"}], "id": 1}
        file.write_text(json.dumps(row) + "\n" + '{"messages": []}\n')
        printed, _ = self.program(
            "fix", file, "--out", self.path / "program.jsonl", "--format", "json", "--exit-zero"
        )
        fixed = pixtune.fix(file, self.path / "function.jsonl")
        self.assertEqual((self.path / "function.jsonl").read_bytes(), (self.path / "program.jsonl").read_bytes())
        log = [dataclasses.asdict(change) for change in fixed.changes] + [as_printed(left) for left in fixed.findings]
        key = lambda entry: json.dumps(entry, sort_keys=True)  # noqa: E731
        self.assertEqual(sorted(log, key=key), sorted(lines(printed), key=key))
        self.assertEqual((fixed.samples, fixed.changed_lines, fixed.bad_samples), (2, 1, 1))

    def test_convert_and_adapter_check_report_the_same(self):
        source = ROOT / "fixtures/tiny_pixtral/native_bf16"
        words = ["convert", source, self.path / "program", "--to", "hf", "--verify"]
        _, shown = self.program(*words)
        printed, _ = self.program(*words, "--force", "--format", "json")
        report = pixtune.convert(source, self.path / "function", to="hf", verify=True)
        notes = [line.removeprefix("warning: ") for line in shown.splitlines()]
        self.assertEqual(report.pop("notes"), notes)
        self.assertEqual(report, json.loads(printed))
        self.assert_same_files(self.path / "function", self.path / "program")
        adapter = next(ROOT.glob("fixtures/tiny_pixtral/*/adapter_config.json")).parent
        base = ROOT / "fixtures/tiny_pixtral/hf_bf16"
        printed, _ = self.program(
            "adapter", "check", adapter, "--base", base, "--server", "transformers", "--format", "json", "--exit-zero"
        )
        *modules, total = lines(printed)
        checked = pixtune.adapter_check(adapter, base=base, server="transformers")
        self.assertEqual([dataclasses.asdict(module) for module in checked.modules], modules)
        self.assertEqual((checked.applied, checked.version), (total["applied"], total["version"]))
        self.assertEqual(checked.all_applied, total["applied"] == len(modules) and not total["problems"])

    def test_score_is_that_of_evaluate(self):
        data, answers = self.path / "data.jsonl", self.path / "answers.jsonl"
        wanted = ["0.5", "Paris, France", "12", "a cat"]
        given = ["0.51", "paris france", "13", "The answer is a cat."]
        talk = lambda text: {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]}  # noqa: E731
        data.write_text("".join(json.dumps(talk(text)) + "\n" for text in wanted))
        answers.write_text("".join(json.dumps({"line": at, "prediction": text}) + "\n" for at, text in enumerate(given, 1)))
        for metric in ("exact", "relaxed", "anls", "contains"):
            out = self.path / metric
            self.program("evaluate", data, "--predictions", answers, "--out", out, "--metric", metric, "--quiet")
            printed = [row["score"] for row in lines((out / "predictions.jsonl").read_text())]
            self.assertEqual(pixtune.score(given, wanted, metric=metric), printed, metric)
        self.assertEqual(pixtune.score("2,000", ["2000", "3"], metric="relaxed"), 1.0)
        with self.assertRaisesRegex(pixtune.Error, "nearest|known|`exakt`|exact"):
            pixtune.score("a", "a", metric="exakt")

    def test_errors_have_the_message_of_the_program(self):
        cases = [
            (["prepare", "missing.csv", "--out", "out"], lambda: pixtune.prepare("missing.csv", "out")),
            (["prepare", EXAMPLE, "--out", "out", "--dedup", "all"], lambda: pixtune.prepare(EXAMPLE, "out", dedup="all")),
            (["check", "missing.jsonl"], lambda: pixtune.check("missing.jsonl")),
            (["check", EXAMPLE, "--select", "no-rule"], lambda: pixtune.check(EXAMPLE, select="no-rule")),
            (["convert", "a", "b", "--to", "hf"], lambda: pixtune.convert("a", "b", to="hf")),
            (["tokens", "a", "--model", "pixtrall"], lambda: pixtune.tokens([], model="pixtrall")),
        ]
        for words, call in cases:
            _, printed = self.program(*words, code=2)
            with self.assertRaises(pixtune.Error) as raised:
                call()
            error = raised.exception
            hint = f"\n  hint: {error.hint}" if error.hint else ""
            self.assertTrue(printed.startswith(f"error: {error}{hint}"), (printed, str(error), error.hint))
            self.assertEqual(getattr(error, "__notes__", []), [f"hint: {error.hint}"] if error.hint else [])

    def test_progress_reaches_a_bar(self):
        class Bar:
            n, total = 0, None

            def update(self, n=1):
                self.n += n

        bar, seen = Bar(), []
        pixtune.prepare(EXAMPLE, self.path / "bar", progress=bar)
        self.assertEqual((bar.n, bar.total), (EXAMPLE.stat().st_size, EXAMPLE.stat().st_size))
        pixtune.check(self.path / "bar", progress=lambda done, total: seen.append((done, total)))
        self.assertEqual(seen[-1][0], seen[-1][1])

    def test_an_exception_of_a_callback_ends_the_run(self):
        class Stop(Exception):
            pass

        def stop(*_):
            raise Stop("enough")

        with self.assertRaisesRegex(Stop, "enough"):
            pixtune.prepare(MESSY, self.path / "out", on_finding=stop)
        self.assertFalse((self.path / "out").exists())

    def test_results_can_be_pickled(self):
        made = pixtune.prepare(MESSY, self.path / "out")
        self.assertEqual(pickle.loads(pickle.dumps(made)), made)
        refused = pixtune.Refused("no", made.findings[:1])
        self.assertEqual(pickle.loads(pickle.dumps(refused)).findings, made.findings[:1])


if __name__ == "__main__":
    unittest.main()
