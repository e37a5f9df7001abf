// Nothing here is needed to read the page: it filters and sorts the findings.
for (const filter of document.querySelectorAll(".filter")) {
  const rows = [...document.querySelectorAll("#findings tbody tr")];
  const [words, severity] = filter.querySelectorAll("input, select");
  const apply = () => {
    const wanted = words.value.toLowerCase();
    for (const row of rows) {
      const fits = row.textContent.toLowerCase().includes(wanted);
      row.hidden = !fits || (severity.value !== "" && row.dataset.severity !== severity.value);
    }
  };
  filter.hidden = false;
  words.addEventListener("input", apply);
  severity.addEventListener("input", apply);
}
for (const head of document.querySelectorAll("#findings thead th[data-sort]")) {
  const button = document.createElement("button");
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[head.cellIndex].dataset.value;
    const order = (a, b) => head.dataset.sort === "number" ? value(a) - value(b) : value(a).localeCompare(value(b));
    body.append(...[...body.rows].sort((a, b) => (up ? order(a, b) : order(b, a))));
  });
}
