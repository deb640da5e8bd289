// One job, live.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { Bar, Cmd, Heading, JobState, Lost, Next, Note, Soft, State, Waiting, address, ask, clock, counted, duration, isBusy, jobPath, moment, num, percent, usd, useLive } from "./lib.js";

const SOURCES = ["model", "second", "duplicate", "cache", "rule", "fallback", "human"];
const COLOURS = { model: "f-model", second: "f-model", duplicate: "f-duplicate", cache: "f-cache", rule: "f-rule", fallback: "f-rule", human: "f-human" };

export function Job({ job, live }) {
  const page = live.data;
  if (!page) return html`<section><div class="head"><${Heading}>${job}</${Heading}></div><${Lost} ...${live}/>${!live.trouble && html`<${Waiting}/>`}</section>`;
  const { status } = page, busy = isBusy(status.state);
  return html`<section aria-labelledby="h">
    <div class="head"><${Heading}><span id="h">${job}</span></${Heading}><${JobState} state=${status.state} more=${busy && status.started_at ? ` since ${clock(status.started_at)}` : ""}/>
      <p>${page.labels.length ? `Gives one of ${counted(page.labels.length, "label")} to each row of` : "Gives several answers to each row of"} <span class="mono">${status.input}</span>, by <b>${page.model}</b>.</p></div>
    <${Lost} ...${live}/>
    <${Notices} page=${page}/>
    <${Progress} job=${job} page=${page}/>
    <${Facts} page=${page}/>
    <${Pace} job=${job} busy=${busy}/>
    <div class="cols two"><${Doing} page=${page}/><${Labels} job=${job} status=${status}/></div>
    <${Failed} job=${job} page=${page}/>
    <div class="cols"><${Settings} page=${page}/></div>
    <${Prompt} job=${job}/>
  </section>`;
}

function Notices({ page }) {
  const { status } = page, notes = [];
  if (!isBusy(status.state) && status.state !== "finished")
    notes.push(html`<${Note} bad=${status.state === "refused"}><p><b><${Word} state=${status.state}/></b> ${status.reason || "Every label up to then is stored."}</p><${Next} text=${page.next}/></${Note}>`);
  if (status.outage) notes.push(html`<${Note}><p><b>The endpoint does not answer.</b> ${page.waits_for}. The job waits and fails no row.</p></${Note}>`);
  for (const warning of status.warnings) notes.push(html`<${Note}><p>${warning}</p></${Note}>`);
  return notes.length > 0 && html`<div class="notes">${notes}</div>`;
}
const Word = ({ state }) => ({ stopped: "Stopped.", interrupted: "Interrupted.", refused: "Refused.", over_budget: "Budget reached.", moved: "Moved." })[state] || state;

