// One task: what is known of it, its attempts, and the stages of its document side by side in time.
import { html } from "./lib.js";
import { count, duration, fine, memory, quoted, seconds, stamp } from "./format.js";
import { going, useData, useRun } from "./live.js";
import { colour, Stage, State } from "./marks.js";
import { Act, Copy, Head, Panel, Table, Told } from "./parts.js";
import { Link, TaskLink } from "./router.js";

export function Task({ id }) {
  const run = useRun();
  const found = useData(`api/tasks/${encodeURIComponent(id)}`, {}, ["tasks"]);
  const detail = found.data;
  const open = detail && going() && run.info.control && ["pending", "processing", "retrying"].includes(detail.task.state);
  return html`<${Head} title=${detail ? (detail.task.key ?? detail.task.task_id) : "Task"}>
      ${open && html`<${Act} action="cancel" body=${{ task_id: detail.task.task_id }} sure="Cancel this task?" danger>Cancel<//>`}
      <${Link} class="button" to=${{ page: "tasks" }} fresh>All tasks<//><//>
    <${Told} of=${found}>${detail && html`<${Detail} detail=${detail} info=${run.info} />`}<//>`;
}

function Detail({ detail, info }) {
  const { task } = detail;
  return html`
    <${Panel} title="What is known of it"><${Facts} detail=${detail} /><//>
    ${(task.error || detail.message) && html`<${Panel} title="Why it ended so"><div class="stack">
      <p><b class="failed">${task.error ?? ""}</b>${task.reason && html` <span class="muted">(${task.reason})</span>`}</p>
      ${detail.message && html`<p class="message">${detail.message}</p>`}
      ${task.fingerprint && html`<p><${Link} to=${{ page: "failures", group: task.fingerprint }} fresh>Failures that are the same<//></p>`}
      <${Copy} line=${`longshore resume ${quoted(info.run_id)} --failed`} label="Copy command" />
      ${detail.traceback && html`<h3>Traceback</h3><pre tabindex="0">${detail.traceback}</pre>`}</div><//>`}
    ${detail.output_tail && html`<${Panel} title="The end of what it wrote"><pre tabindex="0">${detail.output_tail}</pre><//>`}
    <${Panel} title="In time" bare><${Waterfall} detail=${detail} /><//>`;
}

function Facts({ detail }) {
  const { task } = detail;
  const facts = [
    ["State", html`<${State} state=${task.state} />`],
    ["Stage", html`<${Stage} name=${task.name} />`],
    ["Id", html`<span class="mono">${task.task_id}</span>`],
    ["Key", task.key],
    ["Executor", task.executor],
    ["Worker", task.worker && html`<${Link} to=${{ page: "tasks", worker: task.worker }} fresh>${task.worker}<//>`],
    ["Attempt", count(task.attempt)],
    ["Priority", ["critical", "high", "normal", "low", "background"][task.priority] ?? task.priority],
    ["Submitted", stamp(task.submitted)],
    ["Started", stamp(task.started)],
    ["Ended", task.ended ? stamp(task.ended) : null],
    ["Waited", duration(task.wait_s)],
    ["Ran", duration(task.run_s)],
    ["CPU", duration(task.cpu_s)],
    ["Peak memory", memory(task.peak_memory_mb)],
    ["Progress", task.progress === null || task.progress === undefined ? null : `${Math.round(100 * task.progress)} %`],
    ["Says", task.error ? null : task.note],
    ["Processor", detail.processor],
    ["Exit code", detail.exit_code],
    ["Signal", detail.signal],
    ["Document", detail.group],
    ["Submitted by", detail.parent_id && html`<${TaskLink} id=${detail.parent_id}>${detail.parent_id}<//>`],
    ["Tries again", detail.retry_of && html`<${TaskLink} id=${detail.retry_of}>${detail.retry_of}<//>`],
  ];
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "–");
  return html`<dl class="facts-list">${known.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** Its attempts, and the tasks that belong to it, each with its wait and its run on one axis of time. */
function Waterfall({ detail }) {
  const { task } = detail;
  const attempts = detail.attempts.map((one) => ({ ...one, name: task.name, attempt: one.number, said: [one.error, one.message].filter(Boolean).join(": ") }));
  const rows = [...attempts, { ...task, mine: true, said: [task.error, task.note].filter(Boolean).join(": ") }, ...detail.related.map((row) => ({ ...row, other: true, said: row.error ?? "" }))];
  rows.sort((a, b) => (seconds(a.started) ?? Infinity) - (seconds(b.started) ?? Infinity));
  const begins = rows.map((row) => (seconds(row.started) === null ? seconds(row.submitted) : seconds(row.started) - (row.wait_s ?? 0))).filter((at) => at !== null);
  const ends = rows.map((row) => seconds(row.ended) ?? seconds(row.started)).filter((at) => at !== null);
  const axis = { from: Math.min(...begins), to: Math.max(...ends, ...begins) };
  const columns = [
    { key: "stage", name: "Stage", clip: true, cell: (row) => (row.other ? html`<${TaskLink} id=${row.task_id}>${row.name}<//>` : html`<${Stage} name=${row.name} />`) },
    { key: "attempt", name: "Attempt", num: true, cell: (row) => count(row.attempt) },
    { key: "state", name: "State", cell: (row) => html`<${State} state=${row.state} />` },
    { key: "track", shape: "track", name: `${duration(axis.to - axis.from)} from ${fine(axis.from)}`, cell: (row) => html`<${Track} row=${row} axis=${axis} />` },
    { key: "waited", name: "Waited", num: true, cell: (row) => duration(row.wait_s) },
    { key: "ran", name: "Ran", num: true, cell: (row) => duration(row.run_s ?? (row.ended && row.started ? seconds(row.ended) - seconds(row.started) : null)) },
    { key: "worker", name: "Worker", cell: (row) => row.worker ?? "–" },
    { key: "said", name: "What became of it", wide: true, cell: (row) => row.said.slice(0, 300) },
  ];
  return html`<div class="waterfall"><${Table} caption="Attempts, and the tasks that belong to this one, over time" columns=${columns} rows=${rows} /></div>`;
}

function Track({ row, axis }) {
  const start = seconds(row.started);
  if (start === null) return html`<span class="muted">not started</span>`;
  const wide = Math.max(axis.to - axis.from, 1e-6);
  const part = (value) => `${Math.min(100, Math.max(0, (100 * value) / wide)).toFixed(3)}%`;
  const end = seconds(row.ended) ?? axis.to;
  const wait = row.wait_s ?? 0;
  const failed = row.state === "failed" || row.state === "timed_out";
  return html`<div class="track-bar" aria-hidden="true">
    ${wait > 0 && html`<span class="lead" style=${{ left: part(start - wait - axis.from), width: part(wait) }}></span>`}
    <span class="c${colour(row.name)} ${failed ? "hatched" : ""}" style=${{ left: part(start - axis.from), width: part(end - start) }}></span></div>`;
}
