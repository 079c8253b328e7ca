// The two pictures with the divider, and the frame of the magnifier on them.

function drawStage() {
  const { width, height } = shown.pictures.get(HR);
  for (const side of ["left", "right"]) {
    const id = view[side], canvas = byId(`${side}-canvas`);
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").drawImage(faceOf(id), 0, 0);
    const psnr = psnrText(wholePsnr(id));
    byId(`${side}-tag`).textContent = psnr ? `${nameOf(id)}  ${psnr}` : nameOf(id);
    canvas.setAttribute("aria-label", `${view.image}, ${side}: ${nameOf(id)}${psnr && `, PSNR ${psnr}`}`);
  }
  fitStage();
  drawSplit();
  drawLens();
}

// An enlarged picture gets a whole number of screen pixels for each of its own; a reduced one is smoothed.
function fitStage() {
  if (!shown) return;
  const { width, height } = shown.pictures.get(HR);
  const stage = byId("stage"), ratio = devicePixelRatio || 1;
  const most = Math.min(stage.parentElement.clientWidth / width, Math.max(innerHeight * 0.75, 320) / height);
  const zoom = most * ratio >= 1 ? Math.floor(most * ratio) / ratio : most;
  stage.style.width = `${width * zoom}px`;
  stage.style.height = `${height * zoom}px`;
  byId("split").style.width = stage.style.width;
  stage.classList.toggle("enlarged", zoom * ratio >= 1);
}

function drawSplit() {
  byId("right-canvas").style.clipPath = `inset(0 0 0 ${view.split}%)`;
  byId("divider").style.left = `${view.split}%`;
  byId("split").value = view.split;
  byId("left-tag").style.opacity = view.split < 8 ? 0 : 1;
  byId("right-tag").style.opacity = view.split > 92 ? 0 : 1;
}

function drawLens() {
  const hr = shown.pictures.get(HR), { x, y, width, height } = magnified(), lens = byId("lens");
  lens.style.left = `${100 * x / hr.width}%`;
  lens.style.top = `${100 * y / hr.height}%`;
  lens.style.width = `${100 * width / hr.width}%`;
  lens.style.height = `${100 * height / hr.height}%`;
  lens.setAttribute("aria-label", `Magnifier, ${width} by ${height} pixels at ${x}, ${y}`);
}

function setSplit(value) {
  view.split = Math.min(Math.max(Math.round(value), 0), 100);
  drawSplit();
  writeAddress();
}

// Call `move` with the pointer's place on the stage, in pixels of HR, until it is released.
function drag(element, event, move) {
  event.preventDefault();
  element.setPointerCapture(event.pointerId);
  const follow = (moved) => move(placeOf(moved));
  element.addEventListener("pointermove", follow);
  for (const end of ["pointerup", "pointercancel"])
    element.addEventListener(end, () => element.removeEventListener("pointermove", follow), { once: true });
}

function placeOf(event) {
  const box = byId("stage").getBoundingClientRect(), hr = shown.pictures.get(HR);
  return { x: (event.clientX - box.left) / box.width * hr.width, y: (event.clientY - box.top) / box.height * hr.height };
}

function centreOn({ x, y }) {
  const { width, height } = bounds();
  moveTo(x - width / 2, y - height / 2);
}

function startStage() {
  const stage = byId("stage"), lens = byId("lens"), divider = byId("divider");
  lens.addEventListener("pointerdown", (event) => {
    if (!shown || event.button) return;
    const grip = placeOf(event), { x, y } = view;
    event.stopPropagation();
    drag(lens, event, (place) => moveTo(x + place.x - grip.x, y + place.y - grip.y));
    lens.focus({ preventScroll: true });
  });
  divider.addEventListener("pointerdown", (event) => {
    if (!shown || event.button) return;
    event.stopPropagation();
    drag(divider, event, (place) => setSplit(100 * place.x / shown.pictures.get(HR).width));
  });
  // A finger on the picture scrolls the page, a tap moves the magnifier; a mouse drags at once.
  stage.addEventListener("pointerdown", (event) => {
    if (!shown || event.button || event.pointerType === "touch") return;
    centreOn(placeOf(event));
    drag(stage, event, centreOn);
    lens.focus({ preventScroll: true });
  });
  stage.addEventListener("click", (event) => {
    if (shown && event.pointerType === "touch" && !divider.contains(event.target)) centreOn(placeOf(event));
  });
  lens.addEventListener("keydown", pressLens);
  byId("split").addEventListener("input", (event) => setSplit(event.target.valueAsNumber));
  new ResizeObserver(fitStage).observe(stage.parentElement);
}

function pressLens(event) {
  if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = event.shiftKey ? 1 : 8;
  const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  const larger = ["+", "="].includes(event.key), smaller = ["-", "−", "_"].includes(event.key);
  if (ways[event.key]) moveTo(view.x + ways[event.key][0], view.y + ways[event.key][1]);
  else if (larger || smaller) resizeLens(SIZES[SIZES.indexOf(view.size) + (larger ? 1 : -1)] || view.size);
  else return;
  event.preventDefault();
}

// The middle stays where it is.
function resizeLens(size) {
  const before = bounds(), { x, y } = view;
  view.size = size;
  byId("size").value = size;
  const after = bounds();
  moveTo(x + (before.width - after.width) / 2, y + (before.height - after.height) / 2);
}
