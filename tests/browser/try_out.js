// Tries one operation of the docs page as a reader would: open, "Try it out", each example, "Execute".
// arguments: the operation's id, its examples' names (none where there is but one), texts to put in
// the place of others. Done with one [example, status, answer] for each; a status that is no number
// says which part of the page did not come.
const [operation, examples, places, done] = arguments;
const PATIENCE_MS = 20000;

/** What `find` finds, as soon as a change of the page lets it. */
const until = (what, find) => new Promise((found, failed) => {
  const look = () => {
    const it = find();
    if (!it) return;
    observer.disconnect();
    clearTimeout(timer);
    found(it);
  };
  const observer = new MutationObserver(look);
  const timer = setTimeout(() => {
    observer.disconnect();
    failed(new Error(`there is no ${what}`));
  }, PATIENCE_MS);
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  look();
});

function type(field, text) {
  const own = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value");
  own.set.call(field, text);
  field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input", { bubbles: true }));
}

function shownAs(example) {
  const operations = Object.values(window.ui.specSelectors.specJson().toJS().paths).flatMap(Object.values);
  const body = operations.find((each) => each.operationId === operation).requestBody;
  return JSON.stringify(body.content["application/json"].examples[example].value, null, 2);
}

async function choose(inside, example) {
  const select = await until("list of examples", () => inside(".opblock-section-request-body .examples-select select"));
  if (select.value !== example) type(select, example);
  const text = shownAs(example);
  await until(`text of ${example}`, () => inside("textarea.body-param__text")?.value === text);
}

async function answer(inside) {
  inside(".btn-clear")?.click();
  await until("empty place for an answer", () => !inside(".live-responses-table"));
  inside(".execute").click();
  const status = await until("answer", () =>
    inside(".live-responses-table tbody .response-col_status") ?? inside(".parameters .invalid, .validation-errors li"));
  const told = inside(".live-responses-table tbody .response-col_description")?.innerText ?? "its form refuses it";
  return [status.innerText.trim().split(/\s/)[0], told.slice(0, 600)];
}

async function tried(inside, example) {
  if (example !== null) await choose(inside, example);
  const body = inside("textarea.body-param__text");
  if (body) {
    const text = places.reduce((shown, [old, now]) => shown.replaceAll(old, now), body.value);
    if (text !== body.value) type(body, text);
  }
  return [example, ...(await answer(inside))];
}

(async () => {
  const block = await until("operation", () => document.querySelector(`.opblock[id$="-${operation}"]`));
  const inside = (selector) => block.querySelector(selector);
  if (!block.classList.contains("is-open")) inside(".opblock-summary-control").click();
  const button = await until("Try it out", () => inside(".try-out__btn"));
  // once it is pressed it says "Cancel", and the form is open
  if (!button.classList.contains("cancel")) button.click();
  await until("Execute", () => inside(".execute"));
  const told = [];
  for (const example of examples.length ? examples : [null]) told.push(await tried(inside, example));
  inside(".opblock-summary-control").click();
  done(told);
})().catch((problem) => done([[null, problem.message, ""]]));
