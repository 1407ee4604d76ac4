// Leaves out rows of the matrix. Without it, all are there.
(() => {
  const [tools, find, own, differ, count, matrix, none] =
    ["tools", "find", "own", "differ", "count", "matrix", "no-match"].map((id) => document.getElementById(id));
  const rows = [...matrix.querySelectorAll("tr[data-name]")];
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/);
    let left = 0;
    for (const row of rows) {
      const found = words.every((word) => row.dataset.name.includes(word));
      row.hidden = !found || (own.checked && !("own" in row.dataset)) || (differ?.checked && !("differs" in row.dataset));
      left += !row.hidden;
    }
    for (const body of matrix.tBodies) {
      body.hidden = ![...body.rows].some((row) => "name" in row.dataset && !row.hidden);
    }
    matrix.hidden = left === 0;
    none.hidden = left > 0;
    count.textContent = left === rows.length ? "" : `${left} of ${rows.length}`;
  };
  // A row that is linked to is shown.
  const show = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target?.closest("#matrix [hidden]")) {
      tools.reset();
      filter();
      target.scrollIntoView();
    }
  };
  tools.addEventListener("input", filter);
  tools.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", show);
  tools.hidden = false;
  filter();
})();
