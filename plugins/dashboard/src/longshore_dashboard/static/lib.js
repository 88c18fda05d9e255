// What draws: Preact with templates in place of a build step. All text goes in as text nodes, never as HTML.
import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { Fragment, h, render } from "./vendor/preact.js";
export { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "./vendor/hooks.js";
export const html = htm.bind(h);

/** A table of words by names that may be anything: "__proto__" and "constructor" are in it only if they were put there. */
export function table(entries) {
  return Object.assign(Object.create(null), entries);
}

/** What an object has under such a name by itself; undefined for nothing. */
export function own(object, name) {
  return object && Object.hasOwn(object, name) ? object[name] : undefined;
}
