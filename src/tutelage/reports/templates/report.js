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
