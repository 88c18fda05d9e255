// Where the page begins: its frame, and which page is in it.
import { html, render, useEffect, useState } from "./lib.js";
import { begin } from "./live.js";
import { Frame, PAGES } from "./frame.js";
import { onMove, useQuery } from "./router.js";
import { keys } from "./keys.js";
import { Help } from "./help.js";

/** The page that is asked for. Its module is read when it is first shown: the first load is small. */
function Shown() {
  const query = useQuery();
  const page = PAGES.find((one) => one.id === query.page) ?? PAGES[0];
  const [loaded, set] = useState({ id: null });
  useEffect(() => {
    let over = false;
    page.load().then(
      (module) => !over && set({ id: page.id, Page: module.Page }),
      () => !over && set({ id: page.id, error: "This page could not be read: the server does not answer." }),
    );
    return () => {
      over = true;
    };
  }, [page.id]);
  useEffect(() => {
    document.title = `${page.title} – longshore`;
  }, [page.id]);
  if (loaded.id !== page.id) return html`<p class="empty reading">Reading …</p>`;
  return loaded.error ? html`<p class="error" role="alert">${loaded.error}</p>` : html`<${loaded.Page} key=${page.id} />`;
}

function App() {
  const [help, showHelp] = useState(false);
  useEffect(() => keys({ help: () => showHelp(true) }), []);
  return html`<${Frame} onHelp=${() => showHelp(true)}><${Shown} /><//>${help && html`<${Help} onClose=${() => showHelp(false)} />`}`;
}

// Another page: up, and the focus to its title, as if it had been loaded. It may have to be read first.
onMove((elsewhere) => {
  if (!elsewhere) return;
  scrollTo(0, 0);
  const look = (turns) => {
    const title = document.querySelector(".main h1");
    if (title) title.focus({ preventScroll: true });
    else if (turns) requestAnimationFrame(() => look(turns - 1));
  };
  requestAnimationFrame(() => requestAnimationFrame(() => look(60)));
});

const root = document.getElementById("page");
root.replaceChildren();
render(html`<${App} />`, root);
begin();
