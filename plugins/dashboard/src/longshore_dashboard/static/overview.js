// Overview: the stages in numbers, what was done over time, what held it back, what is slow now, what failed most.
import { html } from "./lib.js";
import { clock, count, duration, number, range, seconds } from "./format.js";
import { going, useData, useRun } from "./live.js";
import { colour, Legend, Stage, State } from "./marks.js";
import { Act, Empty, Head, Panel, Table, Told } from "./parts.js";
import { Link, TaskLink } from "./router.js";
import { Stacked } from "./stacked.js";

export function Page() {
  const run = useRun();
  const overview = useData("api/overview", {}, ["tasks", "failures", "resources"]);
  return html`<${Head} title="Overview" /><${Told} of=${overview}>${overview.data && html`<div class="grid"><${Parts} all=${overview.data} run=${run} /></div>`}<//>`;
}

function Parts({ all, run }) {
  const live = going();
  return html`
    <${Panel} title="Stages" bare><${Stages} stages=${all.stages} snapshot=${run.snapshot} live=${live} /><//>
    <${Panel} title="Tasks ended" half><${Ended} throughput=${all.throughput} /><//>
    <${Panel} title=${live ? "Time left, and what held it back" : "What held it back"} half><${Held} all=${all} run=${run} live=${live} /><//>
    ${live ? html`<${Panel} title="Running longest" half bare><${Running} rows=${all.running} control=${run.info.control} /><//>`
      : html`<${Panel} title="Ran longest" half bare side=${html`<${Link} to=${{ page: "tasks", sort: "run_s", desc: true }} fresh>all by time<//>`}><${Longest} /><//>`}
    <${Panel} title="Most frequent failures" half bare side=${html`<${Link} to=${{ page: "failures" }} fresh>all failures<//>`}><${Failures} groups=${all.failures} /><//>`;
}

/** How many of a state; a link to them where there are any. */
function Many({ stage, state, value }) {
  if (!value) return html`<span class="zero">0</span>`;
  return html`<${Link} to=${{ page: "tasks", name: stage.name, executor: stage.executor, state }} fresh>${count(value)}<//>`;
}

const SHOWN = ["pending", "processing", "retrying", "completed", "failed", "timed_out", "cancelled"];
const RARE = new Set(["retrying", "timed_out", "cancelled"]); // columns that are there only when they say something
const HEADS = ["Queued", "Running", "Retrying", "Completed", "Failed", "Timed out", "Cancelled"];

function Stages({ stages, snapshot, live }) {
  const now = new Map((snapshot?.stages ?? []).map((stage) => [`${stage.name}\n${stage.executor}`, stage]));
  const rate = (stage) => now.get(`${stage.name}\n${stage.executor}`)?.rate_per_s ?? null;
  const columns = [
    { key: "name", name: "Stage", clip: true, cell: (stage) => html`<${Stage} name=${stage.name} /> <span class="muted">${stage.executor}</span><${Share} stage=${stage} />` },
    ...SHOWN.map((state, place) => !(RARE.has(state) && stages.every((stage) => !stage[state])) && ({ key: state, name: HEADS[place], num: true, cell: (stage) => html`<${Many} stage=${stage} state=${state} value=${stage[state]} />` })),
    ...(live ? [{ key: "rate", name: "A second", num: true, cell: (stage) => number(rate(stage)) }] : []),
    { key: "mean", name: "Mean", num: true, cell: (stage) => duration(stage.mean_s) },
    { key: "p50", name: "p50", num: true, cell: (stage) => duration(stage.p50_s) },
    { key: "p95", name: "p95", num: true, cell: (stage) => duration(stage.p95_s) },
    { key: "p99", name: "p99", num: true, cell: (stage) => duration(stage.p99_s) },
    ...(live ? [{ key: "end", name: "Ends about", num: true, cell: (stage) => projected(stage, rate(stage)) }] : []),
  ].filter(Boolean);
  return html`<${Table} caption="Tasks of each stage by state, with rates and run times" columns=${columns} rows=${stages}
    keyed=${(stage) => `${stage.name}\n${stage.executor}`} empty="No task has been submitted yet." />`;
}

