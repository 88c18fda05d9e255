// The run as it is now, for all components: what the stream tells, at most four times a second, and only while the page is shown.
import { useEffect, useReducer, useState, useRef } from "./lib.js";
import { address, text } from "./api.js";

const REPAINT_MS = 250;
const REREAD_MS = 1000;
const asleep = () => document.visibilityState === "hidden";

const GOING = new Set(["running", "paused", "starting", "stopping"]);
const DOWN_MS = 5000;

export const run = { info: null, snapshot: null, health: null, state: "", notes: [], left_out: 0, link: "off", error: null, fault: null, heard: 0 };
const watchers = new Set(); // called when `run` has changed
const readers = new Set(); // {topics, call}: called when what they read has changed

let pending = false;
let painted = 0;

/** Have everything that shows the run drawn again, soon and once however much has come. */
function repaint() {
  if (pending) return;
  pending = true;
  setTimeout(() => requestAnimationFrame(() => {
    pending = false;
    painted = performance.now();
    for (const watcher of watchers) watcher();
  }), Math.max(0, painted + REPAINT_MS - performance.now()));
}

function changed(topics) {
  for (const reader of readers) if (!topics || reader.topics.some((topic) => topics.includes(topic))) reader.call();
}

/** Read the run's own page of facts, and open the stream where it goes on. */
export async function begin() {
  try {
    take(JSON.parse(await text("api/run")));
    if (going()) listen();
  } catch (error) {
    run.error = error.message;
  }
  repaint();
}

/** Whether the run goes on, as far as was heard. */
export function going() {
  return Boolean(run.info?.live) && GOING.has(run.state);
}

function take(facts) {
  if (facts.run) run.info = facts.run;
  for (const name of ["snapshot", "health", "state", "notes", "left_out"]) if (facts[name] !== undefined) run[name] = facts[name];
  run.heard = performance.now();
  run.error = null;
  run.fault = facts.error ?? null;
}

let port = null;

function listen() {
  if (port) return;
  run.link = "joining";
  port = typeof SharedWorker === "function" ? shared() : own();
  port.say("hello");
  document.addEventListener("visibilitychange", () => going() && port.say(asleep() ? "hidden" : "shown"));
  addEventListener("pagehide", () => port.say("bye"));
  addEventListener("pageshow", (event) => event.persisted && going() && port.say("shown"));
}

function shared() {
  const worker = new SharedWorker(new URL("./stream.js", import.meta.url), { name: "longshore" });
  worker.port.onmessage = (message) => hear(message.data);
  const url = new URL("api/events", location.href).href;
  return { say: (word) => worker.port.postMessage({ word, url }) };
}

/** The same without shared workers (some phones): a stream for this tab alone. */
function own() {
  let source = null;
  const close = () => {
    if (source) source.close();
    source = null;
  };
  const open = () => {
    if (source) return;
    source = new EventSource("api/events");
    source.onopen = () => hear({ kind: "up" });
    source.onerror = () => hear({ kind: "down" });
    for (const kind of ["snapshot", "delta"]) source.addEventListener(kind, (event) => hear({ kind, data: event.data }));
  };
  return { say: (word) => (word === "hello" || word === "shown" ? open() : close()) };
}

function hear({ kind, data }) {
  if (kind === "up") run.link = "live";
  else if (kind === "down") {
    run.link = "down";
    asking.soon();
  } else {
    const told = JSON.parse(data);
    take(told);
    run.link = "live";
    changed(kind === "delta" && going() ? told.changed : null);
    if (!going()) {
      port.say("bye");
      run.link = "over";
    }
  }
  repaint();
}

// Without a stream (too many follow, or the server is gone) the facts are asked for, at most as often as this.
const asking = spaced(() => run.link === "down" && refresh(), () => DOWN_MS);

/** Read the run's facts again, and have every reader read again: after something was done to it, or when it has ended. */
export async function refresh() {
  try {
    take(JSON.parse(await text("api/run")));
  } catch (error) {
    run.error = error.message;
  }
  changed(null);
  repaint();
}

/** The run, for a component that is drawn again when it has changed. */
export function useRun() {
  const [, again] = useReducer((turn) => turn + 1, 0);
  useEffect(() => {
    watchers.add(again);
    return () => watchers.delete(again);
  }, []);
  return run;
}

/** Call back when one of these topics has changed, once a second at most; returns what ends that. */
export function onChanged(topics, call) {
  const { soon, stop } = spaced(call);
  const reader = { topics, call: soon };
  readers.add(reader);
  return () => {
    readers.delete(reader);
    stop();
  };
}

/** The same call, however often it is asked for, with a rest from one to the next. */
function spaced(call, rest = () => REREAD_MS) {
  let [timer, last] = [null, -Infinity];
  const now = () => {
    [timer, last] = [null, performance.now()];
    call();
  };
  const soon = () => {
    if (timer === null) timer = setTimeout(now, Math.max(0, last + rest() - performance.now()));
  };
  return { soon, stop: () => clearTimeout(timer) };
}

/** Data of the API: {data, error, stale}. Read again when one of the topics has changed, once a second at most and never
    twice at a time; an answer that says the same draws nothing. A null path reads nothing. */
export function useData(path, params = {}, topics = []) {
  const url = path === null ? null : address(path, params);
  const [state, set] = useState({ url: null, data: null, error: null });
  const watched = useRef(topics);
  useEffect(() => (url === null ? undefined : keepRead(url, watched.current, set)), [url]);
  return { ...state, stale: state.url !== url };
}

function keepRead(url, topics, set) {
  const stop = new AbortController();
  let [busy, again, said, took] = [false, false, null, 0];
  async function read() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const began = performance.now();
    try {
      const got = await text(url, stop.signal);
      if (got !== said) set({ url, data: JSON.parse(got), error: null });
      said = got;
    } catch (error) {
      if (error.name !== "AbortError") set((before) => ({ ...before, url, error: error.message }));
      said = null;
    }
    busy = false;
    took = performance.now() - began;
    if (again && !stop.signal.aborted) later.soon();
    again = false;
  }
  // what takes the server long is asked for less often, so that a page never takes more than an eighth of its time
  const later = spaced(read, () => Math.max(REREAD_MS, 8 * took));
  const reader = { topics, call: later.soon };
  readers.add(reader);
  read();
  return () => {
    readers.delete(reader);
    later.stop();
    stop.abort();
  };
}
