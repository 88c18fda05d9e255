// Draws two runs against each other.
function both() {
  const [one, other] = [data.first, data.second];
  document.title = `${one.name}: two runs compared`;
  main.append(themed(), make("h1", null, "Two runs compared"),
    make("p", { class: "soft" }, "first ", make("code", null, one.run_id), `, ${clock(one.started)}, ${one.state}; second `, make("code", null, other.run_id), `, ${clock(other.started)}, ${other.state}`),
    make("div", { class: data.newly_failing.count ? "verdict" : "verdict good", id: "verdict" }, data.words.map((text) => make("p", null, text))));
  const names = [["tasks", count], ["completed", count], ["failed", count], ["timed_out", count], ["cancelled", count], ["unfinished", count], ["retried", count], ["failed_inputs", count],
    ["wall_s", seconds], ["rate_per_s", figure], ["wait_s", seconds], ["run_s", seconds], ["cpu_s", seconds]];
  const rows = names.map(([name, show]) => ({ name, show, one: data.first_totals[name], other: data.second_totals[name] }));
  const show = (value, row) => row.show(value);
  section("In all", table(`${count(data.matched)} tasks are in both, ${count(data.only_first)} in the first only, ${count(data.only_second)} in the second only`,
    [["", (row) => row.name.replace(/_s$|_per_s$/, "").replace("_", " ")], ["first", (row) => row.one, show, "n"], ["second", (row) => row.other, show, "n"], ["change", (row) => change(row.one, row.other), told, "n"]], rows));
  const of = (side, name) => (row) => row[side] === null ? null : row[side][name];
  section("Stages", table("by stage", [["stage", (row) => row.name, null, "name"], ["on", (row) => row.executor], ["tasks", of("first", "tasks"), known(count), "n"], ["", of("second", "tasks"), known(count), "n"],
    ["worked", of("first", "run_s"), seconds, "n"], ["", of("second", "run_s"), seconds, "n"], ["mean", of("first", "mean_s"), seconds, "n"], ["", of("second", "mean_s"), seconds, "n"],
    ["change", (row) => change(of("first", "mean_s")(row), of("second", "mean_s")(row)), told, "n"], ["p95", of("first", "p95_s"), seconds, "n"], ["", of("second", "p95_s"), seconds, "n"]], data.stages));
  for (const [title, changes] of [["Newly failing", data.newly_failing], ["Newly passing", data.newly_passing], ["Slower", data.slower], ["Faster", data.faster]]) single(title, changes);
}

const change = (one, other) => one && other !== null && other !== undefined ? other / one - 1 : null;
const told = (part) => part === null ? "–" : `${part < 0 ? "−" : "+"}${percent(Math.abs(part))}`;
const known = (show) => (value) => value === null ? "–" : show(value);

function single(title, changes) {
  if (!changes.count) return;
  const word = (text) => make("span", { class: text }, text.replace("_", " "));
  section(`${title}: ${count(changes.count)}`, table(changes.count > changes.rows.length ? `the first ${count(changes.rows.length)}` : "all of them",
    [["input", (row) => row.key, null, "name"], ["stage", (row) => row.name, null, "name"], ["first", (row) => row.first_state, word], ["second", (row) => row.second_state, word],
      ["ran", (row) => row.first_s, seconds, "n"], ["then", (row) => row.second_s, seconds, "n"], ["change", (row) => change(row.first_s, row.second_s), told, "n"], ["error", (row) => row.error, null, "name"]], changes.rows));
}

both();
