// The timeline: attempts on lanes, or sums by step where they are too many. Drag to zoom, double click or Escape to see all.
function timeline() {
  const view = data.timeline;
  if (!view || !view.lanes.length) return;
  const canvas = make("canvas", { role: "img", tabindex: "0", "aria-label": `what ran when, on ${view.lanes.length} workers; the tables of workers and of the slowest tasks tell the same` });
  const tip = make("div", { id: "tip", hidden: true });
  const lane = Math.max(5, Math.min(18, Math.floor(900 / view.lanes.length))), left = 110, low = 18;
  const failed = (kind) => kind === "failed" || kind === "timed_out";
  let from = start, to = start + length, drag = null;
  const put = (at, width) => left + (at - from) / (to - from) * (width - left - 4);
  const time = (x, width) => from + (x - left) / (width - left - 4) * (to - from);

  function paint() {
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();
    const width = canvas.clientWidth || 900, height = view.lanes.length * lane + low, scale = devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = of("--soft");
    view.lanes.forEach((name, place) => { if (lane > 9 || place % 3 === 0) pen.fillText(name.slice(-17), 4, place * lane + Math.min(lane, 13) - 2, left - 8); });
    for (let tick = 0; tick <= 6; tick += 1) pen.fillText(since(from + (to - from) * tick / 6), Math.min(width - 46, put(from + (to - from) * tick / 6, width)), height - 4);
    pen.save();
    pen.beginPath();
    pen.rect(left, 0, width - left, height - low);
    pen.clip();
    for (const [row, begin, end, kind, name] of view.bars) {
      const x = put(begin, width), size = Math.max(1, put(end, width) - x - 0.5);
      pen.fillStyle = failed(kind) ? of("--bad") : of(`--c${hue(view.names[name])}`);
      pen.fillRect(x, row * lane + 1, size, lane - 2);
      if (failed(kind) && size > 5) hatch(pen, x, row * lane + 1, size, lane - 2, of("--back"));
    }
    for (const [row, begin, busy, , bad, name] of view.bins) {
      const x = put(begin, width), size = Math.max(1, put(begin + view.step_s, width) - x), part = Math.min(1, busy) * (lane - 2);
      pen.fillStyle = of(`--c${hue(view.names[name])}`);
      pen.fillRect(x, row * lane + lane - 1 - part, size, part);
      if (bad) { pen.fillStyle = of("--bad"); pen.fillRect(x, row * lane + 1, size, Math.max(2, (lane - 2) / 4)); }
    }
    pen.fillStyle = of("--held");
    for (const band of data.bands) pen.fillRect(put(band.start, width), 0, Math.max(1, put(band.end, width) - put(band.start, width)), height - low);
    if (drag) pen.fillRect(Math.min(drag[0], drag[1]), 0, Math.abs(drag[1] - drag[0]), height - low);
    pen.restore();
  }

  function hatch(pen, x, y, width, height, colour) {
    pen.save();
    pen.beginPath();
    pen.rect(x, y, width, height);
    pen.clip();
    pen.strokeStyle = colour;
    pen.beginPath();
    for (let at = x - height; at < x + width; at += 6) { pen.moveTo(at, y + height); pen.lineTo(at + height, y); }
    pen.stroke();
    pen.restore();
  }

  function told(x, y) {
    const at = time(x, canvas.clientWidth), row = Math.floor(y / lane), slack = (to - from) / canvas.clientWidth;
    const bar = view.bars.find(([on, begin, end]) => on === row && begin - slack <= at && at <= end + slack);
    if (bar) return `${view.names[bar[4]]} on ${view.lanes[row]}: ${bar[3].replace("_", " ")}, ran ${seconds(bar[2] - bar[1])} from ${since(bar[1])}${bar[6] === null ? "" : `, waited ${seconds(bar[6])}`}`;
    const bin = view.bins.find(([on, begin]) => on === row && begin <= at && at < begin + view.step_s);
    return bin ? `${view.lanes[row]}: busy ${percent(bin[2])} of ${seconds(view.step_s)} from ${since(bin[1])}, ${count(bin[3])} ended, ${count(bin[4])} failed, mostly ${view.names[bin[5]]}, longest ${seconds(bin[6])}` : "";
  }

  function whole() { from = start; to = start + length; paint(); }
  canvas.addEventListener("pointerdown", (event) => { drag = [event.offsetX, event.offsetX]; });
  canvas.addEventListener("pointermove", (event) => {
    const text = told(event.offsetX, event.offsetY);
    tip.hidden = !text;
    tip.textContent = text;
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - 340)}px`;
    tip.style.top = `${event.clientY + 14}px`;
    if (drag) { drag[1] = event.offsetX; paint(); }
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  addEventListener("pointerup", () => {
    if (!drag) return;
    const [a, b] = drag.map((x) => time(x, canvas.clientWidth)).sort((one, other) => one - other), wide = Math.abs(drag[1] - drag[0]) > 5;
    drag = null;
    if (wide) { from = Math.max(start, a); to = Math.min(start + length, b); }
    paint();
  });
  canvas.addEventListener("dblclick", whole);
  canvas.addEventListener("keydown", (event) => { if (event.key === "Escape") whole(); });
  addEventListener("resize", paint);
  const said = [];
  if (view.step_s !== null) said.push(`${count(view.total)} attempts are too many to draw one by one: each step of ${seconds(view.step_s)} shows how busy a worker was.`);
  if (view.lanes_left_out) said.push(`${count(view.lanes_left_out)} workers are not drawn: the ${count(view.lanes.length)} with most tasks are.`);
  section("Timeline", said.map((text) => make("p", { class: "soft" }, text)), canvas, tip,
    legend(view.names, [["fbad", "failed"], ...(data.bands.length ? [["held", "held back"]] : [])]),
    make("p", { class: "soft" }, "Drag to look closer; double click, or Escape, to see all again."));
  paint();
}

head();
limits();
timeline();
charts();
stages();
failures();
lists();
