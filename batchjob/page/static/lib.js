// What all screens share: fetching, addresses, numbers in words, small pieces.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";

// ---------------------------------------------------------------- the server

export class Trouble extends Error {}

export async function ask(path, query = {}, options = {}) {
  let response;
  try {
    response = await fetch(`${path}?${new URLSearchParams(query)}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("No contact with batchjob view: its process has ended, or does not answer.");
  }
  const said = await response.text();
  let document;
  try { document = JSON.parse(said); } catch { throw new Trouble(said.trim()); }
  if (!response.ok) throw Object.assign(new Trouble(document.error), { gone: response.status === 404 });
  return document;
}

// What a person says of a row: it is on the disk when this comes back.
export const tell = said => ask("/api/say", {}, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) });

// The document at an address, asked again and again while the page is seen; what was there stays until new is there.
export function useLive(path, query, seconds) {
  const [held, setHeld] = useState({ key: "", data: null, trouble: null, at: null });
  const key = path + JSON.stringify(query);
  useEffect(() => {
    if (!path) return undefined;
    let timer, over = false;
    const again = async () => {
      if (!document.hidden) {
        try {
          const data = await ask(path, query);
          if (!over) setHeld({ key, data, trouble: null, at: new Date() });
        } catch (error) {
          if (!over) setHeld(before => ({ ...(before.key === key ? before : { key, data: null, at: null }), trouble: error }));
        }
      }
      if (!over) timer = setTimeout(again, 1000 * seconds());
    };
    again();
    return () => { over = true; clearTimeout(timer); };
  }, [key]);
  return held.key === key ? held : { key, data: null, trouble: null, at: null };
}

// ---------------------------------------------------------------- addresses

export const jobPath = (job, screen = "") => `/j/${encodeURIComponent(job)}${screen && "/" + screen}`;
export const address = (path, query = {}) => {
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const said = new URLSearchParams(kept).toString();
  return path + (said && "?" + said);
};
export function go(to, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", to);
  dispatchEvent(new Event("went"));
}

// ---------------------------------------------------------------- numbers and times in words

const THIN = "\u202f";
export const num = x => x === null || x === undefined ? "–" : x.toLocaleString("en-US");
export const counted = (n, noun) => `${num(n)} ${noun}${n === 1 ? "" : "s"}`;
export const percent = (part, whole) => {
  if (!whole) return `0${THIN}%`;
  const share = 100 * part / whole;
  const shown = part && share < 0.1 ? "under 0.1" : part < whole && share > 99.9 ? "99.9" : share.toFixed(1).replace(/\.0$/, "");
  return `${shown}${THIN}%`;
};
export const usd = x => {
  if (x === null || x === undefined) return "unknown";
  if (x === 0 || x >= 0.01) return x.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return x.toLocaleString("en-US", { maximumSignificantDigits: 2, maximumFractionDigits: 20 });
};
export const duration = seconds => {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} days ${Math.floor(s % 86400 / 3600)} h`;
};
const two = n => String(n).padStart(2, "0");
export const clock = (at, seconds = false) => {
  const d = new Date(1000 * at);
  return `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? ":" + two(d.getSeconds()) : ""}`;
};
export const moment = (at, now = Date.now() / 1000) => {
  const d = new Date(1000 * at), today = new Date(1000 * now);
  const day = x => new Date(x.getFullYear(), x.getMonth(), x.getDate()).getTime();
  const days = Math.round((day(today) - day(d)) / 86400000);
  if (days === 0) return `today ${clock(at)}`;
  if (days === 1) return `yesterday ${clock(at)}`;
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(at)}`;
};

// ---------------------------------------------------------------- pieces

let toast = () => {};
export const say = text => toast(text);
export function Toast() {
  const [said, setSaid] = useState({ text: "", on: false });
  const timer = useRef();
  toast = text => {
    clearTimeout(timer.current);
    setSaid({ text, on: true });
    timer.current = setTimeout(() => setSaid({ text, on: false }), 1800);
  };
  return html`<div class=${said.on ? "toast on" : "toast"} id="toast" role="status" aria-live="polite">${said.text}</div>`;
}

export async function copy(text, from) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    if (from) getSelection().selectAllChildren(from);
    say("Selected: press Ctrl-C");
  }
}

export function Cmd({ text }) {
  const code = useRef();
  return html`<div class="cmd"><code tabindex="0" ref=${code}>${text}</code
    ><button type="button" aria-label="Copy this command" onClick=${() => copy(text, code.current)}>Copy</button></div>`;
}

// What the terminal says to do next: words before the command, where there are some.
export function Next({ text }) {
  const at = text.indexOf("batchjob ");
  if (at < 0) return html`<p>${text}</p>`;
  return html`${at > 0 && html`<p>${text.slice(0, at).replace(/^./, c => c.toUpperCase())}</p>`}<${Cmd} text=${text.slice(at)}/>`;
}

// Long names break behind _ and -.
export const Soft = ({ text }) => text.split(/(?<=[_-])/).flatMap((part, n) => n ? [html`<wbr/>`, part] : [part]);

const SHAPES = { done: "done", failed: "failed", unconfirmed: "unconfirmed", in_flight: "flight", pending: "pending" };
export const State = ({ state, kind }) => html`<span class=${"st " + SHAPES[state]}>${kind || state.replace("_", " ")}</span>`;

const OF_JOBS = {
  running: ["running", "Running"], ingesting: ["running", "Running, still reading"], finished: ["done", "Finished"],
  stopped: ["stopped", "Stopped"], interrupted: ["stopped", "Interrupted"], refused: ["failed", "Refused"],
  over_budget: ["stopped", "Budget reached"], moved: ["stopped", "Moved"],
};
export const isBusy = state => state === "running" || state === "ingesting";
export const JobState = ({ state, more = "" }) => {
  const [shape, word] = OF_JOBS[state] || ["stopped", state];
  return html`<span class=${"st " + shape}>${word}${more}</span>`;
};
export const Bar = ({ share, kind = "", cls = "" }) => html`<svg class=${"bar " + cls} aria-hidden="true"
  ><rect class=${kind} width=${`${Math.min(100, 100 * share).toFixed(3)}%`} height="100%"/></svg>`;

export function Note({ bad, children }) {
  return html`<div class=${"note " + (bad ? "bad" : "warn")} role=${bad ? "alert" : "status"}>${children}</div>`;
}
export const Lost = ({ trouble, at }) => trouble && html`<div class="notes"><${Note} bad=${!at}><p><b>${trouble.message}</b>
  ${at && ` What you see is from ${clock(at / 1000, true)}.${trouble.gone ? "" : " The job itself is not touched by this. It is tried again by itself."}`}</p></${Note}></div>`;

// Grey lines, but only where it takes long.
export function Waiting() {
  const [late, setLate] = useState(false);
  useEffect(() => { const timer = setTimeout(() => setLate(true), 300); return () => clearTimeout(timer); }, []);
  return late && html`<div class="bones" role="status"><span class="vh">Reading</span>
    ${[92, 78, 85].map(width => html`<svg aria-hidden="true"><rect width="${width}%" height="12" rx="2"/></svg>`)}</div>`;
}

// The heading of a screen: it gets the focus when the screen changes.
export function Heading({ children }) {
  const ref = useRef();
  useEffect(() => { if (screenChanged.value) ref.current.focus({ preventScroll: true }); screenChanged.value = true; }, []);
  return html`<h1 ref=${ref} tabindex="-1">${children}</h1>`;
}
const screenChanged = { value: false };

export const typing = target => target.matches("input:not([type=checkbox]), textarea, select");
