"use strict";
// The state of the view. It is kept in the part of the address after `#`, so that a view can be shared.

const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SIZES = [16, 24, 32, 48, 64, 96, 128];
const RANGES = [8, 16, 32, 64, 128];

const view = {
  group: "",          // degradation and scale of the table and the plots
  sort: "",           // "KEY" or "-KEY": a column, ascending or descending
  set: "",
  image: "",
  methods: [],        // ids of the pictures under the magnifier, beside HR
  left: "",
  right: "",
  split: 50,          // percent of the width that shows the left picture
  x: null,            // top left corner of the magnifier in pixels of HR
  y: null,
  size: 48,           // its width and height in pixels of HR
  show: "picture",    // or "error"
  range: 32,          // error on Y that has the last colour of the error maps
};

function readAddress() {
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    if (key === "methods") view.methods = text.split(",").filter(Boolean);
    else if (["split", "x", "y", "size", "range"].includes(key)) {
      if (text !== "" && Number.isFinite(Number(text))) view[key] = Math.round(Number(text));
    } else if (Object.hasOwn(view, key)) view[key] = text;
  }
  if (!SIZES.includes(view.size)) view.size = 48;
  if (!RANGES.includes(view.range)) view.range = 32;
  if (view.show !== "error") view.show = "picture";
  view.split = Math.min(Math.max(view.split, 0), 100);
}

let addressTimer = 0;

// Browsers limit how often the address may change.
function writeAddress() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => {
    const values = Object.entries(view).filter(([, value]) => value !== "" && value !== null);
    history.replaceState(null, "", "#" + new URLSearchParams(values));
  }, 150);
}

// Fill a <select> with [value, text] pairs.
function fill(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value, false, String(value) === String(chosen))));
}

function startTheme() {
  let stored = "auto";
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  try { stored = localStorage.getItem("theme") || "auto"; } catch { /* no storage: the choice lasts as long as the page */ }
  for (const radio of document.getElementsByName("theme")) {
    radio.checked = radio.value === stored;
    radio.addEventListener("change", () => {
      apply(radio.value);
      try { localStorage.setItem("theme", radio.value); } catch { /* as above */ }
    });
  }
  apply(stored);
}
