// The help: a dialog with the keys.
import { html, useEffect, useRef, useState } from "./lib.js";
import { PAGES } from "./frame.js";
import { keysOn, switchKeys } from "./keys.js";

const KEYS = [
  ["/", "Search the tasks"],
  ["[ ]", "Page before, page after"],
  ["t", "Dark or light"],
  ["?", "This help"],
  ["Esc", "Close; on the timeline: all of the run"],
  ["← → + −", "On the timeline, when it has the focus: move and zoom"],
];

export function Help({ onClose }) {
  const dialog = useRef(null);
  const [on, set] = useState(keysOn());
  useEffect(() => {
    // a modal dialog keeps the focus, and gives it back when it closes
    dialog.current.showModal();
  }, []);
  const change = (event) => {
    switchKeys(event.currentTarget.checked);
    set(keysOn());
  };
  return html`<dialog ref=${dialog} aria-labelledby="help-title" onClose=${onClose}>
    <h2 id="help-title">Keys</h2>
    <dl>${PAGES.map(({ title }, place) => html`<dt key=${title}><kbd>${place + 1}</kbd></dt><dd>${title}</dd>`)}
      ${KEYS.map(([key, what]) => html`<dt key=${key}><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl>
    <p><label class="mark"><input type="checkbox" checked=${on} onChange=${change} /> Single keys do something</label></p>
    <p class="muted stack">Every filter, page, order and zoom stands in the address: a link shows the same to others.</p>
    <form method="dialog"><p><button>Close</button></p></form>
  </dialog>`;
}
