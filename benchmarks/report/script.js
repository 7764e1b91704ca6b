"use strict";
// Everything can be read without this: it adds the values under a pointer, and Enter beside Space.
for (const box of document.querySelectorAll(".trackers input"))
  box.addEventListener("keydown", event => { if (event.key === "Enter") box.click(); });
for (const probe of document.querySelectorAll("input.probe")) {
  const figure = probe.closest("figure"), plot = figure.querySelector("svg"), cursor = plot.querySelector(".cursor");
  const rows = figure.querySelector("tbody").rows, values = figure.querySelectorAll(".legend li b");
  const what = figure.querySelector(".what"), rest = [...values].map(value => value.textContent);
  const { from, to, width } = probe.dataset, last = rows.length - 1;
  const show = () => {
    const cells = rows[probe.value].cells, x = +from + (to - from) * probe.value / last;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.classList.add("on");
    what.textContent = "at " + cells[0].textContent;
    values.forEach((value, index) => { value.textContent = cells[index + 1].textContent; });
    probe.setAttribute("aria-valuetext", cells[0].textContent + ": " + [...figure.querySelectorAll(".legend li")]
      .map(item => item.querySelector("span").textContent + " " + item.querySelector("b").textContent).join(", "));
  };
  const leave = () => {
    cursor.classList.remove("on");
    what.textContent = probe.dataset.rest;
    values.forEach((value, index) => { value.textContent = rest[index]; });
  };
  probe.hidden = false;
  probe.addEventListener("input", show);
  probe.addEventListener("focus", show);
  probe.addEventListener("blur", leave);
  plot.addEventListener("pointermove", event => {
    const frame = plot.getBoundingClientRect(), at = (event.clientX - frame.left) / frame.width * width;
    probe.value = Math.round((at - from) / (to - from) * last);
    show();
  });
  plot.addEventListener("pointerleave", () => { if (document.activeElement !== probe) leave(); });
}
