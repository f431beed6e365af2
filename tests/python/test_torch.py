"""A batch of the collator trains the tiny model with transformers as it is, and gives the loss that pixtune computes."""

import json
import pathlib
import shutil
import subprocess
import sys
import unittest

import pixtune
import torch
from harness import ROOT, Case, lines
from pixtune.torch import Collator, PreparedDataset
from torch.utils.data import DataLoader

torch.set_num_threads(2)


class Torch(Case):
    def setUp(self):
        super().setUp()
        self.model = self.path / "tiny"
        shutil.copytree(ROOT / "fixtures/tiny_pixtral/hf_bf16", self.model)
        shutil.copy(ROOT / "fixtures/tiny_tekken/tekken.json", self.model)
        self.data = self.path / "toy.jsonl"
        subprocess.run([sys.executable, ROOT / "tests/peers/toy_data.py", self.data], check=True)

    def test_samples_are_those_of_the_program(self):
        dataset = PreparedDataset(self.data, model=self.model)
        printed = lines(self.program("tokens", self.data, "--ids", "--model", self.model)[0])
        self.assertEqual(len(dataset), len(printed))
        self.assertEqual(dataset.lengths, [row["tokens"] for row in printed])
        for index, counted in enumerate(printed):
            sample = dataset[index]
            self.assertEqual(sample["input_ids"].tolist(), counted["ids"])
            labels = []
            for trained, length in counted["trained_runs"]:
                labels += counted["ids"][len(labels) :][:length] if trained else [-100] * length
            self.assertEqual(sample["labels"].tolist(), labels)
            self.assertEqual(len(sample["pixel_values"]), len(counted["images"]))
            self.assertEqual(dataset.place(index), (str(self.data), index + 1))
        self.assertEqual(dataset[-1]["input_ids"].tolist(), printed[-1]["ids"])
        with self.assertRaises(IndexError):
            dataset[len(dataset)]

    def test_one_step_gives_the_loss_of_train(self):
        # Not above: processes of workers would wait for it too.
        from transformers import LlavaForConditionalGeneration

        dataset = PreparedDataset(self.data, model=self.model)
        samples = len(dataset)
        self.program(
            "train", "--model", self.model, "--data", self.data, "--out", self.path / "run", "--steps", 1,
            "--samples-per-step", samples, "--lora-rank", 4, "--quiet",
        )
        ours = next(row for row in lines((self.path / "run/metrics.jsonl").read_text()) if row.get("step") == 1)["loss"]
        model = LlavaForConditionalGeneration.from_pretrained(self.model, dtype=torch.float32, attn_implementation="eager")
        batch = Collator()([dataset[index] for index in range(samples)])
        self.assertEqual(set(batch), {"input_ids", "attention_mask", "labels", "pixel_values", "image_sizes"})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = model(**batch).loss
        self.assertAlmostEqual(loss.item(), ours, delta=2e-5 * ours)
        loss.backward()
        optimizer.step()
        self.assertLess(model(**batch).loss.item(), loss.item())

    def test_workers_and_copies(self):
        dataset = PreparedDataset(self.data, model=self.model)
        alone = [batch["input_ids"] for batch in DataLoader(dataset, batch_size=2, collate_fn=Collator())]
        for context, workers in (("fork", 2), ("spawn", 1)):
            loader = DataLoader(
                dataset, batch_size=2, collate_fn=Collator(), num_workers=workers, multiprocessing_context=context
            )
            for one, other in zip(alone, loader, strict=True):
                self.assertTrue(torch.equal(one, other["input_ids"]))
        texts = Collator()([dataset[3], dataset[4]])
        self.assertEqual(set(texts), {"input_ids", "attention_mask", "labels"})

    def test_samples_that_cannot_be_trained_on(self):
        with self.data.open("a") as out:
            out.write(json.dumps({"messages": [{"role": "user", "content": "a"}]}) + "\n")
        with self.assertRaises(pixtune.Refused) as raised:
            PreparedDataset(self.data, model=self.model)
        self.assertEqual([finding.line for finding in raised.exception.findings], [6])
        dataset = PreparedDataset(self.data, model=self.model, invalid_samples="skip")
        self.assertEqual((len(dataset), len(dataset.findings)), (5, 1))
        with self.assertRaises(pixtune.Refused):
            PreparedDataset(self.data, model=self.model, max_tokens=10)
        with self.assertRaisesRegex(pixtune.Error, "is not a split"):
            PreparedDataset(self.data, model=self.model, split="test")

    def test_a_directory_of_prepare(self):
        pixtune.prepare(ROOT / "examples/visual-qa/dataset.csv", self.path / "prepared", validation=5)
        sizes = [len(PreparedDataset(self.path / "prepared", split=split)) for split in ("train", "validation")]
        self.assertEqual(sizes, [55, 5])
        self.assertIsInstance(pathlib.Path(PreparedDataset(self.path / "prepared").place(0)[0]), pathlib.Path)


if __name__ == "__main__":
    unittest.main()
