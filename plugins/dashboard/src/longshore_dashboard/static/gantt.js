// The canvas of the timeline: lays bars or bins out on lanes, draws them when something has changed, and turns the pointer
// into a brush, a tip, a click. Draws nothing by a timer.
import { clock, fine } from "./format.js";
import { colour, inks } from "./marks.js";
import { onTheme } from "./theming.js";

const NAMES = 132; // px on the left, for the names of lanes
const AXIS = 22; // px on top
const ROW = 14;
const GAP = 6;
const SIDE_BY_SIDE = 8; // rows that a lane may have for what ran at once on it; what is more is drawn over the last
const FAILED = new Set(["failed", "timed_out"]);

export class Gantt {
  /** `acts`: zoom(from, to), open(row), tell(tip or null). */
  constructor(box, acts) {
    this.box = box;
    this.acts = acts;
    this.scroller = document.createElement("div");
    this.scroller.className = "lanes";
    this.canvas = document.createElement("canvas");
    this.brush = document.createElement("div");
    this.brush.className = "brush";
    this.brush.hidden = true;
    this.scroller.append(this.canvas, this.brush);
    box.append(this.scroller);
    this.asked = false;
    this.from = null;
    this.sizes = new ResizeObserver(() => this.ask());
    this.sizes.observe(box);
    this.themes = onTheme(() => this.ask());
    const on = (name, call) => this.canvas.addEventListener(name, call);
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.release(event));
    on("pointercancel", () => this.drop());
    on("pointerleave", () => this.from === null && this.acts.tell(null));
  }

  end() {
    this.sizes.disconnect();
    this.themes();
    this.line = null; // what was asked for and not drawn yet is not drawn
    this.scroller.remove();
  }

  /** Draw this from now on. */
  show(line, { waits, by }) {
    this.line = line;
    this.waits = waits;
    this.by = by;
    this.lay();
    this.ask();
  }

  ask() {
    if (this.asked || !this.line) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      if (this.line && this.box.isConnected) this.draw(); // what has left the page has no colours
    });
  }

  /** Give each bar a row of its lane: the first that is free when it begins. */
  lay() {
    const { lanes, bars, bins } = this.line;
    const free = lanes.map(() => []);
    this.rows = [...bars].sort((a, b) => a[1] - b[1]).map((bar) => {
      const ends = free[bar[0]];
      // stamps come from two clocks: what overlaps by less than this followed one another
      const slack = Math.min(0.005, (bar[2] - bar[1]) / 4);
      let row = ends.findIndex((end) => end <= bar[1] + slack);
      if (row < 0) row = Math.min(ends.length, SIDE_BY_SIDE - 1);
      // a worker's lane shows a wait only where nothing else ran on it; on a stage's each row stands for itself
      const before = Math.max(-Infinity, ...(this.by === "workers" ? ends.filter((end) => end !== undefined) : [ends[row] ?? -Infinity]));
      ends[row] = Math.max(bar[2], ends[row] ?? 0);
      return { bar, row, waited: Math.max(bar[1] - (bar[6] ?? 0), before) };
    });
    this.most = Math.max(1e-9, ...bins.map((bin) => bin[2]));
    let top = AXIS;
    this.lanes = lanes.map((name, place) => {
      const high = Math.max(1, free[place].length) * (bins.length ? 2 * ROW : ROW);
      const lane = { name, top, high };
      top += high + GAP;
      return lane;
    });
    this.high = top + 4;
  }

  x(time) {
    const { start, end } = this.line;
    return NAMES + ((this.wide - NAMES - 8) * (time - start)) / Math.max(end - start, 1e-9);
  }

  time(x) {
    const { start, end } = this.line;
    return start + ((x - NAMES) * (end - start)) / Math.max(1, this.wide - NAMES - 8);
  }

  draw() {
    const dense = devicePixelRatio || 1;
    this.wide = this.scroller.clientWidth || this.box.clientWidth;
    this.canvas.width = Math.round(this.wide * dense);
    this.canvas.height = Math.round(this.high * dense);
    this.canvas.style.width = `${this.wide}px`;
    this.canvas.style.height = `${this.high}px`;
    this.ink = inks(this.box);
    const draw = this.canvas.getContext("2d");
    draw.setTransform(dense, 0, 0, dense, 0, 0);
    draw.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    draw.textBaseline = "middle";
    this.hatch = hatching(draw, this.ink.surface);
    this.axis(draw);
    this.names(draw);
    draw.save();
    draw.beginPath();
    draw.rect(NAMES, 0, this.wide - NAMES, this.high);
    draw.clip();
    if (this.line.bins.length) this.bins(draw);
    else this.bars(draw);
    draw.restore();
  }

  axis(draw) {
    const { start, end } = this.line;
    const step = ticks((end - start) / Math.max(2, (this.wide - NAMES) / 110));
    const said = step < 1 ? fine : clock;
    draw.strokeStyle = this.ink.line;
    draw.fillStyle = this.ink.muted;
    draw.textAlign = "left";
    for (let at = Math.ceil(start / step) * step; at <= end; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      draw.beginPath();
      draw.moveTo(x, AXIS - 6);
      draw.lineTo(x, this.high);
      draw.stroke();
      if (x < this.wide - 60) draw.fillText(said(at), x + 3, AXIS / 2);
    }
  }

  names(draw) {
    for (const [place, lane] of this.lanes.entries()) {
      if (place % 2) {
        draw.globalAlpha = 0.5;
        draw.fillStyle = this.ink.raised;
        draw.fillRect(0, lane.top - GAP / 2, this.wide, lane.high + GAP);
        draw.globalAlpha = 1;
      }
      draw.fillStyle = this.ink.text;
      draw.fillText(shortened(draw, lane.name, NAMES - 22), 14, lane.top + lane.high / 2);
    }
  }

  bars(draw) {
    for (const { bar, row, waited } of this.rows) {
      const [lane, start, end, state, name] = bar;
      const top = this.lanes[lane].top + row * ROW + 1;
      const [left, right] = [this.x(start), this.x(end)];
      const wide = Math.max(1.5, right - left - 0.5);
      if (this.waits && waited < start) {
        draw.fillStyle = this.ink["line-strong"];
        draw.fillRect(this.x(waited), top + (ROW - 2) / 2 - 0.5, left - this.x(waited), 1);
      }
      const ink = this.ink.stages[colour(this.line.names[name])];
      if (state === "cancelled") {
        draw.strokeStyle = ink;
        draw.strokeRect(left + 0.5, top + 0.5, Math.max(1, wide - 1), ROW - 3);
        continue;
      }
      draw.fillStyle = state === "processing" ? faded(draw, ink, left, wide) : ink;
      draw.fillRect(left, top, wide, ROW - 2);
      if (FAILED.has(state)) this.failed(draw, left, top, wide, ROW - 2);
    }
  }

  failed(draw, left, top, wide, high) {
    draw.fillStyle = this.hatch;
    draw.fillRect(left, top, wide, high);
    draw.strokeStyle = this.ink.bad;
    draw.strokeRect(left + 0.5, top + 0.5, Math.max(1, wide - 1), high - 1);
  }

  bins(draw) {
    const wide = Math.max(1, this.x(this.line.start + this.line.step_s) - this.x(this.line.start));
    for (const [lane, start, busy, tasks, failed, name] of this.line.bins) {
      const { top, high } = this.lanes[lane];
      const tall = Math.max(1, (high * busy) / this.most);
      const left = this.x(start);
      draw.fillStyle = this.ink.stages[colour(this.line.names[name])];
      draw.fillRect(left, top + high - tall, wide, tall);
      if (failed > 0) {
        const part = Math.max(3, tall * Math.min(1, failed / Math.max(1, tasks)));
        draw.fillStyle = this.ink.bad;
        draw.fillRect(left, top + high - part, wide, part);
        draw.fillStyle = this.hatch;
        draw.fillRect(left, top + high - part, wide, part);
      }
    }
  }

  /** What is at this place of the canvas; a bar is met within two pixels, or short ones could not be. */
  at(x, y) {
    const lane = this.lanes.findIndex((one) => y >= one.top - GAP / 2 && y < one.top + one.high + GAP / 2);
    if (lane < 0 || x < NAMES) return null;
    if (this.line.bins.length) {
      const time = this.time(x);
      const bin = this.line.bins.find((one) => one[0] === lane && time >= one[1] && time < one[1] + this.line.step_s);
      return bin ? { bin } : null;
    }
    const row = Math.floor((y - this.lanes[lane].top) / ROW);
    const found = this.rows.find(({ bar, row: own }) => bar[0] === lane && own === row && x >= this.x(bar[1]) - 2 && x <= this.x(bar[2]) + 2);
    return found ? { bar: found.bar } : null;
  }

  press(event) {
    if (event.button) return;
    this.from = event.offsetX;
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.line) return;
    if (this.from !== null && Math.abs(event.offsetX - this.from) > 4) {
      const [left, right] = [Math.max(NAMES, Math.min(this.from, event.offsetX)), Math.max(this.from, event.offsetX)];
      Object.assign(this.brush.style, { left: `${left}px`, width: `${Math.max(0, right - left)}px`, height: `${this.high}px` });
      this.brush.hidden = false;
      this.acts.tell(null);
      return;
    }
    const met = this.at(event.offsetX, event.offsetY);
    this.canvas.style.cursor = met?.bar ? "pointer" : "";
    const x = Math.min(event.offsetX + 14, Math.max(0, this.wide - 280));
    this.acts.tell(met ? { ...met, x, y: event.offsetY + 18 - this.scroller.scrollTop } : null);
  }

  release(event) {
    const from = this.from;
    this.drop();
    if (from === null) return;
    if (Math.abs(event.offsetX - from) > 4) {
      const [left, right] = [Math.max(NAMES, Math.min(from, event.offsetX)), Math.max(from, event.offsetX)];
      if (right > left) this.acts.zoom(this.time(left), this.time(right));
    } else {
      const met = this.at(event.offsetX, event.offsetY);
      if (met?.bar) this.acts.open(met.bar[5]);
    }
  }

  drop() {
    this.from = null;
    this.brush.hidden = true;
  }
}

