// Plugins and settings: what the run is made of, and from where each setting comes. Secrets are never sent here.
import { html } from "./lib.js";
import { count } from "./format.js";
import { useData, useRun } from "./live.js";
import { State } from "./marks.js";
import { Head, Panel, Table, Told } from "./parts.js";
import { Search } from "./parts.js";
import { useQuery } from "./router.js";

const said = (value) => (typeof value === "string" ? value : JSON.stringify(value));

const PLUGINS = [
  { key: "kind", name: "Kind", cell: (row) => row.kind },
  { key: "name", name: "Name", cell: (row) => row.name },
  { key: "distribution", name: "Distribution", cell: (row) => row.distribution },
  { key: "version", name: "Version", cell: (row) => row.version },
  { key: "state", name: "State", cell: (row) => html`<${State} state=${row.state} />` },
  { key: "reason", name: "Why", wide: true, cell: (row) => row.reason ?? "" },
];
const SETTINGS = [
  { key: "key", name: "Setting", cell: (row) => html`<code>${row.key}</code>` },
  { key: "value", name: "Value", wide: true, cell: (row) => html`<code>${said(row.value)}</code>` },
  { key: "origin", name: "Set by", wide: true, cell: (row) => row.origin ?? "" },
];
const VERSIONS = [
  { key: "name", name: "What", cell: ([name]) => name },
  { key: "version", name: "Version", cell: ([, version]) => said(version) },
];
const SINKS = [
  { key: "name", name: "Sink", cell: (row) => row.name },
  { key: "state", name: "State", cell: (row) => html`<${State} state=${row.state} />` },
  { key: "delivered", name: "Events told", num: true, cell: (row) => count(row.delivered) },
  { key: "dropped", name: "Dropped", num: true, cell: (row) => count(row.dropped) },
  { key: "errors", name: "Errors", num: true, cell: (row) => count(row.errors) },
  { key: "last", name: "Last error", wide: true, cell: (row) => row.last_error ?? "" },
];

export function Page() {
  const { q = "" } = useQuery();
  const { snapshot } = useRun();
  const found = useData("api/plugins");
  const wanted = q.toLowerCase();
  const settings = (found.data?.settings ?? []).filter((row) => `${row.key} ${said(row.value)} ${row.origin ?? ""}`.toLowerCase().includes(wanted));
  return html`<${Head} title="Plugins and settings" />
    <${Told} of=${found}>${found.data && html`
      <${Panel} title="Plugins" bare><${Table} caption="Plugins" columns=${PLUGINS} rows=${found.data.plugins ?? []} empty="Of a recorded run only the versions below are kept, not which of these plugins it used." /><//>
      ${snapshot?.sinks?.length > 0 && html`<${Panel} title="Who is told of the run" bare><${Table} caption="Sinks" columns=${SINKS} rows=${snapshot.sinks} /><//>`}
      <${Panel} title="Settings" bare side=${html`<${Search} name="q" label="" placeholder="filter settings" />`}>
        <${Table} caption="Settings, and what set them" columns=${SETTINGS} rows=${settings} keyed=${(row) => row.key} empty=${q ? "No setting fits." : "No setting is recorded: all are at their defaults."} /><//>
      <${Panel} title="Versions" bare><${Table} caption="Versions" columns=${VERSIONS} rows=${Object.entries(found.data.versions ?? {})} empty="None are recorded." /><//>`}<//>`;
}
