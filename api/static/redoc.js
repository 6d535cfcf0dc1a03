// The page that is read: ReDoc in the colours of the landing page, dark where the browser is.

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, monospace';
const TYPOGRAPHY = {
  fontFamily: FONT,
  headings: { fontFamily: FONT },
  code: { fontFamily: MONO },
};
const LIGHT = {
  colors: { primary: { main: "#24625d" }, text: { primary: "#1d2426" } },
  sidebar: { backgroundColor: "#f3f2ee" },
};
const DARK = {
  colors: {
    primary: { main: "#7cc7bf" },
    success: { main: "#86d49d" },
    error: { main: "#ff8f85" },
    text: { primary: "#e8ecea", secondary: "#9aa6a6" },
    border: { dark: "#2d3637", light: "#2d3637" },
    gray: { 50: "#1b2223", 100: "#222a2b" },
    responses: {
      success: { backgroundColor: "#17271d" },
      error: { backgroundColor: "#2c1b1a" },
      info: { backgroundColor: "#1b2223" },
      redirect: { backgroundColor: "#2a2618", color: "#ffd479" },
    },
  },
  schema: {
    nestedBackground: "#1b2223",
    linesColor: "#3d5a57",
    typeNameColor: "#9aa6a6",
    typeTitleColor: "#9aa6a6",
    arrow: { color: "#9aa6a6" },
  },
  sidebar: { backgroundColor: "#1b2223", textColor: "#e8ecea", arrow: { color: "#9aa6a6" } },
  rightPanel: { backgroundColor: "#0f1314" },
  codeBlock: { backgroundColor: "#1b2223" },
};

const dark = matchMedia("(prefers-color-scheme: dark)");

function show() {
  const theme = { typography: TYPOGRAPHY, ...(dark.matches ? DARK : LIGHT) };
  Redoc.init("/openapi.json", { theme }, document.getElementById("redoc"));
}

// ReDoc cannot change its colours once it has drawn
dark.addEventListener("change", () => location.reload());
show();
