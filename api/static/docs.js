// The docs page. Where no key is needed, the ids in the examples are those of the newest things of
// this installation, so that "Try it out" has something to show.

const NEWEST = "limit=50";
const VERBS = ["cancel", "stop", "pause", "resume", "retry"];
const OF_TRAINING = ["samples", "plots"];
const NOUNS = ["jobs", "datasets", "models", "uploads", "api-keys", "webhooks"];
const LABEL = "beagle";
const IS_ID = /^(ds|job|mdl|upl|itm|key)_[0-9a-f]/;

async function read(path) {
  const answer = await fetch(path, { credentials: "omit" });
  return answer.ok ? (await answer.json()).data : [];
}

/** Two photos, the first of which can be given the examples' label, as it has another one. */
function twoItems(items) {
  const first = items.find((each) => each.usable && each.label !== LABEL) ?? items[0];
  return [first, items.find((each) => each !== first)].filter(Boolean);
}

/** The newest things of each kind; nothing where there are none, or where a key is needed. */
async function newest() {
  const [jobs, datasets, models, uploads, keys, webhooks] = await Promise.all(
    NOUNS.map((noun) => read(`/v1/${noun}?${NEWEST}`)),
  );
  const dataset = datasets.find((each) => each.state === "ready");
  const items = dataset ? twoItems(await read(`/v1/datasets/${dataset.id}/items?${NEWEST}`)) : [];
  const tuned = jobs.find((each) => each.type === "fine_tune" && each.state === "succeeded");
  const samples = tuned ? await read(`${tuned.links.samples}?limit=1`) : [];
  const [webhook] = webhooks;
  const deliveries = webhook ? await read(`/v1/webhooks/${webhook.id}/deliveries?limit=1`) : [];
  const [model, upload, key, delivery] = [models, uploads, keys, deliveries].map((each) => each[0]);
  return { jobs, dataset, model, upload, key, webhook, delivery, items, tuned, samples };
}

/** The newest job that the operation at this path is for. */
function jobFor(path, method, known) {
  const last = path.split("/")[4]?.replaceAll("-", "_");
  const ended = known.jobs.filter((job) => job.is_terminal);
  const named = known.jobs.find((job) => job.state === "succeeded" && last in job.links);
  // one that has a model to train on
  if (last === "retry" && known.tuned) return known.tuned;
  if (VERBS.includes(last)) return known.jobs.find((job) => job.allowed_actions.includes(last));
  if (method === "delete") return ended.find((job) => job.id !== known.tuned?.id) ?? ended[0];
  if (OF_TRAINING.includes(last)) return known.tuned ?? named;
  return named ?? known.tuned ?? known.jobs[0];
}

function idFor(name, path, method, known) {
  const item = path.startsWith("/v1/jobs") ? known.samples[0] : known.items[0];
  return {
    job_id: jobFor(path, method, known)?.id,
    dataset_id: known.dataset?.id,
    model_id: known.model?.id,
    upload_id: known.upload?.id,
    key_id: known.key?.id,
    webhook_id: known.webhook?.id,
    delivery_id: known.delivery?.id,
    item_id: item?.item_id,
    ids: twoJobs(known),
  }[name];
}

function twoJobs(known) {
  const ids = known.jobs.filter((job) => job.state === "succeeded" && "reproduce" in job.links).map((job) => job.id);
  return ids.length > 1 ? ids.slice(0, 2).join(",") : undefined;
}

/** The body with the ids of things that are here. */
function filled(value, known) {
  if (Array.isArray(value)) return value.map((each) => filled(each, known));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filled(each, known)]));
  }
  const kind = typeof value === "string" && IS_ID.test(value) ? value.split("_")[0] : null;
  const swept = known.jobs.find((job) => job.type === "lr_find" && job.state === "succeeded");
  const item = kind === "itm" && value.startsWith("itm_0") ? known.items[1]?.item_id : known.items[0]?.item_id;
  const here = { ds: known.dataset?.id, job: swept?.id, mdl: known.model?.id, upl: known.upload?.id, itm: item };
  return here[kind] ?? value;
}

function fill(document, known) {
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      for (const parameter of operation.parameters ?? []) {
        // an example inside the schema is shown, but not put into the form
        const example = idFor(parameter.name, path, method, known) ?? parameter.schema?.examples?.[0];
        if (example !== undefined && (parameter.in === "path" || parameter.required)) parameter.example = example;
      }
      for (const content of Object.values(operation.requestBody?.content ?? {})) {
        for (const example of Object.values(content.examples ?? {})) example.value = filled(example.value, known);
        if (content.schema?.examples) content.schema.examples = filled(content.schema.examples, known);
      }
    }
  }
  return document;
}

async function show() {
  const [document, known] = await Promise.all([(await fetch("/openapi.json")).json(), newest()]);
  window.ui = SwaggerUIBundle({
    spec: fill(document, known),
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    defaultModelsExpandDepth: 0,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
  });
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Swagger UI has dark colours, and leaves it to the page when to show them. */
function dress() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

dark.addEventListener("change", dress);
dress();
show();
