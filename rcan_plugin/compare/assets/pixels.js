// Pictures and what is computed from their pixels: PSNR on Y, error maps.
// A picture: { width, height, canvas, data } with `data` of R, G, B, A bytes; HR has `gray`, whether gray values are compared.

const waiting = new Map();    // name -> function that takes the base64 text of a PNG
const loaded = new Map();     // name -> promise of a picture, for the image that is shown

// Called by the scripts `pictures/SET/IMAGE/NAME.png.js`.
function deliver(name, base64) {
  waiting.get(name)?.(base64);
  waiting.delete(name);
}

function loadPicture(set, image, id) {
  const name = `${set}/${image}/${id}`;
  if (!loaded.has(name)) loaded.set(name, fetchBytes(name).then(decode));
  return loaded.get(name);
}

// Pictures of other images are let go: they may be large.
function forgetOthers(set, image) {
  for (const name of loaded.keys()) if (!name.startsWith(`${set}/${image}/`)) loaded.delete(name);
}

function fetchBytes(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    waiting.set(name, (base64) => {
      script.remove();
      resolve(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
    });
    script.onerror = () => { script.remove(); reject(new Error(`pictures/${name}.png.js is missing.`)); };
    script.src = `pictures/${name.split("/").map(encodeURIComponent).join("/")}.png.js`;
    document.head.append(script);
  });
}

async function decode(bytes) {
  // Pixel values as they are in the file: a colour profile must not change them.
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), options);
  const { width, height } = bitmap;
  const canvas = newCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, canvas, data: context.getImageData(0, 0, width, height).data };
}

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

// A picture enlarged by whole pixels to the size of another.
function enlarged(picture, { width, height }) {
  const canvas = newCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(picture.canvas, 0, 0, width, height);
  return { width, height, canvas, data: context.getImageData(0, 0, width, height).data };
}

// Difference of Y (ITU-R BT.601, 16 to 235, not rounded), as in BasicSR's `to_y_channel`, at an index into `data`.
function lumaDifference(a, b, i) {
  return (65.481 * (a[i] - b[i]) + 128.553 * (a[i + 1] - b[i + 1]) + 24.966 * (a[i + 2] - b[i + 2])) / 255;
}

// BasicSR compares gray images as they are.
const grayDifference = (a, b, i) => a[i] - b[i];
const differenceFor = (hr) => (hr.gray ? grayDifference : lumaDifference);

function squaredError(picture, hr, { x, y, width, height }) {
  const difference = differenceFor(hr);
  let sum = 0;
  for (let row = y; row < y + height; row++)
    for (let i = 4 * (row * hr.width + x), end = i + 4 * width; i < end; i += 4)
      sum += difference(picture.data, hr.data, i) ** 2;
  return sum;
}

// PSNR on Y in dB of a window, BasicSR's formula without a border; Infinity for equal pixels.
function windowPsnr(picture, hr, window) {
  return 10 * Math.log10(255 ** 2 * window.width * window.height / squaredError(picture, hr, window));
}

// The window of a size whose squared errors differ most between two pictures.
function largestDifference(a, b, hr, size) {
  const width = Math.min(size, hr.width), height = Math.min(size, hr.height), step = Math.max(4, size >> 2);
  let best = { x: 0, y: 0 }, most = -1;
  for (let y = 0; y + height <= hr.height; y += step)
    for (let x = 0; x + width <= hr.width; x += step) {
      const window = { x, y, width, height };
      const difference = Math.abs(squaredError(a, hr, window) - squaredError(b, hr, window));
      if (difference > most) [best, most] = [{ x, y }, difference];
    }
  return best;
}

// Colours of the error maps: black, violet, red, yellow, nearly white, of rising lightness.
const COLOURS = (() => {
  const stops = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
  return Array.from({ length: 256 }, (_, index) => {
    const place = index / 255 * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2);
    return stops[low].map((value, channel) => Math.round(value + (place - low) * (stops[low + 1][channel] - value)));
  });
})();

// |picture - HR| on Y as a canvas; errors of `range` and more have the last colour.
function errorMap(picture, hr, range) {
  if (picture.errors?.range === range) return picture.errors.canvas;
  const canvas = newCanvas(hr.width, hr.height);
  const context = canvas.getContext("2d");
  const map = context.createImageData(hr.width, hr.height), difference = differenceFor(hr);
  for (let i = 0; i < map.data.length; i += 4) {
    const error = Math.abs(difference(picture.data, hr.data, i));
    const colour = COLOURS[Math.min(255, Math.round(error / range * 255))];
    map.data[i] = colour[0]; map.data[i + 1] = colour[1]; map.data[i + 2] = colour[2]; map.data[i + 3] = 255;
  }
  context.putImageData(map, 0, 0);
  picture.errors = { range, canvas };
  return canvas;
}
