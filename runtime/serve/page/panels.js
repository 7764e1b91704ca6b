// The panels beside the targets: settings, times by stage, the response map, recordings.

const SETTINGS = [ // name in the config, label, least, most, step
  ["uncertain_score", "Uncertain below a score of", 0, 1, 0.01],
  ["lost_score", "Lost below a score of", 0, 1, 0.01],
  ["interp_factor", "Learning rate", 0, 0.1, 0.001],
  ["update_interval", "Learn every nth frame, n", 1, 30, 1],
];
// Stops of the map's colours, dark to light, in equal steps of lightness.
const RAMP = [[13, 16, 40], [44, 61, 125], [30, 116, 140], [53, 168, 118], [163, 208, 68], [253, 238, 110]];

export class Settings {
  // change(changes) sends them; it gives a promise that rejects where they are refused.
  constructor(root, template, reset, change) {
    this.change = change;
    this.reset = reset;
    this.rows = new Map();
    this.sending = null;
    this.next = {};
    for (const [name, label, min, max, step] of SETTINGS) {
      const element = template.content.firstElementChild.cloneNode(true);
      const [text, range, number] = element.children;
      number.id = name;
      text.htmlFor = name;
      text.textContent = label;
      range.setAttribute("aria-label", label);
      Object.assign(range, { min, max, step });
      Object.assign(number, { min, step });
      range.addEventListener("input", () => { number.value = range.value; this.put(name, range.value); });
      number.addEventListener("change", () => number.reportValidity() && this.put(name, number.value));
      root.append(element);
      this.rows.set(name, { range, number });
    }
    reset.addEventListener("click", () => { this.next = { ...this.defaults }; this.send(); });
  }

  put(name, value) {
    this.next[name] = Number(value);
    this.send();
  }

  // One change at a time is under way; of those that come meanwhile the latest counts.
  async send() {
    if (this.sending || Object.keys(this.next).length === 0) return;
    this.sending = this.next;
    this.next = {};
    await this.change(this.sending);
    this.sending = null;
    this.send();
  }

  show({ config, defaults }) {
    this.defaults = defaults;
    this.reset.disabled = Object.keys(defaults).every(name => defaults[name] === config[name]);
    if (this.sending) return;
    for (const [name, { range, number }] of this.rows) {
      if (document.activeElement !== number && Number(number.value) !== config[name]) number.value = config[name];
      if (Number(range.value) !== config[name]) range.value = config[name];
    }
  }
}

export function showStages(body, stages) {
  const total = Object.values(stages).reduce((sum, ms) => sum + ms, 0) || 1;
  const names = Object.keys(stages);
  while (body.rows.length > names.length) body.deleteRow(-1);
  names.forEach((name, index) => {
    let row = body.rows[index];
    if (!row) {
      row = body.insertRow();
      row.append(document.createElement("th"));
      row.firstChild.scope = "row";
      row.insertCell().append(document.createElement("i"));
      row.insertCell();
    }
    row.cells[0].textContent = name;
    row.cells[1].firstChild.style.width = `${100 * stages[name] / total}%`;
    row.cells[2].textContent = `${stages[name].toFixed(2)} ms`;
  });
}

export function showResponse(canvas, response) {
  const { points } = response, bytes = atob(response.map);
  [canvas.width, canvas.height] = [points, points];
  const paint = canvas.getContext("2d"), image = paint.createImageData(points, points);
  for (let i = 0; i < points * points; i++) {
    const at = bytes.charCodeAt(i) / 255 * (RAMP.length - 1), below = Math.min(Math.floor(at), RAMP.length - 2);
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = RAMP[below][c] + (at - below) * (RAMP[below + 1][c] - RAMP[below][c]);
    }
    image.data[4 * i + 3] = 255;
  }
  paint.putImageData(image, 0, 0);
  const half = (response.scales - 1) / 2, scale = response.scale > 0 ? `+${response.scale}` : response.scale;
  return {
    target: response.target, peak: response.high.toFixed(2), scale: half ? `${scale} of ±${half}` : "one",
    points: `${points} × ${points}`,
  };
}

// download(name) is called for a file.
export function showFiles(list, names, download) {
  if (list.childElementCount === names.length) return;
  list.replaceChildren(...names.map(name => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.className = "small";
    button.textContent = "Download";
    button.setAttribute("aria-label", `Download ${name}`);
    button.addEventListener("click", () => download(name));
    item.append(name, button);
    return item;
  }));
}
