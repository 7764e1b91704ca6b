// The picture with the boxes on it, and the box that is being drawn by mouse, finger, keys or numbers.

const SLOP = 4; // CSS px that a pointer must move before a press is a drag
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Stage extends EventTarget {
  // Fires "draw" with {target, box} (target null: a new one), "select" with {target}, "change" with the draft.
  constructor(root, canvas, layer) {
    super();
    this.root = root;
    this.canvas = canvas;
    this.layer = layer;
    this.elements = new Map(); // target -> its box
    this.size = null; // width and height of the source's frames
    this.targets = [];
    this.selected = null;
    this.draft = null; // {target, box}
    this.press = null;
    root.addEventListener("pointerdown", event => this.down(event));
    root.addEventListener("pointermove", event => this.drag(event));
    root.addEventListener("pointerup", event => this.up(event));
    root.addEventListener("pointercancel", () => this.cancel());
  }

  show(state, picture) {
    this.targets = state.targets;
    this.size = state.frame && [state.frame.width, state.frame.height];
    if (this.size) {
      this.root.style.setProperty("--ratio", this.size[0] / this.size[1]);
      this.root.classList.add("filled");
    }
    if (picture) {
      if (this.canvas.width !== picture.width || this.canvas.height !== picture.height) {
        [this.canvas.width, this.canvas.height] = [picture.width, picture.height];
      }
      this.canvas.getContext("2d").drawImage(picture, 0, 0);
    }
    this.render();
  }

  render() {
    const wanted = new Map(this.targets.map(target => [String(target.id), target]));
    if (this.draft) wanted.set("draft", { box: this.draft.box, status: "DRAFT" });
    for (const [key, element] of this.elements) {
      if (!wanted.has(key)) { element.remove(); this.elements.delete(key); }
    }
    if (!this.size) return;
    for (const [key, target] of wanted) this.place(key, target);
  }

  place(key, { id, box, status, score }) {
    let element = this.elements.get(key);
    if (!element) {
      element = document.createElement("div");
      element.append(document.createElement("span"));
      this.layer.append(element);
      this.elements.set(key, element);
    }
    const [width, height] = this.size, [x, y, w, h] = box;
    const at = { left: x / width, top: y / height, width: w / width, height: h / height };
    for (const [side, share] of Object.entries(at)) element.style[side] = `${100 * share}%`;
    element.className = `box ${status}`;
    element.classList.toggle("selected", key === String(this.selected));
    element.classList.toggle("below", y < 0.06 * height);
    const label = status === "DRAFT" ? "" : `${id}  ${score.toFixed(2)}${status === "TRACKING" ? "" : `  ${status.toLowerCase()}`}`;
    if (element.firstChild.textContent !== label) element.firstChild.textContent = label;
  }

  // Begin a box for a target, null for a new one: in the middle, or where the target is.
  begin(target) {
    if (!this.size) return;
    const [width, height] = this.size, side = Math.round(Math.min(width, height) / 4);
    const known = this.targets.find(one => one.id === target);
    this.change({
      target, box: known ? [...known.box] : [Math.round((width - side) / 2), Math.round((height - side) / 2), side, side],
    });
  }

  // Set the draft, or take it away.
  change(draft) {
    this.draft = draft;
    this.root.classList.toggle("drawing", Boolean(draft));
    this.render();
    this.dispatchEvent(new CustomEvent("change", { detail: draft }));
  }

  finish() {
    const draft = this.draft;
    this.change(null);
    this.dispatchEvent(new CustomEvent("draw", { detail: draft }));
  }

  cancel() {
    this.press = null;
    this.change(null);
  }

  // The key is used up where it moves, ends or begins a draft.
  key(event) {
    const way = KEYS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (!this.draft) {
      if (event.key === "Enter") this.begin(null);
      return event.key === "Enter";
    }
    if (event.key === "Enter") this.finish();
    else if (way) this.nudge(way, event.shiftKey);
    else return false;
    return true;
  }

  nudge([right, down], resize) {
    const step = Math.max(Math.round(this.size[0] / 160), 1);
    const [x, y, w, h] = this.draft.box;
    const box = resize
      ? [x, y, Math.max(w + step * right, step), Math.max(h + step * down, step)]
      : [x + step * right, y + step * down, w, h];
    this.change({ ...this.draft, box: inside(box, this.size) });
  }

  down(event) {
    if (event.button !== 0 || !this.size) return;
    const at = this.point(event), held = this.targets.find(one => one.id === this.selected);
    const touches = event.pointerType === "touch" && !this.draft; // a finger scrolls, unless a box was asked for
    const moves = !this.draft && held && contains(held.box, at);
    this.press = {
      at, touches, screen: [event.clientX, event.clientY], begun: false, from: moves ? held.box : null,
      target: moves ? held.id : this.draft?.target ?? null,
    };
    if (!touches) this.root.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  drag(event) {
    const press = this.press;
    if (!press || press.touches) return;
    const moved = Math.hypot(event.clientX - press.screen[0], event.clientY - press.screen[1]);
    if (!press.begun && moved < SLOP) return;
    press.begun = true;
    const [x, y] = this.point(event), [a, b] = press.at;
    const box = press.from
      ? inside([press.from[0] + x - a, press.from[1] + y - b, press.from[2], press.from[3]], this.size)
      : [Math.min(a, x), Math.min(b, y), Math.abs(x - a), Math.abs(y - b)];
    this.change({ target: press.target, box: box.map(v => Math.round(10 * v) / 10) });
  }

  up(event) {
    const press = this.press;
    this.press = null;
    if (!press) return;
    if (press.begun) return this.finish();
    if (this.draft) return;
    const hits = this.targets.filter(one => contains(one.box, this.point(event)));
    hits.sort((a, b) => a.box[2] * a.box[3] - b.box[2] * b.box[3]); // the smallest, if one is in another
    this.dispatchEvent(new CustomEvent("select", { detail: { target: hits[0]?.id ?? null } }));
  }

  // Where the pointer is in pixels of the source, at most on the picture's edge.
  point(event) {
    const area = this.canvas.getBoundingClientRect();
    return [[event.clientX - area.left, area.width], [event.clientY - area.top, area.height]].map(
      ([offset, length], axis) => Math.min(Math.max(offset / length, 0), 1) * this.size[axis],
    );
  }
}

function contains([x, y, w, h], [a, b]) {
  return a >= x && b >= y && a <= x + w && b <= y + h;
}

// The box moved so that its middle stays in the frame.
function inside([x, y, w, h], [width, height]) {
  return [Math.min(Math.max(x, -w / 2), width - w / 2), Math.min(Math.max(y, -h / 2), height - h / 2), w, h];
}
