"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  // The entry of the section in view is marked.
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const [id, link] of links) {
        const on = id === entry.target.id;
        link.classList.toggle("on", on);
        if (on) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
  // Pictures of a grid are one stop for the Tab key; arrows go from one to the next.
  const grids = [...document.querySelectorAll(".grid")].map((grid) => [...grid.querySelectorAll("button.pic")]);
  const gridOf = (pic) => grids.find((pics) => pics.includes(pic)) || [pic];
  const rove = (pics, at) => pics.forEach((pic, index) => { pic.tabIndex = index === at ? 0 : -1; });
  grids.forEach((pics) => rove(pics, 0));
  document.addEventListener("focusin", (event) => {
    const pic = event.target.closest("button.pic");
    if (pic) { const pics = gridOf(pic); rove(pics, pics.indexOf(pic)); }
  });
  const inRow = (pics) => pics.filter((pic) => pic.offsetTop === pics[0].offsetTop).length;
  const step = (pics, at, key) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: inRow(pics), ArrowUp: -inRow(pics) }[key];
    const to = key === "Home" ? 0 : key === "End" ? pics.length - 1 : by === undefined ? -1 : at + by;
    return pics[to];
  };
  // A picture opens large, with its patches.
  const view = document.getElementById("view");
  let shown = null;
  const show = (pic) => {
    shown = pic;
    const img = pic.querySelector("img").cloneNode();
    img.loading = "eager";
    const box = document.createElement("span");
    box.className = "patched";
    const small = pic.querySelector("img");
    if (small.naturalHeight) box.style.width = `min(100%, ${(62 * small.naturalWidth / small.naturalHeight).toFixed(2)}vh)`;
    box.append(img);
    const columns = Number(pic.dataset.columns), rows = Number(pic.dataset.rows);
    if (columns && rows) box.append(patches(columns, rows));
    view.querySelector(".stage").replaceChildren(box);
    view.querySelector("p").textContent = pic.dataset.about || "";
    const facts = view.querySelector("dl");
    facts.replaceChildren();
    for (const [name, text] of [["source", pic.dataset.source], ["prompt", pic.dataset.prompt], ["response", pic.dataset.response]]) {
      if (!text) continue;
      const term = document.createElement("dt"), value = document.createElement("dd");
      term.textContent = name;
      value.textContent = text;
      facts.append(term, value);
    }
    if (pic.dataset.sample) {
      const value = document.createElement("dd"), link = document.createElement("a");
      link.href = `#${pic.dataset.sample}`;
      link.textContent = "the whole sample, token by token";
      value.append(link);
      facts.append(value);
    }
    const pics = gridOf(pic), at = pics.indexOf(pic);
    view.querySelector("[value=back]").disabled = at === 0;
    view.querySelector("[value=on]").disabled = at === pics.length - 1;
  };
  const go = (by) => {
    const pics = gridOf(shown), next = pics[pics.indexOf(shown) + by];
    if (next) { show(next); rove(pics, pics.indexOf(next)); }
  };
  document.addEventListener("click", (event) => {
    const pic = event.target.closest("button.pic");
    if (!pic) return;
    show(pic);
    view.showModal();
  });
  view.addEventListener("click", (event) => {
    const by = { back: -1, on: 1 }[event.target.value];
    if (event.target.closest("a")) { shown = null; view.close(); }
    if (by) { go(by); event.preventDefault(); } else if (event.target === view) view.close();
  });
  view.addEventListener("close", () => { if (shown) shown.focus(); });
  function patches(columns, rows) {
    const ns = "http:" + "//www.w3.org/2000/svg";
    const svg = document.createElementNS(ns, "svg");
    svg.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    svg.setAttribute("preserveAspectRatio", "none");
    let d = "";
    for (let x = 0; x <= columns; x++) d += `M${x} 0V${rows}`;
    for (let y = 0; y <= rows; y++) d += `M0 ${y}H${columns}`;
    const path = document.createElementNS(ns, "path");
    path.setAttribute("d", d);
    svg.append(path);
    return svg;
  }
  document.querySelectorAll(".patched[data-columns]").forEach((box) => {
    box.append(patches(Number(box.dataset.columns), Number(box.dataset.rows)));
  });
  // One kind of samples is shown, or all.
  const filters = [...document.querySelectorAll("[data-filter]")];
  filters.forEach((filter) => filter.addEventListener("click", () => {
    const kind = filter.dataset.filter;
    filters.forEach((other) => other.setAttribute("aria-pressed", other === filter));
    document.querySelectorAll("[data-kinds]").forEach((result) => {
      result.hidden = kind !== "" && !result.dataset.kinds.split(" ").includes(kind);
    });
  }));
  // The browser of samples: one is open; arrows, J and K select the next one that the filters show.
  const tabs = [...document.querySelectorAll(".list button")];
  const open = (index, focus) => {
    if (!tabs[index]) return;
    tabs.forEach((tab, at) => {
      const on = at === index;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).classList.toggle("open", on);
    });
    if (focus) tabs[index].focus();
    tabs[index].scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const inFilter = (from, by) => {
    const free = tabs.map((tab, index) => index).filter((index) => !tabs[index].hidden);
    if (!free.length) return null;
    const at = free.indexOf(from);
    return at < 0 ? free[0] : free[(at + by + free.length) % free.length];
  };
  const current = () => tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
  tabs.forEach((tab, index) => tab.addEventListener("click", () => open(index)));
  if (tabs.length) { tabs.forEach((t, i) => { t.setAttribute("aria-selected", i === 0); t.tabIndex = i ? -1 : 0; }); document.getElementById(tabs[0].getAttribute("aria-controls")).classList.add("open"); }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const key = event.key;
    if (key === "g") root.classList.toggle("nogrid");
    if (view.open) {
      if (key === "ArrowRight" || key === "ArrowLeft") { go(key === "ArrowRight" ? 1 : -1); event.preventDefault(); }
      return;
    }
    const pic = event.target.closest("button.pic");
    if (pic) {
      const pics = gridOf(pic), to = step(pics, pics.indexOf(pic), key);
      if (to) { to.focus(); event.preventDefault(); }
      return;
    }
    const inList = event.target.closest(".list");
    const to = key === "j" || (inList && (key === "ArrowDown" || key === "ArrowRight")) ? inFilter(current(), 1)
      : key === "k" || (inList && (key === "ArrowUp" || key === "ArrowLeft")) ? inFilter(current(), -1)
      : inList && key === "Home" ? inFilter(-1, 0) : inList && key === "End" ? inFilter(inFilter(-1, 0), -1) : null;
    if (to !== null) { open(to, true); event.preventDefault(); }
  });
  // Filters: by text, by finding, by split.
  const field = (id) => document.getElementById(id);
  const text = field("text"), hits = field("hits");
  const texts = new Map();
  const textOf = (tab) => {
    if (!texts.has(tab)) {
      const panel = document.getElementById(tab.getAttribute("aria-controls"));
      texts.set(tab, panel.textContent.replaceAll("⏎", "").replaceAll("⇥", "\t").toLowerCase());
    }
    return texts.get(tab);
  };
  const filter = () => {
    const want = (text?.value || "").trim().toLowerCase();
    const problem = field("problem-filter")?.value || "", split = field("split-filter")?.value || "";
    let count = 0;
    for (const tab of tabs) {
      const { problems, split: of } = tab.dataset;
      const fits = (!problem || problems.split(" ").includes(problem)) && (!split || of === split) && (!want || textOf(tab).includes(want));
      tab.hidden = !fits;
      count += fits;
    }
    hits.textContent = count === tabs.length ? "" : count ? `${count} of ${tabs.length}` : "no sample";
    document.querySelector(".browser").hidden = count === 0;
    if (tabs[current()]?.hidden) open(inFilter(current(), 1));
  };
  const clear = (problem) => {
    if (text) text.value = "";
    for (const id of ["problem-filter", "split-filter"]) if (field(id)) field(id).value = "";
    if (problem && field("problem-filter")) field("problem-filter").value = problem;
    if (hits) filter();
  };
  if (text) {
    text.addEventListener("input", filter);
    for (const id of ["problem-filter", "split-filter"]) field(id)?.addEventListener("change", filter);
  }
  // Links to samples and findings open what holds them.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-problem]");
    if (link) clear(link.dataset.problem);
  });
  let flashed = null;
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let at = target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    const tab = tabs.findIndex((one) => one.getAttribute("aria-controls") === target.id);
    if (tab >= 0) { if (tabs[tab].hidden) clear(); open(tab); }
    if (tab < 0 && !target.classList.contains("finding")) return;
    target.scrollIntoView({ block: "start" });
    flashed?.classList.remove("flash");
    flashed = target;
    target.classList.add("flash");
  };
  addEventListener("hashchange", follow);
  // A second click on the link to the place that is open leads there, too.
  document.addEventListener("click", (event) => { if (event.target.closest("a[href^='#']")?.hash === location.hash) follow(); });
  follow();
  // Commands can be copied.
  document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  }));
  // Curves show the values of the step under the mouse.
  document.querySelectorAll(".chart[data-values]").forEach((chart) => {
    const { steps, lines } = JSON.parse(chart.dataset.values);
    const plot = chart.querySelector(".plot");
    const cross = document.createElement("i"), tip = document.createElement("div");
    cross.className = "cross";
    tip.className = "tip";
    const nearest = (line, step) => {
      let best = -1;
      line.steps.forEach((at, index) => { if (best < 0 || Math.abs(at - step) < Math.abs(line.steps[best] - step)) best = index; });
      return best;
    };
    const shownValue = (value) => value === 0 ? "0" : Math.abs(value) < 0.001 || Math.abs(value) >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(5)));
    const point = (event) => {
      const box = plot.getBoundingClientRect();
      const wanted = (event.clientX - box.left) / box.width * steps;
      const rows = lines.filter((line) => line.steps.length).map((line) => { const at = nearest(line, wanted); return [line, at]; });
      if (!rows.length) return;
      const [first, at] = rows.reduce((one, other) => Math.abs(other[0].steps[other[1]] - wanted) < Math.abs(one[0].steps[one[1]] - wanted) ? other : one);
      const step = first.steps[at], left = step / steps * 100;
      tip.replaceChildren();
      const head = document.createElement("div");
      head.textContent = `step ${step}`;
      tip.append(head);
      for (const [line, index] of rows) {
        const row = document.createElement("div");
        const apart = line.steps[index] === step ? "" : ` (step ${line.steps[index]})`;
        row.textContent = `${line.name} ${shownValue(line.values[index])}${apart}`;
        tip.append(row);
      }
      cross.style.left = `${left}%`;
      tip.style.left = `${left}%`;
      tip.style.transform = `translateX(${left > 50 ? "calc(-100% - 8px)" : "8px"})`;
      tip.style.top = "0";
      plot.append(cross, tip);
    };
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", () => { cross.remove(); tip.remove(); });
  });
  // On paper everything is open.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((details) => { details.open = true; });
    document.querySelectorAll("img").forEach((img) => { img.loading = "eager"; });
  });
  addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));
})();
