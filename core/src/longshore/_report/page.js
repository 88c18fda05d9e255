// Draws the report on one run.
// ---- time

const range = data.timeline || { start: data.run.started, end: data.run.started };
const start = range.start;
const since = (at) => at === null || at === undefined ? "–" : `+${seconds(Math.max(0, at - start))}`;
const length = Math.max(0.001, data.totals.wall_s, range.end - start);
// A stage has one colour in all charts.
const known = [...new Set(data.stages.map((stage) => stage.name))];
function hue(name) {
  if (!known.includes(name)) known.push(name);
  return known.indexOf(name) % NARROW;
}
const WIDE = 1000, HIGH = 170, LEFT = 56, LOW = 20;
const across = (at) => LEFT + (at - start) / length * (WIDE - LEFT - 10);

function frame(title, most, unit) {
  const chart = draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": title });
  const up = (value) => HIGH - LOW - value / (most || 1) * (HIGH - LOW - 12);
  for (const part of [0, 0.5, 1]) {
    chart.append(draw("line", { class: "grid", x1: LEFT, x2: WIDE - 10, y1: up(most * part), y2: up(most * part) }));
    chart.append(draw("text", { x: LEFT - 6, y: up(most * part) + 4, "text-anchor": "end" }, figure(most * part) + unit));
  }
  for (let tick = 0; tick <= 5; tick += 1) {
    const at = start + length * tick / 5;
    chart.append(draw("text", { x: across(at), y: HIGH - 5, "text-anchor": tick === 5 ? "end" : "middle" }, since(at)));
  }
  return { chart, up };
}

function bands(chart) {
  for (const band of data.bands) {
    const one = draw("rect", { class: "held", x: across(band.start), y: 4, height: HIGH - LOW - 4, width: Math.max(1, across(band.end) - across(band.start)) });
    one.append(draw("title", null, `${band.reason} (${seconds(band.end - band.start)})`));
    chart.append(one);
  }
}

