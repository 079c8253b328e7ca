// Choices of set, image and methods; start.

// Replace choices that the set or image does not have.
function settle() {
  if (!setEntry()) view.set = (DATA.sets.find((entry) => entry.group === view.group) || DATA.sets[0]).id;
  if (!imageEntry()) view.image = setEntry().images[0].name;
  const ids = available(), sides = [...ids, HR, ...(imageEntry().pictures.includes(LR) ? [LR] : [])];
  view.methods = view.methods.filter((id) => id !== HR && sides.includes(id));
  if (!view.methods.length) view.methods = ids.slice(0, 8);
  if (!sides.includes(view.left)) view.left = DATA.methods.find(({ id, kind }) => kind === "bicubic" && ids.includes(id))?.id || ids[0] || HR;
  const [best] = ids.filter((id) => id !== view.left).sort((a, b) => numberOf(wholePsnr(b) ?? -1) - numberOf(wholePsnr(a) ?? -1));
  if (!sides.includes(view.right)) view.right = best || HR;
}

function fillChoices() {
  const images = setEntry().images, ids = available();
  const lr = imageEntry().pictures.includes(LR) ? [LR] : [];
  fill(byId("set"), DATA.sets.map((entry) => [entry.id, `${entry.name} ${groupTitle(entry.group)}`]), view.set);
  fill(byId("image"), images.map((entry) => [entry.name, entry.name]), view.image);
  for (const side of ["left", "right"]) fill(byId(side), [HR, ...lr, ...ids].map((id) => [id, nameOf(id)]), view[side]);
  fill(byId("size"), SIZES.map((size) => [size, `${size} × ${size}`]), view.size);
  fill(byId("range"), RANGES.map((range) => [range, String(range)]), view.range);
  for (const radio of document.getElementsByName("show")) radio.checked = radio.value === view.show;
  const chips = [...lr, ...ids].map((id) => {
    const label = document.createElement("label"), box = document.createElement("input"), text = document.createElement("span");
    Object.assign(box, { type: "checkbox", value: id, checked: view.methods.includes(id) });
    text.textContent = nameOf(id);
    box.addEventListener("change", () => {
      view.methods = [...byId("methods").querySelectorAll("input:checked")].map((checked) => checked.value);
      update();
    });
    label.append(box, text);
    return label;
  });
  byId("methods").replaceChildren(byId("methods").querySelector("legend"), ...chips);
}

const groupTitle = (group) => document.querySelector(`input[name="group"][value="${CSS.escape(group)}"] + span`)?.textContent || group;

let updates = 0;    // of several updates at once, the last one is drawn

async function update({ newImage = false } = {}) {
  if (!DATA.sets.length) return;
  const turn = ++updates;
  settle();
  if (newImage || !byId("methods").querySelector("input")) fillChoices();
  forgetOthers(view.set, view.image);
  try {
    const { set, image } = view, ids = [...new Set([HR, ...view.methods, view.left, view.right])];
    const found = await Promise.all(ids.map((id) => loadPicture(set, image, id)));
    if (turn !== updates) return;
    const pictures = new Map(ids.map((id, number) => [id, found[number]]));
    pictures.get(HR).gray = imageEntry().gray;
    if (pictures.has(LR)) pictures.set(LR, enlarged(pictures.get(LR), pictures.get(HR)));
    for (const [id, { width, height }] of pictures)
      if (width !== pictures.get(HR).width || height !== pictures.get(HR).height)
        throw new Error(`${nameOf(id)} has ${width} × ${height} pixels, HR ${pictures.get(HR).width} × ${pictures.get(HR).height}.`);
    shown = { set, image, pictures };
  } catch (error) {
    if (turn === updates) byId("status").textContent = `The pictures cannot be shown: ${error.message}`;
    return;
  }
  byId("status").textContent = "";
  for (const part of document.querySelectorAll(".for-errors")) part.hidden = view.show !== "error";
  byId("scale-end").textContent = `≥ ${view.range}`;
  listCrops();
  if (view.x === null || view.y === null) jump();
  else moveTo(view.x, view.y);
  drawStage();
  byId("pictures").dataset.ready = `${view.set}/${view.image}`;
}

// Where the two pictures differ most.
function jump() {
  const hr = shown.pictures.get(HR), [a, b] = [view.left, view.right].map((id) => shown.pictures.get(id));
  const { x, y } = largestDifference(a, b, hr, view.size);
  moveTo(x, y);
}

function choose(key, value) {
  view[key] = value;
  const newImage = key === "set" || key === "image";
  if (newImage) view.x = view.y = null;
  update({ newImage }).then(writeAddress);
}

// With the table's group, show the same set and image of that group, if there is one.
function followGroup() {
  const entry = setEntry();
  if (!entry || entry.group === view.group) return;
  const other = DATA.sets.find((candidate) => candidate.group === view.group && candidate.name === entry.name)
    || DATA.sets.find((candidate) => candidate.group === view.group);
  if (other) choose("set", other.id);
}

function step(way) {
  const images = setEntry().images;
  const index = images.findIndex((entry) => entry.name === view.image) + way;
  choose("image", images[(index + images.length) % images.length].name);
}

function startPictures() {
  if (!DATA.sets.length) return;
  byId("pictures").hidden = false;
  for (const key of ["set", "image", "left", "right"]) byId(key).addEventListener("change", (event) => choose(key, event.target.value));
  byId("range").addEventListener("change", (event) => choose("range", Number(event.target.value)));
  byId("size").addEventListener("change", (event) => { if (shown) resizeLens(Number(event.target.value)); });
  for (const radio of document.getElementsByName("show")) radio.addEventListener("change", () => choose("show", radio.value));
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("swap").addEventListener("click", () => {
    [view.left, view.right] = [view.right, view.left];
    update({ newImage: true }).then(writeAddress);
  });
  byId("jump").addEventListener("click", () => { if (shown) jump(); });
  byId("save").addEventListener("click", () => { if (shown) saveStrip(); });
  const scale = byId("scale"), context = scale.getContext("2d");
  [scale.width, scale.height] = [256, 1];
  COLOURS.forEach((colour, index) => { context.fillStyle = `rgb(${colour})`; context.fillRect(index, 0, 1, 1); });
  startStage();
}

function showAddress() {
  readAddress();
  showGroup();
  update({ newImage: true });
}

startTheme();
startTables();
startPictures();
showAddress();
addEventListener("hashchange", showAddress);