// At the rate of the last seconds; nothing is said where nothing ends.
function projected(stage, rate) {
  if (!stage.left) return "done";
  return rate > 0 ? clock(Date.now() / 1000 + stage.left / rate) : "–";
}

function Share({ stage }) {
  const parts = ["completed", "failed", "timed_out", "cancelled", "retrying", "processing"];
  return html`<div class="bar" aria-hidden="true">${parts.map((state) => stage[state] > 0 && html`<span key=${state} class="fill-${state}"
    style=${{ width: `${(100 * stage[state]) / Math.max(1, stage.total)}%` }}></span>`)}</div>`;
}

function Ended({ throughput: given }) {
  const throughput = inOrder(given);
  if (!throughput.counts.some((row) => row.some(Boolean))) return html`<p class="muted">Nothing has ended yet.</p>`;
  const steps = throughput.failures.map((failed, place) => ({ at: throughput.start + place * throughput.step_s, failed, counts: throughput.counts.map((row) => row[place]) }));
  const columns = [
    { key: "at", name: "From", cell: (step) => clock(step.at) },
    ...throughput.names.map((name, place) => ({ key: `n${place}`, name, num: true, cell: (step) => count(step.counts[place]) })),
    { key: "failed", name: "Failed", num: true, cell: (step) => count(step.failed) },
  ];
  return html`<div class="stack"><${Stacked} of=${throughput} /><${Legend} names=${throughput.names} />
    <details><summary>As a table</summary><${Table} caption="Tasks that ended, by time and stage" columns=${columns} rows=${steps} keyed=${(step) => step.at} /></details></div>`;
}

// Stages stand in the same order, and have the same colour, wherever they are shown.
function inOrder(given) {
  const places = given.names.map((_, place) => place).sort((a, b) => colour(given.names[a]) - colour(given.names[b]));
  return { ...given, names: places.map((place) => given.names[place]), counts: places.map((place) => given.counts[place]) };
}

function Held({ all, run, live }) {
  const { snapshot } = run;
  const left = live && snapshot ? range(snapshot.eta_low_s, snapshot.eta_high_s) : null;
  const begin = seconds(run.info?.started);
  const end = begin === null ? null : begin + (snapshot?.elapsed_s ?? 0);
  return html`<div class="stack">
    ${live && html`<p>${left ? html`<b>${left}</b> left: the end is between <b>${clock(Date.now() / 1000 + snapshot.eta_low_s)}</b> and <b>${clock(Date.now() / 1000 + (snapshot.eta_high_s ?? snapshot.eta_low_s))}</b>.`
      : "How long it will take cannot be told yet."}</p>`}
    ${live && snapshot?.throttled && html`<p><strong>Held back now:</strong> ${snapshot.throttled}</p>`}
    ${((all.bands ?? []).length > 0 || !(live && snapshot?.throttled)) && html`<${Bands} bands=${all.bands ?? []} begin=${begin} end=${end} />`}
    ${(all.alerts ?? []).length > 0 && html`<${Alerts} alerts=${all.alerts} />`}</div>`;
}

function Bands({ bands, begin, end }) {
  if (!bands.length) return html`<p class="muted">Nothing held the run back: tasks never waited while a worker was free.</p>`;
  const wide = Math.max(end - begin, 0.001);
  const place = (time) => Math.min(100, Math.max(0, (100 * (time - begin)) / wide));
  const closed = (band) => seconds(band.ended) ?? end;
  const sum = bands.reduce((total, band) => total + Math.max(0, closed(band) - seconds(band.began)), 0);
  const columns = [
    { key: "began", name: "From", cell: (band) => clock(band.began) },
    { key: "for", name: "For", num: true, cell: (band) => duration(closed(band) - seconds(band.began)) },
    { key: "reason", name: "Why", wide: true, cell: (band) => band.reason },
  ];
  return html`<p>Held back ${count(bands.length)} ${bands.length === 1 ? "time" : "times"}, for <b>${duration(sum)}</b> in all.</p>
    <div class="strip" aria-hidden="true">${bands.map((band, at) => html`<span key=${at} title=${band.reason}
      style=${{ left: `${place(seconds(band.began))}%`, width: `${place(closed(band)) - place(seconds(band.began))}%` }}></span>`)}</div>
    <div class="ticks" aria-hidden="true"><span>${clock(begin)}</span><span>${clock(end)}</span></div>
    <${Table} caption="When and why the run was held back, newest first" columns=${columns} rows=${[...bands].reverse().slice(0, 8)} />
    ${bands.length > 8 && html`<p class="muted">${count(bands.length - 8)} older ones are not in this table; <${Link} to=${{ page: "resources" }} fresh>Resources<//> has them.</p>`}`;
}

