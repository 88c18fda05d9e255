// A shared worker: the one stream of events for all tabs of a browser, which opens no more than 6 connections to a host.
// In: {word: "hello" | "shown" | "hidden" | "bye", url: the stream's address} from each tab. Out: {kind: "snapshot" | "delta" | "up" | "down", data}.
// While every tab is hidden there is no stream at all; the first that is shown again gets a fresh snapshot.

const WAIT_MS = [1000, 2000, 5000, 10000, 30000];
const tabs = new Map(); // port -> whether it is shown
let address = null;
let source = null;
let timer = null;
let failures = 0;
let last = null; // the newest snapshot, for a tab that comes later

function tell(kind, data = null) {
  for (const [port, shown] of tabs) if (shown) port.postMessage({ kind, data });
}

function open() {
  if (source) return;
  clearTimeout(timer);
  source = new EventSource(address);
  source.onopen = () => {
    failures = 0;
    tell("up");
  };
  source.addEventListener("snapshot", (event) => pass("snapshot", event));
  source.addEventListener("delta", (event) => pass("delta", event));
  source.onerror = lost;
}

function pass(kind, event) {
  last = event.data;
  tell(kind, event.data);
}

function lost() {
  tell("down");
  if (source && source.readyState === EventSource.CLOSED) {
    // refused, or over: the browser gives up here, we ask again more and more rarely
    close();
    timer = setTimeout(settle, WAIT_MS[Math.min(failures, WAIT_MS.length - 1)]);
    failures += 1;
  }
}

function close() {
  if (source) source.close();
  source = null;
}

function settle() {
  clearTimeout(timer);
  if ([...tabs.values()].some(Boolean)) open();
  else {
    close();
    last = null;
  }
}

function hear(port, { word, url }) {
  address = url;
  if (word === "bye") tabs.delete(port);
  else {
    tabs.set(port, word !== "hidden");
    if (word !== "hidden" && source && last !== null) port.postMessage({ kind: "snapshot", data: last });
  }
  settle();
}

self.onconnect = (event) => {
  const port = event.ports[0];
  port.onmessage = (message) => hear(port, message.data);
};
