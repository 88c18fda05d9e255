// A chart by uPlot, read when the first one is shown. All charts of a page share one cursor and one axis of time.
import { clock, number, seconds } from "./format.js";
import { inks } from "./marks.js";
import { onTheme } from "./theming.js";

const HIGH = 170;
const SHORT = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });
const short = (value) => SHORT.format(value);
let library = null;

/** Read the library and its style, once. */
function uplot() {
  if (!library) {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("./vendor/uplot.css", import.meta.url).href;
    document.head.append(style);
    library = import("./vendor/uplot.js").then((module) => module.default);
  }
  return library;
}

export class Plot {
  static async make(box, chart, bands, zoom) {
    const plot = new Plot(await uplot(), box, zoom);
    plot.show(chart, bands);
    return plot;
  }

  constructor(make, box, zoom) {
    Object.assign(this, { make, box, zoom, chart: null, bands: [], drawn: null });
    this.themes = onTheme(() => this.again());
    this.sizes = new ResizeObserver(() => this.drawn && this.drawn.setSize({ width: this.box.clientWidth, height: HIGH }));
    this.sizes.observe(box);
  }

  end() {
    this.themes();
    this.sizes.disconnect();
    this.drawn?.destroy();
    this.drawn = null;
  }

  /** Show this; only when its lines are others is it made anew. */
  show(chart, bands) {
    const same = this.drawn && this.chart.lines.map((line) => line.name).join() === chart.lines.map((line) => line.name).join();
    this.chart = chart;
    this.bands = bands;
    if (same) this.drawn.setData(this.data());
    else this.again();
  }

  data() {
    return [this.chart.at, ...this.chart.lines.map((line) => line.values)];
  }

  again() {
    if (!this.chart) return;
    this.drawn?.destroy();
    this.ink = inks(this.box);
    this.drawn = new this.make(this.options(), this.data(), this.box);
  }

  options() {
    const axis = { stroke: this.ink.muted, font: "12px system-ui, sans-serif", grid: { stroke: this.ink.line, width: 1 }, ticks: { stroke: this.ink.line, width: 1 } };
    const top = this.chart.top;
    return {
      width: this.box.clientWidth || 400,
      height: HIGH,
      cursor: { sync: { key: "resources" }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), top ?? Math.max(1, (high ?? 1) * 1.08)] } },
      axes: [{ ...axis, values: (_, at) => at.map(clock), space: 62 }, { ...axis, size: 52, values: (_, at) => at.map(short) }],
      series: [{ value: (_, at) => (at === null ? "–" : clock(at)), label: "at" }, ...this.chart.lines.map((line, place) => this.series(line, place))],
      hooks: { drawClear: [(plot) => this.shade(plot)], setSelect: [(plot) => this.selected(plot)] },
    };
  }

  series(line, place) {
    const ink = line.limit ? this.ink.bad : this.ink.stages[place % this.ink.stages.length];
    return { label: line.name, stroke: ink, width: 1.5, dash: line.limit ? [6, 4] : undefined, points: { show: this.chart.at.length < 3 && !line.limit }, value: (_, value) => number(value) };
  }

  /** Shade the times in which the run was held back. */
  shade(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = this.ink.band;
    for (const band of this.bands) {
      const right = band.ended ? plot.valToPos(seconds(band.ended), "x", true) : bbox.left + bbox.width;
      const left = Math.max(bbox.left, plot.valToPos(seconds(band.began), "x", true));
      const wide = Math.min(right, bbox.left + bbox.width) - left;
      if (wide > 0 || (left >= bbox.left && left <= bbox.left + bbox.width)) ctx.fillRect(left, bbox.top, Math.max(wide, 2), bbox.height);
    }
    ctx.restore();
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (width < 5) return;
    this.zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  }
}
