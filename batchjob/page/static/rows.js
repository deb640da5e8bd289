// The rows of a job: what is looked for stands in the address, and is found a piece at a time.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { Bar, Heading, Lost, Note, Soft, State, Waiting, address, ask, clock, copy, counted, duration, go, isBusy, jobPath, moment, num, percent, say, tell, typing, usd } from "./lib.js";

const PAGE = 50;
const FILTERS = ["label", "source", "state", "kind", "matched"];
const SAID = { label: "label is", source: "source is", state: "state is", kind: "kind is", matched: "read from the answer:" };
const MATCHED = { near: "not letter for letter", exact: "letter for letter" };

const wantedOf = query => Object.fromEntries(["q", ...FILTERS].map(name => [name, query.get(name)]).filter(([, value]) => value));

// Rows found so far; it goes on looking, a piece an answer, until a page is full or nothing is left.
function useFound(job, wanted, place, again) {
  const [found, setFound] = useState({ key: "", rows: [], busy: true });
  const key = JSON.stringify([job, wanted, place, again]);
  useEffect(() => {
    const stop = new AbortController();
    const look = async () => {
      const back = "before" in place || "last" in place;
      let rows = [], at = place, page;
      try {
        do {
          page = await ask("/api/rows", { job, ...wanted, ...at }, { signal: stop.signal });
          rows = back ? [...page.rows, ...rows] : [...rows, ...page.rows];
          at = back ? { before: page.looked_to } : { after: page.looked_to };
          const full = rows.length >= PAGE;
          setFound({ key, rows: back ? rows.slice(-PAGE) : rows.slice(0, PAGE), total: page.total, looked: page.looked_to, ended: page.ended && rows.length <= PAGE, back, busy: !full && !page.ended });
        } while (rows.length < PAGE && !page.ended);
      } catch (error) {
        if (error.name !== "AbortError") setFound({ key, rows: [], trouble: error, busy: false });
      }
    };
    look();
    return () => stop.abort();
  }, [key]);
  return found.key === key ? found : { ...found, busy: true, old: true };
}

export function Rows({ job, query, live }) {
  const wanted = wantedOf(query), place = {};
  for (const name of ["after", "before", "last"]) if (query.get(name) !== null) place[name] = query.get(name);
  const [again, setAgain] = useState(0);
  const found = useFound(job, wanted, place, again), opened = query.get("row"), path = jobPath(job, "rows");
  const to = (changes, keep = false) => address(path, { ...wanted, ...(keep ? place : {}), ...changes });
  const table = useRef();
  const step = by => {
    const links = [...table.current.querySelectorAll("tbody a")], at = opened ? found.rows.findIndex(row => String(row.number) === opened) : links.indexOf(document.activeElement);
    const next = Math.max(0, Math.min(found.rows.length - 1, at + by));
    if (!found.rows.length) return;
    if (opened) go(to({ row: found.rows[next].number }, true), { replace: true });
    else links[next].focus();
  };
  const close = () => {
    const link = table.current?.querySelector("tr[aria-current] a");
    go(to({}, true));
    link?.focus({ preventScroll: true });
  };
  useKeys({ step, close, opened });
  const first = found.rows[0]?.number, last = found.rows[found.rows.length - 1]?.number;
  const start = !("after" in place || "before" in place || "last" in place);
  const atStart = start || (found.back && found.ended), atEnd = "last" in place || (!found.back && found.ended);
  const pager = html`<div class="pager">
    <a class="btn" role="button" aria-disabled=${atStart} disabled=${atStart} href=${atStart ? null : to({ before: first ?? place.after ?? "" })}>← Earlier rows</a>
    <a class="btn" role="button" aria-disabled=${atEnd} disabled=${atEnd} href=${atEnd ? null : to({ after: last ?? place.before ?? "" })}>Later rows →</a></div>`;
  return html`<section aria-labelledby="h">
    <div class="head"><${Heading}><span id="h">Rows</span></${Heading}></div>
    <${Search} job=${job} wanted=${wanted} to=${to}/>
    <${Filters} job=${job} wanted=${wanted} to=${to} status=${live.data?.status}/>
    <${Lost} trouble=${found.trouble} at=${null}/>
    <div class="listhead"><p role="status">${lookedWords(found, first, last)}</p>${pager}</div>
    ${!found.rows.length && (found.busy ? html`<${Waiting}/>` : !found.trouble && html`<${Nothing} wanted=${wanted} to=${to} more=${!found.ended}/>`)}
    <div ref=${table}>${found.rows.length > 0 && html`<${Table} rows=${found.rows} many=${live.data?.fields.length > 0} q=${wanted.q} opened=${opened} to=${to}/>`}</div>
    ${found.rows.length > 0 && html`<div class="listhead"><p class="dim hide-s">Keys <kbd>j</kbd> <kbd>k</kbd> move, <kbd>Enter</kbd> opens, <kbd>Esc</kbd> closes. <button class="btn quiet" type="button" onClick=${() => setAgain(again + 1)}>Read anew</button></p>${pager}</div>`}
    ${opened && html`<${Drawer} key=${opened} job=${job} number=${opened} step=${step} close=${close} live=${live}/>`}
  </section>`;
}

