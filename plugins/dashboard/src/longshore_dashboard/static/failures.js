// Failures: those that are the same together, with an example; the ones that cost a worker apart from those that only cost a task.
import { html } from "./lib.js";
import { clock, count, quoted } from "./format.js";
import { useData, useRun } from "./live.js";
import { State } from "./marks.js";
import { Copy, Empty, Head, Panel, Told } from "./parts.js";
import { Link, TaskLink, useQuery } from "./router.js";

export function Page() {
  const { group } = useQuery();
  const { info } = useRun();
  const found = useData("api/failures", {}, ["failures"]);
  const groups = (found.data ?? []).filter((one) => !group || one.fingerprint === group);
  const [died, other] = [groups.filter((one) => one.died), groups.filter((one) => !one.died)];
  const sum = (some) => count(some.reduce((total, one) => total + one.count, 0));
  return html`<${Head} title="Failures">${group && html`<${Link} class="button" to=${{ page: "failures" }} fresh>All failures<//>`}<//>
    <${Told} of=${found}>${found.data && (groups.length === 0 ? html`<${Panel} title="Failures" bare><${Empty}>${group ? "There is no such failure in this run." : "Nothing has failed."}<//><//>` : html`
      ${died.length > 0 && html`<${Panel} title=${`Cost a worker: crashes, signals, memory (${sum(died)})`} bare><${Groups} groups=${died} open=${group} /><//>`}
      ${other.length > 0 && html`<${Panel} title=${`Failed tasks (${sum(other)})`} bare><${Groups} groups=${other} open=${group} /><//>`}
      ${info && html`<${Again} run=${info.run_id} />`}`)}<//>`;
}

function Again({ run }) {
  return html`<${Panel} title="Again"><div class="stack"><p>Where the run has a journal, the first shows what failed, the second tries it again and nothing else:</p>
    <${Copy} line=${`longshore failures ${quoted(run)} --traceback`} label="Copy command" /><${Copy} line=${`longshore resume ${quoted(run)} --failed`} label="Copy command" /></div><//>`;
}

function Groups({ groups, open }) {
  return groups.map((group) => html`<${Group} key=${`${group.fingerprint}${group.state}`} group=${group} open=${Boolean(open)} />`);
}

function Group({ group, open }) {
  return html`<article class="group stack" aria-label=${group.type}>
    <div class="what"><span class="count" title="how many">${count(group.count)}</span>
      <h3><${State} state=${group.state}>${group.type}<//>${group.reason && html` <span class="muted">(${group.reason})</span>`}</h3></div>
    <p class="message">${group.message}</p>
    <p class="muted">${group.names.join(", ")} · first ${clock(group.first)}, last ${clock(group.last)}</p>
    <p class="prose">${group.keys.slice(0, 5).join(", ")}${group.count > 5 && group.keys.length ? ", …" : ""}
      ${" "}<${Link} to=${{ page: "tasks", fingerprint: group.fingerprint }} fresh>${group.count === 1 ? "its task" : `its ${count(group.count)} tasks`}<//>
      ${group.example && html` · <${TaskLink} id=${group.example}>newest one<//>`}</p>
    ${group.traceback && html`<details open=${open}><summary>Traceback of the newest</summary><pre tabindex="0">${group.traceback}</pre></details>`}
    ${group.output_tail && html`<details open=${open}><summary>The end of what it wrote</summary><pre tabindex="0">${group.output_tail}</pre></details>`}
  </article>`;
}
