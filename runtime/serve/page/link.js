// The WebSocket: commands with their answers, and states that are asked for, so that a slow page skips frames.

const ASKS = 2; // open at a time: one is on its way while another is shown
const AGAIN = 1000; // ms until a lost connection is tried again

export class Link extends EventTarget {
  // Fires "state" with {state, response, picture}, and "link" with {state: connecting | open | token}.
  constructor() {
    super();
    this.response = null; // the target whose response map is asked for
    this.waiting = new Map(); // tag -> {resolve, reject}
    this.tags = 0;
    this.over = false; // it will not come back
    this.shown = Promise.resolve(); // when the latest state is
    this.token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
    document.addEventListener("visibilitychange", () => this.ask());
    this.open();
  }

  open() {
    this.asked = 0;
    this.head = null; // the message that the next picture or piece belongs to
    const url = new URL("ws", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    if (this.token) url.searchParams.set("token", this.token);
    const socket = (this.socket = new WebSocket(url));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { this.tell("open"); this.ask(); };
    socket.onmessage = event => this.hear(event.data);
    socket.onclose = () => this.lost();
  }

  async lost() {
    for (const { reject } of this.waiting.values()) reject(new Error("The connection was lost."));
    this.waiting.clear();
    if (this.over) return this.tell("over");
    this.tell("connecting");
    try {
      const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
      const { status } = await fetch("api/state", { headers });
      if (status === 401) return this.tell("token"); // until one is given
    } catch { /* it is away */ }
    setTimeout(() => this.open(), AGAIN);
  }

  // Try a token that somebody typed.
  enter(token) {
    this.token = token;
    location.hash = new URLSearchParams({ token });
    this.open();
  }

  // Send a command; resolves with its answer, rejects with the reason why it was refused.
  send(what, values = {}) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) return reject(new Error("There is no connection."));
      const tag = ++this.tags;
      this.waiting.set(tag, { resolve, reject });
      this.socket.send(JSON.stringify({ do: what, tag, ...values }));
    });
  }

  // A recorded file as a whole, piece by piece.
  async file(name) {
    const pieces = [];
    for (let start = 0, size = 1; start < size;) {
      const answer = await this.send("read", { name, start });
      pieces.push(answer.piece);
      size = answer.size;
      start += answer.piece.byteLength || size;
    }
    return new Blob(pieces, { type: "text/plain" });
  }

  // Look at the response map of a target, null for none.
  look(target) {
    if (target === this.response) return;
    this.response = target;
    this.ask(ASKS + 1); // those that are open do not know of it
  }

  ask(most = ASKS) {
    if (document.hidden) return;
    while (this.socket.readyState === WebSocket.OPEN && this.asked < most) {
      this.asked += 1;
      this.socket.send(JSON.stringify({ do: "next", picture: true, response: this.response }));
    }
  }

  hear(data) {
    if (typeof data !== "string") {
      const head = this.head;
      this.head = null;
      return head.type === "state" ? this.show(head, data) : this.answer({ ...head, piece: data });
    }
    const message = JSON.parse(data);
    if (message.picture || message.do === "read" && message.type === "done") this.head = message;
    else if (message.type === "state") this.show(message, null);
    else this.answer(message);
  }

  answer(message) {
    const { resolve, reject } = this.waiting.get(message.tag) ?? {};
    this.waiting.delete(message.tag);
    if (message.type === "refused") reject?.(new Error(message.reason));
    else resolve?.(message);
  }

  // Show a state after those before it, although it may come without a picture to decode.
  show(message, jpeg) {
    const socket = this.socket;
    this.shown = this.shown.then(() => this.showNow(message, jpeg, socket));
  }

  async showNow({ state, response }, jpeg, socket) {
    const picture = jpeg && await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })).catch(() => null);
    if (socket === this.socket) {
      if (state) this.dispatchEvent(new CustomEvent("state", { detail: { state, response, picture } }));
      this.asked -= 1;
      this.ask();
    }
    picture?.close();
  }

  tell(state) {
    this.dispatchEvent(new CustomEvent("link", { detail: { state } }));
  }
}