function Alerts({ alerts }) {
  return html`<h3>Alerts</h3><ul>${alerts.map((alert, place) => html`<li key=${place}><${State} state="failed">${alert.name ?? alert.subject ?? "alert"}<//> ${alert.reason ?? ""}
    ${(alert.began ?? alert.since) && html` <span class="muted">since ${clock(alert.began ?? alert.since)}</span>`}</li>`)}</ul>`;
}

function Running({ rows, control }) {
  const now = Date.now() / 1000;
  const columns = [
    { key: "key", name: "Task", tail: true, cell: (row) => html`<${TaskLink} id=${row.task_id}><bdi>${row.key ?? row.task_id}</bdi><//>` },
    { key: "name", name: "Stage", clip: true, cell: (row) => html`<${Stage} name=${row.name} />` },
    { key: "for", name: "Since", num: true, cell: (row) => html`<span title=${clock(row.started)}>${row.started ? duration(Math.max(0, now - row.started)) : "–"}</span>` },
    { key: "worker", name: "Worker", cell: (row) => row.worker ?? "–" },
    { key: "note", name: "Says", clip: true, cell: (row) => [row.progress === null || row.progress === undefined ? "" : `${Math.round(100 * row.progress)} %`, row.note].filter(Boolean).join(" ") },
    ...(control ? [{ key: "act", name: "", cell: (row) => html`<${Act} action="cancel" body=${{ task_id: row.task_id }} sure="Cancel this task?" danger>Cancel<//>` }] : []),
  ];
  return html`<${Table} caption="Tasks that run for the longest time" columns=${columns} rows=${rows} keyed=${(row) => row.task_id} empty="Nothing runs." />`;
}

/** Of a run that is over: the tasks that took the longest. */
function Longest() {
  const found = useData("api/tasks", { sort: "run_s", desc: 1, limit: 10 }, ["tasks"]);
  const columns = [
    { key: "key", name: "Task", tail: true, cell: (row) => html`<${TaskLink} id=${row.task_id}><bdi>${row.key ?? row.task_id}</bdi><//>` },
    { key: "name", name: "Stage", clip: true, cell: (row) => html`<${Stage} name=${row.name} />` },
    { key: "ran", name: "Ran", num: true, cell: (row) => duration(row.run_s) },
    { key: "state", name: "State", cell: (row) => html`<${State} state=${row.state} />` },
    { key: "worker", name: "Worker", cell: (row) => row.worker ?? "–" },
  ];
  const rows = (found.data?.rows ?? []).filter((row) => row.run_s !== null);
  return html`<${Told} of=${found}><${Table} caption="Tasks that ran for the longest time" columns=${columns} rows=${rows} keyed=${(row) => row.task_id} empty="Nothing ran." /><//>`;
}

function Failures({ groups }) {
  if (!groups.length) return html`<${Empty}>Nothing has failed.<//>`;
  const columns = [
    { key: "count", name: "Count", num: true, cell: (group) => count(group.count) },
    { key: "what", name: "Failure", wide: true, cell: (group) => html`<${Link} to=${{ page: "failures", group: group.fingerprint }} fresh>${group.type}<//>${" "}${group.message.split("\n")[0].slice(0, 200)}` },
    { key: "last", name: "Last", cell: (group) => clock(group.last) },
  ];
  return html`<${Table} caption="Most frequent failures" columns=${columns} rows=${groups} keyed=${(group) => group.fingerprint} />`;
}