function legend(names, extra) {
  const entry = (kind, text) => {
    const box = draw("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, draw("rect", { class: kind, width: 12, height: 12 }));
    return make("li", null, box, text);
  };
  const entries = names.map((name) => entry(`f${hue(name)}`, name));
  return make("ul", { class: "legend" }, entries, (extra || []).map(([kind, text]) => entry(kind, text)));
}

function stacked(title, names, rows, begin, step, bad) {
  const steps = rows.length ? rows[0].length : 0;
  const totals = Array.from({ length: steps }, (_, at) => rows.reduce((sum, row) => sum + row[at], 0));
  const { chart, up } = frame(title, Math.max(...totals, 0.001), "");
  bands(chart);
  const base = new Array(steps).fill(0);
  rows.forEach((row, place) => {
    let path = "";
    row.forEach((value, at) => {
      if (!value) return;
      const left = across(begin + at * step), right = across(begin + (at + 1) * step);
      path += `M${left.toFixed(2)} ${up(base[at]).toFixed(2)}H${right.toFixed(2)}V${up(base[at] + value).toFixed(2)}H${left.toFixed(2)}Z`;
      base[at] += value;
    });
    chart.append(draw("path", { class: `f${hue(names[place])}`, d: path }));
  });
  (bad || []).forEach((value, at) => {
    if (value) chart.append(draw("rect", { class: "fbad", x: across(begin + at * step), width: Math.max(1.5, across(begin + step) - LEFT), y: up(value), height: Math.max(1, HIGH - LOW - up(value)) }));
  });
  const list = totals.map((total, at) => ({ at: begin + at * step, total, bad: bad ? bad[at] : null, parts: rows.map((row) => row[at]) }));
  const columns = [["from", (row) => row.at, since, "n"], ["all", (row) => row.total, figure, "n"]];
  if (bad) columns.push(["failed", (row) => row.bad, figure, "n"]);
  names.forEach((name, place) => columns.push([name, (row) => row.parts[place], figure, "n"]));
  const extra = [...(bad ? [["fbad", "failed"]] : []), ...(data.bands.length ? [["held", "held back"]] : [])];
  return [chart, legend(names, extra), beside("as a table", () => table(`${title}, each ${seconds(step)}`, columns, list.filter((row) => row.total)))];
}

// ---- parts

function head() {
  const run = data.run, good = data.verdict.good;
  document.title = `${run.name}: ${run.state}`;
  const again = run.generation > 1 ? `, begun ${count(run.generation)} times` : "";
  main.append(themed(), make("h1", null, run.name), make("p", { class: "soft" }, "run ", make("code", null, run.run_id),
    `, ${clock(run.started)} to ${clock(run.ended)}${again}`, run.host ? ` on ${run.host}` : ""),
  make("p", { class: good ? "verdict good" : "verdict", id: "verdict" }, `${good ? "✔ " : "✘ "}${data.verdict.text}`));
  for (const note of data.notes) main.append(make("p", { class: "soft" }, note));
  const sums = data.totals;
  const tiles = [["tasks", count(sums.tasks)], ["completed", count(sums.completed)], ["failed", count(sums.failed)], ["timed out", count(sums.timed_out)],
    ["cancelled", count(sums.cancelled)], ...(sums.failed_inputs ? [["inputs failed outside of tasks", count(sums.failed_inputs)]] : []), ["retried", count(sums.retried)], ["wall time", seconds(sums.wall_s)],
    ["a second", figure(sums.rate_per_s)], ["worked", seconds(sums.run_s)], ["CPU", seconds(sums.cpu_s)], ["waited", seconds(sums.wait_s)]];
  main.append(make("div", { class: "tiles" }, tiles.map(([name, value]) => make("div", { class: "tile" }, make("b", null, value), name))));
}

function limits() {
  if (!data.findings.length) return;
  const texts = data.findings.map((finding) => finding.text);
  const parts = [];
  if (data.forecast) {
    texts.push(data.forecast.text);
    parts.push(beside("the same work with other numbers of workers", () => table(
      `by the laws of work (${seconds(data.forecast.work_s)}) and span (${seconds(data.forecast.span_s)}), of ${data.forecast.executor}`,
      [["workers", (row) => row.workers, count, "n"], ["at least", (row) => row.least_s, seconds, "n"], ["at most", (row) => row.most_s, seconds, "n"]], data.forecast.options)));
  }
  section("What it took its time for", make("ul", null, texts.map((text) => make("li", null, text))),
    table("workers by executor", [["executor", (row) => row.name, null, "name"], ["workers", (row) => row.workers, count, "n"],
      ["worked", (row) => row.busy_s, seconds, "n"], ["busy", (row) => row.busy_share, percent, "n"]], data.executors), parts);
  if (data.throttled.length) {
    section("Held back", table("why nothing more was started", [["why", (row) => row.reason], ["for", (row) => row.seconds, seconds, "n"], ["times", (row) => row.times, count, "n"]], data.throttled));
  }
}

function split(row) {
  const all = row.wait_s + (row.start_s || 0) + row.run_s || 1;
  const bar = draw("svg", { viewBox: "0 0 100 10", role: "img", "aria-label": `waited ${percent(row.wait_s / all)}, worked ${percent(row.run_s / all)}`, preserveAspectRatio: "none", height: 12 });
  let x = 0;
  [[row.wait_s, "f7"], [row.start_s || 0, "f1"], [row.run_s, "f0"]].forEach(([value, kind]) => {
    bar.append(draw("rect", { class: kind, x, width: value / all * 100, height: 10 }));
    x += value / all * 100;
  });
  return bar;
}

function stages() {
  const columns = [["stage", (row) => row.name, null, "name"], ["on", (row) => row.executor], ["tasks", (row) => row.tasks, count, "n"], ["failed", (row) => row.failed + row.timed_out, count, "n"],
    ["retried", (row) => row.retried, count, "n"], ["waited", (row) => row.wait_s, seconds, "n"], ["started", (row) => row.start_s, seconds, "n"], ["worked", (row) => row.run_s, seconds, "n"],
    ["for nothing", (row) => row.lost_s, seconds, "n"], ["CPU", (row) => row.cpu_s, seconds, "n"], ["mean", (row) => row.mean_s, seconds, "n"], ["p50", (row) => row.p50_s, seconds, "n"],
    ["p95", (row) => row.p95_s, seconds, "n"], ["p99", (row) => row.p99_s, seconds, "n"], ["at once", (row) => row.mean_concurrency, figure, "n"], ["time", (row) => row.work_share, (_, row) => split(row)]];
  const kinds = legend([], [["f7", "waited in the queue"], ["f1", "started: on the way to a worker that was ready"], ["f0", "worked"]]);
  section("Stages", table("where the time of each stage went", columns, data.stages), kinds);
}

function charts() {
  const running = data.running, ended = data.throughput;
  if (running && running.names.length) section("At work at once", ...stacked("attempts at once", running.names, running.running, running.start, running.step_s));
  if (ended && ended.names.length) section("Throughput", ...stacked("tasks that ended", ended.names, ended.counts, ended.start, ended.step_s, ended.failures));
  if (!data.resources.length) return;
  const parts = data.resources.flatMap((line) => {
    const most = Math.max(line.peak, line.limit || 0, line.unit === "%" ? 100 : 0.001);
    const { chart, up } = frame(`${line.resource} over time`, most, line.unit === "%" ? "%" : "");
    bands(chart);
    chart.append(draw("path", { class: "curve", d: line.at.map((at, place) => `${place ? "L" : "M"}${across(at).toFixed(2)} ${up(line.values[place] || 0).toFixed(2)}`).join("") }));
    if (line.limit !== null) chart.append(draw("path", { class: "limit", d: `M${LEFT} ${up(line.limit)}H${WIDE - 10}` }));
    const rows = line.at.map((at, place) => ({ at, value: line.values[place] }));
    return [make("h3", null, `${line.resource}${line.unit ? `, ${line.unit}` : ""}`), chart,
      beside("as a table", () => table(line.resource, [["at", (row) => row.at, since, "n"], ["value", (row) => row.value, (value) => value === null ? "–" : figure(value), "n"]], rows))];
  });
  section("Resources", table("peaks against limits", [["resource", (row) => row.resource], ["peak", (row) => row.peak, (value, row) => `${figure(value)} ${row.unit}`, "n"],
    ["limit", (row) => row.limit, (value, row) => value === null ? "–" : `${figure(value)} ${row.unit}`, "n"], ["at", (row) => row.peak_at, since, "n"]], data.resources),
  legend([], [["limit", "limit (dashed)"], ...(data.bands.length ? [["held", "held back"]] : [])]), parts);
}

function failures() {
  if (!data.failures.length) return;
  const groups = data.failures.map((group) => make("details", null, make("summary", null, make("b", null, `${count(group.count)} × `), make("code", null, group.type),
    group.died ? " (a worker died)" : "", ` ${group.message.split("\n")[0].slice(0, 200)}`),
  make("p", { class: "soft" }, group.names.length ? `in ${group.names.join(", ")}; first ${since(group.first)}, last ${since(group.last)}; ` : "outside of tasks; ", make("code", null, group.fingerprint)),
  make("p", null, "inputs: ", group.keys.flatMap((key) => [make("code", null, key), " "]), group.count > group.keys.length ? "…" : ""),
  group.traceback ? make("pre", null, group.traceback) : make("pre", null, group.message), group.output_tail ? make("pre", null, group.output_tail) : null));
  const left = data.failed_left_out > 0 ? `; ${count(data.failed_left_out)} more are not listed` : "";
  section("Failures", groups, beside(`what failed (${count(data.failed_tasks.length)}${left})`, () => table(`the first ${count(data.failed_tasks.length)} by the order they came in${left}`,
    [["input", label, null, "name"], ["stage", (row) => row.name, null, "name"], ["state", (row) => row.state, (_, row) => state(row)], ["attempt", (row) => row.attempt, count, "n"],
      ["ran", (row) => row.run_s, seconds, "n"], ["error", (row) => row.error, null, "name"], ["message", (row) => row.message, null, "name"]], data.failed_tasks)));
}

function lists() {
  section("Slowest", table("the longest tasks", [["input", label, null, "name"], ["stage", (row) => row.name, null, "name"], ["state", (row) => row.state, (_, row) => state(row)],
    ["attempt", (row) => row.attempt, count, "n"], ["began", (row) => row.started, since, "n"], ["waited", (row) => row.wait_s, seconds, "n"], ["ran", (row) => row.run_s, seconds, "n"],
    ["CPU", (row) => row.cpu_s, seconds, "n"], ["memory", (row) => row.peak_memory_mb, (value) => value === null ? "–" : `${count(Math.round(value))} MB`, "n"], ["worker", (row) => row.worker, null, "name"]], data.slowest));
  const left = data.workers_left_out ? `; ${count(data.workers_left_out)} more are not listed` : "";
  section("Workers", table(`the busiest${left}`, [["worker", (row) => row.worker, null, "name"], ["executor", (row) => row.executor], ["tasks", (row) => row.tasks, count, "n"], ["failed", (row) => row.failed, count, "n"],
    ["busy", (row) => row.busy_s, seconds, "n"], ["CPU", (row) => row.cpu_s, seconds, "n"], ["memory", (row) => row.peak_memory_mb, (value) => value === null ? "–" : `${count(Math.round(value))} MB`, "n"],
    ["first", (row) => row.first, since, "n"], ["last", (row) => row.last, since, "n"]], data.workers));
  const where = data.environment;
  section("With what", make("p", null, "command: ", make("code", null, data.run.command.join(" "))),
    make("p", null, "versions: ", Object.entries(where.versions).map(([name, version]) => `${name} ${version}`).join(", ")),
    make("p", null, "settings, SHA-256 of all: ", make("code", null, where.settings_hash)),
    beside("settings that are not the defaults", () => make("pre", null, JSON.stringify(where.settings, null, 2))),
    make("p", { class: "soft" }, `written ${clock(data.written)}`));
}
