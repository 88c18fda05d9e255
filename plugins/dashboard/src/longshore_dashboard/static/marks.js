// States and stages as marks: a state has a shape and its word beside its colour, a stage one of eight colours and its name.
import { html, table } from "./lib.js";
import { run } from "./live.js";

export const STATES = ["pending", "processing", "retrying", "completed", "failed", "timed_out", "cancelled"];
const WORDS = table({ pending: "queued", processing: "running", timed_out: "timed out" });

/** The word for a state, as people say it. */
export function word(state) {
  return WORDS[state] ?? state;
}

const RING = html`<circle cx="5.5" cy="5.5" r="4.5" fill="none" stroke="currentColor" stroke-width="1.5" />`;
const SHAPES = table({
  pending: RING,
  processing: html`${RING}<path d="M5.5 1a4.5 4.5 0 0 1 0 9z" fill="currentColor" />`,
  retrying: html`<path d="M5.5 .5 10.5 5.5 5.5 10.5 .5 5.5z" fill="currentColor" />`,
  completed: html`<path d="M1 6l3 3.5L10 2" fill="none" stroke="currentColor" stroke-width="2" />`,
  failed: html`<path d="M1.5 1.5l8 8m0-8l-8 8" fill="none" stroke="currentColor" stroke-width="2" />`,
  timed_out: html`<path d="M1 .5h9L1 10.5h9z" fill="currentColor" />`,
  cancelled: html`<path d="M1 5.5h9" fill="none" stroke="currentColor" stroke-width="2" />`,
});
// States of a run, and of plugins, by the shape that fits them.
const LIKE = table({ running: "processing", paused: "pending", stopped: "cancelled", interrupted: "failed", loaded: "completed", available: "pending",
  disabled: "cancelled", quarantined: "failed", conflict: "failed", incompatible: "failed", idle: "pending", busy: "processing", stopping: "cancelled",
  error: "failed", ok: "completed", slow: "timed_out", failing: "failed", stuck: "failed" });

/** A state: its shape and its word. Words that are not known are shown without a shape. */
export function State({ state, children }) {
  const like = SHAPES[state] ? state : LIKE[state];
  const said = children ?? word(state);
  if (!like) return html`<span>${said}</span>`;
  return html`<span class="mark ${like}"><svg viewBox="0 0 11 11" aria-hidden="true">${SHAPES[like]}</svg>${said}</span>`;
}

const COLOURS = 8;
const known = new Map();

/** The number of a stage's colour: by the order in which the run's stages are known, the same on every page. */
export function colour(name) {
  for (const stage of run.snapshot?.stages ?? []) if (!known.has(stage.name)) known.set(stage.name, known.size % COLOURS);
  if (!known.has(name)) known.set(name, known.size % COLOURS);
  return known.get(name);
}

export function Legend({ names }) {
  return html`<ul class="legend">${names.map((name) => html`<li key=${name} title=${name}><span class="swatch c${colour(name)}"></span>${name}</li>`)}</ul>`;
}

export function Stage({ name }) {
  return html`<span class="mark" title=${name}><span class="swatch c${colour(name)}"></span>${name}</span>`;
}

/** Return the colours of the page's theme for a canvas: a token's name in, CSS's own words for its colour out. */
export function inks(element) {
  const probe = document.createElement("span");
  element.append(probe);
  const read = (token) => {
    probe.style.color = `var(--${token})`;
    return getComputedStyle(probe).color;
  };
  const names = ["bg", "surface", "raised", "text", "muted", "line", "line-strong", "accent", "bad", "late", "band", "ok", "wait"];
  const found = Object.fromEntries(names.map((name) => [name, read(name)]));
  found.stages = Array.from({ length: COLOURS }, (_, place) => read(`s${place}`));
  probe.remove();
  return found;
}
