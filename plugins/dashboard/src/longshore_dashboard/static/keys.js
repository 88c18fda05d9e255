// Keys of the whole page. Single keys can be switched off, for who speaks to the machine or types with what presses them by chance.
import { PAGES } from "./frame.js";
import { go } from "./router.js";
import { toggle } from "./theming.js";

const NAME = "longshore.keys";
const TYPED = new Set(["INPUT", "SELECT", "TEXTAREA"]);

export function keysOn() {
  try {
    return localStorage.getItem(NAME) !== "off";
  } catch {
    return true;
  }
}

export function switchKeys(on) {
  try {
    localStorage.setItem(NAME, on ? "on" : "off");
  } catch {
    // without storage they stay on
  }
}

/** Listen to the keys; returns what ends that. */
export function keys({ help }) {
  const press = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || TYPED.has(event.target.tagName) || event.target.closest?.("dialog")) return;
    if (!keysOn() || event.defaultPrevented) return;
    const act = meaning(event.key, help);
    if (act) {
      event.preventDefault();
      act();
    }
  };
  addEventListener("keydown", press);
  return () => removeEventListener("keydown", press);
}

function meaning(key, help) {
  const page = PAGES[Number(key) - 1];
  if (page) return () => go({ page: page.id === "overview" ? null : page.id }, { fresh: true });
  if (key === "?") return help;
  if (key === "t") return toggle;
  if (key === "/") {
    const field = document.querySelector(".main input[type=search]");
    return field ? () => field.focus() : () => go({ page: "tasks" }, { fresh: true });
  }
  if (key === "[" || key === "]") {
    const link = document.querySelector(key === "]" ? ".main a[rel=next]" : ".main a[rel=prev]");
    return link ? () => link.click() : null;
  }
  return null;
}
