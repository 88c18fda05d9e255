// Where one is: all of it stands in the URL's query (page, filters, sort, zoom), so that a link shows the same and Back goes back.
import { html, useEffect, useReducer } from "./lib.js";

const told = new Set();

/** Return the query as a plain object of strings. */
export function query() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** Return the link to here with these changes; an empty value takes a key away. `fresh`: without anything of here. */
export function href(changes, { fresh = false } = {}) {
  const wanted = new URLSearchParams(fresh ? "" : location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "" || value === false) wanted.delete(key);
    else wanted.set(key, value === true ? "1" : String(value));
  }
  const text = wanted.toString();
  return text ? `?${text}` : location.pathname;
}

/** Go to another state of the page. `replace` leaves no step for Back; `state` is kept beside the entry of the history. */
export function go(changes, { fresh = false, replace = false, state = null } = {}) {
  const before = query().page;
  const target = href(changes, { fresh });
  if (replace) history.replaceState(state ?? history.state, "", target);
  else history.pushState(state, "", target);
  tell(query().page !== before || (fresh && !replace));
}

function tell(elsewhere) {
  for (const one of told) one(elsewhere);
}
addEventListener("popstate", () => tell(false));

/** Call back when the URL has changed, with whether another page is shown; returns what ends that. */
export function onMove(call) {
  told.add(call);
  return () => told.delete(call);
}

/** The query, for a component that is drawn again with each change of it. */
export function useQuery() {
  const [, again] = useReducer((turn) => turn + 1, 0);
  useEffect(() => onMove(again), []);
  return query();
}

/** A link within the page; what opens new tabs and windows works as for any link. */
export function Link({ to, fresh = false, state = null, children, ...rest }) {
  const click = (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to, { fresh, state });
  };
  return html`<a href=${href(to, { fresh })} onClick=${click} ...${rest}>${children}</a>`;
}

/** A link to a task's own page. */
export function TaskLink({ id, children }) {
  return html`<${Link} to=${{ page: "tasks", task: id }} fresh>${children}<//>`;
}
