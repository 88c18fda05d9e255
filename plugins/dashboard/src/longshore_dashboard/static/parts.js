// What pages are put together from: panels, tables, fields of filters, what is said when there is nothing.
import { html, own, useEffect, useRef, useState } from "./lib.js";
import { control } from "./api.js";
import { refresh } from "./live.js";
import { go, Link, useQuery } from "./router.js";

export function Panel({ title, side, half, children, bare }) {
  return html`<section class="panel ${half ? "half" : ""}" aria-label=${title}>
    <header><h2>${title}</h2>${side && html`<div class="side">${side}</div>`}</header>
    ${bare ? children : html`<div class="body">${children}</div>`}
  </section>`;
}

/** The head of a page: its title, which has the focus after one has come here, and what stands at its side. */
export function Head({ title, children }) {
  return html`<div class="main-head"><h1 tabindex="-1">${title}</h1>${children && html`<div class="side">${children}</div>`}</div>`;
}

/** What has to be said instead of data, or with old data: nothing yet, an error. */
export function Told({ of, children }) {
  return html`${of.error && html`<p class="error" role="alert">${of.error}</p>`}
    ${!of.data && !of.error && html`<${Empty} reading>Reading …<//>`}
    ${of.data && html`<div aria-busy=${of.stale ? "true" : "false"}>${children}</div>`}`;
}

export function Empty({ children, reading }) {
  return html`<p class="empty ${reading ? "reading" : ""}">${children}</p>`;
}

/** A table in a box of its own that scrolls sideways. `columns`: {key, name, cell(row), sort, and num, wide, clip, tail (clipped where a path begins) or shape: how}. With `sorted` {by, down,
    keys: names in the URL} the heads of columns with `sort` are links. `caption` says what it is to who can't see where it stands. */
export function Table({ caption, columns, rows, keyed, sorted, empty = "Nothing here." }) {
  if (!rows.length) return html`<${Empty}>${empty}<//>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}><table>
    <caption class="hidden">${caption}</caption>
    <thead><tr>${columns.map((column) => html`<${HeadCell} key=${column.key} column=${column} sorted=${sorted} />`)}</tr></thead>
    <tbody>${rows.map((row, place) => html`<tr key=${keyed ? keyed(row) : place}>
      ${columns.map((column) => html`<td key=${column.key} class=${shape(column)}>${column.cell(row)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

const shape = (column) => column.shape ?? (column.num ? "num" : column.wide ? "wide" : column.tail ? "clip tail" : column.clip ? "clip" : "");

function HeadCell({ column, sorted }) {
  const on = sorted && column.sort && sorted.by === column.sort;
  const aria = on ? (sorted.down ? "descending" : "ascending") : undefined;
  // a second click turns the order; the first shows the largest figures, but words from A
  const down = on ? !sorted.down : Boolean(column.num);
  const name = column.sort && sorted
    ? html`<${Link} to=${{ sort: column.sort, desc: down, after: null }}>${column.name}${on ? (sorted.down ? " ↓" : " ↑") : ""}<//>`
    : column.name;
  return html`<th scope="col" class=${shape(column)} aria-sort=${aria}>${name}</th>`;
}

/** The order that the URL asks for, with what holds where it says nothing. */
export function useSorted(by, down) {
  const { sort, desc } = useQuery();
  return sort ? { by: sort, down: desc === "1" } : { by, down };
}

/** Rows in that order; what has no value comes last either way. */
export function sortedRows(rows, { by, down }, value = (row) => own(row, by)) {
  const empty = (one) => one === null || one === undefined;
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...rows].sort((left, right) => {
    const [a, b] = [value(left), value(right)];
    if (empty(a) || empty(b)) return Number(empty(a)) - Number(empty(b));
    return down ? compare(b, a) : compare(a, b);
  });
}

/** A field of text that is a filter in the URL: what is typed counts after a short rest, without a step for Back at each letter. */
export function Search({ name, label, placeholder, size = 26 }) {
  const value = useQuery()[name] ?? "";
  const [typed, type] = useState(value);
  const timer = useRef(null);
  const mine = useRef(value);
  useEffect(() => {
    if (value !== mine.current) type(value);
    mine.current = value;
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const typing = (event) => {
    const now = event.currentTarget.value;
    type(now);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      mine.current = now;
      go({ [name]: now, after: null }, { replace: true });
    }, 300);
  };
  return html`<label>${label}<input type="search" class="search" size=${size} value=${typed} placeholder=${placeholder} onInput=${typing} spellcheck=${false} /></label>`;
}

export function Choice({ name, label, options, all = "all" }) {
  const value = useQuery()[name] ?? "";
  const known = options.includes(value) || !value ? options : [...options, value];
  return html`<label>${label}<select value=${value} onChange=${(event) => go({ [name]: event.currentTarget.value, after: null })}>
    <option value="">${all}</option>${known.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
  </select></label>`;
}

/** A line to copy. Where the browser gives no clipboard (plain http from elsewhere) the line is selected instead. */
export function Copy({ line, label = "Copy" }) {
  const [done, set] = useState("");
  const shown = useRef(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(line);
      set("Copied");
    } catch {
      getSelection().selectAllChildren(shown.current);
      set("Selected");
    }
    setTimeout(() => set(""), 2000);
  };
  return html`<div class="copy"><code ref=${shown}>${line}</code><button type="button" onClick=${copy}>${label}</button><span role="status">${done}</span></div>`;
}

/** A button that does something to the run. With `sure`, that has to be pressed too. */
export function Act({ action, body, sure, danger, children }) {
  const [state, set] = useState({ asked: false, error: null, busy: false });
  const press = async () => {
    if (sure && !state.asked) return set({ asked: true, error: null, busy: false });
    set({ asked: false, error: null, busy: true });
    try {
      await control(action, body);
      set({ asked: false, error: null, busy: false });
      await refresh();
    } catch (error) {
      set({ asked: false, error: error.message, busy: false });
    }
    return undefined;
  };
  return html`<button type="button" class=${danger || state.asked ? "danger" : ""} disabled=${state.busy} onClick=${press}
      onBlur=${() => state.asked && set({ ...state, asked: false })}>${state.asked ? sure : children}</button>
    ${state.error && html`<span class="failed" role="alert">${state.error}</span>`}`;
}
