// The dashboard: pages that show what the API answers. Texts of users reach the page only as text, never as HTML.
"use strict";

const main = document.getElementById("main");
const message = document.getElementById("message");
let leave = () => {};

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function complain(error) {
  message.textContent = error.message || String(error);
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => { message.textContent = ""; }, 12000);
}

function headers(more) {
  const key = sessionStorage.getItem("key");
  return { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...more };
}

function login() {
  const dialog = document.getElementById("login");
  return new Promise((done) => {
    dialog.onclose = () => {
      sessionStorage.setItem("key", document.getElementById("key").value);
      done();
    };
    if (!dialog.open) dialog.showModal();
  });
}

async function ask(path, options) {
  for (;;) {
    const response = await fetch(path, { ...options, headers: headers(options && options.headers) });
    if (response.status === 401) { await login(); continue; }
    if (!response.ok) {
      const body = await response.json().catch(() => ({}));
      throw new Error(body.message || `the server answers ${response.status}`);
    }
    return response;
  }
}

const json = async (path, options) => (await ask(path, options)).json();
const post = (path, body) => json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body || {}) });
const time = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString() : "");
const bytes = (count) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < 4) { count /= 1000; unit += 1; }
  return `${unit ? count.toFixed(1) : count} ${units[unit]}`;
};

function table(columns, rows, empty) {
  if (!rows.length) return element("p", { class: "weak" }, empty);
  const head = element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

const cell = (content, name) => element("td", { class: name }, ...(Array.isArray(content) ? content : [content === null || content === undefined ? "" : content]));
const act = (name, work) => element("button", { type: "button", onclick: () => work().catch(complain) }, name);

async function follow(path, seen, stopped) {
  const response = await ask(path);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done || stopped()) { reader.cancel().catch(() => {}); return; }
    text += decoder.decode(value, { stream: true });
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data && data !== "data: [DONE]") seen(JSON.parse(data.slice(6)));
    }
  }
}

// Jobs

const FINAL = ["succeeded", "failed", "failed_validation", "cancelled"];

async function jobs() {
  const list = element("div");
  const [files, models] = await Promise.all([json("/openai/v1/files?purpose=fine-tune"), json("/openai/v1/models")]);
  main.replaceChildren(element("h1", {}, "Jobs"), list, element("h2", {}, "New job"), newJob(files.data, models.data));
  let stopped = false;
  leave = () => { stopped = true; };
  const show = async () => {
    const { data } = await json("/v1/pixtune/jobs");
    list.replaceChildren(table(["Job", "Status", "Model", "Steps", "Created", "Tuned model"], data.map((job) => element("tr", {},
      cell(element("a", { href: `#jobs/${encodeURIComponent(job.id)}` }, job.suffix || job.id.slice(0, 18))),
      cell(job.status.replace("_", " "), `status ${job.status}`), cell(job.model), cell(job.steps, "number"),
      cell(time(job.created_at)), cell(job.tuned_model || job.error, job.error ? "wrap error" : "wrap"))), "No jobs yet."));
  };
  await show();
  const again = async () => { if (!stopped) { await show().catch(complain); setTimeout(again, 2000); } };
  setTimeout(again, 2000);
}

function newJob(files, models) {
  const select = (name, options) => element("select", { name }, ...options);
  const option = (value, text) => element("option", { value }, text);
  const fileOptions = files.map((file) => option(file.id, `${file.filename} (${file.num_lines} samples)`));
  const form = element("form", { class: "panel" },
    element("div", { class: "row" },
      element("label", {}, "Model", select("model", models.filter((model) => model.type === "base").map((model) => option(model.id, model.id)))),
      element("label", {}, "Training file", select("training_file", fileOptions)),
      element("label", {}, "Validation file", select("validation_file", [option("", "none"), ...fileOptions.map((node) => node.cloneNode(true))])),
      element("label", {}, "Name", element("input", { name: "suffix", maxlength: 64, pattern: "[A-Za-z0-9_.\\-]*" }))),
    element("div", { class: "row" },
      element("label", {}, "Epochs", element("input", { name: "n_epochs", type: "number", min: 1, placeholder: "auto" })),
      element("label", {}, "Samples per step", element("input", { name: "batch_size", type: "number", min: 1, placeholder: "auto" })),
      element("label", {}, "Learning rate, times the default", element("input", { name: "learning_rate_multiplier", type: "number", min: 0, step: "any", placeholder: "auto" })),
      element("button", { class: "main", disabled: !files.length }, "Create job")),
    files.length ? null : element("p", { class: "weak" }, "Upload training data first: ", element("a", { href: "#files" }, "Files")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = (name) => form.elements[name].value;
    const hyperparameters = {};
    for (const name of ["n_epochs", "batch_size", "learning_rate_multiplier"]) if (value(name)) hyperparameters[name] = Number(value(name));
    const body = { model: value("model"), training_file: value("training_file"), hyperparameters };
    for (const name of ["validation_file", "suffix"]) if (value(name)) body[name] = value(name);
    try {
      const job = await post("/openai/v1/fine_tuning/jobs", body);
      location.hash = `#jobs/${encodeURIComponent(job.id)}`;
    } catch (error) { complain(error); }
  });
  return form;
}

