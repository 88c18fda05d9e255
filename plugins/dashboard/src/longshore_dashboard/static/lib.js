// What draws: Preact with templates in place of a build step. All text goes in as text nodes, never as HTML.
import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { Fragment, h, render } from "./vendor/preact.js";
export { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "./vendor/hooks.js";
export const html = htm.bind(h);
