// OpenAI's client for Node does its whole workflow with `pixtune serve`: with_openai.mjs URL DATA MODULES

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [url, data, modules] = process.argv.slice(2);
const require = createRequire(path.join(modules, "/"));
const OpenAI = require("openai");
const { version } = JSON.parse(fs.readFileSync(path.join(modules, "node_modules/openai/package.json")));
const image = "data:image/png;base64," + fs.readFileSync(new URL("../../../fixtures/images/grad_64x48.png", import.meta.url)).toString("base64");
const messages = [{ role: "user", content: [{ type: "text", text: "what is it" }, { type: "image_url", image_url: { url: image } }] }];
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The work fails with this status, in an error of the client whose message is the server's. */
async function fails(kind, status, work) {
  try {
    await work();
  } catch (error) {
    assert(error instanceof kind, `${error}`);
    assert.equal(error.status, status);
    assert(error.message.length > 40, error.message);
    return error;
  }
  assert.fail(`no ${kind.name}`);
}

async function ended(client, id) {
  for (;;) {
    const job = await client.fineTuning.jobs.retrieve(id);
    if (["succeeded", "failed", "cancelled"].includes(job.status)) return job;
    await pause(200);
  }
}

async function collected(pages) {
  const all = [];
  for await (const item of pages) all.push(item);
  return all;
}

async function workflow(client) {
  const training = await client.files.create({ file: fs.createReadStream(data), purpose: "fine-tune" });
  assert.equal((await client.files.waitForProcessing(training.id)).status, "processed");
  assert.equal(await (await client.files.content(training.id)).text(), fs.readFileSync(data, "utf8"));
  const bad = await OpenAI.toFile(Buffer.from("{}\n"), "bad.jsonl");
  await fails(OpenAI.UnprocessableEntityError, 422, () => client.files.create({ file: bad, purpose: "fine-tune" }));
  await fails(OpenAI.NotFoundError, 404, () => client.fineTuning.jobs.create({ model: "gpt-4o", training_file: training.id }));

  const created = await client.fineTuning.jobs.create({
    model: "pixtral-12b-2409", training_file: training.id, validation_file: training.id, suffix: "node", seed: 3,
    hyperparameters: { n_epochs: 2, batch_size: "auto", learning_rate_multiplier: 2 },
  });
  const job = await ended(client, created.id);
  assert.equal(job.status, "succeeded", JSON.stringify(job));
  const events = await collected(client.fineTuning.jobs.listEvents(job.id, { limit: 4 }));
  assert.equal(events[0].message, "The job has successfully completed");
  assert(events.length > 6, "pages of four are followed");
  const checkpoints = await collected(client.fineTuning.jobs.checkpoints.list(job.id));
  assert(checkpoints[0].metrics.valid_loss > 0, JSON.stringify(checkpoints));

  const model = job.fine_tuned_model;
  assert.equal((await client.models.retrieve(model)).id, model);
  assert((await collected(client.models.list())).some((other) => other.id === model));
  const answer = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 8 });
  const text = answer.choices[0].message.content;
  assert(text && answer.usage.completion_tokens > 0);
  const stream = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 8, stream: true });
  const streamed = (await collected(stream)).map((chunk) => chunk.choices[0].delta.content ?? "").join("");
  assert.equal(streamed, text);
  const error = await fails(OpenAI.NotFoundError, 404, () => client.chat.completions.create({ model: "nope", messages }));
  assert(error.message.includes("there is no model `nope`"), error.message);

  const long = await client.fineTuning.jobs.create({ model: "tiny", training_file: training.id, hyperparameters: { n_epochs: 50 } });
  assert.equal((await client.fineTuning.jobs.cancel(long.id)).status, "cancelled");
  await fails(OpenAI.ConflictError, 409, () => client.fineTuning.jobs.cancel(job.id));
  const remove = client.models.delete ?? client.models.del;
  assert((await remove.call(client.models, model)).deleted);
  await fails(OpenAI.NotFoundError, 404, () => client.models.retrieve(model));
}

for (const base of [`${url}/openai/v1`, `${url}/v1/`]) await workflow(new OpenAI({ baseURL: base, apiKey: "k" }));
console.log(`openai ${version} for Node: files, jobs, events, checkpoints, models, chat, streams and errors work`);