function curves(points) {
  const names = { train: "train_loss", valid: "valid_loss" };
  const all = points.flatMap((point) => Object.values(names).map((name) => point[name])).filter((value) => Number.isFinite(value));
  if (!all.length) return element("p", { class: "weak" }, "No metrics yet.");
  const svg = (name, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const [width, height, left, bottom] = [720, 240, 52, 28];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const last = Math.max(...points.map((point) => point.total_steps || point.step), 1);
  const x = (step) => left + (width - left - 12) * step / last;
  const y = (value) => 12 + (height - 12 - bottom) * (high > low ? (high - value) / (high - low) : 0.5);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Loss from ${all[0].toFixed(3)} to ${all[all.length - 1].toFixed(3)}` });
  for (let line = 0; line <= 4; line += 1) {
    const value = low + (high - low) * line / 4;
    chart.append(svg("line", { class: "grid", x1: left, x2: width - 12, y1: y(value), y2: y(value) }), svg("text", { x: 4, y: y(value) + 4 }, value.toFixed(2)));
  }
  chart.append(svg("text", { x: left, y: height - 6 }, "step 0"), svg("text", { x: width - 12, y: height - 6, "text-anchor": "end" }, `step ${last}`));
  for (const [kind, name] of Object.entries(names)) {
    const known = points.filter((point) => Number.isFinite(point[name]));
    chart.append(svg("polyline", { class: kind, points: known.map((point) => `${x(point.step)},${y(point[name])}`).join(" ") }));
    if (kind === "valid") known.forEach((point) => chart.append(svg("circle", { class: kind, cx: x(point.step), cy: y(point[name]), r: 3 })));
  }
  return element("div", {}, chart, element("p", { class: "weak" }, "Loss: training (blue), validation (orange)"));
}

async function job(id) {
  const place = { head: element("div"), chart: element("div"), events: element("div") };
  main.replaceChildren(element("p", {}, element("a", { href: "#jobs" }, "All jobs")), place.head, element("h2", {}, "Loss"), place.chart, element("h2", {}, "Events"), place.events);
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`;
  const events = [];
  let stopped = false;
  let drawn = null;
  leave = () => { stopped = true; };
  const change = (what) => async () => { await post(`${path}/${what}`); await show(); };
  const open = (name) => async () => {
    const page = await (await ask(`${path}/${name}`)).blob();
    window.open(URL.createObjectURL(page), "_blank", "noopener");
  };
  const show = async () => {
    const state = await json(`/v1/pixtune/jobs/${encodeURIComponent(id)}`);
    const actions = [];
    if (state.status === "validated") actions.push(act("Start", change("start")));
    if (["queued", "running", "validated"].includes(state.status)) actions.push(act("Pause", change("pause")));
    if (state.status === "paused") actions.push(act("Resume", change("resume")));
    if (!FINAL.includes(state.status)) actions.push(act("Cancel", change("cancel")));
    if (state.started_at) actions.push(act("Log", open("log")), act("Report", async () => window.open(await report("jobs", id), "_blank", "noopener")));
    if (state.tuned_model) actions.push(element("a", { class: "button", href: `#chat/${encodeURIComponent(state.tuned_model)}` }, "Chat with it"));
    place.head.replaceChildren(element("h1", {}, state.suffix || state.id), element("p", {},
      element("span", { class: `status ${state.status}` }, state.status.replace("_", " ")), ` · ${state.model} · ${state.samples} samples`,
      state.steps ? ` · ${state.steps} steps` : "", state.slot ? ` · on ${state.slot}` : "", ` · ${state.id}`),
    state.error ? element("p", { class: "error" }, state.error) : "",
    state.tuned_model ? element("p", {}, "Tuned model: ", element("code", {}, state.tuned_model)) : "", element("div", { class: "row" }, ...actions));
    return state;
  };
  const draw = () => {
    drawn = null;
    place.chart.replaceChildren(curves(events.filter((event) => event.kind === "metrics").map((event) => event.data)));
    place.events.replaceChildren(table(["Time", "Event"], events.slice(-200).reverse().map((event) => element("tr", {},
      cell(time(event.created_at)), cell(event.message, `wrap ${event.level === "info" ? "" : event.level}`))), "No events yet."));
  };
  await show();
  draw();
  const watch = async () => {
    for (let after = 0; !stopped;) {
      await follow(`${path}/stream?after=${after}`, (event) => {
        after = event.seq;
        events.push(event);
        if (event.kind === "status") show().catch(complain);
        drawn = drawn || setTimeout(draw, 100);
      }, () => stopped);
      if (stopped || FINAL.includes((await show()).status)) return;
      await new Promise((done) => { setTimeout(done, 1000); });
    }
  };
  watch().catch((error) => { if (!stopped) complain(error); });
}

// Files

async function files() {
  const list = element("div");
  const picker = element("input", { type: "file", accept: ".jsonl" });
  const progress = element("progress", { max: 1, value: 0, hidden: true, "aria-label": "Upload" });
  const upload = () => new Promise((done, failed) => {
    const file = picker.files[0];
    if (!file) { failed(new Error("choose a .jsonl file first")); return; }
    const form = new FormData();
    form.append("purpose", "fine-tune");
    form.append("file", file);
    const request = new XMLHttpRequest();
    request.open("POST", "/openai/v1/files");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => { if (event.lengthComputable) progress.value = event.loaded / event.total; };
    request.onload = () => {
      const body = JSON.parse(request.responseText || "{}");
      if (request.status === 200) done(body); else failed(new Error(body.message || `the server answers ${request.status}`));
    };
    request.onerror = () => failed(new Error("the upload was interrupted"));
    progress.hidden = false;
    request.send(form);
  }).finally(() => { progress.hidden = true; });
  const show = async () => {
    const { data } = await json("/openai/v1/files");
    list.replaceChildren(table(["File", "Size", "Samples", "Invalid", "Created", ""], data.map((file) => element("tr", {},
      cell(element("a", { href: `#files/${encodeURIComponent(file.id)}` }, file.filename), "wrap"), cell(bytes(file.bytes), "number"),
      cell(file.num_lines, "number"), cell(file.invalid_samples || "", "number error"), cell(time(file.created_at)),
      cell(act("Delete", async () => {
        if (!confirm(`Delete ${file.filename}?`)) return;
        await ask(`/openai/v1/files/${file.id}`, { method: "DELETE" });
        await show();
      })))), "No files yet."));
  };
  main.replaceChildren(element("h1", {}, "Files"), element("div", { class: "row" }, element("label", {}, "Training data (.jsonl)", picker),
    act("Upload", async () => { await upload(); await show(); }), progress), list);
  await show();
}

// The address of a report, which opens it without a key for some minutes.
async function report(kind, id) {
  const { url } = await json(`/v1/pixtune/${kind}/${encodeURIComponent(id)}/report/url`);
  const { pathname, search } = new URL(url);
  return pathname + search;
}

async function file(id) {
  const path = `/openai/v1/files/${encodeURIComponent(id)}`;
  const shown = await json(path);
  const findings = shown.findings || [];
  const preview = await (await ask(`/v1/pixtune/files/${encodeURIComponent(id)}/samples`)).json();
  const embedded = element("div");
  const show = async () => {
    const address = await report("files", id);
    embedded.replaceChildren(element("p", {}, element("a", { href: address, target: "_blank", rel: "noopener" }, "Open it in a window of its own")),
      element("iframe", { class: "report", src: address, title: `Report about ${shown.filename}` }));
  };
  main.replaceChildren(element("p", {}, element("a", { href: "#files" }, "All files")), element("h1", {}, shown.filename),
    element("p", { class: "weak" }, `${bytes(shown.bytes)} · ${shown.num_lines === null ? "no" : shown.num_lines} samples · ${shown.invalid_samples} invalid · ${shown.id}`),
    element("h2", {}, "Findings"),
    table(["Line", "Severity", "Finding"], findings.map((finding) => element("tr", {}, cell(finding.line, "number"),
      cell(finding.severity, finding.severity === "error" ? "error" : "warn"), cell(`${finding.message} [${finding.rule}]`, "wrap"))), "Nothing was found."),
    ...(shown.num_lines === null ? [] : [element("h2", {}, "Report"), element("div", { class: "row" }, act("Show the report", show)), embedded]),
    element("h2", {}, "First samples"), ...preview.data.map(sample));
}

function sample(shown) {
  if (!shown.messages) return element("div", { class: "panel error" }, shown.error || "not a sample");
  return element("div", { class: "panel" }, ...shown.messages.map((turn) => element("p", {}, element("strong", {}, `${turn.role}: `),
    ...(turn.parts || []).map((part) => (part.image ? element("img", { class: "preview", src: part.image, alt: "image of the sample" }) : part.text)))));
}

// Models

async function models() {
  const { data } = await json("/mistral/v1/models");
  const verdicts = (model) => act("Who applies it?", async () => {
    const found = await json(`/v1/pixtune/models/${encodeURIComponent(model.id)}/servers`);
    message.textContent = "";
    main.append(element("div", { class: "panel" }, element("h2", {}, model.id), table(["Server", "Verdict"], found.data.map((server) => element("tr", {},
      cell(server.server), cell(server.verdict, server.applies ? "succeeded wrap" : "error wrap"))), "")));
  });
  main.replaceChildren(element("h1", {}, "Models"), table(["Model", "Base", "Created", ""], data.map((model) => element("tr", {},
    cell(model.id, "wrap"), cell(model.root || ""), cell(time(model.created)),
    cell([element("a", { class: "button", href: `#chat/${encodeURIComponent(model.id)}` }, "Chat"), " ",
      ...(model.type === "base" ? [] : [verdicts(model), " ", act("Delete", async () => {
        if (!confirm(`Delete ${model.id}?`)) return;
        await ask(`/mistral/v1/models/${encodeURIComponent(model.id)}`, { method: "DELETE" });
        await models();
      })])]))), "No models: start the server with --models DIR."));
}

// Chat

async function chat(chosen) {
  const { data } = await json("/openai/v1/models");
  const tuned = chosen && data.find((model) => model.id === chosen);
  const options = (selected) => data.map((model) => element("option", { value: model.id, selected: model.id === selected }, model.id));
  const prompt = element("textarea", { "aria-label": "Prompt" });
  const image = element("input", { type: "file", accept: "image/*" });
  const tokens = element("input", { type: "number", min: 1, value: 256 });
  const heat = element("input", { type: "number", min: 0, max: 2, step: 0.1, value: 0 });
  const side = (selected, other) => ({ select: element("select", {}, ...(other ? [element("option", { value: "" }, "none")] : []), ...options(selected)), answer: element("div", { class: "answer" }) });
  const sides = [side(chosen || (data[0] && data[0].id), false), side(tuned ? tuned.root : "", true)];
  const read = (picked) => new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(new Error("the image cannot be read"));
    reader.readAsDataURL(picked);
  });
  const answer = async ({ select, answer: place }) => {
    place.textContent = "";
    if (!select.value) return;
    const content = [{ type: "text", text: prompt.value }];
    if (image.files[0]) content.unshift({ type: "image_url", image_url: { url: await read(image.files[0]) } });
    const response = await ask("/openai/v1/chat/completions", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model: select.value, messages: [{ role: "user", content }], max_tokens: Number(tokens.value), temperature: Number(heat.value), stream: true }) });
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        if (!part.startsWith("data: {")) continue;
        const chunk = JSON.parse(part.slice(6));
        if (chunk.error) throw new Error(chunk.error.message);
        for (const choice of chunk.choices) place.textContent += choice.delta.content || "";
      }
    }
  };
  const send = act("Send", async () => { await Promise.all(sides.map(answer)); });
  send.className = "main";
  main.replaceChildren(element("h1", {}, "Chat"), prompt, element("div", { class: "row" }, element("label", {}, "Image", image),
    element("label", {}, "Maximum tokens", tokens), element("label", {}, "Temperature", heat), send),
  element("div", { class: "columns" }, ...sides.map(({ select, answer: place }, index) => element("div", { class: "panel" },
    element("label", {}, index ? "Compared with" : "Model", select), place))));
}

