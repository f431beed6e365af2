"""Ids, masks and counts in memory are those that `pixtune tokens --ids` prints."""

import base64
import importlib.util
import json
import pickle
import unittest

import numpy as np
import pixtune
from harness import ROOT, Case, lines

TEKKEN = ROOT / "fixtures/tiny_tekken/tekken.json"
IMAGES = sorted((ROOT / "fixtures/images").glob("*.png"))[:12]


def mask(runs):
    return [bool(trained) for trained, length in runs for _ in range(length)]


class Tokens(Case):
    def setUp(self):
        super().setUp()
        self.file = self.prepared() / "train.jsonl"
        self.printed = lines(self.program("tokens", self.file, "--ids")[0])
        self.samples = lines(self.file.read_text())

    def assert_as_printed(self, batch, printed=None):
        printed = self.printed if printed is None else printed
        self.assertEqual(len(batch), len(printed))
        for encoded, counted in zip(map(batch.__getitem__, range(len(batch))), printed):
            self.assertEqual(encoded.ids.tolist(), counted["ids"])
            self.assertEqual(encoded.mask.tolist(), mask(counted["trained_runs"]))
            for name in ("tokens", "text_tokens", "image_tokens", "trained_tokens"):
                self.assertEqual(getattr(encoded.counts, name), counted[name], name)
            images = [vars(image) if hasattr(image, "__dict__") else image for image in encoded.counts.images]
            self.assertEqual(images, counted["images"])

    def test_of_samples(self):
        self.assert_as_printed(pixtune.tokens(self.samples))
        self.assert_as_printed(pixtune.tokens(iter(self.samples), threads=1))
        one = pixtune.tokens(self.samples[3])
        self.assertEqual(one.ids.tolist(), self.printed[3]["ids"])
        self.assertEqual((one.ids.dtype, one.mask.dtype, one.labels.dtype), (np.int32, np.bool_, np.int64))
        self.assertEqual(one.labels[~one.mask].tolist(), [-100] * int((~one.mask).sum()))
        self.assertEqual(one.labels[one.mask].tolist(), one.ids[one.mask].tolist())

    def test_counts_alone(self):
        counted = pixtune.tokens(self.samples, ids=False)
        self.assertEqual(counted.tokens.tolist(), [row["tokens"] for row in self.printed])
        self.assertEqual(counted[0].ids.size, 0)

    def test_of_other_models_and_tokenizers(self):
        for words, options in (
            (["--model", "mistral-small-3.2"], {"model": "mistral-small-3.2"}),
            (["--layout", "mistral-finetune"], {"layout": "mistral-finetune"}),
            (["--tokenizer", TEKKEN], {"tokenizer": TEKKEN}),
        ):
            printed = lines(self.program("tokens", self.file, "--ids", *words)[0])
            self.assert_as_printed(pixtune.tokens(self.samples, **options), printed)

    def test_of_talks_with_tools_and_odd_texts(self):
        tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}}
        call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1.5e3}"}}
        talk = [
            {"role": "system", "content": "s\u2028\ud83d\ude00 \x00 \"q\""},
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "abcdefghi", "content": "r"},
            {"role": "assistant", "content": "a"},
        ]
        rows = [{"messages": talk, "tools": [tool]}, {"messages": [{"role": "user", "content": "\ud800"}, talk[-1]]}]
        file = self.path / "talks.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.assert_as_printed(pixtune.tokens(rows), lines(self.program("tokens", file, "--ids")[0]))

    def test_a_refused_sample_is_an_exception_or_listed(self):
        rows = [self.samples[0], {"messages": [{"role": "user", "content": "a"}]}, {"messages": 1}, self.samples[1]]
        file = self.path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        printed = lines(self.program("tokens", file, "--ids", code=1)[0])
        with self.assertRaises(pixtune.Refused) as raised:
            pixtune.tokens(rows)
        reasons = [(finding.line, finding.rule, finding.message) for finding in raised.exception.findings]
        self.assertEqual(
            reasons, [(row["line"], *(row["refused"][key] for key in ("rule", "message"))) for row in printed if "refused" in row]
        )
        kept = pixtune.tokens(rows, on_refused="keep")
        self.assertEqual(sorted(kept.refused), [1, 2])
        self.assertEqual(kept[3].ids.tolist(), printed[3]["ids"])
        with self.assertRaises(pixtune.Refused):
            kept[1]
        with self.assertRaises(pixtune.Refused):
            pixtune.tokens(rows[1])

    def test_images_beside_the_messages(self):
        file = IMAGES[0].read_bytes()
        uri = "data:image/png;base64," + base64.b64encode(file).decode()
        inline = {"messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": uri}, {"type": "text", "text": "q"}]},
            {"role": "assistant", "content": "a"},
        ]}
        beside = {"messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "q"}]},
            {"role": "assistant", "content": "a"},
        ]}
        wanted = pixtune.tokens(inline)
        images = [file, {"bytes": file, "path": None}, {"bytes": None, "path": str(IMAGES[0])}, IMAGES[0], uri]
        if importlib.util.find_spec("PIL"):
            from PIL import Image

            images.append(Image.open(IMAGES[0]))
        for image in images:
            found = pixtune.tokens({**beside, "images": [image]})
            self.assertEqual((found.ids.tolist(), found.counts), (wanted.ids.tolist(), wanted.counts), type(image))
        with self.assertRaises(pixtune.Refused):
            pixtune.tokens({**beside, "images": [b"no image"]})

    def test_an_encoder_can_be_pickled(self):
        encoder = pickle.loads(pickle.dumps(pixtune.Encoder("pixtral-12b", threads=1)))
        self.assertEqual(encoder.sample(self.samples[0]).ids.tolist(), self.printed[0]["ids"])
        self.assertEqual((encoder.context, encoder.vocabulary_size, encoder.special_tokens), (131072, 131072, None))

    def test_texts(self):
        texts = ["Hello, world!", "", "\u00e9\U0001f600 \n\n", "x" * 1000]
        file = self.path / "texts.jsonl"
        file.write_text("".join(json.dumps(text) + "\n" for text in texts))
        printed = [row["ids"] for row in lines(self.program("tokens", "--text", file)[0])]
        self.assertEqual([ids.tolist() for ids in pixtune.Encoder().texts(texts)], printed)


class Images(Case):
    def test_grids_are_those_of_the_program(self):
        for width, height in ((1024, 768), (3000, 2000), (1, 4096), (16, 16), (5, 7000)):
            for model in ("pixtral-12b", "mistral-small-3.2"):
                printed = json.loads(
                    self.program("tokens", "--image", f"{width}x{height}", "--model", model, "--format", "json")[0]
                )
                found = vars(pixtune.image_grid(width, height, model=model)).copy()
                self.assertEqual(found.pop("is_too_thin"), "warnings" in printed)
                printed.pop("warnings", None)
                self.assertEqual(found, printed)
        with self.assertRaises(pixtune.Error):
            pixtune.image_grid(0, 5)

    def test_pixels(self):
        arrays = pixtune.pixels(IMAGES)
        for path, array in zip(IMAGES, arrays):
            one = pixtune.pixels(path.read_bytes(), threads=1)
            self.assertEqual((array.dtype, array.shape[0]), (np.float32, 3))
            np.testing.assert_array_equal(array, one)
        self.assertTrue(all(array.flags.writeable for array in arrays))
        with self.assertRaisesRegex(pixtune.Refused, "image 2: "):
            pixtune.pixels([IMAGES[0], b"<html>"])


if __name__ == "__main__":
    unittest.main()
