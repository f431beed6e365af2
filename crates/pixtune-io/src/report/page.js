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
  // A picture opens large, with its patches.
  const view = document.getElementById("view");
  document.addEventListener("click", (event) => {
    const pic = event.target.closest("button.pic");
    if (!pic) return;
    const stage = view.querySelector(".stage");
    const img = pic.querySelector("img").cloneNode();
    const box = document.createElement("span");
    box.className = "patched";
    box.append(img);
    const columns = Number(pic.dataset.columns), rows = Number(pic.dataset.rows);
    if (columns && rows) box.append(patches(columns, rows));
    stage.replaceChildren(box);
    view.querySelector("p").textContent = pic.dataset.about || "";
    view.showModal();
  });
  view.addEventListener("click", (event) => { if (event.target === view) view.close(); });
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
    if (event.ctrlKey || event.metaKey || event.altKey || view.open) return;
    const inList = event.target.closest && event.target.closest(".list");
    const key = event.key;
    if (key === "j" || (inList && (key === "ArrowDown" || key === "ArrowRight"))) { open(current() + 1, true); event.preventDefault(); }
    if (key === "k" || (inList && (key === "ArrowUp" || key === "ArrowLeft"))) { open(current() - 1, true); event.preventDefault(); }
    if (key === "g") root.classList.toggle("nogrid");
  });
})();
