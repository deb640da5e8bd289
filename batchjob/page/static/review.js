// Review: one row at a time, by keyboard. What is said is on the disk before the next row comes.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { Bar, Heading, Lost, Note, Soft, Waiting, address, ask, counted, go, jobPath, num, say, tell, typing } from "./lib.js";

const DIGITS = 9;
const TITLES = {
  content_filter: "Only a person can", filtered_answer: "Answer was filtered", off_list: "Off the list", refused_by_model: "Refused by the model",
  fallback: "Got the fallback", near: "Not letter for letter", disagreed: "Answers disagree", second: "Second model's label", unsure: "Least sure", sample: "Random sample",
};
const WHY = {
  content_filter: () => "The endpoint does not take this text.", filtered_answer: () => "The endpoint took its answer back.",
  off_list: row => row.answer ? `The model answered “${short(row.answer)}”, which is no label of this job.` : "The answer was no label of this job.",
  refused_by_model: row => row.answer ? `The model would not: “${short(row.answer)}”` : "The model would not.",
  fallback: row => row.answer ? `The model answered “${short(row.answer)}”, so it got the fallback.` : "The answer was no label, so it got the fallback.",
  near: row => row.answer ? `The model wrote “${short(row.answer)}”.` : "The answer was not quite the label.",
  disagreed: () => "Asked once more, alone, the model gave another label.", second: () => "The first model gave no label, or was unsure, so a second one was asked.", unsure: () => "The model was not sure of its label.",
  sample: () => "It came by chance, to measure the accuracy.",
};
// A kind of error may name the fields that are missing, and a queue what its rows are held against.
const base = name => name.split(":")[0], behind = name => name.slice(name.indexOf(":") + 1);
const BESIDE = { gold: "Column", job: "Job" };
const title = name => BESIDE[base(name)] ? `${BESIDE[base(name)]} ${behind(name)} differs` : (TITLES[base(name)] || base(name)) + (name.includes(":") ? `: ${behind(name).split(",").join(", ")}` : "");
const reason = (name, row) => BESIDE[base(name)] ? `${BESIDE[base(name)]} ${behind(name)} says “${short(row.other || "")}”.` : (WHY[base(name)] || (() => ""))(row);
const short = text => text.length > 160 ? text.slice(0, 160) + " …" : text;

export function Review({ job, query }) {
  const [held, setPage] = useState(null), [trouble, setTrouble] = useState(null), field = query.get("field") || "";
  const page = held && (!field || held.field === field) ? held : null;
  useEffect(() => { ask("/api/review", { job, field }).then(setPage, setTrouble); }, [job, field]);
  const named = query.get("queue"), asked = named && BESIDE[base(named)] ? { name: named, total: null, done: 0 } : null;
  const known = page?.queues.find(one => one.name === named) || asked, queue = known || page?.queues.find(left) || page?.queues[0];
  const to = changes => address(jobPath(job, "review"), { field: page?.field, ...changes });
  // A queue that is worked to its end stays in view, and says so.
  useEffect(() => { if (queue && queue.name !== named) go(to({ queue: queue.name }), { replace: true }); }, [queue, named]);
  return html`<section aria-labelledby="h"><div class="head"><${Heading}><span id="h">Review</span></${Heading}><span class="mid">What the job said is always kept.</span></div>
    <${Lost} trouble=${trouble} at=${null}/>
    ${page?.fields.length > 0 && html`<nav class="chips answers" aria-label="Answers">${page.fields.map(name => html`<a class="btn" key=${name} aria-current=${name === page.field ? "true" : null} href=${to({ field: name })}>${name}</a>`)}</nav>`}
    ${!page ? !trouble && html`<${Waiting}/>` : !queue ? html`<div class="empty"><p>There is nothing to review yet</p><p class="mid">The random sample is drawn when the input is read to its end and rows have labels.</p></div>`
    : html`<${Work} key=${`${queue.name} ${page.field}`} job=${job} queue=${queue} page=${page} setPage=${setPage} to=${to}/>`}</section>`;
}
const left = queue => queue.total === null || queue.done < queue.total;

