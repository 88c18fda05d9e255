// The theme: the system's, until the button is pressed; then what was chosen, in every tab and next time.
const told = new Set();
const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

/** Change between dark and light. */
export function toggle() {
  const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  root.dataset.theme = next;
  try {
    localStorage.setItem("longshore.theme", next);
  } catch {
    // it holds for this tab
  }
  tell();
}

/** Call back when the colours have changed: canvases have to be drawn again. Returns what ends that. */
export function onTheme(call) {
  told.add(call);
  return () => told.delete(call);
}

function tell() {
  for (const one of told) one();
}
dark.addEventListener("change", tell);
addEventListener("storage", (event) => {
  if (event.key !== "longshore.theme") return;
  if (event.newValue === "dark" || event.newValue === "light") root.dataset.theme = event.newValue;
  tell();
});