function Progress({ job, page }) {
  const { status } = page, { rows } = status, settled = rows.done + rows.failed + rows.unconfirmed, eta = status.rate.eta_seconds;
  const left = eta !== null ? `about ${duration(eta)} left, until ${clock(page.now + eta)}` : "";
  const lead = !status.ingested ? [`${counted(rows.done, "row")} labelled`, "while the input is still being read"]
    : settled === rows.total ? ["Done", `${num(rows.done)} of ${counted(rows.total, "row")} have a label`]
    : [`${percent(settled, rows.total)} done`, left || `${num(settled)} of ${counted(rows.total, "row")}`];
  const words = `${percent(settled, rows.total)}, ${num(settled)} of ${num(rows.total)} rows`;
  let x = 0;
  const part = (n, kind) => {
    const width = rows.total ? 100 * n / rows.total : 0, at = x;
    x += width;
    return n > 0 && html`<rect x="${at.toFixed(3)}%" width="${Math.max(width, 0.12).toFixed(3)}%" height="100%" class=${kind}/>`;
  };
  const sources = SOURCES.filter(source => status.sources[source] > 0);
  const to = filter => address(jobPath(job, "rows"), filter);
  return html`<p class="lead">${lead[0]} <span>${lead[1]}</span></p>
    <svg class="ledger" role="progressbar" aria-label="Rows" aria-valuemin="0" aria-valuemax=${rows.total} aria-valuenow=${settled} aria-valuetext=${words}>
      ${sources.map(source => part(status.sources[source], COLOURS[source]))}${part(rows.failed + rows.unconfirmed, "f-failed")}</svg>
    <ul class="legend" aria-label="Rows by where their label comes from, and by state">
      ${sources.map(source => html`<li><a href=${to({ source })}><i><svg viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" class=${COLOURS[source]}/></svg></i>${source} <span class="num">${num(status.sources[source])}</span></a></li>`)}
      ${["failed", "unconfirmed", "in_flight", "pending"].filter(state => rows[state] > 0).map((state, n) => html`<li class=${n === 0 && sources.length > 0 ? "gap" : ""}><a href=${to({ state })}><${State} state=${state}/> <span class="num">${num(rows[state])}</span></a></li>`)}
    </ul>`;
}

function Facts({ page }) {
  const { status } = page, rate = status.rate.rows_per_second, { cost, usage } = status;
  const seconds = status.started_at === null ? null : Math.max((isBusy(status.state) ? page.now : status.updated_at) - status.started_at, 0);
  return html`<dl class="facts">
    <div><dt>Pace</dt><dd class="big">${rate === null ? "–" : html`${num(Math.round(60 * rate))} <small>rows a minute</small>`}</dd><dd>${rate === null ? "not running" : `${rate.toLocaleString("en-US", { maximumFractionDigits: 1 })} a second`}</dd></div>
    <div><dt>Time</dt><dd class="big">${seconds === null ? "–" : duration(seconds)}</dd><dd>${isBusy(status.state) ? "so far, in this run" : "the latest run"}</dd></div>
    <${Cost} page=${page}/>
    <div><dt>Requests and tokens</dt><dd class="big">${num(status.requests.sent)} <small>${status.requests.sent === 1 ? "request" : "requests"}</small></dd><dd>${num(usage.input_tokens)} tokens in, ${num(usage.output_tokens)} out</dd></div>
    ${status.by_hand ? html`<${ByHand} job=${status.job} hand=${status.by_hand}/>` : html`<div><dt>Saved</dt><dd class="big">${num(Object.values(status.saved).reduce((sum, one) => sum + one.rows, 0))} <small>rows without a request</small></dd><dd>${saved(status.saved)}</dd></div>`}
  </dl>`;
}
const ByHand = ({ job, hand }) => html`<div><dt>${hand.sample ? "Accuracy, by hand" : "By hand"}</dt>
  <dd class="big">${hand.sample ? html`${Math.round(100 * hand.sample.share)}\u202f% <small>(${Math.round(100 * hand.sample.low)} to ${Math.round(100 * hand.sample.high)}), n=${num(hand.sample.n)}</small>` : html`${num(hand.rows)} <small>${hand.rows === 1 ? "row" : "rows"}</small>`}</dd>
  <dd>${hand.sample && `${counted(hand.rows, "row")} reviewed, `}${num(hand.changed + hand.unlabelled)} changed · <a href=${jobPath(job, "review")}>review</a></dd></div>`;
const saved = by => {
  const worth = Object.values(by).reduce((sum, one) => sum + (one.usd || 0), 0);
  return worth ? `about ${usd(worth)} USD` : Object.keys(by).length ? "" : "none so far";
};

function Cost({ page }) {
  const { status } = page, spent = status.cost.usd, budget = page.budget_usd, { rows } = status, settled = rows.done + rows.failed + rows.unconfirmed;
  const known = spent !== null, end = known && status.ingested && settled > 0 && settled < rows.total ? spent * rows.total / settled : null;
  const most = Math.max(budget || 0, end || 0, spent || 0, 1e-12), x = v => `${(100 * v / most).toFixed(2)}%`;
  return html`<div><dt>${budget ? "Cost against budget" : "Cost"}</dt>
    <dd class="big">${usd(spent)} ${known && html`<small>${budget ? `of ${usd(budget)} USD` : "USD"}</small>`}</dd>
    <dd>${budget && known && html`<svg class="bullet" role="img" aria-label="${usd(spent)} USD spent${end ? `, ${usd(end)} USD expected at the end` : ""}, budget ${usd(budget)} USD"><rect width="100%" height="14" fill="var(--d-track)"/>${end && html`<rect y="4" width=${x(end)} height="6" class="f-duplicate"/>`}<rect y="4" width=${x(spent)} height="6" class="f-model"/><rect x=${x(Math.min(budget, 0.994 * most))} width="2" height="14" fill="var(--ink)"/></svg>`}
    ${!known ? (status.requests.answered ? "no price or usage is known" : "nothing was answered yet") : end ? `about ${usd(end)} expected at the end` : ""}
    ${status.cost.lost_usd_at_most ? ` ${usd(status.cost.lost_usd_at_most)} at most for lost requests` : ""}</dd></div>`;
}

// The pace of the latest run, by when its requests went out.
function Pace({ job, busy }) {
  const seconds = useRef(10), { data } = useLive("/api/pace", { job }, () => seconds.current);
  seconds.current = busy ? 10 : 60;
  if (!data || data.rows_a_minute.length === 0) return null;
  const values = data.rows_a_minute, top = rounded(Math.max(...values)), y = value => (60 - 56 * value / top).toFixed(1);
  const line = values.map((value, n) => `${n ? "L" : "M"}${(100 * n / (values.length - 1)).toFixed(1)} ${y(value)}`).join("");
  const mean = values.reduce((sum, one) => sum + one, 0) / values.length, least = Math.min(...values), span = data.end - data.begin, times = span < 600;
  const said = `Rows a minute from ${clock(data.begin, times)} to ${clock(data.end, times)}: ${num(Math.round(mean))} in the mean, ${num(Math.round(least))} at least, ${num(Math.round(Math.max(...values)))} at most`;
  return html`<div class="cols"><section class="sec" aria-labelledby="s-time"><header><h2 id="s-time">Over time</h2><p>a point every ${duration(span / values.length)}</p></header><div class="multi">
    <div><p><b>${num(Math.round(mean))} rows a minute</b>in the mean of this run</p><svg class="spark" id="pace" role="img" aria-label=${said}><line class="grid" x1="0" x2="100%" y1="4" y2="4"/><svg viewBox="0 0 100 60" preserveAspectRatio="none" width="100%" height="60"><path class="under" d="${line}L100 60L0 60Z"/><path class="on" d=${line}/></svg><line class="base" x1="0" x2="100%" y1="60.5" y2="60.5"/><text x="100%" y="0" text-anchor="end">${num(top)}</text></svg></div>
    <div class="axis"><p></p><svg class="axis" aria-hidden="true"><text x="0" y="12">${clock(data.begin, times)}</text><text x="100%" y="12" text-anchor="end">${clock(data.end, times)}</text></svg></div></div></section></div>`;
}
const rounded = most => { const digit = 10 ** Math.max(Math.floor(Math.log10(most || 1)) - 1, 0); return Math.ceil(most / digit) * digit || 1; };

function Labels({ job, status }) {
  const [all, setAll] = useState(false);
  const labels = Object.entries(status.labels), most = Math.max(...labels.map(([, n]) => n), 1), total = labels.reduce((sum, [, n]) => sum + n, 0);
  const shown = all ? labels : labels.slice(0, 12);
  return html`<section class="sec" aria-labelledby="s-lab"><header><h2 id="s-lab">Labels</h2><p>of ${counted(total, "labelled row")}</p></header>
    ${!labels.length ? html`<p class="mid">No row has a label yet.</p>` : html`<div class="bars">${shown.map(([label, n]) => html`<a key=${label} href=${address(jobPath(job, "rows"), { label })}><span><${Soft} text=${label}/></span><${Bar} share=${n / most}/><span class="num">${num(n)}</span><span class="num">${percent(n, total)}</span></a>`)}</div>`}
    ${labels.length > shown.length && html`<button class="btn quiet" type="button" onClick=${() => setAll(true)}>Show all ${labels.length} labels</button>`}</section>`;
}

function Doing({ page }) {
  const { status } = page, busy = isBusy(status.state), { rows, requests, rate } = status;
  return html`<section class="sec" aria-labelledby="s-now"><header><h2 id="s-now">${busy ? "What it is doing now" : "How it stands"}</h2></header><div class="words">
    ${busy && html`<p><b>${counted(rows.in_flight, "row")}</b> ${rows.in_flight === 1 ? "is" : "are"} out in requests now${rate.rows_left !== null ? `, and ${num(rate.rows_left)} are left for this run` : ""}.</p>`}
    ${page.waits_for && !status.outage && html`<p><b>What holds it back:</b> ${page.waits_for}.</p>`}
    ${busy && !page.waits_for && html`<p>Nothing holds it back.</p>`}
    ${status.reason && html`<p>${status.reason.replace(/^./, c => c.toUpperCase())}.</p>`}
    ${status.matched.near > 0 && html`<p><a href=${address(jobPath(status.job, "rows"), { matched: "near" })}>${counted(status.matched.near, "label")}</a> ${status.matched.near === 1 ? "is" : "are"} not letter for letter as the model wrote it; the answers are kept.</p>`}
    ${status.verified.asked > 0 && html`<p>${num(status.verified.agreed)} of ${counted(status.verified.asked, "label")} that were asked once more, alone, came out the same.</p>`}
    ${status.paid_twice_at_most > 0 && html`<p>${counted(status.paid_twice_at_most, "request")} went out again unanswered, and may have been paid twice.</p>`}
    ${Object.entries(status.learned).map(([model, how]) => html`<p>${model}: ${how}</p>`)}
    <p>${busy ? "The same in a terminal:" : "What to type next:"}</p><${Next} text=${page.next}/></div><${Requests} status=${status}/></section>`;
}

function Requests({ status }) {
  const { requests } = status, lines = [["answered, and paid", requests.answered], ["rejected, not paid", requests.rejected], ["lost on the way, perhaps paid", requests.lost], ["never left this machine", requests.not_sent]];
  return requests.sent > 0 && html`<table class="ledgerlist"><caption class="vh">Requests by what became of them</caption><tbody>
    ${lines.filter(([, n]) => n > 0).map(([what, n]) => html`<tr><th scope="row">${what}</th><td class="num">${num(n)}</td></tr>`)}
    <tr><th scope="row"><b>sent</b></th><td class="num"><b>${num(requests.sent)}</b></td></tr></tbody></table>`;
}

const Settings = ({ page }) => html`<section class="sec" aria-labelledby="s-set"><header><h2 id="s-set">Settings</h2><p>those that are not the default</p></header>
  <dl class="kv">${Object.entries(page.settings).map(([name, value]) => html`<dt>${name.replace(/_/g, " ")}</dt><dd>${value}</dd>`)}</dl></section>`;

const OF_PEOPLE = ["content_filter", "filtered_answer", "off_list", "refused_by_model"];
function Failed({ job, page }) {
  const { status, problems } = page, { rows } = status, failed = rows.failed + rows.unconfirmed;
  if (!problems.length) return null;
  return html`<div class="cols"><section class="sec" aria-labelledby="s-err"><header><h2 id="s-err">What failed, and what helps</h2><p>${num(failed)} of ${counted(rows.total, "row")}</p></header>
    <table class="errors"><caption class="vh">Failed rows by kind</caption><thead><tr><th scope="col">Kind</th><th scope="col" class="num">Rows</th><th scope="col">What it means</th><th scope="col">What helps</th></tr></thead><tbody>
    ${problems.map(one => html`<tr key=${one.kind}><td><a href=${address(jobPath(job, "rows"), { kind: one.kind })}><${State} state=${one.kind === "unconfirmed" ? "unconfirmed" : "failed"} kind=${one.kind}/></a></td><td class="num">${num(one.count)}</td>
      <td><p>${one.advice.replace(/^./, c => c.toUpperCase())}.</p>${one.rows[0] && html`<p class="dim small">For example row ${one.rows[0].key}: ${one.rows[0].error || one.rows[0].answer || "no more is known"}</p>`}</td>
      <td>${one.command && html`<${Cmd} text=${one.command}/>`}${OF_PEOPLE.includes(one.kind.split(":")[0]) && html`<p><a href=${address(jobPath(job, "review"), { queue: one.kind, field: one.kind.includes(":") ? one.kind.split(":")[1].split(",")[0] : "" })}>Review them here</a></p>`}</td></tr>`)}</tbody></table></section></div>`;
}

function Prompt({ job }) {
  const [shown, setShown] = useState(null);
  useEffect(() => { let over = false; ask("/api/prompt", { job }).then(it => over || setShown(it), error => over || setShown({ why_not: error.message, messages: [] })); return () => { over = true; }; }, [job]);
  return shown && html`<div class="cols"><section class="sec" aria-labelledby="s-pr"><header><h2 id="s-pr">The prompt, as sent</h2><p>${shown.rows > 1 ? `the first request, of ${shown.rows} rows` : "the first row's request"}</p></header>
    ${shown.why_not ? html`<p class="mid">${shown.why_not}</p>` : html`<div class="cols half" id="prompt-cols">${shown.messages.map(one => html`<div><p class="role"><span>${one.role}</span></p><pre class="prompt" tabindex="0">${one.content}</pre></div>`)}</div>
    <p class="role"><span>parameters</span></p><pre class="prompt" tabindex="0">${shown.parameters}</pre>`}</section></div>`;
}
