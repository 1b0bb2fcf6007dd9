"use strict";
// Sorting of tables by the buttons in their heads; empty cells stay last whichever way one sorts.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const other = now === "ascending" ? "descending" : "ascending";
      const way = now === "none" ? head.dataset.first : other;
      heads.forEach((each) => each.setAttribute("aria-sort", each === head ? way : "none"));
      sortRows(table, column, way === "ascending" ? 1 : -1);
    });
  });
}

function sortRows(table, column, sign) {
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => {
    const cell = row.cells[column];
    const given = cell.dataset.value;
    if (given === undefined) return { row, key: cell.textContent.trim() };
    const value = Number.parseFloat(given);
    return { row, key: Number.isNaN(value) ? null : value };
  });
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return sign * (typeof a.key === "number" ? a.key - b.key : a.key.localeCompare(b.key));
  });
  body.append(...keyed.map((each) => each.row));
}
