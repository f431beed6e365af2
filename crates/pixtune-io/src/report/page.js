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
  // The browser of samples: one is open; arrows, J and K go on.
  const tabs = [...document.querySelectorAll(".list button")];
  const open = (index, focus) => {
    if (!tabs.length) return;
    index = (index + tabs.length) % tabs.length;
    tabs.forEach((tab, at) => {
      const on = at === index;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).classList.toggle("open", on);
    });
    if (focus) tabs[index].focus();
    tabs[index].scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const current = () => tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
  tabs.forEach((tab, index) => tab.addEventListener("click", () => open(index)));
  if (tabs.length) { tabs.forEach((t, i) => { t.setAttribute("aria-selected", i === 0); t.tabIndex = i ? -1 : 0; }); document.getElementById(tabs[0].getAttribute("aria-controls")).classList.add("open"); }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
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
    const to = key === "j" || (inList && (key === "ArrowDown" || key === "ArrowRight")) ? current() + 1
      : key === "k" || (inList && (key === "ArrowUp" || key === "ArrowLeft")) ? current() - 1
      : inList && key === "Home" ? 0 : inList && key === "End" ? tabs.length - 1 : null;
    if (to !== null) { open(to, true); event.preventDefault(); }
  });
})();
