// Logs: the lines of the run, by level and text; following adds the new ones at the end as they come.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./lib.js";
import { address, text } from "./api.js";
import { fine } from "./format.js";
import { going, onChanged, useRun } from "./live.js";
import { Choice, Empty, Head, Search } from "./parts.js";
import { go, TaskLink, useQuery } from "./router.js";

const KEPT = 2000; // lines in the page; older ones go as new ones come
const SENT = 500; // lines that one answer has at most
const LEVELS = ["debug", "info", "warning", "error", "critical"];

export function Page() {
  const { level, q, follow } = useQuery();
  useRun();
  const { lines, error, read } = useLines(level, q, going() && follow === "1");
  const box = useRef(null);
  const end = useRef(true);
  useLayoutEffect(() => {
    // who has scrolled up reads there, and is left in peace
    if (follow === "1" && end.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, follow]);
  const scrolled = () => {
    end.current = box.current.scrollHeight - box.current.scrollTop - box.current.clientHeight < 30;
  };
  return html`<${Head} title="Logs" />
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Search} name="q" label="Text" placeholder="part of a line" />
      <${Choice} name="level" label="At least" options=${LEVELS} />
      ${going() && html`<div class="check"><input id="follow" type="checkbox" checked=${follow === "1"} onChange=${(event) => go({ follow: event.currentTarget.checked })} /><label for="follow">Follow</label></div>`}
    </form>
    ${error && html`<p class="error" role="alert">${error}</p>`}
    <section class="panel" aria-label="Log lines">${lines.length === 0 ? html`<${Empty} reading=${!read}>${read ? (level || q ? "No line fits." : "There are no lines.") : "Reading …"}<//>`
      : html`<ul class="log" ref=${box} onScroll=${scrolled} tabindex="0" aria-label="Log lines, oldest first">${lines.map((line) => html`<${Line} key=${line.number} line=${line} />`)}</ul>`}</section>`;
}

function Line({ line }) {
  const level = String(line.level ?? "").toLowerCase();
  return html`<li><span class="muted">${fine(line.at)}</span><span class="level-${LEVELS.includes(level) ? level : "info"}">${level}</span>
    <span class="text"><span class="muted">${line.logger}${line.logger ? " " : ""}</span>${line.message}${line.task_id && html` <${TaskLink} id=${line.task_id}>${line.task_id}<//>`}</span></li>`;
}

/** The lines that fit, with those that come while `follow` holds. */
function useLines(level, q, follow) {
  const [state, set] = useState({ lines: [], error: null, read: false });
  const at = useRef({ next: null });
  useEffect(() => {
    at.current = { next: null };
    set({ lines: [], error: null, read: false });
    const stop = new AbortController();
    more(level, q, at.current, set, stop.signal);
    return () => stop.abort();
  }, [level, q]);
  useEffect(() => {
    if (!follow) return undefined;
    const stop = new AbortController();
    const off = onChanged(["logs"], () => more(level, q, at.current, set, stop.signal));
    at.current.following = true;
    more(level, q, at.current, set, stop.signal);
    return () => {
      stop.abort();
      at.current.following = false;
      off();
    };
  }, [level, q, follow]);
  return state;
}

async function more(level, q, at, set, signal) {
  if (at.busy) {
    at.again = true;
    return;
  }
  at.busy = true;
  try {
    const got = JSON.parse(await text(address("api/logs", { level, q, after: at.next }), signal));
    at.next = got.next ?? at.next;
    if (at.following && got.lines.length >= SENT) at.again = true; // there is more than one answer has
    set((before) => ({ lines: got.lines.length ? [...before.lines, ...got.lines].slice(-KEPT) : before.lines, error: null, read: true }));
  } catch (error) {
    if (error.name !== "AbortError") set((before) => ({ ...before, error: error.message, read: true }));
  }
  at.busy = false;
  if (at.again && !signal.aborted) {
    at.again = false;
    await more(level, q, at, set, signal);
  }
}
