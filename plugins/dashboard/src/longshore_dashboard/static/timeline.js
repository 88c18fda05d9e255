// Timeline: what ran when, on lanes of workers or of stages, drawn on a canvas of our own; with a brush to zoom.
import { html, useMemo, useRef, useEffect, useState } from "./lib.js";
import { clock, count, duration, fine } from "./format.js";
import { useData } from "./live.js";
import { Gantt } from "./gantt.js";
import { Legend, Stage, State } from "./marks.js";
import { Empty, Head, Table, Told } from "./parts.js";
import { go, Link, useQuery } from "./router.js";

export function Page() {
  const query = useQuery();
  const by = query.by === "stages" ? "stages" : "workers";
  const waits = query.waits !== "0";
  const found = useData("api/timeline", { from: query.from, to: query.to, by }, query.to ? [] : ["tasks"]);
  return html`<${Head} title="Timeline">
      <span class="chips" role="group" aria-label="Lanes">${["workers", "stages"].map((one) => html`<${Link} key=${one} class="button" aria-current=${String(by === one)}
        to=${{ by: one === "workers" ? null : one }}>by ${one}<//>`)}</span>
      <button type="button" aria-pressed=${String(waits)} onClick=${() => go({ waits: waits ? "0" : null })}>Show waits</button><//>
    <${Told} of=${found}>${found.data && html`<${Shown} line=${found.data} query=${query} waits=${waits} by=${by} />`}<//>`;
}

function Shown({ line, query, waits, by }) {
  const wide = line.end - line.start;
  const zoom = (from, to) => go({ from: from.toFixed(4), to: to.toFixed(4) });
  const move = (part) => zoom(line.start + part * wide, line.end + part * wide);
  const scale = (factor) => {
    const [middle, half] = [(line.start + line.end) / 2, (wide * factor) / 2];
    zoom(middle - half, middle + half);
  };
  const all = () => go({ from: null, to: null });
  if (!line.total && !query.from) return html`<section class="panel" aria-label="Timeline"><${Empty}>Nothing has run yet.<//></section>`;
  return html`
    ${line.step_s !== null && line.step_s !== undefined && html`<p class="banner"><strong>Binned:</strong> <span>${count(line.total)} attempts are too many to draw one by one.
      Each column sums up ${duration(line.step_s)}: its height is how much was worked, its colour the stage with the most work. Zoom in to see each attempt.</span></p>`}
    ${line.lanes_left_out > 0 && html`<p class="banner"><span>${count(line.lanes_left_out)} lanes more are too many to draw.</span></p>`}
    <section class="panel" aria-label="Timeline">
      <header><h2>${fine(line.start)} – ${fine(line.end)} <span class="muted">(${duration(wide)}, ${count(line.total)} attempts)</span></h2>
        <div class="side" role="group" aria-label="Zoom">
          <button type="button" onClick=${() => move(-0.5)} disabled=${!query.from}>← Earlier</button>
          <button type="button" onClick=${() => move(0.5)} disabled=${!query.from}>Later →</button>
          <button type="button" onClick=${() => scale(0.5)}>Zoom in</button>
          <button type="button" onClick=${() => scale(2)} disabled=${!query.from}>Zoom out</button>
          <button type="button" onClick=${all} disabled=${!query.from}>All</button></div></header>
      <${Canvas} line=${line} waits=${waits} by=${by} acts=${{ zoom, move, scale, all }} />
      <div class="body stack"><${Legend} names=${line.names} />
        <p class="legend"><span class="mark"><span class="swatch hatch"></span>failed or timed out</span><span>outlined: cancelled</span><span>open at its end: running</span>
          ${waits && html`<span>thin line before a bar: it waited</span>`}<span>empty: nothing to do</span></p>
        <${Rows} line=${line} /></div></section>`;
}

