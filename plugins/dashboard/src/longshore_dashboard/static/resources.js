// Resources: what was used and waited for over the run, on charts with one cursor, with limits as lines and the times of being held back as bands.
import { html, own, table, useEffect, useMemo, useRef, useState } from "./lib.js";
import { clock, duration, number, seconds } from "./format.js";
import { useData } from "./live.js";
import { Plot } from "./plot.js";
import { Empty, Head, Panel, Table, Told } from "./parts.js";
import { go, useQuery } from "./router.js";

const NAMES = table({ cpu: "CPU", memory: "Memory", gpu: "GPU", gpu_memory: "GPU memory", disk_io: "Disk", network_io: "Network" });

export function Page() {
  const query = useQuery();
  const found = useData("api/resources", { from: query.from, to: query.to }, query.to ? [] : ["resources"]);
  const charts = useMemo(() => (found.data ? chartsOf(found.data) : []), [found.data]);
  const zoomed = Boolean(query.from);
  return html`<${Head} title="Resources">${zoomed && html`<button type="button" onClick=${() => go({ from: null, to: null })}>All of the run</button>`}<//>
    <${Told} of=${found}>${found.data && html`
      ${charts.length === 0 ? html`<section class="panel" aria-label="Resources"><${Empty}>${zoomed ? "Nothing was measured in this time." : "Nothing was measured: no probe, or the run was too short."}<//></section>`
      : html`<p class="muted">Drag along a chart to zoom. Shaded: held back. Dashed: the limit above which nothing new starts.</p>
        <div class="grid">${charts.map((chart) => html`<${Chart} key=${chart.key} chart=${chart} bands=${found.data.bands ?? []} />`)}</div>`}
      <${Bands} bands=${found.data.bands ?? []} /><${Happenings} rows=${found.data.happenings ?? []} />`}<//>`;
}

/** Make charts of the points: one for each resource, the queue, the workers, the rate. {key, title, unit, at, lines: [{name, values, limit}]}. */
function chartsOf({ points, limits }) {
  if (!points.length) return [];
  const at = points.map((point) => seconds(point.at));
  const line = (name, value, extra) => ({ name, values: points.map((point) => value(point) ?? null), ...extra });
  const names = [...new Set(points.flatMap((point) => Object.keys(point.usage ?? {})))];
  const usage = names.map((key) => {
    const unit = points.map((point) => own(point.usage, key)?.unit).find(Boolean) ?? "%";
    const percent = points.some((point) => typeof own(point.usage, key)?.percent === "number");
    const lines = [line("used", (point) => own(point.usage, key)?.[percent ? "percent" : "used"])];
    const limit = points.map((point) => own(point.usage, key)?.limit).findLast((one) => typeof one === "number") ?? own(limits, key);
    if (typeof limit === "number") lines.push(line("limit", () => limit, { limit: true }));
    return { key, title: NAMES[key] ?? key, unit: percent ? "%" : unit, top: percent ? 100 : null, at, lines };
  });
  const queues = new Map(points.flatMap((point) => Object.entries(point.queue ?? {}).flatMap(([executor, by]) => Object.keys(by).map((priority) => [`${executor} ${priority}`, [executor, priority]]))));
  const depth = { key: "queue", title: "Queue", unit: "tasks", at, lines: queues.size
    ? [...queues].slice(0, 8).map(([name, [executor, priority]]) => line(name, ({ queue }) => own(own(queue, executor), priority) ?? 0))
    : [line("queued", (point) => point.queued), line("retrying", (point) => point.retrying)] };
  const executors = [...new Set(points.flatMap((point) => Object.keys(point.workers ?? {})))];
  const workers = { key: "workers", title: "Workers", unit: "", at, lines: executors.slice(0, 4).flatMap((name) => [
    line(`${name} at work`, (point) => own(point.workers, name)?.active), line(`${name} in all`, (point) => own(point.workers, name)?.total, { limit: true })]) };
  const rate = { key: "rate", title: "Tasks ended", unit: "a second", at, lines: [line("ended", (point) => point.rate_per_s)] };
  return [...usage, depth, ...(executors.length ? [workers] : []), rate];
}

function Chart({ chart, bands }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [failed, fail] = useState(false);
  useEffect(() => {
    let over = false;
    Plot.make(box.current, chart, bands, (from, to) => go({ from: from.toFixed(3), to: to.toFixed(3) })).then(
      (made) => (over ? made.end() : (plot.current = made)), () => fail(true));
    return () => {
      over = true;
      plot.current?.end();
    };
  }, []);
  useEffect(() => plot.current?.show(chart, bands), [chart, bands]);
  const columns = [{ key: "at", name: "At", cell: (row) => clock(row.at) }, ...chart.lines.map((line, place) => ({ key: `l${place}`, name: `${line.name} ${chart.unit}`, num: true, cell: (row) => number(row.values[place]) }))];
  const rows = sampled(chart);
  return html`<${Panel} title=${`${chart.title}${chart.unit ? `, ${chart.unit}` : ""}`} half><div class="stack">
    ${failed && html`<p class="error">The chart could not be read; its table is below.</p>`}
    <div class="plot" ref=${box} role="img" aria-label=${spoken(chart)}></div>
    <details><summary>As a table</summary>${rows.length < chart.at.length && html`<p class="muted">The largest of each ${Math.ceil(chart.at.length / MOST)} points.</p>`}
      <${Table} caption=${chart.title} columns=${columns} rows=${rows} /></details></div><//>`;
}

const MOST = 120; // rows of a table: of several points that share one the largest values are shown

function sampled(chart) {
  const size = Math.ceil(chart.at.length / MOST);
  const rows = [];
  for (let place = 0; place < chart.at.length; place += size)
    rows.push({ at: chart.at[place], values: chart.lines.map((line) => largest(line.values.slice(place, place + size))) });
  return rows;
}

function largest(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? Math.max(...known) : null;
}

function spoken(chart) {
  return `${chart.title} from ${clock(chart.at[0])} to ${clock(chart.at.at(-1))}. ${chart.lines.map((line) => {
    const last = line.values.findLast((value) => value !== null);
    return `${line.name}: at most ${number(largest(line.values))}, at the end ${number(last)} ${chart.unit}`;
  }).join(". ")}`;
}

const SPAN = [
  { key: "began", name: "From", cell: (row) => clock(row.began) },
  { key: "for", name: "For", num: true, cell: (row) => (row.ended ? duration(seconds(row.ended) - seconds(row.began)) : "goes on") },
  { key: "reason", name: "Why", wide: true, cell: (row) => row.reason },
];
const HAPPENED = [
  { key: "began", name: "At", cell: (row) => clock(row.began) },
  { key: "type", name: "What", cell: (row) => row.type.replaceAll("_", " ") },
  { key: "subject", name: "Of", cell: (row) => row.subject },
  { key: "reason", name: "Why", wide: true, cell: (row) => row.reason },
];

function Bands({ bands }) {
  return html`<${Panel} title="Held back" bare><${Table} caption="When and why the run was held back" columns=${SPAN} rows=${bands} empty="Nothing held the run back." /><//>`;
}

function Happenings({ rows }) {
  if (!rows.length) return null;
  return html`<${Panel} title="Of note" bare><${Table} caption="What of note happened" columns=${HAPPENED} rows=${rows} /><//>`;
}
