// The frame: which screen an address is, the tabs, the keys.
import { html, render, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { Toast, address, clock, go, isBusy, jobPath, typing, useLive } from "./lib.js";
import { Jobs } from "./jobs.js";
import { Job } from "./job.js";
import { Review } from "./review.js";
import { Rows } from "./rows.js";

// The token came in the address and is a cookie by now: it is not to stand in the history, nor in a link that is copied.
const here = new URL(location.href);
if (here.searchParams.has("token")) {
  here.searchParams.delete("token");
  history.replaceState(null, "", here);
}

function where() {
  const [, , job, screen = "job"] = location.pathname.split("/");
  return { job: job ? decodeURIComponent(job) : null, screen: job ? screen : "jobs", query: new URLSearchParams(location.search) };
}

function useWhere() {
  const [at, setAt] = useState(where);
  useEffect(() => {
    const moved = () => setAt(before => {
      const now = where();
      if (now.screen !== before.screen || now.job !== before.job) scrollTo(0, 0);
      return now;
    });
    const click = event => {
      const link = event.target.closest?.("a[href]");
      if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      if (link.origin !== location.origin || link.hasAttribute("download") || link.getAttribute("href").startsWith("#")) return;
      event.preventDefault();
      go(link.href);
    };
    addEventListener("went", moved);
    addEventListener("popstate", moved);
    addEventListener("click", click);
    return () => { removeEventListener("went", moved); removeEventListener("popstate", moved); removeEventListener("click", click); };
  }, []);
  return at;
}

function App() {
  const { job, screen, query } = useWhere(), seconds = useRef(2);
  const live = useLive(job && "/api/job", { job }, () => seconds.current);
  const status = live.data?.status;
  seconds.current = !status || isBusy(status.state) ? 2 : 10;
  useEffect(() => { document.title = `${{ jobs: "Jobs", job, rows: `Rows of ${job}`, review: `Review of ${job}` }[screen] || job} · batchjob`; }, [job, screen]);
  const sheet = useRef(), openKeys = () => sheet.current.showModal();
  useEffect(() => {
    const press = event => {
      if (event.key === "?" && !event.ctrlKey && !event.metaKey && !event.altKey && !typing(event.target) && localStorage.getItem("single") !== "off" && !sheet.current.open) openKeys();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const tab = (name, href, words) => html`<a href=${href} aria-current=${screen === name ? "page" : null}>${words}</a>`;
  return html`<a class="skip" href="#main">Skip to content</a>
    <header class="top"><div class="in">
      <a class="brand" href="/"><svg viewBox="0 0 18 18" aria-hidden="true"><rect x="1" y="2" width="16" height="4" class="f-model"/><rect x="1" y="7" width="11" height="4" class="f-model"/><rect x="1" y="12" width="5" height="4" class="f-duplicate"/></svg>batchjob</a>
      <nav class="tabs" aria-label="Screens">${tab("jobs", "/", "Jobs")}${job && html`${tab("job", jobPath(job), job)}${tab("rows", jobPath(job, "rows"), "Rows")}${tab("review", jobPath(job, "review"), "Review")}`}</nav>
      <div class="end">${status && live.at && html`<span class=${isBusy(status.state) ? "st running" : ""} id="live"><span class="vh">${isBusy(status.state) ? "Running, as" : "As"} of </span>${clock(live.at / 1000, true)}</span>`}
        <button class="btn quiet hide-s" type="button" onClick=${openKeys} aria-keyshortcuts="?">Keys <kbd aria-hidden="true">?</kbd></button></div>
    </div></header>
    <main id="main">${screen === "jobs" ? html`<${Jobs}/>` : screen === "rows" ? html`<${Rows} key=${job} job=${job} query=${query} live=${live}/>` : screen === "review" ? html`<${Review} key=${job} job=${job} query=${query}/>` : html`<${Job} key=${job} job=${job} live=${live}/>`}</main>
    <${Keys} sheet=${sheet}/><${Toast}/>`;
}

function Keys({ sheet }) {
  const [single, setSingle] = useState(localStorage.getItem("single") !== "off");
  const set = on => { localStorage.setItem("single", on ? "on" : "off"); setSingle(on); };
  return html`<dialog id="keys" ref=${sheet} aria-labelledby="keys-h"><header><h2 id="keys-h">Keys</h2><button class="btn quiet" type="button" onClick=${() => sheet.current.close()}>Close <kbd>Esc</kbd></button></header>
    <h3>Review</h3><dl class="keys"><dt><kbd>Enter</kbd></dt><dd>Accept the marked label</dd><dt><kbd>1</kbd> to <kbd>9</kbd></dt><dd>Choose a label and go on</dd><dt><kbd>a</kbd> to <kbd>z</kbd></dt><dd>With more than 9 labels: find one by its name, except u s j k. <kbd>/</kbd> first takes every letter</dd><dt><kbd>s</kbd></dt><dd>Skip: it comes back at the end</dd><dt><kbd>u</kbd></dt><dd>Undo the last choice, as often as you like</dd><dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>Next and previous text, without choosing</dd></dl>
    <h3>Rows</h3><dl class="keys"><dt><kbd>/</kbd></dt><dd>Search</dd><dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>Next and previous row</dd><dt><kbd>Enter</kbd></dt><dd>Open the row</dd><dt><kbd>Esc</kbd></dt><dd>Close it, or leave the search</dd></dl>
    <h3>Everywhere</h3><dl class="keys"><dt><kbd>?</kbd></dt><dd>This list</dd></dl>
    <p class="acts"><label class="check"><input type="checkbox" id="single" checked=${single} onChange=${event => set(event.target.checked)}/> <span>Single keys act at once. Turn off if you speak to your computer or use a screen reader's own letters.</span></label></p></dialog>`;
}

render(html`<${App}/>`, document.body);
