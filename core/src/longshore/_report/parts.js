"use strict";
// What pages are made of, from the JSON beside it. Every text of a run becomes a text node: nothing of it is markup.
const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const SVG = "http://www.w3.org/2000/svg";
const NARROW = 8;

function make(name, facts, ...parts) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(facts || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") node.addEventListener(value[0], value[1]);
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const part of parts.flat(Infinity)) {
    if (part !== null && part !== undefined) node.append(part);
  }
  return node;
}

function draw(name, facts, ...parts) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(facts || {})) node.setAttribute(key, value);
  for (const part of parts) node.append(part);
  return node;
}

// ---- words

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.9995) return value >= 0.0009995 || value === 0 ? `${Math.round(value * 1000)} ms` : `${Math.round(value * 1e6)} µs`;
  if (value < 59.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} m`;
}
const count = (value) => value.toLocaleString("en-US");
const figure = (value) => value >= 100 || Number.isInteger(value) ? count(Math.round(value)) : value >= 1 ? value.toFixed(1) : value.toPrecision(2);
const percent = (share) => share > 0 && share < 0.0005 ? "under 0.1 %" : `${share >= 0.01 || share === 0 ? Math.round(share * 100) : (share * 100).toFixed(1)} %`;
const clock = (at) => at ? new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : "–";
const label = (row) => row.key === null ? row.task_id : row.key;
const state = (row) => make("span", { class: row.state }, row.state.replace("_", " "));

// ---- tables

function table(caption, columns, rows) {
  const body = make("tbody");
  const heads = columns.map(([title, , , kind], place) =>
    make("th", { scope: "col", class: kind === "n" ? "n" : null },
      make("button", { type: "button", on: ["click", () => sort(place)] }, title)));
  const lines = rows.map((row) => ({ row, line: make("tr", null, columns.map(([, get, show, kind]) =>
    make("td", { class: kind }, show ? show(get(row), row) : String(get(row) ?? "–")))) }));
  function sort(place) {
    const up = heads[place].getAttribute("aria-sort") === "descending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[place].setAttribute("aria-sort", up ? "ascending" : "descending");
    const get = columns[place][1];
    lines.sort((a, b) => compare(get(a.row), get(b.row)) * (up ? 1 : -1));
    body.append(...lines.map((each) => each.line));
  }
  body.append(...lines.map((each) => each.line));
  return make("div", { class: "wide" }, make("table", null, make("caption", { class: "soft" }, caption), make("thead", null, make("tr", null, heads)), body));
}

function compare(a, b) {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : -1;
  if (b === null || b === undefined) return 1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
}

function section(title, ...parts) {
  main.append(make("section", null, make("h2", null, title), parts));
}
// A part that can be long is made when it is first looked at.
function beside(title, build) {
  const all = make("details", { on: ["toggle", () => { if (all.children.length === 1) all.append(build()); }] }, make("summary", null, title));
  return all;
}

function themed() {
  return make("button", { type: "button", class: "bar", "aria-label": "dark or light", on: ["click", () => {
    const dark = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
    dispatchEvent(new Event("resize"));
  }] }, "◐");
}
