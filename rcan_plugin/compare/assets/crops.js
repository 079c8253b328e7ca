// The image that is shown, and the windows under the magnifier.

const HR = "hr", LR = "lr";
let shown = null;    // { set, image, pictures: Map id -> picture }, once they are loaded

const nameOf = (id) => ({ [HR]: "HR", [LR]: "LR" })[id] || DATA.methods.find((method) => method.id === id)?.name || id;
const psnrText = (value) => (value === "inf" || value === Infinity ? "∞ dB" : value === undefined ? "" : `${Number(value).toFixed(2)} dB`);
const setEntry = () => DATA.sets.find((entry) => entry.id === view.set);
const imageEntry = () => setEntry().images.find((entry) => entry.name === view.image);
const wholePsnr = (id) => DATA.psnr[view.set]?.[id]?.[view.image];

// Ids of the methods that have a picture of the image, in the order of the table.
const available = () => DATA.methods.map((method) => method.id).filter((id) => imageEntry().pictures.includes(id));

function bounds() {
  const hr = shown.pictures.get(HR);
  const width = Math.min(view.size, hr.width), height = Math.min(view.size, hr.height);
  return { width, height, right: hr.width - width, bottom: hr.height - height };
}

function magnified() {
  const { width, height } = bounds();
  return { x: view.x, y: view.y, width, height };
}

function moveTo(x, y) {
  const { right, bottom } = bounds();
  view.x = Math.min(Math.max(Math.round(x), 0), right);
  view.y = Math.min(Math.max(Math.round(y), 0), bottom);
  drawLens();
  drawCrops();
  writeAddress();
}

// The picture, or its error map where errors are shown. LR and HR have none.
function faceOf(id) {
  const picture = shown.pictures.get(id);
  if (view.show === "picture" || id === HR || id === LR) return picture.canvas;
  return errorMap(picture, shown.pictures.get(HR), view.range);
}

const cropIds = () => [HR, ...view.methods];

function cropPsnr(id) {
  if (id === HR || id === LR) return undefined;
  return windowPsnr(shown.pictures.get(id), shown.pictures.get(HR), magnified());
}

// One card for each picture under the magnifier; they are kept while it moves.
function listCrops() {
  byId("crops").replaceChildren(...cropIds().map((id) => {
    const card = document.createElement("li");
    card.dataset.id = id;
    const canvas = newCanvas(1, 1);
    canvas.setAttribute("role", "img");
    const name = document.createElement("b"), value = document.createElement("span");
    name.textContent = nameOf(id);
    value.className = "value";
    card.append(canvas, name, value);
    return card;
  }));
}

function drawCrops() {
  const window = magnified();
  const values = new Map(cropIds().map((id) => [id, cropPsnr(id)]));
  const order = [...new Set([...values.values()].filter((value) => value !== undefined).map(psnrText))]
    .sort((a, b) => numberOfText(b) - numberOfText(a));
  for (const card of byId("crops").children) {
    const id = card.dataset.id, canvas = card.querySelector("canvas"), value = card.querySelector(".value");
    canvas.width = window.width;
    canvas.height = window.height;
    canvas.getContext("2d").drawImage(faceOf(id), window.x, window.y, window.width, window.height, 0, 0, window.width, window.height);
    const text = psnrText(values.get(id));
    value.textContent = text || (id === HR ? "original" : "input");
    value.classList.toggle("best", order.length > 1 && text === order[0]);
    value.classList.toggle("second", order.length > 1 && text === order[1]);
    canvas.setAttribute("aria-label", `${nameOf(id)}${text && view.show === "error" ? ", errors" : ""}${text && `, PSNR of the window ${text}`}`);
  }
}

const numberOfText = (text) => (text.startsWith("∞") ? Infinity : parseFloat(text));
