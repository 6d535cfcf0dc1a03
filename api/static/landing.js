// What the landing page shows beside its text: the queue and the latest jobs, read anew while the
// page is looked at. A key is held by a variable and goes nowhere but into Authorization.

const EVERY_MS = 3000;
const BEHIND_MS = 15000;
const JOBS = "/v1/jobs?limit=10";

let secret = null;
let timer = null;

const found = (selector) => document.querySelector(selector);

async function read(path) {
  const headers = secret === null ? {} : { Authorization: `Bearer ${secret}` };
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail), { status: answer.status });
  return body;
}

function cell(content, className = "") {
  const made = document.createElement("td");
  made.className = className;
  made.append(content);
  return made;
}

function rows(selector, entries) {
  found(`${selector} tbody`).replaceChildren(
    ...entries.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells);
      return row;
    }),
  );
  found(selector).hidden = false;
}

function showQueue(queue) {
  rows("#queue", queue.queues.map((each) => [
    cell(each.name),
    ...[each.queued, each.active, each.paused, each.workers].map((n) => cell(String(n), "number")),
  ]));
  const devices = queue.devices.length ? `Training on ${queue.devices.join(", ")}.` : "No train worker is there.";
  found("#devices").textContent = devices + (queue.redis.is_reachable ? "" : " Redis is away; jobs start a few seconds later.");
}

function link(job) {
  const made = document.createElement("a");
  made.href = job.links.self;
  made.textContent = job.name ?? job.id;
  made.className = job.name === null ? "id" : "";
  made.title = job.id;
  return made;
}

function progress(job) {
  const fraction = job.progress?.fraction;
  if (job.is_terminal || fraction === null || fraction === undefined) return "";
  const made = document.createElement("progress");
  made.value = fraction;
  made.setAttribute("aria-label", `${Math.round(100 * fraction)} % done`);
  return made;
}

function ago(time) {
  const minutes = Math.round((Date.now() - Date.parse(time)) / 60000);
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (minutes < 60) return minutes < 1 ? "just now" : words.format(-minutes, "minute");
  return minutes < 2880 ? words.format(-Math.round(minutes / 60), "hour") : words.format(-Math.round(minutes / 1440), "day");
}

function showJobs(list) {
  rows("#jobs", list.data.map((job) => [
    cell(link(job)),
    cell(job.type.replaceAll("_", " ")),
    cell(job.state, job.state),
    cell(progress(job)),
    cell(typeof job.latest.valid_loss === "number" ? job.latest.valid_loss.toFixed(4) : "", "number"),
    cell(ago(job.created_at)),
  ]));
  found("#jobs .scroll").hidden = list.data.length === 0;
  found("#none").hidden = list.data.length > 0;
}

async function refresh() {
  clearTimeout(timer);
  let wait = EVERY_MS;
  try {
    const [queue, jobs] = await Promise.all([read("/v1/queue"), read(JOBS)]);
    showQueue(queue);
    showJobs(jobs);
    found("#key").hidden = true;
    found("#away").hidden = true;
  } catch (problem) {
    if (problem.status === 401) {
      found("#refused").textContent = secret === null ? "" : problem.message;
      found("#key").hidden = false;
      secret = null;
      return;
    }
    wait = BEHIND_MS;
    found("#away").textContent = `The service cannot be asked right now: ${problem.message}`;
    found("#away").hidden = false;
  }
  if (!document.hidden) timer = setTimeout(refresh, wait);
}

found("#key").addEventListener("submit", (event) => {
  event.preventDefault();
  secret = found("#secret").value.trim();
  found("#secret").value = "";
  refresh();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
refresh();
