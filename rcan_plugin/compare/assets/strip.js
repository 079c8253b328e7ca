// The windows under the magnifier as a figure for a paper: a PNG with names and PSNR, on white.

function stripCanvas() {
  const window = magnified(), ids = cropIds();
  const zoom = Math.max(1, Math.round(288 / Math.max(window.width, window.height)));
  const width = window.width * zoom, height = window.height * zoom;
  const columns = Math.min(ids.length, 6), lines = Math.ceil(ids.length / columns), gap = 12, text = 52;
  const canvas = newCanvas(columns * (width + gap) - gap, lines * (height + text + gap) - gap);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.textAlign = "center";
  context.fillStyle = "#000";
  ids.forEach((id, number) => {
    const x = number % columns * (width + gap), y = Math.floor(number / columns) * (height + text + gap);
    context.drawImage(faceOf(id), window.x, window.y, window.width, window.height, x, y, width, height);
    context.font = "600 20px Helvetica, Arial, sans-serif";
    context.fillText(nameOf(id), x + width / 2, y + height + 22, width);
    context.font = "18px Helvetica, Arial, sans-serif";
    context.fillText(id === HR ? "PSNR" : psnrText(cropPsnr(id)), x + width / 2, y + height + 44, width);
  });
  return canvas;
}

function saveStrip() {
  const { x, y, width, height } = magnified();
  const name = `${view.set}_${view.image}_${width}x${height}+${x}+${y}${view.show === "error" ? "_errors" : ""}.png`;
  stripCanvas().toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    byId("status").textContent = `Saved ${name}.`;
  });
}