/** The canvas, made once; what it shows is given to it again with each change. */
function Canvas({ line, waits, by, acts }) {
  const box = useRef(null);
  const drawn = useRef(null);
  const newest = useRef(acts);
  newest.current = acts;
  const [tip, say] = useState(null);
  useEffect(() => {
    const gantt = new Gantt(box.current, {
      zoom: (from, to) => newest.current.zoom(from, to),
      open: (row) => go({ page: "tasks", task: `@${row}` }, { fresh: true }),
      tell: say,
    });
    drawn.current = gantt;
    return () => gantt.end();
  }, []);
  useEffect(() => drawn.current.show(line, { waits, by }), [line, waits, by]);
  const press = (event) => {
    const { move, scale, all } = newest.current;
    const acts = { ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), "+": () => scale(0.5), "=": () => scale(0.5), "-": () => scale(2), "0": all, Escape: all };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  };
  const label = `Timeline of ${line.total} attempts on ${line.lanes.length} lanes from ${clock(line.start)} to ${clock(line.end)}. Arrow keys move, plus and minus zoom. The table below has the same.`;
  return html`<div class="gantt"><div ref=${box} tabindex="0" role="group" aria-label=${label} onKeyDown=${press}></div>
    ${tip && html`<div class="tip" style=${{ left: `${tip.x}px`, top: `${tip.y}px` }}>${tip.bar ? html`<${Bar} bar=${tip.bar} line=${line} />` : html`<${Bin} bin=${tip.bin} line=${line} />`}</div>`}</div>`;
}

function Bar({ bar: [lane, start, end, state, name, row, wait], line }) {
  return html`<b>${line.names[name]}</b> <${State} state=${state} /><br />${line.lanes[lane]} · task ${row}<br />${fine(start)}, ran ${duration(end - start)}${wait ? `, waited ${duration(wait)}` : ""}`;
}

function Bin({ bin: [lane, start, busy, tasks, failed, name, longest], line }) {
  return html`<b>${line.lanes[lane]}</b> from ${fine(start)}<br />mostly ${line.names[name]}; ${count(tasks)} ended, ${count(failed)} failed<br />worked in ${Math.round(100 * busy)} % of it, longest ${duration(longest)}`;
}

const MOST = 200; // rows of the table: who wants more zooms in, or goes to Tasks

function Rows({ line }) {
  const binned = line.bins.length > 0;
  const rows = useMemo(() => (binned ? [...line.bins].sort((a, b) => b[2] - a[2]) : [...line.bars].sort((a, b) => b[2] - b[1] - (a[2] - a[1]))).slice(0, MOST), [line]);
  const columns = binned ? [
    { key: "lane", name: "Lane", cell: (bin) => line.lanes[bin[0]] },
    { key: "start", name: "From", num: true, cell: (bin) => fine(bin[1]) },
    { key: "busy", name: "Worked in", num: true, cell: (bin) => `${Math.round(100 * bin[2])} %` },
    { key: "tasks", name: "Ended", num: true, cell: (bin) => count(bin[3]) },
    { key: "failed", name: "Failed", num: true, cell: (bin) => count(bin[4]) },
    { key: "name", name: "Mostly", cell: (bin) => html`<${Stage} name=${line.names[bin[5]]} />` },
    { key: "longest", name: "Longest", num: true, cell: (bin) => duration(bin[6]) },
  ] : [
    { key: "lane", name: "Lane", cell: (bar) => line.lanes[bar[0]] },
    { key: "task", name: "Task", cell: (bar) => html`<${Link} to=${{ page: "tasks", task: `@${bar[5]}` }} fresh>task ${bar[5]}<//>` },
    { key: "name", name: "Stage", cell: (bar) => html`<${Stage} name=${line.names[bar[4]]} />` },
    { key: "state", name: "State", cell: (bar) => html`<${State} state=${bar[3]} />` },
    { key: "start", name: "Started", num: true, cell: (bar) => fine(bar[1]) },
    { key: "ran", name: "Ran", num: true, cell: (bar) => duration(bar[2] - bar[1]) },
    { key: "wait", name: "Waited", num: true, cell: (bar) => duration(bar[6]) },
  ];
  const all = binned ? line.bins.length : line.bars.length;
  return html`<details><summary>As a table</summary>${all > MOST && html`<p class="muted">The ${MOST} ${binned ? "busiest of" : "longest of"} ${count(all)}.</p>`}
    <${Table} caption="What the timeline shows" columns=${columns} rows=${rows} /></details>`;
}
