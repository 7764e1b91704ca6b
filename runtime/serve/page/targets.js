// The list of targets: status, score, its history, and what can be done with each.

const LENGTH = 150; // scores that are shown
const MARKS = { TRACKING: "●", UNCERTAIN: "▲", LOST: "✕" };

export class Targets extends EventTarget {
  // Fires "select", "move" and "drop" with {target}, and "status" with {target, status} where one changes.
  constructor(list, template, none) {
    super();
    this.list = list;
    this.template = template;
    this.none = none;
    this.rows = new Map(); // target -> {element, scores, status}
    this.frame = null;
  }

  show(state, selected) {
    const fresh = state.frame?.number !== this.frame;
    this.frame = state.frame?.number;
    const ids = new Set(state.targets.map(target => target.id));
    for (const [id, row] of this.rows) {
      if (!ids.has(id)) { row.element.remove(); this.rows.delete(id); }
    }
    this.none.hidden = ids.size > 0;
    for (const target of state.targets) this.update(target, state.config, fresh, target.id === selected);
  }

  update(target, config, fresh, selected) {
    const row = this.rows.get(target.id) ?? this.insert(target.id);
    const part = name => row.element.querySelector(name);
    if (row.status && row.status !== target.status) {
      this.dispatchEvent(new CustomEvent("status", { detail: { target: target.id, status: target.status } }));
    }
    if (row.status !== target.status) {
      row.status = target.status;
      row.element.dataset.status = target.status;
      part(".mark").textContent = MARKS[target.status];
      part(".status").textContent = target.status.toLowerCase();
    }
    part(".pick").setAttribute("aria-pressed", selected);
    part(".score").textContent = target.score.toFixed(2);
    part(".psr").textContent = target.psr ? target.psr.toFixed(1) : "–"; // there is none where it was given
    if (!fresh) return;
    row.scores.push(target.score);
    row.scores.splice(0, row.scores.length - LENGTH);
    plot(part(".history"), row.scores, config);
  }

  insert(id) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    element.querySelector(".name").textContent = `Target ${id}`;
    for (const [name, what] of [[".pick", "select"], [".move", "move"], [".drop", "drop"]]) {
      const button = element.querySelector(name);
      if (name !== ".pick") button.setAttribute("aria-label", `${button.textContent} target ${id}`);
      button.addEventListener("click", () => {
        this.dispatchEvent(new CustomEvent(what, { detail: { target: id } }));
      });
    }
    this.list.append(element);
    const row = { element, scores: [], status: null };
    this.rows.set(id, row);
    return row;
  }
}

// The latest scores as a line, between 0 and 1, with both thresholds.
function plot(canvas, scores, config) {
  const style = getComputedStyle(canvas), ratio = devicePixelRatio;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const paint = canvas.getContext("2d"), pad = 2 * ratio;
  const y = score => height - pad - Math.min(Math.max(score, 0), 1) * (height - 2 * pad);
  paint.clearRect(0, 0, width, height);
  paint.lineWidth = ratio;
  paint.setLineDash([3 * ratio, 3 * ratio]);
  for (const [threshold, colour] of [[config.uncertain_score, "--UNCERTAIN"], [config.lost_score, "--LOST"]]) {
    paint.strokeStyle = style.getPropertyValue(colour);
    paint.beginPath();
    paint.moveTo(0, y(threshold));
    paint.lineTo(width, y(threshold));
    paint.stroke();
  }
  paint.setLineDash([]);
  paint.lineWidth = 1.5 * ratio;
  paint.strokeStyle = style.color;
  paint.beginPath();
  scores.forEach((score, index) => paint.lineTo((index + LENGTH - scores.length) / (LENGTH - 1) * width, y(score)));
  paint.stroke();
}
