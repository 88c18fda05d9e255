// Tasks: a page of the table at a time, filtered and sorted by the server; a task by itself when the URL names one.
import { html, useEffect, useMemo } from "./lib.js";
import { clock, count, duration, memory } from "./format.js";
import { useData, useRun } from "./live.js";
import { STATES, Stage, State, word } from "./marks.js";
import { Choice, Empty, Head, Search, Table, Told, useSorted } from "./parts.js";
import { go, Link, TaskLink, useQuery } from "./router.js";
import { Task } from "./task.js";

const LIMIT = 100;

export function Page() {
  const { task } = useQuery();
  if (!task) return html`<${All} />`;
  return /^@[0-9]+$/.test(task) ? html`<${ByRow} key=${task} row=${Number(task.slice(1))} />` : html`<${Task} key=${task} id=${task} />`;
}

/** The task of a row, which is how a bar of the timeline names it: the first one of the page that goes on from the row before. */
function ByRow({ row }) {
  const found = useData("api/tasks", { sort: "id", after: JSON.stringify(["id", row - 1, row - 1]), limit: 1 });
  const task = found.data?.rows[0];
  useEffect(() => {
    if (task && task.id === row) go({ task: task.task_id }, { replace: true });
  }, [task]);
  return html`<${Head} title="Task" /><${Told} of=${found}>${!task && html`<${Empty}>There is no such task.<//>`}<//>`;
}

function All() {
  const query = useQuery();
  const sorted = useSorted("id", false);
  const page = useData("api/tasks", {
    state: query.state, name: query.name, executor: query.executor, worker: query.worker, fingerprint: query.fingerprint, q: query.q,
    sort: sorted.by, desc: sorted.down ? "1" : "", after: query.after, limit: LIMIT,
  }, ["tasks"]);
  return html`<${Head} title="Tasks">${page.data && html`<span class="muted">${count(page.data.total)} ${page.data.total === 1 ? "task" : "tasks"}</span>`}<//>
    <${Filters} query=${query} />
    <${Told} of=${page}>${page.data && html`<section class="panel" aria-label="Tasks">
      <${Table} caption="Tasks" columns=${COLUMNS} rows=${page.data.rows} keyed=${(row) => row.id} sorted=${sorted} empty="No task fits these filters." />
      <${Pages} query=${query} page=${page.data} /></section>`}<//>`;
}

const COLUMNS = [
  { key: "key", name: "Task", sort: "key", tail: true, cell: (row) => html`<${TaskLink} id=${row.task_id}><bdi>${row.key ?? row.task_id}</bdi><//>` },
  { key: "state", name: "State", sort: "state", cell: (row) => html`<${State} state=${row.state} />` },
  { key: "name", name: "Stage", sort: "name", clip: true, cell: (row) => html`<${Stage} name=${row.name} />` },
  { key: "attempt", name: "Attempt", sort: "attempt", num: true, cell: (row) => count(row.attempt) },
  { key: "wait_s", name: "Waited", sort: "wait_s", num: true, cell: (row) => duration(row.wait_s) },
  { key: "run_s", name: "Ran", sort: "run_s", num: true, cell: (row) => duration(row.run_s) },
  { key: "cpu_s", name: "CPU", sort: "cpu_s", num: true, cell: (row) => duration(row.cpu_s) },
  { key: "peak", name: "Peak memory", sort: "peak_memory_mb", num: true, cell: (row) => memory(row.peak_memory_mb) },
  { key: "worker", name: "Worker", sort: "worker", cell: (row) => row.worker ?? "–" },
  { key: "started", name: "Started", sort: "started", num: true, cell: (row) => clock(row.started) },
  { key: "said", name: "What became of it", wide: true, cell: (row) => [row.error, row.note].filter(Boolean).join(": ").slice(0, 300) },
];

function Filters({ query }) {
  const { snapshot } = useRun();
  const names = useMemo(() => [...new Set((snapshot?.stages ?? []).map((stage) => stage.name))], [snapshot]);
  const executors = useMemo(() => [...new Set((snapshot?.stages ?? []).map((stage) => stage.executor))], [snapshot]);
  const states = (query.state ?? "").split(",").filter(Boolean);
  const turn = (state) => {
    const wanted = states.includes(state) ? states.filter((one) => one !== state) : [...states, state];
    go({ state: wanted.join(","), after: null });
  };
  const others = ["worker", "fingerprint"].filter((name) => query[name]);
  const any = ["state", "name", "executor", "worker", "fingerprint", "q"].some((name) => query[name]);
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
    <${Search} name="q" label="Key, id or message" placeholder="part of it" />
    <${Choice} name="name" label="Stage" options=${names} />
    <${Choice} name="executor" label="Executor" options=${executors} />
    <div class="chips" role="group" aria-label="States">${STATES.map((state) => html`<button key=${state} type="button" aria-pressed=${String(states.includes(state))}
      onClick=${() => turn(state)}>${word(state)}</button>`)}</div>
    ${others.map((name) => html`<button key=${name} type="button" onClick=${() => go({ [name]: null, after: null })}>${name} ${query[name]} ×<span class="hidden"> take this filter away</span></button>`)}
    ${any && html`<${Link} class="button" to=${{ page: "tasks" }} fresh>Show all<//>`}
  </form>`;
}

/** The way on and back. A page is named by where it begins, so the trail that led here is kept beside the URL. */
function Pages({ query, page }) {
  const trail = history.state?.trail ?? [];
  const before = trail.at(-1);
  return html`<nav class="pages" aria-label="Pages of tasks">
    ${query.after && html`<${Link} class="button" to=${{ after: null }}>First<//>`}
    ${query.after && before !== undefined && html`<${Link} class="button" rel="prev" to=${{ after: before }} state=${{ trail: trail.slice(0, -1) }}>Before<//>`}
    ${page.next && html`<${Link} class="button" rel="next" to=${{ after: page.next }} state=${{ trail: [...trail, query.after ?? ""] }}>Next<//>`}
    <span class="muted">${count(page.rows.length)} of ${count(page.total)} shown</span></nav>`;
}
