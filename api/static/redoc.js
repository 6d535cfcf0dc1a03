// The page that is read: ReDoc in the light colours of the landing page. It is not dark where the
// browser is: some of its parts have colours that no theme can change.

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, monospace';
const theme = {
  typography: { fontFamily: FONT, headings: { fontFamily: FONT }, code: { fontFamily: MONO } },
  colors: { primary: { main: "#24625d" }, text: { primary: "#1d2426" } },
  sidebar: { backgroundColor: "#f3f2ee" },
};

Redoc.init("/openapi.json", { theme }, document.getElementById("redoc"));
