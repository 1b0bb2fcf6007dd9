// All runs, from columns: rows become elements 200 at a time, so that 20,000 neither slow the page nor fill it.
const page = JSON.parse(document.getElementById("data").textContent);
const runs = page.runs;
const text = (column, row) => runs[column].names[runs[column].codes[row]];

function linkOf(row) {
  if (runs.links === null) return "";
  return Array.isArray(runs.links) ? runs.links[row] : runs.links.before + runs.id[row] + runs.links.after;
}

const short = (value, digits) => {
  if (value === null) return "";
  const written = value.toFixed(digits);
  return written.startsWith("0.") ? written.slice(1) : written;
};

// A value of the study's metric.
const value = (number) => {
  if (number === null || page.metric.share) return short(number, 3);
  return String(Number(number.toPrecision(5)));
};

(function listRuns() {
  const CHUNK = 200;
  const body = document.querySelector("#runs-table tbody");
  if (!body) return;
  const more = document.getElementById("more-runs");
  const status = document.getElementById("runs-shown");
  const filter = document.getElementById("filter");
  let haystack = null; // made when somebody first searches
  let found = runs.id.map((_, row) => row);
  let shown = 0;

  function rowElement(row) {
    const element = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    const url = linkOf(row);
    const name = document.createElement(url ? "a" : "span");
    if (url) Object.assign(name, { href: url, target: "_blank", rel: "noopener" });
    name.textContent = runs.id[row].slice(0, 8);
    name.title = runs.id[row];
    head.append(name);
    element.append(head);
    const cells = [
      ["left", text("dataset", row)],
      ["left", text("strategy", row)],
      ["left", text("config", row)],
      ["", String(runs.seed[row])],
      ["", value(runs.objective[row])],
      ["", runs.steps[row] === null ? "" : runs.steps[row].toLocaleString("en")],
      ["", short(runs.seconds[row], 1)],
      ["left", text("status", row)],
    ];
    for (const [kind, content] of cells) {
      const cell = document.createElement("td");
      cell.className = kind;
      const inner = kind ? document.createElement("bdi") : cell;
      inner.textContent = content;
      if (kind) {
        inner.title = content;
        cell.append(inner);
      }
      element.append(cell);
    }
    return element;
  }

  function showMore() {
    const next = found.slice(shown, shown + CHUNK);
    body.append(...next.map(rowElement));
    shown += next.length;
    more.hidden = shown >= found.length;
    more.textContent = `Show ${Math.min(CHUNK, found.length - shown)} more`;
    const count = (n) => n.toLocaleString("en");
    status.textContent = `${count(found.length)} of ${count(runs.id.length)} runs, ${count(shown)} shown`;
  }

  function search() {
    haystack ??= runs.id.map((id, row) =>
      ["dataset", "strategy", "config", "status"]
        .map((column) => text(column, row))
        .concat(`seed=${runs.seed[row]}`, id)
        .join("\n")
        .toLowerCase(),
    );
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = [...haystack.keys()].filter((row) => words.every((word) => haystack[row].includes(word)));
    body.replaceChildren();
    shown = 0;
    showMore();
  }

  filter.addEventListener("input", search);
  more.addEventListener("click", showMore);
  showMore();
})();
