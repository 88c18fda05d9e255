// What stands around every page: the run in one line, whether it is held up, the way to the pages.
import { html, useEffect, useRef, useState } from "./lib.js";
import { clock, count, duration, number, range, seconds } from "./format.js";
import { going, run, useRun } from "./live.js";
import { State } from "./marks.js";
import { Act } from "./parts.js";
import { Link, useQuery } from "./router.js";
import { toggle } from "./theming.js";

export const PAGES = [
  { id: "overview", title: "Overview", load: () => import("./overview.js") },
  { id: "timeline", title: "Timeline", load: () => import("./timeline.js") },
  { id: "tasks", title: "Tasks", load: () => import("./tasks.js") },
  { id: "failures", title: "Failures", load: () => import("./failures.js") },
  { id: "workers", title: "Workers", load: () => import("./workers.js") },
  { id: "resources", title: "Resources", load: () => import("./resources.js") },
  { id: "settings", title: "Plugins and settings", load: () => import("./settings.js") },
  { id: "logs", title: "Logs", load: () => import("./logs.js") },
];

export function Frame({ children, onHelp }) {
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <div class="frame">
      <header class="head"><${Run} onHelp=${onHelp} /></header>
      <nav class="nav" aria-label="Pages"><${Nav} /></nav>
      <main class="main" id="main" tabindex="-1">${children}</main>
    </div>
    <${Spoken} />`;
}

// The anchor's own way would put a fragment into the URL.
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function Nav() {
  const { page = "overview" } = useQuery();
  const { snapshot } = useRun();
  const counts = snapshot ? { tasks: snapshot.submitted, failures: snapshot.failed } : {};
  return html`<ul>${PAGES.map(({ id, title }) => html`<li key=${id}>
    <${Link} to=${{ page: id === "overview" ? null : id }} fresh aria-current=${page === id ? "page" : undefined}>
      <span>${title}</span>${counts[id] > 0 && html`<span class="count">${count(counts[id])}</span>`}<//></li>`)}</ul>`;
}

const ended = (snapshot) => snapshot.completed + snapshot.failed + snapshot.cancelled;

function Run({ onHelp }) {
  useRun();
  const { info, snapshot } = run;
  const live = going();
  if (!info) return html`<div class="head-row"><strong>longshore</strong>${run.error && html`<span role="alert">${run.error}</span>`}<${Tools} onHelp=${onHelp} /></div>`;
  return html`<div class="head-row">
      <div class="title"><strong title=${`${info.name}, run ${info.run_id}`}>${info.name}</strong><span class="mono muted">${info.run_id}</span></div>
      <${Facts} run=${run} />
      <div class="tools">${live && info.control && (snapshot?.paused
        ? html`<${Act} key="on" action="unpause">Go on<//>` : html`<${Act} key="off" action="pause">Pause<//>`)}<${Tools} onHelp=${onHelp} /></div>
    </div>
    ${snapshot && html`<${Meter} snapshot=${snapshot} />`}
    ${live && snapshot?.throttled && html`<p class="banner"><strong>Held back:</strong> <span>${snapshot.throttled}</span></p>`}
    ${run.health && !run.health.healthy && html`<p class="banner bad"><strong>Not well:</strong> <span>${run.health.reasons.join("; ")}</span></p>`}
    ${run.error && html`<p class="banner bad" role="alert">${run.error}</p>`}
    ${run.fault && html`<p class="banner bad"><strong>The run itself failed:</strong> <span>${run.fault}</span></p>`}
    ${run.left_out > 0 && html`<p class="banner"><span>${count(run.left_out)} tasks are counted and have no row here: they are more than are kept.</span></p>`}
    ${run.notes.length > 0 && html`<p class="banner"><span>${run.notes.join(" · ")}</span></p>`}`;
}

function Tools({ onHelp }) {
  return html`<button type="button" onClick=${toggle}>Theme</button>
    <button type="button" onClick=${onHelp} aria-haspopup="dialog">Help <kbd aria-hidden="true">?</kbd></button>`;
}

const LINKS = { live: "live", joining: "joining …", down: "reconnecting …" };

function Facts({ run }) {
  const { snapshot } = run;
  if (!snapshot) return html`<div class="facts"><${State} state=${run.state} /></div>`;
  const live = going();
  const left = live ? range(snapshot.eta_low_s, snapshot.eta_high_s) : null;
  const all = snapshot.total ?? snapshot.submitted;
  return html`<div class="facts">
    ${live ? html`<span class="live ${run.link === "live" ? "" : "down"}">${LINKS[run.link] ?? ""}</span>` : html`<${State} state=${run.state} />`}
    <span><b>${count(ended(snapshot))}</b> of ${count(all)}${all > 0 && ` (${Math.floor((100 * ended(snapshot)) / all)} %)`}</span>
    <span><${State} state="completed">${count(snapshot.completed)} completed<//></span>
    <span><${State} state="failed">${count(snapshot.failed)} failed<//></span>
    ${snapshot.cancelled > 0 && html`<span><${State} state="cancelled">${count(snapshot.cancelled)} cancelled<//></span>`}
    ${live && html`<span><${State} state="processing">${count(snapshot.running)} running<//></span>`}
    ${live && html`<span><b>${number(snapshot.rate_per_s)}</b> a second</span>`}
    <span>${live ? html`<${Elapsed} run=${run} />` : html`<b>${duration(snapshot.elapsed_s)}</b>`}</span>
    ${left && html`<span title=${`ends at about ${clock(Date.now() / 1000 + (snapshot.eta_high_s ?? snapshot.eta_low_s))} at the latest`}><b>${left}</b> left</span>`}
  </div>`;
}

/** For how long it goes on: the only thing on an idle page that moves, once a second. */
function Elapsed({ run }) {
  const [, again] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && again((turn) => turn + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const since = run.snapshot.elapsed_s + (performance.now() - run.heard) / 1000;
  return html`<b title=${`since ${clock(seconds(run.info.started))}`}>${duration(Math.floor(since))}</b>`;
}

function Meter({ snapshot }) {
  const all = Math.max(snapshot.total ?? 0, snapshot.submitted, 1);
  const late = snapshot.timed_out ?? 0;
  const parts = [["completed", snapshot.completed], ["failed", snapshot.failed - late], ["timed_out", late], ["cancelled", snapshot.cancelled], ["processing", snapshot.running]];
  const done = ended(snapshot);
  return html`<div class="meter" role="progressbar" aria-label="Tasks that have ended" aria-valuemin="0" aria-valuemax=${all} aria-valuenow=${done} aria-valuetext=${`${done} of ${all}`}>
    ${parts.map(([state, many]) => many > 0 && html`<span key=${state} class="fill-${state}" style=${{ width: `${(100 * many) / all}%` }}></span>`)}</div>`;
}

/** What a screen reader is told without asking: the totals, when they have changed, every ten seconds at most. */
function Spoken() {
  const { snapshot } = useRun();
  const [said, say] = useState("");
  const timer = useRef(null);
  const line = useRef("");
  line.current = snapshot ? `${ended(snapshot)} of ${snapshot.total ?? snapshot.submitted} tasks ended, ${snapshot.failed} failed.` : "";
  useEffect(() => {
    if (!going() || timer.current !== null || line.current === said) return;
    timer.current = setTimeout(() => {
      timer.current = null;
      say(line.current);
    }, 10000);
  });
  useEffect(() => () => clearTimeout(timer.current), []);
  return html`<p class="hidden" role="status" aria-live="polite">${said}</p>`;
}
