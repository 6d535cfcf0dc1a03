// Tries one operation of the docs page as a reader would: open, "Try it out", "Execute".
// arguments: the operation's id, the example's name or null, texts to put in the place of others.
const [operation, example, places, done] = arguments;

const until = (find) => new Promise((found) => {
  const look = () => { const it = find(); it ? found(it) : setTimeout(look, 20); };
  look();
});

function type(field, text) {
  const own = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value");
  own.set.call(field, text);
  field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input", { bubbles: true }));
}

(async () => {
  const block = await until(() => document.querySelector(`.opblock[id$="-${operation}"]`));
  const inside = (selector) => block.querySelector(selector);
  if (!block.classList.contains("is-open")) inside(".opblock-summary-control").click();
  if (!inside(".execute")) (await until(() => inside(".try-out__btn"))).click();
  const execute = await until(() => inside(".execute"));
  if (example !== null) type(await until(() => inside(".opblock-section-request-body .examples-select select")), example);
  const body = inside("textarea.body-param__text");
  if (body) {
    const text = places.reduce((shown, [old, now]) => shown.replaceAll(old, now), body.value);
    if (text !== body.value) type(body, text);
  }
  inside(".btn-clear")?.click();
  await until(() => !inside(".live-responses-table"));
  execute.click();
  const status = await until(() =>
    inside(".live-responses-table tbody .response-col_status") ?? inside(".parameters .invalid, .validation-errors li"));
  const told = inside(".live-responses-table tbody .response-col_description")?.innerText ?? "its form refuses it";
  inside(".opblock-summary-control").click();
  done([status.innerText.trim().split(/\s/)[0], told.slice(0, 600)]);
})();