function useRows(job, queue, field) {
  const [held, setHeld] = useState({ rows: [], beyond: null, busy: true, trouble: null });
  const more = async (rows, beyond) => {
    try {
      let found;
      do {
        found = await ask("/api/review/rows", { job, queue, field: field || "", after: beyond || 0 });
        beyond = found.beyond;
      } while (!found.rows.length && beyond !== null);
      const known = new Set(rows.map(row => row.number));
      setHeld(before => ({ ...before, rows: [...before.rows, ...found.rows.filter(row => !known.has(row.number))], beyond, busy: false }));
    } catch (error) {
      setHeld(before => ({ ...before, busy: false, trouble: error }));
    }
  };
  useEffect(() => { more([], null); }, []);
  // More may have come while something was saved: what changes is always made of the rows as they are then.
  const change = changed => setHeld(before => ({ ...before, rows: changed(before.rows) }));
  const goOn = () => { if (held.beyond !== null && !held.busy) { setHeld(before => ({ ...before, busy: true })); more(held.rows, held.beyond); } };
  return [held, change, goOn];
}

function Work({ job, queue, page, setPage, to }) {
  const [held, setRows, goOn] = useRows(job, queue.name, page.field), { rows } = held;
  const [at, setAt] = useState(0), [trail, setTrail] = useState([]), [picked, setPicked] = useState(null), [unsaved, setUnsaved] = useState(null), [filter, setFilter] = useState("");
  const [blind, setBlind] = useState(localStorage.getItem("blind") === "on"), saving = useRef(false), field = useRef();
  const row = rows[at], hidden = blind && queue.name === "sample", own = row ? row.said ?? row.label : null, marked = picked ?? (hidden ? null : own);
  useEffect(() => { if (at >= rows.length - 5) goOn(); }, [at, rows.length]);
  useEffect(() => { document.querySelector("#text")?.focus({ preventScroll: true }); }, [row?.number]);
  const free = !["label", "one", "yes_no"].includes(page.kind), chosen = page.kind === "several" ? listed(marked) : [];
  const likely = page.labels.length <= DIGITS ? page.labels : [...new Set([row?.other, ...(own && !hidden ? [own] : []), ...page.frequent])].filter(label => page.labels.includes(label)).slice(0, DIGITS);
  const hits = page.labels.filter(label => label.toLowerCase().replace(/[\s_-]+/g, "_").includes(filter.trim().toLowerCase().replace(/[\s_-]+/g, "_")));
  const move = by => { if (!rows.length) return; setAt(Math.max(0, Math.min(rows.length, at + by))); setPicked(null); setFilter(""); setUnsaved(null); };

  const choose = async label => {
    if (!row || !label || saving.current) return;
    if (page.kind === "several" && !label.startsWith("[")) label = JSON.stringify(listed(label));
    saving.current = true;
    try {
      setPage(await tell({ job, row: row.number, label, why: queue.name, field: page.field }));
      setTrail([...trail, { row, label, at }]);
      setRows(rows => rows.map(one => one.number === row.number ? { ...row, said: label, done: true } : one));
      say(`Row ${num(row.number)}: ${label}. Saved`);
      field.current?.blur();
      move(1);
    } catch (error) {
      setPicked(label);
      setUnsaved(error.message);
    } finally { saving.current = false; }
  };
  const undo = async () => {
    const last = trail[trail.length - 1];
    if (!last || saving.current) return;
    saving.current = true;
    try {
      setPage(await tell({ job, row: last.row.number, label: null, why: queue.name, field: page.field }));
      setTrail(trail.slice(0, -1));
      setRows(rows => rows.map(one => one.number === last.row.number ? last.row : one));
      const back = rows.findIndex(one => one.number === last.row.number);
      setAt(back < 0 ? last.at : back);
      setPicked(null); setUnsaved(null);
      say(`Undone: row ${num(last.row.number)}`);
    } catch (error) { setUnsaved(error.message); } finally { saving.current = false; }
  };
  const skip = () => {
    if (!row || at >= rows.length - 1) return say("It is the last one");
    setRows(rows => [...rows.filter(one => one.number !== row.number), row]);
    setPicked(null); setUnsaved(null);
    say("Skipped: it comes back at the end");
  };
  const pick = label => page.kind === "several" ? setPicked(JSON.stringify(chosen.includes(label) ? chosen.filter(one => one !== label) : [...chosen, label])) : choose(label);
  const act = { accept: () => choose(marked), skip, undo, next: () => move(1), prev: () => move(-1), digit: n => likely[n - 1] && pick(likely[n - 1]), find: letter => { field.current?.focus(); setFilter(letter); }, many: page.labels.length > DIGITS && !free };
  useKeys(act);
  const shown = page.queues.includes(queue) ? page.queues : [...page.queues, queue];

  return html`<div class="review">
    <nav aria-label="Queues"><ul class="queues">${shown.map(one => html`<li key=${one.name}><button type="button" aria-current=${one.name === queue.name ? "true" : null} onClick=${() => go(to({ queue: one.name }))}><span>${title(one.name)}</span><span>${num(one.done)}${one.total === null ? "" : ` of ${num(one.total)}`}</span></button></li>`)}</ul></nav>
    <div>${unsaved && html`<div class="notes"><${Note} bad><p><b>${unsaved.replace(/^./, c => c.toUpperCase())}.</b> The text stays here with your choice${picked ? html`, <b>${picked}</b>` : ""}.</p></${Note}></div>`}
    <${Lost} trouble=${held.trouble} at=${null}/>
    ${!row ? held.busy ? html`<${Waiting}/>` : html`<${Finished} queue=${queue} page=${page} rows=${rows} to=${to} back=${() => move(-1)}/>` : html`<div class="card" id="card">
      <div class="why"><p id="why"><b>${title(queue.name)}.</b> ${reason(queue.name, row)}</p><p class="nw" id="pos">${num(Math.min(queue.done + (row.done ? 0 : 1), queue.total ?? Infinity))}${queue.total === null ? "" : ` of ${num(queue.total)}`}</p></div>
      <${Bar} cls="thin" share=${queue.total ? queue.done / queue.total : 0}/>
      <blockquote id="text" tabindex="-1" dir="auto">${row.text.trim() ? row.text : html`<span class="dim">no text</span>`}</blockquote>
      <p class="meta" id="meta"><span>row ${num(row.number)}</span>${row.key !== String(row.number) && html`<span>${row.key}</span>`}${Object.entries(row.columns).filter(([, value]) => value && !(hidden && page.labels.includes(value))).slice(0, 4).map(([name, value]) => html`<span dir="auto">${name}: ${short(value)}</span>`)}<a href=${address(jobPath(job, "rows"), { row: row.number, after: row.number - 1 })}>its whole story</a></p>
      ${likely.length > 0 && html`<ol class="cands" id="cands" aria-label="Labels">${likely.map((label, n) => html`<li key=${label}><button type="button" class=${label === marked || chosen.includes(label) ? "on" : ""} aria-pressed=${page.kind === "several" ? String(chosen.includes(label)) : null} aria-keyshortcuts=${n + 1} onClick=${() => pick(label)}><kbd>${n + 1}</kbd><span><${Soft} text=${label}/></span><span class="own">${hidden ? "" : label === row.said ? "said before" : label === row.label ? byWhom(row) : label === row.other ? "says the other" : page.descriptions[label] || ""}</span><span></span><span class="num">${!hidden && label === row.label && row.confidence !== null ? `${Math.round(100 * row.confidence)}\u202f%` : ""}</span></button></li>`)}</ol>`}
      ${free && html`<label class="vh" for="value">${page.field}</label><input class="field value" id="value" type="text" autocomplete="off" value=${page.kind === "several" ? chosen.join(", ") : marked ?? ""} onInput=${event => setPicked(event.target.value)} onKeyDown=${event => { if (event.key === "Enter") { event.preventDefault(); event.target.blur(); act.accept(); } if (event.key === "Escape") event.target.blur(); }}/>`}
      <div class="acts"><button class="btn main" type="button" disabled=${!marked} aria-keyshortcuts="Enter" onClick=${act.accept}><span id="accept-word">${marked ? `Accept ${free ? "" : marked}`.trim() : free ? "Type an answer" : "Choose a label"}</span> <kbd aria-hidden="true">Enter</kbd></button><button class="btn" type="button" aria-keyshortcuts="s" onClick=${skip}>Skip <kbd aria-hidden="true">s</kbd></button><button class="btn" type="button" disabled=${!trail.length} aria-keyshortcuts="u" onClick=${undo}>Undo <kbd aria-hidden="true">u</kbd></button>
        <span class="end hide-s"><button class="btn quiet" type="button" aria-keyshortcuts="k" onClick=${act.prev}><span class="vh">Previous text</span><span aria-hidden="true">← <kbd>k</kbd></span></button><button class="btn quiet" type="button" aria-keyshortcuts="j" onClick=${act.next}><span class="vh">Next text</span><span aria-hidden="true">→ <kbd>j</kbd></span></button></span></div>
      ${act.many && html`<div class="many" id="many"><label class="vh" for="filter">Find a label</label><input class="field" id="filter" ref=${field} type="text" autocomplete="off" spellcheck="false" placeholder=${`Type to find one of ${page.labels.length} labels`} role="combobox" aria-expanded="true" aria-controls="all" aria-autocomplete="list" value=${filter} onInput=${event => setFilter(event.target.value)} onKeyDown=${event => { if (event.key === "Enter") { event.preventDefault(); if (filter.trim() && hits.length) choose(hits[0]); } if (event.key === "Escape") { setFilter(""); field.current.blur(); } }}/>
        <div class="all" id="all" role="listbox" aria-label="All labels" tabindex="0">${hits.map((label, n) => html`<button type="button" role="option" tabindex="-1" key=${label} aria-selected=${filter.trim() && !n ? "true" : "false"} class=${filter.trim() && !n ? "on" : ""} onClick=${() => choose(label)}><${Soft} text=${label}/></button>`)}${!hits.length && html`<p class="dim" role="option" aria-disabled="true">No label has this in its name.</p>`}</div></div>`}
    </div>`}</div>
    <${Side} page=${page} trail=${trail} to=${to} blind=${blind} setBlind=${on => { localStorage.setItem("blind", on ? "on" : "off"); setBlind(on); }}/>
  </div>`;
}
// Several labels, as they are stored or as a person types them.
const listed = text => {
  if (text === null || text === undefined) return [];
  try { const found = JSON.parse(text); if (Array.isArray(found)) return found; } catch { /* typed */ }
  return text.split(",").map(one => one.trim()).filter(Boolean);
};
const byWhom = row => row.source === "model" ? "the model's answer" : row.source === "fallback" ? "the fallback" : `by ${row.source}`;

