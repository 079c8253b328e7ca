// The tables: which group is shown, sorting, footnotes where they are pointed at.

function showGroup() {
  const radios = [...document.getElementsByName("group")];
  const chosen = radios.find((radio) => radio.value === view.group) || radios[0];
  if (!chosen) return;
  chosen.checked = true;
  view.group = chosen.value;
  for (const part of document.querySelectorAll("[data-group]")) part.hidden = part.dataset.group !== view.group;
  byId("plots").hidden = !document.querySelector(".plots:not([hidden])");
  sortTables();
}

function sortTables() {
  const descending = view.sort.startsWith("-");
  const key = descending ? view.sort.slice(1) : view.sort;
  for (const table of document.querySelectorAll(".group table")) {
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => a.dataset.order - b.dataset.order);
    for (const head of table.querySelectorAll("th[data-key]")) {
      const here = head.dataset.key === key;
      head.setAttribute("aria-sort", here ? (descending ? "descending" : "ascending") : "none");
      if (here) rows.sort((a, b) => compareCells(a.cells[columnOf(head)], b.cells[columnOf(head)], descending));
    }
    body.append(...rows);
  }
}

// Columns of a set have their heads in the second line; of the first line, one head spans them.
function columnOf(head) {
  const [first, second] = head.closest("thead").rows;
  const keys = [...first.cells].flatMap((cell) => (cell.dataset.key ? [cell] : Array(cell.colSpan).fill(null)));
  const below = [...second.cells];
  return keys.map((cell) => cell || below.shift()).indexOf(head);
}

// Missing values are last in both directions.
function compareCells(a, b, descending) {
  const [first, second] = [a.dataset.value, b.dataset.value];
  if (!first || !second) return !first - !second;
  const order = a.tagName === "TH" ? first.localeCompare(second) : numberOf(first) - numberOf(second);
  return (descending ? -1 : 1) * (order || 0);
}

const numberOf = (text) => (text === "inf" ? Infinity : Number(text));

// Numbers first descending, names ascending; a third press restores the order of the methods.
function pressHead(head) {
  const key = head.dataset.key;
  const ways = key === "name" ? [key, "-" + key, ""] : ["-" + key, key, ""];
  view.sort = ways[(ways.indexOf(view.sort) + 1) % 3];
  sortTables();
  writeAddress();
}

function startTables() {
  for (const body of document.querySelectorAll(".group tbody"))
    [...body.rows].forEach((row, number) => { row.dataset.order = number; });
  for (const button of document.querySelectorAll("button.sort"))
    button.addEventListener("click", () => pressHead(button.closest("th")));
  for (const radio of document.getElementsByName("group"))
    radio.addEventListener("change", () => { view.group = radio.value; showGroup(); followGroup(); writeAddress(); });
  startNotes();
}

function startNotes() {
  const tip = byId("tip");
  const hide = () => { tip.hidden = true; };
  const show = (button) => {
    const ids = button.getAttribute("aria-describedby").split(" ");
    tip.replaceChildren(...ids.map((id) => {
      const line = document.createElement("p");
      line.textContent = byId(id).textContent.replace(/^\w+ /, "");
      return line;
    }));
    tip.hidden = false;
    const place = button.getBoundingClientRect();
    const left = Math.min(place.left, document.documentElement.clientWidth - tip.offsetWidth - 12);
    const below = place.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(left, 12) + scrollX}px`;
    tip.style.top = `${(below ? place.bottom + 8 : place.top - tip.offsetHeight - 8) + scrollY}px`;
  };
  for (const button of document.querySelectorAll("button.note")) {
    for (const event of ["mouseenter", "focus", "click"]) button.addEventListener(event, () => show(button));
    for (const event of ["mouseleave", "blur"]) button.addEventListener(event, hide);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}
