"use strict";
const root = document.documentElement;
document.getElementById("theme").addEventListener("click", () => {
  const shown = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = shown === "dark" ? "light" : "dark";
});
const slider = document.getElementById("threshold");
function show() {
  const least = Number(slider.value);
  document.getElementById("threshold-value").textContent = least.toFixed(2);
  for (const panel of document.querySelectorAll(".panel")) {
    const counts = { hit: 0, false: 0, missed: 0 };
    for (const box of panel.querySelectorAll("rect")) {
      const above = Number(box.dataset.score) > least;
      if (box.classList.contains("object")) {
        box.classList.toggle("missed", !above);
        counts.missed += above ? 0 : 1;
      } else {
        box.classList.toggle("below", !above);
        if (above) counts[box.classList.contains("hit") ? "hit" : "false"] += 1;
      }
    }
    const count = panel.parentElement.querySelector(".count");
    count.textContent = `· ${counts.hit} right, ${counts.false} wrong, ${counts.missed} missed`;
  }
}
if (slider) {
  slider.addEventListener("input", show);
  show();
}
/* the values of curves at the pointer */
function nearest(points, x) {
  return points.reduce((best, each) => (Math.abs(each[0] - x) < Math.abs(best[0] - x) ? each : best));
}
for (const plot of document.querySelectorAll(".plot")) {
  const reading = plot.parentElement.querySelector(".reading");
  const panels = JSON.parse(plot.dataset.curves);
  if (!panels.length) reading.remove();
  else plot.addEventListener("pointermove", event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
    const panel = panels.find(({ box: [x, y, w, h] }) => at.x >= x && at.x <= x + w && at.y >= y && at.y <= y + h);
    if (!panel) return;
    const [left, , width] = panel.box;
    const x = panel.x[0] + ((at.x - left) / width) * (panel.x[1] - panel.x[0]);
    const values = Object.entries(panel.curves).map(([name, points]) => [name, nearest(points, x)]);
    const place = nearest(values.map(([, point]) => point), x)[0];
    const texts = values.map(([name, point]) => `${name} ${Number(point[1].toPrecision(3))}`);
    reading.textContent = `${panel.title ? panel.title + ", " : ""}${panel.of} ${place}: ${texts.join(" · ")}`;
  });
}