function useKeys(act) {
  const now = useRef();
  now.current = act;
  useEffect(() => {
    const press = event => {
      const { key, target } = event, act = now.current;
      if (event.ctrlKey || event.metaKey || event.altKey || typing(target) || document.querySelector("dialog[open]")) return;
      if (key === "Enter") { if (!target.matches("a, button, summary, input")) { act.accept(); event.preventDefault(); } return; }
      if (localStorage.getItem("single") === "off" && key.length === 1) return;
      if (/^[1-9]$/.test(key)) act.digit(Number(key));
      else if (key === "u") act.undo();
      else if (key === "s") act.skip();
      else if (key === "j" || key === "ArrowRight") act.next();
      else if (key === "k" || key === "ArrowLeft") act.prev();
      else if (act.many && (key === "/" || /^[a-z]$/.test(key))) act.find(key === "/" ? "" : key);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function Finished({ queue, page, rows, to, back }) {
  const other = page.queues.find(one => one !== queue && left(one)), sample = sampleOf(page), skipped = rows.filter(row => !row.done).length;
  return html`<div class="empty"><p>${queue.name === "sample" && sample ? `The random sample is finished: accuracy ${accuracy(sample)}` : BESIDE[base(queue.name)] && !queue.done && !skipped ? "No labelled row differs" : "This queue is finished"}</p>
    ${skipped > 0 && html`<p class="mid">${counted(skipped, "text")} in it ${skipped === 1 ? "is" : "are"} left. <button class="btn" type="button" onClick=${back}>Go back</button></p>`}
    ${other && html`<p><a class="btn main" href=${to({ queue: other.name })}>Review: ${title(other.name)}</a></p>`}</div>`;
}

export const accuracy = share => `${Math.round(100 * share.share)}\u202f% (${Math.round(100 * share.low)} to ${Math.round(100 * share.high)}), n=${num(share.n)}`;

const sampleOf = page => page.field ? page.hand?.fields[page.field] : page.hand?.sample;

function Side({ page, trail, to, blind, setBlind }) {
  const sample = sampleOf(page), x = v => `${(100 * v).toFixed(2)}%`;
  return html`<aside class="side" aria-label="How well the job does">
    <section><h2>Accuracy ${page.field ? `of ${page.field} ` : ""}so far</h2>${!sample ? html`<p>It is known when texts of the random sample are reviewed.</p>` : html`<p class="big" id="acc">${Math.round(100 * sample.share)}\u202f%</p>
      <svg class="range" id="range" role="img" aria-label=${`${accuracy(sample)}`}><line x1="0" x2="100%" y1="10" y2="10" stroke="var(--line-2)"/><rect x=${x(sample.low)} width=${x(sample.high - sample.low)} y="6" height="8" class="f-duplicate"/><circle cx=${x(sample.share)} cy="10" r="5" class="f-model"/>
        ${[[0, "start"], [0.5, "middle"], [1, "end"]].map(([v, anchor]) => html`<text x=${x(v)} y="31" text-anchor=${anchor}>${100 * v}\u202f%</text>`)}</svg>
      <p id="acc-words">Most likely between ${Math.round(100 * sample.low)} and ${Math.round(100 * sample.high)}\u202f%. ${num(sample.hits)} of ${counted(sample.n, "text")} of the random sample had the right label; the other queues do not count here.</p>`}</section>
    <section><label class="check"><input type="checkbox" id="blind" checked=${blind} onChange=${event => setBlind(event.target.checked)}/> <span>Hide the model's answer in the random sample until I choose. Slower, and fairer.</span></label></section>
    ${page.columns.length + page.jobs.length > 0 && html`<section><h2>Held against</h2><label class="vh" for="beside">A column or another job</label><select class="field set" id="beside" onChange=${event => event.target.value && go(to({ queue: event.target.value }))}><option value="">a column or a job …</option>
      ${page.columns.map(name => html`<option key=${name} value=${`gold:${name}`}>column ${name}</option>`)}${page.jobs.map(name => html`<option key=${name} value=${`job:${name}`}>job ${name}</option>`)}</select></section>`}
    <section><h2>Just now</h2><ol class="trail" id="trail">${trail.length ? trail.slice(-6).reverse().map(({ row, label }) => html`<li><span>${num(row.number)}</span><span>${row.label && row.label !== label && html`<del>${row.label}</del> → `}<b>${label}</b></span></li>`) : html`<li class="dim">Nothing yet</li>`}</ol></section>
  </aside>`;
}
