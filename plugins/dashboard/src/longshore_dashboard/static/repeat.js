// The command that does one input again, of a run that a command line began.
import { quoted } from "./format.js";

/** Return the line for these inputs, or what shows the run's failures where its command is not known. `key`: what a task worked on. */
export function again(info, ...keys) {
  if (!info) return null;
  const known = keys.filter(Boolean);
  const words = info.command ?? [];
  const verb = words.indexOf("run");
  const target = verb >= 0 ? words[verb + 1] : undefined;
  if (!target || target.startsWith("-") || !known.length) return `longshore failures ${quoted(info.run_id)} --traceback`;
  // a name that begins with a dash would be an option
  return ["longshore", "run", target, ...known.map((key) => (key.startsWith("-") ? `./${key}` : key))].map(quoted).join(" ");
}
