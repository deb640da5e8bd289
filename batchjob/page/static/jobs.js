// All jobs of the database, the latest first.
import { html, useState } from "./vendor/preact-htm.js";
import { Bar, Heading, JobState, Lost, Next, Waiting, counted, duration, isBusy, jobPath, moment, num, percent, usd, useLive } from "./lib.js";

const settled = rows => rows.done + rows.failed + rows.unconfirmed;

export function Jobs() {
  const [skip, setSkip] = useState(0);
  const live = useLive("/api/jobs", { skip }, () => 3);
  const page = live.data;
  return html`<section aria-labelledby="h">
    <div class="head"><${Heading}><span id="h">Jobs</span></${Heading}>${page && html`<p>${words(page, skip)} in <span class="mono">${page.database}</span>.</p>`}</div>
    <${Lost} ...${live}/>
    ${!page ? !live.trouble && html`<${Waiting}/>` : html`<table class="jobs"><caption class="vh">Jobs, latest first</caption>
      <thead><tr><th scope="col">Job</th><th scope="col">State, and what helps</th><th scope="col">Rows</th><th scope="col" class="num">Failed</th><th scope="col" class="num">Cost, USD</th><th scope="col" class="num">Started</th><th scope="col" class="num">Took</th></tr></thead>
      <tbody>${page.jobs.map(job => html`<${Line} key=${job.entry.job} job=${job} now=${page.now}/>`)}</tbody></table>
      <div class="listhead"><p></p><div class="pager">${skip > 0 && html`<button class="btn" type="button" onClick=${() => setSkip(skip - 50)}>Later jobs</button>`}
      ${page.more > 0 && html`<button class="btn" type="button" onClick=${() => setSkip(skip + 50)}>Earlier jobs</button>`}</div></div>`}
  </section>`;
}

function words(page, skip) {
  const busy = page.jobs.filter(job => isBusy(job.entry.state)).length;
  return counted(skip + page.jobs.length + page.more, "job") + (busy ? `, ${busy} running,` : "");
}

function Line({ job, now }) {
  const { entry } = job, { rows } = entry, done = settled(rows), over = entry.state === "finished" && !rows.failed && !rows.unconfirmed;
  return html`<tr><td><a class="name" href=${jobPath(entry.job)}>${entry.job}</a><div class="dim">${entry.input === "-" ? "stdin" : entry.input.split("/").pop()} · ${job.model}</div></td>
    <td class="what"><${JobState} state=${entry.state}/>${entry.reason && html`<p>${entry.reason}</p>`}${!isBusy(entry.state) && !over && html`<div><${Next} text=${job.next}/></div>`}</td>
    <td class="prog"><div><b>${entry.ingested ? percent(done, rows.total) : num(done)}</b></div><${Bar} cls="job" kind=${isBusy(entry.state) || over ? "f-model" : ""} share=${rows.total ? done / rows.total : 0}/>
      <div class="dim small">${num(done)} of ${num(rows.total)}${entry.ingested ? "" : " read so far"}</div></td>
    <td class="num" data-h="failed">${num(rows.failed + rows.unconfirmed)}</td>
    <td class="num" data-h="cost" data-u=${job.cost_usd === null ? "" : " USD"}>${usd(job.cost_usd)}${job.budget_usd ? ` of ${usd(job.budget_usd)}` : ""}</td>
    <td class="num" data-h="started">${moment(entry.created_at, now)}</td>
    <td class="num" data-h="took">${job.took_seconds === null ? "–" : duration(job.took_seconds)}</td></tr>`;
}
