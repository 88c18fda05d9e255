// Tasks ended over time, stacked by stage: one shape a stage, in steps, as an SVG that needs no library.
import { html } from "./lib.js";
import { clock, count, duration } from "./format.js";
import { colour } from "./marks.js";

const WIDE = 600;
const HIGH = 150;
const LOW = 26; // of the failures, which have a scale of their own

/** `of`: start, step_s, names, counts (a row of numbers for each name) and failures. */
export function Stacked({ of }) {
  const steps = of.failures.length;
  const sums = of.failures.map((_, step) => of.counts.reduce((sum, row) => sum + row[step], 0));
  const most = Math.max(1, ...sums);
  const total = sums.reduce((sum, one) => sum + one, 0);
  const x = (step) => ((WIDE * step) / steps).toFixed(1);
  const y = (value) => (HIGH - (HIGH * value) / most).toFixed(1);
  const line = (values) => values.map((value, step) => `${step ? "L" : "M"}${x(step)} ${y(value)}H${x(step + 1)}`).join("");
  let floor = sums.map(() => 0);
  const shapes = of.counts.map((row, place) => {
    const under = floor;
    floor = floor.map((value, step) => value + row[step]);
    const back = [...under.keys()].reverse().map((step) => `L${x(step + 1)} ${y(under[step])}H${x(step)}`).join("");
    return html`<path key=${of.names[place]} class="f${colour(of.names[place])}" d=${`${line(floor)}${back}z`} />`;
  });
  const failed = of.failures.reduce((sum, one) => sum + one, 0);
  return html`<figure class="chart">
    <div class="chart-top"><span>at most ${count(most)} in ${duration(of.step_s)}</span></div>
    <svg viewBox="0 0 ${WIDE} ${HIGH}" preserveAspectRatio="none" role="img" aria-label=${`${count(total)} tasks ended, at most ${count(most)} in ${duration(of.step_s)}; ${count(failed)} failed`}>
      ${[0, 0.5, 1].map((part) => html`<path key=${part} class="axis" d=${`M0 ${HIGH * part}H${WIDE}`} />`)}
      ${shapes}
    </svg>
    ${failed > 0 && html`<${Failed} steps=${of.failures} step_s=${of.step_s} />`}
    <div class="ticks" aria-hidden="true"><span>${clock(of.start)}</span><span>${clock(of.start + (steps * of.step_s) / 2)}</span><span>${clock(of.start + steps * of.step_s)}</span></div>
  </figure>`;
}

/** Those that failed, below the others: too few to be seen among them. */
function Failed({ steps, step_s }) {
  const most = Math.max(...steps);
  const wide = WIDE / steps.length;
  const bars = steps.map((many, step) => (many ? `M${(step * wide).toFixed(1)} ${LOW}v-${((LOW * many) / most).toFixed(1)}h${wide.toFixed(1)}V${LOW}z` : "")).join("");
  const all = steps.reduce((sum, one) => sum + one, 0);
  return html`<svg class="low" viewBox="0 0 ${WIDE} ${LOW}" preserveAspectRatio="none" role="img" aria-label=${`${count(all)} failed, at most ${count(most)} in ${duration(step_s)}`}>
      <path class="axis" d=${`M0 ${LOW}H${WIDE}`} /><path class="fails" d=${bars} /></svg>
    <div class="chart-top"><span class="failed">failed: ${count(all)}, at most ${count(most)} in ${duration(step_s)}</span></div>`;
}
