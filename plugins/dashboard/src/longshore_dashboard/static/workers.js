// Workers: what each has done and is at; where settings allow it, how many an executor has can be changed.
import { html, table, useState } from "./lib.js";
import { clock, count, duration, memory, percent, seconds } from "./format.js";
import { going, useData, useRun } from "./live.js";
import { State } from "./marks.js";
import { Act, Head, Panel, sortedRows, Table, Told, useSorted } from "./parts.js";
import { Link, TaskLink } from "./router.js";

// A worker that has had no task is known by its kind alone; these are the kinds whose executors have another name.
const EXECUTORS = table({ async: "asyncio", thread: "threads", process: "processes" });

export function Page() {
  const { info, snapshot } = useRun();
  const found = useData("api/workers", {}, ["tasks", "workers"]);
  const sorted = useSorted("busy_s", true);
  const rows = (found.data ?? []).map((row) => ({ ...(row.live ?? {}), ...row, executor: EXECUTORS[row.executor] ?? row.executor, current: row.live?.current_task ?? row.current, share: share(row, snapshot, info) }));
  const executors = [...new Set(rows.map((row) => row.executor))];
  return html`<${Head} title="Workers">${found.data && html`<span class="muted">${count(rows.length)} ${rows.length === 1 ? "worker" : "workers"}</span>`}<//>
    ${going() && info.control && executors.length > 0 && html`<${Panel} title="How many"><div class="row">
      ${executors.map((name) => html`<${Resize} key=${name} name=${name} now=${rows.filter((row) => row.executor === name && row.status !== "stopped").length} />`)}</div><//>`}
    <${Told} of=${found}>${found.data && html`<section class="panel" aria-label="Workers">
      <${Table} caption="Workers" columns=${columns(rows)} rows=${sortedRows(rows, sorted)} keyed=${(row) => row.worker} sorted=${sorted} empty="No worker has had a task yet." /></section>`}<//>`;
}

// Of the time since its first task began: what it was at work. Tasks that run side by side in one can make it more than all.
function share(row, snapshot, info) {
  const [first, begun] = [seconds(row.first), seconds(info?.started)];
  if (first === null || begun === null || !snapshot) return null;
  const until = Math.max(begun + snapshot.elapsed_s, seconds(row.last) ?? 0);
  return until > first ? (100 * row.busy_s) / (until - first) : null;
}

function columns(rows) {
  const any = (name) => rows.some((row) => row[name] !== undefined && row[name] !== null);
  return [
    { key: "worker", name: "Worker", sort: "worker", cell: (row) => html`<${Link} to=${{ page: "tasks", worker: row.worker }} fresh>${row.worker}<//>` },
    { key: "executor", name: "Executor", sort: "executor", cell: (row) => row.executor },
    any("status") && { key: "status", name: "Status", sort: "status", cell: (row) => (row.status ? html`<${State} state=${row.status} />` : "–") },
    any("pid") && { key: "pid", name: "pid", sort: "pid", num: true, cell: (row) => row.pid ?? "–" },
    { key: "tasks", name: "Tasks", sort: "tasks", num: true, cell: (row) => count(row.tasks) },
    { key: "failed", name: "Failed", sort: "failed", num: true, cell: (row) => (row.failed ? count(row.failed) : html`<span class="zero">0</span>`) },
    { key: "busy", name: "At work", sort: "busy_s", num: true, cell: (row) => duration(row.busy_s) },
    { key: "share", name: "Of its time", sort: "share", num: true, cell: (row) => percent(row.share) },
    { key: "cpu", name: "CPU", sort: "cpu_s", num: true, cell: (row) => duration(row.cpu_s) },
    { key: "memory", name: "Peak memory", sort: "peak_memory_mb", num: true, cell: (row) => memory(row.peak_memory_mb) },
    { key: "first", name: "First task", sort: "first", num: true, cell: (row) => clock(row.first) },
    { key: "last", name: "Last ended", sort: "last", num: true, cell: (row) => clock(row.last) },
    { key: "current", name: "Now at", clip: true, cell: (row) => (row.current ? html`<${TaskLink} id=${row.current}>${row.current}<//>${row.running_s ? ` for ${duration(row.running_s)}` : ""}` : "–") },
    any("last_heartbeat") && { key: "beat", name: "Last seen", num: true, cell: (row) => clock(row.last_heartbeat) },
  ].filter(Boolean);
}

function Resize({ name, now }) {
  const [wanted, want] = useState(now);
  return html`<div class="mark"><label class="mark">${name} <input type="number" min="1" max="1024" value=${wanted} onInput=${(event) => want(event.currentTarget.valueAsNumber)} /></label>
    <${Act} action="resize" body=${{ executor: name, workers: wanted }}>Change<//> <span class="muted">now ${count(now)}</span></div>`;
}