// System

async function system() {
  const state = await json("/v1/pixtune/system");
  const rows = [["Version", state.version], ["Started", time(state.started_at)], ["Free disk space", state.free_bytes === null ? "not known" : bytes(state.free_bytes)],
    ["Files of this project", bytes(state.stored_bytes)], ["Jobs run on", state.slots.join(", ")], ["Loaded models", state.loaded_models.join(", ") || "none"],
    ["Base models", state.models.join(", ")], ...Object.entries(state.jobs).map(([name, count]) => [`Jobs: ${name.replace("_", " ")}`, count])];
  main.replaceChildren(element("h1", {}, "System"), table(["", ""], rows.map(([name, value]) => element("tr", {}, cell(name), cell(String(value), "wrap"))), ""));
}

const PAGES = { jobs: (id) => (id ? job(id) : jobs()), files: (id) => (id ? file(id) : files()), models, chat, system };

async function route() {
  leave();
  leave = () => {};
  const [page, ...rest] = (location.hash.slice(1) || "jobs").split("/");
  const name = PAGES[page] ? page : "jobs";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  try { await PAGES[name](rest.length ? decodeURIComponent(rest.join("/")) : undefined); } catch (error) { complain(error); }
}

addEventListener("hashchange", () => route().then(() => main.focus()));
route();