/** A step between ticks: 1, 2 or 5 times a power of ten below a minute, then what clocks have. */
function ticks(least) {
  for (const step of [60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200]) if (least <= step && least > 30) return step;
  if (least > 43200) return 86400 * Math.ceil(least / 86400);
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-6)));
  return [1, 2, 5, 10].map((part) => part * power).find((step) => step >= least);
}

function shortened(draw, text, most) {
  if (draw.measureText(text).width <= most) return text;
  let kept = text.length;
  while (kept > 1 && draw.measureText(`${text.slice(0, kept)}…`).width > most) kept -= 1;
  return `${text.slice(0, kept)}…`;
}

function hatching(draw, ink) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const inner = tile.getContext("2d");
  inner.strokeStyle = ink;
  inner.lineWidth = 1.6;
  inner.beginPath();
  for (const shift of [-6, 0, 6]) {
    inner.moveTo(shift, 6);
    inner.lineTo(shift + 6, 0);
  }
  inner.stroke();
  return draw.createPattern(tile, "repeat");
}

// Running: it fades out to where its end is not known yet.
function faded(draw, ink, left, wide) {
  const fade = draw.createLinearGradient(left, 0, left + wide, 0);
  fade.addColorStop(0, ink);
  fade.addColorStop(0.6, ink);
  fade.addColorStop(1, "rgba(128,128,128,0.15)");
  return fade;
}