function lookedWords(found, first, last) {
  if (found.trouble) return "";
  const looked = found.looked === undefined ? "" : found.back ? `Looked at rows from ${num(found.looked)} on` : `Looked at rows up to ${num(found.looked)} of ${num(found.total)}`;
  if (found.busy && !found.old) return `${looked}, looking on …`;
  if (!found.rows.length) return "";
  return html`Rows <b>${num(first)}</b> to <b>${num(last)}</b>, ${num(found.rows.length)} of them shown.`;
}

function useKeys({ step, close, opened }) {
  const now = useRef();
  now.current = { step, close, opened };
  useEffect(() => {
    const press = event => {
      const { key, target } = event, { step, close, opened } = now.current;
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (key === "Escape" && typing(target)) return target.blur();
      if (typing(target)) return;
      if (key === "Escape") { document.querySelectorAll("details[open]").forEach(one => { one.open = false; }); if (opened) close(); return; }
      if (localStorage.getItem("single") === "off") return;
      if (key === "/") { document.querySelector("#q").focus(); document.querySelector("#q").select(); event.preventDefault(); }
      else if (key === "j" || (key === "ArrowDown" && !opened)) { step(1); event.preventDefault(); }
      else if (key === "k" || (key === "ArrowUp" && !opened)) { step(-1); event.preventDefault(); }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function Search({ job, wanted, to }) {
  const [typed, setTyped] = useState(wanted.q || "");
  const timer = useRef();
  useEffect(() => setTyped(wanted.q || ""), [wanted.q]);
  const search = (q, wait) => { clearTimeout(timer.current); timer.current = setTimeout(() => go(to({ q }), { replace: true }), wait); };
  const file = format => address("/download", { job, format, ...wanted });
  return html`<form class="find" role="search" onSubmit=${event => { event.preventDefault(); search(typed, 0); }}>
    <div class="search"><label class="vh" for="q">Search in the texts, or a whole id</label><input class="field" id="q" type="search" value=${typed} placeholder="Search in the texts, or a whole id" autocomplete="off" onInput=${event => { setTyped(event.target.value); search(event.target.value, 350); }}/><kbd aria-hidden="true">/</kbd></div>
    <div class="acts"><a class="btn" href=${file("csv")} download>CSV</a><a class="btn" href=${file("jsonl")} download>JSON</a><button class="btn" type="button" onClick=${() => copy(location.href)}>Copy link</button></div></form>`;
}

function Menu({ title, children }) {
  const ref = useRef();
  useEffect(() => {
    const shut = event => { if (ref.current && (!ref.current.contains(event.target) || event.target.closest(".pop a"))) ref.current.open = false; };
    addEventListener("click", shut);
    return () => removeEventListener("click", shut);
  }, []);
  return html`<details class="menu" ref=${ref}><summary>${title}</summary><div class="pop">${children}</div></details>`;
}

function Filters({ wanted, to, status }) {
  const chosen = FILTERS.filter(name => wanted[name]);
  const option = (name, value, count, shown = value) => html`<a href=${to({ [name]: value })}><b>${shown}</b> <span>${count === null ? "" : num(count)}</span></a>`;
  const sources = { ...status?.sources, ...(status?.by_hand && { human: status.by_hand.rows }) };
  const of = counts => Object.entries(counts).filter(([, n]) => n > 0);
  return html`<div class="chips" role="group" aria-label="Filters">
    ${chosen.map(name => html`<span class="chip on" key=${name}><span>${SAID[name]} <b>${name === "matched" ? MATCHED[wanted[name]] || wanted[name] : wanted[name].replace("_", name === "state" ? " " : "_")}</b></span><button type="button" aria-label=${`Take away: ${SAID[name]} ${wanted[name]}`} onClick=${() => { go(to({ [name]: null })); say("Filter taken away"); }}>✕</button></span>`)}
    ${status && html`
      ${!wanted.label && of(status.labels).length > 0 && html`<${Menu} title="Label">${of(status.labels).map(([label, n]) => option("label", label, n))}</${Menu}>`}
      ${!wanted.source && of(sources).length > 0 && html`<${Menu} title="Source">${of(sources).map(([source, n]) => option("source", source, n))}</${Menu}>`}
      ${!wanted.state && html`<${Menu} title="State">${["done", "failed", "unconfirmed", "in_flight", "pending"].filter(state => status.rows[state] > 0).map(state => option("state", state, status.rows[state], html`<${State} state=${state}/>`))}</${Menu}>`}
      ${!wanted.kind && status.errors.some(one => one.count > 0) && html`<${Menu} title="Kind of error">${status.errors.filter(one => one.count > 0).map(one => option("kind", one.kind, one.count))}</${Menu}>`}
      ${!wanted.matched && status.matched.near > 0 && html`<${Menu} title="More"><h3>Read from the answer</h3>${option("matched", "near", status.matched.near, MATCHED.near)}</${Menu}>`}`}
    ${(chosen.length > 0 || wanted.q) && html`<button class="btn quiet" type="button" onClick=${() => go(to({ q: null, ...Object.fromEntries(FILTERS.map(name => [name, null])) }))}>Clear all</button>`}
  </div>`;
}

function Nothing({ wanted, to }) {
  const conditions = FILTERS.filter(name => wanted[name]).map(name => `${SAID[name]} ${wanted[name]}`);
  if (wanted.q) conditions.unshift(`“${wanted.q}” in the text`);
  if (!conditions.length) return html`<div class="empty"><p>There are no rows here</p></div>`;
  return html`<div class="empty"><p>No row matches</p><p class="mid">${conditions.join(" and ")}.</p>
    <p>${FILTERS.filter(name => wanted[name]).map(name => html`<button class="btn" type="button" onClick=${() => go(to({ [name]: null }))}>Take away: ${SAID[name]} ${wanted[name]}</button> `)}
    <button class="btn quiet" type="button" onClick=${() => go(to({ q: null, ...Object.fromEntries(FILTERS.map(name => [name, null])) }))}>Clear all</button></p></div>`;
}

// Several answers on one line.
const allOf = label => Object.entries(JSON.parse(label)).map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(", ") || "–" : value}`).join(" · ");

function Marked({ text, q }) {
  if (!q) return text;
  const parts = [], low = text.toLowerCase(), sought = q.toLowerCase();
  if (low.length !== text.length) return text;
  let at = 0, hit;
  while ((hit = low.indexOf(sought, at)) >= 0) {
    parts.push(text.slice(at, hit), html`<mark>${text.slice(hit, hit + q.length)}</mark>`);
    at = hit + q.length;
  }
  return [...parts, text.slice(at)];
}

function Table({ rows, many, q, opened, to }) {
  const sure = rows.some(row => row.confidence !== null);
  return html`<table class="rows" id="rows"><caption class="vh">Rows that match, in the order of the input</caption>
    <thead><tr><th scope="col" class="c-n">Row</th><th scope="col">Text</th><th scope="col" class="c-l">Label</th><th scope="col" class="c-s">Source</th><th scope="col" class="c-st">State</th>${sure && html`<th scope="col" class="c-c">Confidence</th>`}</tr></thead>
    <tbody>${rows.map(row => {
      const href = to({ row: row.number }, true);
      return html`<tr key=${row.number} data-row=${row.number} aria-current=${String(row.number) === opened ? "true" : null} onClick=${event => { if (!event.target.closest("a")) go(href); }}>
        <td class="dim">${num(row.number)}</td><td><span class="t" dir="auto"><a href=${href}>${row.text.trim() ? html`<${Marked} text=${row.text} q=${q}/>` : html`<span class="none">no text</span>`}</a></span></td>
        <td>${row.label === null ? html`<span class="none">none</span>` : html`<span class=${many ? "lab many" : "lab"} dir="auto"><${Soft} text=${many ? allOf(row.label) : row.label}/></span>`}</td><td class="mid">${row.source || "–"}</td><td><${State} state=${row.state} kind=${row.kind}/></td>
        ${sure && html`<td class="c-c">${row.confidence === null ? html`<span class="none">–</span>` : html`<div class="conf"><${Bar} share=${row.confidence}/><span>${percent(Math.round(100 * row.confidence), 100)}</span></div>`}</td>`}</tr>`;
    })}</tbody></table>`;
}

// ---------------------------------------------------------------- one row

function useStory(job, number, changed) {
  const [held, setHeld] = useState({});
  useEffect(() => {
    const stop = new AbortController();
    (async () => {
      try {
        const row = await ask("/api/row", { job, number }, { signal: stop.signal });
        let requests = row.story.requests, behind = row.story.looked_to;
        setHeld({ row, requests, looking: behind !== null });
        while (behind !== null) {
          const more = await ask("/api/requests", { job, number, after: behind }, { signal: stop.signal });
          requests = [...requests, ...more.requests];
          behind = more.looked_to;
          setHeld({ row, requests, looking: behind !== null });
        }
      } catch (error) {
        if (error.name !== "AbortError") setHeld({ trouble: error });
      }
    })();
    return () => stop.abort();
  }, [job, number, changed]);
  return held;
}

function Drawer({ job, number, step, close, live }) {
  const [changed, setChanged] = useState(0);
  const { row, requests, looking, trouble } = useStory(job, number, changed), heading = useRef();
  useEffect(() => heading.current.focus({ preventScroll: true }), []);
  const said = row?.said.filter(one => one.field === null).pop();
  return html`<aside class="drawer" id="drawer" aria-labelledby="drawer-h">
    <header><h2 id="drawer-h" tabindex="-1" ref=${heading}>Row ${num(Number(number))}</h2>
      <button class="btn quiet" type="button" onClick=${() => step(-1)}><span class="vh">Previous row</span><span aria-hidden="true">↑ <kbd>k</kbd></span></button>
      <button class="btn quiet" type="button" onClick=${() => step(1)}><span class="vh">Next row</span><span aria-hidden="true">↓ <kbd>j</kbd></span></button>
      <button class="btn quiet" type="button" aria-label="Close" onClick=${close}><span aria-hidden="true">✕</span></button></header>
    <${Lost} trouble=${trouble} at=${null}/>
    ${!row ? !trouble && html`<${Waiting}/>` : html`<p class="text" dir="auto">${row.text || html`<span class="dim">no text</span>`}</p>
    <dl class="kv">
      ${(live.data?.fields || []).map(({ name }) => html`<dt key=${name}>${name}</dt><dd>${valueOf(row, name)}</dd>`)}
      ${!live.data?.fields.length && html`<dt>label</dt><dd>${said ? html`<b>${said.label}</b>, by ${said.who}. ${row.label === null ? "The job gave none." : html`The job's own is <b>${row.label}</b>, ${byWhom(row)}.`}` : row.label === null ? "none" : html`<b>${row.label}</b>, ${byWhom(row)}`}</dd>`}
      <dt>state</dt><dd><${State} state=${row.state} kind=${row.kind}/></dd>
      ${row.error && html`<dt>error</dt><dd>${row.error}</dd>`}
      ${row.confidence !== null && html`<dt>confidence</dt><dd>${percent(Math.round(1000 * row.confidence), 1000)}</dd>`}
      ${row.cost_usd !== null && html`<dt>cost</dt><dd>${usd(row.cost_usd)} USD, its share of its last request</dd>`}
      <dt>id</dt><dd class="mono">${row.key}</dd>
      ${Object.entries(row.columns).map(([name, value]) => html`<dt>${name}</dt><dd dir="auto">${value || "–"}</dd>`)}</dl>
    <${SetLabel} job=${job} row=${row} labels=${live.data?.labels || []} fields=${live.data?.fields || []} saved=${() => setChanged(changed + 1)}/>
    <h3>What happened to it</h3>
    <ol class="story"><li>Read from line ${num(row.line)} of the input.</li>
      ${requests.map(request => html`<${Request} key=${request.id} request=${request} row=${row} last=${request === requests.filter(one => one.purpose === "label").pop()}/>`)}
      ${looking && html`<li>Looking for more requests …</li>`}
      ${!looking && !requests.length && html`<li class=${row.state === "done" ? "ok" : row.state === "failed" ? "no" : ""}>${withoutRequest(row)}</li>`}
      ${row.said.map(one => html`<li class="hand" key=${one.at}><time>${clock(one.at, true)}</time><b>${one.field ? `${one.field} set` : "Set"} to ${one.label} by ${one.who}.</b> ${REASONS[one.why] || "Reviewed."}</li>`)}</ol>`}
  </aside>`;
}

// A person says what the label is, or one of several answers; what was said can be taken back.
function SetLabel({ job, row, labels, fields, saved }) {
  const [picked, setName] = useState(null), name = picked ?? fields[0]?.name ?? null, field = fields.find(one => one.name === name) || null;
  const own = field ? row.values[name] ?? null : row.label, said = row.said.filter(one => one.field === name).pop(), now = said ? said.label : own;
  const [typed, setTyped] = useState(null), [unsaved, setUnsaved] = useState(null), chosen = typed ?? now ?? "", options = field ? (["one", "yes_no"].includes(field.kind) ? field.labels : []) : labels;
  const store = async label => {
    try {
      await tell({ job, row: row.number, label, why: "row", field: name });
      setUnsaved(null); setTyped(null);
      say(label === null ? `Row ${num(row.number)}: taken back` : `Row ${num(row.number)}: ${label}. Saved`);
      saved();
    } catch (error) { setUnsaved(error.message); }
  };
  return html`<div class="acts">${fields.length > 0 && html`<label class="vh" for="which">Which answer</label><select class="field set" id="which" value=${name} onChange=${event => { setName(event.target.value); setTyped(null); }}>${fields.map(one => html`<option key=${one.name} value=${one.name}>${one.name}</option>`)}</select>`}
    ${options.length > 0 ? html`<label class="vh" for="set">Label of this row</label><select class="field set" id="set" value=${chosen} onChange=${event => setTyped(event.target.value)}>${now === null && html`<option value="">none</option>`}${options.map(label => html`<option key=${label} value=${label}>${label}</option>`)}</select>`
    : field && html`<label class="vh" for="set">${name} of this row</label><input class="field set" id="set" type="text" autocomplete="off" value=${chosen} onInput=${event => setTyped(event.target.value)}/>`}
    ${(field || options.length > 0) && html`<button class="btn" type="button" disabled=${!chosen} onClick=${() => store(chosen)}>${chosen === own ? "It is right" : field ? `Set ${name}` : "Set label"}</button>${said && html`<button class="btn" type="button" onClick=${() => store(null)}>Take back</button>`}`}
    <button class="btn" type="button" onClick=${() => copy(location.href)}>Copy link</button></div>
    ${unsaved && html`<${Note} bad><p><b>${unsaved.replace(/^./, c => c.toUpperCase())}.</b></p></${Note}>`}`;
}

// One of several answers, and who gave it.
function valueOf(row, name) {
  const own = row.values[name], said = row.said.filter(one => one.field === name).pop();
  if (!said) return own === undefined ? "none" : own === "" ? "–" : html`<b>${own}</b>`;
  return html`<b>${said.label}</b>, by ${said.who}. ${own === undefined ? "The job gave none." : html`The job's own is <b>${own}</b>.`}`;
}

function byWhom(row) {
  if (row.source === "model") return row.matched === "near" ? "by the model, not letter for letter as it wrote it" : "by the model";
  if (row.source === "second") return "by the second model";
  if (row.source === "fallback") return "the fallback, because the answer was none of the labels";
  const from = { duplicate: "of a row with the same text", cache: "remembered from job", rule: "by the rule", human: "by a person" }[row.source] || row.source;
  return row.origin ? `${from} ${row.origin}` : from;
}
const withoutRequest = row => row.state === "done" ? `Labelled without a request: ${byWhom(row)}.` : row.state === "pending" ? "Nothing was sent for it yet." : "Nothing was sent for it.";

const REASONS = { command: "Typed in a terminal.", file: "It stood in a file of corrections.", row: "Beside its story.", sample: "Reviewed in the random sample." };
const OUTCOMES = { answered: "answered", rejected: "rejected", lost: "the answer never came", not_sent: "it never left this machine" };
function Request({ request, row, last }) {
  const with_ = request.rows > 1 ? ` with ${counted(request.rows - 1, "other row")}` : "", asked = request.purpose === "verify" ? "Asked once more, alone, to compare" : `Sent${with_}`;
  const took = request.ended_at === null ? "" : duration(Math.max(request.ended_at - request.sent_at, 0)), failed = request.outcome !== null && request.outcome !== "answered";
  return html`<li class=${request.outcome === "answered" ? "ok" : failed ? "no" : ""}><time>${clock(request.sent_at, true)}</time>
    <b>${asked}${request.outcome === null ? ", and out now" : `: ${OUTCOMES[request.outcome] || request.outcome}`}.</b>
    ${request.error && html` ${request.error}`}
    ${last && request.outcome === "answered" && (row.answer ?? row.label) !== null && html`<pre>${row.answer ?? row.label}</pre>`}
    ${request.input_tokens !== null && html`<p class="meas">${num(request.input_tokens)} tokens in and ${num(request.output_tokens)} out${request.rows > 1 ? ` for ${request.rows} rows` : ""}</p>`}
    ${request.cost_usd > 0 && html`<p class="meas">${usd(request.cost_usd)} USD${request.outcome === "lost" || request.outcome === null ? " at most" : ""}${request.rows > 1 ? `, of which this row's share is ${usd(request.cost_usd / request.rows)}` : ""}</p>`}
    <p class="meas mono">${[request.provider_id || request.id, request.model, request.status && `HTTP ${request.status}`, took].filter(Boolean).join(" · ")}</p></li>`;
}
